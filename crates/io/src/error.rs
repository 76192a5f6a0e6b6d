//! What can go wrong between a file and an array, grouped by who must act.

use std::path::{Path, PathBuf};

use crate::location::shown;

/// The result of every fallible function here.
pub type Result<T> = std::result::Result<T, Error>;

/// One variant per party that has to act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller's argument cannot be satisfied.
    #[error("{what}: {got}")]
    Invalid {
        /// What was asked, and how to put it right.
        what: String,
        /// What was given.
        got: String,
    },
    /// The file uses something that this build cannot read or the format cannot hold.
    #[error("{}: {what}", shown(path))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do instead.
        what: String,
    },
    /// The file contradicts itself or ends early.
    #[error("{}: {what}; the file is damaged", shown(path))]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What does not fit, and where.
        what: String,
    },
    /// A bound did not hold when it was checked.
    #[error("{0}")]
    Broken(String),
    /// Bounds that the data cannot keep together; what they can is said.
    #[error("{0}")]
    Unreachable(String),
    /// Somebody else is changing the store.
    #[error("{}: another append is running; wait for it to end", .0.display())]
    Busy(PathBuf),
    /// The work was interrupted.
    #[error("interrupted; nothing was left behind")]
    Interrupted,
    /// The codec.
    #[error(transparent)]
    Codec(lithify_codec::Error),
    /// The system.
    #[error("{}: {reason}", shown(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said; part of the message, so not a source of its own.
        reason: std::io::Error,
    },
}

impl From<lithify_codec::Error> for Error {
    fn from(e: lithify_codec::Error) -> Self {
        match e {
            lithify_codec::Error::Interrupted => Self::Interrupted,
            e => Self::Codec(e),
        }
    }
}

impl Error {
    /// Shorthand for [`Error::Invalid`].
    pub fn invalid(what: impl Into<String>, got: impl std::fmt::Display) -> Self {
        Self::Invalid { what: what.into(), got: got.to_string() }
    }

    /// Shorthand for [`Error::Corrupt`].
    pub fn corrupt(path: impl AsRef<Path>, what: impl std::fmt::Display) -> Self {
        Self::Corrupt { path: path.as_ref().into(), what: what.to_string() }
    }

    /// Shorthand for [`Error::Unsupported`].
    pub fn unsupported(path: impl AsRef<Path>, what: impl std::fmt::Display) -> Self {
        Self::Unsupported { path: path.as_ref().into(), what: what.to_string() }
    }

    /// The error with another name in place of a path, for files that are copies of something else.
    pub(crate) fn renamed(mut self, from: &Path, to: &str) -> Self {
        if let Self::Unsupported { path, .. } | Self::Corrupt { path, .. } | Self::Io { path, .. } = &mut self
            && path == from
        {
            *path = to.into();
        }
        self
    }

    /// Shorthand for [`Error::Io`], for `map_err`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().into();
        |reason| Self::Io { path, reason }
    }
}
