//! Principal components of the bands, wavelet levels, then networks where it pays: on the latents and before the last level back.
//!
//! # Maths     starts as a near orthonormal transform, CDF 9/7 on components, of whose coefficients the strongest are kept; what is
//! learned is added to that and begins as nothing
//! # Shapes    each level's details go to the coarsest resolution by space to depth; the levels nest in `concat`
//! # When      little to train on, a fast decoder

use lithify_codec::learned::graph::{Graph, Op, Wavelet};

use super::{Pair, Site};
use crate::build::{Builder, Matrix};
use crate::error::Result;
use crate::linear::strongest;

const KIND: Wavelet = Wavelet::Cdf97;

pub(super) fn build(site: &mut Site<'_>) -> Result<Pair> {
    let (latents, hidden, levels) = (site.config.latents, site.config.hidden, site.config.levels);
    let components = match site.bands() {
        1 => Matrix::of(1, 1, |_, _| 1.0),
        _ => site.sample.principal()?,
    };
    let bands = components.rows;
    let all = bands << (2 * levels);
    let mut net = site.net("g_a");
    let mut g_a = vec![net.mix(&components)];
    g_a.extend(analysis(&mut net, bands, levels));
    let order = strongest(&site.sample.deviations(&g_a, site.params)?, latents.min(all));
    let chosen = Matrix::of(latents, all, |r, c| if order.get(r) == Some(&c) { 1.0 } else { 0.0 });
    let mut net = site.net("g_a.latent");
    g_a.extend([net.mix(&chosen), net.residual(latents, hidden, 3)]);
    let mut net = site.net("g_s");
    let mut g_s = vec![net.residual(latents, hidden, 3)];
    g_s.extend(synthesis(&mut net, &chosen, bands, levels, 1, hidden));
    g_s.push(net.mix(&components.transposed()));
    Ok(Pair { g_a, g_s })
}

/// One level on the low band of the one before, and so on: low bands of the last level first, then details from coarse to fine.
fn analysis(net: &mut Builder<'_>, bands: usize, levels: usize) -> Graph {
    let wavelet = Op::Wavelet { kind: KIND, inverse: false };
    if levels == 1 {
        // Bands of a channel lie together; low bands go first.
        return vec![wavelet, net.mix(&Matrix::pick(&low_first(bands), 4 * bands))];
    }
    let mut low = vec![net.mix(&Matrix::pick(&low_first(bands)[..bands], 4 * bands))];
    low.extend(analysis(net, bands, levels - 1));
    let factor = 1 << (levels - 1);
    let details = vec![
        net.mix(&Matrix::pick(&low_first(bands)[bands..], 4 * bands)),
        Op::Unshuffle { factor: [1, factor, factor] },
    ];
    vec![wavelet, Op::Concat { branches: vec![low, details] }]
}

/// The way back from the latents; `level` counts from the finest, 1.
fn synthesis(
    net: &mut Builder<'_>,
    chosen: &Matrix,
    bands: usize,
    levels: usize,
    level: usize,
    hidden: usize,
) -> Graph {
    let back = chosen.transposed();
    let rows = |from: usize, to: usize| Matrix {
        rows: to - from,
        columns: back.columns,
        values: back.values[from * back.columns..to * back.columns].to_vec(),
    };
    // Where this level's details lie among all coefficients.
    let start = bands << (2 * (levels - level));
    let factor = 1 << (levels - level);
    let mut details = vec![net.mix(&rows(start, 4 * start))];
    if factor > 1 {
        details.push(Op::Shuffle { factor: [1, factor, factor] });
    }
    let low = if level == levels {
        vec![net.mix(&rows(0, bands))]
    } else {
        synthesis(net, chosen, bands, levels, level + 1, hidden)
    };
    let order = low_first(bands);
    let together = Matrix::of(4 * bands, 4 * bands, |r, c| if order[c] == r { 1.0 } else { 0.0 });
    let mut graph = vec![Op::Concat { branches: vec![low, details] }, net.mix(&together)];
    if level == 1 {
        graph.push(net.residual(4 * bands, hidden, 3));
    }
    graph.push(Op::Wavelet { kind: KIND, inverse: true });
    graph
}

/// Channels after a level, low bands of all channels first, then each channel's three details.
fn low_first(bands: usize) -> Vec<usize> {
    let low = (0..bands).map(|c| 4 * c);
    let details = (0..3 * bands).map(|i| 4 * (i / 3) + 1 + i % 3);
    low.chain(details).collect()
}
