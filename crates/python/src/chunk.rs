//! Single chunks: arrays to payloads and back. A configuration is that of the Zarr codec, as JSON.

use std::time::Instant;

use lithify_codec::information::{BitPairs, SHARE};
use lithify_codec::mask::Mask;
use lithify_codec::objective::shared_step;
use lithify_codec::{
    Affine, ChunkSpec, Codec, Dtype, ErrorStats, FieldStats, Probe, Promise, Region, Samples, Tolerance, decode_chunk,
    decode_region, encode_chunk, match_samples,
};
use lithify_io::zarr::spec_of;
use lithify_metrics::Comparer;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use rayon::prelude::*;

use crate::arrays::{array_of, samples_of};
use crate::errors;
use crate::jobs::check_effort;

/// Sets keys of a dictionary.
macro_rules! dict {
    ($py:expr, {$($key:literal: $value:expr),* $(,)?}) => {{
        let dict = pyo3::types::PyDict::new($py);
        $(dict.set_item($key, $value)?;)*
        dict
    }};
}
pub(crate) use dict;

/// Payload of one array, and what became of it: errors in physical units, sums for merging, checksums.
#[pyfunction]
pub fn encode<'py>(
    py: Python<'py>,
    array: &Bound<'py, PyAny>,
    configuration: &str,
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyDict>)> {
    let (samples, shape) = samples_of(array)?;
    let spec = spec_from(configuration, &samples)?;
    let coded = py.detach(|| encode_one(&samples, &shape, &spec))?;
    Ok((PyBytes::new(py, &coded.bytes), coded.report(py)?))
}

/// Like `encode`, for several arrays at a time, one thread each.
#[pyfunction]
pub fn encode_many<'py>(
    py: Python<'py>,
    arrays: Vec<Bound<'py, PyAny>>,
    configuration: &str,
) -> PyResult<Vec<(Bound<'py, PyBytes>, Bound<'py, PyDict>)>> {
    let all = arrays.iter().map(samples_of).collect::<PyResult<Vec<_>>>()?;
    let coded: PyResult<Vec<Coded>> = py.detach(|| {
        all.into_par_iter().map(|(x, shape)| encode_one(&x, &shape, &spec_from(configuration, &x)?)).collect()
    });
    coded?.iter().map(|c| Ok((PyBytes::new(py, &c.bytes), c.report(py)?))).collect()
}

/// Payload of one array that keeps a promise about the whole of it, and what became of it.
#[pyfunction]
#[allow(clippy::too_many_arguments)] // one caller, in Python, with names
pub fn pack<'py>(
    py: Python<'py>,
    array: &Bound<'py, PyAny>,
    bound: &str,
    codec: &str,
    effort: u8,
    scale: f64,
    offset: f64,
    missing: Vec<u64>,
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyDict>)> {
    let promise: Promise = bound.parse().map_err(errors::codec)?;
    let mut spec = ChunkSpec {
        codec: codec.parse().map_err(errors::codec)?,
        affine: Affine { scale, offset },
        missing,
        effort,
        ..ChunkSpec::lossless()
    };
    let (x, shape) = samples_of(array)?;
    let coded = py.detach(|| {
        let promise = settle_promise(promise, &x, &shape, &mut spec)?;
        encode_keeping(&promise, &x, &shape, spec)
    })?;
    Ok((PyBytes::new(py, &coded.bytes), coded.report(py)?))
}

/// Resolves a promise for an array that is one chunk; what it came to goes into `spec`.
fn settle_promise(promise: Promise, x: &Samples, shape: &[usize], spec: &mut ChunkSpec) -> PyResult<Promise> {
    if promise.budget(1).is_some() {
        let what = "ratio= and bytes= are searched for in datasets: use lithify.to_zarr or lithify.compress_file";
        return Err(PyValueError::new_err(what));
    }
    check_effort(spec.effort)?;
    let promise = if promise.needs_bits() {
        let mut pairs = BitPairs::new(shape.len());
        match_samples!(x, v => pairs.add(v, shape, &vec![0; shape.len()], &spec.missing));
        promise.with_bits(pairs.information(x.dtype()).mantissa_bits_for(SHARE))
    } else {
        promise
    };
    let mut field = FieldStats::default();
    if promise.needs_field() {
        let valid = valid_of(x, &spec.missing);
        match_samples!(x, v => field.add(v, valid.as_deref(), spec.affine));
    }
    spec.tolerance = promise.resolve(&field);
    if spec.tolerance.lossless {
        spec.tolerance = Tolerance::LOSSLESS;
    }
    if spec.tolerance.lossless || spec.tolerance.bits.is_some() {
        spec.codec = Codec::Lossless;
    }
    Ok(promise)
}

