//! Learned codecs from the command line: models in files, directories and stores.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::path::Path;
use std::process::Command;

use common::{fails, json, ok};
use lithify_codec::learned::testkit::{models, texture, textures, wavelet};

/// Two models, and an array of three bands.
fn prepare(dir: &Path) {
    std::fs::write(dir.join("m.safetensors"), wavelet().unwrap().as_bytes()).unwrap();
    std::fs::write(dir.join("bands.safetensors"), models().unwrap()[3].0.as_bytes()).unwrap();
    std::fs::write(dir.join("broken.safetensors"), &wavelet().unwrap().as_bytes()[..100]).unwrap();
    let value = |i: usize| ((i % 90) as f32 / 9.0).sin() * 30.0 + (i / 90) as f32 * 0.1;
    npy(&dir.join("a.npy"), &[3, 60, 90], value);
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

/// An array of f32.
fn npy(path: &Path, shape: &[usize], value: impl Fn(usize) -> f32) {
    let shown: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shown}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((118u16).to_le_bytes());
    bytes.extend(format!("{header:<117}\n").as_bytes());
    bytes.extend((0..shape.iter().product()).flat_map(|i| value(i).to_le_bytes()));
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn auto_may_choose_a_model_that_is_given() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    std::fs::write(dir.join("t.safetensors"), textures().unwrap().as_bytes()).unwrap();
    let value = |i: usize| {
        let (y, x) = (i / 200, i % 200);
        let sign = if (y / 8 * 7 + x / 8 * 3) % 5 % 2 == 0 { 1.0 } else { -1.0 };
        10.0 + 40.0 * sign * texture(y % 8 * 8 + x % 8) as f32
    };
    npy(&dir.join("a.npy"), &[160, 200], value);
    let model = ["--model", "t.safetensors"];
    let compress = |out: &str, more: &[&str]| {
        json(dir, &[&["compress", "a.npy", out, "-b", "abs=0.5", "--json"], more].concat())["variables"][0]["codec"]
            .clone()
    };
    assert_ne!(compress("p.zarr", &[]), "learned");
    assert_eq!(compress("m.zarr", &model), "learned");
    fails(dir, 5, "--model", &["decompress", "m.zarr", "b.npy"]);
    ok(dir, &[&["verify", "m.zarr", "--against", "a.npy"], &model[..]].concat());
    assert_eq!(compress("e.zarr", &[&model[..], &["--embed-model"]].concat()), "learned");
    ok(dir, &["verify", "e.zarr", "--against", "a.npy"]);
    // Norms choose one codec for the variable; an HDF5 filter has no place for models.
    ok(dir, &[&["compress", "a.npy", "n.zarr", "-b", "psnr=40"], &model[..]].concat());
    ok(dir, &[&["verify", "n.zarr", "--against", "a.npy"], &model[..]].concat());
    assert_ne!(compress("m.nc", &model), "learned");
    // Chunks that do not need it are read without it.
    npy(&dir.join("a.npy"), &[160, 200], |i| i as f32);
    assert_ne!(compress("s.zarr", &model), "learned");
    ok(dir, &["decompress", "s.zarr", "s.npy"]);
}

#[test]
fn automatic_chunks_hold_all_bands() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    prepare(dir);
    npy(&dir.join("big.npy"), &[3, 1500, 1501], |i| (i % 1501) as f32 + (i / 1501) as f32 * 0.5);
    let compress =
        ["compress", "big.npy", "o.zarr", "--codec", "learned:bands.safetensors", "--effort", "1", "--embed-model"];
    ok(dir, &[&compress[..], &["-b", "abs=50"]].concat());
    let info = json(dir, &["info", "o.zarr", "--json"]);
    let chunk: Vec<u64> =
        info["variables"][0]["chunk"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    assert_eq!(chunk[0], 3, "{info}");
    // Norms and budgets are searched on parts of chunks, which have all bands as well.
    for bound in ["psnr=30", "ratio=5"] {
        ok(
            dir,
            &[&["compress", "a.npy"], &compress[2..], &["-b", bound, "--chunks", "dim_1=40,dim_2=40", "-f"]].concat(),
        );
    }
    fails(dir, 2, "3 bands", &[&compress[..], &["-b", "abs=50", "--chunks", "dim_0=2", "-f"]].concat());
}
