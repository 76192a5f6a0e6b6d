//! What is decided before anything is coded: which variables, in which chunks, with which configuration.

use std::collections::BTreeMap;

use lithify_codec::{Affine, ChunkSpec, Codec, Promise, Tolerance};
use lithify_io::job::compress::plan_layouts;
use lithify_io::model::Known;
use lithify_io::zarr::configuration_of;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::chunk::{dict, field_of_dict};
use crate::errors;
use crate::jobs::{Asked, check_effort, run};
use crate::source::PySource;

/// Statistics and mantissa bits of variables, by path.
type KnownByPath<'py> = BTreeMap<String, (Option<Bound<'py, PyDict>>, Option<u32>)>;

/// Chunk, shard and configuration of each variable that the codec will code, by path. The data are read as far as bounds need it and
/// `known` does not say: statistics (see `field_stats`) and mantissa bits by path, either of them None.
#[pyfunction]
#[pyo3(signature = (tree, read, bounds, codec, effort, chunks, variables, threads, known=None))]
#[allow(clippy::too_many_arguments)] // one caller, in Python, with names
pub fn plan<'py>(
    py: Python<'py>,
    tree: &Bound<'py, PyDict>,
    read: Py<PyAny>,
    bounds: Vec<String>,
    codec: &str,
    effort: u8,
    chunks: Vec<(String, usize)>,
    variables: Vec<String>,
    threads: usize,
    known: Option<KnownByPath<'py>>,
) -> PyResult<Bound<'py, PyDict>> {
    let known = known.unwrap_or_default().into_iter().map(|(path, (field, bits))| {
        let field = field.as_ref().map(field_of_dict).transpose()?;
        Ok((path, Known { field, bits }))
    });
    let source = PySource::new(tree, read)?.with_known(known.collect::<PyResult<_>>()?);
    let options = Asked { bounds, codec, effort, chunks, variables, force: false }.options()?;
    let layouts = run(py, threads, None, |context| plan_layouts(&source, &options, context));
    let layouts = layouts.map_err(|e| source.take_raised().unwrap_or(e))?;
    let out = PyDict::new(py);
    for (path, l) in layouts {
        let layout = dict!(py, {"chunk": l.chunk, "shard": l.shard, "configuration": l.configuration.to_string()});
        out.set_item(path, layout)?;
    }
    Ok(out)
}

/// The codec's configuration, as JSON, for a bound and what it needs to know of the whole variable.
#[pyfunction]
#[pyo3(signature = (bound, codec, effort, scale, offset, missing, field=None, step=None))]
#[allow(clippy::too_many_arguments)] // one caller, in Python, with names
pub fn configure(
    bound: &str,
    codec: &str,
    effort: u8,
    scale: f64,
    offset: f64,
    missing: Vec<u64>,
    field: Option<&Bound<'_, PyDict>>,
    step: Option<f64>,
) -> PyResult<String> {
    let promise: Promise = bound.parse().map_err(errors::codec)?;
    let field = field.map(field_of_dict).transpose()?;
    let codec: Codec = codec.parse().map_err(errors::codec)?;
    check_effort(effort)?;
    if field.is_none() && promise.needs_field() || promise.needs_bits() {
        return Err(PyValueError::new_err(format!("{promise} needs the whole variable: compress a dataset instead")));
    }
    let mut tolerance = promise.resolve(&field.unwrap_or_default());
    if tolerance.lossless {
        tolerance = Tolerance::LOSSLESS;
    }
    let exact = tolerance.lossless || tolerance.bits.is_some();
    let spec = ChunkSpec {
        codec: if exact { Codec::Lossless } else { codec },
        tolerance,
        affine: Affine { scale, offset },
        missing,
        step,
        effort,
    };
    Ok(configuration_of(&spec, bound).to_string())
}
