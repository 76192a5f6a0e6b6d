//! Slices one after the other, and what is remembered of each for the next one of its kind.

use super::features::PAD;
use super::geometry::Geometry;

/// Which slice.
#[derive(Debug, Clone, Copy)]
pub struct At {
    /// Where it begins among the samples.
    pub first: usize,
    /// Its step, and its place in that.
    pub t: usize,
    pub z: usize,
}

/// Calls `code` for every slice with what it left for the one at its place a step before, or for the slice before it where there are
/// no steps.
#[inline(always)]
pub fn in_sequence<M: Clone>(g: Geometry, fresh: M, mut code: impl FnMut(At, &mut M)) {
    let n_memories = if g.nt > 1 { g.nz } else { 1 };
    let mut memories = vec![fresh; n_memories];
    for s in 0..g.nt * g.nz {
        let (t, z) = (s / g.nz, s % g.nz);
        if t == 0 && z > 0 && n_memories > 1 {
            // The first step has no step before: the level before stands for it.
            memories[z] = memories[z - 1].clone();
        }
        code(At { first: s * g.plane(), t, z }, &mut memories[z % n_memories]);
    }
}

/// Slices that the running mean remembers.
const MEAN_SLICES: u32 = 60;

/// Running mean of slices, padded.
#[derive(Debug, Clone)]
pub struct Mean {
    values: Vec<f64>,
    n: u32,
}

impl Mean {
    pub fn new(plane: usize) -> Self {
        Self { values: vec![0.0; plane + 2 * PAD], n: 0 }
    }

    /// The mean, once there is one.
    pub fn known(&self) -> Option<&[f64]> {
        (self.n > 0).then_some(&self.values)
    }

    /// Adds the slice with which `v` begins.
    #[inline(always)]
    pub fn add(&mut self, v: &[f64]) {
        self.n = (self.n + 1).min(MEAN_SLICES);
        let part = 1.0 / f64::from(self.n);
        for (m, v) in self.values.iter_mut().zip(v) {
            *m += part * (v - *m);
        }
    }
}
