//! Whether samples are those of a chunk that was read before, changed in part, or others that agree with them here and there.

use lithify_codec::block::strides;
use lithify_codec::{Sample, Samples};

/// So many telling samples that agree, in slices that agree one after another, do not agree by chance.
const TELLING: usize = 8;
/// Nor does one in so many of all telling samples.
const ONE_IN: usize = 20;

/// Whether nobody measured this sample: NaN, infinities, the patterns `void`.
pub(crate) fn is_void<T: Sample>(v: T, void: &[u64]) -> bool {
    !v.is_finite() || void.contains(&v.to_bits())
}

/// Whether it says anything that sample `i` is found again: it was measured, is not 0, and differs from those beside it. Constant and
/// clipped fields agree with others over wide areas.
fn is_telling<T: Sample>(x: &[T], i: usize, void: &[u64]) -> bool {
    let bits = x[i].to_bits();
    let other = |v: Option<&T>| v.is_none_or(|v| v.to_bits() != bits);
    x[i] != T::default()
        && other(i.checked_sub(1).and_then(|i| x.get(i)))
        && other(x.get(i + 1))
        && !is_void(x[i], void)
}

/// What it counts that sample `i` is found again: telling ones far more than others.
pub(crate) fn weight<T: Sample>(x: &[T], i: usize, void: &[u64]) -> u32 {
    match (is_telling(x, i, void), is_void(x[i], void)) {
        (true, _) => 64,
        (_, false) => 1,
        _ => 0,
    }
}

/// How much of `old` is found in `new`.
pub(crate) fn alike<T: Sample>(old: &Samples, new: &[T], void: &[u64]) -> u64 {
    let Some(old) = T::slice(old) else { return 0 };
    let same = (0..old.len().min(new.len())).filter(|&i| old[i].to_bits() == new[i].to_bits());
    same.map(|i| u64::from(weight(old, i, void))).sum()
}

/// What of a chunk, or of a slice of it, came back.
#[derive(Debug, PartialEq)]
pub(crate) enum Kept {
    All,
    Part,
    Nothing,
}

