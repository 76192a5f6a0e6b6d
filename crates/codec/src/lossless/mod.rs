//! Every bit: samples become ordered integers ("keys"), keys are predicted, and what the prediction missed is coded.
//!
//! 1. Dimensions along which nothing changes are dropped.
//! 2. A [`lift`] maps samples to keys: ordered bits, an arithmetic or decimal lattice, ranks in a palette.
//! 3. Short arrays go through one prediction rule ([`line`]), others through least squares and context mixing ([`field`]).
//! Mapping and predictor are chosen by coding a sample of the array with each.
//!
//! # Shapes     T[shape], C order; invalid samples are skipped
//! # On the wire
//! Nothing if no sample is valid. Else one byte: predictor (0 to 30: rule of `line`, 31: `field`), base of the lift + 32 * 0 to 2,
//! + 128 for a palette. With 31 a byte of options follows. If some length exceeds 1 and all samples are valid: nothing changes
//! along the dimensions of a bit mask (varint). Parameters of the base. Then range-coded: palette, samples.

mod copies;
mod field;
mod lift;
mod line;
mod ls;
mod neighbours;
mod symbol;

use crate::bits::{Reader, Writer};
use crate::dtype::Sample;
use crate::entropy::{BinaryCoder, Decoder, Encoder, Price};
use crate::error::{Error, Result};
use lift::{Base, Lift};
use line::Rule;

/// Arrays up to this many samples are also tried with the rules of `line`.
const SHORT: usize = 4096;
/// Samples on which candidates are compared.
const TRIAL: usize = 1 << 16;
/// Largest palette.
const MAX_PALETTE: usize = 1 << 16;
/// Predictor number of `field`.
const FIELD: u8 = 31;

/// What predicts the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Model {
    Line(Rule),
    Field(field::Options),
}

/// Coded bytes of the valid samples.
pub fn encode<T: Sample>(x: &[T], shape: &[usize], valid: Option<&[bool]>) -> Vec<u8> {
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
    let (lift, model) = choose(known, &reduced, &short, valid);
    let (id, options) = match model {
        Model::Line(rule) => (rule.id(), None),
        Model::Field(options) => (FIELD, Some(options.id())),
    };
    w.u8(id | lift.base.id() << 5 | u8::from(!lift.palette.is_empty()) << 7);
    if let Some(options) = options {
        w.u8(options);
    }
    if valid.is_none() && shape.iter().any(|d| *d > 1) {
        w.varint(dropped);
    }
    lift.base.write::<T>(&mut w);
    let mut c = Encoder::new();
    code_palette(&mut c, &mut lift.palette.clone(), !lift.palette.is_empty());
    let mut keys = keys_of(&lift, model, known, &reduced, valid);
    code_keys::<_, T>(&mut c, &mut keys, &short, valid, &lift, model);
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
        id => Rule::from_id(id).map(Model::Line),
    };
    let model = model.ok_or(Error::Unsupported { what: "lossless predictor", id: first.into() })?;
    let dropped = if valid.is_none() && shape.iter().any(|d| *d > 1) { src.varint()? } else { 0 };
    let short: Vec<usize> = shape.iter().enumerate().map(|(d, n)| if dropped >> d & 1 > 0 { 1 } else { *n }).collect();
    let mut lift = Lift { base: Base::read::<T>(first >> 5 & 3, &mut src)?, palette: Vec::new() };
    let mut c = Decoder::new(src.rest());
    if first >> 7 > 0 {
        lift.palette = vec![0];
        code_palette(&mut c, &mut lift.palette, true);
    }
    let n_keys = match model {
        Model::Line(_) if valid.is_some() => n_known,
        _ => short.iter().product(),
    };
    let mut keys = crate::try_vec(n_keys, 0i64)?;
    code_keys::<_, T>(&mut c, &mut keys, &short, valid, &lift, model);
    c.finish("lossless")?;
    match (valid, model) {
        (Some(m), Model::Line(_)) => {
            let mut keys = keys.iter();
            for (o, _) in out.iter_mut().zip(m).filter(|(_, v)| **v) {
                *o = lift.sample(keys.next().copied().unwrap_or_default());
            }
        }
        (Some(m), Model::Field(_)) => {
            for ((o, k), _) in out.iter_mut().zip(&keys).zip(m).filter(|(_, v)| **v) {
                *o = lift.sample(*k);
            }
        }
        (None, _) if dropped == 0 => {
            for (o, k) in out.iter_mut().zip(&keys) {
                *o = lift.sample(*k);
            }
        }
        (None, _) => {
            let strides = crate::block::strides(&short);
            each_source(shape, &short, &strides, |i, from| out[i] = lift.sample(keys[from]));
        }
    }
    Ok(out)
}

