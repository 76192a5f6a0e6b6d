//! CDF 9/7 by lifting, along one axis of a block in place: low band first, then the high one.
//!
//! # Maths
//! high += a (low + next low), low += b (high + previous high), once more with c and d, mirrored at the ends; the inverse takes the
//! same sums away in the opposite order. Nothing is scaled: [`norms`] tells how long each band's synthesis vectors are.
//! # Shapes     `f64[n]` -> `f64[ceil(n / 2)]`, `f64[n / 2]`, for `width` neighbouring lines at once
//! # Bound      IEEE `+ *` in a fixed order on each line, however the lines are grouped
//! # Cost       about 1 ns a sample and axis
//! # Reference  I. Daubechies, W. Sweldens, Factoring wavelet transforms into lifting steps, 1998, doi:10.1007/BF02476026

const STEPS: [f64; 4] = [-1.586_134_342_059_924, -0.052_980_118_572_961, 0.882_911_075_530_934, 0.443_506_852_043_971];

/// Numbers of one group of lines: it should stay in a core's cache.
const GROUP: usize = 1 << 14;
/// Fewest neighbouring lines of a group, where there are as many: a cache line or two.
const MIN_WIDTH: usize = 16;

/// Scratch of one group.
#[derive(Debug, Default)]
pub struct Scratch {
    low: Vec<f64>,
    high: Vec<f64>,
}

/// Each number of `high` gains `c` times the sum of the two of `low` beside it.
fn lift_high(low: &[f64], high: &mut [f64], width: usize, c: f64) {
    let inner = high.len().min(low.len() - width);
    let (body, tail) = high.split_at_mut(inner);
    for ((h, a), b) in body.iter_mut().zip(&low[..inner]).zip(&low[width..]) {
        *h += c * (a + b);
    }
    for (h, a) in tail.iter_mut().zip(&low[inner..]) {
        *h += c * (a + a);
    }
}

/// Each number of `low` gains `c` times the sum of the two of `high` beside it.
fn lift_low(low: &mut [f64], high: &[f64], width: usize, c: f64) {
    let (head, rest) = low.split_at_mut(width);
    for (l, a) in head.iter_mut().zip(high) {
        *l += c * (a + a);
    }
    let inner = high.len() - width;
    let (body, tail) = rest.split_at_mut(inner);
    for ((l, a), b) in body.iter_mut().zip(&high[..inner]).zip(&high[width..]) {
        *l += c * (a + b);
    }
    for (l, a) in tail.iter_mut().zip(&high[inner..]) {
        *l += c * (a + a);
    }
}

/// Takes `width` neighbouring lines of `n >= 2` numbers, `stride` apart, from the start of `x`, even and odd ones apart.
fn load_pairs(x: &[f64], n: usize, stride: usize, width: usize, s: &mut Scratch) {
    s.low.resize(n.div_ceil(2) * width, 0.0);
    s.high.resize(n / 2 * width, 0.0);
    if stride == 1 {
        let pairs = x[..n].chunks_exact(2);
        if let ([odd], Some(last)) = (pairs.remainder(), s.low.last_mut()) {
            *last = *odd;
        }
        for ((pair, l), h) in pairs.zip(&mut s.low).zip(&mut s.high) {
            (*l, *h) = (pair[0], pair[1]);
        }
        return;
    }
    for (i, l) in s.low.chunks_exact_mut(width).enumerate() {
        l.copy_from_slice(&x[2 * i * stride..][..width]);
    }
    for (i, h) in s.high.chunks_exact_mut(width).enumerate() {
        h.copy_from_slice(&x[(2 * i + 1) * stride..][..width]);
    }
}

/// Puts lines back, low band first.
fn store_bands(x: &mut [f64], stride: usize, width: usize, s: &Scratch) {
    for (i, row) in s.low.chunks_exact(width).chain(s.high.chunks_exact(width)).enumerate() {
        x[i * stride..][..width].copy_from_slice(row);
    }
}

/// `width` neighbouring lines of `n >= 2` numbers, `stride` apart, from the start of `x`.
fn forward_group(x: &mut [f64], n: usize, stride: usize, width: usize, s: &mut Scratch) {
    load_pairs(x, n, stride, width, s);
    let [a, b, c, d] = STEPS;
    lift_high(&s.low, &mut s.high, width, a);
    lift_low(&mut s.low, &s.high, width, b);
    lift_high(&s.low, &mut s.high, width, c);
    lift_low(&mut s.low, &s.high, width, d);
    store_bands(x, stride, width, s);
}

