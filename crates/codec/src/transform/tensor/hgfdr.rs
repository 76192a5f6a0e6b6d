//! Adaptive-HGFDR and Blocked-HGFDR as published: blocks of near-equal sides, hierarchical Tucker with 32-bit factors, one rank
//! a block: the smallest that meets the target, or the same for all.
//!
//! # Maths
//! 1. The longest side is halved until there are BC blocks; of BC = 4, 16, 64, 128, 256 (and 1 for small arrays) the one with
//!    the fewest bytes wins.
//! 2. Each block is decomposed once (`ht`) and truncated to rank r: r (I + J + K) + r^3 + r^2 numbers for [I, J, K].
//! 3. The smallest r with `norm(x - x') <= e norm(x)`, measured on the decoded block, is found by binary search; the law
//!    error = alpha r^-beta through the last two ranks tried proposes the next one.
//! # Shapes     `f64[shape]`, 0 to 8 dimensions
//! # Bound      the relative error of each block; a block that no rank serves, or that is no smaller so, is stored as it is
//! # On the wire `u8` log2 BC; for each block in C order `varint` 0 (f64 samples), 1 (f32 samples) or r + 1, then the numbers
//! as f32: leaves, inner nodes, root
//! # When       to repeat the papers' experiments; `tensor` is its successor
//! # Reference  Adaptive-HGFDR: Adaptive lossy compression of Earth system model data, Geosci. Model Dev. 14, 2021;
//! L. Yuan et al., A hierarchical tensor-based approach to compressing geospatial data, IEEE TGRS 53, 2015

use super::ht::{Decomposed, Ranks, reconstruct, squeeze};
use crate::bits::{Reader, Writer};
use crate::block::{crop, paste, strides};
use crate::error::Result;
use crate::transform::{Analysis, Block, Goal, NormRule, Param, Region, Stage, Transform};

const BLOCKS: Param = Param {
    name: "blocks",
    doc: "number of blocks, rounded down to a power of two; hgfdr tries 4 to 256 if unset, hgfdr-blocked takes 16",
    default: f64::NAN,
    min: 1.0,
    max: 65536.0,
};

/// Adaptive-HGFDR.
pub const STAGE: Stage = Stage {
    id: 2,
    name: "hgfdr",
    doc: "Adaptive-HGFDR as published: hierarchical Tucker with 32-bit factors and the smallest rank for each block",
    params: &[BLOCKS],
    norm_rule: NormRule::PerBlock,
    closed_loop: false,
    make: |params| Box::new(Hgfdr { blocks: params.count("blocks"), fixed: None }),
};

/// Blocked-HGFDR.
pub const BLOCKED: Stage = Stage {
    id: 3,
    name: "hgfdr-blocked",
    doc: "Blocked-HGFDR as published: hierarchical Tucker with 32-bit factors and one rank for all blocks",
    params: &[
        BLOCKS,
        Param { name: "rank", doc: "rank of every block", default: 8.0, min: 1.0, max: 65536.0 },
        Param {
            name: "enforce",
            doc: "1: blocks that miss the bound get the smallest rank that meets it; 0: the rank alone decides",
            default: 1.0,
            min: 0.0,
            max: 1.0,
        },
    ],
    norm_rule: NormRule::PerBlock,
    closed_loop: false,
    make: |params| {
        let rank = params.count("rank").unwrap_or(1);
        let fixed = Fixed { rank, enforce: params.get("enforce") >= 0.5 };
        Box::new(Hgfdr { blocks: Some(params.count("blocks").unwrap_or(16)), fixed: Some(fixed) })
    },
};

/// Below this many samples one undivided block is a candidate too.
const SMALL: usize = 1 << 15;
const F64: u64 = 0;
const F32: u64 = 1;

/// One rank for all blocks.
#[derive(Debug, Clone, Copy)]
struct Fixed {
    rank: usize,
    enforce: bool,
}

struct Hgfdr {
    blocks: Option<usize>,
    fixed: Option<Fixed>,
}

/// How one block was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRank {
    /// Where the block lies.
    pub region: Region,
    /// Its rank; `None` if its samples are stored as they are.
    pub rank: Option<usize>,
    /// Its bytes, without the rank itself.
    pub n_bytes: usize,
}

/// The blocks of a coded body of `hgfdr` or `hgfdr-blocked`, in stored order.
///
/// # Errors
/// As for decoding, if the bytes are damaged.
pub fn block_ranks(body: &[u8], shape: &[usize]) -> Result<Vec<BlockRank>> {
    let mut ranks = Vec::new();
    each_block(&mut Reader::new(body, "hgfdr"), shape, |region, tag, bytes| {
        let rank = (tag > F32).then(|| (tag - 1) as usize);
        ranks.push(BlockRank { region, rank, n_bytes: bytes.len() });
    })?;
    Ok(ranks)
}

