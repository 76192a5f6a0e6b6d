//! Mode products, Gram matrices and orthonormal bases of tensors in C order.
//!
//! # Maths      y[a, i, b] = sum_j m[i, j] x[a, j, b] for a mode with `a` before and `b` after it; unfoldings are never formed
//! # Shapes     `f64[before, n, after]`; matrices row-major
//! # Bound      [`expand`] and [`Reflectors`] run in decoders: IEEE `+ - * / sqrt`, each sum in rising order of its index from
//! 0.0, however the loops are tiled. [`project`], [`gram`] and [`eigen`] run in encoders only and use faer.
//! # Cost       `expand`: about 3 G multiply-adds a second and core

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::matmul::{matmul, triangular};
use faer::{Accum, Mat, MatMut, MatRef, Par};

/// Samples before, along and after a mode.
pub fn around(shape: &[usize], mode: usize) -> [usize; 3] {
    [shape[..mode].iter().product(), shape[mode], shape[mode + 1..].iter().product()]
}

/// Below this many samples after the mode, its fibres are gathered instead of worked on in place.
const GATHER: usize = 8;
/// Columns worked on together in registers.
const PANEL: usize = 8;
/// Numbers of the right-hand matrix that are packed at a time.
const PACKED: usize = 1 << 14;
/// Rows worked on together in registers.
const TILE: usize = 4;

/// A row-major matrix inside a slice.
#[derive(Clone, Copy)]
struct View<'a> {
    data: &'a [f64],
    stride: usize,
}

/// Terms of a sum that are not zero, where they are few: wavelets are short, and cores are sparse. Leaving out zeros changes
/// no bit of a sum of finite terms that starts from 0.0.
fn few(k: usize, is_zero: impl Fn(usize) -> bool) -> Option<Vec<usize>> {
    let terms: Vec<usize> = (0..k).filter(|&p| !is_zero(p)).collect();
    (terms.len() < k - k / 4).then_some(terms)
}

/// `c = a b` for `a` of `m` by `k`, `b` of `k` by `n`; every sum runs over `k` in rising order, starting from 0.0.
fn multiply(a: View<'_>, b: View<'_>, [m, k, n]: [usize; 3], c: &mut [f64], c_stride: usize) {
    let width = (PACKED / k.max(1)).max(1).next_multiple_of(PANEL);
    let mut packed = vec![0.0; k * width.min(n.next_multiple_of(PANEL))];
    for first in (0..n).step_by(width) {
        let columns = width.min(n - first);
        let n_panels = columns.div_ceil(PANEL);
        for (p, panel) in packed.chunks_exact_mut(k * PANEL).enumerate().take(n_panels) {
            let at = first + p * PANEL;
            let count = PANEL.min(n - at);
            for (row, to) in panel.chunks_exact_mut(PANEL).enumerate() {
                to[..count].copy_from_slice(&b.data[row * b.stride + at..][..count]);
                to[count..].fill(0.0);
            }
        }
        let panels: Vec<(&[f64], Option<Vec<usize>>)> = packed
            .chunks_exact(k * PANEL)
            .take(n_panels)
            .map(|panel| (panel, few(k, |p| panel[p * PANEL..][..PANEL].iter().all(|v| *v == 0.0))))
            .collect();
        let mut top = 0;
        while top < m {
            let rows = if top + TILE <= m { TILE } else { 1 };
            let left = View { data: &a.data[top * a.stride..], stride: a.stride };
            let own = few(k, |p| (0..rows).all(|r| left.data[r * left.stride + p] == 0.0));
            for (p, (panel, theirs)) in panels.iter().enumerate() {
                let at = first + p * PANEL;
                let count = PANEL.min(n - at);
                let out = &mut c[top * c_stride + at..];
                let terms = own.as_deref().or(theirs.as_deref());
                match rows {
                    TILE => tile::<TILE>(left, panel, k, terms, out, c_stride, count),
                    _ => tile::<1>(left, panel, k, terms, out, c_stride, count),
                }
            }
            top += rows;
        }
    }
}

/// `R` rows times one packed panel.
#[inline]
fn tile<const R: usize>(
    a: View<'_>,
    panel: &[f64],
    k: usize,
    terms: Option<&[usize]>,
    c: &mut [f64],
    c_stride: usize,
    count: usize,
) {
    let rows: [&[f64]; R] = std::array::from_fn(|r| &a.data[r * a.stride..][..k]);
    let mut sums = [[0.0; PANEL]; R];
    let mut add = |p: usize, b: &[f64]| {
        for r in 0..R {
            let s = rows[r][p];
            for j in 0..PANEL {
                sums[r][j] += s * b[j];
            }
        }
    };
    match terms {
        Some(terms) => terms.iter().for_each(|&p| add(p, &panel[p * PANEL..][..PANEL])),
        None => panel.chunks_exact(PANEL).enumerate().for_each(|(p, b)| add(p, b)),
    }
    for (r, sum) in sums.iter().enumerate() {
        c[r * c_stride..][..count].copy_from_slice(&sum[..count]);
    }
}

