//! JPEG-LS by CharLS: all planes one below the other, so that its contexts keep what they learned.

use anyhow::Result;
use charls::{CharLS, FrameInfo};

use super::planes::{Layout, PlaneCoder};

/// Lossless JPEG-LS.
#[derive(Debug)]
pub struct JpegLs;

/// Longest side of an image.
const SIDE: usize = 65535;

impl PlaneCoder for JpegLs {
    fn coder(&self) -> &'static str {
        "JPEG-LS"
    }

    fn takes(&self, layout: Layout) -> bool {
        layout.width <= SIDE && layout.count * layout.height <= SIDE
    }

    fn encode(&self, samples: &[u16], layout: Layout, bits: u32) -> Result<Vec<u8>> {
        let frame = FrameInfo {
            width: layout.width as u32,
            height: (layout.count * layout.height) as u32,
            bits_per_sample: bits as i32,
            component_count: 1,
        };
        // One byte a sample up to 8 bits, two in native order beyond.
        let bytes: Vec<u8> = match bits {
            0..=8 => samples.iter().map(|v| *v as u8).collect(),
            _ => samples.iter().flat_map(|v| v.to_ne_bytes()).collect(),
        };
        Ok(CharLS::default().encode(frame, 0, &bytes)?)
    }

    fn decode(&self, bytes: &[u8], _layout: Layout, bits: u32) -> Result<Vec<u16>> {
        let bytes = CharLS::default().decode(bytes)?;
        Ok(match bits {
            0..=8 => bytes.into_iter().map(u16::from).collect(),
            _ => bytes.as_chunks::<2>().0.iter().map(|c| u16::from_ne_bytes(*c)).collect(),
        })
    }
}
