//! TTHRESH: Tucker decomposition with bit planes of the core, under a norm.

use anyhow::{Result, bail};
use tthresh::{Buffer, ErrorBound};

use super::Peer;

/// TTHRESH; knob = root mean square error.
#[derive(Debug)]
pub struct Tthresh;

impl Peer for Tthresh {
    fn name(&self) -> &str {
        "TTHRESH"
    }

    fn encode(&self, x: &[f32], shape: &[usize], knob: f64) -> Result<Vec<u8>> {
        Ok(tthresh::compress(x, shape, ErrorBound::RMSE(knob), false, false)?)
    }

    fn decode(&self, bytes: &[u8], _shape: &[usize]) -> Result<Vec<f32>> {
        match tthresh::decompress(bytes, false, false)?.0 {
            Buffer::F32(x) => Ok(x),
            _ => bail!("TTHRESH returned another type"),
        }
    }

    fn knob_for(&self, rmse: f64) -> f64 {
        rmse
    }

    fn takes(&self, shape: &[usize]) -> bool {
        (3..=4).contains(&shape.len())
    }
}
