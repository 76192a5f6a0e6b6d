//! SZ3 under an absolute bound: interpolation, Lorenzo with regression, or its own choice with tuned parameters.

use anyhow::Result;
use sz3::{CompressionAlgorithm, Config, DimensionedData, ErrorBound};

use super::Peer;
use crate::field::Field;
use crate::measure::Target;

/// SZ3 with one algorithm; knob = absolute bound.
#[derive(Debug)]
pub struct Sz3 {
    /// Which.
    pub mode: Mode,
}

/// Algorithms of SZ3.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// Its default: interpolation with parameters from trials, or Lorenzo where that does better there.
    Tuned,
    /// Interpolation.
    Interpolation,
    /// Lorenzo of first and second order, and regression.
    Lorenzo,
}

/// All that are compared.
pub const MODES: [Mode; 3] = [Mode::Tuned, Mode::Interpolation, Mode::Lorenzo];

impl Peer for Sz3 {
    fn coder(&self) -> &'static str {
        "SZ3"
    }

    fn mode(&self) -> &'static str {
        match self.mode {
            Mode::Tuned => "tuned",
            Mode::Interpolation => "interpolation",
            Mode::Lorenzo => "lorenzo",
        }
    }

    fn encode(&self, x: &[f32], shape: &[usize], knob: f64) -> Result<Vec<u8>> {
        let mut data = DimensionedData::<f32, _>::build(&x);
        for &n in shape {
            data = data.dim(n)?;
        }
        let algorithm = match self.mode {
            Mode::Tuned => CompressionAlgorithm::interpolation_lorenzo(),
            Mode::Interpolation => CompressionAlgorithm::interpolation(),
            Mode::Lorenzo => CompressionAlgorithm::lorenzo_regression_custom(Some(true), Some(true), Some(true)),
        };
        let config = Config::new(ErrorBound::Absolute(knob)).compression_algorithm(algorithm);
        Ok(sz3::compress_with_config(&data.finish()?, &config)?)
    }

    fn decode(&self, bytes: &[u8], _shape: &[usize]) -> Result<Vec<f32>> {
        Ok(sz3::decompress::<f32, _>(bytes)?.1.into_data())
    }

    fn first_knob(&self, field: &Field, target: Target) -> f64 {
        target.rmse(field) * 3f64.sqrt()
    }
}
