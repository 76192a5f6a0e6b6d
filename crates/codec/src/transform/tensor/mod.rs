//! Tensor codecs: Adaptive-HGFDR and Blocked-HGFDR as published ([`hgfdr`]), and their coded successor ([`coded`]).

pub(crate) mod basis;
pub mod coded;
pub(crate) mod coefficients;
mod fold;
pub mod hgfdr;
mod ht;
pub(crate) mod linalg;
