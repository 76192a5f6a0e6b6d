//! Results of jobs as JSON, for the command line and for Python: stable keys, `null` for what is not finite.

use serde_json::{Value, json};

use super::compress::Outcome;
use super::verify::Verdict;

fn finite(v: f64) -> Value {
    if v.is_finite() { json!(v) } else { Value::Null }
}

impl Outcome {
    /// Uncompressed over stored bytes.
    pub fn ratio(&self) -> f64 {
        self.raw_bytes as f64 / self.stored_bytes.max(1) as f64
    }

    /// Everything, by name.
    pub fn json(&self) -> Value {
        let e = &self.stats;
        json!({
            "name": self.path, "dtype": self.dtype.map(|d| d.name()), "shape": self.shape, "codec": self.codec,
            "bound": self.promise.to_string(), "resolved": self.resolved.to_string(),
            "achieved": {
                "max_abs": finite(e.max_abs), "max_rel": finite(e.max_rel), "l2": finite(e.l2()), "psnr": finite(e.psnr()),
                "rmse": finite(e.rmse()), "bias": finite(e.bias()),
            },
            "n": e.field.n, "n_valid": e.field.n_valid, "n_escapes": self.n_escapes,
            "n_trials": self.n_trials, "n_encodes": self.n_encodes,
            "raw_bytes": self.raw_bytes, "stored_bytes": self.stored_bytes, "ratio": self.ratio(),
            "bits_per_value": self.stored_bytes as f64 * 8.0 / e.field.n.max(1) as f64,
            "seconds": self.seconds, "mb_per_s": self.raw_bytes as f64 / 1e6 / self.seconds.max(1e-6),
        })
    }
}

impl Verdict {
    /// Everything, by name.
    pub fn json(&self) -> Value {
        let errors = |s: &lithify_codec::ErrorStats| {
            json!({
                "max_abs": finite(s.max_abs), "max_rel": finite(s.max_rel), "l2": finite(s.l2()), "psnr": finite(s.psnr()),
                "n_changed": s.n_changed,
            })
        };
        json!({
            "name": self.path,
            "bound": self.promise.as_ref().map(ToString::to_string),
            "ok": self.problems.is_empty(),
            "problems": self.problems,
            "errors": self.stats.as_ref().map(errors),
            "lineage": self.lineage,
        })
    }
}
