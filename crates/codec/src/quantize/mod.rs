//! Quantization: numbers to integer symbols.

pub mod centroid;
pub mod log;
pub mod residual;
pub mod round;
