//! SPERR: CDF 9/7 wavelets with set-partitioned bit planes; outliers corrected only where single values are bounded.
//!
//! # Shapes     two or three dimensions; of more, all but the last two are folded into one

use anyhow::{Result, bail, ensure};
use ndarray::{ArrayView2, ArrayView3, ArrayViewMut2, ArrayViewMut3};
use sperr::CompressionMode;

use super::Peer;
use crate::field::Field;
use crate::measure::Target;

/// SPERR; knob = quantization step for a norm, else the absolute bound.
#[derive(Debug)]
pub struct Sperr {
    /// A norm is bounded, not single values.
    pub norm: bool,
}

/// Longest side of the blocks that SPERR codes by themselves; its own default.
const BLOCK: usize = 256;

impl Peer for Sperr {
    fn coder(&self) -> &'static str {
        "SPERR"
    }

    fn encode(&self, x: &[f32], shape: &[usize], knob: f64) -> Result<Vec<u8>> {
        let mode = match self.norm {
            true => CompressionMode::QuantisationStep { q: knob },
            false => CompressionMode::PointwiseError { pwe: knob },
        };
        Ok(match *shape {
            [ny, nx] => sperr::compress_2d(ArrayView2::from_shape((ny, nx), x)?, mode)?,
            [.., ny, nx] => {
                let x = ArrayView3::from_shape((x.len() / (ny * nx), ny, nx), x)?;
                sperr::compress_3d(x, mode, (BLOCK, BLOCK, BLOCK))?
            }
            _ => bail!("SPERR takes 2 dimensions or more, not {}", shape.len()),
        })
    }

    fn decode(&self, bytes: &[u8], shape: &[usize]) -> Result<Vec<f32>> {
        let mut x = vec![0f32; shape.iter().product()];
        match *shape {
            [ny, nx] => sperr::decompress_into_2d(bytes, ArrayViewMut2::from_shape((ny, nx), &mut x)?)?,
            [.., ny, nx] => {
                let nz = x.len() / (ny * nx);
                sperr::decompress_into_3d(bytes, ArrayViewMut3::from_shape((nz, ny, nx), &mut x)?)?
            }
            _ => bail!("SPERR takes 2 dimensions or more, not {}", shape.len()),
        }
        ensure!(x.iter().all(|v| v.is_finite()), "SPERR returned values that are not finite");
        Ok(x)
    }

    fn first_knob(&self, field: &Field, target: Target) -> f64 {
        target.rmse(field) * 3f64.sqrt()
    }

    fn takes(&self, field: &Field, _target: Target) -> bool {
        field.shape.len() >= 2
    }
}
