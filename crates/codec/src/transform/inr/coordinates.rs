//! Where samples lie: what a network sees of their indices.

use super::net::sine;
use crate::transform::Region;

/// The grid of a block.
#[derive(Debug, Clone)]
pub struct Grid {
    shape: Vec<usize>,
    /// The last two dimensions are latitude and longitude of a whole globe.
    pub globe: bool,
}

impl Grid {
    /// `globe` counts only where there are two dimensions.
    pub fn new(shape: &[usize], globe: bool) -> Self {
        Self { shape: shape.to_vec(), globe: globe && shape.len() >= 2 }
    }

    /// Of a sample. Without dimensions it still has one, which is 0.
    pub fn n_coordinates(&self) -> usize {
        (self.shape.len() + usize::from(self.globe)).max(1)
    }

    /// Samples in the last two dimensions.
    fn plane(&self) -> usize {
        self.shape[self.shape.len().saturating_sub(2)..].iter().product::<usize>().max(1)
    }

    /// Planes of the last two dimensions.
    pub fn n_slices(&self) -> usize {
        self.shape[..self.shape.len().saturating_sub(2)].iter().product()
    }

    /// The plane in which a sample lies.
    pub fn slice(&self, sample: usize) -> usize {
        sample / self.plane()
    }

    /// The plane nearest to a place.
    pub fn nearest_slice(&self, place: &[f64]) -> usize {
        let leading = place.iter().zip(&self.shape).take(self.shape.len().saturating_sub(2));
        leading.fold(0, |s, (p, n)| s * n + (p.round_ties_even().max(0.0) as usize).min(n - 1))
    }

    /// Coordinates of a place, whose indices need not be whole, into `out`, one every `stride`.
    pub fn coordinates(&self, place: &[f64], out: &mut [f32], stride: usize) {
        let straight = if self.globe { place.len() - 2 } else { place.len() };
        let along = |d: usize| (2.0 * (place[d] + 0.5) / self.shape[d] as f64 - 1.0) as f32;
        for d in 0..straight {
            out[d * stride] = along(d);
        }
        if self.globe {
            // Angles in turns.
            let (latitude, longitude) = (0.25 * along(straight), 0.5 * along(straight + 1));
            let across = sine(latitude + 0.25);
            let sphere = [across * sine(longitude + 0.25), across * sine(longitude), sine(latitude)];
            for (k, v) in sphere.into_iter().enumerate() {
                out[(straight + k) * stride] = v;
            }
        }
    }

    /// Calls `f` with every sample of a region, in C order: its number there, its plane, its indices.
    pub fn each(&self, region: &Region, mut f: impl FnMut(usize, usize, &[f64])) {
        let n: usize = region.count.iter().product();
        let mut place: Vec<usize> = region.start.clone();
        let mut at: Vec<f64> = place.iter().map(|p| *p as f64).collect();
        for i in 0..n {
            let sample = place.iter().zip(&self.shape).fold(0, |s, (p, n)| s * n + p);
            f(i, self.slice(sample), &at);
            for d in (0..place.len()).rev() {
                place[d] += 1;
                if place[d] < region.start[d] + region.count[d] {
                    at[d] = place[d] as f64;
                    break;
                }
                place[d] = region.start[d];
                at[d] = place[d] as f64;
            }
        }
    }

    /// Indices of a sample.
    pub fn place(&self, mut sample: usize, out: &mut [f64]) {
        for (p, n) in out.iter_mut().zip(&self.shape).rev() {
            *p = (sample % n) as f64;
            sample /= n;
        }
    }
}