/// Bit d: nothing changes along dimension d.
fn unchanging<T: Sample>(x: &[T], shape: &[usize]) -> u64 {
    let strides = crate::block::strides(shape);
    let mut mask = 0;
    for (d, (&len, &step)) in shape.iter().zip(&strides).enumerate() {
        let same = |i: usize| i / step % len == 0 || x[i].to_bits() == x[i - step].to_bits();
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
        (Model::Field(_), Some(m)) => all.iter().zip(m).map(|(x, v)| if *v { lift.key(*x) } else { 0 }).collect(),
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
        Model::Line(rule) => {
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
    palette.resize(n, 0);
    let none = Lift { base: Base::Bits { shift: 0 }, palette: Vec::new() };
    line::code::<C, i64>(c, palette, Rule::Difference(0), 1, &none);
}

/// The cheapest mapping and predictor.
fn choose<T: Sample>(known: &[T], all: &[T], shape: &[usize], valid: Option<&[bool]>) -> (Lift, Model) {
    let mut lifts: Vec<Lift> =
        Base::candidates(known).into_iter().map(|base| Lift { base, palette: Vec::new() }).collect();
    let palettes: Vec<Lift> = lifts.iter().filter_map(|l| palette_of(l.base, known)).collect();
    lifts.extend(palettes);
    let mut best: Option<(u64, Lift, Model)> = None;
    let mut offer = |cost: u64, lift: &Lift, model: Model| {
        if best.as_ref().is_none_or(|(c, ..)| cost < *c) {
            best = Some((cost, lift.clone(), model));
        }
    };
    let part = trial_part(shape);
    for lift in &lifts {
        let mut head = Writer::new();
        lift.base.write::<T>(&mut head);
        let mut price = Price::default();
        code_palette(&mut price, &mut lift.palette.clone(), !lift.palette.is_empty());
        let fixed = price.cost + ((head.bytes.len() as u64) << 19);
        if known.len() <= SHORT {
            let row = if valid.is_some() { 1 } else { row_of(shape) };
            let keys: Vec<i64> = known.iter().map(|x| lift.key(*x)).collect();
            let polynomials = T::DTYPE.is_float() && lift.base.id() == 0 && lift.palette.is_empty();
            let mut rules: Vec<(u64, Rule)> = Rule::candidates(keys.len(), row, polynomials)
                .into_iter()
                .map(|r| (line::estimate::<T>(&keys, r, row, lift), r))
                .collect();
            rules.sort_by_key(|(bits, _)| *bits);
            for (_, rule) in rules.into_iter().take(4) {
                let mut price = Price::default();
                line::code::<_, T>(&mut price, &mut keys.clone(), rule, row, lift);
                offer(fixed + price.cost, lift, Model::Line(rule));
            }
        }
        if known.len() < 16 {
            continue;
        }
        for values in [true, false] {
            // Lattices are their own values.
            if values && (!T::DTYPE.is_float() || lift.base.id() > 0 && lift.palette.is_empty()) {
                continue;
            }
            for copies in [false, true] {
                let options = field::Options { values, copies };
                let n: usize = part.shape.iter().product();
                let range = part.start..part.start + n;
                let m = valid.map(|m| &m[range.clone()]);
                let mut keys = keys_of(lift, Model::Field(options), &all[range.clone()], &all[range.clone()], m);
                let mut price = Price::default();
                field::code::<_, T>(&mut price, &mut keys, &part.shape, m, lift, options);
                // What a part costs stands for the whole.
                let scale = all.len() as u64 / n.max(1) as u64;
                offer(fixed + (price.cost + (1 << 19)) * scale.max(1), lift, Model::Field(options));
            }
        }
    }
    match best {
        Some((_, lift, model)) => (lift, model),
        None => (lifts.swap_remove(0), Model::Line(Rule::Difference(0))),
    }
}

/// A part of an array along its first long dimensions.
struct Part {
    start: usize,
    shape: Vec<usize>,
}

/// A run of about `TRIAL` samples from the middle.
fn trial_part(shape: &[usize]) -> Part {
    let mut part = Part { start: 0, shape: shape.to_vec() };
    for d in 0..shape.len() {
        let rest: usize = shape[d + 1..].iter().product();
        let want = TRIAL.div_ceil(rest.max(1)).clamp(1, shape[d].max(1));
        if want < shape[d] {
            part.start += (shape[d] - want) / 2 * rest;
            part.shape[d] = want;
        }
        if want > 1 {
            break;
        }
    }
    part
}

/// The base with a palette, if that could pay.
fn palette_of<T: Sample>(base: Base, x: &[T]) -> Option<Lift> {
    let mut keys: Vec<i64> = x.iter().map(|v| base.key(*v)).collect();
    keys.sort_unstable();
    keys.dedup();
    let dense = keys.last()?.checked_sub(*keys.first()?)? < keys.len() as i64;
    let pays = keys.len() <= MAX_PALETTE && keys.len() * 2 <= x.len() && !dense;
    pays.then_some(Lift { base, palette: keys })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::{Dtype, Samples};
    use crate::match_samples;
    use crate::testkit::{FIELDS, SHAPES, hash};

    fn round_trip<T: Sample>(x: &[T], shape: &[usize], valid: Option<&[bool]>) -> Vec<u8> {
        let bytes = encode(x, shape, valid);
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
                    let valid: Vec<bool> = (0..n).map(|i| hash((i * 31 + j) as u64) % 4 > 0).collect();
                    let valid = if (k + j) % 2 == 0 { None } else { Some(&valid[..]) };
                    match_samples!(&x, v => round_trip(v, shape, valid));
                }
            }
        }
    }

    #[test]
    fn axes_and_constants_take_a_handful_of_bytes() {
        let axis =
            |f: &dyn Fn(usize) -> f64, n: usize| round_trip(&(0..n).map(f).collect::<Vec<f64>>(), &[n], None).len();
        assert!(axis(&|_| 0.0, 1) <= 4);
        assert!(axis(&|_| 273.15, 5000) <= 12);
        assert!(axis(&|i| i as f64 * 1.25, 288) <= 12);
        assert!(axis(&|i| -90.0 + i as f64 * (180.0 / 191.0), 192) <= 40);
        assert!(axis(&|i| (i as f64 * 0.01).sin().round() / 1e3, 50) <= 12);
        let days: Vec<i16> = (0..365).collect();
        assert!(round_trip(&days, &[365], None).len() <= 12);
        let repeated: Vec<f64> = (0..365 * 20).map(|i| f64::from(i / 20 % 7)).collect();
        assert!(round_trip(&repeated, &[365, 4, 5], None).len() <= 200);
    }

    #[test]
    fn damage_gives_an_error_or_other_samples_but_no_panic() {
        let mut cases = 0;
        for (k, field) in FIELDS.iter().enumerate() {
            for dtype in [Dtype::I16, Dtype::F32, Dtype::F64] {
                let shape = [4, 10, 9];
                let Samples::F32(x) = field.samples(Dtype::F32, 360, k as u64) else { continue };
                let bytes = match_samples!(field.samples(dtype, 360, k as u64), v => encode(&v, &shape, None));
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
