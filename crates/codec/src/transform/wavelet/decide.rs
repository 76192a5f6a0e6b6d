//! Which symbol a coefficient becomes: the nearest, or a smaller one where the bits it saves are worth more than the error.
//!
//! # Maths
//! 1. A coefficient's class is the log2 of the mean size of its neighbours on all sides and of its parent, in halves.
//! 2. For a step, the classes' counts of symbols 0, 1, 2, more give the bits of each, `b_q`; q beats q - 1 from
//!    `q - 1/2 + lambda (b_q - b_{q-1}) / 2` steps on.
//! 3. Sizes and classes are counted once, in bins: what a step leaves is then a sum over bins.
//! # Bound      encoders only: the symbols are on the wire
//! # Cost       about 10 ns a coefficient once, under a millisecond for each step after that
//! # Reference  A. Said, W. A. Pearlman, A new, fast, and efficient image codec, 1996, has the idea of context classes for costs

use super::bands::{Band, Layout, Sheet};
use crate::quantize::centroid::Tally;

/// Weight of a bit, in squared steps.
const LAMBDA: f64 = 0.1;
/// Exponent of the smallest size told apart.
const MIN_EXPONENT: i32 = -44;
/// Octaves told apart.
const OCTAVES: usize = 64;
/// Classes of neighbourhoods.
const N_CLASSES: usize = 2 * OCTAVES;
/// log2 of the bins of an octave.
const BIN_BITS: u32 = 5;
/// Bins of sizes.
const N_BINS: usize = OCTAVES << BIN_BITS;
/// Points that stand for a bin.
const POINTS: [f64; 4] = [0.125, 0.375, 0.625, 0.875];
/// From this size on, in steps, errors spread evenly.
const LARGE: f64 = 12.0;

/// `1 << bits` divisions of each octave, from 2^-44 on.
fn division(size: f32, bits: u32, limit: usize) -> usize {
    let lowest = ((127 + MIN_EXPONENT) as u32) << bits;
    ((size.to_bits() >> (23 - bits)).saturating_sub(lowest) as usize).min(limit - 1)
}

/// Where a bin begins.
fn edge(bin: usize) -> f64 {
    let octave = (bin >> BIN_BITS) as i32 + MIN_EXPONENT;
    let part = (bin & ((1 << BIN_BITS) - 1)) as f64 / f64::from(1 << BIN_BITS);
    f64::from_bits(((octave + 1023) as u64) << 52) * (1.0 + part)
}

/// Coefficients of one class whose sizes fall between two edges.
#[derive(Debug, Clone, Copy)]
struct Bin {
    class: usize,
    low: f64,
    high: f64,
    count: f64,
}

/// Sizes of a block's coefficients under the sizes around them.
#[derive(Debug)]
pub struct Spread {
    /// One for each coefficient.
    pub classes: Vec<u8>,
    bins: Vec<Bin>,
}

/// Sizes in steps from which on a class becomes 1, 2, 3, and by how much more than a half larger ones must exceed a symbol.
#[derive(Debug, Clone, Copy)]
struct Edges {
    from: [f64; 3],
    shift: f64,
}

/// Choices for one step.
#[derive(Debug)]
pub struct Choice {
    edges: Vec<Edges>,
}

impl Choice {
    /// The symbol's size for a coefficient of size `u` steps.
    #[inline]
    pub fn symbol(&self, class: u8, u: f64) -> i64 {
        let e = &self.edges[usize::from(class) % N_CLASSES];
        if u < e.from[0] {
            0
        } else if u < e.from[2] {
            1 + i64::from(u >= e.from[1])
        } else {
            // Small enough that nothing overflows later.
            (u + e.shift).min(4e18) as i64
        }
    }
}

