//! Chunks that are written in several steps: HDF5 reads a chunk, changes a part and writes it, in each step.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test fails by panicking

use lithify_codec::{Dtype, Sample, Samples, encode_chunk, header, parts, testkit::hash};
use lithify_hdf5::{Dataset, Params, chunk};

const FILL: f32 = 9.969_21e36;

fn params(bound: &str, dtype: Dtype, fill: u64, shape: &[usize]) -> Params {
    let dataset = Dataset { dtype, big_endian: false, fill, fill_is_missing: fill != 0, chunk: shape.into() };
    Params { promise: bound.parse().unwrap(), effort: 2, dataset: Some(dataset), ..Params::default() }
}

/// Waves that move with the first dimension, and some noise; seldom the same twice.
fn field(seed: u64, shape: &[usize]) -> Vec<f32> {
    let n: usize = shape.iter().product();
    let step = n / shape[0];
    let noise = |i: usize| (hash(i as u64 + seed * 7_777_777) % 1000) as f32 * 3e-4;
    (0..n)
        .map(|i| 280.0 + 9.0 * ((i % step) as f32 / 41.0 + (i / step) as f32 * 0.3 + seed as f32).sin() + noise(i))
        .collect()
}

/// A chunk in a file, and what was written to it.
struct Stored<T> {
    params: Params,
    truth: Vec<T>,
    payload: Option<Vec<u8>>,
}

impl<T: Sample> Stored<T> {
    fn new(params: Params) -> Self {
        let dataset = params.dataset.as_ref().unwrap();
        let truth = vec![T::from_bits(dataset.fill); dataset.chunk.iter().product()];
        Self { params, truth, payload: None }
    }

    fn read(&self) -> Vec<T> {
        let Some(payload) = &self.payload else {
            return vec![T::from_bits(self.params.dataset.as_ref().unwrap().fill); self.truth.len()];
        };
        let mut bytes = chunk::decode(&self.params, payload).unwrap();
        self.swap(&mut bytes);
        T::read_le(&bytes)
    }

    fn swap(&self, bytes: &mut [u8]) {
        if self.params.dataset.as_ref().unwrap().big_endian {
            bytes.chunks_exact_mut(size_of::<T>()).for_each(<[u8]>::reverse);
        }
    }

    /// Opens the file, writes the samples that `wanted` picks, closes it.
    fn write(&mut self, from: &[T], wanted: impl Fn(usize) -> bool) {
        let mut now = self.read();
        for i in (0..now.len()).filter(|i| wanted(*i)) {
            (now[i], self.truth[i]) = (from[i], from[i]);
        }
        let mut bytes = Vec::new();
        T::write_le(&now, &mut bytes);
        self.swap(&mut bytes);
        self.payload = Some(chunk::encode(&self.params, &bytes).unwrap());
    }

    fn error(&self) -> f64 {
        let off = |(a, b): (&T, &T)| if a.to_bits() == b.to_bits() { 0.0 } else { (a.to_f64() - b.to_f64()).abs() };
        self.truth.iter().zip(&self.read()).map(off).fold(0.0, f64::max)
    }

    fn size(&self) -> usize {
        self.payload.as_ref().unwrap().len()
    }
}

#[test]
fn one_step_after_another() {
    let shape = [10, 60, 70];
    for (k, bound) in ["abs=0.1", "rel=1e-3", "abs=5", "l2-block=1e-3"].into_iter().enumerate() {
        let params = params(bound, Dtype::F32, FILL.to_bits().into(), &shape);
        let x = field(k as u64, &shape);
        let mut stored = Stored::new(params.clone());
        let mut before: Vec<f32> = Vec::new();
        for t in 0..10 {
            stored.write(&x, |i| i / 4200 == t);
            let now = stored.read();
            assert!(before.iter().zip(&now).take(t * 4200).all(|(a, b)| a.to_bits() == b.to_bits()), "{bound} {t}");
            assert!(now[(t + 1) * 4200..].iter().all(|v| *v == FILL));
            before = now;
        }
        let most = [0.1, 0.3, 5.0, 20.0][k];
        assert!(stored.error() > 0.0 && stored.error() <= most, "{bound}: {}", stored.error());
        let mut once = Stored::new(params);
        once.write(&x, |_| true);
        // Each step has a header of its own.
        assert!(stored.size() < 2 * once.size() + 10 * 64, "{bound}: {} of {}", stored.size(), once.size());
    }
}

#[test]
fn rows_at_the_end_of_chunks() {
    // Five rows at a time, chunks of seven: what h5py's `resize` and append come to.
    let (shape, row) = ([7, 100], 100);
    let params = params("abs=0.1", Dtype::F32, 0, &shape);
    let x = field(11, &[70, 100]);
    let mut chunks: Vec<Stored<f32>> = (0..10).map(|_| Stored::new(params.clone())).collect();
    for first in (0..70).step_by(5) {
        for c in first / 7..=(first + 4) / 7 {
            chunks[c].write(&x[c * 700..][..700], |i| (first..first + 5).contains(&(c * 7 + i / row)));
        }
    }
    for chunk in &chunks {
        assert!(chunk.error() > 0.0 && chunk.error() <= 0.1, "{}", chunk.error());
    }
}

