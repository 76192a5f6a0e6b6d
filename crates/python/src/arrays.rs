//! numpy arrays to samples and back.
//!
//! Samples that come out are handed over to numpy without a copy; what goes in is copied once, since another thread may change it
//! while the interpreter is released.

use lithify_codec::{Dtype, Samples, match_samples};
use numpy::{IntoPyArray, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// The samples of an array in C order and this machine's byte order, and its shape.
pub fn samples_of(array: &Bound<'_, PyAny>) -> PyResult<(Samples, Vec<usize>)> {
    let shape = array
        .cast::<PyUntypedArray>()
        .map_err(|_| PyTypeError::new_err(format!("a numpy array is needed, not {}", type_name(array))))?
        .shape()
        .to_vec();
    macro_rules! try_types {
        ($($t:ty => $variant:ident),*) => {$(
            if let Ok(typed) = array.cast::<PyArrayDyn<$t>>() {
                let view: PyReadonlyArrayDyn<'_, $t> = typed.readonly();
                let slice = view.as_slice().map_err(|_| PyValueError::new_err("the array must be in C order"))?;
                return Ok((Samples::$variant(slice.to_vec()), shape));
            }
        )*};
    }
    try_types!(f32 => F32, f64 => F64, i8 => I8, i16 => I16, i32 => I32, i64 => I64, u8 => U8, u16 => U16, u32 => U32, u64 => U64);
    let dtype = array.getattr("dtype").map(|d| d.to_string()).unwrap_or_default();
    let names: Vec<_> = (1..=10).filter_map(|id| Some(Dtype::from_wire(id).ok()?.name())).collect();
    Err(PyTypeError::new_err(format!("dtype {dtype} cannot be compressed; there are {}", names.join(", "))))
}

/// An array of this shape that owns the samples.
pub fn array_of<'py>(py: Python<'py>, samples: Samples, shape: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    match_samples!(samples, v => Ok(v.into_pyarray(py).reshape(shape)?.into_any()))
}

fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map(|n| n.to_string()).unwrap_or_default()
}
