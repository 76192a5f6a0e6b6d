//! What can go wrong, grouped by who must act.

/// The result of every fallible function here.
pub type Result<T> = std::result::Result<T, Error>;

/// One variant per party that has to act; `stage` says which part of the codec speaks.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller's argument, spec or bound cannot be satisfied.
    #[error("{what}: {got}")]
    Invalid {
        /// What was asked, and how to put it right.
        what: String,
        /// What was given.
        got: String,
    },
    /// The bytes come from a newer version, or need a stage that this build lacks.
    #[error("this build cannot read {what} {id}; a newer lithify can")]
    Unsupported {
        /// Kind of thing.
        what: &'static str,
        /// Its number on the wire.
        id: u32,
    },
    /// The bytes end too early.
    #[error("{stage}: the data end at byte {at}, {needed} more are needed; the file was cut short")]
    Truncated {
        /// Part of the payload.
        stage: &'static str,
        /// Offset at which the data end.
        at: usize,
        /// How many bytes are missing, at least.
        needed: usize,
    },
    /// The bytes contradict themselves.
    #[error("{stage}: {what}; the data are damaged")]
    Corrupt {
        /// Part of the payload.
        stage: &'static str,
        /// What does not fit.
        what: String,
    },
    /// The bytes were written with a learned model that is not at hand.
    #[error(
        "the model {hash} is needed and not here; give its file (--model FILE), or put it into the directory that LITHIFY_MODELS names"
    )]
    Model {
        /// SHA-256 of the model's file.
        hash: String,
    },
    /// The work was stopped, see [`crate::stop`].
    #[error("interrupted")]
    Interrupted,
    /// Refused before memory was asked for.
    #[error("{what}: {asked} asked, at most {max} allowed")]
    Limit {
        /// Which limit.
        what: &'static str,
        /// What the data ask for.
        asked: u64,
        /// What is granted.
        max: u64,
    },
}

impl Error {
    /// Shorthand for [`Error::Invalid`].
    pub fn invalid(what: impl Into<String>, got: impl std::fmt::Display) -> Self {
        Self::Invalid { what: what.into(), got: got.to_string() }
    }

    /// Shorthand for [`Error::Corrupt`].
    pub fn corrupt(stage: &'static str, what: impl Into<String>) -> Self {
        Self::Corrupt { stage, what: what.into() }
    }
}
