//! How a variable is cut: chunks are the unit of random access and of parallel work, shards the unit of files.

use lithify_codec::Dtype;

/// Samples of a chunk aimed at. The adaptive models need about 10^5 samples to settle, memory sets the upper end.
pub const TARGET_SAMPLES: usize = 1 << 22;
/// Chunks of a shard aimed at.
const SHARD_CHUNKS: usize = 8;
/// Arrays with more chunks than this are sharded.
const UNSHARDED: usize = 16;
/// A leading dimension is cut down to this length before the others are touched.
const LEADING: usize = 64;

/// Chunk shape for a variable, aligned with how the file chunks it (`hint`) where that serves.
///
/// 1. Small variables are one chunk.
/// 2. With a hint, its chunks are joined, doubling the dimension that is cut into most pieces, until the target is reached.
/// 3. Without, the first dimension is halved down to 64, then whichever is longest.
pub fn chunk_shape(shape: &[usize], dtype: Dtype, hint: Option<&[usize]>) -> Vec<usize> {
    let target = TARGET_SAMPLES.min((TARGET_SAMPLES * 8) / dtype.size().max(4));
    let full: Vec<usize> = shape.iter().map(|d| (*d).max(1)).collect();
    let size = |c: &[usize]| c.iter().fold(1usize, |n, d| n.saturating_mul(*d));
    if size(&full) <= target + target / 2 {
        return full;
    }
    if let Some(hint) = hint.filter(|h| h.len() == shape.len()) {
        let mut c: Vec<usize> = hint.iter().zip(&full).map(|(h, f)| (*h).clamp(1, *f)).collect();
        if size(&c) <= target {
            loop {
                let pieces = |d: usize| full[d].div_ceil(c[d]);
                let next = (0..c.len()).filter(|&d| pieces(d) > 1).max_by_key(|&d| (pieces(d), d));
                let Some(d) = next else { return c };
                let mut grown = c.clone();
                grown[d] = (c[d] * 2).min(full[d]);
                if size(&grown) > target {
                    return c;
                }
                c = grown;
            }
        }
    }
    let mut pieces = vec![1usize; full.len()];
    let mut c = full.clone();
    while size(&c) > target {
        let longest = (0..c.len()).rev().max_by_key(|&d| c[d]).unwrap_or(0);
        let d = if c[0] > LEADING { 0 } else { longest };
        pieces[d] *= 2;
        c[d] = full[d].div_ceil(pieces[d]);
    }
    c
}

/// Cuts an automatic chunk otherwise, so that a model codes all of it as it was trained: with all bands, whose dimension is `bands`, and
/// rows and columns in multiples of the model's strides, as far as the variable is cut there at all.
pub fn fit_model(chunk: &mut [usize], shape: &[usize], bands: Option<usize>, strides: [usize; 2]) {
    let size = |c: &[usize]| c.iter().fold(1usize, |n, d| n.saturating_mul(*d));
    let target = size(chunk);
    if let Some(bands) = bands {
        chunk[bands] = shape[bands].max(1);
        while size(chunk) > target {
            // Items of a batch first: a model sees each by itself.
            let items = (0..bands).filter(|&d| chunk[d] > 1).max_by_key(|&d| chunk[d]);
            let plane = (bands + 1..chunk.len()).filter(|&d| chunk[d] > 1).max_by_key(|&d| chunk[d]);
            let Some(d) = items.or(plane) else { break };
            chunk[d] = chunk[d].div_ceil(2);
        }
    }
    let rows = chunk.len().saturating_sub(2);
    for (d, stride) in (rows..chunk.len()).zip(&strides[2 - (chunk.len() - rows)..]) {
        if chunk[d] < shape[d] && chunk[d] > *stride {
            chunk[d] -= chunk[d] % stride;
        }
    }
}

/// Shard shape for chunks of shape `chunk`; `None` for arrays of few chunks.
pub fn shard_shape(shape: &[usize], chunk: &[usize]) -> Option<Vec<usize>> {
    let n: Vec<usize> = shape.iter().zip(chunk).map(|(s, c)| s.div_ceil((*c).max(1))).collect();
    if n.iter().product::<usize>() <= UNSHARDED {
        return None;
    }
    // Last dimensions first, so that a shard is a run of chunks in C order as far as possible.
    let mut per_shard = vec![1; n.len()];
    let mut total = 1;
    for d in (0..n.len()).rev() {
        while per_shard[d] < n[d] && total * 2 <= SHARD_CHUNKS {
            per_shard[d] *= 2;
            total *= 2;
        }
    }
    Some(per_shard.iter().zip(chunk).map(|(p, c)| p * c).collect())
}

/// A chunk of an array: its index in the chunk grid, and where it lies. Edge chunks are cut to the array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkAt {
    /// Index in the grid of chunks.
    pub index: Vec<usize>,
    /// First sample.
    pub start: Vec<usize>,
    /// Samples in each dimension.
    pub count: Vec<usize>,
}

