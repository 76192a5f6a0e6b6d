//! Learned codecs without training: what every model, trained or not, must keep.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use lithify_codec::learned::testkit::{models, texture, textures, wavelet};
use lithify_codec::learned::{Hash, Model, register};
use lithify_codec::testkit::{FIELDS, uniform};
use lithify_codec::{
    Affine, ChunkSpec, Codec, Dtype, Error, FieldStats, Probe, Promise, Region, Samples, Tolerance, decode_chunk,
    decode_region, encode_chunk, header, match_samples,
};

fn codec(model: Model) -> Codec {
    format!("learned:{}", register(model)).parse().unwrap()
}

fn spec(codec: Codec, bound: &str, x: &Samples) -> ChunkSpec {
    let mut field = FieldStats::default();
    let valid: Vec<bool> = (0..x.len()).map(|i| x.f64(i).is_finite()).collect();
    match_samples!(x, v => field.add(v, Some(&valid), Affine::IDENTITY));
    ChunkSpec { codec, tolerance: bound.parse::<Promise>().unwrap().resolve(&field), ..ChunkSpec::lossless() }
}

fn smooth(shape: &[usize]) -> Samples {
    let n: usize = shape.iter().product();
    let row = *shape.last().unwrap();
    Samples::F32(
        (0..n)
            .map(|i| ((i % row) as f32 / 9.0).sin() * 30.0 + (i / row) as f32 * 0.1 + uniform(i as u64) as f32)
            .collect(),
    )
}

#[test]
fn a_bound_holds_for_every_model_and_field() {
    for (model, shape) in models().unwrap() {
        let name = model.card().name.clone();
        let codec = codec(model);
        let n: usize = shape.iter().product();
        for (k, field) in FIELDS.iter().enumerate() {
            let all =
                [(Dtype::F32, "abs=0.3"), (Dtype::I16, "abs=3"), (Dtype::F64, "rel=1e-2"), (Dtype::F64, "abs=0.3")];
            for (dtype, bound) in [all[k % 4], all[(k + 1) % 4]] {
                let x = field.samples(dtype, n, k as u64);
                let spec = ChunkSpec { effort: [2, 5][k % 2], ..spec(codec.clone(), bound, &x) };
                let coded = encode_chunk(&x, &shape, &spec).unwrap_or_else(|e| panic!("{name} {}: {e}", field.name()));
                let y = decode_chunk(&coded.bytes, &shape).unwrap_or_else(|e| panic!("{name} {}: {e}", field.name()));
                for i in 0..n {
                    let same = x.bits(i) == y.bits(i);
                    let near = match bound {
                        "rel=1e-2" => (x.f64(i) - y.f64(i)).abs() <= 1e-2 * x.f64(i).abs(),
                        "abs=3" => (x.f64(i) - y.f64(i)).abs() <= 3.0,
                        _ => (x.f64(i) - y.f64(i)).abs() <= 0.3,
                    };
                    assert!(same || near, "{name} {} {bound} at {i}: {} {}", field.name(), x.f64(i), y.f64(i));
                }
            }
        }
    }
}

#[test]
fn a_model_is_used_where_it_helps_and_a_part_is_cropped_from_the_whole() {
    let codec = codec(wavelet().unwrap());
    let shape = [2, 530, 200];
    let x = smooth(&shape);
    let region = Region { start: vec![1, 505, 3], count: vec![1, 20, 150] };
    for bound in ["abs=4", "abs=0.05", "psnr=30", "psnr=70"] {
        let mut spec = spec(codec.clone(), bound, &x);
        if let Some(mse) = spec.tolerance.mse {
            let mut probes = [Probe::new(&x, &shape, &spec).unwrap()];
            let step = lithify_codec::objective::shared_step(&mut probes, mse);
            spec.step = Some(step);
        }
        let coded = encode_chunk(&x, &shape, &spec).unwrap();
        assert_eq!(coded.codec, "learned", "{bound}");
        assert_eq!(header(&coded.bytes).unwrap().codec, "learned");
        if let Some(mse) = spec.tolerance.mse {
            let got = coded.stats.rmse().powi(2) / mse;
            assert!((0.5..1.1).contains(&got), "{bound}: {got} of the error that is allowed");
        }
        let y = decode_chunk(&coded.bytes, &shape).unwrap();
        let part = decode_region(&coded.bytes, &shape, &region).unwrap();
        assert_eq!(part.to_le_bytes(), y.crop(&shape, &region.start, &region.count).to_le_bytes(), "{bound}");
    }
}

