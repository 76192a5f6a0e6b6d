//! Hierarchical Tucker decomposition on a balanced dimension tree, computed once and truncated to any rank.
//!
//! # Maths
//! Leaves U_k [n_k, r_k] hold the leading eigenvectors of the modes' Gram matrices; an inner node holds the leading left
//! singular vectors B_t [r_l r_r, r_t] of the core, its children's modes taken together; the root is what is left, [r_l, r_r].
//! For [I, J, K]: U1 [I, r], U2 [J, r], U3 [K, r], B12 [r, r, r], B123 [r, r].
//! # Shapes     `f64[n_1, .., n_d]`, d >= 2
//! # On the wire r alone: each rank is r or less where the mode, or what the tree leaves to the node, is smaller
//! # Cost       one Gram matrix and one product a mode; a rank costs one product a mode of the truncated core
//! # Reference  L. Grasedyck, Hierarchical singular value decomposition of tensors, 2010, doi:10.1137/090764189

use super::linalg::{around, eigen, expand, exponent, gram, pow2, project, transpose};
use crate::block::crop;

/// Gram matrices are not made larger than this.
const MAX_SIDE: usize = 1500;

/// Lengths above 1, and ones until there are two: what a decomposition works on.
pub fn squeeze(shape: &[usize]) -> Vec<usize> {
    let mut s: Vec<usize> = shape.iter().copied().filter(|&n| n > 1).collect();
    s.resize(s.len().max(2), 1);
    s
}

/// The sizes of a truncation to rank `r`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranks {
    /// Columns of each leaf.
    pub leaves: Vec<usize>,
    /// `[r_l, r_r, r_t]` of the inner nodes below the root, children before parents, left before right.
    pub nodes: Vec<[usize; 3]>,
    /// `[r_l, r_r]`.
    pub root: [usize; 2],
}

impl Ranks {
    /// The ranks that `r` allows for a tensor of a squeezed shape.
    pub fn new(shape: &[usize], r: usize) -> Self {
        let n: usize = shape.iter().product();
        let leaves: Vec<usize> = shape.iter().map(|&k| r.min(k).min(n / k)).collect();
        let mut frontier = leaves.clone();
        let mut nodes = Vec::new();
        merge(&mut frontier, 0, leaves.len(), r, &mut nodes);
        Self { leaves, nodes, root: [frontier[0], frontier[1]] }
    }

    /// Numbers stored.
    pub fn n_numbers(&self, shape: &[usize]) -> usize {
        let leaves: usize = shape.iter().zip(&self.leaves).map(|(n, r)| n * r).sum();
        let nodes: usize = self.nodes.iter().map(|[l, r, t]| l * r * t).sum();
        leaves + nodes + self.root[0] * self.root[1]
    }
}

/// Joins `len` entries of the frontier from `at` on into one, pairwise by halves; the root's two children stay apart.
fn merge(frontier: &mut Vec<usize>, at: usize, len: usize, r: usize, nodes: &mut Vec<[usize; 3]>) {
    if len == 1 {
        return;
    }
    let left = len.div_ceil(2);
    merge(frontier, at, left, r, nodes);
    merge(frontier, at + 1, len - left, r, nodes);
    if frontier.len() > 2 {
        let [before, a, after] = around(frontier, at);
        let (b, after) = (frontier[at + 1], after / frontier[at + 1]);
        let t = r.min(a * b).min(before * after);
        nodes.push([a, b, t]);
        frontier.remove(at);
        frontier[at] = t;
    }
}

/// A block in its own bases, ready to be truncated.
#[derive(Debug)]
pub struct Decomposed {
    shape: Vec<usize>,
    bases: Vec<Vec<f64>>,
    columns: Vec<usize>,
    core: Vec<f64>,
    exponent: i32,
}

impl Decomposed {
    /// `None` where two sides of an unfolding are too long, or the numbers defeat the eigenvalue iteration.
    pub fn new(x: &[f64], shape: &[usize]) -> Option<Self> {
        let shape = squeeze(shape);
        let exponent = exponent(x);
        let factor = pow2(-exponent);
        let mut core: Vec<f64> = x.iter().map(|v| v * factor).collect();
        let mut columns = shape.clone();
        let mut bases = Vec::new();
        for k in 0..shape.len() {
            let n: usize = shape.iter().product();
            let c = shape[k].min(n / shape[k]);
            let mode = around(&columns, k);
            let u = leading(&core, mode, c)?;
            core = project(&core, mode, &u, c);
            columns[k] = c;
            bases.push(u);
        }
        Some(Self { shape, bases, columns, core, exponent })
    }

    /// The largest rank that changes anything.
    pub fn max_rank(&self) -> usize {
        self.columns.iter().copied().max().unwrap_or(1)
    }

    /// The factors of rank `r`: leaves, inner nodes, root. `None` where an inner node is too large.
    pub fn truncate(&self, r: usize) -> Option<Vec<f64>> {
        let ranks = Ranks::new(&self.shape, r);
        let mut out = Vec::with_capacity(ranks.n_numbers(&self.shape));
        for ((u, &c), &r) in self.bases.iter().zip(&self.columns).zip(&ranks.leaves) {
            u.chunks_exact(c).for_each(|row| out.extend_from_slice(&row[..r]));
        }
        let mut t = crop(&self.core, &self.columns, &vec![0; self.columns.len()], &ranks.leaves);
        let mut frontier = ranks.leaves.clone();
        let mut sizes = ranks.nodes.iter();
        let count = frontier.len();
        reduce(&mut t, &mut frontier, [0, count], &mut sizes, &mut out)?;
        let factor = pow2(self.exponent);
        out.extend(t.iter().map(|v| v * factor));
        Some(out)
    }
}