/// Blocks of near-equal sides, in C order: the longest side is halved until there are `2^log2` or nothing is left to halve.
fn division(shape: &[usize], log2: u8) -> Vec<Region> {
    let mut cuts = vec![1usize; shape.len()];
    for _ in 0..log2 {
        // The first of the longest sides.
        let longest = (0..shape.len()).rev().max_by_key(|&k| shape[k].div_ceil(cuts[k]));
        match longest {
            Some(k) if 2 * cuts[k] <= shape[k] => cuts[k] *= 2,
            _ => break,
        }
    }
    let steps = strides(&cuts);
    (0..cuts.iter().product())
        .map(|i| {
            let edge = |k: usize, extra: usize| (i / steps[k] % cuts[k] + extra) * shape[k] / cuts[k];
            let start: Vec<usize> = (0..shape.len()).map(|k| edge(k, 0)).collect();
            let count = (0..shape.len()).map(|k| edge(k, 1) - start[k]).collect();
            Region { start, count }
        })
        .collect()
}

/// Reads the frame of each block.
fn each_block(src: &mut Reader<'_>, shape: &[usize], mut block: impl FnMut(Region, u64, &[u8])) -> Result<()> {
    let log2 = src.u8()?.min(16);
    for region in division(shape, log2) {
        let n: usize = region.count.iter().product();
        let tag = src.count("rank of a block", 1 << 32)? as u64;
        let len = match tag {
            F64 => 8 * n,
            F32 => 4 * n,
            _ => {
                let squeezed = squeeze(&region.count);
                4 * Ranks::new(&squeezed, (tag - 1) as usize).n_numbers(&squeezed)
            }
        };
        let bytes = src.take(len)?;
        block(region, tag, bytes);
    }
    Ok(())
}

impl Transform for Hgfdr {
    fn analyse(&self, x: Vec<f64>, block: Block<'_>) -> Result<Box<dyn Analysis>> {
        let shape = block.shape;
        let candidates = match self.blocks {
            Some(n) => vec![n.max(1).ilog2() as u8],
            None => [0, 2, 4, 6, 7, 8].into_iter().filter(|&b| b > 0 || x.len() <= SMALL).collect(),
        };
        Ok(Box::new(Blocks { x, shape: shape.to_vec(), candidates, fixed: self.fixed }))
    }

    fn decode(&self, src: &mut Reader<'_>, block: Block<'_>, region: &Region) -> Result<Vec<f64>> {
        let shape = block.shape;
        let mut out = crate::try_vec(region.count.iter().product(), 0.0)?;
        each_block(src, shape, |block, tag, bytes| {
            // The part of the block that is asked for, as seen from the block and from the region.
            let d = shape.len();
            let start: Vec<usize> = (0..d).map(|k| block.start[k].max(region.start[k])).collect();
            let end = |k: usize| (block.start[k] + block.count[k]).min(region.start[k] + region.count[k]);
            if (0..d).any(|k| end(k) <= start[k]) {
                return;
            }
            let count: Vec<usize> = (0..d).map(|k| end(k) - start[k]).collect();
            let inside: Vec<usize> = (0..d).map(|k| start[k] - block.start[k]).collect();
            let outside: Vec<usize> = (0..d).map(|k| start[k] - region.start[k]).collect();
            let samples = decode_block(tag, bytes, &block.count, &Region { start: inside, count: count.clone() });
            paste(&mut out, &region.count, &outside, &samples, &count);
        })?;
        Ok(out)
    }
}

/// `part` of a block; `bytes` has the length that belongs to `tag` and `shape`.
fn decode_block(tag: u64, bytes: &[u8], shape: &[usize], part: &Region) -> Vec<f64> {
    if tag == F64 {
        let x: Vec<f64> = bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
        return crop(&x, shape, &part.start, &part.count);
    }
    let x: Vec<f64> = bytes.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect();
    if tag == F32 {
        return crop(&x, shape, &part.start, &part.count);
    }
    // Lengths of 1 are left out, as squeeze() does.
    let squeezed = squeeze(shape);
    let long = (0..shape.len()).filter(|&k| shape[k] > 1);
    let (mut start, mut count): (Vec<_>, Vec<_>) = long.map(|k| (part.start[k], part.count[k])).unzip();
    start.resize(squeezed.len(), 0);
    count.resize(squeezed.len(), 1);
    reconstruct(&x, &squeezed, (tag - 1) as usize, &start, &count)
}

struct Blocks {
    x: Vec<f64>,
    shape: Vec<usize>,
    /// log2 of the numbers of blocks to try; one is left once a goal was met.
    candidates: Vec<u8>,
    fixed: Option<Fixed>,
}

