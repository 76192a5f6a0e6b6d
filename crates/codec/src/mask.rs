//! Missing samples: NaN, infinities, fill values. Which they are and what bits they hold is stored exactly.
//!
//! # Maths
//! 1. Every sample gets a class: 0 is valid; k > 0 is the k-th bit pattern in the order of first appearance, up to 254; 255 is any other.
//! 2. A row may be that of the slice before once more, or the one above it. In others classes are coded sample by sample: "same as the left neighbour's class?" and so on, under contexts of the causal
//!    neighbours (left, above, above-left, above-right, previous slice).
//! 3. Under the mask the samples are replaced by a smooth extension, so that no transform sees a fill value.
//! # Shapes     samples and classes in C order; "row" is the last dimension, "slice" the last two
//! # On the wire `varint n_patterns`, patterns (`varint` each), section of coded classes, section of other patterns (u64 each)
//! # Cost       one mixed decision per sample of rows that differ; nothing if no sample is missing

use crate::bits::{Reader, Writer};
use crate::dtype::Sample;
use crate::entropy::{BinaryCoder, BitModel, Decoder, Encoder};
use crate::error::{Error, Result};
use crate::simd::{level, widest};

/// Classes of all samples and the bit patterns behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// 0 is valid.
    pub classes: Vec<u8>,
    /// Bit pattern of class `k + 1`.
    patterns: Vec<u64>,
    /// Bit patterns of the samples of class 255, in sample order.
    others: Vec<u64>,
}

const OTHER: u8 = 255;

impl Mask {
    /// Classifies samples; `None` if all are valid.
    pub fn of<T: Sample>(x: &[T], missing: &[u64]) -> Option<Self> {
        let mut any = false;
        widest!(level(), _simd => {
            any |= x.iter().fold(false, |any, v| any | !v.is_finite());
            for bits in missing {
                any |= x.iter().fold(false, |any, v| any | (v.to_bits() == *bits));
            }
        });
        if any { Self::marking(x, |_, v| !v.is_finite() || missing.contains(&v.to_bits())) } else { None }
    }

    /// Classifies the samples that `marked` picks by their bit patterns; `None` if it picks none.
    pub fn marking<T: Sample>(x: &[T], marked: impl Fn(usize, T) -> bool) -> Option<Self> {
        (0..x.len()).find(|&i| marked(i, x[i]))?;
        let (mut patterns, mut others) = (Vec::new(), Vec::new());
        let classes = x
            .iter()
            .enumerate()
            .map(|(i, &v)| {
                if !marked(i, v) {
                    return 0;
                }
                let bits = v.to_bits();
                match patterns.iter().position(|p| *p == bits) {
                    Some(k) => k as u8 + 1,
                    None if patterns.len() < usize::from(OTHER) - 1 => {
                        patterns.push(bits);
                        patterns.len() as u8
                    }
                    None => {
                        others.push(bits);
                        OTHER
                    }
                }
            })
            .collect();
        Some(Self { classes, patterns, others })
    }

    /// Whether each sample is valid.
    pub fn valid(&self) -> Vec<bool> {
        self.classes.iter().map(|c| *c == 0).collect()
    }

    /// Puts the exact bit patterns of the missing samples into `x`.
    pub fn restore<T: Sample>(&self, x: &mut [T]) {
        let mut others = self.others.iter();
        for (v, &class) in x.iter_mut().zip(&self.classes) {
            if class > 0 {
                let bits = match self.patterns.get(usize::from(class) - 1) {
                    Some(bits) => *bits,
                    None => others.next().copied().unwrap_or_default(),
                };
                *v = T::from_bits(bits);
            }
        }
    }

    /// Coded bytes.
    pub fn encode(&self, shape: &[usize]) -> Vec<u8> {
        let mut w = Writer::new();
        w.varint(self.patterns.len() as u64);
        for &p in &self.patterns {
            w.varint(p);
        }
        let mut coder = Encoder::new();
        let mut classes = self.classes.clone();
        code_classes(&mut coder, &mut classes, shape, self.n_classes());
        w.section(&coder.finish());
        for &bits in &self.others {
            w.varint(bits);
        }
        w.bytes
    }

