//! Training of learned codecs: four axes, one row from each, on burn.
//!
//! # Maths     y = g_a(x), z = h_a(y), bits of y from h_s(z_hat) and context, x' = g_s(y_hat); bits per sample + lambda distortion falls
//! # Reference J. Balle et al., Variational image compression with a scale hyperprior, 2018, doi:10.48550/arXiv.1802.01436
//!
//! Networks are written as graphs of `lithify_codec::learned`; this crate runs them with gradients, that one without burn.

pub mod adam;
pub mod build;
pub mod checkpoint;
pub mod codec;
pub mod coded;
pub mod config;
pub mod data;
pub mod entropy;
pub mod error;
pub mod evaluate;
pub mod export;
pub mod forward;
pub mod likelihood;
pub mod linear;
pub mod objective;
pub mod params;
pub mod plot;
pub mod quantize;
pub mod train;
pub mod transform;
pub mod whole;

pub use error::{Error, Result};
