//! `lithify compress --dask`: the job is handed over to the Python package, which has a Dask cluster do it.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::args::Compress;

/// Modules that the package needs for it.
const NEEDED: &str = "import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in \
                      ('lithify', 'dask', 'distributed', 'xarray', 'zarr')))";

/// Hands over, and ends with the exit code that came back; messages went straight through.
pub fn run(a: &Compress, scheduler: &str) -> Result<()> {
    let python = std::env::var_os("LITHIFY_PYTHON").unwrap_or_else(|| "python3".into());
    let name = python.to_string_lossy().into_owned();
    let start = || format!("--dask runs {name}, which does not start; set LITHIFY_PYTHON to another Python");
    if !Command::new(&python).args(["-c", NEEDED]).status().with_context(start)?.success() {
        bail!(
            "--dask needs the Python package: {name} -m pip install 'lithify[dask]', or set LITHIFY_PYTHON to a Python that has it"
        );
    }
    let mut command = Command::new(&python);
    command.args(["-m", "lithify.dask", "--scheduler", scheduler]);
    for rule in &a.bounds {
        let bound = match &rule.variable {
            Some(variable) => format!("{variable}:{}", rule.promise),
            None => rule.promise.to_string(),
        };
        command.arg(format!("--bound={bound}"));
    }
    command.arg(format!("--codec={}", a.codec)).arg(format!("--effort={}", a.effort));
    let chunks: Vec<String> = a.chunks.iter().map(|(dim, n)| format!("{dim}={n}")).collect();
    command.arg(format!("--chunks={}", chunks.join(","))).arg(format!("--vars={}", a.vars.join(",")));
    for (flag, given) in [("--force", a.force), ("--quiet", a.running.quiet), ("--json", a.running.json)] {
        command.args(given.then_some(flag));
    }
    let status = command.arg("--").arg(&a.input).arg(&a.output).status().with_context(start)?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => std::process::exit(code),
        None => bail!("{name} was killed; the same command goes on where it was"),
    }
}
