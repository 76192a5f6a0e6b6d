//! The filter as HDF5 calls it: through the class that the plugin exports, with parameters, buffers from `malloc`, and damage.

#![allow(unsafe_code, clippy::unwrap_used)] // a test stands in for HDF5, and fails by panicking

use std::ffi::c_void;

use lithify_codec::{Dtype, Promise, Sample, Samples, header, match_dtype, testkit};
use lithify_hdf5::plugin::{Class, H5PLget_plugin_info, H5PLget_plugin_type, REVERSE};
use lithify_hdf5::{Dataset, ID, NAME, Params};

/// Calls the filter; `None` is its 0.
fn call(flags: u32, values: &[u32], bytes: &[u8]) -> Option<Vec<u8>> {
    let class = H5PLget_plugin_info().cast::<Class>();
    // SAFETY: the block has room for the bytes, and is what the filter left when it is freed.
    unsafe {
        let mut size = bytes.len();
        let mut block: *mut c_void = libc::malloc(size.max(1));
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), block.cast(), size);
        let n = (*class).filter.unwrap()(flags, values.len(), values.as_ptr(), bytes.len(), &mut size, &mut block);
        assert!(n <= size);
        let result = std::slice::from_raw_parts(block.cast::<u8>(), if n > 0 { n } else { bytes.len() }).to_vec();
        libc::free(block);
        if n > 0 {
            return Some(result);
        }
        assert_eq!(result, bytes, "a failure must leave the buffer alone");
        None
    }
}

fn dataset(dtype: Dtype, chunk: &[usize]) -> Dataset {
    Dataset { dtype, big_endian: false, fill: 0, fill_is_missing: false, chunk: chunk.into() }
}

fn values(promise: &str, dataset: Dataset) -> Vec<u32> {
    let promise: Promise = promise.parse().unwrap();
    Params { promise, effort: 1, dataset: Some(dataset), ..Params::default() }.to_values().unwrap()
}

fn swapped(bytes: &[u8], size: usize) -> Vec<u8> {
    bytes.chunks_exact(size).flat_map(|sample| sample.iter().rev().copied()).collect()
}

fn smooth(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i as f32 / 37.0).sin() * 10.0 + i as f32 * 1e-3).collect()
}

#[test]
fn the_plugin_says_what_it_is() {
    assert_eq!(H5PLget_plugin_type(), 0);
    let class = H5PLget_plugin_info().cast::<Class>();
    // SAFETY: a constant of the plugin.
    let class = unsafe { &*class };
    assert_eq!((class.version, class.id, class.encoder_present, class.decoder_present), (1, ID as i32, 1, 1));
    assert!(class.name == NAME.as_ptr() && class.set_local.is_some());
    assert!((256..512).contains(&ID), "the range for numbers that are not registered");
}

#[test]
fn every_type_and_order_comes_back() {
    let shape = [7, 11];
    for dtype in Dtype::ALL {
        for seed in 0..4 {
            // Any bits at all, then a few that repeat.
            let bits = |i: usize| if seed < 2 { testkit::hash(i as u64 + 77 * seed) } else { i as u64 / 5 };
            let x = match_dtype!(dtype, T => {
                <T as Sample>::wrap((0..77).map(|i| <T as Sample>::from_bits(bits(i))).collect())
            });
            let little = x.to_le_bytes();
            for big_endian in [false, true] {
                let bytes = if big_endian { swapped(&little, dtype.size()) } else { little.clone() };
                let values = values("lossless", Dataset { big_endian, ..dataset(dtype, &shape) });
                let payload = call(0, &values, &bytes).unwrap();
                assert_eq!(call(REVERSE, &values, &payload).unwrap(), bytes, "{dtype} {big_endian}");
                // The order is the file's, not the payload's.
                assert_eq!(header(&payload).unwrap().dtype, dtype);
                assert_eq!(lithify_codec::decode_chunk(&payload, &shape).unwrap().to_le_bytes(), little);
            }
        }
    }
}

