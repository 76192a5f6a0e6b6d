//! What can go wrong, by who must act.

use std::path::{Path, PathBuf};

/// Errors of training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration, or an argument.
    #[error("{0}")]
    Config(String),
    /// The data do not fit what is asked of them.
    #[error("{0}")]
    Data(String),
    /// A checkpoint or a model that cannot be used.
    #[error("{path}: {what}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The loss is no longer a number.
    #[error("the loss at step {0} is not a number; lower train.rate")]
    Diverged(usize),
    /// Reading data, writing results.
    #[error(transparent)]
    Files(#[from] lithify_io::Error),
    /// Building or coding with a model.
    #[error(transparent)]
    Codec(#[from] lithify_codec::Error),
    /// The system.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A result of training.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err` of what the system says about `path`.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}
