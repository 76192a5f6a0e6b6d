//! The promise, over every codec x sample type x bound x hostile field x shape: not one violation.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use lithify_codec::testkit::{FIELDS, SHAPES, codec_of};
use lithify_codec::transform::TRANSFORMS;
use lithify_codec::{
    Affine, ChunkSpec, Codec, Dtype, FieldStats, Promise, Region, Samples, Tolerance, decode_chunk, decode_region,
    encode_chunk, match_samples,
};

const BOUNDS: &[&str] = &[
    "abs=0.01",
    "abs=3",
    "rel=0.001",
    "rel=0.3",
    "range=0.01",
    "range=1e-5",
    "l2=0.01",
    "l2=1e-4",
    "l2-block=1e-3",
    "psnr=50",
    "abs=0.5,l2=1e-3",
    "rel=0.01,abs=1",
    "rel=0.01,psnr=40",
    "bits=5",
    "lossless",
];

fn codecs() -> Vec<Codec> {
    let mut codecs: Vec<Codec> = TRANSFORMS.iter().map(|s| codec_of(s).unwrap()).collect();
    codecs.extend([Codec::Lossless, Codec::Auto(vec![]), "predict,quick=1".parse().unwrap()]);
    codecs
}

/// Encodes a variable of one chunk as a whole-variable job would: statistics first, then a step for the norm.
fn check(x: &Samples, shape: &[usize], codec: &Codec, bound: &str, affine: Affine, missing: &[u64]) -> usize {
    let promise: Promise = bound.parse().unwrap();
    let mut field = FieldStats::default();
    let valid: Vec<bool> = match_samples!(x, v => v.iter().map(|s| {
        lithify_codec::Sample::is_finite(*s) && !missing.contains(&lithify_codec::Sample::to_bits(*s))
    }).collect());
    match_samples!(x, v => field.add(v, Some(&valid), affine));
    let tolerance = promise.resolve(&field);
    let spec = ChunkSpec {
        codec: codec.clone(),
        tolerance,
        affine,
        missing: missing.to_vec(),
        step: tolerance.mse.map(|m| (12.0 * m).sqrt()),
        effort: 5,
    };
    let what = || format!("{codec} {bound} {} {shape:?} {affine:?}", x.dtype());
    let coded = encode_chunk(x, shape, &spec).unwrap_or_else(|e| panic!("{}: {e}", what()));
    let y = decode_chunk(&coded.bytes, shape).unwrap_or_else(|e| panic!("{}: {e}", what()));
    for i in 0..x.len() {
        let ok = if valid[i] { holds(&tolerance, affine, x, &y, i) } else { x.bits(i) == y.bits(i) };
        assert!(ok, "{}: sample {i}: {} became {}", what(), x.f64(i), y.f64(i));
    }
    if !promise.0.iter().any(|b| b.to_string().starts_with("l2=") || b.to_string().starts_with("psnr")) {
        assert!(promise.kept(&coded.stats), "{}: {:?}", what(), coded.stats);
    }
    // A part decodes to the same bits as the whole.
    let region =
        Region { start: shape.iter().map(|d| d / 3).collect(), count: shape.iter().map(|d| d.div_ceil(3)).collect() };
    let part = decode_region(&coded.bytes, shape, &region).unwrap();
    assert_eq!(part.to_le_bytes(), y.crop(shape, &region.start, &region.count).to_le_bytes(), "{}", what());
    x.len()
}

fn holds(t: &Tolerance, affine: Affine, x: &Samples, y: &Samples, i: usize) -> bool {
    fn typed<T: lithify_codec::Sample>(t: &Tolerance, a: Affine, x: &[T], y: &Samples, i: usize) -> bool {
        t.holds(a, x[i], T::slice(y).unwrap()[i])
    }
    match_samples!(x, v => typed(t, affine, v, y, i))
}

/// Runs `case(codec, k)` for every codec and every `k < n`, on all cores.
fn for_all(n: usize, case: impl Fn(&Codec, usize) + Sync) {
    let codecs = codecs();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let worker = || {
        loop {
            let i = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if i >= n * codecs.len() {
                return;
            }
            case(&codecs[i % codecs.len()], i / codecs.len());
        }
    };
    std::thread::scope(|s| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            s.spawn(worker);
        }
    });
}

#[test]
fn holds_at_both_ends_of_the_numbers() {
    let wave = |i: usize| (i as f64 * 0.02).sin() * if i.is_multiple_of(7) { 0.3 } else { 1.0 };
    // The range overflows, squares underflow.
    for (size, bound) in [(1.7e308, "range=1e-3"), (1e-200, "l2-block=1e-3"), (1e-310, "l2-block=1e-3")] {
        for_all(1, |codec, _| {
            let x: Vec<f64> = (0..600).map(|i| wave(i) * size).collect();
            let samples = Samples::F64(x.clone());
            let mut field = FieldStats::default();
            field.add(&x, None, Affine::IDENTITY);
            let promise: Promise = bound.parse().unwrap();
            let spec = ChunkSpec { codec: codec.clone(), tolerance: promise.resolve(&field), ..ChunkSpec::lossless() };
            let coded = encode_chunk(&samples, &[20, 30], &spec).unwrap();
            let Samples::F64(y) = decode_chunk(&coded.bytes, &[20, 30]).unwrap() else { panic!("{codec}") };
            let errors = || x.iter().zip(&y).map(|(x, y)| y / size - x / size);
            let square = |v: f64| v * v;
            let norm = (errors().map(square).sum::<f64>() / x.iter().map(|x| square(x / size)).sum::<f64>()).sqrt();
            let largest = errors().fold(0.0, |m: f64, e| m.max(e.abs()));
            assert!(if size > 1.0 { largest <= 2e-3 } else { norm <= 1.01e-3 }, "{codec} {bound}: {largest} {norm}");
            assert!(promise.kept(&coded.stats), "{codec} {bound}: {:?}", coded.stats);
        });
    }
}