#[test]
fn models_come_back_from_their_files_and_damage_is_an_error_or_another_model() {
    for (model, shape) in models().unwrap() {
        let bytes = model.as_bytes().to_vec();
        let again = Model::from_bytes(&bytes).unwrap();
        assert_eq!((again.hash(), again.card()), (model.hash(), model.card()));
        let step = bytes.len() / 150 + 1;
        for at in (0..bytes.len()).step_by(step) {
            assert!(Model::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
            let mut b = bytes.clone();
            b[at] ^= 1 << (at % 8);
            if let Ok(m) = Model::from_bytes(&b) {
                assert_ne!(m.hash(), model.hash());
                // Whatever loads also runs.
                if at % 20 == 0 {
                    let x = smooth(&shape);
                    let coded = encode_chunk(&x, &shape, &spec(codec(m), "abs=1", &x)).unwrap();
                    decode_chunk(&coded.bytes, &shape).unwrap();
                }
            }
        }
    }
}

#[test]
fn damaged_streams_are_errors_or_values() {
    for (model, shape) in models().unwrap() {
        let x = smooth(&shape);
        let hash = model.hash();
        let coded = encode_chunk(&x, &shape, &ChunkSpec { effort: 2, ..spec(codec(model), "abs=20", &x) }).unwrap();
        assert_eq!(coded.codec, "learned", "{hash}");
        let bytes = coded.bytes;
        for bit in (0..bytes.len() * 8).step_by(13) {
            let mut b = bytes.clone();
            b[bit / 8] ^= 1 << (bit % 8);
            let at = b.len() - 4;
            let crc = lithify_codec::crc32c_append(0, &b[..at]);
            b[at..].copy_from_slice(&crc.to_le_bytes());
            let _ = decode_chunk(&b, &shape);
        }
        for cut in (0..bytes.len()).step_by(7) {
            assert!(decode_chunk(&bytes[..cut], &shape).is_err());
        }
    }
}

#[test]
fn a_model_that_is_not_there_is_named() {
    let codec: Codec = format!("learned:{},lat=3", Hash([7; 32])).parse().unwrap();
    assert_eq!(codec.to_string(), format!("learned:{},lat=3", "07".repeat(32)));
    let x = smooth(&[8, 8]);
    let e = encode_chunk(&x, &[8, 8], &spec(codec, "abs=1", &x)).unwrap_err();
    assert!(matches!(&e, Error::Model { hash } if *hash == "07".repeat(32)), "{e}");
    assert!("learned".parse::<Codec>().is_err() && "learned:abc".parse::<Codec>().is_err());
}

#[test]
fn side_inputs_are_checked_and_kept() {
    let (model, shape) = models().unwrap().pop().unwrap();
    let hash = register(model);
    let x = smooth(&shape);
    let bytes = |side: &str| {
        let codec: Codec = format!("learned:{hash}{side}").parse().unwrap();
        encode_chunk(&x, &shape, &ChunkSpec { effort: 2, ..spec(codec, "abs=8", &x) }).map(|e| e.bytes)
    };
    assert_ne!(bytes("").unwrap(), bytes(",lat=50").unwrap());
    assert_eq!(bytes("").unwrap(), bytes(",lat=0,season=0").unwrap());
    let payload = bytes(",lat=50,season=3").unwrap();
    assert_eq!(decode_chunk(&payload, &shape).unwrap().len(), x.len());
    assert!(matches!(bytes(",long=3"), Err(Error::Invalid { .. })));
    assert!(matches!(
        encode_chunk(&smooth(&[4, 6, 6]), &[4, 6, 6], &spec(codec(models().unwrap().remove(3).0), "abs=8", &x)),
        Err(Error::Invalid { .. })
    ));
}

#[test]
fn threads_and_narrow_vectors_make_the_same_bytes() {
    fn digest() -> u32 {
        let coded = |(model, shape): (Model, Vec<usize>)| {
            let x = smooth(&shape);
            let e = encode_chunk(&x, &shape, &ChunkSpec { effort: 2, ..spec(codec(model), "abs=2", &x) }).unwrap();
            lithify_codec::crc32c_append(decode_chunk(&e.bytes, &shape).unwrap().crc32c(), &e.bytes)
        };
        models().unwrap().into_iter().map(coded).fold(0, |a, b| a.rotate_left(1) ^ b)
    }
    if let Ok(want) = std::env::var("LITHIFY_TEST_DIGEST") {
        assert_eq!(digest().to_string(), want);
        return;
    }
    let here = digest();
    let threads: Vec<_> = (0..2).map(|_| std::thread::spawn(digest)).collect();
    threads.into_iter().for_each(|t| assert_eq!(t.join().unwrap(), here));
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["threads_and_narrow_vectors_make_the_same_bytes", "--exact"])
        .envs([("LITHIFY_SIMD", "baseline"), ("LITHIFY_TEST_DIGEST", here.to_string().as_str())])
        .status();
    assert!(status.unwrap().success());
}

