//! Objective: from what is wanted to the knobs of the other axes.
//!
//! # Maths
//! A norm over a variable is kept with one quantizer step for all its chunks (reverse water-filling: at equal slope every
//! chunk spends its bits where they buy most). The step is the largest whose squared error stays within the budget; the
//! error grows with the step, so a bracketing search finds it. A number of bytes is met with one step likewise: [`rate`].

pub mod rate;

use crate::pipeline::Probe;

/// The search ends when the logarithm of the step, or of the error, is known this well.
const PRECISION: f64 = 0.002;
/// Logarithms of errors are held within it.
const LIMIT: f64 = 100.0;
/// Steps tried at most to find a bracket, and to narrow it.
const MOST: u32 = 40;

/// The largest step (physical units) that leaves at most `mse` per valid sample over all of `probes`, up to 0.2 %.
pub fn shared_step(probes: &mut [Probe], mse: f64) -> f64 {
    let n_valid: u64 = probes.iter().map(|p| p.n_valid).sum();
    let budget = mse * n_valid as f64;
    // Logarithm of the error over the budget: at most 0 where it fits. The error grows about as a power of the step, as a straight line.
    let mut excess = |step: f64| {
        let error = probes.iter_mut().map(|p| p.squared_error(step)).sum::<f64>();
        if budget > 0.0 {
            (error / budget).ln().clamp(-LIMIT, LIMIT)
        } else if error > 0.0 {
            LIMIT
        } else {
            -LIMIT
        }
    };
    // A uniform quantizer's error is step^2 / 12 at most times a little; zeroed coefficients leave less.
    let start = (12.0 * mse).sqrt();
    let first = excess(start);
    let (mut low, mut high) = ((start, first), (start, first));
    // The other end of a bracket: from where the line says, further and further.
    let mut reach = 1.1;
    for _ in 0..MOST {
        if low.1 <= 0.0 && high.1 > 0.0 {
            break;
        }
        if first <= 0.0 {
            low = high;
            let step = high.0 * (-high.1 / 2.0).exp().clamp(1.0, 4.0) * reach;
            high = (step, excess(step));
        } else {
            high = low;
            let step = low.0 * (-low.1 / 2.0).exp().clamp(0.25, 1.0) / reach;
            low = (step, excess(step));
        }
        reach = (reach * 1.5).min(16.0);
    }
    for i in 0..MOST {
        let width = (high.0 / low.0).ln();
        // Not a number for a step of 0, the only one for an array of zeros.
        if width.is_nan() || width <= PRECISION || low.1 > -PRECISION {
            break;
        }
        // Where the line between the ends says, a little short of it; now and then half way, for lines that mislead.
        let part = if i % 3 == 2 { 0.5 } else { (-low.1 / (high.1 - low.1) - 0.02).clamp(0.05, 0.95) };
        let step = low.0 * (width * part).exp();
        let middle = (step, excess(step));
        if middle.1 <= 0.0 { low = middle } else { high = middle }
    }
    low.0
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
