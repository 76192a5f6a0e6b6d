//! Whole commands on small files: what goes in comes out, promises hold, bad input gets a clear error and the right exit code.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use common::{fails, json, lithify, ok};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(name)
}

/// A float32 .npy file `[4, 40, 50]` with a smooth field and some NaN.
fn npy(dir: &Path, name: &str) {
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    let text = format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 40, 50), }");
    header.extend((text.len() as u16).to_le_bytes());
    header.extend(text.as_bytes());
    for i in 0..8000 {
        let v = if i % 50 < 5 { f32::NAN } else { (i as f32 / 300.0).sin() * 10.0 + (i % 50) as f32 * 0.1 };
        header.extend(v.to_le_bytes());
    }
    std::fs::write(dir.join(name), header).unwrap();
}

#[test]
fn a_real_file_goes_through_every_verb() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let original = data("pop-SSH.nc");
    let original = original.to_str().unwrap();
    let report = json(dir, &["compress", original, "s.zarr", "-b", "SSH:range=1e-3", "--json", "--picture", "p.png"]);
    let ssh = report["variables"].as_array().unwrap().iter().find(|v| v["name"] == "SSH").unwrap();
    assert!(ssh["ratio"].as_f64().unwrap() > 15.0, "{ssh}");
    assert!(ssh["n_escapes"].as_f64().unwrap() < 0.01 * ssh["n_valid"].as_f64().unwrap(), "{ssh}");
    assert!(std::fs::read(dir.join("p.png")).unwrap().starts_with(b"\x89PNG"));

    assert_eq!(json(dir, &["verify", "s.zarr", "--against", original, "--json"])["ok"], true);
    assert_eq!(json(dir, &["verify", "s.zarr", "--json"])["ok"], true);
    let info = json(dir, &["info", "s.zarr", "--json"]);
    assert!(info["variables"].as_array().unwrap().iter().any(|v| v["certificate"]["bound"] == "range=0.001"));

    ok(dir, &["decompress", "s.zarr", "back.nc"]);
    let compared = json(dir, &["compare", original, "back.nc", "--json"]);
    for v in compared["variables"].as_array().unwrap() {
        let c = &v["comparison"];
        assert_eq!(c["n_missing_changed"], 0, "{v}");
        if v["name"] != "SSH" {
            assert_eq!(c["n_changed"], 0, "{v}");
        }
    }
    let part = json(dir, &["extract", "s.zarr", "SSH", "part.npy", "--sel", "time=1,nlat=100:110", "--json"]);
    assert_eq!(part["shape"], serde_json::json!([1, 10, 320]));
    assert!(part["bytes_touched"].as_u64().unwrap() <= part["bytes_stored"].as_u64().unwrap());
    // The same part of the decompressed file has the same bytes.
    ok(dir, &["extract", "back.nc", "SSH", "part2.npy", "--sel", "time=1,nlat=100:110"]);
    assert_eq!(std::fs::read(dir.join("part.npy")).unwrap(), std::fs::read(dir.join("part2.npy")).unwrap());
}

#[test]
fn lossless_is_the_default_and_bits_come_back() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    npy(dir, "x.npy");
    for store in ["x.zarr", "x.zarr.zip"] {
        ok(dir, &["compress", "x.npy", store]);
        ok(dir, &["decompress", store, "y.npy", "-f"]);
        assert_eq!(std::fs::read(dir.join("x.npy")).unwrap(), std::fs::read(dir.join("y.npy")).unwrap());
    }
    let waves = data("waves-reduced.grib2");
    ok(dir, &["compress", waves.to_str().unwrap(), "w.zarr.zip"]);
    assert_eq!(json(dir, &["verify", "w.zarr.zip", "--against", waves.to_str().unwrap(), "--json"])["ok"], true);
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    npy(dir, "x.npy");
    for (threads, name) in [("1", "a.zarr.zip"), ("2", "b.zarr.zip"), ("5", "c.zarr.zip")] {
        ok(dir, &["compress", "x.npy", name, "-b", "l2=1e-3", "--chunks", "dim_0=1,dim_1=7", "-T", threads]);
    }
    let a = std::fs::read(dir.join("a.zarr.zip")).unwrap();
    assert_eq!(a, std::fs::read(dir.join("b.zarr.zip")).unwrap());
    assert_eq!(a, std::fs::read(dir.join("c.zarr.zip")).unwrap());
    assert_eq!(json(dir, &["verify", "a.zarr.zip", "--against", "x.npy", "--json"])["ok"], true);
}

