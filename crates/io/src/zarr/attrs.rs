//! Attributes as JSON and back.
//!
//! JSON knows neither sample types nor NaN. Attributes are written as xarray writes and reads them; where that loses something,
//! the attribute `lithify_model` of the same array or group says the rest, under `attributes`:
//!
//! - `{"type": "int16"}`: the type of an attribute that is there as plain JSON;
//! - `{"type": "float32", "bits": ["0x7fc00000"], "at": 3}`: an attribute with NaN or infinities, which plain JSON would turn into
//!   something that breaks other readers, and its place among the others;
//! - `{"type": "text", "value": "x", "at": 0}`: text that other readers would take for something else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lithify_codec::{Dtype, Sample, Samples, match_dtype, match_samples};
use serde_json::{Map, Value, json};

use crate::model::{AttrValue, Attribute, DataType};

/// The attribute that holds what JSON and Zarr cannot say.
pub(super) const MODEL: &str = "lithify_model";
/// The attribute that holds the promise and what became of it; an object, not for the dataset model.
pub(super) const CERTIFICATE: &str = "lithify";
/// Marks the JSON tokens NaN, Infinity and -Infinity, which Python writes though JSON lacks them, once read as strings.
pub(super) const TOKEN: char = '\u{1}';

/// Attributes as plain JSON, and the entries of `lithify_model` that make them exact. `of` is the array's element type.
pub(super) fn to_json(attrs: &[Attribute], of: Option<DataType>) -> (Map<String, Value>, Map<String, Value>) {
    let (mut plain, mut model) = (Map::new(), Map::new());
    let visible = attrs.iter().filter(|a| a.name != MODEL);
    for (at, Attribute { name, value }) in visible.enumerate() {
        // xarray decodes _FillValue by the array's type and fails where it is not of that type.
        let fill = name == "_FillValue" && of.is_some();
        match value {
            AttrValue::Text(s) if fill => {
                model.insert(name.clone(), json!({"type": "text", "value": s, "at": at}));
            }
            AttrValue::Strings(v) if fill => {
                model.insert(name.clone(), json!({"type": "string", "value": v, "at": at}));
            }
            AttrValue::Text(s) => {
                plain.insert(name.clone(), s.as_str().into());
            }
            AttrValue::Strings(v) => {
                let one = v.len() == 1;
                plain.insert(name.clone(), if one { v[0].as_str().into() } else { v.as_slice().into() });
                if v.len() < 2 {
                    model.insert(name.clone(), json!({"type": "string"}));
                }
            }
            AttrValue::Numbers(n) if fill && n.len() == 1 && of == Some(DataType::Number(n.dtype())) => {
                plain.insert(name.clone(), fill_to_json(n));
            }
            AttrValue::Numbers(n) => {
                let dtype = n.dtype();
                let mut numbers = match_samples!(n, v => v.iter().map(|x| Value::from(*x)).collect::<Vec<_>>());
                if fill || numbers.iter().any(Value::is_null) {
                    let bits: Vec<_> = (0..n.len()).map(|i| format!("{:#x}", n.bits(i))).collect();
                    model.insert(name.clone(), json!({"type": dtype.name(), "bits": bits, "at": at}));
                    continue;
                }
                let default = if dtype.is_float() { Dtype::F64 } else { Dtype::I64 };
                if dtype != default || numbers.is_empty() {
                    model.insert(name.clone(), json!({"type": dtype.name()}));
                }
                let value = if numbers.len() == 1 { numbers.remove(0) } else { numbers.into() };
                plain.insert(name.clone(), value);
            }
        }
    }
    (plain, model)
}

/// `_FillValue` as xarray writes it: floats as base64 of the little-endian f64.
fn fill_to_json(value: &Samples) -> Value {
    if value.dtype().is_float() {
        BASE64.encode(value.f64(0).to_le_bytes()).into()
    } else {
        match_samples!(value, v => Value::from(v[0]))
    }
}

/// The inverse of [`to_json`]; plain JSON of other writers becomes i64, f64 and text. `fill` is the array's type and fill value.
pub(super) fn from_json(plain: &Map<String, Value>, fill: Option<&Samples>) -> Vec<Attribute> {
    let empty = Map::new();
    let model = plain.get(MODEL).and_then(|m| m.get("attributes")).and_then(Value::as_object).unwrap_or(&empty);
    let mut out = Vec::new();
    for (name, value) in plain {
        if name == MODEL || (name == CERTIFICATE && value.is_object()) {
            continue;
        }
        let kind = model.get(name).and_then(|m| m.get("type")).and_then(Value::as_str);
        let value = match fill {
            Some(fill) if name == "_FillValue" => fill_from_json(value, fill).map(AttrValue::Numbers),
            _ => None,
        }
        .unwrap_or_else(|| value_from_json(value, kind));
        out.push(Attribute { name: name.clone(), value });
    }
    for (name, entry) in model {
        let value = match (entry.get("value"), entry.get("bits").and_then(Value::as_array)) {
            (Some(value), _) => value_from_json(value, entry.get("type").and_then(Value::as_str)),
            (None, Some(bits)) => match numbers_from_bits(bits, entry.get("type")) {
                Some(n) => AttrValue::Numbers(n),
                None => continue,
            },
            (None, None) => continue,
        };
        let at = entry.get("at").and_then(Value::as_u64).map_or(out.len(), |at| (at as usize).min(out.len()));
        out.insert(at, Attribute { name: name.clone(), value });
    }
    out
}

