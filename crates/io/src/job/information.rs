//! Real information of a variable's bits, in one pass over it with the memory of a few chunks.

use lithify_codec::information::{BitPairs, Information};
use lithify_codec::{Dtype, match_samples};

use super::chunks::chunk_grid;
use super::{Context, ordered};
use crate::error::Result;
use crate::model::{Source, Variable, read_numbers};
use crate::policy;

/// Counts all pairs of neighbours of a floating-point variable, read in chunks of shape `chunk`; the result does not depend on it.
///
/// # Errors
/// Those of reading.
pub fn information(
    source: &dyn Source,
    path: &str,
    v: &Variable,
    dtype: Dtype,
    chunk: &[usize],
    context: &Context<'_>,
) -> Result<Information> {
    let grid = chunk_grid(&v.shape, chunk, None);
    let missing = policy::missing_patterns(v);
    // Each chunk is read with what lies one before it, for the pairs across its border.
    let with_border = |i: usize| {
        let from: Vec<usize> = grid[i].start.iter().map(|s| usize::from(*s > 0)).collect();
        let start: Vec<usize> = grid[i].start.iter().zip(&from).map(|(s, f)| s - f).collect();
        let count: Vec<usize> = grid[i].count.iter().zip(&from).map(|(c, f)| c + f).collect();
        (from, start, count)
    };
    let mut all = BitPairs::new(v.shape.len());
    ordered::run(
        grid.len(),
        context.threads,
        |i| {
            context.check()?;
            let (_, start, count) = with_border(i);
            read_numbers(source, path, dtype, &start, &count)
        },
        |i, x| {
            let (from, _, count) = with_border(i);
            let mut pairs = BitPairs::new(count.len());
            match_samples!(&x, v => pairs.add(v, &count, &from, &missing));
            Ok(pairs)
        },
        |_, pairs| {
            all.merge(&pairs);
            Ok(())
        },
    )?;
    Ok(all.information(dtype))
}
