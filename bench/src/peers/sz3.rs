//! SZ3 with its default algorithm (interpolation or Lorenzo by trial) under an absolute bound.

use anyhow::Result;
use sz3::{DimensionedData, ErrorBound};

use super::Peer;

/// SZ3; knob = absolute bound.
#[derive(Debug)]
pub struct Sz3;

impl Peer for Sz3 {
    fn name(&self) -> &str {
        "SZ3"
    }

    fn encode(&self, x: &[f32], shape: &[usize], knob: f64) -> Result<Vec<u8>> {
        let mut data = DimensionedData::<f32, _>::build(&x);
        for &n in shape {
            data = data.dim(n)?;
        }
        Ok(sz3::compress(&data.finish()?, ErrorBound::Absolute(knob))?)
    }

    fn decode(&self, bytes: &[u8], _shape: &[usize]) -> Result<Vec<f32>> {
        Ok(sz3::decompress::<f32, _>(bytes)?.1.into_data())
    }

    fn knob_for(&self, rmse: f64) -> f64 {
        rmse * 3f64.sqrt()
    }
}
