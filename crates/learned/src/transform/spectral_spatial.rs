//! Bands first, space after, apart from each other: principal components of the bands, then kernels within each of them.
//!
//! # Maths     starts as an orthonormal transform: components x cosines of squares of 2^levels; the kernels reach one square further on
//! each side and start with zeros there
//! # When      many correlated bands, little to train on

use lithify_codec::learned::graph::Op;

use super::{Pair, Site};
use crate::build::Matrix;
use crate::error::Result;
use crate::linear::{cosines, strongest};

pub(super) fn build(site: &mut Site<'_>) -> Result<Pair> {
    let (latents, hidden) = (site.config.latents, site.config.hidden);
    let side = 1 << site.config.levels;
    let components = match site.bands() {
        1 => Matrix::of(1, 1, |_, _| 1.0),
        _ => site.sample.principal()?,
    };
    let (bands, square) = (components.rows, cosines(side));
    let n = square.rows;
    // [bands n, n, 1, 3, 3]: the square itself in the middle of its neighbours.
    let kernels = |m: &Matrix| -> Vec<f32> {
        (0..bands * n * n * 9).map(|i| if i % 9 == 4 { m.values[i / 9 % (n * n)] } else { 0.0 }).collect()
    };
    let shape = [bands * n, n, 1, 3, 3];
    let mut net = site.net("g_a");
    let mut g_a = vec![
        net.mix(&components),
        Op::Unshuffle { factor: [1, side, side] },
        net.conv_given(&shape, kernels(&square), vec![0.0; bands * n], 1, bands),
    ];
    let order = strongest(&site.sample.deviations(&g_a, site.params)?, latents.min(bands * n));
    let chosen = Matrix::of(latents, bands * n, |r, c| if order.get(r) == Some(&c) { 1.0 } else { 0.0 });
    let mut net = site.net("g_a.latent");
    g_a.extend([net.mix(&chosen), net.residual(latents, hidden, 3)]);
    let mut net = site.net("g_s");
    let g_s = vec![
        net.residual(latents, hidden, 3),
        net.mix(&chosen.transposed()),
        net.conv_given(&shape, kernels(&square.transposed()), vec![0.0; bands * n], 1, bands),
        Op::Shuffle { factor: [1, side, side] },
        net.mix(&components.transposed()),
    ];
    Ok(Pair { g_a, g_s })
}
