//! Convolution for both kinds of networks.
//!
//! # Maths
//! 1. Zeros are put around each input plane, and rows and columns are sorted by their place modulo the stride. Then output position q reads
//!    input q + offset, one offset for each channel and tap, with rows as they lie in memory: q runs through rows and the few columns between them.
//! 2. Blocks of 16 positions times 4 output channels stay in registers while offsets are gone through in order.
//! # Cost       a multiplication and an addition per product in eight lanes, one load in four
//!
//! Each sum has one order, whatever the lanes: bias, then channel, depth, row, column. Products are rounded before they are added.

use fearless_simd::prelude::*;
use fearless_simd::{f32x8, i32x8};

use super::activation::Activation;
use crate::error::Result;
use crate::simd::{level, widest};

/// Output channels of a block.
const CHANNELS: usize = 4;
/// Positions of a block.
const POSITIONS: usize = 16;
/// Positions over which a block's weights are used before the next block of channels takes its turn.
const TILE: usize = 128;

/// Weights as the loops want them.
#[derive(Debug, Clone)]
pub(super) struct Conv<T> {
    out: usize,
    /// Input channels of a group.
    per_group: usize,
    kernel: [usize; 3],
    stride: [usize; 3],
    groups: usize,
    /// Block by block of output channels: where the sums start, and the weights by channel and tap.
    blocks: Vec<Block<T>>,
}

#[derive(Debug, Clone)]
struct Block<T> {
    first: usize,
    count: usize,
    start: [T; CHANNELS],
    weights: Vec<[T; CHANNELS]>,
}

/// Numbers that convolutions are made of.
pub(super) trait Number: Copy + Default {
    /// One block: `taps` pairs of an offset and weights, from position `q` on.
    fn block<S: Simd>(
        simd: S,
        x: &[Self],
        offsets: &[usize],
        block: &[[Self; CHANNELS]],
        start: &[Self; CHANNELS],
        q: usize,
    ) -> [[Self; POSITIONS]; CHANNELS];
}

macro_rules! number {
    ($t:ty, $lanes:ident) => {
        impl Number for $t {
            #[inline(always)]
            fn block<S: Simd>(
                simd: S,
                x: &[Self],
                offsets: &[usize],
                weights: &[[Self; CHANNELS]],
                start: &[Self; CHANNELS],
                q: usize,
            ) -> [[Self; POSITIONS]; CHANNELS] {
                let mut sums = start.map(|s| [$lanes::splat(simd, s); 2]);
                for (offset, w) in offsets.iter().zip(weights) {
                    let at = offset + q;
                    let x = &x[at..at + POSITIONS];
                    let x = [$lanes::from_slice(simd, &x[..8]), $lanes::from_slice(simd, &x[8..])];
                    for c in 0..CHANNELS {
                        let w = $lanes::splat(simd, w[c]);
                        sums[c][0] += x[0] * w;
                        sums[c][1] += x[1] * w;
                    }
                }
                let mut out = [[Self::default(); POSITIONS]; CHANNELS];
                for c in 0..CHANNELS {
                    sums[c][0].store_slice(&mut out[c][..8]);
                    sums[c][1].store_slice(&mut out[c][8..]);
                }
                out
            }
        }
    };
}
number!(f32, f32x8);
number!(i32, i32x8);

impl<T: Number> Conv<T> {
    /// `weight` has shape `[out, in / groups, kd, kh, kw]`, `bias` holds `out` numbers.
    pub(super) fn new(shape: &[usize], weight: &[T], bias: &[T], stride: [usize; 3], groups: usize) -> Self {
        let (out, per_group, kernel) = (shape[0], shape[1], [shape[2], shape[3], shape[4]]);
        let taps = weight.len() / out;
        let of_group = out / groups;
        let blocks = (0..out)
            .step_by(of_group)
            .flat_map(|g| {
                (g..g + of_group).step_by(CHANNELS).map(move |first| (first, CHANNELS.min(g + of_group - first)))
            })
            .map(|(first, count)| {
                let lane = |f: &dyn Fn(usize) -> T| {
                    let mut v = [T::default(); CHANNELS];
                    (0..count).for_each(|c| v[c] = f(first + c));
                    v
                };
                let weights = (0..taps).map(|t| lane(&|o| weight[o * taps + t])).collect();
                Block { first, count, start: lane(&|o| bias[o]), weights }
            })
            .collect();
        Self { out, per_group, kernel, stride, groups, blocks }
    }