/// What [`forward_group`] did, undone.
fn inverse_group(x: &mut [f64], n: usize, stride: usize, width: usize, s: &mut Scratch) {
    let (n_low, n_high) = (n.div_ceil(2), n / 2);
    s.low.resize(n_low * width, 0.0);
    s.high.resize(n_high * width, 0.0);
    for (i, row) in s.low.chunks_exact_mut(width).chain(s.high.chunks_exact_mut(width)).enumerate() {
        row.copy_from_slice(&x[i * stride..][..width]);
    }
    let [a, b, c, d] = STEPS;
    lift_low(&mut s.low, &s.high, width, -d);
    lift_high(&s.low, &mut s.high, width, -c);
    lift_low(&mut s.low, &s.high, width, -b);
    lift_high(&s.low, &mut s.high, width, -a);
    if stride == 1 {
        let mut pairs = x[..n].chunks_exact_mut(2);
        for ((pair, l), h) in (&mut pairs).zip(&s.low).zip(&s.high) {
            (pair[0], pair[1]) = (*l, *h);
        }
        if let ([odd], Some(last)) = (pairs.into_remainder(), s.low.last()) {
            *odd = *last;
        }
        return;
    }
    for (i, l) in s.low.chunks_exact(width).enumerate() {
        x[2 * i * stride..][..width].copy_from_slice(l);
    }
    for (i, h) in s.high.chunks_exact(width).enumerate() {
        x[(2 * i + 1) * stride..][..width].copy_from_slice(h);
    }
}

/// Lengths of the low band: before the first split, after it, and so on, down to the last that is not split.
pub fn lows(n: usize, shortest: usize) -> Vec<usize> {
    let mut lows = vec![n];
    let mut m = n;
    while m >= shortest.max(2) {
        m = m.div_ceil(2);
        lows.push(m);
    }
    lows
}

/// Which way a transform goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Samples to coefficients.
    Forward,
    /// Coefficients to samples.
    Inverse,
}

/// One split of the lines of `n` numbers, `stride` apart, that start at each of the first `lines` numbers of `x`.
pub fn split(x: &mut [f64], n: usize, stride: usize, lines: usize, way: Way, s: &mut Scratch) {
    if n < 2 {
        return;
    }
    let width = (GROUP / n).max(MIN_WIDTH);
    for first in (0..lines).step_by(width) {
        let group = width.min(lines - first);
        match way {
            Way::Forward => forward_group(&mut x[first..], n, stride, group, s),
            Way::Inverse => inverse_group(&mut x[first..], n, stride, group, s),
        }
    }
}

/// All splits of the lines of `lows[0]` numbers, one after the other while a group of lines is in the cache.
pub fn split_all(x: &mut [f64], lows: &[usize], stride: usize, way: Way, s: &mut Scratch) {
    let width = (GROUP / lows[0]).max(MIN_WIDTH);
    for first in (0..stride).step_by(width) {
        let (x, group) = (&mut x[first..], width.min(stride - first));
        let splits = &lows[..lows.len() - 1];
        match way {
            Way::Forward => splits.iter().for_each(|&n| split(x, n, stride, group, way, s)),
            Way::Inverse => splits.iter().rev().for_each(|&n| split(x, n, stride, group, way, s)),
        }
    }
}

/// Longest line that norms are measured on: longer ones have the borders of this one, and between them the norms in the middle.
const MEASURED: usize = 1024;
/// Vectors of a band on either side that the ends of the line can reach.
const BORDER: usize = 8;

/// Norms of the synthesis vectors of the low and the high band after each number of splits.
#[derive(Debug, Clone)]
pub struct Norms(Vec<[Vec<f64>; 2]>);

