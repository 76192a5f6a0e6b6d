//! The Zarr v3 array-to-bytes codec `lithify`: one chunk to one payload of [`lithify_codec`].
//!
//! # Configuration, every key optional
//! | key | meaning |
//! |---|---|
//! | `codec` | `tensor`, `hgfdr-blocked,rank=8`, ...; `lossless` if absent, which keeps every bound |
//! | `bound` | the promise as it was asked for: `abs=0.1,l2=1e-3`; `lossless` if absent |
//! | `resolved` | what the bound means for this variable: numbers `abs rel mse l2 l2_block step bits`, boolean `lossless` |
//! | `scale`, `offset` | CF packing: physical = `scale * stored + offset` |
//! | `missing` | bit patterns that mark missing samples, hexadecimal |
//! | `effort` | 1 to 9; 5 if absent |
//!
//! Bounds that need the whole variable (`range`, `l2`, `psnr`, `ratio`, `bytes`, `bits=auto`) must come with `resolved`. Decoding needs none of it: a payload
//! explains itself.
//!
//! # Shapes
//! A payload may be smaller than the chunk where the array ends inside it; decoding through Zarr pads it with the fill value.

use std::num::NonZeroU64;
use std::sync::Arc;

use lithify_codec::{
    Affine, ChunkSpec, Codec, Dtype, Promise, Samples, Tolerance, decode_chunk, encode_chunk, header,
    quantize::round::MOST_BITS, stats::FieldStats,
};
use serde_json::{Map, Value};
use zarrs::array::codec::api::{
    ArrayCodecTraits, ArrayToBytesCodecTraits, BytesRepresentation, Codec as ZarrCodec, CodecError,
    CodecMetadataOptions, CodecOptions, CodecPluginV3, CodecTraits, CodecTraitsV3, PartialDecoderCapability,
    PartialEncoderCapability, RecommendedConcurrency,
};
use zarrs::array::{ArrayBytes, ArrayBytesRaw, DataType, FillValue};
use zarrs::metadata::Configuration;
use zarrs::metadata::v3::MetadataV3;
use zarrs::plugin::{ExtensionName, PluginCreateError, ZarrVersion};

use crate::error::{Error, Result};

/// Name of the codec in Zarr metadata.
pub const NAME: &str = "lithify";

/// The codec configuration that says what `spec` says; `bound` is the promise as it was asked for.
pub fn configuration_of(spec: &ChunkSpec, bound: &str) -> Value {
    let t = &spec.tolerance;
    let mut resolved = Map::new();
    if t.lossless {
        resolved.insert("lossless".into(), true.into());
    }
    let numbers =
        [("abs", t.abs), ("rel", t.rel), ("mse", t.mse), ("l2", t.l2), ("l2_block", t.l2_block), ("step", spec.step)];
    resolved.extend(numbers.into_iter().filter_map(|(name, v)| {
        // JSON has no infinity; a bound of infinity is none.
        v.filter(|v| v.is_finite()).map(|v| (name.to_string(), v.into()))
    }));
    if let Some(bits) = t.bits {
        resolved.insert("bits".into(), bits.into());
    }
    let mut out = Map::new();
    out.insert("codec".into(), spec.codec.to_string().into());
    out.insert("bound".into(), bound.into());
    out.insert("resolved".into(), resolved.into());
    if spec.affine != Affine::IDENTITY {
        out.insert("scale".into(), spec.affine.scale.into());
        out.insert("offset".into(), spec.affine.offset.into());
    }
    if !spec.missing.is_empty() {
        out.insert("missing".into(), spec.missing.iter().map(|bits| format!("{bits:#x}")).collect());
    }
    out.insert("effort".into(), spec.effort.into());
    out.into()
}

