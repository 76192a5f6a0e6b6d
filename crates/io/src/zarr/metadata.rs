//! Zarr v3 metadata of groups and arrays, and how dimensions of the dataset model map to dimension names.

use lithify_codec::{Dtype, Samples};
use serde_json::{Map, Value, json};

use super::attrs::{self, MODEL};
use super::{Layout, codec};
use crate::error::{Error, Result};
use crate::model::{DataType, Dimension, Group, Variable};

/// Checks a layout and gives the metadata of an array coded by `lithify`.
pub(super) fn coded_array(path: &str, variable: &Variable, layout: &Layout) -> Result<Value> {
    let n = variable.shape.len();
    let dtype = variable.dtype().ok_or_else(|| Error::invalid("only numbers can be coded by lithify", path))?;
    codec::spec_of(&layout.configuration, dtype)?;
    let whole = |c: &[usize]| c.len() == n && c.iter().all(|d| *d > 0);
    if !whole(&layout.chunk) {
        return Err(Error::invalid(
            format!("the chunks of {path} need {n} lengths above 0"),
            format!("{:?}", layout.chunk),
        ));
    }
    let coded = json!([{"name": codec::NAME, "configuration": layout.configuration}]);
    let (grid, codecs) = match &layout.shard {
        None => (&layout.chunk, coded),
        Some(shard) => {
            if n == 0 || !whole(shard) || (0..n).any(|d| shard[d] % layout.chunk[d] > 0) {
                let what = format!("the shards of {path} must be multiples of its chunks {:?}", layout.chunk);
                return Err(Error::invalid(what, format!("{shard:?}")));
            }
            let index = json!([{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]);
            let configuration = json!({
                "chunk_shape": layout.chunk, "codecs": coded, "index_codecs": index, "index_location": "end"
            });
            (shard, json!([{"name": "sharding_indexed", "configuration": configuration}]))
        }
    };
    Ok(array(variable, grid, codecs))
}

/// Where [`coded_array`] put the codec's configuration.
pub(super) fn configuration_mut(array: &mut Value) -> Option<&mut Value> {
    let sharded = array.pointer("/codecs/0/name").is_some_and(|name| name != codec::NAME);
    array.pointer_mut(if sharded {
        "/codecs/0/configuration/codecs/0/configuration"
    } else {
        "/codecs/0/configuration"
    })
}

/// Metadata of an array with these chunks and codecs.
pub(super) fn array(variable: &Variable, chunk: &[usize], codecs: Value) -> Value {
    let (mut attributes, typed) = attrs::to_json(&variable.attrs, Some(variable.data_type));
    let mut model = Map::new();
    if variable.data_type == DataType::Char {
        model.insert("type".into(), "char".into());
    }
    if let Some(chunks) = &variable.chunks {
        model.insert("chunks".into(), chunks.as_slice().into());
    }
    if !typed.is_empty() {
        model.insert("attributes".into(), typed.into());
    }
    if !model.is_empty() {
        attributes.insert(MODEL.into(), model.into());
    }
    let (data_type, fill_value) = match variable.data_type {
        DataType::Number(d) => (d.name(), fill_to_json(d, fill_of(variable))),
        DataType::Char => ("uint8", 0.into()),
        DataType::String => ("string", "".into()),
    };
    json!({
        "zarr_format": 3,
        "node_type": "array",
        "shape": variable.shape,
        "data_type": data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill_value,
        "codecs": codecs,
        "attributes": attributes,
        "dimension_names": variable.dims,
    })
}

/// Bits of the fill value: `_FillValue` if it is of the array's type, else 0.
pub(super) fn fill_of(variable: &Variable) -> u64 {
    match variable.attr("_FillValue") {
        Some(crate::model::AttrValue::Numbers(n)) if n.len() == 1 && Some(n.dtype()) == variable.dtype() => n.bits(0),
        _ => 0,
    }
}

/// A fill value as Zarr v3 writes it; NaN other than the usual one by its bits.
fn fill_to_json(dtype: Dtype, bits: u64) -> Value {
    let one = Samples::filled(dtype, 1, bits);
    let v = one.f64(0);
    let usual_nan = match dtype {
        Dtype::F32 => u64::from(f32::NAN.to_bits()),
        _ => f64::NAN.to_bits(),
    };
    if dtype.is_float() && !v.is_finite() {
        return match v {
            f64::INFINITY => "Infinity".into(),
            f64::NEG_INFINITY => "-Infinity".into(),
            _ if bits == usual_nan => "NaN".into(),
            _ => format!("{bits:#0width$x}", width = 2 + 2 * dtype.size()).into(),
        };
    }
    lithify_codec::match_samples!(&one, v => Value::from(v[0]))
}

/// Metadata of a group; the dimensions are written where the arrays alone would not give them back.
pub(super) fn group(group: &Group, inferred: &[Dimension], is_root: bool) -> Value {
    let (mut attributes, typed) = attrs::to_json(&group.attrs, None);
    let mut model = Map::new();
    if is_root {
        model.insert("version".into(), 1.into());
    }
    if group.classic {
        model.insert("classic".into(), true.into());
    }
    if inferred != group.dims {
        let dims = group.dims.iter().map(|d| match d.unlimited {
            true => json!({"name": d.name, "size": d.len, "unlimited": true}),
            false => json!({"name": d.name, "size": d.len}),
        });
        model.insert("dimensions".into(), dims.collect());
    }
    if !typed.is_empty() {
        model.insert("attributes".into(), typed.into());
    }
    if !model.is_empty() {
        attributes.insert(MODEL.into(), model.into());
    }
    json!({"zarr_format": 3, "node_type": "group", "attributes": attributes})
}

/// Dimensions that [`group`] wrote down.
pub(super) fn dims_of(attributes: &Map<String, Value>) -> Vec<Dimension> {
    let recorded = attributes.get(MODEL).and_then(|m| m.get("dimensions")).and_then(Value::as_array);
    let dim = |v: &Value| {
        Some(Dimension {
            name: v.get("name")?.as_str()?.into(),
            len: usize::try_from(v.get("size")?.as_u64()?).ok()?,
            unlimited: v.get("unlimited").and_then(Value::as_bool).unwrap_or(false),
        })
    };
    recorded.into_iter().flatten().filter_map(dim).collect()
}

/// Adds the dimensions that the variables need and no group defines. Zarr lets one name have two lengths in a group; the second
/// is renamed to `name_length`.
pub(super) fn infer_dims(group: &mut Group, visible: &[Dimension]) {
    for variable in &mut group.variables {
        for (name, &len) in variable.dims.iter_mut().zip(&variable.shape) {
            let find = |name: &str| {
                let here = group.dims.iter().find(|d| d.name == name);
                (here.map(|d| d.len), visible.iter().rev().find(|d| d.name == name).map(|d| d.len))
            };
            match find(name) {
                (Some(l), _) | (None, Some(l)) if l == len => continue,
                (Some(_), _) => *name = format!("{name}_{len}"),
                (None, _) => {}
            }
            if find(name).0.is_none() {
                group.dims.push(Dimension { name: name.clone(), len, unlimited: false });
            }
        }
    }
    let below: Vec<Dimension> = visible.iter().chain(&group.dims).cloned().collect();
    for sub in &mut group.groups {
        infer_dims(sub, &below);
    }
}
