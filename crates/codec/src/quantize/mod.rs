//! Quantization: numbers to integer symbols.

pub mod log;
pub mod residual;