/// The mode product with a matrix of `rows` by `n`, in the decoder's arithmetic. `n`, `rows` and `x` must not be empty.
pub fn expand(x: &[f64], [before, n, after]: [usize; 3], matrix: &[f64], rows: usize) -> Vec<f64> {
    let mut y = vec![0.0; before * rows * after];
    if after >= GATHER {
        let left = View { data: matrix, stride: n };
        for (x, y) in x.chunks_exact(n * after).zip(y.chunks_exact_mut(rows * after)) {
            multiply(left, View { data: x, stride: after }, [rows, n, after], y, after);
        }
        return y;
    }
    let turned = transpose(matrix, rows, n);
    let right = View { data: &turned, stride: rows };
    if after == 1 {
        multiply(View { data: x, stride: n }, right, [before, n, rows], &mut y, rows);
        return y;
    }
    let mut out = vec![0.0; before * rows];
    for b in 0..after {
        let fibres = gather(x, after, b);
        multiply(View { data: &fibres, stride: n }, right, [before, n, rows], &mut out, rows);
        scatter(&out, &mut y, after, b);
    }
    y
}

fn gather(x: &[f64], after: usize, b: usize) -> Vec<f64> {
    x[b..].iter().step_by(after).copied().collect()
}

fn scatter(from: &[f64], to: &mut [f64], after: usize, b: usize) {
    for (to, from) in to[b..].iter_mut().step_by(after).zip(from) {
        *to = *from;
    }
}

/// Rows become columns.
pub fn transpose(m: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    let mut t = vec![0.0; m.len()];
    for i in 0..rows {
        for j in 0..columns {
            t[j * rows + i] = m[i * columns + j];
        }
    }
    t
}

/// The mode product with the transpose of `matrix` (`n` by `columns`): coefficients of each fibre. Encoders only.
pub fn project(x: &[f64], [before, n, after]: [usize; 3], matrix: &[f64], columns: usize) -> Vec<f64> {
    let mut y = vec![0.0; before * columns * after];
    let m = MatRef::from_row_major_slice(matrix, n, columns);
    if after >= GATHER {
        for (x, y) in x.chunks_exact(n * after).zip(y.chunks_exact_mut(columns * after)) {
            let (x, y) =
                (MatRef::from_row_major_slice(x, n, after), MatMut::from_row_major_slice_mut(y, columns, after));
            matmul(y, Accum::Replace, m.transpose(), x, 1.0, Par::Seq);
        }
        return y;
    }
    let fibres = |x: &[f64], y: &mut [f64]| {
        let (x, y) = (MatRef::from_row_major_slice(x, before, n), MatMut::from_row_major_slice_mut(y, before, columns));
        matmul(y, Accum::Replace, x, m, 1.0, Par::Seq);
    };
    if after == 1 {
        fibres(x, &mut y);
        return y;
    }
    let mut out = vec![0.0; before * columns];
    for b in 0..after {
        fibres(&gather(x, after, b), &mut out);
        scatter(&out, &mut y, after, b);
    }
    y
}

/// The Gram matrix of a mode's unfolding; its lower half is filled. Encoders only.
pub fn gram(x: &[f64], [before, n, after]: [usize; 3]) -> Mat<f64> {
    let mut g = Mat::zeros(n, n);
    let mut add = |left: MatRef<'_, f64>| {
        use triangular::BlockStructure::{Rectangular, TriangularLower};
        let right = left.transpose();
        triangular::matmul(
            g.as_mut(),
            TriangularLower,
            Accum::Add,
            left,
            Rectangular,
            right,
            Rectangular,
            1.0,
            Par::Seq,
        );
    };
    match after {
        1 => add(MatRef::from_row_major_slice(x, before, n).transpose()),
        2..GATHER => {
            for b in 0..after {
                add(MatRef::from_row_major_slice(&gather(x, after, b), before, n).transpose());
            }
        }
        _ => x.chunks_exact(n * after).for_each(|x| add(MatRef::from_row_major_slice(x, n, after))),
    }
    g
}

/// Eigenvectors as columns of a row-major matrix, and eigenvalues, largest first. `None` if they do not converge.
/// Encoders only.
pub fn eigen(g: &Mat<f64>) -> Option<(Vec<f64>, Vec<f64>)> {
    let n = g.nrows();
    let (mut values, mut vectors) = (faer::diag::Diag::zeros(n), Mat::zeros(n, n));
    let need = self_adjoint_evd_scratch::<f64>(n, ComputeEigenvectors::Yes, Par::Seq, Default::default());
    let mut memory = MemBuffer::try_new(need).ok()?;
    let (s, u) = (values.as_mut(), Some(vectors.as_mut()));
    self_adjoint_evd(g.as_ref(), s, u, Par::Seq, MemStack::new(&mut memory), Default::default()).ok()?;
    let order = (0..n).rev();
    let u = (0..n).flat_map(|i| order.clone().map(move |j| (i, j))).map(|(i, j)| vectors[(i, j)]).collect();
    let s: Vec<f64> = order.map(|j| values[j]).collect();
    s.iter().all(|v| v.is_finite()).then_some((u, s))
}

/// The exponent that brings the largest size into [0.5, 1), clamped so that the factor and its inverse are normal numbers.
pub fn exponent(x: &[f64]) -> i32 {
    let largest = x.iter().fold(0f64, |m, v| m.max(v.abs()));
    let biased = (largest.to_bits() >> 52) as i32;
    if largest == 0.0 { 0 } else { (biased - 1022).clamp(-1000, 1020) }
}

/// `2^e` for `-1022 <= e <= 1023`.
pub fn pow2(e: i32) -> f64 {
    f64::from_bits(((e + 1023) as u64) << 52)
}
