//! What stores of any writer say of their arrays, brought to the dataset model.

use lithify_codec::{Dtype, block::n_samples};
use serde_json::{Map, Value, json};
use zarrs::array::{Array, DataTypeSize};

use super::Layout;
use super::codec::{NAME, samples_from_native};
use crate::model::{DataType, Values};

/// Most bytes of a decoded chunk, and of the index of a shard.
const MAX_CHUNK: usize = 1 << 31;

/// How elements lie in the array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// A sample type of ours.
    Number(Dtype),
    /// One byte, 0 or 1.
    Bool,
    /// One byte of text.
    Char,
    /// Strings of any length.
    Strings,
    /// Strings of so many 32-bit code points, padded with 0.
    Utf32(usize),
    /// Strings of so many bytes, padded with 0.
    Bytes(usize),
}

impl Stored {
    pub(super) fn of<S: ?Sized>(name: &str, array: &Array<S>, is_char: bool, bytes: Option<usize>) -> Option<Self> {
        let fixed = match array.data_type().size() {
            DataTypeSize::Fixed(n) => n,
            DataTypeSize::Variable => 0,
        };
        Some(match (name, bytes) {
            (_, Some(1)) => Self::Char,
            (_, Some(n)) => Self::Bytes(n),
            ("uint8", None) if is_char => Self::Char,
            ("bool", None) => Self::Bool,
            ("string", None) => Self::Strings,
            ("fixed_length_utf32", None) => Self::Utf32(fixed / 4),
            (name, None) => Self::Number(Dtype::from_name(name)?),
        })
    }

    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Number(d) => DataType::Number(d),
            Self::Bool => DataType::Number(Dtype::U8),
            Self::Char => DataType::Char,
            Self::Strings | Self::Utf32(_) | Self::Bytes(_) => DataType::String,
        }
    }

    /// The sample type of the variable.
    pub(super) fn dtype(self) -> Option<Dtype> {
        match self.data_type() {
            DataType::Number(d) => Some(d),
            _ => None,
        }
    }

    /// No values.
    pub(super) fn empty(self) -> Values {
        match self {
            Self::Strings => Values::Strings(Vec::new()),
            other => other.values(&[]),
        }
    }

    /// Values from the bytes of an array of elements of fixed size, in this machine's byte order.
    pub(super) fn values(self, bytes: &[u8]) -> Values {
        match self {
            Self::Number(d) => Values::Numbers(samples_from_native(d, bytes)),
            Self::Bool => Values::Numbers(samples_from_native(Dtype::U8, bytes)),
            Self::Char => Values::Chars(bytes.to_vec()),
            Self::Strings => Values::Strings(Vec::new()),
            Self::Bytes(n) => {
                let text = |e: &[u8]| String::from_utf8_lossy(e).trim_end_matches('\0').to_string();
                Values::Strings(bytes.chunks_exact(n.max(1)).map(text).collect())
            }
            Self::Utf32(n) => {
                let point = |c: &[u8; 4]| char::from_u32(u32::from_ne_bytes(*c)).unwrap_or(char::REPLACEMENT_CHARACTER);
                let text =
                    |e: &[u8]| e.as_chunks().0.iter().map(point).collect::<String>().trim_end_matches('\0').to_string();
                Values::Strings(bytes.chunks_exact(4 * n.max(1)).map(text).collect())
            }
        }
    }
}

pub(super) fn is_array(meta: &Value) -> bool {
    meta.get("node_type").and_then(Value::as_str) == Some("array") || meta.get("dtype").is_some()
}

/// Whether metadata are a group's.
pub(super) fn is_group(meta: &Value) -> bool {
    let version = meta.get("zarr_format").and_then(Value::as_u64);
    meta.get("node_type").and_then(Value::as_str) == Some("group") || version == Some(2)
}

/// Byte strings of fixed length, which zarrs does not know, as bytes or raw bits, which have the same codecs. Their length comes
/// with the metadata.
pub(super) fn bytes_as_integers(mut meta: Value) -> (Value, Option<usize>) {
    let v2 = meta.get("dtype").and_then(Value::as_str).and_then(|t| t.strip_prefix("|S")).and_then(|n| n.parse().ok());
    let v3 = meta.get("data_type").filter(|t| t.get("name").is_some_and(|n| n == "null_terminated_bytes"));
    let v3 = v3.and_then(|t| t.pointer("/configuration/length_bytes")).and_then(Value::as_u64);
    let n: usize = match (v2, v3) {
        (Some(n), _) => n,
        (_, Some(n)) => n as usize,
        _ => {
            // zarrs wants a fill value for these strings, which need none.
            let utf32 = meta.get("dtype").and_then(Value::as_str).is_some_and(|t| t.contains('U'));
            if utf32 && meta.get("fill_value").is_none_or(Value::is_null) {
                meta["fill_value"] = "".into();
            }
            return (meta, None);
        }
    };
    let name = match (n, v2.is_some()) {
        (1, true) => "|u1".to_string(),
        (1, false) => "uint8".to_string(),
        (n, true) => format!("|V{n}"),
        (n, false) => format!("r{}", n.saturating_mul(8)),
    };
    let zeros = |n: usize| vec![0; n.min(1 << 16)];
    let (key, fill) = match (n, v2.is_some()) {
        (1, true) => ("dtype", json!(0)),
        (n, true) => ("dtype", json!(zeros(n))),
        (1, false) => ("data_type", json!(0)),
        (n, false) => ("data_type", json!(zeros(n))),
    };
    meta[key] = name.into();
    meta["fill_value"] = fill;
    (meta, Some(n))
}

