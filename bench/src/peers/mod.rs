//! Rivals and ourselves behind one trait, and the search for each coder's knob that just meets an error.
//!
//! Every rival runs in its own library. Its error is measured here, on what it decodes; its bytes are all that its decoder
//! needs, plus the exact mask where the field has missing samples.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::field::Field;
use crate::measure::{Target, l2, max_abs};

pub mod lossless;
pub mod ours;
pub mod sperr;
pub mod sz3;
pub mod tthresh;
pub mod zfp;

/// A lossy coder with one knob: larger is coarser.
pub trait Peer {
    /// For tables and legends.
    fn name(&self) -> &str;

    /// Bytes of `x`, a full array of `shape` without gaps.
    fn encode(&self, x: &[f32], shape: &[usize], knob: f64) -> Result<Vec<u8>>;

    /// Its reconstruction.
    fn decode(&self, bytes: &[u8], shape: &[usize]) -> Result<Vec<f32>>;

    /// How the knob relates to a root mean square error, nearly: where the search begins.
    fn knob_for(&self, rmse: f64) -> f64;

    /// Whether arrays of `shape` can be coded at all.
    fn takes(&self, shape: &[usize]) -> bool {
        (1..=4).contains(&shape.len())
    }
}

/// One coding of a field, judged on its decoded values.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Name of the coder.
    pub coder: String,
    /// Setting of the knob.
    pub knob: f64,
    /// Everything that a decoder needs.
    pub bytes: usize,
    /// Relative Frobenius error.
    pub l2: f64,
    /// Largest absolute error, physical units.
    pub max_abs: f64,
    /// Seconds of the one encode at this knob, the search for the knob not counted.
    pub encode_s: f64,
    /// Seconds of the decode.
    pub decode_s: f64,
    /// Physical values.
    pub decoded: Vec<f32>,
}

impl Outcome {
    /// Stored bytes over coded bytes.
    pub fn ratio(&self, field: &Field) -> f64 {
        field.raw_bytes() as f64 / self.bytes as f64
    }

    /// Judges `decoded`.
    pub fn judge(field: &Field, coder: &str, knob: f64, bytes: usize, times: (f64, f64), decoded: Vec<f32>) -> Self {
        let (l2, max_abs) = (l2(field, &decoded), max_abs(field, &decoded));
        Self { coder: coder.to_owned(), knob, bytes, l2, max_abs, encode_s: times.0, decode_s: times.1, decoded }
    }
}

/// `work` and how many seconds it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed().as_secs_f64())
}

/// One encode and decode of a rival.
pub fn run(peer: &dyn Peer, field: &Field, knob: f64) -> Result<Outcome> {
    let what = || format!("{} on {} with knob {knob:e}", peer.name(), field.label);
    let (bytes, encode_s) = timed(|| peer.encode(&field.values, &field.shape, knob));
    let bytes = bytes.with_context(what)?;
    let (decoded, decode_s) = timed(|| peer.decode(&bytes, &field.shape));
    let decoded = decoded.with_context(what)?;
    Ok(Outcome::judge(field, peer.name(), knob, bytes.len() + field.mask_bytes, (encode_s, decode_s), decoded))
}

/// The smallest coding found that meets `target`; `None` where the coder does not take the shape or cannot meet it.
pub fn fit(peer: &dyn Peer, field: &Field, target: Target) -> Result<Option<Outcome>> {
    if !peer.takes(&field.shape) {
        return Ok(None);
    }
    search(field, target, peer.knob_for(target.rmse(field)), |knob| run(peer, field, knob))
}

/// Searches the knob in `try_at` for the smallest coding that meets `target`.
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
    for turn in 0..16 {
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

/// The lossy rivals for a target; a name can stand for several settings of one library, of which the smallest result counts.
pub fn rivals(target: Target) -> Vec<(&'static str, Vec<Box<dyn Peer>>)> {
    let norm = matches!(target, Target::L2(_));
    let mut all: Vec<(&'static str, Vec<Box<dyn Peer>>)> = vec![
        ("SZ3", vec![Box::new(sz3::Sz3)]),
        ("ZFP", vec![Box::new(zfp::Zfp { mode: zfp::Mode::Accuracy })]),
        ("SPERR", vec![Box::new(sperr::Sperr { norm })]),
    ];
    if norm {
        // Norms leave ZFP the choice of a fixed rate, which has finer steps than its tolerance.
        all[1].1.push(Box::new(zfp::Zfp { mode: zfp::Mode::Rate }));
        all.push(("TTHRESH", vec![Box::new(tthresh::Tthresh)]));
    }
    all
}

/// The smallest result of several settings of one library, under the library's name.
pub fn fit_best(name: &str, settings: &[Box<dyn Peer>], field: &Field, target: Target) -> Result<Option<Outcome>> {
    let mut best: Option<Outcome> = None;
    for peer in settings {
        if let Some(o) = fit(peer.as_ref(), field, target)?
            && best.as_ref().is_none_or(|b| o.bytes < b.bytes)
        {
            best = Some(Outcome { coder: name.to_owned(), ..o });
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use lithify_codec::{Affine, Samples};

    use super::*;

    fn waves() -> Field {
        let shape = vec![12, 20, 30];
        let x = (0..7200).map(|i| 280.0 + 9.0 * ((i % 30) as f32 / 5.0).sin() * ((i / 30 % 20) as f32 / 7.0).cos());
        let x = Samples::F32(x.enumerate().map(|(i, v)| v + (i / 600) as f32).collect());
        let dims = ["lev", "lat", "lon"].map(String::from).to_vec();
        Field::new("waves", "K", shape, dims, x, Affine::IDENTITY, Vec::new()).unwrap()
    }

    #[test]
    fn every_rival_meets_every_target_and_none_wastes_it() {
        let field = waves();
        for target in [Target::L2(1e-3), Target::L2(1e-5), Target::MaxAbs(0.1)] {
            for (name, settings) in rivals(target) {
                let o = fit_best(name, &settings, &field, target).unwrap().unwrap_or_else(|| panic!("{name}: nothing"));
                let error = target.error(&field, &o.decoded);
                assert!(
                    error <= target.value() && o.bytes < field.raw_bytes(),
                    "{name} {target:?}: {error} {}",
                    o.bytes
                );
                // ZFP's tolerance has steps of a factor 2, of which its measured error is a fraction.
                assert!(error > 0.2 * target.value(), "{name} {target:?} stays at {error}");
            }
        }
    }

    #[test]
    fn the_search_ends_for_coders_with_steps_and_for_those_that_never_meet() {
        let field = waves();
        let fake = |error: f64, knob: f64| Outcome {
            coder: "fake".into(),
            knob,
            bytes: (1e6 / knob) as usize,
            l2: 0.0,
            max_abs: 0.0,
            encode_s: 0.0,
            decode_s: 0.0,
            decoded: field.values.iter().map(|v| v + error as f32).collect(),
        };
        let steps = |knob: f64| Ok(fake(2f64.powf(knob.log2().floor()), knob));
        let best = search(&field, Target::MaxAbs(0.7), 100.0, steps).unwrap().unwrap();
        assert!(best.knob < 1.0 && best.knob > 0.5, "{}", best.knob);
        assert!(search(&field, Target::MaxAbs(0.7), 100.0, |k| Ok(fake(9.0, k))).unwrap().is_none());
    }
}
