//! Tensor codecs: Adaptive-HGFDR and Blocked-HGFDR as published ([`hgfdr`]), and their coded successor.

pub mod hgfdr;
mod ht;
mod linalg;
