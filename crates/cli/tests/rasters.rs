//! GeoTIFF through every verb; pictures; what a GeoTIFF cannot hold; damaged files.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

mod common;

use std::path::Path;

use common::{fails, json, lithify, ok};

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../io/tests/data/raster").join(name).to_str().unwrap().into()
}

fn data(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(name).to_str().unwrap().into()
}

#[test]
fn a_geotiff_goes_through_every_verb() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let original = fixture("described.tif");
    let info = json(dir, &["info", &original, "--json"]);
    assert_eq!((info["format"].as_str(), info["variables"][0]["name"].as_str()), (Some("GeoTIFF"), Some("described")));
    assert_eq!(info["variables"][0]["shape"], serde_json::json!([2, 20, 24]));
    ok(dir, &["compress", &original, "d.zarr", "-b", "described:abs=0.5"]);
    let verified = json(dir, &["verify", "d.zarr", "--against", &original, "--json"]);
    assert_eq!(verified["ok"], true, "{verified}");
    let errors = &verified["variables"][0]["errors"];
    assert!(errors["max_abs"].as_f64().unwrap() <= 0.5, "{verified}");
    ok(dir, &["decompress", "d.zarr", "back.tif"]);
    // Called otherwise, and still the same variable.
    let compared = json(dir, &["compare", &original, "back.tif", "--json"]);
    assert_eq!(compared["missing"], 0, "{compared}");
    assert_eq!(compared["variables"][0]["comparison"]["n_missing_changed"], 0, "{compared}");
    ok(dir, &["extract", "d.zarr", "described", "part.tif", "--sel", "band=1,y=5100000..5099900"]);
    assert_eq!(json(dir, &["info", "part.tif", "--json"])["variables"][0]["shape"], serde_json::json!([1, 10, 24]));
    // Through NetCDF and back, with its place.
    ok(dir, &["decompress", "d.zarr", "d.nc"]);
    ok(dir, &["decompress", "d.nc", "again.tif"]);
    assert_eq!(std::fs::read(dir.join("again.tif")).unwrap(), std::fs::read(dir.join("back.tif")).unwrap());
}

#[test]
fn pictures_become_rasters() {
    let tmp = tempfile::tempdir().unwrap();
    for name in ["chip.jpg", "gray16.png"] {
        ok(tmp.path(), &["compress", &fixture(name), "p.zarr", "-f"]);
        ok(tmp.path(), &["verify", "p.zarr", "--against", &fixture(name)]);
        ok(tmp.path(), &["decompress", "p.zarr", "p.tif", "-f"]);
        let compared = json(tmp.path(), &["compare", &fixture(name), "p.tif", "--json"]);
        assert!(compared["missing"] == 0 && compared["variables"][0]["comparison"]["n_changed"] == 0, "{compared}");
    }
}

#[test]
fn what_is_left_out_is_said() {
    let tmp = tempfile::tempdir().unwrap();
    let out = lithify(tmp.path(), &["info", &fixture("bits12.tif")]);
    assert!(String::from_utf8_lossy(&out.stderr).contains("12-bit samples are read as uint16"), "{out:?}");
}

#[test]
fn what_does_not_fit_in_a_geotiff_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let (several, deep) = (data("pop-SSH.nc"), data("cesm-T.nc"));
    fails(dir, 2, "name one: lithify extract STORE NAME out.tif, of", &["decompress", &several, "a.tif"]);
    ok(dir, &["extract", &several, "SSH", "a.tif"]);
    let shape = json(dir, &["info", "a.tif", "--json"])["variables"][0]["shape"].clone();
    assert_eq!(shape, serde_json::json!([2, 384, 320]));
    ok(dir, &["extract", &deep, "T", "b.tif", "--sel", "lat=30..60"]);
    fails(dir, 2, "a variable of two or three dimensions", &["extract", &deep, "lev", "c.tif"]);
    fails(dir, 2, "the output exists", &["extract", &deep, "T", "b.tif"]);
}

#[test]
fn damage_is_found_out() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let bytes = std::fs::read(fixture("jpeg-rgb.tif")).unwrap();
    // The end holds tiles.
    std::fs::write(dir.join("cut.tif"), &bytes[..bytes.len() - 100]).unwrap();
    fails(dir, 4, "the piece at row 32, column 64", &["compress", "cut.tif", "c.zarr"]);
    std::fs::write(dir.join("head.tif"), &bytes[..20]).unwrap();
    fails(dir, 4, "the file is damaged", &["info", "head.tif"]);
    std::fs::write(dir.join("cut.jpg"), &std::fs::read(fixture("chip.jpg")).unwrap()[..900]).unwrap();
    fails(dir, 4, "cut.jpg", &["compress", "cut.jpg", "c.zarr"]);
}