#[test]
fn bounds_hold_and_what_is_missing_stays() {
    let shape = [4, 30, 50];
    let fill = 9.969_21e36f32;
    let mut x = smooth(6000);
    for i in (0..6000).step_by(7) {
        x[i] = [fill, f32::NAN, f32::INFINITY, -9999.0][i % 4];
    }
    for (promise, most) in [("abs=0.05", 0.05), ("abs=0.05,rel=0.5", 0.05), ("l2-block=1e-3", 0.5), ("bits=7", 0.1)] {
        for big_endian in [false, true] {
            let dataset = Dataset {
                big_endian,
                fill: fill.to_bits().into(),
                fill_is_missing: true,
                ..dataset(Dtype::F32, &shape)
            };
            let params = Params {
                promise: promise.parse().unwrap(),
                missing: vec![-9999.0],
                dataset: Some(dataset),
                ..Params::default()
            };
            let values = params.to_values().unwrap();
            let little = Samples::F32(x.clone()).to_le_bytes();
            let bytes = if big_endian { swapped(&little, 4) } else { little };
            let payload = call(0, &values, &bytes).unwrap();
            assert!(payload.len() < bytes.len() / 2, "{promise}: {} of {}", payload.len(), bytes.len());
            let back = call(REVERSE, &values, &payload).unwrap();
            let back = if big_endian { swapped(&back, 4) } else { back };
            let Samples::F32(y) = Samples::from_le_bytes(Dtype::F32, &back) else { unreachable!() };
            let mut changed = false;
            for (x, y) in x.iter().zip(&y) {
                if !x.is_finite() || *x == fill || *x == -9999.0 {
                    assert_eq!(x.to_bits(), y.to_bits());
                } else {
                    assert!((x - y).abs() <= most, "{promise}: {x} {y}");
                    changed |= x != y;
                }
            }
            assert!(changed, "{promise} must be lossy at all for this test");
        }
    }
}

/// Packed integers: the bound is one of unpacked values.
#[test]
fn packed_integers_stay_on_their_lattice() {
    let x: Vec<i16> = smooth(5000).iter().map(|v| (v * 100.0) as i16).collect();
    let with = |scale: f64| {
        let affine = lithify_codec::Affine { scale, offset: 273.15 };
        let promise = "abs=0.05".parse().unwrap();
        let params = Params { promise, affine, dataset: Some(dataset(Dtype::I16, &[50, 100])), ..Params::default() };
        let values = params.to_values().unwrap();
        let payload = call(0, &values, &Samples::I16(x.clone()).to_le_bytes()).unwrap();
        let Samples::I16(y) = Samples::from_le_bytes(Dtype::I16, &call(REVERSE, &values, &payload).unwrap()) else {
            unreachable!()
        };
        x.iter().zip(&y).map(|(x, y)| x.abs_diff(*y)).max().unwrap()
    };
    assert_eq!(with(1.0), 0, "less than a whole number");
    assert!((1..=5).contains(&with(0.01)));
}

/// A dataset's edge: the padding costs nothing and comes back.
#[test]
fn padding_is_left_out_and_restored() {
    let (shape, part) = ([40, 50, 60], [40, 20, 31]);
    for (fill, fill_is_missing) in [(0f32, false), (-999.0, true), (f32::NAN, true)] {
        for big_endian in [false, true] {
            let mut chunk = Samples::filled(Dtype::F32, 120_000, fill.to_bits().into());
            let n = part.iter().product();
            chunk.paste(&shape, &[0; 3], &Samples::F32(smooth(n)), &part).unwrap();
            let little = chunk.to_le_bytes();
            let bytes = if big_endian { swapped(&little, 4) } else { little };
            let fill = u64::from(fill.to_bits());
            let values =
                values("abs=0.01", Dataset { big_endian, fill, fill_is_missing, ..dataset(Dtype::F32, &shape) });
            let payload = call(0, &values, &bytes).unwrap();
            assert_eq!(header(&payload).unwrap().shape, part);
            let alone = values_len(&part);
            assert!(payload.len() < alone + 64, "{} against {alone}", payload.len());
            let back = call(REVERSE, &values, &payload).unwrap();
            assert_eq!(back.len(), bytes.len());
            let back = if big_endian { swapped(&back, 4) } else { back };
            let Samples::F32(y) = Samples::from_le_bytes(Dtype::F32, &back) else { unreachable!() };
            let Samples::F32(x) = &chunk else { unreachable!() };
            for (x, y) in x.iter().zip(&y) {
                assert!(x.to_bits() == y.to_bits() || (x - y).abs() <= 0.01);
            }
            // A chunk of nothing else.
            let empty = Samples::filled(Dtype::F32, 120_000, fill).to_le_bytes();
            let empty = if big_endian { swapped(&empty, 4) } else { empty };
            let payload = call(0, &values, &empty).unwrap();
            assert!(payload.len() < 64, "{}", payload.len());
            assert_eq!(call(REVERSE, &values, &payload).unwrap(), empty);
        }
    }
}

