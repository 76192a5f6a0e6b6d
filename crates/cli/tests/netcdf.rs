//! `lithify compress` to NetCDF-4: what goes in comes out, through every verb; damage is found out.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

mod common;

use std::path::Path;

use serde_json::Value;

use common::{fails, json, lithify, ok};

fn data(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(name).to_str().unwrap().into()
}

fn variable<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["variables"].as_array().unwrap().iter().find(|v| v["name"] == name).unwrap()
}

#[test]
fn a_real_file_goes_through_every_verb() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let original = data("pop-SSH.nc");
    // Chunks that do not divide the variable, so that some end inside.
    let args = ["compress", &original, "s.nc", "-b", "SSH:range=1e-3", "--json"];
    let report = json(dir, &[&args[..], &["--chunks", "time=1,nlat=100,nlon=90", "--picture", "p.png"]].concat());
    let ssh = variable(&report, "SSH");
    assert!(ssh["ratio"].as_f64().unwrap() > 10.0, "{ssh}");
    assert!(std::fs::read(dir.join("p.png")).unwrap().starts_with(b"\x89PNG"));
    let whole = std::fs::metadata(dir.join("s.nc")).unwrap().len();
    assert!(report["stored_bytes"] == whole && whole < std::fs::metadata(&original).unwrap().len());

    let verified = json(dir, &["verify", "s.nc", "--against", &original, "--json"]);
    assert_eq!(verified["ok"], true, "{verified}");
    assert_eq!(variable(&verified, "SSH")["bound"], "range=0.001");
    assert!(variable(&verified, "SSH")["errors"]["n_changed"].as_u64().unwrap() > 1000, "it is lossy");
    assert_eq!(json(dir, &["verify", "s.nc", "--json"])["ok"], true);
    let info = json(dir, &["info", "s.nc", "--json"]);
    let row = variable(&info, "SSH");
    assert_eq!(row["chunk"], serde_json::json!([1, 100, 90]));
    assert_eq!(row["certificate"]["bound"], "range=0.001");
    assert_eq!(row["stored_bytes"], ssh["stored_bytes"]);

    // The same as through a Zarr store of the same chunks, attributes too.
    let zarr = ["compress", &original, "s.zarr", "-b", "SSH:range=1e-3", "--chunks", "time=1,nlat=100,nlon=90"];
    ok(dir, &zarr);
    ok(dir, &["decompress", "s.nc", "a.nc"]);
    ok(dir, &["decompress", "s.zarr", "b.nc"]);
    let same = json(dir, &["compare", "a.nc", "b.nc", "--json"]);
    assert!(same["missing"] == 0 && same["variables"].as_array().unwrap().len() > 3, "{same}");
    for v in same["variables"].as_array().unwrap() {
        assert!(v["comparison"]["n_changed"] == 0 && v["comparison"]["n_missing_changed"] == 0, "{v}");
    }
    let variables = |file: &str| {
        let info = json(dir, &["info", file, "--json"]);
        let mut rows = info["variables"].as_array().unwrap().clone();
        rows.iter_mut().for_each(|r| ["stored_bytes", "ratio"].iter().for_each(|k| r[*k] = Value::Null));
        rows
    };
    assert_eq!(variables("a.nc"), variables("b.nc"));
    ok(dir, &["extract", "s.nc", "SSH", "part.npy", "--sel", "time=1,nlat=90:110"]);
    ok(dir, &["extract", "a.nc", "SSH", "part2.npy", "--sel", "time=1,nlat=90:110"]);
    assert_eq!(std::fs::read(dir.join("part.npy")).unwrap(), std::fs::read(dir.join("part2.npy")).unwrap());
    // Another lossy pass is told, and kept in the lineage.
    let out = lithify(dir, &["compress", "s.nc", "t.nc", "-b", "SSH:range=1e-2"]);
    assert!(String::from_utf8_lossy(&out.stderr).contains("lossy already"), "{out:?}");
    let again = json(dir, &["verify", "t.nc", "--json"]);
    assert_eq!(variable(&again, "SSH")["lineage"].as_array().unwrap().len(), 2);
}

