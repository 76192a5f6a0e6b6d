//! Groups, dimensions, attributes and variables as Python dictionaries, and back.
//!
//! A group is `{name, dims: [(name, length, unlimited)], attrs: {name: value}, variables: [..], groups: [..], classic}`, a variable
//! `{name, dims: [name], shape, type, attrs, chunks}` where `type` is a dtype's name, `char` or `string`. An attribute is a string, a list of
//! strings, or a one-dimensional numpy array.

use lithify_io::model::{AttrValue, Attribute, DataType, Dimension, Group, Variable};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use crate::arrays::{array_of, samples_of};
use crate::chunk::{dict, dtype_of};

/// A group and everything below it.
pub fn to_dict<'py>(py: Python<'py>, group: &Group) -> PyResult<Bound<'py, PyDict>> {
    let dims: Vec<_> = group.dims.iter().map(|d| (d.name.clone(), d.len, d.unlimited)).collect();
    let variables = group.variables.iter().map(|v| variable_to_dict(py, v)).collect::<PyResult<Vec<_>>>()?;
    let groups = group.groups.iter().map(|g| to_dict(py, g)).collect::<PyResult<Vec<_>>>()?;
    Ok(dict!(py, {
        "name": &group.name, "dims": dims, "attrs": attrs_to_dict(py, &group.attrs)?, "variables": variables,
        "groups": groups, "classic": group.classic,
    }))
}

fn variable_to_dict<'py>(py: Python<'py>, v: &Variable) -> PyResult<Bound<'py, PyDict>> {
    let kind = match v.data_type {
        DataType::Number(d) => d.name(),
        DataType::Char => "char",
        DataType::String => "string",
    };
    Ok(dict!(py, {
        "name": &v.name, "dims": &v.dims, "shape": &v.shape, "type": kind, "attrs": attrs_to_dict(py, &v.attrs)?,
        "chunks": v.chunks.as_ref(),
    }))
}

fn attrs_to_dict<'py>(py: Python<'py>, attrs: &[Attribute]) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    for a in attrs {
        match &a.value {
            AttrValue::Text(s) => out.set_item(&a.name, s)?,
            AttrValue::Strings(v) => out.set_item(&a.name, v)?,
            AttrValue::Numbers(n) => out.set_item(&a.name, array_of(py, n.clone(), &[n.len()])?)?,
        }
    }
    Ok(out)
}

/// The inverse of [`to_dict`].
pub fn from_dict(dict: &Bound<'_, PyDict>) -> PyResult<Group> {
    let dims: Vec<(String, usize, bool)> = get(dict, "dims")?.extract()?;
    let list = |key: &str| -> PyResult<Vec<Bound<'_, PyDict>>> { get(dict, key)?.extract() };
    Ok(Group {
        name: get(dict, "name")?.extract()?,
        dims: dims.into_iter().map(|(name, len, unlimited)| Dimension { name, len, unlimited }).collect(),
        attrs: attrs_from(&get(dict, "attrs")?)?,
        variables: list("variables")?.iter().map(variable_from).collect::<PyResult<_>>()?,
        groups: list("groups")?.iter().map(from_dict).collect::<PyResult<_>>()?,
        classic: get(dict, "classic")?.extract()?,
    })
}

fn variable_from(dict: &Bound<'_, PyDict>) -> PyResult<Variable> {
    let kind: String = get(dict, "type")?.extract()?;
    Ok(Variable {
        name: get(dict, "name")?.extract()?,
        dims: get(dict, "dims")?.extract()?,
        shape: get(dict, "shape")?.extract()?,
        data_type: match kind.as_str() {
            "char" => DataType::Char,
            "string" => DataType::String,
            name => DataType::Number(dtype_of(name)?),
        },
        attrs: attrs_from(&get(dict, "attrs")?)?,
        chunks: get(dict, "chunks")?.extract()?,
    })
}

fn attrs_from(object: &Bound<'_, PyAny>) -> PyResult<Vec<Attribute>> {
    let one = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let value = if let Ok(s) = value.cast::<PyString>() {
            AttrValue::Text(s.extract()?)
        } else if let Ok(list) = value.cast::<PyList>() {
            AttrValue::Strings(list.extract()?)
        } else {
            AttrValue::Numbers(samples_of(&value)?.0)
        };
        Ok(Attribute { name: name.extract()?, value })
    };
    object.cast::<PyDict>()?.iter().map(one).collect()
}

fn get<'py>(dict: &Bound<'py, PyDict>, key: &str) -> PyResult<Bound<'py, PyAny>> {
    dict.get_item(key)?.ok_or_else(|| PyValueError::new_err(format!("the tree lacks {key:?}")))
}
