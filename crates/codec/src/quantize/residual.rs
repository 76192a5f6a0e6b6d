//! Integers in an array's order, coded under the sizes of their causal neighbours: residuals of a transform under a pointwise
//! bound, and symbols of transforms that keep the array's shape.
//!
//! # Shapes     `i64[shape]`, C order; invalid samples are skipped and count as 0
//! # On the wire range-coded decisions
//! # Cost       6 contexts a decision, about 2 decisions a symbol at 1 bit a symbol

use crate::bits::Reader;
use crate::entropy::{BinaryCoder, Decoder, Encoder, IntModel};
use crate::error::Result;

/// Coded bytes of `q`; those of invalid samples become 0.
pub fn encode(q: &mut [i64], shape: &[usize], valid: Option<&[bool]>) -> Vec<u8> {
    let mut coder = Encoder::new();
    code(&mut coder, q, shape, valid);
    coder.finish()
}

/// The inverse of [`encode`] for `n` symbols.
pub fn decode(mut src: Reader<'_>, n: usize, shape: &[usize], valid: Option<&[bool]>) -> Result<Vec<i64>> {
    let mut q = crate::try_vec(n, 0)?;
    let mut coder = Decoder::new(src.rest());
    code(&mut coder, &mut q, shape, valid);
    coder.finish("residual")?;
    Ok(q)
}

/// Coarse logarithm of twice a size: 0 to 15.
fn level(v: u64) -> usize {
    (64 - v.leading_zeros()).min(15) as usize
}

/// Codes in place; a decoder overwrites the symbols as it goes.
fn code<C: BinaryCoder>(coder: &mut C, q: &mut [i64], shape: &[usize], valid: Option<&[bool]>) {
    let row = shape.last().copied().unwrap_or(1).max(1);
    let slice = row * shape.len().checked_sub(2).map_or(1, |i| shape[i]).max(1);
    let mut model = IntModel::new(&[16 * 16, 7 * 7 * 7, 16 * 16, 16 * 16, 16, 3 * 3 * 3 * 3], 4, 40);
    // Running mean size, in 1/16, for fields whose texture changes slowly.
    let mut local = 0u64;
    for i in 0..q.len() {
        if valid.is_some_and(|m| !m[i]) {
            q[i] = 0;
            continue;
        }
        let (x, y) = (i % row, i % slice / row);
        let get = |ok: bool, back: usize| if ok && i >= back { q[i - back] } else { 0 };
        let w = get(x > 0, 1);
        let ww = get(x > 1, 2);
        let n = get(y > 0, row);
        let nw = get(y > 0 && x > 0, row + 1);
        let ne = get(y > 0 && x + 1 < row, row.wrapping_sub(1));
        let up = get(true, slice);
        let up_e = get(x + 1 < row, slice.wrapping_sub(1));
        let up_s = get(y + 1 < slice / row, slice - row);
        let a = |v: i64| v.unsigned_abs().min(1 << 40);
        let plane = 2 * (a(w) + a(n)) + a(nw) + a(ne) + a(ww);
        let above = 2 * a(up) + a(up_e) + a(up_s);
        let clip = |v: i64| (v.clamp(-3, 3) + 3) as usize;
        let sign = |v: i64| (v.signum() + 1) as usize;
        let contexts = [
            level(plane) * 16 + level(above),
            (clip(w) * 7 + clip(n)) * 7 + clip(up),
            level(2 * a(w) + a(ww)) * 16 + level(2 * a(n) + a(ne)),
            level(local) * 16 + level(plane + above),
            level(local / 4),
            ((sign(w) * 3 + sign(n)) * 3 + sign(up)) * 3 + sign(nw),
        ];
        let set = match plane + above {
            0 => 0,
            1..=7 => 1,
            8..=40 => 2,
            _ => 3,
        };
        q[i] = model.code(coder, q[i], &contexts, set);
        local = local - local / 16 + a(q[i]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_come_back() {
        for shape in [&[1000][..], &[10, 100], &[5, 10, 20], &[1, 1000, 1], &[2, 2, 5, 50], &[]] {
            let n: usize = shape.iter().product();
            let q: Vec<i64> = (0..n as i64).map(|i| if i % 97 == 0 { i << 40 } else { i * i % 7 - 3 }).collect();
            let valid: Vec<bool> = (0..n).map(|i| i % 5 > 0).collect();
            for m in [None, Some(&valid[..])] {
                let bytes = encode(&mut q.clone(), shape, m);
                let back = decode(Reader::new(&bytes, "test"), n, shape, m).unwrap();
                assert!((0..n).all(|i| back[i] == if m.is_some_and(|m| !m[i]) { 0 } else { q[i] }));
            }
        }
    }
}
