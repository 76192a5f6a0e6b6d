//! `train`: runs the program `lithify-train`, which is its own because of what it links.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

const PROGRAM: &str = "lithify-train";

/// Runs it with the same arguments; its exit code is ours.
pub fn run(args: &[OsString]) -> Result<()> {
    let program = beside_us().unwrap_or_else(|| PROGRAM.into());
    let status = match Command::new(&program).args(args).status() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            bail!(
                "{PROGRAM} is neither beside this program nor on the PATH; build it with cargo build --release -p lithify-learned"
            )
        }
        status => status.with_context(|| format!("{} cannot be run", program.display()))?,
    };
    match status.code() {
        Some(0) => Ok(()),
        code => std::process::exit(code.unwrap_or(1)),
    }
}

/// The program in the directory of this one.
fn beside_us() -> Option<PathBuf> {
    let name = format!("{PROGRAM}{}", std::env::consts::EXE_SUFFIX);
    let path = std::env::current_exe().ok()?.with_file_name(name);
    path.is_file().then_some(path)
}
