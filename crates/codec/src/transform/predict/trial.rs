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
/// The first trials code at least so many samples each ..
const LEAST: usize = 16_000;
/// .. and the decisive ones: fewer do not show what least squares will learn.
const LEAST_LATER: usize = 60_000;
/// Layouts that come so near to the best in the first trials are tried again.
const CLOSE: f64 = 1.15;
/// So many of them at most.
const FINAL: usize = 3;
/// The same where the whole block decides.
const CLOSE_WHOLE: f64 = 1.5;
const FINAL_WHOLE: usize = 4;

/// The choice with the fewest bytes at that bin width.
pub fn choose(block: &Looked, mut layouts: Vec<Layout>, width: f64) -> Choice {
    let Predict { layout, alpha, .. } = block.options;
    if let Some(code) = layout
        && layouts.iter().any(|l| l.code() == code)
    {
        layouts.retain(|l| l.code() == code);
    }
    let trials = block.preset.trials;
    let start = alpha.unwrap_or(1.0);
    if trials == 0 || (layouts.len() == 1 && alpha.is_some()) {
        // Slices of the last two dimensions, as they are stored.
        let long: Vec<usize> = (0..block.shape.len()).filter(|&d| block.shape[d] > 1).collect();
        let stored = layouts.iter().position(|l| l.planar == 2 && long.ends_with(&l.axes[l.axes.len() - 2..]));
        return Choice { layout: layouts.swap_remove(stored.unwrap_or(0)), alpha: start };
    }
    let budget = block.x.len() / trials;
    let cost = |sample: &Looked, layout: &Layout, alpha: f64| {
        sample.encode_with(layout, &sample.settings(width, alpha)).0.len() as f64
    };
    if layouts.len() > 2 {
        let mut small = sample(block, (budget / (2 * layouts.len())).max(LEAST));
        small.preset.quick = true;
        let mut bids: Vec<_> = layouts.into_iter().map(|l| (cost(&small, &l, start), l)).collect();
        bids.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (close, finalists) = if trials == 1 { (CLOSE_WHOLE, FINAL_WHOLE) } else { (CLOSE, FINAL) };
        let most = bids[0].0 * close;
        layouts = bids.into_iter().take_while(|(cost, _)| *cost <= most).take(finalists).map(|(_, l)| l).collect();
    }
    let part = (trials > 1).then(|| sample(block, (budget / 8).max(LEAST_LATER)));
    let large = part.as_ref().unwrap_or(block);
    let alphas = if alpha.is_some() { &[][..] } else { &ALPHAS };
    let mut best = Choice { layout: layouts.swap_remove(0), alpha: start };
    let mut least = if layouts.is_empty() && alphas.is_empty() { 0.0 } else { cost(large, &best.layout, start) };
    for layout in layouts {
        let c = cost(large, &layout, start);
        if c < least {
            (best.layout, least) = (layout, c);
        }
    }
    for &alpha in alphas {
        let c = cost(large, &best.layout, alpha);
        if c < least {
            (best.alpha, least) = (alpha, c);
        }
    }
    best
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
        preset: Preset { features: block.preset.features.min(1), every: block.preset.every.max(4), ..block.preset },
        x: crop(&block.x, &block.shape, &start, &count),
        valid: valid(&start),
        shape: count,
        sample: None,
        choice: None,
        ..*block
    }
}
