//! Our own codecs, through the chunk pipeline that the product uses: one chunk, the promise checked by the encoder, decoded again here.

use anyhow::{Context, Result};
use lithify_codec::{Codec, Promise, auto, decode_chunk, encode_chunk};

use super::{Outcome, search, timed};
use crate::field::Field;
use crate::measure::Target;

/// One encode and decode of `field` by `codec` under `promise`; `step` is what a norm over the variable needs.
pub fn run(field: &Field, name: &str, codec: &str, promise: &str, step: Option<f64>) -> Result<Outcome> {
    let what = || format!("{codec} on {} under {promise}", field.label);
    let promise: Promise = promise.parse().with_context(what)?;
    let mut spec = field.spec(codec.parse::<Codec>().with_context(what)?);
    spec.tolerance = promise.resolve(&field.stats);
    spec.step = step;
    let (coded, encode_s) = timed(|| encode_chunk(&field.stored, &field.shape, &spec));
    let coded = coded.with_context(what)?;
    let (decoded, decode_s) = timed(|| decode_chunk(&coded.bytes, &field.shape));
    let decoded = decoded.with_context(what)?;
    let values = decoded.to_f64().into_iter().map(|v| field.affine.physical(v) as f32).collect();
    Ok(Outcome::judge(field, name, step.unwrap_or(0.0), coded.bytes.len(), (encode_s, decode_s), values))
}

/// The codec itself, or what `auto` takes for a variable of one chunk under that promise.
fn chosen(field: &Field, codec: &str, promise: &str) -> Result<String> {
    let mut spec = field.spec(codec.parse()?);
    spec.tolerance = promise.parse::<Promise>()?.resolve(&field.stats);
    Ok(match spec.codec {
        Codec::Auto => auto::choose(&[(&field.stored, &field.shape)], &spec)?.to_string(),
        codec => codec.to_string(),
    })
}

/// The smallest coding by a codec that shares one quantizer step: for a norm the step is searched as rivals' knobs are;
/// a bound on single values needs no search.
pub fn fit(field: &Field, name: &str, codec: &str, target: Target) -> Result<Option<Outcome>> {
    match target {
        Target::L2(e) => {
            let step = target.rmse(field) * 12f64.sqrt();
            let promise = format!("l2={e:e}");
            let codec = chosen(field, codec, &promise)?;
            search(field, target, step, |step| run(field, name, &codec, &promise, Some(step)))
        }
        Target::MaxAbs(e) => run(field, name, codec, &format!("abs={e:e}"), None).map(Some),
    }
}
