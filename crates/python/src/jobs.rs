//! Jobs over whole files. Results are JSON, as the command line's `--json`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lithify_io::formats;
use lithify_io::job::compress::{Options, Outcome};
use lithify_io::job::{self, Context, Progress};
use lithify_io::zarr::ZarrSource;
use pyo3::exceptions::PyRuntimeWarning;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::json;

use crate::errors;
use crate::source::PySource;

/// Options of a compression as Python gives them.
pub struct Asked<'a> {
    pub bounds: Vec<String>,
    pub codec: &'a str,
    pub effort: u8,
    pub chunks: Vec<(String, usize)>,
    pub variables: Vec<String>,
    pub force: bool,
}

impl Asked<'_> {
    /// Parsed and checked.
    pub fn options(self) -> PyResult<Options> {
        check_effort(self.effort)?;
        let bounds = self.bounds.iter().map(|b| b.parse().map_err(errors::codec));
        Ok(Options {
            bounds: bounds.collect::<PyResult<_>>()?,
            codec: lithify_io::learned::codec(self.codec).map_err(errors::io)?,
            effort: self.effort,
            chunks: self.chunks.into_iter().collect(),
            variables: self.variables,
            force: self.force,
            embed_model: false,
        })
    }
}

/// Fails unless it is one of the levels.
pub fn check_effort(effort: u8) -> PyResult<()> {
    match effort {
        1..=9 => Ok(()),
        _ => Err(errors::io(lithify_io::Error::invalid("effort must be 1 to 9", effort))),
    }
}

/// Runs a job with the interpreter released. Ctrl-C, or an exception of `progress(variable, raw_bytes, coded_bytes)`, ends it.
pub fn run<T: Send>(
    py: Python<'_>,
    threads: usize,
    progress: Option<Py<PyAny>>,
    job: impl FnOnce(&Context<'_>) -> lithify_io::Result<T> + Send,
) -> PyResult<T> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised: Mutex<Option<PyErr>> = Mutex::default();
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    };
    let result = py.detach(|| {
        let tell = |p: Progress<'_>| {
            let told = Python::attach(|py| {
                py.check_signals()?;
                match &progress {
                    Some(f) => f.call1(py, (p.variable, p.raw_bytes, p.coded_bytes)).map(drop),
                    None => Ok(()),
                }
            });
            if let Err(e) = told {
                stop.store(true, Ordering::Relaxed);
                raised.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
            }
        };
        job(&Context { threads, progress: &tell, stop: &stop })
    });
    match raised.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(e) => Err(e),
        None => result.map_err(errors::io),
    }
}

/// A file to a store.
#[pyfunction]
#[pyo3(signature = (input, output, bounds, codec, effort, chunks, variables, force, threads, progress=None))]
#[allow(clippy::too_many_arguments)] // one caller, in Python, with names
pub fn compress_file(
    py: Python<'_>,
    input: PathBuf,
    output: PathBuf,
    bounds: Vec<String>,
    codec: &str,
    effort: u8,
    chunks: Vec<(String, usize)>,
    variables: Vec<String>,
    force: bool,
    threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let options = Asked { bounds, codec, effort, chunks, variables, force }.options()?;
    let mut warnings = Vec::new();
    let (path, outcomes) = run(py, threads, progress, |context| {
        let source = formats::open(&input)?;
        job::compress::compress(source.as_ref(), &output, &options, context, &mut |w| warnings.push(w))
    })?;
    warn(py, &warnings)?;
    Ok(report(&path, &outcomes))
}

