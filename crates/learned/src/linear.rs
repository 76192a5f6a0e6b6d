//! Orthonormal transforms that networks start from: principal components of bands, cosines over space.

use lithify_codec::learned::graph::Graph;

use crate::build::Matrix;
use crate::codec::samples;
use crate::data::{Batch, Corpus};
use crate::error::{Error, Result};
use crate::forward;
use crate::params::{Params, floats};

/// What an untrained transform may look at.
#[derive(Debug)]
pub struct Sample<'a> {
    corpus: &'a Corpus,
    tiles: Batch,
}

/// Tiles that statistics are taken from.
const TILES: usize = 24;

impl<'a> Sample<'a> {
    /// Draws the tiles.
    pub fn draw(corpus: &'a Corpus, tile: usize, rng: &mut fastrand::Rng) -> Self {
        Self { corpus, tiles: corpus.batch(TILES, tile, false, rng) }
    }

    /// Bands.
    pub fn bands(&self) -> usize {
        self.corpus.bands()
    }

    /// The tiles, one batch each.
    pub fn each(&self) -> impl Iterator<Item = Batch> + '_ {
        let one = self.tiles.samples.len() / self.tiles.shape[0].max(1);
        self.tiles.samples.chunks_exact(one.max(1)).map(|s| Batch {
            shape: [1, self.tiles.shape[1], self.tiles.shape[2], self.tiles.shape[3], self.tiles.shape[4]],
            samples: s.to_vec(),
            quality: Vec::new(),
            labels: vec![0],
        })
    }

    /// Principal components of the bands, strongest first: an orthonormal matrix whose rows are directions.
    ///
    /// # Errors
    /// [`Error::Data`] if the bands' covariance has none.
    pub fn principal(&self) -> Result<Matrix> {
        let n = self.bands();
        let plane = self.tiles.shape[2] * self.tiles.shape[3] * self.tiles.shape[4];
        let mut covariance = vec![0.0_f64; n * n];
        for tile in self.tiles.samples.chunks_exact(n * plane) {
            for i in 0..n {
                for j in 0..=i {
                    let (a, b) = (&tile[i * plane..(i + 1) * plane], &tile[j * plane..(j + 1) * plane]);
                    let sum: f64 = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
                    covariance[i * n + j] += sum;
                    covariance[j * n + i] = covariance[i * n + j];
                }
            }
        }
        let matrix = faer::Mat::from_fn(n, n, |i, j| covariance[i * n + j]);
        let eigen = matrix
            .self_adjoint_eigen(faer::Side::Lower)
            .map_err(|_| Error::Data("the bands' covariance has no eigenvectors; is a band not finite?".into()))?;
        let vectors = eigen.U();
        // Ascending eigenvalues; a direction's sign is free, so it is fixed: the sum of its entries is not negative.
        Ok(Matrix::of(n, n, |row, column| {
            let k = n - 1 - row;
            let sum: f64 = (0..n).map(|i| vectors[(i, k)]).sum();
            (vectors[(column, k)] * if sum < 0.0 { -1.0 } else { 1.0 }) as f32
        }))
    }

    /// Deviation of each channel that a network makes of the tiles.
    ///
    /// # Errors
    /// Those of [`forward::run`].
    pub fn deviations(&self, graph: &Graph, params: &Params) -> Result<Vec<f64>> {
        let frozen = params.frozen();
        let mut sums: Vec<(f64, f64, f64)> = Vec::new();
        for batch in self.each() {
            let y = forward::run(graph, &frozen, samples(&batch, frozen.device()), None)?;
            let channels = y.dims()[1];
            let values = floats(y);
            sums.resize(channels, (0.0, 0.0, 0.0));
            for (s, plane) in sums.iter_mut().zip(values.chunks_exact(values.len() / channels)) {
                for v in plane {
                    let v = f64::from(*v);
                    *s = (s.0 + 1.0, s.1 + v, s.2 + v * v);
                }
            }
        }
        Ok(sums.iter().map(|(n, s, q)| (q / n - (s / n).powi(2)).max(1e-12).sqrt()).collect())
    }
}

/// Two-dimensional cosines of a square of `side`: rows are frequencies (row by row), columns samples (row by row).
pub fn cosines(side: usize) -> Matrix {
    let n = side as f64;
    let one = |k: usize, i: usize| {
        let scale = if k == 0 { 1.0 / n } else { 2.0 / n };
        scale.sqrt() * (std::f64::consts::PI * k as f64 * (2.0 * i as f64 + 1.0) / (2.0 * n)).cos()
    };
    Matrix::of(side * side, side * side, |f, s| (one(f / side, s / side) * one(f % side, s % side)) as f32)
}

/// Indices of the `n` largest, largest first.
pub fn strongest(of: &[f64], n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..of.len()).collect();
    order.sort_by(|a, b| of[*b].total_cmp(&of[*a]).then(a.cmp(b)));
    order.truncate(n);
    order
}
