//! An autoencoder of each pixel's spectrum: principal components and what a small network adds to them.
//!
//! # When      hundreds of bands; space is left to the entropy model

use super::{Pair, Site};
use crate::build::Matrix;
use crate::error::Result;

pub(super) fn build(site: &mut Site<'_>) -> Result<Pair> {
    let (latents, hidden) = (site.config.latents, site.config.hidden);
    let components = match site.bands() {
        1 => Matrix::of(1, 1, |_, _| 1.0),
        _ => site.sample.principal()?,
    };
    // More latents than bands begin as nothing.
    let bands = components.columns;
    let first = Matrix::of(latents, bands, |r, c| if r < bands { components.values[r * bands + c] } else { 0.0 });
    let mut net = site.net("g_a");
    let g_a = vec![net.mix(&first), net.residual(latents, hidden, 1)];
    let mut net = site.net("g_s");
    let g_s = vec![net.residual(latents, hidden, 1), net.mix(&first.transposed())];
    Ok(Pair { g_a, g_s })
}
