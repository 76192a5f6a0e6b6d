//! Models that this process knows, by hash: a stream says which one it needs, not where it is.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::model::{Hash, Model};
use crate::error::{Error, Result};

static MODELS: RwLock<BTreeMap<Hash, Arc<Model>>> = RwLock::new(BTreeMap::new());

/// Makes a model known to encoders and decoders of this process.
pub fn register(model: Model) -> Hash {
    let hash = model.hash();
    MODELS.write().unwrap_or_else(PoisonError::into_inner).entry(hash).or_insert_with(|| Arc::new(model));
    hash
}

/// The model of that hash.
///
/// # Errors
/// [`Error::Model`] if nobody has registered it.
pub fn find(hash: Hash) -> Result<Arc<Model>> {
    let models = MODELS.read().unwrap_or_else(PoisonError::into_inner);
    models.get(&hash).cloned().ok_or_else(|| Error::Model { hash: hash.to_string() })
}
