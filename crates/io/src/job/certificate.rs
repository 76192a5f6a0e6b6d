//! What holds for a variable, as stored with its array in attribute `lithify`: written once, continued by each append.
//!
//! A variable that was appended to has `parts`, one for each piece that was written at once, with the checksums of that piece. They
//! run over the payloads that begin in it, in the order of the grid; so no old data are read when a part is added.

use lithify_codec::{Bound, Dtype, ErrorStats, FieldStats, Promise};
use serde_json::{Value, json};

use super::compress::Settled;
use crate::error::{Error, Result};

/// Folds a chunk's checksum into a variable's: CRC-32C over the little-endian checksums in chunk order.
pub fn crc_of_crcs(crc: u32, chunk: u32) -> u32 {
    lithify_codec::crc32c_append(crc, &chunk.to_le_bytes())
}

/// A checksum as certificates have it.
pub fn checksum(crc: u32) -> String {
    format!("crc32c:{crc:08x}")
}

/// The bound that a certificate says, unless it keeps every bit.
pub(super) fn lossy_bound(certificate: &Value) -> Option<&str> {
    let said = |name: &str| certificate[name].as_str();
    said("bound").filter(|_| said("resolved").or(said("bound")) != Some("lossless"))
}

/// The passes of `previous`, and this one.
pub(super) fn lineage(previous: Option<&Value>, promise: &Promise, settled: &Settled) -> Vec<Value> {
    let mut lineage = previous.and_then(|p| p["lineage"].as_array().cloned()).unwrap_or_default();
    lineage.push(json!({"tool": concat!("lithify ", env!("CARGO_PKG_VERSION")), "bound": promise.to_string(), "codec": settled.coded.main_codec()}));
    lineage
}

/// The certificate of a variable that was written at once.
pub(super) fn of(promise: &Promise, settled: &Settled, dtype: Dtype, lineage: Vec<Value>) -> Value {
    let coded = &settled.coded;
    let mut certificate = all(promise, &settled.resolved, dtype, &coded.stats);
    certificate["source"]["checksum"] = checksum(coded.source_crc).into();
    certificate["decoded_checksum"] = checksum(coded.decoded_crc).into();
    certificate["lineage"] = lineage.into();
    certificate["version"] = env!("CARGO_PKG_VERSION").into();
    certificate
}

/// What is said of all samples.
fn all(promise: &Promise, resolved: &Promise, dtype: Dtype, e: &ErrorStats) -> Value {
    let finite = |v: f64| if v.is_finite() { json!(v) } else { Value::Null };
    let rounding = resolved.0.iter().find_map(|b| match b {
        // Of normal numbers; smaller ones are off by as much of the smallest normal one.
        Bound::Bits(Some(k)) => Some(json!({"mantissa_bits": k, "rel": 0.5f64.powi(*k as i32 + 1)})),
        _ => None,
    });
    let mut certificate = json!({
        "bound": promise.to_string(),
        "resolved": resolved.to_string(),
        "achieved": {
            "max_abs": finite(e.max_abs), "max_rel": finite(e.max_rel), "l2": finite(e.l2()), "psnr": finite(e.psnr()),
            "rmse": finite(e.rmse()), "bias": finite(e.bias()), "n_changed": e.n_changed,
            "sum_sq_err": finite(e.sum_sq_err), "sum_err": finite(e.sum_err),
        },
        "field": {
            "n": e.field.n, "n_valid": e.field.n_valid, "min": finite(e.field.min), "max": finite(e.field.max),
            "sum_sq": finite(e.field.sum_sq),
        },
        "source": {"dtype": dtype.name(), "bytes": e.field.n * dtype.size() as u64},
    });
    if let Some(rounding) = rounding {
        certificate["rounding"] = rounding;
    }
    certificate
}

/// Where a part lies.
pub(super) struct Place<'a> {
    /// Name of the dimension along which the parts lie.
    pub(super) dim: &'a str,
    /// Its first index, and the one after its last.
    pub(super) start: usize,
    pub(super) stop: usize,
}

