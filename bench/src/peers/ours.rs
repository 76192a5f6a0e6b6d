//! Our own codecs, through the chunk pipeline that the product uses: one chunk, the promise checked by the encoder, decoded again here.

use anyhow::{Context, Result, ensure};
use lithify_codec::objective::shared_step;
use lithify_codec::{ChunkSpec, Codec, Probe, Promise, auto, decode_chunk, encode_chunk};

use super::{Outcome, search};
use crate::cost::measured;
use crate::field::Field;
use crate::measure::Target;

/// A codec and how much it may try.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// As users name it.
    pub codec: String,
    /// 1 to 9.
    pub effort: u8,
}

impl Setting {
    /// At the default effort.
    pub fn of(codec: &str) -> Self {
        Self { codec: codec.into(), effort: 5 }
    }

    /// What the encoder is asked.
    fn spec(&self, field: &Field, promise: &str) -> Result<ChunkSpec> {
        let mut spec = field.spec(self.codec.parse::<Codec>()?);
        spec.tolerance = promise.parse::<Promise>()?.resolve(&field.stats);
        spec.effort = self.effort;
        Ok(spec)
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.codec, self.effort)
    }
}

/// The smallest coding that meets `target` (`None`: every bit). For a norm the step is searched as rivals' knobs are, and what the
/// product does to find one (the codec's choice, a look at the coefficients) counts as part of the encode; a bound on single
/// values needs no search.
pub fn fit(field: &Field, setting: &Setting, target: Option<Target>) -> Result<Option<Outcome>> {
    let what = || format!("{setting} on {} under {target:?}", field.label);
    let at = |spec: &ChunkSpec| run(field, setting, spec).with_context(what);
    let Some(Target::L2(e)) = target else {
        let promise = target.map_or("lossless".into(), |t| format!("abs={:e}", t.value()));
        let spec = setting.spec(field, &promise)?;
        return at(&spec)?.steadied(|_| at(&spec)).map(Some);
    };
    let mut spec = setting.spec(field, &format!("l2={e:e}"))?;
    let (step, set_up) = measured(|| {
        if let Codec::Auto(_) = spec.codec {
            spec.codec = auto::choose(&[(&field.stored, &field.shape)], &spec)?;
        }
        let probe = Probe::new(&field.stored, &field.shape, &spec)?;
        Ok::<_, lithify_codec::Error>(shared_step(&mut [probe], Target::L2(e).rmse(field).powi(2)))
    });
    let with_step = |step| at(&ChunkSpec { step: Some(step), ..spec.clone() });
    let best = search(field, Target::L2(e), step.with_context(what)?, with_step)?;
    let best = best.map(|o| o.steadied(with_step)).transpose()?;
    Ok(best.map(|mut o| {
        o.encode.seconds += set_up.seconds;
        o.encode.peak_mib = o.encode.peak_mib.max(set_up.peak_mib);
        o
    }))
}

/// One encode and decode.
fn run(field: &Field, setting: &Setting, spec: &ChunkSpec) -> Result<Outcome> {
    let (coded, encode) = measured(|| encode_chunk(&field.stored, &field.shape, spec));
    let bytes = coded?.bytes;
    let (decoded, decode) = measured(|| decode_chunk(&bytes, &field.shape));
    let decoded = decoded?;
    ensure!(
        !spec.tolerance.lossless || decoded.to_le_bytes() == field.stored.to_le_bytes(),
        "lossless changed the data"
    );
    let values = decoded.to_f64().into_iter().map(|v| field.affine.physical(v) as f32).collect();
    let mode = setting.to_string();
    Ok(Outcome::judge(field, ("Lithify", &mode), spec.step.unwrap_or(0.0), bytes.len(), (encode, decode), values))
}