/// All chunks, shard by shard, each in C order. Empty if the array is.
pub fn chunk_grid(shape: &[usize], chunk: &[usize], shard: Option<&[usize]>) -> Vec<ChunkAt> {
    let outer = lithify_codec::block::grid(shape, shard.unwrap_or(chunk));
    outer
        .into_iter()
        .flat_map(|(origin, extent)| {
            lithify_codec::block::grid(&extent, chunk).into_iter().map(move |(inner, count)| {
                let start: Vec<usize> = origin.iter().zip(&inner).map(|(a, b)| a + b).collect();
                (start, count)
            })
        })
        .map(|(start, count)| ChunkAt { index: start.iter().zip(chunk).map(|(s, c)| s / c).collect(), start, count })
        .collect()
}

/// The chunks of an array of shape `shape` from index `at` of dimension `axis` on; of one that lies on both sides, the rest. Indices
/// are those of the whole grid, starts are counted from `at`.
pub fn grid_from(shape: &[usize], chunk: &[usize], shard: Option<&[usize]>, axis: usize, at: usize) -> Vec<ChunkAt> {
    let mut grid = chunk_grid(shape, chunk, shard);
    grid.retain(|c| c.start[axis] + c.count[axis] > at);
    for c in &mut grid {
        let cut = at.saturating_sub(c.start[axis]);
        c.count[axis] -= cut;
        c.start[axis] = c.start[axis] + cut - at;
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_sample_once_in_shard_order() {
        for (shape, chunk, shard) in [
            (&[5usize, 7, 9][..], &[2usize, 3, 4][..], Some(&[4usize, 6, 4][..])),
            (&[5, 7, 9], &[5, 7, 9], None),
            (&[], &[], None),
            (&[3, 0], &[2, 1], None),
        ] {
            let n: usize = shape.iter().product();
            let mut seen = vec![0u8; n];
            for c in chunk_grid(shape, chunk, shard) {
                let ones = vec![1u8; c.count.iter().product()];
                let before = lithify_codec::block::crop(&seen, shape, &c.start, &c.count);
                assert!(before.iter().all(|s| *s == 0));
                lithify_codec::block::paste(&mut seen, shape, &c.start, &ones, &c.count);
            }
            assert!(seen.iter().all(|s| *s == 1));
        }
    }

    #[test]
    fn chunks_fit_a_model() {
        let fitted = |chunk: &[usize], shape: &[usize], bands| {
            let mut chunk = chunk.to_vec();
            fit_model(&mut chunk, shape, bands, [8, 16]);
            chunk
        };
        assert_eq!(fitted(&[13, 501, 1001], &[13, 5490, 10980], Some(0)), [13, 496, 992]);
        assert_eq!(fitted(&[4, 6, 512, 512], &[40, 12, 512, 512], Some(1)), [2, 12, 512, 512]);
        assert_eq!(fitted(&[1, 2, 512, 512], &[40, 12, 5120, 5120], Some(1)), [1, 12, 256, 128]);
        assert_eq!(fitted(&[12, 100, 90], &[12, 100, 90], Some(0)), [12, 100, 90]);
        assert_eq!(fitted(&[50, 20], &[100, 100], None), [48, 16]);
        assert_eq!(fitted(&[7, 9], &[100, 100], None), [7, 9]);
        assert_eq!(fitted(&[50], &[100], None), [48]);
        assert_eq!(fitted(&[], &[], None), [] as [usize; 0]);
    }

    #[test]
    fn chunk_sizes_stay_near_the_target() {
        let f = Dtype::F32;
        assert_eq!(chunk_shape(&[3, 30, 192, 288], f, Some(&[1, 15, 96, 144])), [3, 30, 192, 288]);
        assert_eq!(chunk_shape(&[1000, 721, 1440], f, Some(&[1, 721, 1440])), [4, 721, 1440]);
        assert_eq!(chunk_shape(&[], f, None), [] as [usize; 0]);
        for shape in [&[100_000, 721, 1440][..], &[20_000, 30_000], &[1 << 31], &[1, 1 << 31], &[7, 11, 13, 17, 19, 23]]
        {
            let c = chunk_shape(shape, f, None);
            let n: usize = c.iter().product();
            assert!((TARGET_SAMPLES / 4..=TARGET_SAMPLES * 3 / 2).contains(&n), "{shape:?} {c:?}");
            assert!(c.iter().zip(shape).all(|(c, s)| c <= s));
        }
        assert_eq!(shard_shape(&[100, 4, 4], &[1, 4, 4]), Some(vec![8, 4, 4]));
        assert_eq!(shard_shape(&[16, 4, 4], &[1, 4, 4]), None);
    }
}