    /// The inverse of [`Mask::encode`] for `n` samples.
    pub fn decode(mut src: Reader<'_>, shape: &[usize], n: usize) -> Result<Self> {
        let n_patterns = src.count("patterns of missing samples", usize::from(OTHER) - 1)?;
        let patterns = (0..n_patterns).map(|_| src.varint()).collect::<Result<Vec<_>>>()?;
        let mut mask = Self { classes: Vec::new(), patterns, others: Vec::new() };
        let mut coder = src.section("mask")?;
        let mut coder = Decoder::new(coder.rest());
        let mut classes = crate::try_vec(n, 0u8)?;
        code_classes(&mut coder, &mut classes, shape, mask.n_classes());
        coder.finish("mask")?;
        mask.classes = classes;
        let n_others = mask.classes.iter().filter(|c| **c == OTHER).count();
        for _ in 0..n_others {
            mask.others.push(src.varint()?);
        }
        src.end()?;
        if mask.classes.iter().any(|&c| c != OTHER && usize::from(c) > mask.patterns.len()) {
            return Err(Error::corrupt("mask", "a class has no bit pattern"));
        }
        Ok(mask)
    }

    /// Classes a sample can have: valid, each pattern, and "other" once the patterns are used up.
    fn n_classes(&self) -> usize {
        self.patterns.len() + 1 + usize::from(self.patterns.len() == usize::from(OTHER) - 1)
    }
}

/// Codes classes in place, symmetric for both directions: a decoder overwrites them as it goes.
fn code_classes<C: BinaryCoder>(coder: &mut C, classes: &mut [u8], shape: &[usize], n_classes: usize) {
    let row = shape.last().copied().unwrap_or(1).max(1);
    let slice = row * shape.len().checked_sub(2).map_or(1, |i| shape[i]).max(1);
    // Decisions: [valid, ...neighbourhood]; then which pattern, in unary.
    let mut flag = BitModel::new(&[3 * 3 * 3 * 3 * 3, 3 * 3 * 3 * 3 * 3 * 3, 3 * 3 * 3 * 3], 9);
    let mut which = BitModel::new(&[3 * 256, 256], 1);
    let mut same = BitModel::new(&[2 * 4], 2);
    let mut history = [0; 2];
    let mut i = 0;
    while i < classes.len() {
        if i % row == 0 {
            // The row of the slice before, the row above.
            let others = [i.checked_sub(slice), (i % slice > 0).then(|| i - row)];
            let copied = (0..2).find(|&k| {
                let Some(other) = others[k] else { return false };
                let equal = classes[i..i + row] == classes[other..other + row];
                let equal = same.code(coder, equal, &[k * 4 + history[k]], k);
                history[k] = (2 * history[k] + usize::from(equal)) % 4;
                equal
            });
            if let Some(other) = copied.and_then(|k| others[k]) {
                classes.copy_within(other..other + row, i);
                i += row;
                continue;
            }
        }
        code_class(coder, classes, i, [row, slice], n_classes, &mut flag, &mut which);
        i += 1;
    }
}

/// Codes the class of sample `i`.
#[inline(always)]
fn code_class<C: BinaryCoder>(
    coder: &mut C,
    classes: &mut [u8],
    i: usize,
    [row, slice]: [usize; 2],
    n_classes: usize,
    flag: &mut BitModel<3>,
    which: &mut BitModel<2>,
) {
    let (x, y) = (i % row, i % slice / row);
    // 0 outside, 1 valid, 2 missing.
    let kind = |ok: bool, back: usize| if ok && i >= back { 1 + usize::from(classes[i - back] > 0) } else { 0 };
    let w = kind(x > 0, 1);
    let ww = kind(x > 1, 2);
    let n = kind(y > 0, row);
    let nw = kind(y > 0 && x > 0, row + 1);
    let ne = kind(y > 0 && x + 1 < row, row.wrapping_sub(1));
    let nn = kind(y > 1, 2 * row);
    let up = kind(i >= slice, slice);
    let up_e = if x + 1 < row { kind(i >= slice, slice - 1) } else { 0 };
    let up_s = if y + 1 < slice / row { kind(i >= slice, slice - row) } else { 0 };
    let contexts = [
        (((up * 3 + w) * 3 + n) * 3 + ne) * 3 + up_e,
        ((((w * 3 + ww) * 3 + n) * 3 + nw) * 3 + ne) * 3 + nn,
        ((up * 3 + up_e) * 3 + up_s) * 3 + w,
    ];
    let missing = flag.code(coder, classes[i] > 0, &contexts, up * 3 + w);
    if !missing {
        classes[i] = 0;
        return;
    }
    let guess = [1, row, slice].into_iter().filter(|&b| b <= i).map(|b| classes[i - b]).find(|c| *c > 0).unwrap_or(0);
    let last = (n_classes - 1).max(1);
    let mut class = 1;
    while class < last {
        let cmp = usize::from(guess as usize > class) + 2 * usize::from(guess as usize == class);
        if which.code(coder, usize::from(classes[i]) == class, &[cmp * 256 + class, class], 0) {
            break;
        }
        class += 1;
    }
    classes[i] = class as u8;
}