/// What of `old` came back in `new`; and along each dimension, which slices are the same.
///
/// A part was kept if one of these holds:
/// 1. Everything that was measured is still there: what is new was not written before.
/// 2. Slices along a dimension are the same, and hold enough telling samples.
/// 3. Many telling samples are the same, wherever they lie: more than differ by one in the last place, since those agree by chance
///    in data with few digits.
pub(crate) fn compare<T: Sample>(old: &[T], new: &[T], shape: &[usize], void: &[u64]) -> (Kept, Vec<Vec<bool>>) {
    let mut same: Vec<Vec<bool>> = shape.iter().map(|n| vec![true; *n]).collect();
    let mut tells: Vec<Vec<usize>> = shape.iter().map(|n| vec![0; *n]).collect();
    let (mut n_telling, mut n_same, mut n_beside) = (0usize, 0usize, 0usize);
    let (mut measured, mut stays) = (false, true);
    let last = shape.len() - 1;
    let steps = strides(shape);
    for start in (0..old.len()).step_by(shape[last]) {
        let (mut row_same, mut row_tells) = (true, 0);
        for j in 0..shape[last] {
            let i = start + j;
            let (a, b) = (old[i].to_bits(), new[i].to_bits());
            if a != b {
                (row_same, same[last][j]) = (false, false);
            }
            if !is_void(old[i], void) {
                measured = true;
                stays &= a == b;
            }
            if is_telling(old, i, void) {
                n_telling += 1;
                n_same += usize::from(a == b);
                n_beside += usize::from(a.abs_diff(b) == 1);
                row_tells += 1;
                tells[last][j] += 1;
            }
        }
        for d in 0..last {
            let at = start / steps[d] % shape[d];
            same[d][at] &= row_same;
            tells[d][at] += row_tells;
        }
    }
    let in_slices = |d: usize| {
        let mut n = 0;
        same[d].iter().zip(&tells[d]).any(|(same, tells)| {
            n = if *same { n + tells } else { 0 };
            n >= TELLING
        })
    };
    let kept = if same[last].iter().all(|s| *s) {
        Kept::All
    } else if measured && stays
        || (0..=last).any(in_slices)
        // Both neighbours in the last place were counted.
        || n_same.saturating_sub(n_beside / 2) * ONE_IN > n_telling
    {
        Kept::Part
    } else {
        Kept::Nothing
    };
    (kept, same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lithify_codec::testkit::hash;

    fn noise(seed: u64, n: usize) -> Vec<f32> {
        (0..n as u64).map(|i| (hash(seed * 1_000_003 + i) % 100_000) as f32 / 7.0 + 1.0).collect()
    }

    #[test]
    fn a_part_is_known_from_chance() {
        let shape = [6, 20, 30];
        let old = noise(1, 3600);
        let kept = |new: &[f32]| compare(&old, new, &shape, &[]).0;
        assert_eq!(kept(&old), Kept::All);
        assert_eq!(kept(&noise(2, 3600)), Kept::Nothing);
        let with = |from: fn(usize) -> bool| -> Vec<f32> {
            noise(2, 3600).into_iter().enumerate().map(|(i, v)| if from(i) { old[i] } else { v }).collect()
        };
        for of_old in [
            |i: usize| i < 600,                    // the first step
            |i| i / 30 % 20 == 7,                  // one row in every step
            |i| i % 30 == 29,                      // the last column
            |i| hash(i as u64).is_multiple_of(10), // here and there
            |i| i != 1234,                         // all but one
        ] {
            assert_eq!(kept(&with(of_old)), Kept::Part);
        }
        assert_eq!(kept(&with(|i| i.is_multiple_of(97))), Kept::Nothing, "one in a hundred");
    }

    #[test]
    fn what_agrees_anywhere_says_nothing() {
        let shape = [4, 30, 40];
        // Clipped: a third is 1, in areas of its own; a row is constant; zeros.
        let clipped = |phase: f32| -> Vec<f32> {
            let one =
                |i: usize| ((i % 1200) as f32 / 31.0 + phase).sin().clamp(-1.0, 0.5) + (i / 1200) as f32 * 1e-3 * phase;
            (0..4800)
                .map(|i| {
                    if i / 40 % 30 == 3 {
                        34.5
                    } else if i % 40 < 5 {
                        0.0
                    } else {
                        one(i)
                    }
                })
                .collect()
        };
        assert_eq!(compare(&clipped(0.0), &clipped(0.3), &shape, &[]).0, Kept::Nothing);
        // Few digits: a tenth agrees, as many differ by one.
        let few = |seed| -> Vec<i16> { noise(seed, 4800).iter().map(|v| 100 + (*v as i16) % 10).collect() };
        let (a, b) = (few(1), few(2));
        assert!(a.iter().zip(&b).filter(|(a, b)| a == b).count() > 400);
        assert_eq!(compare(&a, &b, &shape, &[]).0, Kept::Nothing);
    }

    #[test]
    fn what_was_never_written_is_new() {
        let fill = u64::from((-9.0f32).to_bits());
        let mut old = vec![-9.0f32; 400];
        // Constant, so nothing in it is telling.
        old[..100].fill(5.0);
        let mut new = noise(1, 400);
        assert_eq!(compare(&old, &new, &[4, 100], &[fill]).0, Kept::Nothing);
        new[..100].fill(5.0);
        let (kept, same) = compare(&old, &new, &[4, 100], &[fill]);
        assert_eq!((kept, &same[0][..]), (Kept::Part, &[true, false, false, false][..]));
        assert_eq!(compare(&[-9.0f32; 400], &new, &[4, 100], &[fill]).0, Kept::Nothing);
    }
}