#[test]
fn holds_for_every_codec_type_bound_field_and_shape() {
    for_all(Dtype::ALL.len() * BOUNDS.len(), |codec, i| {
        let (dtype, bound) = (Dtype::ALL[i % Dtype::ALL.len()], BOUNDS[i / Dtype::ALL.len()]);
        for (k, field) in FIELDS.iter().enumerate() {
            // Every field meets every shape over the run.
            let shape = SHAPES[(k * 5 + i) % SHAPES.len()];
            let x = field.samples(dtype, shape.iter().product(), k as u64);
            check(&x, shape, codec, bound, Affine::IDENTITY, &[]);
        }
    });
}

/// `LITHIFY_PROMISE_VALUES=1e8` makes this as long as one likes.
#[test]
fn holds_on_many_values() {
    let wanted = std::env::var("LITHIFY_PROMISE_VALUES").ok().and_then(|v| v.parse::<f64>().ok()).unwrap_or(2e6);
    let shape = [9, 61, 73];
    let n: usize = shape.iter().product();
    let rounds = (wanted / (n * codecs().len()) as f64).ceil() as usize;
    let values = std::sync::atomic::AtomicUsize::new(0);
    for_all(rounds, |codec, i| {
        let (dtype, bound) = (Dtype::ALL[(i * 7 + 9) % Dtype::ALL.len()], BOUNDS[i * 5 % BOUNDS.len()]);
        let x = FIELDS[i % FIELDS.len()].samples(dtype, n, i as u64);
        let done = check(&x, &shape, codec, bound, Affine::IDENTITY, &[]);
        values.fetch_add(done, std::sync::atomic::Ordering::Relaxed);
    });
    println!("{} values, no violation", values.into_inner());
}

#[test]
fn packed_integers_keep_bounds_in_physical_units() {
    let affine = Affine { scale: -0.0123, offset: 273.15 };
    for_all(BOUNDS.len(), |codec, i| {
        for (k, field) in FIELDS.iter().enumerate() {
            let x = field.samples(Dtype::I16, 600, k as u64);
            check(&x, &[20, 30], codec, BOUNDS[i], affine, &[x.bits(5)]);
        }
    });
}

#[test]
fn a_valid_sample_never_turns_into_a_marker_of_missing_ones() {
    let x = Samples::F32((0..5000).map(|i| if i % 7 == 0 { 0.0 } else { (i as f32 / 50.0).sin() }).collect());
    let missing = [0, 1 << 31];
    for codec in codecs() {
        let tolerance = Tolerance { abs: Some(0.5), ..Tolerance::default() };
        let spec = ChunkSpec { codec, tolerance, missing: missing.to_vec(), ..ChunkSpec::lossless() };
        let y = decode_chunk(&encode_chunk(&x, &[50, 100], &spec).unwrap().bytes, &[50, 100]).unwrap();
        assert!((0..5000).all(|i| missing.contains(&x.bits(i)) == missing.contains(&y.bits(i))), "{}", spec.codec);
    }
}

#[test]
fn transposes_take_as_many_bytes_and_have_the_same_errors() {
    let shape = [7usize, 24, 31];
    // Smooth in the second dimension, rough in the first; an island of missing samples.
    let value = |i: &[usize; 3]| {
        let (a, b, c) = (i[0] as f64, i[1] as f64, i[2] as f64);
        let island = (b - 9.0).powi(2) + (c - 14.0).powi(2) < 30.0 + 4.0 * a;
        if island { f32::NAN } else { ((a * 2.1).sin() * (c * 0.2).cos() + (b * 0.07).sin()) as f32 }
    };
    let sized = |order: [usize; 3], bound: &str| {
        let lengths = order.map(|d| shape[d]);
        let x = (0..shape.iter().product()).map(|at: usize| {
            let mut i = [0; 3];
            let mut rest = at;
            for d in (0..3).rev() {
                i[order[d]] = rest % lengths[d];
                rest /= lengths[d];
            }
            value(&i)
        });
        let x = Samples::F32(x.collect());
        let valid: Vec<bool> = (0..x.len()).map(|i| x.f64(i).is_finite()).collect();
        let mut field = FieldStats::default();
        match_samples!(&x, v => field.add(v, Some(&valid), Affine::IDENTITY));
        let tolerance = bound.parse::<Promise>().unwrap().resolve(&field);
        let spec = ChunkSpec { codec: Codec::Auto(vec![]), tolerance, ..ChunkSpec::lossless() };
        let coded = encode_chunk(&x, &lengths, &spec).unwrap();
        let whole = decode_chunk(&coded.bytes, &lengths).unwrap();
        let start = lengths.map(|n| n / 3);
        let count = lengths.map(|n| n / 2);
        let region = Region { start: start.to_vec(), count: count.to_vec() };
        let part = decode_region(&coded.bytes, &lengths, &region).unwrap();
        assert_eq!(part.to_le_bytes(), whole.crop(&lengths, &start, &count).to_le_bytes());
        (coded.bytes.len() as f64, coded.stats.max_abs, coded.stats.rmse())
    };
    for bound in ["range=1e-2", "range=1e-4", "abs=1e-7"] {
        let (bytes, max, rmse) = sized([0, 1, 2], bound);
        for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let (b, m, r) = sized(order, bound);
            let near = |a: f64, b: f64| (a - b).abs() <= 0.01 * b;
            assert!(
                near(b, bytes) && near(m, max) && near(r, rmse),
                "{bound} {order:?}: {b} {m} {r}, {bytes} {max} {rmse}"
            );
        }
    }
}