/// A tree and a function that reads it (see `Source`) to a store.
#[pyfunction]
#[pyo3(signature = (tree, read, output, bounds, codec, effort, chunks, variables, force, threads, progress=None))]
#[allow(clippy::too_many_arguments)] // one caller, in Python, with names
pub fn compress(
    py: Python<'_>,
    tree: &Bound<'_, PyDict>,
    read: Py<PyAny>,
    output: PathBuf,
    bounds: Vec<String>,
    codec: &str,
    effort: u8,
    chunks: Vec<(String, usize)>,
    variables: Vec<String>,
    force: bool,
    threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let source = PySource::new(tree, read)?;
    let options = Asked { bounds, codec, effort, chunks, variables, force }.options()?;
    let mut warnings = Vec::new();
    let done = run(py, threads, progress, |context| {
        job::compress::compress(&source, &output, &options, context, &mut |w| warnings.push(w))
    });
    let (path, outcomes) = done.map_err(|e| source.take_raised().unwrap_or(e))?;
    warn(py, &warnings)?;
    Ok(report(&path, &outcomes))
}

/// More of the same to a store, from a file.
#[pyfunction]
#[pyo3(signature = (input, store, dim, threads, progress=None))]
pub fn append_file(
    py: Python<'_>,
    input: PathBuf,
    store: PathBuf,
    dim: &str,
    threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let mut warnings = Vec::new();
    let appended = run(py, threads, progress, |context| {
        let source = formats::open(&input)?;
        job::append::append(source.as_ref(), &store, dim, context, &mut |w| warnings.push(w))
    })?;
    warn(py, &warnings)?;
    Ok(appended_report(&appended))
}

/// More of the same to a store, from a tree and a function that reads it (see `Source`).
#[pyfunction]
#[pyo3(signature = (tree, read, store, dim, threads, progress=None))]
pub fn append(
    py: Python<'_>,
    tree: &Bound<'_, PyDict>,
    read: Py<PyAny>,
    store: PathBuf,
    dim: &str,
    threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let source = PySource::new(tree, read)?;
    let mut warnings = Vec::new();
    let done = run(py, threads, progress, |context| {
        job::append::append(&source, &store, dim, context, &mut |w| warnings.push(w))
    });
    let appended = done.map_err(|e| source.take_raised().unwrap_or(e))?;
    warn(py, &warnings)?;
    Ok(appended_report(&appended))
}

fn appended_report(a: &job::append::Appended) -> String {
    let variables: Vec<_> = a.outcomes.iter().map(Outcome::json).collect();
    json!({"output": a.path, "start": a.start, "stop": a.stop, "variables": variables}).to_string()
}

/// A store, or any file, to a plain file.
#[pyfunction]
#[pyo3(signature = (input, output, force, lineage, threads, progress=None))]
pub fn decompress_file(
    py: Python<'_>,
    input: PathBuf,
    output: PathBuf,
    force: bool,
    lineage: bool,
    threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<PathBuf> {
    run(py, threads, progress, |context| {
        let source = formats::open(&input)?;
        job::decompress::decompress(source.as_ref(), &output, force, lineage, context)
    })
}

/// Checks a store, against the original if there is one.
#[pyfunction]
#[pyo3(signature = (store, against, threads, progress=None))]
pub fn verify_store(
    py: Python<'_>,
    store: PathBuf,
    against: Option<PathBuf>,
    threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let verdicts = run(py, threads, progress, |context| {
        let source = ZarrSource::open(&store)?;
        let original = against.as_deref().map(formats::open).transpose()?;
        job::verify::verify(&source, original.as_deref(), context)
    })?;
    let variables: Vec<_> = verdicts.iter().map(job::verify::Verdict::json).collect();
    let ok = verdicts.iter().all(|v| v.problems.is_empty());
    Ok(json!({"store": store, "ok": ok, "variables": variables}).to_string())
}

/// Outcomes as the command line prints them.
pub fn report(path: &std::path::Path, outcomes: &[Outcome]) -> String {
    json!({"output": path, "variables": outcomes.iter().map(Outcome::json).collect::<Vec<_>>()}).to_string()
}

/// Warnings as Python's.
pub fn warn(py: Python<'_>, warnings: &[String]) -> PyResult<()> {
    let category = py.get_type::<PyRuntimeWarning>();
    for w in warnings {
        let text = std::ffi::CString::new(w.replace('\0', " "))?;
        PyErr::warn(py, &category, &text, 2)?;
    }
    Ok(())
}
