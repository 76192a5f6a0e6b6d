//! Joined payloads decode to what their parts decode to, bit for bit, whole and in part; damaged ones are refused.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use lithify_codec::testkit::FIELDS;
use lithify_codec::{
    ChunkSpec, Dtype, Error, FieldStats, Promise, Region, Samples, decode_chunk, decode_region, encode_chunk, header,
    join, parts,
};

/// Payloads of parts with these lengths along `axis`, and all their decoded samples together.
fn coded(
    dtype: Dtype,
    codec: &str,
    bound: &str,
    other: &[usize],
    axis: usize,
    lengths: &[usize],
) -> (Vec<Vec<u8>>, Vec<usize>, Samples) {
    let promise: Promise = bound.parse().unwrap();
    let tolerance = promise.resolve(&FieldStats::default());
    let spec = ChunkSpec { codec: codec.parse().unwrap(), tolerance, ..ChunkSpec::lossless() };
    let mut whole = other.to_vec();
    whole[axis] = lengths.iter().sum();
    let mut all = Samples::zeros(dtype, whole.iter().product());
    let (mut payloads, mut start) = (Vec::new(), vec![0; whole.len()]);
    for (i, n) in lengths.iter().enumerate() {
        let mut shape = other.to_vec();
        shape[axis] = *n;
        let x = FIELDS[[0, 1, 8, 9][i % 4]].samples(dtype, shape.iter().product(), i as u64);
        let payload = encode_chunk(&x, &shape, &spec).unwrap().bytes;
        let y = decode_chunk(&payload, &shape).unwrap();
        all.paste(&whole, &start, &y, &shape).unwrap();
        start[axis] += n;
        payloads.push(payload);
    }
    (payloads, whole, all)
}

fn slices(payloads: &[Vec<u8>]) -> Vec<&[u8]> {
    payloads.iter().map(Vec::as_slice).collect()
}

#[test]
fn parts_come_back_as_they_were() {
    let table: &[(&[usize], usize, &[usize])] = &[
        (&[0], 0, &[1, 1]),
        (&[0], 0, &[100, 1, 37]),
        (&[0, 13], 0, &[3, 4]),
        (&[13, 0], 1, &[1, 9, 5]),
        (&[1, 0, 12], 1, &[4, 4]),
        (&[2, 0, 6], 1, &[1, 2, 3, 4]),
        (&[3, 4, 0], 2, &[5, 1]),
        (&[0, 3, 5, 4], 0, &[2, 2, 2]),
    ];
    for &(other, axis, lengths) in table {
        for dtype in Dtype::ALL {
            for (codec, bound) in [("predict", "abs=2"), ("wavelet", "abs=3"), ("lossless", "lossless")] {
                let what = format!("{dtype} {codec} {other:?} {axis} {lengths:?}");
                let (payloads, shape, all) = coded(dtype, codec, bound, other, axis, lengths);
                let joined = join(axis, &slices(&payloads)).unwrap();
                let h = header(&joined).unwrap();
                assert_eq!((h.dtype, &h.shape, h.decoded_crc32c), (dtype, &shape, all.crc32c()), "{what}");
                assert_eq!(decode_chunk(&joined, &shape).unwrap().to_le_bytes(), all.to_le_bytes(), "{what}");
                // One by one, it comes to the same bytes.
                let step = payloads[1..].iter().fold(payloads[0].clone(), |j, p| join(axis, &[&j, p]).unwrap());
                assert_eq!(step, joined, "{what}");
                let found = parts(&joined).unwrap();
                assert!(found.iter().map(|p| p.payload).eq(payloads.iter().map(Vec::as_slice)), "{what}");
                let starts: Vec<usize> = (0..lengths.len()).map(|i| lengths[..i].iter().sum()).collect();
                assert!(found.iter().map(|p| p.start[axis]).eq(starts), "{what}");
                for (start, count) in lithify_codec::block::grid(&shape, &vec![2; shape.len()]) {
                    let region = Region { start: start.clone(), count: count.clone() };
                    let part = decode_region(&joined, &shape, &region).unwrap();
                    assert_eq!(part.to_le_bytes(), all.crop(&shape, &start, &count).to_le_bytes(), "{what} {start:?}");
                }
            }
        }
    }
}