impl Spread {
    /// Of coefficients `c` whose synthesis vectors have unit norm.
    pub fn of(c: &[f64], layout: &Layout) -> Self {
        let sizes: Vec<f32> = c.iter().map(|v| v.abs() as f32).collect();
        let mut classes = vec![0u8; c.len()];
        let mut counts = vec![0u32; N_CLASSES * N_BINS];
        let mut sums = vec![0f32; layout.width()];
        let mut has_down = vec![false; layout.n_planes()];
        let mut below = vec![0usize; layout.n_planes()];
        for group in &layout.groups {
            for sheet in &group.sheets {
                if let Some(up) = sheet.up {
                    (has_down[up], below[up]) = (true, sheet.plane);
                }
            }
        }
        for group in &layout.groups {
            for band in &layout.bands {
                for sheet in &group.sheets {
                    let down = has_down[sheet.plane].then(|| below[sheet.plane]);
                    for y in 0..band.height {
                        let sums = &mut sums[..band.width];
                        let scale = 1.0 / around(&sizes, layout, band, sheet, down, y, sums);
                        let at = row_at(layout, band, sheet.plane, y);
                        let row = sizes[at..][..band.width].iter().zip(&mut classes[at..][..band.width]);
                        for ((size, class), sum) in row.zip(sums.iter()) {
                            let k = division(sum * scale, 1, N_CLASSES);
                            *class = k as u8;
                            counts[k * N_BINS + division(*size, BIN_BITS, N_BINS)] += 1;
                        }
                    }
                }
            }
        }
        let bins = (0..counts.len()).filter(|&i| counts[i] > 0).map(|i| {
            let bin = i % N_BINS;
            let low = if bin == 0 { 0.0 } else { edge(bin) };
            Bin { class: i / N_BINS, low, high: edge(bin + 1), count: f64::from(counts[i]) }
        });
        Self { classes, bins: bins.collect() }
    }

    /// What is best for a step.
    pub fn choose(&self, step: f64) -> Choice {
        let inverse = 1.0 / step;
        // Of each class: symbols 0, 1, 2, more, and the sum of the sizes of the last kind above 3.
        let mut counts = vec![[0f64; 5]; N_CLASSES];
        for bin in &self.bins {
            let class = &mut counts[bin.class];
            let (low, width) = (bin.low * inverse, (bin.high - bin.low) * inverse);
            if bin.high * inverse < 0.5 {
                class[0] += bin.count;
                continue;
            }
            let part = bin.count / POINTS.len() as f64;
            for p in POINTS {
                let q = (low + p * width).round();
                class[q.min(3.0) as usize] += part;
                class[4] += part * (q - 3.0).max(0.0);
            }
        }
        let edges = counts.iter().enumerate().map(|(k, n)| {
            // A geometric law with the neighbours' mean counts as some more coefficients.
            let mean = edge((k << BIN_BITS) / 2) * 1.2 * inverse;
            let r = (mean / (1.0 + mean)).clamp(1e-4, 0.999);
            let prior = 3.0;
            let law = [1.0 - r, (1.0 - r) * r, (1.0 - r) * r * r, r * r * r];
            let total = n[..4].iter().sum::<f64>() + prior;
            let bits: Vec<f64> = (0..4).map(|q| -((n[q] + prior * law[q]) / total).log2()).collect();
            let beyond = (n[4] + prior * law[3] * r / (1.0 - r)) / (n[3] + prior * law[3]);
            let per_size = ((1.0 + beyond) / beyond).log2().clamp(0.0, 4.0);
            let gain = |bits: f64| (LAMBDA / 2.0 * bits).clamp(0.0, 0.8);
            let rest = gain(per_size);
            let third = bits[3] + per_size / 2.0;
            let from =
                [0.5 + gain(bits[1] - bits[0] + 1.0), 1.5 + gain(bits[2] - bits[1]), 2.5 + gain(third - bits[2])];
            Edges { from: [from[0], from[1].max(from[0]), from[2].max(from[1])], shift: 0.5 - rest }
        });
        Choice { edges: edges.collect() }
    }

    /// Bits of the symbols for a step, each under its class.
    pub fn bits(&self, step: f64) -> f64 {
        let inverse = 1.0 / step;
        let choice = self.choose(step);
        let mut counts = vec![[0f64; 5]; N_CLASSES];
        for bin in &self.bins {
            let (low, width) = (bin.low * inverse, (bin.high - bin.low) * inverse);
            let class = &mut counts[bin.class];
            if bin.high * inverse < 0.5 {
                class[0] += bin.count;
                continue;
            }
            let part = bin.count / POINTS.len() as f64;
            for p in POINTS {
                let q = choice.symbol(bin.class as u8, low + p * width);
                class[q.min(3) as usize] += part;
                class[4] += part * (q - 3).max(0) as f64;
            }
        }
        let bits = counts.iter().map(|n| {
            let total = n[..4].iter().sum::<f64>();
            let kinds: f64 = n[..4].iter().filter(|&&n| n > 0.0).map(|&n| n * (total / n).log2()).sum();
            let signs = total - n[0];
            // A geometric law beyond 3.
            let beyond = n[4] / n[3].max(1.0);
            let rest =
                if n[4] > 0.0 { n[3] * ((1.0 + beyond).log2() + beyond * (1.0 + 1.0 / beyond).log2()) } else { 0.0 };
            kinds + signs + rest
        });
        bits.sum()
    }

