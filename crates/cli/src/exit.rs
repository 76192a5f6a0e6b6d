//! Exit codes: 0 success, 1 runtime failure, 2 usage, 3 a bound or a verification failed, 4 corrupt or unsupported input, 5 a learned
//! model is missing.

use std::process::ExitCode;

/// A check that was run and failed; what failed has been said already.
#[derive(Debug)]
pub struct Failed(pub String);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

/// The exit code for an error.
pub fn code(error: &anyhow::Error) -> ExitCode {
    use lithify_codec::Error as Codec;
    use lithify_io::Error as Io;
    if error.is::<Failed>() {
        return ExitCode::from(3);
    }
    let codec = |e: &Codec| match e {
        Codec::Invalid { .. } => 2,
        Codec::Model { .. } => 5,
        _ => 4,
    };
    if let Some(e) = error.downcast_ref::<Codec>() {
        return ExitCode::from(codec(e));
    }
    ExitCode::from(match error.downcast_ref::<Io>() {
        Some(Io::Invalid { .. }) => 2,
        Some(Io::Broken(_) | Io::Unreachable(_)) => 3,
        Some(Io::Corrupt { .. } | Io::Unsupported { .. }) => 4,
        Some(Io::Codec(e)) => codec(e),
        _ => 1,
    })
}
