//! Every bit: samples become ordered integers ("keys"), keys are predicted, and what the prediction missed is coded.
//!
//! 1. Dimensions along which nothing changes are dropped.
//! 2. A `lift` maps samples to keys: ordered bits, an arithmetic or decimal lattice, ranks in a palette, a lattice for each slice.
//! 3. Short arrays go through one prediction rule (`line`), others through least squares and context mixing (`field`).
//!
//! Mapping and predictor are chosen by coding a sample of the array with each.
//!
//! # Shapes     `T[shape]`, C order; invalid samples are skipped
//! # On the wire
//! 1. Nothing more if no sample is valid.
//! 2. A byte: predictor in the low five bits (0 to 29 a rule of `line`, 30 split, 31 `field`), base of the lift in the next two
//!    (0 bits, 1 steps, 2 decimal, 3 one for each slice), whether there is a palette in the last.
//! 3. With predictor 30 a byte with the rule; with 31 a byte of options.
//! 4. If some length exceeds 1 and all samples are valid, a varint: bit d says that nothing changes along dimension d.
//! 5. Parameters of the base, or of the slices (`lift`), with `field` alone and without a palette; then one range-coded stream:
//!    palette, keys, with predictor 30 what the keys miss.

mod base;
mod choose;
mod copies;
mod field;
mod lift;
mod line;
mod ls;
mod neighbours;
mod packed;
mod symbol;

use crate::bits::{Reader, Writer};
use crate::dtype::Sample;
use crate::entropy::{BinaryCoder, Decoder, Encoder};
use crate::error::{Error, Result};
use base::Base;
use choose::choose;
use lift::Lift;
use line::Rule;

/// Predictor numbers beside the rules of `line`.
const SPLIT: u8 = 30;
const FIELD: u8 = 31;

/// What predicts the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Model {
    Line(Rule),
    /// The base holds samples only nearly; what it misses, in ordered bits, follows.
    Split(Rule),
    Field(field::Options),
}

/// Coded bytes of the valid samples.
///
/// `effort` from 1 to 9: up to 3 the mapping and the predictor are guessed, beyond candidates are compared.
pub fn encode<T: Sample>(x: &[T], shape: &[usize], valid: Option<&[bool]>, effort: u8) -> Vec<u8> {
    let dropped = if valid.is_none() { unchanging(x, shape) } else { 0 };
    let (reduced, short) = reduce(x, shape, dropped);
    let known: Vec<T>;
    let known: &[T] = match valid {
        Some(m) => {
            known = x.iter().zip(m).filter(|(_, v)| **v).map(|(x, _)| *x).collect();
            &known
        }
        None => &reduced,
    };
    if known.is_empty() {
        return Vec::new();
    }
    let mut w = Writer::new();
    let (lift, model) = choose(known, &reduced, &short, valid, effort);
    let (id, options) = match model {
        Model::Line(rule) => (rule.id(), None),
        Model::Split(rule) => (SPLIT, Some(rule.id())),
        Model::Field(options) => (FIELD, Some(options.id())),
    };
    w.u8(id | lift.id() << 5 | u8::from(!lift.palette.is_empty()) << 7);
    if let Some(options) = options {
        w.u8(options);
    }
    if valid.is_none() && shape.iter().any(|d| *d > 1) {
        w.varint(dropped);
    }
    lift.write::<T>(&mut w);
    let mut c = Encoder::new();
    code_palette(&mut c, &mut lift.palette.clone(), !lift.palette.is_empty());
    let mut keys = keys_of(&lift, model, known, &reduced, valid);
    code_keys::<_, T>(&mut c, &mut keys, &short, valid, &lift, model);
    if let Model::Split(_) = model {
        line::code::<_, T>(&mut c, &mut misses(&lift, known, &keys), Rule::Plain, 1, &lift);
    }
    w.bytes.extend(c.finish());
    w.bytes
}