/// Targets for bytes are met from below within 1 %, whatever the chunks and threads; what came out is checked like any promise.
#[test]
fn ratios_sizes_and_bits_are_kept() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let original = data("pop-SSH.nc");
    let original = original.to_str().unwrap();
    let chunks = ["--chunks", "time=1,nlat=96,nlon=80", "--vars", "SSH", "--json", "-f"];
    let ssh = |v: &Value| v["variables"].as_array().unwrap().iter().find(|v| v["name"] == "SSH").unwrap().clone();
    let mut stores = Vec::new();
    let cases = [("ratio=20", "predict", "1"), ("ratio=20", "predict", "3"), ("bytes=30k,abs=1000", "wavelet", "2")];
    for (bound, codec, threads) in cases {
        let args = ["compress", original, "s.zarr", "-b", &format!("SSH:{bound}"), "-T", threads];
        let args = [&args[..], &["--codec", codec, "--effort", "1"]].concat();
        let v = ssh(&json(dir, &[&args[..], &chunks[..]].concat()));
        let (stored, ratio) = (v["stored_bytes"].as_u64().unwrap(), v["ratio"].as_f64().unwrap());
        match bound {
            "ratio=20" => assert!((20.0..=20.2).contains(&ratio), "{v}"),
            _ => assert!((29_700..=30_000).contains(&stored), "{v}"),
        }
        assert!(v["n_trials"].as_u64().unwrap() <= 6 && v["n_encodes"].as_u64().unwrap() <= 5, "{v}");
        let resolved = v["resolved"].as_str().unwrap().strip_prefix("abs=").unwrap().parse::<f64>().unwrap();
        assert!(v["achieved"]["max_abs"].as_f64().unwrap() <= resolved, "{v}");
        assert_eq!(ssh(&json(dir, &["info", "s.zarr", "--json"]))["stored_bytes"], stored);
        // The configuration says what was used in the end, inside shards too.
        let meta: Value = serde_json::from_slice(&std::fs::read(dir.join("s.zarr/SSH/zarr.json")).unwrap()).unwrap();
        let inner = meta.pointer("/codecs/0/configuration/codecs/0/configuration/resolved/abs");
        assert_eq!(inner.and_then(Value::as_f64), Some(resolved));
        assert_eq!(json(dir, &["verify", "s.zarr", "--against", original, "--json"])["ok"], true);
        stores.push(std::fs::read(dir.join("s.zarr/SSH/c/0/0/0")).unwrap());
    }
    assert_eq!(stores[0], stores[1]);

    let bits = &json(dir, &["info", original, "--bits", "--json"])["variables"][0];
    assert_eq!(bits["name"], "SSH");
    let v = ssh(&json(dir, &[&["compress", original, "s.zarr", "-b", "SSH:bits=auto"], &chunks[..]].concat()));
    // As many for any chunks.
    assert_eq!(v["resolved"], format!("bits={}", bits["mantissa_bits"]["0.99"]));
    assert!(v["ratio"].as_f64().unwrap() > 8.0, "{v}");
    assert_eq!(json(dir, &["verify", "s.zarr", "--against", original, "--json"])["ok"], true);
    npy(dir, "x.npy");
    ok(dir, &["compress", "x.npy", "x.zarr", "-b", "bits=4"]);
    ok(dir, &["verify", "x.zarr", "--against", "x.npy"]);
    let mut other = std::fs::read(dir.join("x.npy")).unwrap();
    let n = other.len();
    other[n - 4..].copy_from_slice(&99f32.to_le_bytes());
    std::fs::write(dir.join("other.npy"), other).unwrap();
    fails(dir, 3, "failed", &["verify", "x.zarr", "--against", "other.npy"]);
    // The integers have steps of one; the nearest on the right side is taken, and lossless where it is enough.
    let noise = |i| (lithify_codec::testkit::hash(i as u64) % 23) as i32;
    std::fs::write(dir.join("ints.npy"), ints_npy(noise)).unwrap();
    for (ratio, says) in [(1.5, "every bit is kept"), (12.0, "nearest")] {
        let out =
            lithify(dir, &["compress", "ints.npy", "i.zarr", "-f", "--json", "-b", &format!("ints:ratio={ratio}")]);
        assert!(String::from_utf8_lossy(&out.stderr).contains(says), "{out:?}");
        let report: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert!(report["variables"][0]["ratio"].as_f64().unwrap() >= ratio, "{report}");
    }
}

