//! One file per verb.

pub mod compare;
pub mod compress;
pub mod decompress;
pub mod extract;
pub mod info;
pub mod picture;
pub mod shell;
pub mod verify;

use lithify_codec::Dtype;
use lithify_io::model::Group;

/// Uncompressed bytes of everything in a file, text counted as one byte per element.
pub fn raw_bytes(root: &Group) -> u64 {
    root.walk().iter().map(|(_, v)| (v.len() * v.dtype().map_or(1, Dtype::size)) as u64).sum()
}

/// One line on stderr for each thing that is worth knowing but does not stop the work.
pub fn warn(line: &str) {
    eprintln!("lithify: note: {line}");
}