/// The inverse of [`encode`] for `n` samples; invalid ones come back as zeros.
pub fn decode<T: Sample>(mut src: Reader<'_>, n: usize, shape: &[usize], valid: Option<&[bool]>) -> Result<Vec<T>> {
    let mut out = crate::try_vec(n, T::default())?;
    let n_known = valid.map_or(n, |m| m.iter().filter(|v| **v).count());
    if n_known == 0 {
        src.end()?;
        return Ok(out);
    }
    let first = src.u8()?;
    let model = match first & 31 {
        FIELD => field::Options::from_id(src.u8()?).map(Model::Field),
        SPLIT => Rule::from_id(src.u8()?).map(Model::Split),
        id => Rule::from_id(id).map(Model::Line),
    };
    let model = model.ok_or(Error::Unsupported { what: "lossless predictor", id: first.into() })?;
    let dropped = if valid.is_none() && shape.iter().any(|d| *d > 1) { src.varint()? } else { 0 };
    let short: Vec<usize> = shape.iter().enumerate().map(|(d, n)| if dropped >> d & 1 > 0 { 1 } else { *n }).collect();
    let mut lift = Lift::read::<T>(first >> 5 & 3, &short, &mut src)?;
    if lift.is_sliced() && (first >> 7 > 0 || !matches!(model, Model::Field(_))) {
        return Err(Error::Corrupt { stage: "lossless", what: "slices with a palette or a rule".into() });
    }
    let mut c = Decoder::new(src.rest());
    if first >> 7 > 0 {
        lift.palette = vec![0];
        code_palette(&mut c, &mut lift.palette, true);
    }
    let n_keys = match model {
        Model::Line(_) | Model::Split(_) if valid.is_some() => n_known,
        _ => short.iter().product(),
    };
    let mut keys = crate::try_vec(n_keys, 0i64)?;
    code_keys::<_, T>(&mut c, &mut keys, &short, valid, &lift, model);
    let mut missed = Vec::new();
    if let Model::Split(_) = model {
        missed = crate::try_vec(n_keys, 0i64)?;
        line::code::<_, T>(&mut c, &mut missed, Rule::Plain, 1, &lift);
    }
    c.finish("lossless")?;
    let sample = |i: usize| {
        let x = keys.get(i).map_or(T::default(), |k| lift.of(i).sample(*k));
        missed.get(i).map_or(x, |m| base::from_ordered(base::ordered(x).wrapping_add(*m)))
    };
    match (valid, model) {
        (Some(m), Model::Field(_)) => {
            for (i, o) in out.iter_mut().enumerate().filter(|(i, _)| m[*i]) {
                *o = sample(i);
            }
        }
        (Some(m), _) => {
            for (i, (o, _)) in out.iter_mut().zip(m).filter(|(_, v)| **v).enumerate() {
                *o = sample(i);
            }
        }
        (None, _) if dropped == 0 => {
            for (i, o) in out.iter_mut().enumerate() {
                *o = sample(i);
            }
        }
        (None, _) => {
            let strides = crate::block::strides(&short);
            each_source(shape, &short, &strides, |i, from| out[i] = sample(from));
        }
    }
    Ok(out)
}

/// What the keys' samples lack to the true ones, in ordered bits.
fn misses<T: Sample>(lift: &Lift, x: &[T], keys: &[i64]) -> Vec<i64> {
    let miss = |(x, k): (&T, &i64)| base::ordered(*x).wrapping_sub(base::ordered(lift.sample::<T>(*k)));
    x.iter().zip(keys).map(miss).collect()
}

/// Bit d: nothing changes along dimension d.
fn unchanging<T: Sample>(x: &[T], shape: &[usize]) -> u64 {
    let strides = crate::block::strides(shape);
    let mut mask = 0;
    for (d, (&len, &step)) in shape.iter().zip(&strides).enumerate() {
        let same = |i: usize| (i / step).is_multiple_of(len) || x[i].to_bits() == x[i - step].to_bits();
        if len > 1 && (0..x.len()).all(same) {
            mask |= 1 << d;
        }
    }
    mask
}

