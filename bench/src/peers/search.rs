//! The search for the knob that just meets an error.

use anyhow::Result;

use super::Outcome;
use crate::field::Field;
use crate::measure::Target;

/// Encodes that a search may take.
const TURNS: usize = 12;

/// Searches the knob of `try_at` for the smallest coding that meets `target`.
///
/// 1. From `first`, the knob is moved in proportion to what the error misses, until one setting meets the target and one does not.
/// 2. Between the two, the secant in logarithms and the middle by turns.
/// 3. Enough when the error is within 1 % of the target, or the two settings within 1 % of each other (coders with steps).
pub fn search(
    field: &Field,
    target: Target,
    first: f64,
    mut try_at: impl FnMut(f64) -> Result<Outcome>,
) -> Result<Option<Outcome>> {
    let goal = target.value();
    // log knob and log (error / goal) of the last setting of either kind.
    type Point = Option<(f64, f64)>;
    let (mut good, mut bad): (Point, Point) = (None, None);
    let mut best: Option<Outcome> = None;
    let mut knob = first;
    for turn in 0..TURNS {
        let outcome = try_at(knob)?;
        let error = target.error(field, &outcome.decoded);
        let point = (knob.ln(), (error.max(goal * 1e-6) / goal).ln());
        if error <= goal {
            good = Some(point);
            if best.as_ref().is_none_or(|b| outcome.bytes < b.bytes) {
                best = Some(outcome);
            }
            if error > 0.99 * goal {
                break;
            }
        } else {
            bad = Some(point);
        }
        let next = match (good, bad) {
            // Proportional, but always well past the last setting, so that a bracket is found soon.
            (Some((k, e)), None) => k - e.clamp(-3.0, -0.1) * 1.1,
            (None, Some((k, e))) => k - e.clamp(0.1, 3.0) * 1.1,
            (Some(g), Some(b)) if b.0 - g.0 < 0.01 => break,
            (Some(g), Some(b)) if turn % 3 < 2 => {
                let t = -g.1 / (b.1 - g.1);
                g.0 + (t - 0.004).clamp(0.05, 0.95) * (b.0 - g.0)
            }
            (Some(g), Some(b)) => (g.0 + b.0) / 2.0,
            (None, None) => break,
        };
        knob = next.exp();
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::super::tests::waves;
    use super::*;
    use crate::cost::Cost;

    #[test]
    fn the_search_ends_for_coders_with_steps_and_for_those_that_never_meet() {
        let field = waves();
        let free = Cost { seconds: 0.0, peak_mib: 0.0 };
        let fake = |error: f64, knob: f64| {
            let decoded = field.values.iter().map(|v| v + error as f32).collect();
            Outcome::judge(&field, ("fake", ""), knob, (1e6 / knob) as usize, (free, free), decoded)
        };
        let steps = |knob: f64| Ok(fake(2f64.powf(knob.log2().floor()), knob));
        let best = search(&field, Target::MaxAbs(0.7), 100.0, steps).unwrap().unwrap();
        assert!(best.knob < 1.0 && best.knob > 0.5, "{}", best.knob);
        assert!(search(&field, Target::MaxAbs(0.7), 100.0, |k| Ok(fake(9.0, k))).unwrap().is_none());
    }
}
