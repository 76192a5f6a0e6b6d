//! Any samples, type, shape, codec and bound: the promise holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lithify_codec::transform::TRANSFORMS;
use lithify_codec::{
    Affine, ChunkSpec, Codec, Dtype, FieldStats, Promise, Sample, Samples, decode_chunk, encode_chunk, mask::Mask, match_samples,
};

const BOUNDS: &[&str] =
    &["abs=0.01", "abs=1000", "rel=0.01", "range=1e-3", "l2=1e-3", "l2-block=1e-3", "psnr=60", "abs=1,rel=0.1", "bits=5", "lossless"];

fuzz_target!(|data: &[u8]| {
    let Some((head, data)) = data.split_first_chunk::<4>() else { return };
    let dtype = Dtype::ALL[usize::from(head[0]) % Dtype::ALL.len()];
    let data = &data[..data.len().min(4096)];
    let x = Samples::from_le_bytes(dtype, data);
    let columns = usize::from(head[1]) % 16 + 1;
    let n = x.len() / columns * columns;
    let x = x.crop(&[x.len()], &[0], &[n]);
    let shape = [n / columns, columns];
    let stage = usize::from(head[2]) % (TRANSFORMS.len() + 1);
    // A learned codec needs a model.
    let named = TRANSFORMS.get(stage).filter(|s| s.name != "learned");
    let codec = named.map_or(Codec::Lossless, |s| s.name.parse().unwrap());
    let promise: Promise = BOUNDS[usize::from(head[3]) % BOUNDS.len()].parse().unwrap();
    let mut field = FieldStats::default();
    let valid = match_samples!(&x, v => Mask::of(v, &[])).map(|m| m.valid());
    match_samples!(&x, v => field.add(v, valid.as_deref(), Affine::IDENTITY));
    let tolerance = promise.resolve(&field);
    let step = tolerance.mse.map(|m| (12.0 * m).sqrt());
    let spec = ChunkSpec { codec, tolerance, affine: Affine::IDENTITY, missing: vec![], step, effort: 3 };
    let coded = encode_chunk(&x, &shape, &spec).unwrap();
    let y = decode_chunk(&coded.bytes, &shape).unwrap();
    fn check<T: Sample>(x: &[T], y: &Samples, valid: Option<&[bool]>, spec: &ChunkSpec) {
        for (i, (a, b)) in x.iter().zip(T::slice(y).unwrap()).enumerate() {
            let ok = if valid.is_none_or(|m| m[i]) { spec.tolerance.holds(spec.affine, *a, *b) } else { a.to_bits() == b.to_bits() };
            assert!(ok, "{i}: {a:?} {b:?}");
        }
    }
    match_samples!(&x, v => check(v, &y, valid.as_deref(), &spec));
});