/// The certificate of a variable with one part more. `old` is what it was, `before` the sums that it stands for.
pub(super) fn continued(
    old: &Value,
    before: &ErrorStats,
    promise: &Promise,
    settled: &Settled,
    dtype: Dtype,
    lineage: Vec<Value>,
    place: &Place<'_>,
) -> Result<Value> {
    let coded = &settled.coded;
    let mut parts = match parts(old)? {
        Some(parts) => parts,
        None if place.start == 0 => Vec::new(),
        None => vec![json!({
            "dim": place.dim, "start": 0, "stop": place.start, "resolved": old["resolved"],
            "source": {"bytes": old["source"]["bytes"], "checksum": old["source"]["checksum"]},
            "decoded_checksum": old["decoded_checksum"], "lineage": old["lineage"], "version": old["version"],
        })],
    };
    parts.push(json!({
        "dim": place.dim, "start": place.start, "stop": place.stop, "resolved": settled.resolved.to_string(),
        "source": {"bytes": coded.stats.field.n * dtype.size() as u64, "checksum": checksum(coded.source_crc)},
        "decoded_checksum": checksum(coded.decoded_crc), "lineage": lineage, "version": env!("CARGO_PKG_VERSION"),
    }));
    let mut stats = *before;
    stats.merge(&coded.stats);
    let resolved = match resolved(old)? {
        Some(of_old) if place.start > 0 => together(&of_old, &settled.resolved),
        _ => settled.resolved.clone(),
    };
    let mut certificate = all(promise, &resolved, dtype, &stats);
    // Whoever goes on from here has the longest history of any value to tell.
    let most = parts.iter().filter_map(|p| p["lineage"].as_array()).max_by_key(|l| l.len()).cloned();
    certificate["lineage"] = most.unwrap_or_default().into();
    certificate["parts"] = parts.into();
    certificate["version"] = env!("CARGO_PKG_VERSION").into();
    Ok(certificate)
}

/// The parts of a certificate, if it has any.
fn parts(certificate: &Value) -> Result<Option<Vec<Value>>> {
    match &certificate["parts"] {
        Value::Null => Ok(None),
        Value::Array(parts) => Ok(Some(parts.clone())),
        _ => Err(Error::corrupt("certificate", "parts are no list")),
    }
}

/// What holds for two parts of which each keeps its own: lossless is the most that can be said of a part, of two absolute bounds that
/// were found for `ratio` the wider one holds for both.
fn together(a: &Promise, b: &Promise) -> Promise {
    if a == b || b.is_lossless() {
        return a.clone();
    }
    if a.is_lossless() {
        return b.clone();
    }
    let abs =
        |p: &Promise| p.0.iter().filter_map(|b| if let Bound::Abs(e) = b { Some(*e) } else { None }).reduce(f64::min);
    let mut both: Vec<Bound> = b.0.iter().filter(|b| !matches!(b, Bound::Abs(_))).copied().collect();
    both.extend(abs(a).zip(abs(b)).map(|(a, b)| Bound::Abs(a.max(b))));
    Promise(both)
}

/// The promise that a certificate was written for.
pub(super) fn promise(certificate: &Value) -> Result<Option<Promise>> {
    said(certificate, "bound")
}

/// What that came to.
pub(super) fn resolved(certificate: &Value) -> Result<Option<Promise>> {
    said(certificate, "resolved")
}

fn said(certificate: &Value, name: &str) -> Result<Option<Promise>> {
    Ok(certificate[name].as_str().map(str::parse::<Promise>).transpose()?)
}

