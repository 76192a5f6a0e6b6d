//! Objective: from what is wanted to the knobs of the other axes.
//!
//! # Maths
//! A norm over a variable is kept with one quantizer step for all its chunks (reverse water-filling: at equal slope every
//! chunk spends its bits where they buy most). The step is the largest whose squared error stays within the budget; the
//! error grows with the step, so bisection finds it. A number of bytes is met with one step likewise: [`rate`].

pub mod rate;

use crate::pipeline::Probe;

/// Bisection ends when the step is known this well.
const PRECISION: f64 = 1.002;

/// The largest step (physical units) that leaves at most `mse` per valid sample over all of `probes`, up to 0.2 %.
pub fn shared_step(probes: &mut [Probe], mse: f64) -> f64 {
    let n_valid: u64 = probes.iter().map(|p| p.n_valid).sum();
    let budget = mse * n_valid as f64;
    let mut fits = |step: f64| probes.iter_mut().map(|p| p.squared_error(step)).sum::<f64>() <= budget;
    // A uniform quantizer's error is step^2 / 12 at most times a little; zeroed coefficients leave less.
    let start = (12.0 * mse).sqrt();
    let (mut low, mut high) = (start, start);
    let mut doublings = 0;
    if fits(start) {
        while doublings < 40 && fits(high * 2.0) {
            high *= 2.0;
            doublings += 1;
        }
        low = high;
        high *= 2.0;
    } else {
        while doublings < 40 && !fits(low / 2.0) {
            low /= 2.0;
            doublings += 1;
        }
        high = low;
        low /= 2.0;
    }
    while high / low > PRECISION {
        let middle = (low * high).sqrt();
        if fits(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Affine, ChunkSpec, ErrorStats, Promise, encode_chunk, testkit::FIELDS};

    #[test]
    fn the_step_lands_just_inside_the_budget() {
        let chunks: Vec<_> = (0..3).map(|s| FIELDS[1].samples(crate::Dtype::F64, 4000, s)).collect();
        let spec = ChunkSpec {
            codec: "identity".parse().unwrap(),
            tolerance: "l2=1e-3".parse::<Promise>().unwrap().resolve(&crate::FieldStats {
                n: 1,
                n_valid: 1,
                min: 0.0,
                max: 1.0,
                sum_sq: 1.0,
            }),
            affine: Affine::IDENTITY,
            missing: vec![],
            step: None,
            effort: 5,
        };
        let mut probes: Vec<_> = chunks.iter().map(|x| Probe::new(x, &[40, 100], &spec).unwrap()).collect();
        for mse in [1e-6, 0.01, 5.0] {
            let step = shared_step(&mut probes, mse);
            let mut stats = ErrorStats::default();
            for x in &chunks {
                let spec = ChunkSpec { step: Some(step), ..spec.clone() };
                stats.merge(&encode_chunk(x, &[40, 100], &spec).unwrap().stats);
            }
            let got = stats.sum_sq_err / 12000.0;
            assert!(got <= mse * 1.0001 && got > mse * 0.95, "{mse} {got}");
        }
    }
}
