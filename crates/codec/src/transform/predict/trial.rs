//! Which layout and which spread of bins over the levels: coded bytes of a sample decide.

use super::geometry::Layout;
use super::{Looked, Predict, Preset};
use crate::block::{crop, part_shape};

/// What was chosen.
pub struct Choice {
    /// Order of the dimensions.
    pub layout: Layout,
    /// Bins are finer by this factor from level to level.
    pub alpha: f64,
}

/// Spreads worth trying, beside an even one.
const ALPHAS: [f64; 2] = [1.15, 1.3];
/// Each trial codes at least so many samples: fewer do not show what least squares will learn.
const LEAST: usize = 40_000;

/// The choice with the fewest bytes at that bin width.
pub fn choose(block: &Looked, candidates: Vec<Layout>, width: f64) -> Choice {
    let Predict { layout, alpha, .. } = block.options;
    let layouts = match layout {
        Some(i) => vec![candidates[i.min(candidates.len() - 1)].clone()],
        None => candidates,
    };
    let trials = block.preset.trials;
    if trials == 0 {
        let layout =
            layouts.into_iter().next_back().unwrap_or(Layout { axes: (0..block.shape.len()).collect(), planar: 1 });
        return Choice { layout, alpha: alpha.unwrap_or(1.0) };
    }
    let sample = sample(block, (block.x.len() / (trials * layouts.len())).max(LEAST));
    let cost = |layout: &Layout, alpha: f64| sample.encode_with(layout, &sample.settings(width, alpha)).0.len();
    let start = alpha.unwrap_or(1.0);
    let Some((layout, _)) = best(layouts, |l| cost(l, start)) else {
        return Choice { layout: Layout { axes: (0..block.shape.len()).collect(), planar: 1 }, alpha: start };
    };
    let alpha = match alpha {
        Some(a) => a,
        None => best([start].into_iter().chain(ALPHAS).collect(), |a| cost(&layout, *a)).map_or(start, |(a, _)| a),
    };
    Choice { layout, alpha }
}

/// The cheapest, and its cost; a single one is not tried.
fn best<T>(all: Vec<T>, cost: impl Fn(&T) -> usize) -> Option<(T, usize)> {
    if all.len() == 1 {
        return all.into_iter().next().map(|t| (t, 0));
    }
    all.into_iter()
        .map(|t| {
            let c = cost(&t);
            (t, c)
        })
        .min_by_key(|(_, c)| *c)
}

/// A part of about `n` samples with as even sides as the block has; of several places, the one with most valid samples.
pub fn sample(block: &Looked, n: usize) -> Looked {
    let count = part_shape(&block.shape, n);
    let places =
        (1..=3).map(|k| -> Vec<usize> { block.shape.iter().zip(&count).map(|(s, c)| (s - c) * k / 4).collect() });
    let valid = |start: &Vec<usize>| block.valid.as_ref().map(|m| crop(m, &block.shape, start, &count));
    let n_valid = |start: &Vec<usize>| valid(start).map_or(0, |m| m.iter().filter(|v| **v).count());
    let start = places.max_by_key(|s| n_valid(s)).unwrap_or_default();
    Looked {
        options: block.options.clone(),
        preset: Preset { wide: false, every: block.preset.every.max(4), ..block.preset },
        x: crop(&block.x, &block.shape, &start, &count),
        valid: valid(&start),
        shape: count,
        sample: None,
        choice: None,
        ..*block
    }
}