/// Bytes of the part alone.
fn values_len(part: &[usize]) -> usize {
    let x = Samples::F32(smooth(part.iter().product()));
    call(0, &values("abs=0.01", dataset(Dtype::F32, part)), &x.to_le_bytes()).unwrap().len()
}

#[test]
fn damaged_payloads_are_refused() {
    let values = values("abs=0.01", dataset(Dtype::F32, &[6, 8, 10]));
    let payload = call(0, &values, &Samples::F32(smooth(480)).to_le_bytes()).unwrap();
    for cut in 0..payload.len() {
        assert_eq!(call(REVERSE, &values, &payload[..cut]), None);
    }
    for bit in 0..payload.len() * 8 {
        let mut bad = payload.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(call(REVERSE, &values, &bad), None);
    }
}

#[test]
fn payloads_of_another_chunk_are_refused() {
    let x = Samples::F32(smooth(480)).to_le_bytes();
    let payload = call(0, &values("lossless", dataset(Dtype::F32, &[6, 8, 10])), &x).unwrap();
    for other in [
        dataset(Dtype::I32, &[6, 8, 10]),
        dataset(Dtype::F32, &[6, 80]),
        dataset(Dtype::F32, &[5, 8, 10]),
        dataset(Dtype::F32, &[6, 10, 8]),
        // More than there is memory for.
        dataset(Dtype::F32, &[1 << 19, 1 << 19, 1 << 19]),
    ] {
        assert_eq!(call(REVERSE, &values("lossless", other.clone()), &payload), None, "{other:?}");
    }
    // Larger than what was written is what a dataset's edge looks like.
    assert!(call(REVERSE, &values("lossless", dataset(Dtype::F32, &[7, 8, 10])), &payload).is_some());
}

#[test]
fn parameters_and_bytes_must_fit() {
    let x = Samples::F32(smooth(480)).to_le_bytes();
    let good = values("abs=0.01", dataset(Dtype::F32, &[480]));
    assert!(call(0, &good, &x).is_some());
    assert_eq!(call(0, &good, &x[..1000]), None);
    assert_eq!(call(0, &good, &[]), None);
    assert_eq!(call(0, &[], &x), None, "what the dataset is must be known");
    assert_eq!(call(REVERSE, &[], &x), None);
    // The last word is the 0 behind the entries; the one before it is a length.
    assert_eq!(call(0, &good[..good.len() - 2], &x), None);
    assert_eq!(call(0, &values("bits=3", dataset(Dtype::I32, &[480])), &x), None, "integers have no mantissa");
    for (i, word) in (0..good.len()).flat_map(|i| [0, 1, 99, 101, u32::MAX].map(|w| (i, w))) {
        let mut bad = good.clone();
        bad[i] = word;
        // Whatever it is, it is no crash, and the buffer is what it should be.
        if let Some(payload) = call(0, &bad, &x) {
            assert_eq!(call(REVERSE, &bad, &payload).map(|b| b.len()), Some(x.len()), "{bad:?}");
        }
    }
}
