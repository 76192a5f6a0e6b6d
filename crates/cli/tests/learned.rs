//! Learned codecs from the command line: models in files, directories and stores.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::path::Path;
use std::process::Command;

use common::{fails, json, ok};
use lithify_codec::learned::testkit::{models, wavelet};

/// Two models, and an array of three bands.
fn prepare(dir: &Path) {
    std::fs::write(dir.join("m.safetensors"), wavelet().unwrap().as_bytes()).unwrap();
    std::fs::write(dir.join("bands.safetensors"), models().unwrap()[3].0.as_bytes()).unwrap();
    std::fs::write(dir.join("broken.safetensors"), &wavelet().unwrap().as_bytes()[..100]).unwrap();
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 60, 90), }";
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((118u16).to_le_bytes());
    bytes.extend(format!("{header:<117}\n").as_bytes());
    let value = |i: usize| ((i % 90) as f32 / 9.0).sin() * 30.0 + (i / 90) as f32 * 0.1;
    bytes.extend((0..3 * 60 * 90).flat_map(|i| value(i).to_le_bytes()));
    std::fs::write(dir.join("a.npy"), bytes).unwrap();
}

#[test]
fn a_model_is_found_in_the_store_in_a_file_or_in_a_directory() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    prepare(dir);
    let compress = |model: &str, out: &str, more: &[&str]| {
        let mut args = vec!["compress", "a.npy", out, "--codec", model, "-b", "abs=0.5", "--json"];
        args.extend(more);
        json(dir, &args)
    };
    for model in ["learned:m.safetensors", "learned:bands.safetensors"] {
        let said = compress(model, "with.zarr", &["--embed-model", "-f"]);
        assert_eq!(said["variables"][0]["codec"], "learned", "{said}");
        ok(dir, &["decompress", "with.zarr", "b.npy", "-f"]);
        ok(dir, &["verify", "with.zarr", "--against", "a.npy"]);
    }
    assert!(dir.join("with.zarr/lithify_models").is_dir());
    assert!(!ok(dir, &["info", "with.zarr"]).contains("lithify_models"));

    compress("learned:m.safetensors", "without.zarr", &[]);
    fails(dir, 5, "LITHIFY_MODELS", &["decompress", "without.zarr", "c.npy"]);
    fails(dir, 5, "--model", &["verify", "without.zarr"]);
    fails(dir, 5, "--model", &["decompress", "without.zarr", "c.npy", "--model", "bands.safetensors"]);
    fails(dir, 4, "safetensors", &["decompress", "without.zarr", "c.npy", "--model", "broken.safetensors"]);
    ok(dir, &["decompress", "without.zarr", "c.npy", "--model", "m.safetensors"]);
    let run = Command::new(env!("CARGO_BIN_EXE_lithify"))
        .args(["decompress", "without.zarr", "d.npy"])
        .current_dir(dir)
        .env("LITHIFY_MODELS", dir)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(std::fs::read(dir.join("c.npy")).unwrap(), std::fs::read(dir.join("d.npy")).unwrap());
    // Everything that does not need the model works without it.
    ok(dir, &["info", "without.zarr"]);
    fails(dir, 2, ".zarr", &["compress", "a.npy", "x.nc", "--codec", "learned:m.safetensors", "-b", "abs=1"]);
    fails(dir, 2, "learned:FILE", &["compress", "a.npy", "x.zarr", "--codec", "learned", "-b", "abs=1"]);
    fails(dir, 2, "none.safetensors", &["compress", "a.npy", "x.zarr", "--codec", "learned:none.safetensors"]);
}

#[test]
fn norms_and_sizes_are_kept() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    prepare(dir);
    for bound in ["psnr=35", "l2=1e-2", "ratio=20"] {
        ok(
            dir,
            &["compress", "a.npy", "o.zarr", "-f", "--codec", "learned:m.safetensors", "-b", bound, "--embed-model"],
        );
        ok(dir, &["verify", "o.zarr", "--against", "a.npy"]);
    }
}