#[test]
fn a_region_decodes_only_the_parts_that_it_touches() {
    let (mut payloads, shape, all) = coded(Dtype::F32, "predict", "abs=2", &[0, 9, 9], 0, &[3, 3, 3]);
    // The decoded checksum of the last part lies: whoever decodes it whole finds out.
    let last = payloads.last_mut().unwrap();
    let at = last.len() - 8;
    last[at] ^= 1;
    let crc = lithify_codec::crc32c_append(0, &last[..at + 4]);
    last[at + 4..].copy_from_slice(&crc.to_le_bytes());
    let joined = join(0, &slices(&payloads)).unwrap();
    let region = |start: usize, n: usize| Region { start: vec![start, 0, 0], count: vec![n, 9, 9] };
    let first = decode_region(&joined, &shape, &region(1, 5)).unwrap();
    assert_eq!(first, all.crop(&shape, &[1, 0, 0], &[5, 9, 9]));
    assert!(matches!(decode_region(&joined, &shape, &region(5, 4)), Err(Error::Corrupt { .. })));
    assert!(matches!(decode_chunk(&joined, &shape), Err(Error::Corrupt { .. })));
}

#[test]
fn what_does_not_fit_is_not_joined() {
    let of = |dtype, shape: &[usize]| {
        let x = FIELDS[0].samples(dtype, shape.iter().product(), 1);
        encode_chunk(&x, shape, &ChunkSpec::lossless()).unwrap().bytes
    };
    let a = of(Dtype::F32, &[2, 3, 4]);
    let across = join(1, &[&a, &a]).unwrap();
    let table: &[(usize, &[&[u8]], &str)] = &[
        (0, &[], "nothing"),
        (0, &[&a], "two"),
        (3, &[&a, &a], "dimensions"),
        (0, &[&a, &of(Dtype::F64, &[2, 3, 4])], "float64"),
        (0, &[&a, &of(Dtype::F32, &[2, 4, 4])], "[2, 4, 4]"),
        (0, &[&a, &of(Dtype::F32, &[2, 3])], "[2, 3]"),
        (0, &[&a, &of(Dtype::F32, &[0, 3, 4])], "needs samples"),
        (0, &[&across, &across], "along another"),
    ];
    for (axis, payloads, says) in table {
        let e = join(*axis, payloads).unwrap_err();
        assert!(matches!(e, Error::Invalid { .. }) && e.to_string().contains(says), "{e}");
    }
    assert!(matches!(join(0, &[&a, &a[..9]]), Err(Error::Truncated { .. } | Error::Corrupt { .. })));
    let e = decode_chunk(&across, &[4, 3, 4]).unwrap_err();
    assert!(matches!(e, Error::Corrupt { .. }), "{e}");
    assert!(decode_region(&across, &[2, 6, 4], &Region { start: vec![0, 5, 0], count: vec![2, 2, 4] }).is_err());
}

/// With every checksum put right, the one over the parts and that of a part, damage reaches the reader of the form.
#[test]
fn lies_with_right_checksums_do_no_harm() {
    let (payloads, shape, all) = coded(Dtype::I16, "lossless", "lossless", &[0, 5], 0, &[2, 1, 3]);
    let joined = join(0, &slices(&payloads)).unwrap();
    let seal = |b: &mut Vec<u8>| {
        let at = b.len() - 4;
        let crc = lithify_codec::crc32c_append(0, &b[..at]);
        b[at..].copy_from_slice(&crc.to_le_bytes());
    };
    let inside = joined.windows(payloads[1].len()).position(|w| w == payloads[1]).unwrap();
    for bit in 0..joined.len() * 8 {
        let mut b = joined.clone();
        b[bit / 8] ^= 1 << (bit % 8);
        let mut part = b[inside..inside + payloads[1].len()].to_vec();
        seal(&mut part);
        b[inside..inside + part.len()].copy_from_slice(&part);
        seal(&mut b);
        if let Ok(x) = decode_chunk(&b, &shape) {
            // Only a flip in a checksum that was put right is none.
            assert_eq!(x, all, "bit {bit}");
        }
        let _ = parts(&b).map(|p| p.len());
    }
    for cut in 0..joined.len() {
        let mut b = joined[..cut].to_vec();
        if cut >= 4 {
            seal(&mut b);
        }
        assert!(header(&b).is_err(), "cut at {cut}");
    }
    // A part in a part.
    let mut w = lithify_codec::bits::Writer::new();
    w.bytes.extend_from_slice(b"LTH\x02");
    w.bytes.extend_from_slice(&[2, 2, 6, 5, 0, 1]);
    w.section(&joined);
    w.u32(all.crc32c());
    w.u32(0);
    seal(&mut w.bytes);
    let e = header(&w.bytes).unwrap_err();
    assert!(e.to_string().contains("joined itself"), "{e}");
}