fn fill_from_json(value: &Value, fill: &Samples) -> Option<Samples> {
    let dtype = fill.dtype();
    let coded = value.as_str().filter(|_| dtype.is_float()).and_then(|s| BASE64.decode(s).ok());
    let Some(bytes) = coded.and_then(|b| <[u8; 8]>::try_from(b).ok()) else {
        return numbers(std::slice::from_ref(value), dtype);
    };
    let v = f64::from_le_bytes(bytes);
    // Which NaN it was, only the array's own fill value still knows.
    if v.is_nan() && fill.f64(0).is_nan() {
        return Some(fill.clone());
    }
    Some(match_dtype!(dtype, T => T::wrap(vec![<T as Sample>::from_f64(v)])))
}

fn value_from_json(value: &Value, kind: Option<&str>) -> AttrValue {
    let dtype = kind.and_then(Dtype::from_name);
    let several = match value {
        Value::Array(v) => v.as_slice(),
        one => std::slice::from_ref(one),
    };
    let strings: Option<Vec<String>> = several.iter().map(|v| v.as_str().map(str::to_string)).collect();
    let default = || {
        let whole = |v: &Value| v.is_i64() || v.is_boolean();
        if several.iter().all(whole) {
            Dtype::I64
        } else if several.iter().all(|v| whole(v) || v.is_u64()) {
            Dtype::U64
        } else {
            Dtype::F64
        }
    };
    let is_empty_text = several.is_empty() && dtype.is_none();
    match (strings, numbers(several, dtype.unwrap_or_else(default))) {
        (_, Some(n)) if !is_empty_text => AttrValue::Numbers(n),
        (Some(mut v), _) if kind != Some("string") && value.is_string() => AttrValue::Text(v.remove(0)),
        (Some(v), _) => AttrValue::Strings(v),
        _ => AttrValue::Text(value.to_string().replace("\\u0001", "")),
    }
}

/// Numbers of a type, if all values are numbers (or were NaN or infinite before they became strings).
fn numbers(values: &[Value], dtype: Dtype) -> Option<Samples> {
    match_dtype!(dtype, T => values.iter().map(number::<T>).collect::<Option<Vec<_>>>().map(T::wrap))
}

fn number<T: Sample>(value: &Value) -> Option<T> {
    if !T::DTYPE.is_float() {
        let whole = value.as_i64().map(|v| v as u64).or(value.as_u64()).or(value.as_bool().map(u64::from));
        if let Some(bits) = whole {
            return Some(T::from_bits(bits));
        }
    }
    let not_json = || match value.as_str()?.strip_prefix(TOKEN)? {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    };
    value.as_f64().or_else(not_json).map(T::from_f64)
}

fn numbers_from_bits(bits: &[Value], dtype: Option<&Value>) -> Option<Samples> {
    let dtype = Dtype::from_name(dtype?.as_str()?)?;
    let parse = |v: &Value| u64::from_str_radix(v.as_str()?.strip_prefix("0x")?, 16).ok();
    let bits: Vec<u64> = bits.iter().map(parse).collect::<Option<_>>()?;
    Some(match_dtype!(dtype, T => T::wrap(bits.iter().map(|b| <T as Sample>::from_bits(*b)).collect())))
}

/// Parses JSON, accepting the tokens NaN, Infinity and -Infinity outside strings.
pub(super) fn parse(bytes: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(bytes).or_else(|error| match String::from_utf8(bytes.to_vec()) {
        Ok(text) => serde_json::from_str(&quote_tokens(&text)),
        Err(_) => Err(error),
    })
}

fn quote_tokens(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    // Every odd part lies inside a string, once escaped quotes are out of the way.
    let escaped = text.replace("\\\\", "\u{2}").replace("\\\"", "\u{3}");
    for (i, part) in escaped.split('"').enumerate() {
        if i > 0 {
            out.push('"');
        }
        if i % 2 == 1 {
            out.push_str(part);
            continue;
        }
        let marked = part.replace("-Infinity", "\u{4}").replace("Infinity", "\"\\u0001Infinity\"");
        out.push_str(&marked.replace('\u{4}', "\"\\u0001-Infinity\"").replace("NaN", "\"\\u0001NaN\""));
    }
    out.replace('\u{3}', "\\\"").replace('\u{2}', "\\\\")
}
