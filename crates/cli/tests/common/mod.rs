//! Running the command and judging what it says, for all tests of it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

pub fn lithify(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lithify")).args(args).current_dir(dir).output().unwrap()
}

#[track_caller]
pub fn ok(dir: &Path, args: &[&str]) -> String {
    let out = lithify(dir, args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[track_caller]
pub fn json(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&ok(dir, args)).unwrap()
}

/// The command must fail with `code`, say why, and leave only what was there before.
#[track_caller]
pub fn fails(dir: &Path, code: i32, says: &str, args: &[&str]) {
    let list = || {
        let mut names: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = list();
    let out = lithify(dir, args);
    let err = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{args:?}: {err}");
    assert!(err.contains(says), "{args:?}: {err}");
    assert_eq!(list(), before, "{args:?} left something behind");
}
