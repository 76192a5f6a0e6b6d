//! A run on disk: weights, moments, the best weights, and the way so far, as one safetensors file.
//!
//! # On the wire tensors `w/NAME`, `m/NAME`, `v/NAME`, `best/NAME`; metadata `lithify-checkpoint`: configuration and history as JSON

use std::collections::HashMap;
use std::path::Path;

use burn_tensor::Tensor;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::adam::Adam;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::params::{Params, floats, vector};
use crate::train::History;

const ENTRY: &str = "lithify-checkpoint";

/// A run as it was.
#[derive(Debug)]
pub struct State {
    /// Weights.
    pub params: Params,
    /// Moments.
    pub adam: Adam,
    /// The way.
    pub history: History,
    /// The best weights so far.
    pub best: Option<Params>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    config: Config,
    history: History,
}

/// Writes whole or not at all.
///
/// # Errors
/// [`Error::Files`] if it cannot be written.
pub fn write(
    path: &Path,
    config: &Config,
    params: &Params,
    adam: &Adam,
    history: &History,
    best: Option<&Params>,
) -> Result<()> {
    let corrupt = |e: &dyn std::fmt::Display| Error::Corrupt { path: path.to_path_buf(), what: e.to_string() };
    let mut raw: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    let mut add = |name: String, shape: &[usize], t: &Tensor<1>| {
        raw.push((name, shape.to_vec(), floats(t.clone()).iter().flat_map(|v| v.to_le_bytes()).collect()));
    };
    for (name, shape, t) in params.iter() {
        add(format!("w/{name}"), shape, t);
        if let Some([m, v]) = adam.moments.get(name) {
            add(format!("m/{name}"), shape, m);
            add(format!("v/{name}"), shape, v);
        }
    }
    for (name, shape, t) in best.into_iter().flat_map(Params::iter) {
        add(format!("best/{name}"), shape, t);
    }
    let views = raw
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|e| corrupt(&e))?;
    let head =
        serde_json::to_string(&Head { config: config.clone(), history: history.clone() }).map_err(|e| corrupt(&e))?;
    let bytes =
        safetensors::serialize(views, Some(HashMap::from([(ENTRY.to_string(), head)]))).map_err(|e| corrupt(&e))?;
    Ok(lithify_io::atomic::write(path, &bytes)?)
}

/// Reads a checkpoint of the same configuration (but for how long it runs); `like` has the weights' shapes.
///
/// # Errors
/// [`Error::Io`], or [`Error::Corrupt`] with what does not fit.
pub fn read(path: &Path, config: &Config, like: &Params) -> Result<State> {
    let corrupt = |what: String| Error::Corrupt { path: path.to_path_buf(), what };
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let (_, meta) = SafeTensors::read_metadata(&bytes).map_err(|e| corrupt(format!("this is no checkpoint: {e}")))?;
    let head =
        meta.metadata().as_ref().and_then(|m| m.get(ENTRY)).ok_or_else(|| corrupt("this is no checkpoint".into()))?;
    let head: Head = serde_json::from_str(head).map_err(|e| corrupt(format!("this is no checkpoint: {e}")))?;
    let mut same = head.config.clone();
    (same.train.steps, same.train.patience) = (config.train.steps, config.train.patience);
    if same != *config {
        return Err(corrupt(
            "it is of another configuration; start without --resume, or with the one it was begun with".into(),
        ));
    }
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| corrupt(e.to_string()))?;
    let find = |kind: &str, name: &str, n: usize| -> Result<Option<Vec<f32>>> {
        let Ok(view) = tensors.tensor(&format!("{kind}/{name}")) else { return Ok(None) };
        let values: Vec<f32> = view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        match view.dtype() == Dtype::F32 && values.len() == n {
            true => Ok(Some(values)),
            false => Err(corrupt(format!("{kind}/{name} has another shape"))),
        }
    };
    let device = like.device();
    let (mut params, mut best, mut adam) = (Params::new(device), Params::new(device), Adam::default());
    let mut has_best = true;
    for (name, shape, _) in like.iter() {
        let n = shape.iter().product();
        let w = find("w", name, n)?.ok_or_else(|| corrupt(format!("w/{name} is missing")))?;
        params.set(name, shape, w);
        if let (Some(m), Some(v)) = (find("m", name, n)?, find("v", name, n)?) {
            let inner = device.clone();
            adam.moments.insert(name.clone(), [vector(m, &inner).inner(), vector(v, &inner).inner()]);
        }
        match find("best", name, n)? {
            Some(w) => best.set(name, shape, w),
            None => has_best = false,
        }
    }
    Ok(State { params, adam, history: head.history, best: has_best.then_some(best) })
}