/// Encodes until norms hold, too: with a finer step where one is missed, without loss in the end.
fn encode_keeping(promise: &Promise, x: &Samples, shape: &[usize], mut spec: ChunkSpec) -> PyResult<Coded> {
    if let Some(mse) = spec.tolerance.mse {
        if matches!(spec.codec, Codec::Auto(_)) {
            spec.codec = lithify_codec::auto::choose(&[(x, shape)], &spec).map_err(errors::codec)?;
        }
        let mut probes = [Probe::new(x, shape, &spec).map_err(errors::codec)?];
        spec.step = Some(shared_step(&mut probes, mse * 0.999));
    }
    for _ in 0..STEPS {
        let coded = encode_one(x, shape, &spec)?;
        if promise.kept(&coded.stats) {
            return Ok(coded);
        }
        spec.step = spec.step.map(|s| s * FINER);
    }
    let exact = ChunkSpec { codec: Codec::Lossless, tolerance: Tolerance::LOSSLESS, step: None, ..spec };
    encode_one(x, shape, &exact)
}

/// Tries of a norm, each with a step finer by this factor.
const STEPS: usize = 5;
const FINER: f64 = 0.9;

/// A coded array with its checksums.
struct Coded {
    bytes: Vec<u8>,
    stats: ErrorStats,
    n_escapes: u64,
    codec: &'static str,
    source_crc: u32,
    decoded_crc: u32,
    seconds: f64,
}

fn spec_from(configuration: &str, samples: &Samples) -> PyResult<ChunkSpec> {
    spec_of(&json_of(configuration)?, samples.dtype()).map_err(errors::io)
}

fn encode_one(samples: &Samples, shape: &[usize], spec: &ChunkSpec) -> PyResult<Coded> {
    let started = Instant::now();
    let coded = encode_chunk(samples, shape, spec).map_err(errors::codec)?;
    let decoded_crc = lithify_codec::header(&coded.bytes).map_err(errors::codec)?.decoded_crc32c;
    Ok(Coded {
        stats: coded.stats,
        n_escapes: coded.n_escapes,
        codec: coded.codec,
        source_crc: samples.crc32c(),
        decoded_crc,
        bytes: coded.bytes,
        seconds: started.elapsed().as_secs_f64(),
    })
}

impl Coded {
    fn report<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let out = errors_to_dict(py, &self.stats)?;
        out.set_item("n_escapes", self.n_escapes)?;
        out.set_item("codec", self.codec)?;
        out.set_item("source_crc32c", self.source_crc)?;
        out.set_item("decoded_crc32c", self.decoded_crc)?;
        out.set_item("seconds", self.seconds)?;
        Ok(out)
    }
}

/// The array in a payload, or the region `[start, start + count)` of it.
#[pyfunction]
#[pyo3(signature = (payload, start=None, count=None))]
pub fn decode<'py>(
    py: Python<'py>,
    payload: &Bound<'py, PyAny>,
    start: Option<Vec<usize>>,
    count: Option<Vec<usize>>,
) -> PyResult<Bound<'py, PyAny>> {
    let bytes = bytes_of(payload)?;
    let (samples, shape) = py
        .detach(|| {
            let shape = lithify_codec::header(&bytes)?.shape;
            match (start, count) {
                (Some(start), Some(count)) => {
                    let region = Region { start, count };
                    Ok((decode_region(&bytes, &shape, &region)?, region.count))
                }
                _ => Ok((decode_chunk(&bytes, &shape)?, shape)),
            }
        })
        .map_err(errors::codec)?;
    array_of(py, samples, &shape)
}

/// The arrays in several payloads, decoded by all cores.
#[pyfunction]
pub fn decode_many<'py>(py: Python<'py>, payloads: Vec<Bound<'py, PyAny>>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let payloads = payloads.iter().map(bytes_of).collect::<PyResult<Vec<_>>>()?;
    let decoded: lithify_codec::Result<Vec<_>> = py.detach(|| {
        let one = |bytes: &Vec<u8>| {
            let shape = lithify_codec::header(bytes)?.shape;
            Ok((decode_chunk(bytes, &shape)?, shape))
        };
        payloads.par_iter().with_min_len(16).map(one).collect()
    });
    decoded.map_err(errors::codec)?.into_iter().map(|(x, shape)| array_of(py, x, &shape)).collect()
}

