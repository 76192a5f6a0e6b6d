//! Rivals and ourselves behind one trait, at the setting of each coder that just meets an error.
//!
//! Every rival runs in its own library. Its error is measured here, on what it decodes; its bytes are all that its decoder
//! needs, plus the exact mask where the field has missing samples.

use anyhow::{Context, Result};

use crate::cost::{Cost, measured};
use crate::field::Field;
use crate::measure::{Target, l2, max_abs};

mod fpzip;
mod jpeg2000;
mod jpegls;
mod jpegxl;
pub mod lossless;
pub mod ours;
mod planes;
mod search;
mod sperr;
mod sz3;
mod tthresh;
mod zfp;

pub use search::search;

/// A lossy coder in one of its modes, with one knob: larger is coarser.
pub trait Peer {
    /// Name of the library, for tables and legends.
    fn coder(&self) -> &'static str;

    /// What of it is meant, where it has several ways.
    fn mode(&self) -> &'static str {
        ""
    }

    /// Bytes of `x`, a full array of `shape` without gaps.
    fn encode(&self, x: &[f32], shape: &[usize], knob: f64) -> Result<Vec<u8>>;

    /// Its reconstruction.
    fn decode(&self, bytes: &[u8], shape: &[usize]) -> Result<Vec<f32>>;

    /// Where the search begins: about what meets the target.
    fn first_knob(&self, field: &Field, target: Target) -> f64;

    /// Whether the first knob is the best one.
    fn knows_knob(&self, _target: Target) -> bool {
        false
    }

    /// Whether the field can be coded under such a target at all.
    fn takes(&self, field: &Field, _target: Target) -> bool {
        (1..=4).contains(&field.shape.len())
    }
}

/// One coding of a field, judged on its decoded values.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Name of the coder.
    pub coder: String,
    /// Which of its ways.
    pub mode: String,
    /// Setting of the knob.
    pub knob: f64,
    /// Everything that a decoder needs.
    pub bytes: usize,
    /// Relative Frobenius error.
    pub l2: f64,
    /// Largest absolute error, physical units.
    pub max_abs: f64,
    /// Of the one encode at this knob, the search for the knob not counted.
    pub encode: Cost,
    /// Of the decode.
    pub decode: Cost,
    /// Physical values.
    pub decoded: Vec<f32>,
}

impl Outcome {
    /// Stored bytes over coded bytes.
    pub fn ratio(&self, field: &Field) -> f64 {
        field.raw_bytes() as f64 / self.bytes as f64
    }

    /// Judges `decoded`.
    pub fn judge(
        field: &Field,
        (coder, mode): (&str, &str),
        knob: f64,
        bytes: usize,
        (encode, decode): (Cost, Cost),
        decoded: Vec<f32>,
    ) -> Self {
        let (l2, max_abs) = (l2(field, &decoded), max_abs(field, &decoded));
        Self { coder: coder.to_owned(), mode: mode.to_owned(), knob, bytes, l2, max_abs, encode, decode, decoded }
    }

    /// The same with costs of a few more runs, where one is too short to be trusted.
    pub fn steadied(mut self, again: impl Fn(f64) -> Result<Self>) -> Result<Self> {
        const LONG_ENOUGH_S: f64 = 0.3;
        for _ in 0..2 {
            if self.encode.seconds + self.decode.seconds < LONG_ENOUGH_S {
                let other = again(self.knob)?;
                (self.encode, self.decode) = (self.encode.least(other.encode), self.decode.least(other.decode));
            }
        }
        Ok(self)
    }
}

/// One encode and decode of a rival. Samples of a packed type may be rounded to its lattice by the reader: that counts where it helps.
pub fn run(peer: &dyn Peer, field: &Field, target: Target, knob: f64) -> Result<Outcome> {
    let what = || format!("{} {} on {} with knob {knob:e}", peer.coder(), peer.mode(), field.label);
    let (bytes, encode) = measured(|| peer.encode(&field.values, &field.shape, knob));
    let bytes = bytes.with_context(what)?;
    let (decoded, decode) = measured(|| peer.decode(&bytes, &field.shape));
    let mut decoded = decoded.with_context(what)?;
    if let Some(snapped) = field.on_lattice(&decoded)
        && target.error(field, &snapped) < target.error(field, &decoded)
    {
        decoded = snapped;
    }
    let bytes = bytes.len() + field.mask_bytes;
    Ok(Outcome::judge(field, (peer.coder(), peer.mode()), knob, bytes, (encode, decode), decoded))
}

