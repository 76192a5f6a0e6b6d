//! Strided convolutions, each normalised by its neighbours in space and channel.
//!
//! # When      many samples of one kind and a GPU: it starts from nothing
//! # Reference J. Balle, V. Laparra, E. Simoncelli, End-to-end optimized image compression, 2017, doi:10.48550/arXiv.1611.01704

use super::{Pair, Site};

pub(super) fn build(site: &mut Site<'_>) -> Pair {
    let (bands, latents, hidden, levels) = (site.bands(), site.config.latents, site.config.hidden, site.config.levels);
    let mut net = site.net("g_a");
    let mut g_a = Vec::new();
    for level in 0..levels {
        let from = if level == 0 { bands } else { hidden };
        let last = level + 1 == levels;
        g_a.push(net.conv(from, if last { latents } else { hidden }, 5, 2));
        if !last {
            g_a.push(net.gdn(hidden, false));
        }
    }
    let mut net = site.net("g_s");
    let mut g_s = Vec::new();
    for level in (0..levels).rev() {
        let from = if level + 1 == levels { latents } else { hidden };
        g_s.extend(net.up(from, if level == 0 { bands } else { hidden }, 3));
        if level > 0 {
            g_s.push(net.gdn(hidden, true));
        }
    }
    Pair { g_a, g_s }
}
