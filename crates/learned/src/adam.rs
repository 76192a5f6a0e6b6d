//! Adam with clipped gradients and a cosine schedule.
//!
//! # Maths     m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w = w - rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
//! # Reference D. Kingma, J. Ba, Adam: a method for stochastic optimization, 2015, doi:10.48550/arXiv.1412.6980

use std::collections::BTreeMap;

use burn_tensor::{Gradients, Tensor};

use crate::params::{Params, floats};

const DECAY: [f64; 2] = [0.9, 0.999];
const TINY: f64 = 1e-8;
/// Share of the steps over which the rate grows.
const WARM: f64 = 0.02;

/// Moments of each weight.
#[derive(Debug, Clone, Default)]
pub struct Adam {
    /// First and second moments by name.
    pub moments: BTreeMap<String, [Tensor<1>; 2]>,
}

/// The learning rate at `step` of `steps`.
pub fn rate(largest: f64, step: usize, steps: usize) -> f64 {
    let warm = (steps as f64 * WARM).max(1.0);
    let t = step as f64;
    if t < warm {
        return largest * (t + 1.0) / warm;
    }
    let done = ((t - warm) / (steps as f64 - warm).max(1.0)).min(1.0);
    // Not quite nothing, so that the last steps count.
    largest * (0.02 + 0.98 * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()))
}

impl Adam {
    /// One update; `step` counts from zero.
    pub fn step(&mut self, params: &mut Params, grads: &mut Gradients, rate: f64, clip: f64, step: usize) {
        let mut found: Vec<(String, Tensor<1>)> = Vec::new();
        for (name, _, leaf) in params.iter() {
            if let Some(g) = leaf.grad_remove(grads) {
                found.push((name.clone(), g));
            }
        }
        let squares: Vec<f32> = found.iter().flat_map(|(_, g)| floats(g.clone().square().sum())).collect();
        let norm = squares.iter().map(|s| f64::from(*s)).sum::<f64>().sqrt();
        // One bad batch must not spoil the moments.
        if !norm.is_finite() {
            return;
        }
        let scale = if norm > clip { clip / norm } else { 1.0 };
        let t = i32::try_from(step + 1).unwrap_or(i32::MAX);
        let unbias = DECAY.map(|b| 1.0 - b.powi(t));
        for (name, g) in found {
            let g = g * scale;
            let [m, v] = self.moments.remove(&name).unwrap_or_else(|| [g.zeros_like(), g.zeros_like()]);
            let m = m * DECAY[0] + g.clone() * (1.0 - DECAY[0]);
            let v = v * DECAY[1] + g.square() * (1.0 - DECAY[1]);
            let change = (m.clone() / unbias[0]) / ((v.clone() / unbias[1]).sqrt() + TINY) * rate;
            if let Some(w) = params.leaf(&name) {
                let w = w.inner() - change;
                // What generalised divisive normalisation divides by stays positive.
                let w = match name.rsplit('.').next() {
                    Some("beta") => w.clamp_min(1e-4),
                    Some("gamma") => w.clamp_min(0.0),
                    _ => w,
                };
                params.replace(&name, w);
            }
            self.moments.insert(name, [m, v]);
        }
    }
}
