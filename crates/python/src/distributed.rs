//! Compression in parts, for `lithify.dask`: see `lithify_io::job::compress::distributed`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lithify_codec::information::{BitPairs, SHARE};
use lithify_codec::{ErrorStats, match_samples};
use lithify_io::Error;
use lithify_io::job::check_output as check;
use lithify_io::job::compress::distributed::{self, ChunkRecord, Encoded};
use lithify_io::zarr::shard::{assemble, disassemble};
use lithify_io::zarr::{Layout, configuration_of, spec_of};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::arrays::samples_of;
use crate::chunk::{bytes_of, dict, dtype_of, field_of_dict, json_of};
use crate::errors;
use crate::jobs::{Asked, report, run, warn};
use crate::source::PySource;

/// Fails unless there may be a store at this path.
#[pyfunction]
pub fn check_output(path: PathBuf, force: bool) -> PyResult<()> {
    check(&path, force).map_err(errors::io)
}

/// The variables that the codec will code, without reading any data: chunk, shard, configuration (of a codec that keeps every bit),
/// bound, dtype, and what the bound needs to know of the whole variable: `needs_field`, `needs_bits`, `budget`.
#[pyfunction]
pub fn outline<'py>(
    py: Python<'py>,
    tree: &Bound<'py, PyDict>,
    bounds: Vec<String>,
    codec: &str,
    effort: u8,
    chunks: Vec<(String, usize)>,
    variables: Vec<String>,
) -> PyResult<Bound<'py, PyDict>> {
    let source = PySource::new(tree, py.None())?;
    let options = Asked { bounds, codec, effort, chunks, variables, force: false }.options()?;
    let out = PyDict::new(py);
    for (path, o) in distributed::outlines(&source, &options).map_err(errors::io)? {
        let one = dict!(py, {
            "chunk": o.layout.chunk, "shard": o.layout.shard, "configuration": o.layout.configuration.to_string(),
            "bound": o.promise.to_string(), "dtype": o.dtype.name(), "needs_field": o.promise.needs_field(),
            "needs_bits": o.promise.needs_bits(), "budget": o.promise.budget(u64::MAX).is_some(),
        });
        out.set_item(path, one)?;
    }
    Ok(out)
}

/// Counts of bit pairs of neighbours whose second lies at or beyond `origin`; sums of blocks are those of the whole.
#[pyfunction]
pub fn bit_pairs(
    py: Python<'_>,
    array: &Bound<'_, PyAny>,
    origin: Vec<usize>,
    configuration: &str,
) -> PyResult<Vec<u64>> {
    let (x, shape) = samples_of(array)?;
    if origin.len() != shape.len() {
        return Err(PyValueError::new_err(format!("origin needs {} indices, not {}", shape.len(), origin.len())));
    }
    let spec = spec_of(&json_of(configuration)?, x.dtype()).map_err(errors::io)?;
    Ok(py.detach(|| {
        let mut pairs = BitPairs::new(shape.len());
        match_samples!(&x, v => pairs.add(v, &shape, &origin, &spec.missing));
        pairs.counts()
    }))
}

/// Mantissa bits that `bits=auto` keeps, by sums of `bit_pairs`.
#[pyfunction]
pub fn mantissa_bits(counts: Vec<u64>, n_dims: usize, dtype: &str) -> PyResult<u32> {
    let pairs = BitPairs::from_counts(n_dims, &counts)
        .ok_or_else(|| PyValueError::new_err(format!("these are no counts for {n_dims} dimensions")))?;
    Ok(pairs.information(dtype_of(dtype)?).mantissa_bits_for(SHARE))
}

/// A shard of payloads in C order, None for chunks outside of the array.
#[pyfunction]
pub fn shard<'py>(py: Python<'py>, payloads: Vec<Option<Bound<'py, PyBytes>>>) -> Bound<'py, PyBytes> {
    let payloads: Vec<_> = payloads.iter().map(|p| p.as_ref().map(|p| p.as_bytes())).collect();
    PyBytes::new(py, &assemble(&payloads))
}

/// The payloads of a shard of `n` chunks.
#[pyfunction]
pub fn unshard<'py>(
    py: Python<'py>,
    shard: &Bound<'py, PyAny>,
    n: usize,
) -> PyResult<Vec<Option<Bound<'py, PyBytes>>>> {
    let bytes = bytes_of(shard)?;
    let ranges =
        disassemble(&bytes, n).ok_or_else(|| errors::CorruptError::new_err("the index of a shard is damaged"))?;
    Ok(ranges.into_iter().map(|r| r.map(|r| PyBytes::new(py, &bytes[r]))).collect())
}

