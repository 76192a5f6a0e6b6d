//! The command line: `lithify compress in.nc out.zarr -b abs=0.01`.

// First, for the modules below print by its macros.
#[macro_use]
mod stream;

mod args;
mod commands;
mod exit;
mod picture;
mod progress;
mod table;

use clap::Parser;

use args::{Cli, Command};

/// Has glibc give large buffers back to the system when they are freed. By itself it would keep those of a chunk's size, and
/// hold half as much memory again as chunks need.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
fn return_large_buffers() {
    // SAFETY: a plain call before any other thread runs; the worst that it can do is nothing.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20) };
}

fn main() -> std::process::ExitCode {
    #[cfg(target_env = "gnu")]
    return_large_buffers();
    let cli = Cli::parse();
    lithify_io::remote::on_note(commands::warn);
    let load = || cli.models.iter().map(|path| lithify_io::learned::load(path)).collect::<Result<Vec<_>, _>>();
    let run = |models: Vec<_>| match &cli.command {
        Command::Compress(a) => commands::compress::run(a, models),
        Command::Append(a) => commands::append::run(a),
        Command::Decompress(a) => commands::decompress::run(a),
        Command::Info(a) => commands::info::run(a),
        Command::Verify(a) => commands::verify::run(a),
        Command::Compare(a) => commands::compare::run(a),
        Command::Extract(a) => commands::extract::run(a),
        Command::Train { args } => commands::train::run(args),
        Command::Completions { shell } => commands::shell::completions(*shell),
        Command::Man { dir } => commands::shell::man(dir),
    };
    match load().map_err(anyhow::Error::from).and_then(run) {
        // As if the closed pipe had ended us, which it would have in another language.
        Ok(()) if stream::is_closed() => std::process::ExitCode::FAILURE,
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("lithify: {}", stream::named(&format!("{e:#}")));
            exit::code(&e)
        }
    }
}