#[test]
fn a_second_lossy_pass_is_told_and_kept_in_the_lineage() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    npy(dir, "x.npy");
    ok(dir, &["compress", "x.npy", "a.zarr", "-b", "abs=0.01"]);
    let out = lithify(dir, &["compress", "a.zarr", "b.zarr", "-b", "abs=0.1", "--json"]);
    assert!(String::from_utf8_lossy(&out.stderr).contains("lossy already"), "{out:?}");
    let report = json(dir, &["verify", "b.zarr", "--json"]);
    assert_eq!(report["variables"][0]["lineage"].as_array().unwrap().len(), 2);
}

#[test]
fn bad_input_gets_a_clear_error_and_nothing_is_lost() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    npy(dir, "x.npy");
    ok(dir, &["compress", "x.npy", "s.zarr"]);
    std::fs::write(dir.join("empty.nc"), b"").unwrap();
    std::fs::write(dir.join("text.nc"), b"not a file of ours").unwrap();
    let nc = std::fs::read(data("pop-SSH.nc")).unwrap();
    std::fs::write(dir.join("cut.nc"), &nc[..nc.len() / 2]).unwrap();
    std::fs::write(dir.join("ints.npy"), ints_npy(|i| i * i)).unwrap();

    for bound in [
        "abs=nan",
        "abs=-1",
        "abs=",
        "nonsense=1",
        "rel=2",
        "ratio=0",
        "ratio=nan",
        "ratio=inf",
        "bytes=0",
        "bytes=2XB",
        "bits=99",
        "bits=x",
        "bits=3,abs=1",
    ] {
        fails(dir, 2, "bound", &["compress", "x.npy", "o.zarr", "-b", bound]);
    }
    fails(dir, 2, "there is no variable", &["compress", "x.npy", "o.zarr", "-b", "nope:abs=1"]);
    fails(dir, 2, "whole numbers", &["compress", "ints.npy", "o.zarr", "-b", "ints:abs=0.5"]);
    fails(dir, 2, "integers", &["compress", "ints.npy", "o.zarr", "-b", "ints:bits=3"]);
    fails(dir, 3, "coarsest step it takes", &["compress", "x.npy", "o.zarr", "-b", "ratio=1e6"]);
    fails(dir, 3, "within abs=0.001 it takes", &["compress", "x.npy", "o.zarr", "-b", "bytes=60,abs=1e-3"]);
    fails(dir, 3, "within lossless it takes", &["compress", "ints.npy", "o.zarr", "-b", "ints:ratio=1000,lossless"]);
    fails(dir, 2, "mantissa", &["info", "ints.npy", "--bits", "--vars", "ints"]);
    fails(dir, 2, "dimension", &["compress", "x.npy", "o.zarr", "--chunks", "nope=3"]);
    fails(dir, 2, "codecs are", &["compress", "x.npy", "o.zarr", "--codec", "nope"]);
    fails(dir, 2, "-f", &["compress", "x.npy", "s.zarr"]);
    fails(dir, 2, "same", &["compress", "s.zarr", "s.zarr", "-f"]);
    fails(dir, 2, "holds the other", &["compress", "s.zarr/x", "s.zarr", "-f"]);
    fails(dir, 2, "holds the other", &["compress", "s.zarr", "s.zarr/new.zarr"]);
    fails(dir, 2, "inside a Zarr store", &["compress", "x.npy", "s.zarr/new.zarr"]);
    fails(dir, 2, "ending", &["decompress", "s.zarr", "o.xyz"]);
    fails(dir, 2, "indices", &["extract", "s.zarr", "x", "o.npy", "--sel", "dim_0=9"]);
    fails(dir, 2, "dimensions", &["extract", "s.zarr", "x", "o.npy", "--sel", "nope=1"]);
    fails(dir, 1, "No such file", &["compress", "missing.nc", "o.zarr"]);
    fails(dir, 1, "", &["compress", "x.npy", "no/such/place/o.zarr"]);
    fails(dir, 4, "empty", &["compress", "empty.nc", "o.zarr"]);
    fails(dir, 4, "not one of", &["compress", "text.nc", "o.zarr"]);
    fails(dir, 4, "damaged", &["compress", "cut.nc", "o.zarr"]);
    // The old output is untouched by all that.
    assert_eq!(json(dir, &["verify", "s.zarr", "--against", "x.npy", "--json"])["ok"], true);
}