/// The inverse of [`configuration_of`], for samples of type `dtype`.
///
/// # Errors
/// [`Error::Invalid`] for unknown keys, values of the wrong type, and bounds that need `resolved` but lack it.
pub fn spec_of(configuration: &Value, dtype: Dtype) -> Result<ChunkSpec> {
    let Value::Object(map) = configuration else {
        return Err(Error::invalid("the configuration of codec lithify must be an object", configuration));
    };
    let mut spec = ChunkSpec::lossless();
    let mut promise = Promise::lossless();
    let mut resolved = None;
    for (key, value) in map {
        match key.as_str() {
            "codec" => spec.codec = text(key, value)?.parse::<Codec>()?,
            "bound" => promise = text(key, value)?.parse()?,
            "resolved" => resolved = Some(resolved_of(value)?),
            "scale" => spec.affine.scale = number(key, value)?,
            "offset" => spec.affine.offset = number(key, value)?,
            "missing" => spec.missing = patterns_of(value, dtype)?,
            "effort" => {
                let effort = value.as_u64().filter(|e| (1..=9).contains(e));
                spec.effort = effort.ok_or_else(|| Error::invalid("effort must be 1 to 9", value))? as u8;
            }
            _ => {
                return Err(Error::invalid(
                    "codec lithify takes codec, bound, resolved, scale, offset, missing and effort",
                    key,
                ));
            }
        }
    }
    if spec.affine.scale == 0.0 {
        return Err(Error::invalid("scale must not be zero", spec.affine.scale));
    }
    (spec.tolerance, spec.step) = match resolved {
        Some(r) => r,
        None if promise.needs_field() || promise.needs_bits() => {
            return Err(Error::invalid(
                "this bound needs the whole variable: give `resolved` with its numbers",
                promise,
            ));
        }
        None => (promise.resolve(&FieldStats::default()), None),
    };
    Ok(spec)
}

fn text<'a>(key: &str, value: &'a Value) -> Result<&'a str> {
    value.as_str().ok_or_else(|| Error::invalid(format!("{key} must be a string"), value))
}

fn number(key: &str, value: &Value) -> Result<f64> {
    value.as_f64().ok_or_else(|| Error::invalid(format!("{key} must be a number"), value))
}

fn resolved_of(value: &Value) -> Result<(Tolerance, Option<f64>)> {
    const HELP: &str =
        "resolved takes the numbers abs, rel, mse, l2, l2_block, step and bits, and the boolean lossless";
    let (mut t, mut step) = (Tolerance::default(), None);
    for (key, value) in value.as_object().ok_or_else(|| Error::invalid(HELP, value))? {
        let slot = match key.as_str() {
            "abs" => &mut t.abs,
            "rel" => &mut t.rel,
            "mse" => &mut t.mse,
            "l2" => &mut t.l2,
            "l2_block" => &mut t.l2_block,
            "step" => &mut step,
            "bits" => {
                let bits = value.as_u64().and_then(|b| u32::try_from(b).ok()).filter(|b| *b <= MOST_BITS);
                t.bits = Some(bits.ok_or_else(|| Error::invalid(HELP, format!("bits: {value}")))?);
                continue;
            }
            "lossless" => {
                t.lossless = value.as_bool().ok_or_else(|| Error::invalid(HELP, key))?;
                continue;
            }
            _ => return Err(Error::invalid(HELP, key)),
        };
        let v = number(key, value)?;
        if v < 0.0 {
            return Err(Error::invalid(format!("{key} must not be negative"), v));
        }
        *slot = Some(v);
    }
    Ok((t, step))
}

fn patterns_of(value: &Value, dtype: Dtype) -> Result<Vec<u64>> {
    let bits = dtype.size() * 8;
    let pattern = |v: &Value| {
        let hex = v.as_str().and_then(|s| s.strip_prefix("0x"));
        hex.and_then(|s| u64::from_str_radix(s, 16).ok()).filter(|p| bits == 64 || *p >> bits == 0)
    };
    let all = value.as_array().and_then(|a| a.iter().map(pattern).collect());
    all.ok_or_else(|| Error::invalid(format!("missing must be {bits}-bit patterns such as [\"0x7f\"]"), value))
}

/// The codec as zarrs sees it.
#[derive(Debug)]
struct LithifyCodec {
    configuration: Map<String, Value>,
}

zarrs::plugin::impl_extension_aliases!(LithifyCodec, v3: "lithify");

inventory::submit! {
    CodecPluginV3::new::<LithifyCodec>()
}

impl CodecTraitsV3 for LithifyCodec {
    fn create(metadata: &MetadataV3) -> std::result::Result<ZarrCodec, PluginCreateError> {
        let configuration: Map<String, Value> = metadata.configuration().cloned().map(Map::from).unwrap_or_default();
        // The sample type is not known yet; the widest accepts whatever the array's own type will.
        spec_of(&Value::Object(configuration.clone()), Dtype::F64)
            .map_err(|e| PluginCreateError::Other(e.to_string()))?;
        Ok(ZarrCodec::ArrayToBytes(Arc::new(Self { configuration })))
    }
}

impl CodecTraits for LithifyCodec {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn configuration(&self, _: ZarrVersion, _: &CodecMetadataOptions) -> Option<Configuration> {
        Some(self.configuration.clone().into())
    }

    fn partial_decoder_capability(&self) -> PartialDecoderCapability {
        PartialDecoderCapability { partial_read: false, partial_decode: false }
    }

    fn partial_encoder_capability(&self) -> PartialEncoderCapability {
        PartialEncoderCapability { partial_encode: false }
    }
}