impl Norms {
    /// Those of a line with these low bands.
    pub fn new(lows: &[usize]) -> Self {
        let n = lows[0];
        let mut all = vec![[vec![1.0; n], Vec::new()]];
        let mut s = Scratch::default();
        let mut sizes = vec![n.min(MEASURED)];
        let mut line = vec![0.0; sizes[0]];
        let mut norm = |sizes: &[usize], at: usize| {
            line.fill(0.0);
            line[at] = 1.0;
            for &n in sizes.iter().rev() {
                inverse_group(&mut line, n, 1, 1, &mut s);
            }
            line.iter().fold(0.0, |sum, v| sum + v * v).sqrt()
        };
        for level in 1..lows.len() {
            let whole = sizes[level - 1];
            let m = whole.div_ceil(2);
            // A long line is split more often than the measured one: norms grow as they did before.
            let measurable = n <= MEASURED || m >= 2 * BORDER;
            let bands = [(0, m, lows[level]), (m, whole - m, lows[level - 1] - lows[level])];
            let mut next = [Vec::new(), Vec::new()];
            for (high, (from, count, wanted)) in bands.into_iter().enumerate() {
                if !measurable {
                    let middle = |level: usize| all[level][high][all[level][high].len() / 2];
                    next[high] = vec![middle(level - 1) * (middle(level - 1) / middle(level - 2)); wanted];
                    continue;
                }
                let mut band = vec![norm(&sizes, from + count / 2); wanted];
                for i in 0..BORDER.min(count) {
                    band[i] = norm(&sizes, from + i);
                    band[wanted - 1 - i] = norm(&sizes, from + count - 1 - i);
                }
                next[high] = band;
            }
            all.push(next);
            sizes.push(if measurable { m } else { whole });
        }
        Self(all)
    }

    /// Of the band after `level` splits, or after as many as there are.
    pub fn of(&self, level: usize, high: bool) -> &[f64] {
        &self.0[level.min(self.0.len() - 1)][usize::from(high)]
    }

    /// Of all bands of a line, one after the other.
    pub fn line(&self) -> Vec<f64> {
        let last = self.0.len() - 1;
        let mut line = self.of(last, false).to_vec();
        (1..=last).rev().for_each(|level| line.extend_from_slice(self.of(level, true)));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::uniform;

    #[test]
    fn every_length_and_layout_comes_back() {
        let mut s = Scratch::default();
        for n in [1, 2, 3, 4, 5, 7, 16, 31, 300] {
            for stride in [1, 2, 5, 40] {
                let x: Vec<f64> = (0..n * stride).map(|i| uniform(i as u64)).collect();
                let mut y = x.clone();
                let lows = lows(n, 2);
                assert_eq!(lows.last(), Some(&1));
                split_all(&mut y, &lows, stride, Way::Forward, &mut s);
                // Lines do not know of each other.
                let mut line: Vec<f64> = x.iter().skip(stride / 2).step_by(stride).copied().collect();
                split_all(&mut line, &lows, 1, Way::Forward, &mut s);
                assert!(line.iter().zip(y.iter().skip(stride / 2).step_by(stride)).all(|(a, b)| a == b));
                split_all(&mut y, &lows, stride, Way::Inverse, &mut s);
                assert!(x.iter().zip(&y).all(|(a, b)| (a - b).abs() < 1e-12), "{n} {stride}");
            }
        }
    }

    #[test]
    fn smooth_lines_leave_next_to_nothing_in_high_bands() {
        let mut x: Vec<f64> = (0..200).map(|i| f64::from(i) * 0.01 + 3.0).collect();
        split(&mut x, 200, 1, 1, Way::Forward, &mut Scratch::default());
        assert!(x[104..196].iter().all(|v| v.abs() < 1e-12));
    }

    #[test]
    fn norms_are_those_of_the_synthesis_vectors() {
        for (n, near) in [(2, 1e-12), (30, 1e-12), (241, 0.02), (480, 0.02)] {
            let lows = lows(n, 8);
            let norms = Norms::new(&lows).line();
            for at in (0..n).step_by(1 + n / 500) {
                let mut x = vec![0.0; n];
                x[at] = 1.0;
                split_all(&mut x, &lows, 1, Way::Inverse, &mut Scratch::default());
                let norm = x.iter().map(|v| v * v).sum::<f64>().sqrt();
                assert!((norms[at] / norm - 1.0).abs() < near, "{n} {at}: {} {norm}", norms[at]);
            }
        }
    }

    #[test]
    fn normalised_bands_are_nearly_orthonormal() {
        for n in [30, 333, 4096, 100_000] {
            let lows = lows(n, 8);
            let norms = Norms::new(&lows).line();
            let mut x: Vec<f64> = (0..n).map(|i| uniform(i as u64) - 0.5).collect();
            let energy: f64 = x.iter().map(|v| v * v).sum();
            split_all(&mut x, &lows, 1, Way::Forward, &mut Scratch::default());
            let sum: f64 = x.iter().zip(&norms).map(|(v, norm)| (v * norm).powi(2)).sum();
            assert!((sum / energy - 1.0).abs() < 0.1, "{n}: {sum} {energy}");
        }
    }
}