/// One sample of each run along the dimensions of `dropped`, and the shape that is left.
fn reduce<'a, T: Sample>(x: &'a [T], shape: &[usize], dropped: u64) -> (std::borrow::Cow<'a, [T]>, Vec<usize>) {
    let short: Vec<usize> = shape.iter().enumerate().map(|(d, n)| if dropped >> d & 1 > 0 { 1 } else { *n }).collect();
    if dropped == 0 {
        return (x.into(), short);
    }
    let strides = crate::block::strides(shape);
    let n: usize = short.iter().product();
    let mut out = Vec::with_capacity(n);
    each_source(&short, shape, &strides, |_, from| out.push(x[from]));
    (out.into(), short)
}

/// Calls `f(i, from)` for each sample i of `shape`, where `from` is its place in an array of shape `other` with `strides`; along
/// dimensions that differ, both start at 0 and the shorter stays there.
fn each_source(shape: &[usize], other: &[usize], strides: &[usize], mut f: impl FnMut(usize, usize)) {
    let n: usize = shape.iter().product();
    let mut at = vec![0; shape.len()];
    let steps: Vec<usize> = (0..shape.len()).map(|d| if other[d] > 1 { strides[d] } else { 0 }).collect();
    let mut from = 0;
    for i in 0..n {
        f(i, from);
        for d in (0..shape.len()).rev() {
            at[d] += 1;
            from += steps[d];
            if at[d] < shape[d] {
                break;
            }
            from -= steps[d] * at[d];
            at[d] = 0;
        }
    }
}

/// The keys that `model` codes: of the valid samples alone, or of the whole array.
fn keys_of<T: Sample>(lift: &Lift, model: Model, known: &[T], all: &[T], valid: Option<&[bool]>) -> Vec<i64> {
    match (model, valid) {
        (Model::Field(_), _) => {
            let key = |(i, x): (usize, &T)| if valid.is_none_or(|m| m[i]) { lift.of(i).key(*x) } else { 0 };
            all.iter().enumerate().map(key).collect()
        }
        (Model::Split(_), _) => known.iter().map(|x| lift.nearest::<T>(x.to_f64())).collect(),
        _ => known.iter().map(|x| lift.key(*x)).collect(),
    }
}

fn code_keys<C: BinaryCoder, T: Sample>(
    c: &mut C,
    keys: &mut [i64],
    shape: &[usize],
    valid: Option<&[bool]>,
    lift: &Lift,
    model: Model,
) {
    match model {
        Model::Line(rule) | Model::Split(rule) => {
            let row = if valid.is_some() { 1 } else { row_of(shape) };
            line::code::<C, T>(c, keys, rule, row, lift);
        }
        Model::Field(options) => field::code::<C, T>(c, keys, shape, valid, lift, options),
    }
}

/// Length of the last dimension that is not 1.
fn row_of(shape: &[usize]) -> usize {
    shape.iter().rev().copied().find(|d| *d > 1).unwrap_or(1)
}