/// The sums that a certificate stands for. `sum_sq` is asked for where an early version did not write it down, and nothing else tells.
pub(super) fn sums(certificate: &Value, sum_sq: impl FnOnce() -> Result<f64>) -> Result<ErrorStats> {
    let (field, achieved) = (&certificate["field"], &certificate["achieved"]);
    let bad = |what: &str| Error::corrupt("certificate", format!("{what} is missing"));
    let count = |of: &Value, name: &str| of[name].as_u64().ok_or_else(|| bad(name));
    let (n, n_valid) = (count(field, "n")?, count(field, "n_valid")?);
    // JSON has no infinity: null stands for it.
    let number = |of: &Value, name: &str, null: f64| match of.get(name) {
        Some(Value::Null) => Ok(null),
        v => v.and_then(Value::as_f64).ok_or_else(|| bad(name)),
    };
    let [max_abs, max_rel, rmse, bias] = [
        number(achieved, "max_abs", f64::INFINITY)?,
        number(achieved, "max_rel", f64::INFINITY)?,
        number(achieved, "rmse", f64::INFINITY)?,
        number(achieved, "bias", f64::INFINITY)?,
    ];
    let of_all = |name: &str, mean: f64| match achieved.get(name) {
        None => Ok(mean * n_valid as f64),
        Some(_) => number(achieved, name, f64::INFINITY),
    };
    let (sum_sq_err, sum_err) = (of_all("sum_sq_err", rmse * rmse)?, of_all("sum_err", bias)?);
    let l2 = number(achieved, "l2", f64::INFINITY)?;
    let sum_sq = match field.get("sum_sq") {
        Some(_) => number(field, "sum_sq", f64::INFINITY)?,
        None if l2 > 0.0 => sum_sq_err / (l2 * l2),
        None => sum_sq()?,
    };
    let none = n_valid == 0;
    let edge = |name: &str, sign: f64| number(field, name, if none { sign } else { -sign } * f64::INFINITY);
    let field = FieldStats { n, n_valid, min: edge("min", 1.0)?, max: edge("max", -1.0)?, sum_sq };
    let n_changed = count(achieved, "n_changed")?;
    Ok(ErrorStats { field, n_changed, n_mask_changed: 0, max_abs, max_rel, sum_sq_err, sum_err })
}

/// A part of a certificate as `verify` looks at it; one without parts is a part that has everything.
pub(super) struct PartSaid {
    /// First index along the dimension of the parts, and the one after the last.
    pub(super) start: usize,
    pub(super) stop: usize,
    pub(super) decoded: Option<String>,
    pub(super) source: Option<String>,
    pub(super) lossless: bool,
}

