//! `-`: standard input and output in place of files.
//!
//! Both pass through a temporary file: readers seek, and what is written appears whole or not at all.

use std::io::{ErrorKind, IsTerminal, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use lithify_io::{Error, Result};
use tempfile::TempDir;

/// Results are data: tables go to stderr.
static DATA: AtomicBool = AtomicBool::new(false);
/// Nobody reads stdout any more.
static CLOSED: AtomicBool = AtomicBool::new(false);
/// Where standard input was copied to.
static COPY: OnceLock<PathBuf> = OnceLock::new();

/// What was typed, or a copy of standard input.
pub struct Input {
    path: PathBuf,
    _folder: Option<TempDir>,
}

impl Deref for Input {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

fn folder() -> Result<TempDir> {
    tempfile::Builder::new().prefix("lithify-").tempdir().map_err(Error::io(std::env::temp_dir()))
}

/// The file to read for `path`; `-` is standard input.
pub fn input(path: &Path) -> Result<Input> {
    if path != Path::new("-") {
        return Ok(Input { path: path.into(), _folder: None });
    }
    let mut stdin = std::io::stdin().lock();
    if stdin.is_terminal() {
        return Err(Error::invalid("standard input is a terminal; pipe a file into it, or name one", "-"));
    }
    let folder = folder()?;
    let copy = folder.path().join("data");
    let mut file = std::fs::File::create_new(&copy).map_err(Error::io(&copy))?;
    std::io::copy(&mut stdin, &mut file).map_err(Error::io("standard input"))?;
    let _ = COPY.set(copy.clone());
    Ok(Input { path: copy, _folder: Some(folder) })
}

/// A message with standard input called so.
pub fn named(message: &str) -> String {
    COPY.get().map_or(message.into(), |copy| message.replace(&*copy.to_string_lossy(), "standard input"))
}

/// Where results go: what was typed, or a file that is copied to standard output in the end.
pub struct Output {
    path: PathBuf,
    folder: Option<TempDir>,
}

impl Deref for Output {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

/// The file to write for `path`; `-` is standard output, in the format of this ending.
pub fn output(path: &Path, ending: &str) -> Result<Output> {
    if path != Path::new("-") {
        return Ok(Output { path: path.into(), folder: None });
    }
    if std::io::stdout().is_terminal() {
        return Err(Error::invalid("binary data are not written to a terminal; pipe them on, or name a file", "-"));
    }
    DATA.store(true, Ordering::Relaxed);
    let folder = folder()?;
    Ok(Output { path: folder.path().join(format!("data.{ending}")), folder: Some(folder) })
}

impl Output {
    /// Copies what was written to standard output, if it goes there.
    pub fn deliver(self) -> Result<()> {
        let Some(folder) = self.folder else { return Ok(()) };
        let mut file = std::fs::File::open(&self.path).map_err(Error::io(&self.path))?;
        let mut stdout = std::io::stdout().lock();
        let copied = std::io::copy(&mut file, &mut stdout).and_then(|_| stdout.flush());
        drop(folder);
        match copied {
            Err(e) if e.kind() == ErrorKind::BrokenPipe => CLOSED.store(true, Ordering::Relaxed),
            other => other.map_err(Error::io("standard output"))?,
        }
        Ok(())
    }
}

/// Prints to stdout, or to stderr if stdout takes data. A pipe that was closed at its other end has had enough.
pub fn print(text: std::fmt::Arguments<'_>) {
    if CLOSED.load(Ordering::Relaxed) {
        return;
    }
    let done = match DATA.load(Ordering::Relaxed) {
        true => std::io::stderr().write_fmt(text),
        false => std::io::stdout().write_fmt(text).and_then(|()| std::io::stdout().flush()),
    };
    if let Err(e) = done {
        // Once: what follows cannot be printed either.
        if !CLOSED.swap(true, Ordering::Relaxed) && e.kind() != ErrorKind::BrokenPipe {
            let _ = writeln!(std::io::stderr(), "lithify: standard output: {e}");
        }
    }
}

/// Whether something could not be printed because nobody reads it.
pub fn is_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

/// As the standard library's, but a closed pipe is no panic, and stdout is left to data that go there.
macro_rules! print {
    ($($what:tt)*) => { $crate::stream::print(format_args!($($what)*)) };
}

/// As the standard library's, but see [`print!`].
macro_rules! println {
    () => { $crate::stream::print(format_args!("\n")) };
    ($($what:tt)*) => { $crate::stream::print(format_args!("{}\n", format_args!($($what)*))) };
}