/// Blocks of a texture or of its negative, by chance.
fn textured(shape: &[usize]) -> Samples {
    let n: usize = shape.iter().product();
    let [rows, columns] = [shape[shape.len() - 2], shape[shape.len() - 1]];
    let value = |i: usize| {
        let (y, x) = (i / columns % rows, i % columns);
        let block = (i / columns / rows * 1000 + y / 8) * 1000 + x / 8;
        let sign = if uniform(block as u64) < 0.5 { -1.0 } else { 1.0 };
        (10.0 + 40.0 * sign * texture(y % 8 * 8 + x % 8)) as f32
    };
    Samples::F32((0..n).map(value).collect())
}

#[test]
fn auto_takes_a_model_that_fits_and_helps() {
    let (known, bands) = (register(textures().unwrap()), register(models().unwrap().swap_remove(3).0));
    let auto: Codec = format!("auto,model={known},model={bands}").parse().unwrap();
    assert_eq!(auto.to_string(), format!("auto,model={known},model={bands}"));
    let tolerance = "abs=0.5".parse::<Promise>().unwrap().resolve(&FieldStats::default());
    let spec = |codec: Codec| ChunkSpec { codec, tolerance, ..ChunkSpec::lossless() };
    // Its own sample, and one of which a part is the sample.
    for shape in [&[2, 160, 160][..], &[448, 512]] {
        let x = textured(shape);
        let plain = encode_chunk(&x, shape, &spec(Codec::Auto(vec![]))).unwrap();
        let coded = encode_chunk(&x, shape, &spec(auto.clone())).unwrap();
        assert_eq!(coded.codec, "learned", "{shape:?}");
        let sizes = [coded.bytes.len(), plain.bytes.len()];
        assert!(plain.codec != "learned" && 4 * sizes[0] < sizes[1], "{shape:?} {sizes:?}");
        let y = decode_chunk(&coded.bytes, shape).unwrap();
        assert!((0..x.len()).all(|i| (x.f64(i) - y.f64(i)).abs() <= 0.5), "{shape:?}");
        let norm = ChunkSpec { tolerance: Tolerance { mse: Some(0.01), ..Tolerance::default() }, ..spec(auto.clone()) };
        let chosen = lithify_codec::auto::choose(&[(&x, shape)], &norm).unwrap();
        assert_eq!(chosen.to_string(), format!("learned:{known}"), "{shape:?}");
    }
    // Of a chunk with three bands, samples have all of them.
    let first: Codec = format!("auto,model={bands}").parse().unwrap();
    assert_eq!(first.part_shape(&[3, 512, 1024], 1 << 16), [3, 128, 128]);
    assert_eq!(first.part_shape(&[3, 2, 2], 4), [3, 1, 1]);
    let x = textured(&[3, 512, 512]);
    encode_chunk(&x, &[3, 512, 512], &spec(first)).unwrap();
    let missing = format!("auto,model={}", "0".repeat(64)).parse().unwrap();
    assert!(matches!(encode_chunk(&x, &[3, 512, 512], &spec(missing)), Err(Error::Model { .. })));
    for bad in ["auto,model=12", "auto,effort=3"] {
        assert!(bad.parse::<Codec>().is_err(), "{bad}");
    }
}