/// The encoder's way up the tree: [`merge`] with numbers.
fn reduce<'a>(
    t: &mut Vec<f64>,
    frontier: &mut Vec<usize>,
    [at, len]: [usize; 2],
    sizes: &mut impl Iterator<Item = &'a [usize; 3]>,
    out: &mut Vec<f64>,
) -> Option<()> {
    if len == 1 {
        return Some(());
    }
    let left = len.div_ceil(2);
    reduce(t, frontier, [at, left], sizes, out)?;
    reduce(t, frontier, [at + 1, len - left], sizes, out)?;
    if frontier.len() > 2 {
        let &[a, b, r] = sizes.next()?;
        frontier.remove(at);
        frontier[at] = a * b;
        let mode = around(frontier, at);
        let basis = leading(t, mode, r)?;
        *t = project(t, mode, &basis, r);
        frontier[at] = r;
        out.extend_from_slice(&basis);
    }
    Some(())
}

/// The leading `columns` left singular vectors of a mode's unfolding, from the Gram matrix of its shorter side.
fn leading(x: &[f64], mode: [usize; 3], columns: usize) -> Option<Vec<f64>> {
    let [before, n, after] = mode;
    let others = before * after;
    if n <= others {
        let (u, _) = (n <= MAX_SIDE).then(|| eigen(&gram(x, mode)))??;
        return Some(u.chunks_exact(n).flat_map(|row| row[..columns].iter().copied()).collect());
    }
    if others > MAX_SIDE {
        return None;
    }
    let mut a = vec![0.0; x.len()];
    for (i, v) in x.iter().enumerate() {
        let (b, k, c) = (i / (n * after), i / after % n, i % after);
        a[k * others + b * after + c] = *v;
    }
    let (v, _) = eigen(&gram(&a, [n, others, 1]))?;
    let v: Vec<f64> = v.chunks_exact(others).flat_map(|row| row[..columns].iter().copied()).collect();
    let mut rows = transpose(&project(&a, [n, others, 1], &v, columns), n, columns);
    orthonormalize(&mut rows, n);
    Some(transpose(&rows, columns, n))
}

/// Modified Gram-Schmidt, twice; rows that depend on earlier ones become zero.
fn orthonormalize(rows: &mut [f64], n: usize) {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for j in 0..rows.len() / n {
        let (done, rest) = rows.split_at_mut(j * n);
        let row = &mut rest[..n];
        let before = dot(row, row);
        for u in done.chunks_exact(n).chain(done.chunks_exact(n)) {
            let s = dot(u, row);
            row.iter_mut().zip(u).for_each(|(v, u)| *v -= s * u);
        }
        let after = dot(row, row);
        let scale = if after > before * 1e-20 { 1.0 / after.sqrt() } else { 0.0 };
        row.iter_mut().for_each(|v| *v *= scale);
    }
}

/// The samples `[start, start + count)` (squeezed dimensions) from the factors of rank `r`, in the decoder's arithmetic.
/// `factors` has [`Ranks::n_numbers`] numbers.
pub fn reconstruct(factors: &[f64], shape: &[usize], r: usize, start: &[usize], count: &[usize]) -> Vec<f64> {
    let ranks = Ranks::new(shape, r);
    let mut at = 0;
    let leaves: Vec<&[f64]> = (0..shape.len())
        .map(|k| {
            let u = &factors[at + start[k] * ranks.leaves[k]..][..count[k] * ranks.leaves[k]];
            at += shape[k] * ranks.leaves[k];
            u
        })
        .collect();
    let root = ranks.root[0] * ranks.root[1];
    let (inner, root) = factors[at..].split_at(factors.len() - at - root);
    let mut growing = Growing { t: root.to_vec(), frontier: ranks.root.to_vec(), nodes: &ranks.nodes, inner };
    growing.children(0, shape.len());
    let Growing { mut t, mut frontier, .. } = growing;
    for k in by_growth(shape, &ranks.leaves) {
        t = expand(&t, around(&frontier, k), leaves[k], count[k]);
        frontier[k] = count[k];
    }
    t
}

/// Modes in the order in which expanding them costs least: the least growth first. Depends on whole lengths only, so that a
/// part is computed as the whole is.
pub fn by_growth(shape: &[usize], ranks: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..shape.len()).collect();
    order.sort_by(|&a, &b| (shape[a] as u128 * ranks[b] as u128).cmp(&(shape[b] as u128 * ranks[a] as u128)));
    order
}

/// The decoder's way down the tree.
struct Growing<'a> {
    t: Vec<f64>,
    frontier: Vec<usize>,
    nodes: &'a [[usize; 3]],
    inner: &'a [f64],
}

impl Growing<'_> {
    /// Splits what stands for `len` leaves from `at` on into its two children and those further; numbers are taken from the end.
    fn split(&mut self, at: usize, len: usize) {
        if len == 1 {
            return;
        }
        if let Some((&[a, b, r], rest)) = self.nodes.split_last() {
            let (before, matrix) = self.inner.split_at(self.inner.len() - a * b * r);
            self.t = expand(&self.t, around(&self.frontier, at), matrix, a * b);
            self.frontier[at] = a;
            self.frontier.insert(at + 1, b);
            (self.nodes, self.inner) = (rest, before);
        }
        self.children(at, len);
    }

    fn children(&mut self, at: usize, len: usize) {
        let left = len.div_ceil(2);
        self.split(at + 1, len - left);
        self.split(at, left);
    }
}
