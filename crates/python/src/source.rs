//! Open files for Python, and Python objects as files for the jobs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use lithify_io::model::{Group, Known, Values};
use lithify_io::zarr::ZarrSource;
use lithify_io::{formats, model};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::arrays::{array_of, samples_of};
use crate::errors;
use crate::tree;

/// An open file or store.
#[pyclass(frozen, module = "lithify._native")]
pub struct Source {
    inner: Opened,
}

enum Opened {
    Zarr(Box<ZarrSource>),
    Other(Box<dyn model::Source>),
}

impl Opened {
    fn source(&self) -> &dyn model::Source {
        match self {
            Self::Zarr(s) => s.as_ref(),
            Self::Other(s) => s.as_ref(),
        }
    }
}

#[pymethods]
impl Source {
    #[new]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let inner = py.detach(|| match ZarrSource::is_store(&path) {
            true => ZarrSource::open(&path).map(|s| Opened::Zarr(Box::new(s))),
            false => formats::open(&path).map(Opened::Other),
        });
        Ok(Self { inner: inner.map_err(errors::io)? })
    }

    /// Groups, dimensions, attributes, variables; no data.
    fn tree<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        tree::to_dict(py, self.inner.source().root())
    }

    /// The block `[start, start + count)`: an array, bytes for NC_CHAR, a list of strings.
    fn read<'py>(
        &self,
        py: Python<'py>,
        path: &str,
        start: Vec<usize>,
        count: Vec<usize>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let source = self.inner.source();
        match py.detach(|| source.read(path, &start, &count)).map_err(errors::io)? {
            Values::Numbers(x) => array_of(py, x, &count),
            Values::Chars(c) => Ok(PyBytes::new(py, &c).into_any()),
            Values::Strings(s) => Ok(PyList::new(py, s)?.into_any()),
        }
    }

    /// What an earlier lithify wrote about a variable, as JSON.
    fn certificate(&self, path: &str) -> Option<String> {
        self.inner.source().certificate(path).map(|c| c.to_string())
    }

    /// How the codec stores a variable: chunk, shard, configuration (JSON); None for other codecs.
    fn layout(&self, path: &str) -> Option<(Vec<usize>, Option<Vec<usize>>, String)> {
        let Opened::Zarr(store) = &self.inner else { return None };
        let layout = store.layout(path)?;
        Some((layout.chunk, layout.shard, layout.configuration.to_string()))
    }

    /// Bytes of a variable's chunks in a Zarr store.
    fn bytes_stored(&self, path: &str) -> PyResult<Option<u64>> {
        match &self.inner {
            Opened::Zarr(store) => store.bytes_stored(path).map(Some).map_err(errors::io),
            Opened::Other(_) => Ok(None),
        }
    }

    /// Every byte fetched from a Zarr store since it was opened, metadata included.
    #[getter]
    fn bytes_read(&self) -> Option<u64> {
        match &self.inner {
            Opened::Zarr(store) => Some(store.bytes_read()),
            Opened::Other(_) => None,
        }
    }

    /// Format for people.
    #[getter]
    fn format(&self) -> &'static str {
        self.inner.source().format()
    }

    /// What the file holds that cannot be had, one line each.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.inner.source().warnings()
    }
}

/// A file that is a tree and a function: `read(path, start, count)` gives a numpy array, bytes or strings.
pub struct PySource {
    root: Group,
    read: Py<PyAny>,
    known: BTreeMap<String, Known>,
    previous: BTreeMap<String, serde_json::Value>,
    /// What the function raised; the job ends with an error of its own.
    raised: Mutex<Option<PyErr>>,
}

impl PySource {
    /// From the dictionary that [`Source::tree`] gives.
    pub fn new(tree: &Bound<'_, PyDict>, read: Py<PyAny>) -> PyResult<Self> {
        let (known, previous) = Default::default();
        Ok(Self { root: tree::from_dict(tree)?, read, known, previous, raised: Mutex::default() })
    }

    /// With what is known of variables before they are read.
    pub fn with_known(self, known: BTreeMap<String, Known>) -> Self {
        Self { known, ..self }
    }

    /// With what an earlier lithify wrote about variables.
    pub fn with_previous(self, previous: BTreeMap<String, serde_json::Value>) -> Self {
        Self { previous, ..self }
    }

    /// What the function raised, if it did.
    pub fn take_raised(&self) -> Option<PyErr> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl model::Source for PySource {
    fn root(&self) -> &Group {
        &self.root
    }

    fn read(&self, path: &str, start: &[usize], count: &[usize]) -> lithify_io::Result<Values> {
        Python::attach(|py| {
            let values = || -> PyResult<Values> {
                let (start, count) = (PyTuple::new(py, start)?, PyTuple::new(py, count)?);
                let block = self.read.call1(py, (path, start, count))?.into_bound(py);
                if let Ok(bytes) = block.cast::<PyBytes>() {
                    return Ok(Values::Chars(bytes.as_bytes().to_vec()));
                }
                if let Ok(strings) = block.cast::<PyList>() {
                    return Ok(Values::Strings(strings.extract()?));
                }
                Ok(Values::Numbers(samples_of(&block)?.0))
            };
            values().map_err(|e| {
                let text = format!("{path} could not be read");
                let error = lithify_io::Error::invalid(text, &e);
                *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
                error
            })
        })
    }

    fn certificate(&self, path: &str) -> Option<serde_json::Value> {
        let noted = || serde_json::from_str(self.root.find(path).ok()?.attr("lithify")?.as_text()?).ok();
        self.previous.get(path).cloned().or_else(noted)
    }

    fn known(&self, path: &str) -> Known {
        self.known.get(path).copied().unwrap_or_default()
    }

    fn format(&self) -> &'static str {
        "xarray"
    }
}