impl ArrayCodecTraits for LithifyCodec {
    fn recommended_concurrency(
        &self,
        _: &[NonZeroU64],
        _: &DataType,
    ) -> std::result::Result<RecommendedConcurrency, CodecError> {
        Ok(RecommendedConcurrency::new_maximum(1))
    }
}

impl ArrayToBytesCodecTraits for LithifyCodec {
    fn into_dyn(self: Arc<Self>) -> Arc<dyn ArrayToBytesCodecTraits> {
        self
    }

    fn encoded_representation(
        &self,
        _: &[NonZeroU64],
        data_type: &DataType,
        _: &FillValue,
    ) -> std::result::Result<BytesRepresentation, CodecError> {
        dtype_of(data_type)?;
        Ok(BytesRepresentation::UnboundedSize)
    }

    fn encode<'a>(
        &self,
        bytes: ArrayBytes<'a>,
        shape: &[NonZeroU64],
        data_type: &DataType,
        _: &FillValue,
        _: &CodecOptions,
    ) -> std::result::Result<ArrayBytesRaw<'a>, CodecError> {
        let dtype = dtype_of(data_type)?;
        let samples = samples_from_native(dtype, &bytes.into_fixed()?);
        let spec = spec_of(&Value::Object(self.configuration.clone()), dtype).map_err(other)?;
        Ok(encode_chunk(&samples, &lengths(shape), &spec).map_err(other)?.bytes.into())
    }

    fn decode<'a>(
        &self,
        bytes: ArrayBytesRaw<'a>,
        shape: &[NonZeroU64],
        data_type: &DataType,
        fill_value: &FillValue,
        _: &CodecOptions,
    ) -> std::result::Result<ArrayBytes<'a>, CodecError> {
        let (dtype, shape) = (dtype_of(data_type)?, lengths(shape));
        let stored = payload_shape(&bytes, dtype, &shape).map_err(CodecError::Other)?;
        let block = decode_chunk(&bytes, &stored).map_err(other)?;
        if stored == shape {
            return Ok(samples_to_native(&block).into());
        }
        let fill = samples_from_native(dtype, fill_value.as_ne_bytes());
        let n = lithify_codec::block::n_samples(&shape).ok_or_else(|| other("the chunk is too large"))?;
        let mut chunk = Samples::filled(dtype, n, fill.bits(0));
        chunk.paste(&shape, &vec![0; shape.len()], &block, &stored).map_err(other)?;
        Ok(samples_to_native(&chunk).into())
    }
}

/// The shape that a payload gives itself, if it may stand for a chunk of shape `chunk`; what it lacks is the fill value.
pub(super) fn payload_shape(payload: &[u8], dtype: Dtype, chunk: &[usize]) -> std::result::Result<Vec<usize>, String> {
    let h = header(payload).map_err(|e| e.to_string())?;
    if h.dtype != dtype {
        return Err(format!("the payload holds {}, the array {dtype}", h.dtype));
    }
    if h.shape.len() != chunk.len() || h.shape.iter().zip(chunk).any(|(have, most)| have > most) {
        return Err(format!("a payload of shape {:?} does not fit a chunk of shape {chunk:?}", h.shape));
    }
    Ok(h.shape)
}

fn other(e: impl std::fmt::Display) -> CodecError {
    CodecError::Other(e.to_string())
}

fn lengths(shape: &[NonZeroU64]) -> Vec<usize> {
    shape.iter().map(|d| d.get() as usize).collect()
}

fn dtype_of(data_type: &DataType) -> std::result::Result<Dtype, CodecError> {
    let dtype = data_type.name(ZarrVersion::V3).and_then(|name| Dtype::from_name(&name));
    dtype.ok_or_else(|| CodecError::UnsupportedDataType(data_type.clone(), NAME.into()))
}

/// Samples from zarrs' buffers, which are in this machine's byte order.
pub(super) fn samples_from_native(dtype: Dtype, bytes: &[u8]) -> Samples {
    if cfg!(target_endian = "little") {
        return Samples::from_le_bytes(dtype, bytes);
    }
    Samples::from_le_bytes(dtype, &reversed(bytes.to_vec(), dtype.size()))
}

/// The inverse of [`samples_from_native`].
pub(super) fn samples_to_native(samples: &Samples) -> Vec<u8> {
    let bytes = samples.to_le_bytes();
    if cfg!(target_endian = "little") { bytes } else { reversed(bytes, samples.dtype().size()) }
}

fn reversed(mut bytes: Vec<u8>, size: usize) -> Vec<u8> {
    bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    bytes
}
