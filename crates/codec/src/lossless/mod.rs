//! Every bit: samples become order-preserving integers, are predicted from their neighbours, and what is left is coded.
//!
//! # Maths      u(x) = order-preserving unsigned integer of x's bits; r = u(x) - u(prediction), wrapping
//! # Shapes     T[shape], C order; invalid samples are skipped
//! # On the wire one byte of predictor, then range-coded residuals

use crate::bits::Reader;
use crate::dtype::Sample;
use crate::error::Result;
use crate::quantize::residual;

/// Coded bytes of the valid samples.
pub fn encode<T: Sample>(x: &[T], shape: &[usize], valid: Option<&[bool]>) -> Vec<u8> {
    let mut last = 0u64;
    let q: Vec<i64> = x
        .iter()
        .enumerate()
        .map(|(i, v)| {
            if valid.is_some_and(|m| !m[i]) {
                return 0;
            }
            let d = v.to_bits().wrapping_sub(last) as i64;
            last = v.to_bits();
            d
        })
        .collect();
    residual::encode(&q, shape, valid)
}

/// The inverse of [`encode`] for `n` samples; invalid ones come back as zeros.
pub fn decode<T: Sample>(src: Reader<'_>, n: usize, shape: &[usize], valid: Option<&[bool]>) -> Result<Vec<T>> {
    let q = residual::decode(src, n, shape, valid)?;
    let mut last = 0u64;
    Ok(q.into_iter()
        .enumerate()
        .map(|(i, d)| {
            if valid.is_some_and(|m| !m[i]) {
                return T::default();
            }
            last = last.wrapping_add(d as u64);
            T::from_bits(last)
        })
        .collect())
}