/// One payload of several that lie one after another along a dimension, each kept as it is.
#[pyfunction]
pub fn join<'py>(py: Python<'py>, axis: usize, payloads: Vec<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyBytes>> {
    let payloads = payloads.iter().map(bytes_of).collect::<PyResult<Vec<_>>>()?;
    let parts: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    Ok(PyBytes::new(py, &lithify_codec::join(axis, &parts).map_err(errors::codec)?))
}

/// What a payload says of itself: dtype, shape, codec, decoded_crc32c.
#[pyfunction]
pub fn header<'py>(py: Python<'py>, payload: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    let h = lithify_codec::header(&bytes_of(payload)?).map_err(errors::codec)?;
    Ok(dict!(py, {"dtype": h.dtype.name(), "shape": h.shape, "codec": h.codec, "decoded_crc32c": h.decoded_crc32c}))
}

/// Statistics of an array's valid samples, physical units: n, n_valid, min, max, sum_sq.
#[pyfunction]
pub fn field_stats<'py>(
    py: Python<'py>,
    array: &Bound<'py, PyAny>,
    configuration: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let (x, _) = samples_of(array)?;
    let spec = spec_from(configuration, &x)?;
    let field = py.detach(|| {
        let mut field = FieldStats::default();
        let valid = valid_of(&x, &spec.missing);
        match_samples!(&x, v => field.add(v, valid.as_deref(), spec.affine));
        field
    });
    field_to_dict(py, &field)
}

/// Errors of `decoded` against `original` as JSON: bounds' terms, moments, distributions, SSIM.
#[pyfunction]
pub fn compare(
    py: Python<'_>,
    original: &Bound<'_, PyAny>,
    decoded: &Bound<'_, PyAny>,
    scale: f64,
    offset: f64,
    missing: Vec<u64>,
) -> PyResult<String> {
    let ((x, shape), (y, other)) = (samples_of(original)?, samples_of(decoded)?);
    if shape != other || x.dtype() != y.dtype() {
        let what = format!("{} {shape:?} against {} {other:?}: both must be alike", x.dtype(), y.dtype());
        return Err(PyValueError::new_err(what));
    }
    let judged = py.detach(|| {
        let mut comparer = Comparer::new(&shape, Affine { scale, offset });
        comparer.add_block(&x, &y, &vec![0; shape.len()], &shape, valid_of(&x, &missing).as_deref())?;
        Ok(comparer.finish())
    });
    serde_json::to_string(&judged.map_err(errors::codec)?).map_err(|e| PyValueError::new_err(e.to_string()))
}

fn valid_of(x: &Samples, missing: &[u64]) -> Option<Vec<bool>> {
    match_samples!(x, v => Mask::of(v, missing)).map(|m| m.valid())
}

/// Bytes of anything with a buffer.
pub fn bytes_of(object: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    PyBuffer::<u8>::get(object)?.to_vec(object.py())
}

/// Parsed JSON.
pub fn json_of(text: &str) -> PyResult<serde_json::Value> {
    serde_json::from_str(text).map_err(|e| PyValueError::new_err(format!("configuration: {e}")))
}

/// Statistics as a dictionary of numbers that add up.
pub fn field_to_dict<'py>(py: Python<'py>, f: &FieldStats) -> PyResult<Bound<'py, PyDict>> {
    Ok(dict!(py, {"n": f.n, "n_valid": f.n_valid, "min": f.min, "max": f.max, "sum_sq": f.sum_sq}))
}

/// Errors as a dictionary of numbers that add up.
pub fn errors_to_dict<'py>(py: Python<'py>, e: &ErrorStats) -> PyResult<Bound<'py, PyDict>> {
    Ok(dict!(py, {
        "field": field_to_dict(py, &e.field)?, "n_changed": e.n_changed, "n_mask_changed": e.n_mask_changed,
        "max_abs": e.max_abs, "max_rel": e.max_rel, "sum_sq_err": e.sum_sq_err, "sum_err": e.sum_err,
    }))
}

/// The inverse of [`field_to_dict`].
pub fn field_of_dict(dict: &Bound<'_, PyDict>) -> PyResult<FieldStats> {
    let get = |key: &str| dict.get_item(key)?.ok_or_else(|| PyValueError::new_err(format!("{key} is missing")));
    Ok(FieldStats {
        n: get("n")?.extract()?,
        n_valid: get("n_valid")?.extract()?,
        min: get("min")?.extract()?,
        max: get("max")?.extract()?,
        sum_sq: get("sum_sq")?.extract()?,
    })
}

/// The sample type called `name`.
pub fn dtype_of(name: &str) -> PyResult<Dtype> {
    Dtype::from_name(name).ok_or_else(|| PyValueError::new_err(format!("there is no sample type {name:?}")))
}