/// A block as it will be stored.
struct Stored {
    tag: u64,
    bytes: Vec<u8>,
    decoded: Vec<f64>,
}

impl Analysis for Blocks {
    fn squared_error(&mut self, step: f64) -> f64 {
        // What each block may lose; it loses less, since ranks are whole numbers.
        self.x.len() as f64 * step * step / 12.0
    }

    fn encode(&mut self, goal: Goal) -> Result<(Vec<u8>, Vec<f64>)> {
        if self.candidates.len() > 1 {
            let mut best = (usize::MAX, 0);
            for &log2 in &self.candidates {
                let mut n_bytes = 0;
                for region in division(&self.shape, log2) {
                    n_bytes += self.store(&region, goal).bytes.len();
                    if n_bytes >= best.0 {
                        break;
                    }
                }
                best = best.min((n_bytes, log2));
            }
            self.candidates = vec![best.1];
        }
        let log2 = self.candidates[0];
        let mut w = Writer::new();
        w.u8(log2);
        let mut y = crate::try_vec(self.x.len(), 0.0)?;
        for region in division(&self.shape, log2) {
            let stored = self.store(&region, goal);
            w.varint(stored.tag);
            w.bytes.extend_from_slice(&stored.bytes);
            paste(&mut y, &self.shape, &region.start, &stored.decoded, &region.count);
        }
        Ok((w.bytes, y))
    }
}

impl Blocks {
    fn store(&self, region: &Region, goal: Goal) -> Stored {
        let x = crop(&self.x, &self.shape, &region.start, &region.count);
        // Sums of squares may overflow where the samples do not: both sides of the comparison are scaled alike.
        let scale = super::linalg::pow2(-super::linalg::exponent(&x));
        let sum_sq = |d: &mut dyn Iterator<Item = f64>| d.map(|v| (v * scale) * (v * scale)).sum::<f64>();
        let budget = match goal {
            Goal::Relative(e) => e * e * sum_sq(&mut x.iter().copied()),
            Goal::Step(s) => x.len() as f64 * (s * scale) * (s * scale) / 12.0,
        };
        let meets = |y: &[f64]| sum_sq(&mut x.iter().zip(y).map(|(a, b)| a - b));
        let all = Region::all(&region.count);
        let write = |tag: u64, numbers: &[f64]| {
            let bytes: Vec<u8> = match tag {
                F64 => numbers.iter().flat_map(|v| v.to_le_bytes()).collect(),
                _ => numbers.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect(),
            };
            let decoded = decode_block(tag, &bytes, &region.count, &all);
            Stored { tag, bytes, decoded }
        };
        let raw = || {
            let short = write(F32, &x);
            if meets(&short.decoded) <= budget { short } else { write(F64, &x) }
        };
        let Some(block) = Decomposed::new(&x, &region.count) else { return raw() };
        let of_rank = |r: usize| {
            let stored = write(r as u64 + 1, &block.truncate(r)?);
            let error = meets(&stored.decoded);
            Some((stored, error))
        };
        let unbound = matches!(goal, Goal::Relative(e) if e >= 1.0);
        let mut lowest = 0;
        if let Some(Fixed { rank, enforce }) = self.fixed {
            let rank = rank.min(block.max_rank());
            match of_rank(rank) {
                Some((stored, error)) if error <= budget || !enforce || unbound => return stored,
                _ => lowest = rank,
            }
        }
        let best = smallest(lowest, block.max_rank(), budget, of_rank);
        best.filter(|s| s.bytes.len() < 4 * x.len()).unwrap_or_else(raw)
    }
}