fn ints_npy(value: impl Fn(i32) -> i32) -> Vec<u8> {
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    let text = format!("{:<117}\n", "{'descr': '<i4', 'fortran_order': False, 'shape': (5000,), }");
    file.extend((text.len() as u16).to_le_bytes());
    file.extend(text.as_bytes());
    (0..5000).for_each(|i| file.extend(value(i).to_le_bytes()));
    file
}

#[test]
fn damaged_metadata_lose_no_variable_unsaid() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    npy(dir, "x.npy");
    ok(dir, &["compress", "x.npy", "s.zarr", "-b", "abs=0.01", "--chunks", "dim_0=2"]);
    let file = dir.join("s.zarr/x/zarr.json");
    let good = std::fs::read_to_string(&file).unwrap();
    let squeezed: String = good.split_whitespace().collect();
    for (from, to) in [
        ("\"node_type\":\"array\"", "\"node_type\":\"arraz\""),
        ("\"zarr_format\":3", "\"zarr_format\":7"),
        ("\"name\":\"lithify\"", "\"name\":\"lithifx\""),
        ("\"float32\"", "\"float64\""),
        ("[4,40,50]", "[4,40,48]"),
        ("[4,40,50]", "[2,40,50]"),
        ("[2,40,50]", "[4,40,5]"),
        ("[2,40,50]", "[5,40,50]"),
    ] {
        assert!(squeezed.contains(from), "{from} is not in {squeezed}");
        std::fs::write(&file, squeezed.replace(from, to)).unwrap();
        fails(dir, 3, "failed", &["verify", "s.zarr", "--against", "x.npy"]);
        fails(dir, 4, "", &["decompress", "s.zarr", "y.nc"]);
    }
    std::fs::remove_file(&file).unwrap();
    fails(dir, 3, "failed", &["verify", "s.zarr"]);
    fails(dir, 4, "cannot be read", &["decompress", "s.zarr", "y.nc"]);
}

#[test]
fn a_damaged_store_is_found_out() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    npy(dir, "x.npy");
    ok(dir, &["compress", "x.npy", "s.zarr", "-b", "abs=0.01"]);
    let chunk = dir.join("s.zarr/x/c/0/0/0");
    let good = std::fs::read(&chunk).unwrap();
    for (what, bytes) in [
        ("flipped", {
            let mut b = good.clone();
            let i = b.len() / 2;
            b[i] ^= 4;
            b
        }),
        ("cut", good[..good.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("foreign", vec![7; 100]),
    ] {
        std::fs::write(&chunk, bytes).unwrap();
        fails(dir, 3, "failed", &["verify", "s.zarr"]);
        fails(dir, 4, "", &["decompress", "s.zarr", "y.npy"]);
        assert!(!dir.join("y.npy").exists(), "{what}");
    }
    std::fs::remove_file(&chunk).unwrap();
    fails(dir, 3, "failed", &["verify", "s.zarr"]);
    // Another original breaks the promise.
    std::fs::write(&chunk, &good).unwrap();
    let mut other = std::fs::read(dir.join("x.npy")).unwrap();
    let n = other.len();
    other[n - 4..].copy_from_slice(&99f32.to_le_bytes());
    std::fs::write(dir.join("other.npy"), other).unwrap();
    ok(dir, &["verify", "s.zarr"]);
    fails(dir, 3, "failed", &["verify", "s.zarr", "--against", "other.npy"]);
}

#[test]
fn only_stores_and_files_are_replaced() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    npy(dir, "x.npy");
    std::fs::create_dir(dir.join("thesis.zarr")).unwrap();
    std::fs::write(dir.join("thesis.zarr/chapter.txt"), "years of work").unwrap();
    fails(dir, 2, "neither", &["compress", "x.npy", "thesis.zarr", "-f"]);
    assert!(dir.join("thesis.zarr/chapter.txt").exists());
    fails(dir, 2, "ending", &["compress", "x.npy", "thesis", "-f"]);
    // A path that runs through its own target.
    ok(dir, &["compress", "x.npy", "s.zarr"]);
    ok(dir, &["compress", "x.npy", "s.zarr/x/../../s.zarr", "-f"]);
    ok(dir, &["decompress", "s.zarr", "plain.zarr"]);
    ok(dir, &["decompress", "s.zarr", "plain.zarr", "-f"]);
    assert_eq!(json(dir, &["verify", "s.zarr", "--against", "x.npy", "--json"])["ok"], true);
}

