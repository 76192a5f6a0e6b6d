//! One file per verb.

pub mod append;
pub mod bits;
pub mod compare;
pub mod compress;
pub mod dask;
pub mod decompress;
pub mod extract;
pub mod info;
pub mod picture;
pub mod shell;
pub mod train;
pub mod verify;

use lithify_codec::Dtype;
use lithify_io::model::{Group, Variable};

/// Uncompressed bytes of everything in a file, text counted as one byte per element.
pub fn raw_bytes(root: &Group) -> u64 {
    root.walk().iter().map(|(_, v)| (v.len() * v.dtype().map_or(1, Dtype::size)) as u64).sum()
}

/// The variables with these names, or all.
pub fn wanted<'a>(root: &'a Group, names: &[String]) -> lithify_io::Result<Vec<(String, &'a Variable)>> {
    if names.is_empty() {
        return Ok(root.walk());
    }
    names.iter().map(|name| Ok((name.trim_start_matches('/').into(), root.find(name)?))).collect()
}

/// One line on stderr for each thing that is worth knowing but does not stop the work.
pub fn warn(line: &str) {
    eprintln!("lithify: note: {line}");
}
