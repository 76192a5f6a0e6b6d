//! Learned codecs: what a decoder needs, and an encoder that needs no deep-learning library.
//!
//! # Maths      y = g_a(x), z = h_a(y), probabilities of y from h_s(z_hat) and context, x' = g_s(y_hat)
//! # Reference  J. Balle et al., Variational image compression with a scale hyperprior, 2018
//!
//! A [`model::Model`] is one file: networks as [`graph`]s, their tensors, and a card. What decides a probability at decode time is
//! integer arithmetic; g_s is `f32` in one written order. So a stream decodes to the same bits on every machine.

pub mod activation;
mod conv;
pub mod graph;
pub mod latents;
pub mod model;
pub mod quantise;
pub mod real;
mod registry;
pub mod stage;
pub mod tables;
pub mod tensor;
pub mod whole;

pub use model::{Card, Hash, Model};
pub use registry::{find, register};
