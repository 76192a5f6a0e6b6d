//! Training, from configurations to real bytes.

mod bytes;
mod common;
mod input;
mod ops;
mod rows;
mod runs;
