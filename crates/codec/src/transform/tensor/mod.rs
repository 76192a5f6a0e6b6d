//! Tensor codecs: Adaptive-HGFDR and Blocked-HGFDR as published ([`hgfdr`]), and their coded successor ([`coded`]).

mod basis;
pub mod coded;
mod coefficients;
mod fold;
pub mod hgfdr;
mod ht;
mod linalg;