/// Codes the palette in place; a decoder passes one entry.
fn code_palette<C: BinaryCoder>(c: &mut C, palette: &mut Vec<i64>, present: bool) {
    if !present {
        return;
    }
    let n = c.code_raw(palette.len() as u32 - 1, 16) as usize + 1;
    // With both signs, entries are ordered by size: what is symmetric then lies side by side.
    let both = palette.first().is_some_and(|k| *k < 0) && palette.last().is_some_and(|k| *k >= 0);
    let both = c.code_raw(u32::from(both), 1) == 1;
    palette.resize(n, 0);
    if both {
        palette.iter_mut().for_each(|k| *k = base::zigzag(*k) as i64);
        palette.sort_unstable_by_key(|k| *k as u64);
    }
    let none = Lift::plain(Base::Bits { shift: 0 });
    line::code::<C, i64>(c, palette, Rule::Difference(0), 1, &none);
    if both {
        palette.iter_mut().for_each(|k| *k = base::unzigzag(*k as u64));
    }
    palette.sort_unstable();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::{Dtype, Samples};
    use crate::match_samples;
    use crate::testkit::{FIELDS, SHAPES, hash};

    pub(super) fn round_trip<T: Sample>(x: &[T], shape: &[usize], valid: Option<&[bool]>, effort: u8) -> Vec<u8> {
        let bytes = encode(x, shape, valid, effort);
        let y = decode::<T>(Reader::new(&bytes, "test"), x.len(), shape, valid).unwrap();
        for (i, (a, b)) in x.iter().zip(&y).enumerate() {
            assert!(valid.is_some_and(|m| !m[i]) || a.to_bits() == b.to_bits(), "{shape:?} {i}: {a:?} {b:?}");
        }
        bytes
    }

    #[test]
    fn every_field_type_and_shape_comes_back() {
        for dtype in Dtype::ALL {
            for (k, field) in FIELDS.iter().enumerate() {
                for (j, shape) in SHAPES.iter().enumerate() {
                    let n = shape.iter().product();
                    let x = field.samples(dtype, n, k as u64);
                    let valid: Vec<bool> = (0..n).map(|i| !hash((i * 31 + j) as u64).is_multiple_of(4)).collect();
                    let valid = if (k + j).is_multiple_of(2) { None } else { Some(&valid[..]) };
                    match_samples!(&x, v => round_trip(v, shape, valid, [1, 5, 9][j % 3]));
                }
            }
        }
    }

    #[test]
    fn axes_and_constants_take_a_handful_of_bytes() {
        let axis =
            |f: &dyn Fn(usize) -> f64, n: usize| round_trip(&(0..n).map(f).collect::<Vec<f64>>(), &[n], None, 5).len();
        assert!(axis(&|_| 0.0, 1) <= 4);
        assert!(axis(&|_| 273.15, 5000) <= 12);
        assert!(axis(&|i| i as f64 * 1.25, 288) <= 12);
        assert!(axis(&|i| -90.0 + i as f64 * (180.0 / 191.0), 192) <= 40);
        assert!(axis(&|i| (i as f64 * 0.01).sin().round() / 1e3, 50) <= 12);
        let days: Vec<i16> = (0..365).collect();
        assert!(round_trip(&days, &[365], None, 5).len() <= 12);
        let repeated: Vec<f64> = (0..365 * 20).map(|i| f64::from(i / 20 % 7)).collect();
        assert!(round_trip(&repeated, &[365, 4, 5], None, 5).len() <= 200);
    }

    #[test]
    fn values_rounded_to_few_bits_take_few_at_every_effort() {
        let Samples::F32(x) = FIELDS[1].samples(Dtype::F32, 8000, 3) else { panic!("the type asked for") };
        let rounded: Vec<f32> = x.iter().map(|v| crate::quantize::round::round(*v, 3)).collect();
        for effort in [1, 5] {
            let n = round_trip(&rounded, &[80, 100], None, effort).len();
            assert!(n < 8000 && n * 3 < round_trip(&x, &[80, 100], None, effort).len(), "{effort}: {n}");
        }
    }

    #[test]
    fn damage_gives_an_error_or_other_samples_but_no_panic() {
        let mut cases = 0;
        for (k, field) in FIELDS.iter().enumerate() {
            for dtype in [Dtype::I16, Dtype::F32, Dtype::F64] {
                let shape = [4, 10, 9];
                let Samples::F32(x) = field.samples(Dtype::F32, 360, k as u64) else { continue };
                let bytes = match_samples!(field.samples(dtype, 360, k as u64), v => encode(&v, &shape, None, 5));
                for i in 0..40u64 {
                    let mut b = bytes.clone();
                    if b.is_empty() {
                        continue;
                    }
                    let at = if i < 16 { i / 2 } else { hash(i) } as usize % b.len();
                    b[at] ^= 1 << (hash(i + 99) % 8);
                    let _ = decode::<f32>(Reader::new(&b, "test"), x.len(), &shape, None);
                    let _ = decode::<f64>(Reader::new(&b[..at], "test"), x.len(), &shape, None);
                    cases += 1;
                }
            }
        }
        assert!(cases > 1000);
    }
}
