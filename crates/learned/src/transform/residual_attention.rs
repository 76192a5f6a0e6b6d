//! Residual blocks at each resolution, attention gates at the coarsest.
//!
//! # When      as `conv-gdn`, with more depth for the same cost
//! # Reference Z. Cheng et al., Learned image compression with discretized Gaussian mixture likelihoods and attention modules, 2020,
//! doi:10.48550/arXiv.2001.01568

use super::{Pair, Site};
use crate::build::leaky;

pub(super) fn build(site: &mut Site<'_>) -> Pair {
    let (bands, latents, hidden, levels) = (site.bands(), site.config.latents, site.config.hidden, site.config.levels);
    let mut net = site.net("g_a");
    let mut g_a = Vec::new();
    for level in 0..levels {
        let from = if level == 0 { bands } else { hidden };
        g_a.extend([net.conv(from, hidden, 3, 2), leaky(), net.residual(hidden, hidden, 3)]);
    }
    g_a.extend([net.gate(hidden, hidden), net.conv(hidden, latents, 1, 1)]);
    let mut net = site.net("g_s");
    let mut g_s = vec![net.conv(latents, hidden, 1, 1), net.gate(hidden, hidden)];
    for level in (0..levels).rev() {
        g_s.push(net.residual(hidden, hidden, 3));
        g_s.extend(net.up(hidden, if level == 0 { bands } else { hidden }, 3));
        if level > 0 {
            g_s.push(leaky());
        }
    }
    Pair { g_a, g_s }
}