    /// Sums at every output position. The strides divide the lengths.
    pub(super) fn run(&self, x: &Activation<T>) -> Result<Activation<T>> {
        let input = Padded::new(x, self.kernel, self.stride)?;
        let [_, d, h, w] = x.shape;
        let [sd, sh, sw] = self.stride;
        let (od, oh, ow) = (d / sd, h / sh, w / sw);
        let mut out = Activation::zeros([self.out, od, oh, ow])?;
        if out.data.is_empty() {
            return Ok(out);
        }
        // Positions with the columns between rows, in whole blocks.
        let n = ((oh - 1) * input.pitch + ow).next_multiple_of(POSITIONS);
        // Rows whose distance is a power of two would share cache lines.
        let distance = n + POSITIONS;
        let mut flat: Vec<T> = crate::try_vec(distance * self.out, T::default())?;
        for z in 0..od {
            let offsets: Vec<Vec<usize>> =
                (0..self.groups).map(|g| input.offsets(g * self.per_group..(g + 1) * self.per_group, z * sd)).collect();
            let of_group = self.out / self.groups;
            widest!(level(), simd => {
                for tile in (0..n).step_by(TILE) {
                    for block in &self.blocks {
                        let offsets = &offsets[block.first / of_group];
                        for q in (tile..n.min(tile + TILE)).step_by(POSITIONS) {
                            let sums = T::block(simd, &input.data, offsets, &block.weights, &block.start, q);
                            for (c, sums) in sums[..block.count].iter().enumerate() {
                                let at = (block.first + c) * distance + q;
                                flat[at..at + POSITIONS].copy_from_slice(sums);
                            }
                        }
                    }
                }
            });
            for c in 0..self.out {
                for y in 0..oh {
                    let from = c * distance + y * input.pitch;
                    let to = ((c * od + z) * oh + y) * ow;
                    out.data[to..to + ow].copy_from_slice(&flat[from..from + ow]);
                }
            }
        }
        Ok(out)
    }
}

/// An input with zeros around, sorted by phase: `[channel, depth, phase row, phase column, row, column]`.
struct Padded<T> {
    data: Vec<T>,
    /// Columns, with those between the rows.
    pitch: usize,
    plane: usize,
    depth: usize,
    kernel: [usize; 3],
    stride: [usize; 3],
}

impl<T: Number> Padded<T> {
    fn new(x: &Activation<T>, kernel: [usize; 3], stride: [usize; 3]) -> Result<Self> {
        let [c, depth, h, w] = x.shape;
        let [_, sh, sw] = stride;
        let (ph, pw) = ((kernel[1] - 1) / 2, (kernel[2] - 1) / 2);
        let pitch = w / sw + (kernel[2] - 1) / sw;
        let rows = h / sh + (kernel[1] - 1) / sh;
        // The last block reaches beyond the last position.
        let plane = rows * pitch + POSITIONS;
        let phases = sh * sw;
        // After the channels' planes comes one of zeros, for taps above and below.
        let mut data = crate::try_vec((c * depth * phases + 1).saturating_mul(plane), T::default())?;
        for p in 0..c * depth {
            for y in 0..h {
                let row = &x.data[(p * h + y) * w..][..w];
                let (phase, line) = ((y + ph) % sh * sw, (y + ph) / sh * pitch);
                if sw == 1 {
                    let at = (p * phases + phase) * plane + line + pw;
                    data[at..at + w].copy_from_slice(row);
                    continue;
                }
                for (i, v) in row.iter().enumerate() {
                    data[(p * phases + phase + (i + pw) % sw) * plane + line + (i + pw) / sw] = *v;
                }
            }
        }
        Ok(Self { data, pitch, plane, depth, kernel, stride })
    }

