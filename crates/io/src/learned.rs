//! Where learned models come from: files, the directory that `LITHIFY_MODELS` names, the store itself.
//!
//! In a store they are plain Zarr: group `lithify_models`, one uint8 array for each, named by its hash, in one chunk without compression.

use std::path::Path;

use lithify_codec::learned::{self, Hash, Model};
use lithify_codec::{Codec, Error as CodecError};
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// The group that holds models in a store.
pub const GROUP: &str = "lithify_models";
/// Names the directory in which models are looked for.
const DIRECTORY: &str = "LITHIFY_MODELS";
/// What files with models end in.
const EXTENSION: &str = "safetensors";

/// Reads a model file and makes it known.
///
/// # Errors
/// [`Error::Io`]; [`Error::Codec`] if it holds no model.
pub fn load(path: &Path) -> Result<Hash> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let model = Model::from_bytes(&bytes);
    Ok(learned::register(model.map_err(|e| Error::corrupt(path, e.to_string()))?))
}

/// A codec as people write it: `learned:FILE` as well as `learned:HASH`.
///
/// # Errors
/// Those of [`load`] and of codecs.
pub fn codec(spec: &str) -> Result<Codec> {
    let Some(rest) = spec.strip_prefix("learned:") else { return Ok(spec.parse()?) };
    let (model, side) = rest.split_once(',').map_or((rest, None), |(m, s)| (m, Some(s)));
    let hash = match model.parse::<Hash>() {
        Ok(hash) => hash,
        Err(_) => load(Path::new(model))?,
    };
    Ok(side.map_or(format!("learned:{hash}"), |s| format!("learned:{hash},{s}")).parse()?)
}

/// The models that a codec's configuration names: chunks may need them.
pub(crate) fn models(configuration: &Value) -> Vec<Hash> {
    let codec = configuration.get("codec").and_then(Value::as_str).map(str::parse::<Codec>);
    codec.and_then(std::result::Result::ok).map(|codec| codec.models()).unwrap_or_default()
}

/// The hash of the model that a codec's configuration is about: every chunk may be expected to need it.
pub(crate) fn named(configuration: &Value) -> Option<Hash> {
    let name = configuration.get("codec")?.as_str()?.strip_prefix("learned:")?;
    name.split(',').next()?.parse().ok()
}

/// Makes a model known, from what `stored` finds in the store or else from the directory; nothing if it is in neither: what needs it will say so.
///
/// # Errors
/// Those of `stored`; [`Error::Codec`] if what the store holds under that name is another or no model.
pub(crate) fn find(hash: Hash, stored: impl FnOnce(&str) -> Result<Option<Vec<u8>>>) -> Result<()> {
    if learned::find(hash).is_ok() {
        return Ok(());
    }
    if let Some(bytes) = stored(&format!("{GROUP}/{hash}/c/0"))? {
        let model = Model::from_bytes(&bytes)?;
        if model.hash() != hash {
            return Err(
                CodecError::corrupt("model", format!("what the store holds as {hash} is {}", model.hash())).into()
            );
        }
        learned::register(model);
        return Ok(());
    }
    let Some(dir) = std::env::var_os(DIRECTORY) else { return Ok(()) };
    let dir = Path::new(&dir);
    for entry in std::fs::read_dir(dir).map_err(Error::io(dir))? {
        let path = entry.map_err(Error::io(dir))?.path();
        // Others in the directory, damaged ones among them, are nobody's business here.
        if path.extension().is_some_and(|e| e == EXTENSION) && matches!(load(&path), Ok(h) if h == hash) {
            break;
        }
    }
    Ok(())
}

/// Metadata of the group, and of an array of so many bytes.
pub(crate) fn nodes(n: usize) -> [Value; 2] {
    let array = json!({
        "zarr_format": 3, "node_type": "array", "shape": [n], "data_type": "uint8", "fill_value": 0,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [n]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "bytes"}], "attributes": {},
    });
    [json!({"zarr_format": 3, "node_type": "group", "attributes": {}}), array]
}
