//! Codecs that are trained, on data that nobody would train them for.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::path::Path;

use common::{fails, json, lithify, ok};
use lithify_codec::learned::testkit::{models, wavelet};

/// An array of 8-byte floats, or of whole numbers that these become.
fn npy(dir: &Path, descr: &str, shape: &[usize], value: impl Fn(usize) -> f64) {
    let shown: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shown}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((118u16).to_le_bytes());
    bytes.extend(format!("{header:<117}\n").as_bytes());
    for v in (0..shape.iter().product()).map(value) {
        match descr {
            "|i1" => bytes.extend((v as i8).to_le_bytes()),
            "<u2" => bytes.extend((v as u16).to_le_bytes()),
            "<i8" => bytes.extend((v as i64).to_le_bytes()),
            "<f4" => bytes.extend((v as f32).to_le_bytes()),
            _ => bytes.extend(v.to_le_bytes()),
        }
    }
    std::fs::write(dir.join("a.npy"), bytes).unwrap();
}

/// Compressed, verified against the original, and back.
#[track_caller]
fn through(dir: &Path, codec: &str, bound: &str) {
    ok(dir, &["compress", "a.npy", "o.zarr", "-f", "--codec", codec, "-b", bound, "--embed-model"]);
    assert_eq!(json(dir, &["verify", "o.zarr", "--against", "a.npy", "--json"])["ok"], true);
    ok(dir, &["decompress", "o.zarr", "b.npy", "-f"]);
}

const CODECS: [&str; 3] = ["inr,steps=20", "inr,steps=20,width=8,fourier=1,globe=1", "learned:one.safetensors"];

fn prepare(dir: &Path) {
    std::fs::write(dir.join("one.safetensors"), wavelet().unwrap().as_bytes()).unwrap();
    std::fs::write(dir.join("bands.safetensors"), models().unwrap()[3].0.as_bytes()).unwrap();
}

fn wave(i: usize) -> f64 {
    (i as f64 * 0.01).sin()
}

#[test]
fn every_shape_goes_through() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    prepare(dir);
    let shapes: [&[usize]; 10] =
        [&[], &[1], &[0], &[3, 0, 5], &[700], &[1, 1], &[1, 40, 1], &[40, 50], &[2, 3, 20, 21], &[2, 1, 3, 9, 11]];
    for shape in shapes {
        npy(dir, "<f4", shape, wave);
        for codec in CODECS {
            through(dir, codec, "abs=0.01");
        }
    }
}

#[test]
fn every_type_and_value_goes_through() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    prepare(dir);
    let odd = |i: usize| match i % 50 {
        0 => f64::NAN,
        1 => f64::INFINITY,
        2 => f64::NEG_INFINITY,
        3 => -0.0,
        4 => 1e300,
        _ => wave(i),
    };
    type Value = fn(usize) -> f64;
    let cases: [(&str, Value, &str); 14] = [
        ("<f8", odd, "abs=0.01"),
        ("<f8", odd, "rel=0.01"),
        ("<f4", odd, "range=0.01"),
        ("<f8", |_| f64::NAN, "abs=0.01"),
        ("<f8", |_| f64::INFINITY, "psnr=50"),
        ("<f8", |_| 273.15, "l2=1e-3"),
        ("<f8", |i| wave(i) * 1e300, "abs=1e298"),
        ("<f8", |i| wave(i) * 1e-300, "range=0.01"),
        ("<f8", |i| wave(i) * 1.7e308, "rel=0.01"),
        ("|i1", |i| wave(i) * 120.0, "abs=2"),
        ("<u2", |i| 32_000.0 + wave(i) * 30_000.0, "abs=100"),
        ("<i8", |i| wave(i) * 9e18, "abs=1e15"),
        ("<f8", wave, "abs=1e-15"),
        ("<f8", wave, "abs=0"),
    ];
    for (descr, value, bound) in cases {
        npy(dir, descr, &[60, 70], value);
        for codec in CODECS {
            through(dir, codec, bound);
        }
    }
}

#[test]
fn what_does_not_fit_a_model_says_so() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    prepare(dir);
    for shape in [&[][..], &[700], &[40, 50], &[2, 20, 21], &[3, 2, 9, 11], &[3, 3, 2, 9, 11]] {
        npy(dir, "<f4", shape, wave);
        let args = ["compress", "a.npy", "n.zarr", "--codec", "learned:bands.safetensors", "-b", "abs=0.01"];
        fails(dir, 2, "takes 3 bands", &args);
    }
    npy(dir, "<f4", &[2, 3, 9, 11], wave);
    through(dir, "learned:bands.safetensors", "abs=0.01");
}

/// Ended by itself: neither by a panic nor by a signal.
#[track_caller]
fn ends(dir: &Path, what: &str, args: &[&str]) {
    let out = lithify(dir, args);
    let code = out.status.code();
    assert!(code.is_some_and(|c| c <= 5), "{what}: {code:?}: {}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn damage_is_found_out() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    prepare(dir);
    npy(dir, "<f4", &[40, 50], wave);
    for codec in CODECS {
        through(dir, codec, "abs=0.01");
        let chunk = dir.join("o.zarr/a/c/0/0");
        let bytes = std::fs::read(&chunk).unwrap();
        for k in 0..12 {
            let at = k * bytes.len() / 12;
            std::fs::write(&chunk, &bytes[..at]).unwrap();
            fails(dir, 4, "", &["decompress", "o.zarr", "c.npy"]);
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (k % 8);
            std::fs::write(&chunk, changed).unwrap();
            fails(dir, 4, "", &["decompress", "o.zarr", "c.npy"]);
        }
        std::fs::write(&chunk, bytes).unwrap();
    }
    let model = wavelet().unwrap().as_bytes().to_vec();
    for k in 0..12 {
        let at = k * model.len() / 12;
        std::fs::write(dir.join("cut.safetensors"), &model[..at]).unwrap();
        fails(dir, 4, "cut.safetensors", &["info", "o.zarr", "--model", "cut.safetensors"]);
        let mut changed = model.clone();
        changed[at] ^= 1 << (k % 8);
        std::fs::write(dir.join("cut.safetensors"), &changed).unwrap();
        ends(
            dir,
            "a changed model",
            &["compress", "a.npy", "m.zarr", "-f", "--codec", "learned:cut.safetensors", "-b", "abs=0.01"],
        );
        // In the store, where it has a name.
        let stored = std::fs::read_dir(dir.join("o.zarr/lithify_models")).unwrap();
        let stored = stored.map(|e| e.unwrap().path()).find(|p| p.is_dir()).unwrap().join("c/0");
        std::fs::write(&stored, &changed).unwrap();
        fails(dir, 4, "", &["decompress", "o.zarr", "c.npy"]);
        std::fs::write(&stored, &model[..at]).unwrap();
        fails(dir, 4, "", &["decompress", "o.zarr", "c.npy"]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    use std::process::Command;
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    prepare(dir);
    npy(dir, "<f4", &[40, 50], wave);
    for codec in CODECS {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let args = ["compress", "a.npy", "-", "--codec", codec, "-b", "abs=0.01", "--embed-model"];
        let out =
            Command::new(env!("CARGO_BIN_EXE_lithify")).args(args).current_dir(dir).stdout(full).output().unwrap();
        assert_eq!(out.status.code(), Some(1), "{codec}: {}", String::from_utf8_lossy(&out.stderr));
    }
}