#[test]
fn any_change_keeps_the_bound() {
    type Wanted = fn(usize, usize) -> bool;
    let shape = [6, 40, 50];
    let changes: [(&str, Wanted); 9] = [
        ("one sample", |i, k| i == 777 + 1001 * k),
        ("a step in the middle", |i, k| i / 2000 == k % 6),
        ("from the last step on", |i, k| i / 2000 == 5 - k % 6),
        ("half a step", |i, k| i / 1000 == k % 12),
        ("columns", |i, k| i % 50 / 6 == k),
        ("all but the margin", |i, _| (1..49).contains(&(i % 50)) && (1..39).contains(&(i / 50 % 40))),
        ("points", |i, k| hash((i + k * 12_000) as u64).is_multiple_of(3)),
        ("most points", |i, k| !hash((i + k * 12_000) as u64).is_multiple_of(9)),
        ("every other row", |i, k| i / 50 % 2 == k % 2),
    ];
    for (c, (what, wanted)) in changes.into_iter().enumerate() {
        for begun in [false, true] {
            let seed = 100 + 2 * c as u64 + u64::from(begun);
            let fill = if begun { 0 } else { FILL.to_bits() };
            let mut params = params("abs=0.1", Dtype::F32, fill.into(), &shape);
            params.dataset.as_mut().unwrap().big_endian = begun;
            let mut stored = Stored::new(params);
            if begun {
                stored.write(&field(seed, &shape), |_| true);
                assert!(stored.error() > 0.05, "this test is about a lossy codec");
            }
            for k in 0..8 {
                stored.write(&field(seed + 1000 * (k as u64 + 1), &shape), |i| wanted(i, k));
                assert!(stored.error() <= 0.1, "{what}, {begun}, pass {k}: {}", stored.error());
            }
        }
    }
}

#[test]
fn lines_and_integers() {
    // One dimension, a few samples at a time.
    let x = field(31, &[1, 500]);
    let params_of = |dtype, n: usize| params("abs=3", dtype, 0, &[n]);
    let mut line = Stored::new(params_of(Dtype::F32, 500));
    for k in 0..50 {
        line.write(&x, |i| i / 10 == k);
    }
    assert!(line.error() <= 3.0 && line.size() <= 2000 + 64, "{} {}", line.error(), line.size());
    let mut backwards = Stored::new(params_of(Dtype::F32, 500));
    for k in (0..50).rev() {
        backwards.write(&x, |i| i / 10 == k);
    }
    assert!(backwards.error() <= 3.0, "{}", backwards.error());
    let shape = [8, 30, 40];
    let x: Vec<i16> = field(32, &shape).iter().map(|v| (v * 50.0) as i16).collect();
    let mut packed = Stored::new(params("abs=3", Dtype::I16, 0x8001, &shape));
    for t in 0..8 {
        packed.write(&x, |i| i / 1200 == t);
        assert!(packed.error() <= 3.0);
    }
    assert_eq!(parts(packed.payload.as_ref().unwrap()).unwrap().len(), 8);
    // A step of a joined payload anew: the others stay.
    packed.write(&x.iter().map(|v| v + 17).collect::<Vec<_>>(), |i| i / 1200 == 3);
    assert!(packed.error() > 0.0 && packed.error() <= 3.0);
    assert_eq!(parts(packed.payload.as_ref().unwrap()).unwrap().len(), 8);
}

/// What was read from one chunk does not make another's data lossless.
#[test]
fn new_data_are_coded_as_ever() {
    let shape = [4, 40, 50];
    let params = params("abs=0.5", Dtype::F32, FILL.to_bits().into(), &shape);
    // A third is clipped, a corner is missing, some rows are constant.
    let like = |seed: u64| -> Vec<f32> {
        let one = |(i, v): (usize, f32)| match (i % 50, i / 50 % 40) {
            (0..9, 0..20) => FILL,
            (_, 20..22) => 271.35,
            _ => v.min(284.0),
        };
        field(seed, &shape).into_iter().enumerate().map(one).collect()
    };
    for seed in 200..212 {
        let mut stored = Stored::new(params.clone());
        stored.write(&like(seed), |_| true);
        let spec = params.spec(params.dataset.as_ref().unwrap()).unwrap();
        let alone = encode_chunk(&Samples::F32(like(seed)), &shape, &spec).unwrap();
        assert_eq!(stored.payload.as_ref(), Some(&alone.bytes));
        assert_ne!(header(&alone.bytes).unwrap().codec, "lossless");
        // Read, so remembered. Written as it is, as a copy is, it is the same.
        stored.write(&[], |_| false);
        assert_eq!(stored.payload, Some(alone.bytes));
    }
}