/// Bounds over the whole variable are worked out before anything is written, as for a Zarr store; nothing depends on threads.
#[test]
fn every_bound_is_kept() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let original = data("pop-SSH.nc");
    for bound in ["l2=1e-3", "psnr=60", "ratio=20", "rel=0.01,abs=1", "bits=auto", "lossless"] {
        let mut bytes = Vec::new();
        for threads in ["1", "3"] {
            let args = ["compress", &original, "s.nc", "-f", "--json", "--effort", "1", "--vars", "SSH", "-T", threads];
            let rule = format!("SSH:{bound}");
            let report = json(dir, &[&args[..], &["-b", &rule, "--chunks", "time=1,nlat=100"]].concat());
            if bound == "ratio=20" {
                let ratio = variable(&report, "SSH")["ratio"].as_f64().unwrap();
                assert!((20.0..20.2).contains(&ratio), "{report}");
            }
            let verified = json(dir, &["verify", "s.nc", "--against", &original, "--json"]);
            assert_eq!(verified["ok"], true, "{bound}: {verified}");
            bytes.push(variable(&report, "SSH")["stored_bytes"].clone());
        }
        assert_eq!(bytes[0], bytes[1]);
    }
    // Against another original the promise is found broken.
    ok(dir, &["compress", &data("pop-SSH.nc"), "other.nc", "-f", "-b", "SSH:abs=20"]);
    ok(dir, &["decompress", "other.nc", "plain.nc"]);
    fails(dir, 3, "failed", &["verify", "s.nc", "--against", "plain.nc"]);
}

#[test]
fn text_grib_and_small_things_are_written_too() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    for name in ["waves-reduced.grib2", "cesm-T.nc"] {
        let original = data(name);
        ok(dir, &["compress", &original, "o.nc", "-f", "--effort", "1", "-b", "abs=0.5"]);
        let verified = json(dir, &["verify", "o.nc", "--against", &original, "--json"]);
        assert_eq!(verified["ok"], true, "{name}: {verified}");
    }
}

#[test]
fn every_type_groups_and_unlimited_dimensions_survive() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    for name in ["every_feature.nc", "classic.nc", "cdf5.nc"] {
        let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("../io/tests/data").join(name);
        let original = original.to_str().unwrap();
        let info = json(dir, &["info", original, "--json"]);
        // A named bound reaches small variables, too: every number that may have one.
        let mut args = vec!["compress".to_string(), original.into(), "o.nc".into(), "-f".into()];
        for v in info["variables"].as_array().unwrap().iter().filter(|v| v["role"] == "data") {
            args.extend(["-b".into(), format!("{}:abs=2", v["name"].as_str().unwrap())]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        assert!(args.len() > 4, "{name} has data");
        ok(dir, &args);
        let verified = json(dir, &["verify", "o.nc", "--against", original, "--json"]);
        assert_eq!(verified["ok"], true, "{name}: {verified}");
    }
}

#[test]
fn damage_and_bad_requests_are_found_out() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let original = data("pop-SSH.nc");
    ok(dir, &["compress", &original, "s.nc", "-b", "SSH:abs=1", "--vars", "SSH", "--effort", "1"]);
    let good = std::fs::read(dir.join("s.nc")).unwrap();
    let at = good.windows(4).position(|w| w == b"LTH\x01").unwrap();
    for offset in [5, 100, 2000] {
        let mut bad = good.clone();
        bad[at + offset] ^= 4;
        std::fs::write(dir.join("s.nc"), bad).unwrap();
        fails(dir, 3, "failed", &["verify", "s.nc"]);
        fails(dir, 4, "", &["decompress", "s.nc", "o.nc"]);
    }
    // HDF5 has a checksum for what holds the certificate.
    let text = good.windows(9).position(|w| w == b"{\"bound\":").unwrap();
    let mut bad = good.clone();
    bad[text + 12] ^= 1;
    std::fs::write(dir.join("s.nc"), &bad).unwrap();
    fails(dir, 4, "damaged", &["verify", "s.nc"]);
    std::fs::write(dir.join("s.nc"), &good).unwrap();
    ok(dir, &["verify", "s.nc"]);

    fails(dir, 2, "-f", &["compress", &original, "s.nc"]);
    fails(dir, 2, "ending", &["compress", &original, "s.hdf"]);
    fails(dir, 2, "same", &["compress", "s.nc", "s.nc", "-f"]);
    fails(dir, 1, "", &["compress", &original, "no/such/place/o.nc"]);
    assert_eq!(std::fs::read(dir.join("s.nc")).unwrap(), good, "untouched by all that");
}