/// The configuration for another encode of a variable whose bound was missed, None if it holds. `chunks` is what `encode` said of
/// each chunk, in order.
#[pyfunction]
pub fn judge(
    bound: &str,
    configuration: &str,
    dtype: &str,
    chunks: Vec<Bound<'_, PyDict>>,
    attempt: usize,
) -> PyResult<Option<String>> {
    let promise = bound.parse().map_err(errors::codec)?;
    let spec = spec_of(&json_of(configuration)?, dtype_of(dtype)?).map_err(errors::io)?;
    let mut stats = ErrorStats::default();
    for chunk in &chunks {
        stats.merge(&record_of_dict(chunk)?.stats);
    }
    let next = distributed::judge(&promise, &spec, &stats, attempt).map_err(errors::io)?;
    Ok(next.map(|spec| configuration_of(&spec, bound).to_string()))
}

/// Writes a store without the chunks of `encoded`: by path `chunk, shard, configuration, chunks` (see `judge`), `stored_bytes, n_encodes,
/// seconds`; `previous` has the certificates of the input, as JSON. The result is JSON, as that of `compress`.
#[pyfunction]
#[allow(clippy::too_many_arguments)] // one caller, in Python, with names
pub fn skeleton(
    py: Python<'_>,
    tree: &Bound<'_, PyDict>,
    read: Py<PyAny>,
    output: PathBuf,
    bounds: Vec<String>,
    codec: &str,
    effort: u8,
    chunks: Vec<(String, usize)>,
    variables: Vec<String>,
    encoded: BTreeMap<String, Bound<'_, PyDict>>,
    previous: BTreeMap<String, String>,
) -> PyResult<String> {
    let previous = previous.iter().map(|(path, text)| Ok((path.clone(), json_of(text)?)));
    let source = PySource::new(tree, read)?.with_previous(previous.collect::<PyResult<_>>()?);
    let options = Asked { bounds, codec, effort, chunks, variables, force: true }.options()?;
    let encoded: BTreeMap<_, _> =
        encoded.iter().map(|(path, e)| Ok((path.clone(), encoded_of_dict(e)?))).collect::<PyResult<_>>()?;
    let mut warnings = Vec::new();
    let done = run(py, 1, None, |context| {
        distributed::skeleton(&source, &output, &options, &encoded, context, &mut |w| warnings.push(w))
    });
    let (path, outcomes) = done.map_err(|e| source.take_raised().unwrap_or(e))?;
    warn(py, &warnings)?;
    Ok(report(&path, &outcomes))
}

/// A value of a dictionary that must be there.
macro_rules! item {
    ($dict:expr, $key:literal) => {
        $dict
            .get_item($key)?
            .ok_or_else(|| Error::invalid("a record lacks a key", $key))
            .map_err(errors::io)?
            .extract()?
    };
}

fn record_of_dict(dict: &Bound<'_, PyDict>) -> PyResult<ChunkRecord> {
    let field: Bound<'_, PyDict> = item!(dict, "field");
    Ok(ChunkRecord {
        stats: ErrorStats {
            field: field_of_dict(&field)?,
            n_changed: item!(dict, "n_changed"),
            n_mask_changed: item!(dict, "n_mask_changed"),
            max_abs: item!(dict, "max_abs"),
            max_rel: item!(dict, "max_rel"),
            sum_sq_err: item!(dict, "sum_sq_err"),
            sum_err: item!(dict, "sum_err"),
        },
        n_escapes: item!(dict, "n_escapes"),
        codec: item!(dict, "codec"),
        source_crc: item!(dict, "source_crc32c"),
        decoded_crc: item!(dict, "decoded_crc32c"),
    })
}

fn encoded_of_dict(dict: &Bound<'_, PyDict>) -> PyResult<Encoded> {
    let configuration: String = item!(dict, "configuration");
    let chunks: Vec<Bound<'_, PyDict>> = item!(dict, "chunks");
    Ok(Encoded {
        layout: Layout {
            chunk: item!(dict, "chunk"),
            shard: item!(dict, "shard"),
            configuration: json_of(&configuration)?,
        },
        chunks: chunks.iter().map(record_of_dict).collect::<PyResult<_>>()?,
        stored_bytes: item!(dict, "stored_bytes"),
        n_encodes: item!(dict, "n_encodes"),
        seconds: item!(dict, "seconds"),
    })
}