/// The parts that a certificate speaks of and the dimension along which they lie, in a variable with these dimensions.
pub(super) fn parts_said(certificate: &Value, dims: &[String], shape: &[usize]) -> Result<(usize, Vec<PartSaid>)> {
    let text = |v: &Value| v.as_str().map(str::to_string);
    let lossless = |v: &Value| -> Result<bool> {
        let promise = resolved(v)?.map_or_else(|| promise(v), |p| Ok(Some(p)))?;
        Ok(promise.is_some_and(|p| p.is_lossless()))
    };
    let one = |v: &Value, start: usize, stop: usize| -> Result<PartSaid> {
        let (decoded, source) = (text(&v["decoded_checksum"]), text(&v["source"]["checksum"]));
        Ok(PartSaid { start, stop, decoded, source, lossless: lossless(v)? })
    };
    let Some(parts) = parts(certificate)? else {
        return Ok((0, vec![one(certificate, 0, shape.first().copied().unwrap_or(1))?]));
    };
    let bad = |what: String| Error::corrupt("certificate", what);
    let dim = parts.first().and_then(|p| p["dim"].as_str()).unwrap_or_default();
    let axis = dims
        .iter()
        .position(|d| d == dim)
        .ok_or_else(|| bad(format!("its parts lie along {dim:?}, which is no dimension")))?;
    let (mut out, mut at) = (Vec::new(), 0);
    for part in &parts {
        let index = |name: &str| part[name].as_u64().and_then(|v| usize::try_from(v).ok());
        let (start, stop) = (index("start"), index("stop"));
        let (Some(start), Some(stop)) = (start, stop) else { return Err(bad("a part without a place".into())) };
        if part["dim"].as_str() != Some(dim) || start != at || stop <= start {
            return Err(bad(format!(
                "the part {dim}={start}:{stop} does not follow the one before, which ends at {at}"
            )));
        }
        at = stop;
        out.push(one(part, start, stop)?);
    }
    if at != shape[axis] {
        return Err(bad(format!("its parts end at {dim}={at}, the array at {}", shape[axis])));
    }
    Ok((axis, out))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test fails by panicking

    use super::*;

    #[test]
    fn what_holds_for_both_parts() {
        for (a, b, want) in [
            ("lossless", "abs=1", "abs=1.0"),
            ("abs=1", "lossless", "abs=1.0"),
            ("abs=1", "abs=3", "abs=3.0"),
            ("l2=0.1,abs=3", "l2=0.1,abs=1", "l2=0.1,abs=3.0"),
            ("l2=0.1", "l2=0.1,abs=1", "l2=0.1"),
            ("bits=7", "bits=7", "bits=7"),
        ] {
            assert_eq!(together(&a.parse().unwrap(), &b.parse().unwrap()).to_string(), want);
        }
    }

    #[test]
    fn sums_come_back_and_early_certificates_are_understood() {
        let mut e = ErrorStats::default();
        e.add(&[3.0f32, -4.0, 0.1], &[3.0, -4.5, 0.3], None, lithify_codec::Affine::IDENTITY);
        let promise = "abs=1".parse().unwrap();
        let mut certificate = all(&promise, &promise, Dtype::F32, &e);
        let text: Value = serde_json::from_str(&certificate.to_string()).unwrap();
        assert_eq!(sums(&text, || unreachable!()).unwrap(), e);
        for (of, name) in [("achieved", "sum_sq_err"), ("achieved", "sum_err"), ("field", "sum_sq")] {
            certificate[of].as_object_mut().unwrap().remove(name);
        }
        let early = sums(&certificate, || unreachable!()).unwrap();
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-12 * b.abs();
        assert!(near(early.sum_sq_err, e.sum_sq_err) && near(early.sum_err, e.sum_err));
        assert!(near(early.field.sum_sq, e.field.sum_sq));
        // Without any error the norm tells nothing.
        certificate["achieved"]["l2"] = 0.0.into();
        assert_eq!(sums(&certificate, || Ok(7.0)).unwrap().field.sum_sq, 7.0);
        // Nothing valid: no range; and damage is found out.
        let nothing = all(&promise, &promise, Dtype::F32, &ErrorStats::default());
        assert_eq!(sums(&nothing, || unreachable!()).unwrap(), ErrorStats::default());
        certificate["field"]["n"] = "three".into();
        assert!(sums(&certificate, || Ok(7.0)).is_err());
    }

    #[test]
    fn parts_follow_one_another() {
        let part = |a: u64, b: u64| json!({"dim": "t", "start": a, "stop": b, "resolved": "lossless"});
        let dims = ["x".to_string(), "t".to_string()];
        let said = |parts: Value| parts_said(&json!({ "parts": parts }), &dims, &[3, 10]);
        let (axis, parts) = said(json!([part(0, 4), part(4, 10)])).unwrap();
        assert_eq!((axis, parts.len(), parts[1].start), (1, 2, 4));
        for bad in [
            json!([part(0, 4)]),
            json!([part(0, 4), part(5, 10)]),
            json!([part(0, 11)]),
            json!([part(4, 10)]),
            json!([part(0, 10), part(10, 10)]),
            json!([{"dim": "y", "start": 0, "stop": 10}]),
            json!([{"dim": "t", "start": -1, "stop": 10}]),
            json!([]),
            json!({}),
        ] {
            assert!(said(bad.clone()).is_err(), "{bad}");
        }
    }
}
