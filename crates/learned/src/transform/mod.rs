//! The first axis: rows that write g_a and g_s.
//!
//! # Shapes    g_a: `[bands, d, h, w]` to `[latents, d, h / stride, w / stride]`; g_s back

mod conv_gdn;
mod residual_attention;
mod spectral_mlp;
mod spectral_spatial;
mod wavelet_hybrid;

use lithify_codec::learned::graph::Graph;

use crate::build::Builder;
use crate::config::{Transform, TransformKind};
use crate::error::Result;
use crate::linear::Sample;
use crate::params::Params;

/// Analysis and synthesis.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// Samples to latents.
    pub g_a: Graph,
    /// Latents to samples.
    pub g_s: Graph,
}

/// What a row needs to write its networks.
#[derive(Debug)]
pub struct Site<'a> {
    /// `[transform]`
    pub config: &'a Transform,
    /// Data that first weights are taken from.
    pub sample: &'a Sample<'a>,
    /// Where weights go.
    pub params: &'a mut Params,
    /// Where drawn weights come from.
    pub rng: &'a mut fastrand::Rng,
}

impl Site<'_> {
    /// Channels of the samples.
    pub fn bands(&self) -> usize {
        if self.config.volume { 1 } else { self.sample.bands() }
    }

    /// A network's builder.
    pub fn net(&mut self, net: &'static str) -> Builder<'_> {
        Builder::new(net, self.params, self.rng, self.config.volume)
    }
}

/// Writes the row's networks.
///
/// # Errors
/// Those of the data's statistics.
pub fn build(mut site: Site<'_>) -> Result<Pair> {
    match site.config.kind {
        TransformKind::ConvGdn => Ok(conv_gdn::build(&mut site)),
        TransformKind::ResidualAttention => Ok(residual_attention::build(&mut site)),
        TransformKind::SpectralSpatial => spectral_spatial::build(&mut site),
        TransformKind::WaveletHybrid => wavelet_hybrid::build(&mut site),
        TransformKind::SpectralMlp => spectral_mlp::build(&mut site),
    }
}