    /// Squared error of the coefficients for a step, without touching them.
    pub fn error(&self, step: f64) -> f64 {
        let inverse = 1.0 / step;
        if step < edge(0) * 32.0 {
            return self.classes.len() as f64 * step * step / 12.0;
        }
        let choice = self.choose(step);
        let mut tally = Tally::default();
        for bin in &self.bins {
            let (low, width) = (bin.low * inverse, (bin.high - bin.low) * inverse);
            if low > LARGE {
                tally.keep(bin.count, 3, 0.0, 1.0 / 12.0);
                continue;
            }
            if bin.high * inverse < 0.5 {
                let middle = low + width / 2.0;
                tally.lose(bin.count, middle * middle + width * width / 12.0);
                continue;
            }
            let part = bin.count / POINTS.len() as f64;
            for p in POINTS {
                let u = low + p * width;
                let q = choice.symbol(bin.class as u8, u);
                let d = u - q as f64;
                if q == 0 { tally.lose(part, u * u) } else { tally.keep(part, q, d, d * d) }
            }
        }
        tally.error() * step * step
    }
}

/// Where a row of a band begins.
pub fn row_at(layout: &Layout, band: &Band, plane: usize, y: usize) -> usize {
    plane * layout.plane() + (band.y + y) * layout.width() + band.x
}

/// Adds the sizes around each coefficient of a row up in `sums`; returns their weight.
fn around(
    sizes: &[f32],
    layout: &Layout,
    band: &Band,
    sheet: &Sheet,
    down: Option<usize>,
    y: usize,
    sums: &mut [f32],
) -> f32 {
    let row = |plane: usize, y: usize| &sizes[row_at(layout, band, plane, y)..][..band.width];
    let here = row(sheet.plane, y);
    sums.fill(0.0);
    sums[1..].iter_mut().zip(here).for_each(|(s, v)| *s += v);
    sums.iter_mut().zip(&here[1..]).for_each(|(s, v)| *s += v);
    let mut weight = if band.width > 1 { 2.0 } else { 0.0 };
    let others = [
        (y > 0).then(|| row(sheet.plane, y - 1)),
        (y + 1 < band.height).then(|| row(sheet.plane, y + 1)),
        sheet.up.map(|plane| row(plane, y)),
        down.map(|plane| row(plane, y)),
    ];
    for other in others.into_iter().flatten() {
        sums.iter_mut().zip(other).for_each(|(s, v)| *s += v);
        weight += 1.0;
    }
    if let Some(parent) = band.parent.map(|p| &layout.bands[p]) {
        let y = (y * parent.height / band.height).min(parent.height - 1);
        let coarse = &sizes[row_at(layout, parent, sheet.plane, y)..][..parent.width];
        // Parents are larger by about the norm's growth from level to level.
        if 2 * parent.width <= band.width + 1 {
            sums.chunks_mut(2).zip(coarse).for_each(|(s, v)| s.iter_mut().for_each(|s| *s += 0.5 * v));
        } else {
            sums.iter_mut().zip(coarse).for_each(|(s, v)| *s += 0.5 * v);
        }
        weight += 1.0;
    }
    if weight > 0.0 { weight } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::uniform;

    #[test]
    fn bins_foretell_what_quantizing_leaves() {
        let shape = [6, 80, 90];
        let layout = Layout::new(&shape, false);
        let n: usize = shape.iter().product();
        // Sizes that differ from place to place, most of them small.
        let c: Vec<f64> =
            (0..n as u64).map(|i| (uniform(i) - 0.5) * (uniform(i / 500 + n as u64) * 9.0).exp2()).collect();
        let spread = Spread::of(&c, &layout);
        let mut bits = f64::INFINITY;
        for step in [1e-3, 0.3, 5.0, 40.0] {
            let choice = spread.choose(step);
            let mut tally = Tally::default();
            for (v, &class) in c.iter().zip(&spread.classes) {
                let u = v.abs() / step;
                let q = choice.symbol(class, u);
                let d = u - q as f64;
                if q == 0 { tally.lose(1.0, u * u) } else { tally.keep(1.0, q, d, d * d) }
            }
            let error = tally.error() * step * step;
            assert!((spread.error(step) / error - 1.0).abs() < 0.02, "{step}: {} {error}", spread.error(step));
            assert!(spread.bits(step) < bits);
            bits = spread.bits(step);
        }
    }
}