/// The smallest coding found that meets `target`; `None` where the coder does not take the field or cannot meet it.
pub fn fit(peer: &dyn Peer, field: &Field, target: Target) -> Result<Option<Outcome>> {
    if !peer.takes(field, target) {
        return Ok(None);
    }
    let at = |knob| run(peer, field, target, knob);
    let first = peer.first_knob(field, target);
    let best = match peer.knows_knob(target) {
        true => Some(at(first)?).filter(|o| target.error(field, &o.decoded) <= target.value()),
        false => search(field, target, first, at)?,
    };
    best.map(|o| o.steadied(at)).transpose()
}

/// The lossy rivals for a target.
pub fn rivals(field: &Field, target: Target) -> Vec<Box<dyn Peer>> {
    let norm = matches!(target, Target::L2(_));
    let mut all: Vec<Box<dyn Peer>> = vec![Box::new(sperr::Sperr { norm })];
    all.extend(sz3::MODES.map(|mode| Box::new(sz3::Sz3 { mode }) as Box<dyn Peer>));
    all.push(Box::new(zfp::Zfp { mode: zfp::Mode::Accuracy }));
    if norm {
        // Norms leave ZFP the choice of a fixed rate, which has finer steps than its tolerance.
        all.push(Box::new(zfp::Zfp { mode: zfp::Mode::Rate }));
        all.push(Box::new(tthresh::Tthresh));
    }
    all.push(Box::new(planes::Quantized::new(jpegls::JpegLs, field)));
    all.push(Box::new(planes::Quantized::new(jpeg2000::Jpeg2000, field)));
    all
}

/// The smallest result of a library over all its modes.
pub fn fit_best(coder: &str, field: &Field, target: Target) -> Result<Option<Outcome>> {
    let mut best: Option<Outcome> = None;
    for peer in rivals(field, target).iter().filter(|p| p.coder() == coder) {
        let outcome = fit(peer.as_ref(), field, target)?;
        best = best.into_iter().chain(outcome).min_by_key(|o| o.bytes);
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use lithify_codec::{Affine, Samples};

    use super::*;

    pub fn waves() -> Field {
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
            for peer in rivals(&field, target) {
                let what = format!("{} {} {target:?}", peer.coder(), peer.mode());
                let o = fit(peer.as_ref(), &field, target).unwrap().unwrap_or_else(|| panic!("{what}: nothing"));
                let error = target.error(&field, &o.decoded);
                assert!(error <= target.value() && o.bytes < field.raw_bytes(), "{what}: {error} {}", o.bytes);
                // ZFP's tolerance has steps of a factor 2, of which its measured error is a fraction.
                assert!(error > 0.2 * target.value(), "{what} stays at {error}");
            }
        }
    }

    #[test]
    fn packed_integers_are_rounded_to_their_lattice_whatever_its_sign() {
        let x = Samples::I16((0..600).map(|i| (i % 30) * 40 + i / 30).collect());
        let dims = ["y", "x"].map(String::from).to_vec();
        for scale in [0.5, -0.5] {
            let affine = Affine { scale, offset: 10.0 };
            let field = Field::new("packed", "1", vec![20, 30], dims.clone(), x.clone(), affine, Vec::new()).unwrap();
            for (bound, met) in [(0.01, 0.0), (4.2, 4.0)] {
                for peer in rivals(&field, Target::MaxAbs(bound)) {
                    let o = fit(peer.as_ref(), &field, Target::MaxAbs(bound)).unwrap().unwrap();
                    assert!(o.max_abs <= bound && (met > 0.0 || o.max_abs == 0.0), "{} {}", o.coder, o.mode);
                    assert!(!peer.knows_knob(Target::MaxAbs(bound)) || o.max_abs == met, "{}", o.coder);
                }
            }
        }
    }
}
