//! `lithify compare`

use anyhow::Result;
use lithify_codec::mask::Mask;
use lithify_codec::match_samples;
use lithify_io::job::chunks::{chunk_grid, chunk_shape};
use lithify_io::location::shown;
use lithify_io::model::{Source, Values, Variable};
use lithify_io::{formats, policy};
use lithify_metrics::{Comparer, Comparison};
use serde_json::{Value, json};

use super::{raw_bytes, warn};
use crate::args::Compare;
use crate::exit::Failed;
use crate::progress;
use crate::table::{number, render, shape};

/// Runs it.
pub fn run(a: &Compare) -> Result<()> {
    let (original, decoded) = (formats::open(&a.original)?, formats::open(&a.decoded)?);
    for name in &a.vars {
        original.root().find(name)?;
    }
    let mut results = Vec::new();
    let mut missing = 0;
    progress::run(&a.running, raw_bytes(original.root()), |context| {
        for (path, v) in original.root().walk() {
            context.check()?;
            if !a.vars.is_empty() && !a.vars.iter().any(|n| n.trim_start_matches('/') == path) {
                continue;
            }
            match decoded.root().find(&path) {
                Ok(w) if w.shape == v.shape && w.data_type == v.data_type => {}
                Ok(w) => {
                    warn(&format!("{path}: {:?} {:?} against {:?} {:?}", v.data_type, v.shape, w.data_type, w.shape));
                    missing += 1;
                    continue;
                }
                Err(_) => {
                    warn(&format!("{path}: not in {}", shown(&a.decoded)));
                    missing += 1;
                    continue;
                }
            }
            results.push(one(original.as_ref(), decoded.as_ref(), path, v, context)?);
        }
        Ok(())
    })?;
    if a.running.json {
        let variables: Vec<Value> = results.iter().map(Compared::json).collect();
        println!(
            "{}",
            json!({"original": shown(&a.original), "decoded": shown(&a.decoded), "missing": missing, "variables": variables})
        );
    } else {
        let header = [
            "variable",
            "shape",
            "max abs",
            "max rel",
            "rmse",
            "l2",
            "psnr dB",
            "bias",
            "pearson",
            "ssim",
            "K-S",
            "missing moved",
        ];
        print!("{}", render(&header, &results.iter().map(Compared::cells).collect::<Vec<_>>()));
    }
    if missing > 0 {
        return Err(Failed(format!("{missing} variables have no counterpart")).into());
    }
    Ok(())
}

/// Numbers are judged by their errors, text by whether it is equal.
struct Compared {
    path: String,
    shape: Vec<usize>,
    result: Result<Comparison, bool>,
}

fn one(
    a: &dyn Source,
    b: &dyn Source,
    path: String,
    v: &Variable,
    context: &lithify_io::job::Context<'_>,
) -> lithify_io::Result<Compared> {
    let Some(dtype) = v.dtype() else {
        let start = vec![0; v.shape.len()];
        let equal = a.read(&path, &start, &v.shape)? == b.read(&path, &start, &v.shape)?;
        return Ok(Compared { path, shape: v.shape.clone(), result: Err(equal) });
    };
    let missing = policy::missing_patterns(v);
    let mut comparer = Comparer::new(&v.shape, policy::affine(v));
    for at in chunk_grid(&v.shape, &chunk_shape(&v.shape, dtype, v.chunks.as_deref()), None) {
        context.check()?;
        let (x, y) = (a.read(&path, &at.start, &at.count)?, b.read(&path, &at.start, &at.count)?);
        let (Values::Numbers(x), Values::Numbers(y)) = (x, y) else { continue };
        let valid = match_samples!(&x, s => Mask::of(s, &missing)).map(|m| m.valid());
        comparer.add_block(&x, &y, &at.start, &at.count, valid.as_deref())?;
        (context.progress)(lithify_io::job::Progress {
            variable: &path,
            raw_bytes: (x.len() * dtype.size()) as u64,
            coded_bytes: 0,
        });
    }
    Ok(Compared { path, shape: v.shape.clone(), result: Ok(comparer.finish()) })
}

impl Compared {
    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.path.clone(), shape(&self.shape)];
        match &self.result {
            Ok(c) => {
                let ssim = c.ssim.as_ref().map(|s| number(s.mean)).unwrap_or_default();
                cells.extend([c.max_abs, c.max_rel, c.rmse, c.l2, c.psnr, c.bias, c.pearson].map(number));
                cells.extend([ssim, number(c.ks_distance), c.n_missing_changed.to_string()]);
            }
            Err(equal) => {
                cells.push(if *equal { "equal" } else { "differs" }.into());
                cells.resize(12, String::new());
            }
        }
        cells
    }

    fn json(&self) -> Value {
        match &self.result {
            Ok(c) => json!({"name": self.path, "shape": self.shape, "comparison": c}),
            Err(equal) => json!({"name": self.path, "shape": self.shape, "equal": equal}),
        }
    }
}