/// The smallest rank in `(below, largest]` whose squared error is within `budget`.
fn smallest(
    mut below: usize,
    largest: usize,
    budget: f64,
    of_rank: impl Fn(usize) -> Option<(Stored, f64)>,
) -> Option<Stored> {
    let (mut above, mut best) = (largest + 1, None);
    let mut tried: Option<(f64, f64)> = None;
    let mut guess = largest.div_ceil(8);
    let mut by_law = true;
    while above - below > 1 {
        let r = guess.clamp(below + 1, above - 1);
        let Some((stored, error)) = of_rank(r) else {
            above = r;
            guess = (below + above) / 2;
            continue;
        };
        if error <= budget {
            (above, best) = (r, Some(stored));
        } else {
            below = r;
        }
        // error = alpha r^-beta through the last two points; every second step halves, so that a poor fit costs little.
        let point = ((r as f64).ln(), error.max(f64::MIN_POSITIVE).ln());
        let beta = tried.map_or(2.0, |t| (t.1 - point.1) / (point.0 - t.0));
        let law = (point.0 + (point.1 - budget.max(f64::MIN_POSITIVE).ln()) / beta).exp().ceil();
        guess = if by_law && law.is_finite() { law as usize } else { (below + above) / 2 };
        by_law = !by_law;
        tried = Some(point);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Codec;
    use crate::testkit::uniform;

    fn field(shape: &[usize]) -> Vec<f64> {
        (0..shape.iter().product())
            .map(|i: usize| ((i % 23) as f64 * 0.2).sin() * ((i / 23) as f64 * 0.01).cos() + 0.01 * uniform(i as u64))
            .collect()
    }

    fn coded(codec: &str, shape: &[usize], goal: Goal) -> (Box<dyn Transform>, Vec<u8>, Vec<f64>) {
        let Codec::Transform(stage, params) = codec.parse().unwrap() else { unreachable!() };
        let transform = (stage.make)(&params);
        let (bytes, y) = transform.analyse(field(shape), Block::new(shape)).unwrap().encode(goal).unwrap();
        (transform, bytes, y)
    }

    #[test]
    fn size_is_the_papers_formula() {
        let [i, j, k, r] = [20, 23, 17, 5];
        let (_, bytes, _) = coded("hgfdr-blocked,rank=5,blocks=1,enforce=0", &[i, j, k], Goal::Relative(1e-9));
        // One byte for the number of blocks and one for the rank.
        assert_eq!(bytes.len(), 2 + 4 * (r * (i + j + k) + r * r * r + r * r));
        assert_eq!(block_ranks(&bytes, &[i, j, k]).unwrap()[0].rank, Some(r));
    }

    #[test]
    fn every_block_meets_the_goal_with_the_smallest_rank() {
        let shape = [24, 23, 30];
        let x = field(&shape);
        for codec in ["hgfdr", "hgfdr,blocks=8", "hgfdr-blocked,rank=2"] {
            let (_, bytes, y) = coded(codec, &shape, Goal::Relative(5e-3));
            for b in block_ranks(&bytes, &shape).unwrap() {
                let part = |v: &[f64]| crop(v, &shape, &b.region.start, &b.region.count);
                let (x, y) = (part(&x), part(&y));
                let norm = |v: f64| v.sqrt();
                let error = norm(x.iter().zip(&y).map(|(a, b)| (a - b) * (a - b)).sum());
                assert!(error <= 5e-3 * norm(x.iter().map(|v| v * v).sum()), "{codec} {b:?}");
                if let (Some(r @ 2..), true) = (b.rank, codec == "hgfdr") {
                    let block = Decomposed::new(&x, &b.region.count).unwrap();
                    let worse: Vec<f64> = block.truncate(r - 1).unwrap().iter().map(|v| f64::from(*v as f32)).collect();
                    let z = reconstruct(&worse, &b.region.count, r - 1, &[0; 3], &b.region.count);
                    let error = norm(x.iter().zip(&z).map(|(a, b)| (a - b) * (a - b)).sum());
                    assert!(error > 5e-3 * norm(x.iter().map(|v| v * v).sum()), "{b:?}");
                }
            }
        }
    }

    #[test]
    fn full_rank_is_exact_and_a_part_is_cropped_from_the_whole() {
        for shape in [&[6, 5, 7][..], &[4, 3, 5, 6], &[3, 4, 2, 3, 4], &[40, 9], &[300], &[1, 12, 1, 30], &[2; 6], &[]]
        {
            let x = field(shape);
            let block = Decomposed::new(&x, shape).unwrap();
            let s = squeeze(shape);
            // Inner nodes need up to the product of their children's ranks.
            let y = reconstruct(&block.truncate(1000).unwrap(), &s, 1000, &vec![0; s.len()], &s);
            assert!(x.iter().zip(&y).all(|(a, b)| (a - b).abs() < 1e-12), "{shape:?}");

            let (transform, bytes, y) = coded("hgfdr", shape, Goal::Relative(1e-2));
            let region = Region {
                start: shape.iter().map(|n| n / 3).collect(),
                count: shape.iter().map(|n| n.div_ceil(3)).collect(),
            };
            let part = transform.decode(&mut Reader::new(&bytes, "test"), Block::new(shape), &region).unwrap();
            assert_eq!(part, crop(&y, shape, &region.start, &region.count), "{shape:?}");
        }
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let shape = [9, 8, 10];
        let (transform, bytes, _) = coded("hgfdr", &shape, Goal::Relative(1e-2));
        for bit in 0..bytes.len().min(200) * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let _ = transform.decode(&mut Reader::new(&bad, "test"), Block::new(&shape), &Region::all(&shape));
            let _ =
                transform.decode(&mut Reader::new(&bytes[..bit / 8], "test"), Block::new(&shape), &Region::all(&shape));
        }
    }
}