    /// Where each channel's taps lie for outputs whose middle is at depth `z`.
    fn offsets(&self, channels: std::ops::Range<usize>, z: usize) -> Vec<usize> {
        let [kd, kh, kw] = self.kernel;
        let [_, sh, sw] = self.stride;
        let zeros = self.data.len() - self.plane;
        let mut offsets = Vec::with_capacity(channels.len() * kd * kh * kw);
        for c in channels {
            for t in 0..kd {
                let depth = (z + t).checked_sub((kd - 1) / 2).filter(|z| *z < self.depth);
                for i in 0..kh {
                    for j in 0..kw {
                        let phase = i % sh * sw + j % sw;
                        let shift = i / sh * self.pitch + j / sw;
                        offsets.push(match depth {
                            Some(z) => ((c * self.depth + z) * sh * sw + phase) * self.plane + shift,
                            None => zeros + shift,
                        });
                    }
                }
            }
        }
        offsets
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;
    use crate::testkit::uniform;

    /// The definition, tap by tap.
    fn plain(
        shape: &[usize; 5],
        w: &[f32],
        bias: &[f32],
        stride: [usize; 3],
        groups: usize,
        x: &Activation<f32>,
    ) -> Activation<f32> {
        let [out, per_group, kd, kh, kw] = *shape;
        let [_, d, h, wd] = x.shape;
        let (od, oh, ow) = (d / stride[0], h / stride[1], wd / stride[2]);
        let mut y = Activation::zeros([out, od, oh, ow]).unwrap();
        for (at, v) in y.data.iter_mut().enumerate() {
            let (o, z, i, j) = (at / (od * oh * ow), at / (oh * ow) % od, at / ow % oh, at % ow);
            *v = bias[o];
            let first = o / (out / groups) * per_group;
            for c in 0..per_group {
                for t in 0..kd * kh * kw {
                    let (a, b, e) = (t / (kh * kw), t / kw % kh, t % kw);
                    let at = |p: usize, s: usize, t: usize, k: usize, n: usize| {
                        (p * s + t).checked_sub(k / 2).filter(|p| *p < n)
                    };
                    let x = match (at(z, stride[0], a, kd, d), at(i, stride[1], b, kh, h), at(j, stride[2], e, kw, wd))
                    {
                        (Some(z), Some(i), Some(j)) => x.data[(((first + c) * d + z) * h + i) * wd + j],
                        _ => 0.0,
                    };
                    *v += x * w[(o * per_group + c) * kd * kh * kw + t];
                }
            }
        }
        y
    }

    #[test]
    fn blocks_give_the_bits_of_the_definition() {
        let cases = [
            ([3, 2, 1, 3, 3], [1, 1, 1], 1, [2, 1, 7, 9]),
            ([8, 3, 1, 5, 5], [1, 2, 2], 1, [3, 1, 12, 38]),
            ([6, 1, 1, 3, 1], [1, 1, 1], 6, [6, 1, 4, 5]),
            ([5, 4, 3, 3, 3], [1, 1, 1], 1, [4, 5, 6, 7]),
            ([4, 2, 3, 1, 5], [2, 4, 2], 2, [4, 4, 8, 20]),
            ([9, 17, 1, 1, 1], [1, 1, 1], 1, [17, 1, 20, 30]),
        ];
        for (shape, stride, groups, of_x) in cases {
            let random =
                |n: usize, seed: u64| (0..n as u64).map(|i| uniform(i ^ seed << 40) as f32 - 0.5).collect::<Vec<_>>();
            let w = random(shape.iter().product(), 1);
            let bias = random(shape[0], 2);
            let x = Activation { shape: of_x, data: random(of_x.iter().product(), 3) };
            let y = Conv::new(&shape, &w, &bias, stride, groups).run(&x).unwrap();
            let want = plain(&shape, &w, &bias, stride, groups, &x);
            assert_eq!(y.shape, want.shape);
            assert!(y.data.iter().zip(&want.data).all(|(a, b)| a.to_bits() == b.to_bits()), "{shape:?} {stride:?}");
        }
    }
}