#[test]
fn damage_to_coordinates_and_lost_variables_are_found_out() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let original = data("pop-SSH.nc");
    ok(dir, &["compress", original.to_str().unwrap(), "s.zarr"]);
    let chunk = dir.join("s.zarr/TLAT/c/0/0");
    let good = std::fs::read(&chunk).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    std::fs::write(&chunk, bad).unwrap();
    fails(dir, 3, "failed", &["verify", "s.zarr"]);
    fails(dir, 4, "TLAT", &["decompress", "s.zarr", "o.nc"]);
    std::fs::write(&chunk, good).unwrap();
    ok(dir, &["verify", "s.zarr"]);
    std::fs::remove_file(dir.join("s.zarr/SSH/c/0/0/0")).unwrap();
    fails(dir, 4, "missing", &["decompress", "s.zarr", "o.nc"]);
    std::fs::remove_dir_all(dir.join("s.zarr/KMT")).unwrap();
    fails(dir, 3, "failed", &["verify", "s.zarr"]);
    fails(dir, 4, "KMT", &["decompress", "s.zarr", "o.nc"]);
}

#[test]
fn help_completions_and_man_pages_are_derived() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let help = ok(dir, &["compress", "--help"]);
    for stage in lithify_codec::transform::TRANSFORMS {
        assert!(help.contains(stage.name), "{}", stage.name);
    }
    assert!(ok(dir, &["completions", "bash"]).contains("lithify"));
    ok(dir, &["man", "man"]);
    assert!(dir.join("man/lithify-compress.1").exists());
}

#[cfg(unix)]
#[test]
fn a_job_is_handed_over_to_python_as_it_was_asked() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    npy(dir, "a.npy");
    let stub = |text: &str| {
        let path = dir.join("python");
        // A process of its own writes it: a program that is open for writing here, or in what another test starts, does not run.
        let write = ["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" > python && chmod +x python", "sh", text];
        assert!(Command::new("sh").args(write).current_dir(dir).status().unwrap().success());
        let args = "compress a.npy b.zarr --dask tcp://h:1 -b T:abs=0.5 -b rel=1e-3,abs=2 --chunks x=3,y=4 --vars T,U -f --json --effort 7";
        let mut run = Command::new(env!("CARGO_BIN_EXE_lithify"));
        let out = run.args(args.split(' ')).current_dir(dir).env("LITHIFY_PYTHON", &path).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    let (code, out, _) = stub("[ $1 = -c ] || echo \"$@\"");
    let handed = "-m lithify.dask --scheduler tcp://h:1 --bound=T:abs=0.5 --bound=rel=0.001,abs=2.0 --codec=auto --effort=7 \
                  --chunks=x=3,y=4 --vars=T,U --force --json -- a.npy b.zarr\n";
    assert_eq!((code, out.as_str()), (Some(0), handed));
    // Its messages and its exit code are ours.
    let (code, _, err) = stub("[ $1 = -c ] || { echo 'it says no' >&2; exit 3; }");
    assert_eq!((code, err.as_str()), (Some(3), "it says no\n"));
    let (code, _, err) = stub("exit 1");
    assert!(code == Some(1) && err.contains("pip install 'lithify[dask]'"), "{err}");
    fails(dir, 2, "--picture", &["compress", "a.npy", "b.zarr", "--dask", "tcp://h:1", "--picture", "p.png"]);
}
