//! TTHRESH: Tucker decomposition with bit planes of the core, under a norm.

use anyhow::{Result, bail};
use tthresh::{Buffer, ErrorBound};

use super::Peer;
use crate::field::Field;
use crate::measure::Target;

/// TTHRESH; knob = root mean square error.
#[derive(Debug)]
pub struct Tthresh;

impl Peer for Tthresh {
    fn coder(&self) -> &'static str {
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

    fn first_knob(&self, field: &Field, target: Target) -> f64 {
        target.rmse(field)
    }

    fn takes(&self, field: &Field, _target: Target) -> bool {
        (3..=4).contains(&field.shape.len())
    }
}
