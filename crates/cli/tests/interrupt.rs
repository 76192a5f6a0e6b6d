//! Ctrl-C in the middle of a chunk that takes long.

#![cfg(unix)]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Far less than the training would take.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_long_training_ends_soon_and_leaves_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let header = format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (100, 200), }");
    bytes.extend(118u16.to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend((0..20_000).flat_map(|i| (i as f32 * 0.01).sin().to_le_bytes()));
    std::fs::write(dir.join("a.npy"), bytes).unwrap();
    let args = ["compress", "a.npy", "o.zarr", "-b", "abs=0.01", "--codec", "inr,width=256,steps=1000000"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_lithify"))
        .args(args)
        .current_dir(dir)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(child.try_wait().unwrap().is_none(), "it was through before it was interrupted");
    let started = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > SOON {
            child.kill().unwrap();
            panic!("it goes on {SOON:?} after the interrupt");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let left: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["a.npy"]);
}