/// Shapes that no memory could hold are refused here. Returns the shape of the (inner) chunks.
pub(super) fn check_sizes(meta: &Value) -> Result<Vec<usize>, String> {
    let shape = meta.get("shape").and_then(lengths).ok_or("the shape is missing")?;
    // 64 bytes are more than any element of fixed length that is read.
    n_samples(&shape).and_then(|n| n.checked_mul(64)).ok_or(format!("shape {shape:?} is too large"))?;
    let grid = meta.pointer("/chunk_grid/configuration/chunk_shape").or(meta.get("chunks"));
    let grid = grid.and_then(lengths).ok_or("only regular chunk grids can be read")?;
    if grid.len() != shape.len() || grid.contains(&0) {
        return Err(format!("chunks {grid:?} do not fit shape {shape:?}"));
    }
    let mut chunk = grid;
    let mut codecs = meta.get("codecs");
    while let Some(sharding) = codecs.and_then(|c| named(c, "sharding_indexed")) {
        let inner = sharding.get("chunk_shape").and_then(lengths).ok_or("a shard without chunks")?;
        if inner.len() != chunk.len() || inner.contains(&0) || chunk.iter().zip(&inner).any(|(s, c)| s % c > 0) {
            return Err(format!("chunks {inner:?} do not fit shards {chunk:?}"));
        }
        let per: Vec<usize> = chunk.iter().zip(&inner).map(|(s, c)| s / c).collect();
        n_samples(&per).filter(|n| *n <= MAX_CHUNK / 16).ok_or(format!("shards of {per:?} chunks are too large"))?;
        chunk = inner;
        codecs = sharding.get("codecs");
    }
    // Payloads of our own codec end where the array ends, so that only this part is ever decoded.
    let is_ours = codecs.is_some_and(|c| named(c, NAME).is_some());
    let decoded: Vec<usize> =
        (0..chunk.len()).map(|d| if is_ours { chunk[d].min(shape[d]) } else { chunk[d] }).collect();
    let size = element_size(meta);
    n_samples(&decoded)
        .and_then(|n| n.checked_mul(size))
        .filter(|n| *n <= MAX_CHUNK)
        .ok_or(format!("chunks of shape {chunk:?} are larger than {MAX_CHUNK} bytes"))?;
    Ok(chunk)
}

/// Bytes of an element, from the digits of its type's name; 8 where there are none, and for strings.
fn element_size(meta: &Value) -> usize {
    let digits = |s: &str| s.chars().filter(char::is_ascii_digit).collect::<String>().parse().ok();
    let in_bytes = meta.get("dtype").and_then(Value::as_str).and_then(digits);
    let in_bits = meta.get("data_type").and_then(Value::as_str).and_then(digits).map(|bits: usize| bits.div_ceil(8));
    let configured = meta.pointer("/data_type/configuration/length_bytes").and_then(Value::as_u64).map(|n| n as usize);
    in_bytes.or(in_bits).or(configured).unwrap_or(8).max(1)
}

/// The configuration of the codec `name`, if it is one of these codecs.
fn named<'a>(codecs: &'a Value, name: &str) -> Option<&'a Map<String, Value>> {
    let codec = codecs.as_array()?.iter().find(|c| c.get("name").is_some_and(|n| n == name))?;
    codec.get("configuration")?.as_object()
}

/// How `lithify`, and it alone, codes the array.
pub(super) fn layout(meta: &Value) -> Option<Layout> {
    let grid = lengths(meta.pointer("/chunk_grid/configuration/chunk_shape")?)?;
    let alone = |codecs: &Value| -> Option<Value> {
        let [codec] = codecs.as_array()?.as_slice() else { return None };
        let name = codec.get("name").or(Some(codec))?;
        (name == NAME).then(|| codec.get("configuration").cloned().unwrap_or_else(|| json!({})))
    };
    let codecs = meta.get("codecs")?;
    if let Some(configuration) = alone(codecs) {
        return Some(Layout { chunk: grid, shard: None, configuration });
    }
    let sharding = named(codecs, "sharding_indexed").filter(|_| codecs.as_array().is_some_and(|c| c.len() == 1))?;
    let configuration = alone(sharding.get("codecs")?)?;
    // Any other place or coding of the index is left to zarrs.
    let at_end = sharding.get("index_location").is_none_or(|l| l == "end");
    let [bytes, crc] = sharding.get("index_codecs")?.as_array()?.as_slice() else { return None };
    let little = bytes.pointer("/configuration/endian").is_some_and(|e| e == "little");
    if !at_end || !little || crc.get("name").or(Some(crc))? != "crc32c" {
        return None;
    }
    Some(Layout { chunk: lengths(sharding.get("chunk_shape")?)?, shard: Some(grid), configuration })
}

/// Names of the dimensions; those without a name are called after their length.
pub(super) fn dimension_names(meta: &Value, attributes: &Map<String, Value>, shape: &[usize]) -> Vec<String> {
    let names = meta.get("dimension_names").or(attributes.get("_ARRAY_DIMENSIONS")).and_then(Value::as_array);
    let name = |d: usize| names?.get(d)?.as_str().filter(|n| !n.is_empty()).map(str::to_string);
    (0..shape.len()).map(|d| name(d).unwrap_or_else(|| format!("dim_{}", shape[d]))).collect()
}

/// An array of lengths.
pub(super) fn lengths(value: &Value) -> Option<Vec<usize>> {
    value.as_array()?.iter().map(|d| usize::try_from(d.as_u64()?).ok()).collect()
}

/// The cause at the bottom of an error: it names the codec or data type.
pub(super) fn innermost(e: &dyn std::error::Error) -> String {
    let mut cause = e;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