/// Fills invalid numbers by a smooth extension of the valid ones; zeros if nothing is valid.
///
/// 1. Along each dimension in turn (last first), gaps are filled linearly between valid ends, or by the nearest end.
/// 2. What no pass reached (possible only if nothing is valid) is 0.
pub fn extend(x: &mut [f64], valid: &[bool], shape: &[usize]) {
    let mut known = valid.to_vec();
    let strides = crate::block::strides(shape);
    for d in (0..shape.len()).rev() {
        let (n, step) = (shape[d], strides[d]);
        if n < 2 {
            continue;
        }
        let before = known.clone();
        for line in 0..x.len() / n {
            let base = line / step * step * n + line % step;
            fill_line(x, &before, &mut known, base, step, n);
        }
    }
    for (v, k) in x.iter_mut().zip(&known) {
        if !k {
            *v = 0.0;
        }
    }
}

/// Fills the gaps of one line of `n` numbers from `base` in steps of `step`.
fn fill_line(x: &mut [f64], before: &[bool], known: &mut [bool], base: usize, step: usize, n: usize) {
    let at = |i: usize| base + i * step;
    let mut left: Option<usize> = None;
    let mut i = 0;
    while i < n {
        if before[at(i)] {
            left = Some(i);
            i += 1;
            continue;
        }
        let right = (i..n).find(|&j| before[at(j)]);
        let end = right.unwrap_or(n);
        let (a, b) = match (left, right) {
            (Some(l), Some(r)) => (x[at(l)], x[at(r)]),
            (Some(l), None) => (x[at(l)], x[at(l)]),
            (None, Some(r)) => (x[at(r)], x[at(r)]),
            (None, None) => return,
        };
        let gap = (end - i + 1) as f64;
        for j in i..end {
            let t = (j - i + 1) as f64 / gap;
            x[at(j)] = a * (1.0 - t) + b * t;
            known[at(j)] = true;
        }
        i = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_pattern_comes_back() {
        let shape = [3, 20, 30];
        let mut x: Vec<f32> = (0..1800).map(|i| i as f32).collect();
        for i in 0..1800 {
            match i * 7919 % 11 {
                0 => x[i] = f32::NAN,
                1 => x[i] = f32::from_bits(0x7fc0_0000 + i as u32),
                2 => x[i] = -9999.0,
                3 => x[i] = f32::NEG_INFINITY,
                _ => {}
            }
        }
        let mask = Mask::of(&x, &[(-9999.0f32).to_bits().into()]).unwrap();
        let bytes = mask.encode(&shape);
        let back = Mask::decode(Reader::new(&bytes, "mask"), &shape, x.len()).unwrap();
        assert_eq!(mask, back);
        let mut y: Vec<f32> = x.iter().zip(mask.valid()).map(|(&v, ok)| if ok { v } else { 0.0 }).collect();
        back.restore(&mut y);
        assert!(x.iter().zip(&y).all(|(a, b)| a.to_bits() == b.to_bits()));
        assert!(Mask::of(&[1i32, 2], &[]).is_none());
    }

    #[test]
    fn a_mask_that_repeats_costs_next_to_nothing() {
        let shape = [40, 64, 128];
        let land = |y: usize, x: usize| (x as f64 / 9.0).sin() + (y as f64 / 7.0).cos() > 0.6;
        let x: Vec<f32> =
            (0..40 * 64 * 128).map(|i| if land(i / 128 % 64, i % 128) { f32::NAN } else { 1.0 }).collect();
        let mask = Mask::of(&x, &[]).unwrap();
        let whole = mask.encode(&shape).len();
        let one = Mask { classes: mask.classes[..64 * 128].to_vec(), ..mask.clone() }.encode(&shape[1..]).len();
        assert!(one < 400 && whole < one + 40 * 16, "{one} {whole}");
    }

    #[test]
    fn the_extension_is_finite_and_keeps_valid_numbers() {
        let shape = [4, 5];
        let valid: Vec<bool> = (0..20).map(|i| i == 7 || i == 9).collect();
        let mut x: Vec<f64> = (0..20)
            .map(|i| {
                if i == 7 {
                    1.0
                } else if i == 9 {
                    3.0
                } else {
                    f64::NAN
                }
            })
            .collect();
        extend(&mut x, &valid, &shape);
        assert_eq!((x[7], x[8], x[9]), (1.0, 2.0, 3.0));
        assert!(x.iter().all(|v| (1.0..=3.0).contains(v)));
        let mut none = [f64::NAN];
        extend(&mut none, &[false], &[]);
        assert_eq!(none, [0.0]);
    }
}
