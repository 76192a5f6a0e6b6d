//! Values at any latitude and longitude, from the command line.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::path::Path;

use common::{fails, json, ok};
use serde_json::{Value, json};

/// One chunk of plain Zarr.
fn array(dir: &Path, name: &str, dims: &[(&str, usize)], attributes: Value, values: &[f64]) {
    let (names, shape): (Vec<&str>, Vec<usize>) = dims.iter().copied().unzip();
    let meta = json!({
        "zarr_format": 3, "node_type": "array", "shape": shape, "data_type": "float64", "fill_value": "NaN",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "attributes": attributes, "dimension_names": names,
    });
    let chunk = dims.iter().fold(dir.join(name).join("c"), |path, _| path.join("0"));
    std::fs::create_dir_all(chunk.parent().unwrap()).unwrap();
    std::fs::write(dir.join(name).join("zarr.json"), meta.to_string()).unwrap();
    std::fs::write(chunk, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
}

fn group(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(
        dir.join("zarr.json"),
        json!({"zarr_format": 3, "node_type": "group", "attributes": {}}).to_string(),
    )
    .unwrap();
}

/// A globe of two times whose values are `value(time, latitude, longitude)`; latitudes fall.
fn globe(dir: &Path, n: [usize; 2], value: impl Fn(usize, f64, f64) -> f64) {
    group(dir);
    let lat: Vec<f64> = (0..n[0]).map(|i| 90.0 - 180.0 * (i as f64 + 0.5) / n[0] as f64).collect();
    let lon: Vec<f64> = (0..n[1]).map(|i| 360.0 * i as f64 / n[1] as f64).collect();
    let t: Vec<f64> =
        (0..2 * n[0] * n[1]).map(|i| value(i / (n[0] * n[1]), lat[i / n[1] % n[0]], lon[i % n[1]])).collect();
    array(dir, "lat", &[("lat", n[0])], json!({"units": "degrees_north"}), &lat);
    array(dir, "lon", &[("lon", n[1])], json!({"standard_name": "longitude", "units": "degrees"}), &lon);
    array(dir, "time", &[("time", 2)], json!({"units": "days since 2000-01-01"}), &[10.0, 20.0]);
    array(dir, "t", &[("time", 2), ("lat", n[0]), ("lon", n[1])], json!({"units": "K"}), &t);
}

fn values(dir: &Path, args: &[&str]) -> Vec<Vec<Option<f64>>> {
    let said = json(dir, &[&["extract"], args, &["--json"]].concat());
    let points = said["points"].as_array().unwrap();
    points.iter().map(|p| p["values"].as_array().unwrap().iter().map(Value::as_f64).collect()).collect()
}

#[test]
fn values_between_grid_points_are_bilinear() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    // Bilinear but at the seam, where the longitude falls back; a hole in the second time.
    let hole = |t: usize, lat: f64, lon: f64| t == 1 && lat == 85.0 && lon == 10.0;
    globe(&dir.join("g.zarr"), [18, 36], |t, lat, lon| {
        if hole(t, lat, lon) { f64::NAN } else { 1000.0 * t as f64 + lat * 2.0 + lon + lat * lon / 100.0 }
    });
    let got = values(dir, &["g.zarr", "t", "--at", "-33.75,151.25"]);
    let want = -67.5 + 151.25 - 33.75 * 1.5125;
    assert_eq!(got, [[Some(want), Some(1000.0 + want)]]);
    let at = |place: &str, more: &[&str]| values(dir, &[&["g.zarr", "t", "--at", place], more].concat()).remove(0);
    assert_eq!(at("85,10", &[]), [Some(188.5), None]);
    // Three valid grid points around the middle of a cell, one of four.
    assert_eq!(
        at("80,15", &["--sel", "time=1"]),
        [Some(1000.0 + (150.0 + 7.5 + 10.0 + 170.0 + 17.0 + 20.0 + 150.0 + 15.0 + 20.0) / 3.0)]
    );
    // Over the seam, from either side.
    let seam = (170.0 + 350.0 + 297.5 + 170.0 + 0.0) / 2.0;
    assert_eq!(at("85,355", &["--sel", "time=0"]), [Some(seam)]);
    assert_eq!(at("85,-5", &["--sel", "time=~10"]), [Some(seam)]);

    let table = ok(dir, &["extract", "g.zarr", "t", "--at", "85,20", "--at", "75,20"]);
    assert!(table.starts_with("latitude  longitude  time  t [K]\n"), "{table}");
    assert_eq!(table.lines().count(), 5, "{table}");
    fails(dir, 2, "latitudes -85 to 85", &["extract", "g.zarr", "t", "--at", "86,10"]);
    fails(dir, 2, "--at", &["extract", "g.zarr", "t", "--at", "91,10"]);
    fails(dir, 2, "--sel", &["extract", "g.zarr", "t", "--at", "10,10", "--sel", "lat=0"]);
    fails(dir, 2, "there is no variable", &["extract", "g.zarr", "none", "--at", "10,10"]);
    fails(dir, 2, "--at", &["extract", "g.zarr", "t", "o.npy", "--at", "10,10"]);
    fails(dir, 2, "OUTPUT", &["extract", "g.zarr", "t"]);
    // A store of many chunks says the same.
    ok(dir, &["compress", "g.zarr", "c.zarr", "--chunks", "lat=5,lon=7,time=1", "-b", "abs=1e-9"]);
    let places = ["--at", "85,355", "--at", "40,69", "--at", "-33,71", "--at", "80,15"];
    let (plain, coded) = (
        values(dir, &[&["g.zarr", "t"], &places[..]].concat()),
        values(dir, &[&["c.zarr", "t"], &places[..]].concat()),
    );
    for (a, b) in plain.iter().flatten().zip(coded.iter().flatten()) {
        assert!((a.unwrap() - b.unwrap()).abs() < 1e-8, "{plain:?} {coded:?}");
    }
}

#[test]
fn other_grids_say_what_to_do() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let store = dir.join("g.zarr");
    group(&store);
    let (lat, lon) = (json!({"units": "degrees_north"}), json!({"units": "degrees_east"}));
    let named = json!({"coordinates": "la lo"});
    array(&store, "la", &[("y", 2), ("x", 3)], lat.clone(), &[1.0; 6]);
    array(&store, "lo", &[("y", 2), ("x", 3)], lon.clone(), &[1.0; 6]);
    array(&store, "curved", &[("y", 2), ("x", 3)], named, &[1.0; 6]);
    array(&store, "lac", &[("cell", 4)], lat, &[1.0, 2.0, 3.0, 4.0]);
    array(&store, "loc", &[("cell", 4)], lon, &[1.0, 2.0, 3.0, 4.0]);
    array(&store, "cells", &[("cell", 4)], json!({"coordinates": "lac loc"}), &[1.0; 4]);
    array(&store, "plain", &[("y", 2), ("x", 3)], json!({}), &[1.0; 6]);
    for (name, says) in [("curved", "--sel y=0,x=0"), ("cells", "--sel cell=0"), ("plain", "with --sel")] {
        fails(dir, 2, says, &["extract", "g.zarr", name, "--at", "1,1"]);
    }
}

#[test]
fn a_network_speaks_between_grid_points() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let wave = |_: usize, lat: f64, lon: f64| 280.0 + 20.0 * lat.to_radians().cos() * (3.0 * lon.to_radians()).sin();
    globe(&dir.join("g.zarr"), [36, 72], wave);
    let bound = ["-b", "abs=0.01", "-f"];
    ok(
        dir,
        &[&["compress", "g.zarr", "n.zarr", "--codec", "inr,width=24,steps=1500,frequency=8"], &bound[..]].concat(),
    );
    ok(dir, &[&["compress", "g.zarr", "p.zarr", "--codec", "predict"], &bound[..]].concat());
    // The chunks of this one end at 180 degrees.
    let chunks =
        ["compress", "g.zarr", "m.zarr", "--chunks", "lon=36", "--codec", "inr,width=24,steps=1500,frequency=8"];
    ok(dir, &[&chunks[..], &bound[..]].concat());
    let ask = |store: &str, place: &str| values(dir, &[store, "t", "--at", place, "--sel", "time=0"])[0][0].unwrap();
    // On the grid it is what is stored.
    let stored = wave(0, 2.5, 30.0);
    assert!((ask("n.zarr", "2.5,30") - stored).abs() <= 0.01);
    // Between grid points it is nearer to the truth than a straight line, also over the seam and between chunks.
    let (mut of_net, mut of_line, mut of_chunks) = (0.0, 0.0, 0.0);
    for (lat, lon) in [(0.0, 27.5), (0.0, 32.5), (0.0, 92.5), (20.0, 147.5), (5.0, 177.5), (5.0, 357.5), (-40.0, 272.5)]
    {
        let (place, truth) = (format!("{lat},{lon}"), wave(0, lat, lon));
        of_net += (ask("n.zarr", &place) - truth).powi(2);
        of_line += (ask("p.zarr", &place) - truth).powi(2);
        of_chunks += (ask("m.zarr", &place) - truth).powi(2);
    }
    assert!(of_net < 0.5 * of_line && of_chunks < 0.5 * of_line, "{of_net} {of_chunks} {of_line}");
}

#[test]
fn a_chunk_that_was_joined_has_a_network_for_each_part() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let wave = |_: usize, lat: f64, lon: f64| 20.0 * lat.to_radians().cos() * (3.0 * lon.to_radians()).sin();
    globe(&dir.join("g.zarr"), [36, 72], wave);
    globe(&dir.join("h.zarr"), [36, 72], |t, lat, lon| 5.0 + wave(t, lat, -lon));
    array(&dir.join("h.zarr"), "time", &[("time", 2)], json!({"units": "days since 2000-01-01"}), &[30.0, 40.0]);
    let codec = "inr,width=24,steps=1500,frequency=8";
    ok(dir, &["compress", "g.zarr", "j.zarr", "-b", "abs=0.01", "--chunks", "time=4", "--codec", codec]);
    let ask = || values(dir, &["j.zarr", "t", "--at", "0,32.5", "--at", "12,357.5"]);
    let before = ask();
    ok(dir, &["append", "h.zarr", "j.zarr", "--dim", "time"]);
    for ((place, before), after) in [(0.0, 32.5), (12.0, 357.5)].into_iter().zip(before).zip(ask()) {
        assert_eq!(after[..2], before[..]);
        let line = 20.0 * f64::to_radians(place.0).cos() * (f64::to_radians(2.5 * 3.0)).powi(2) / 2.0;
        let truth = [wave(0, place.0, place.1), 5.0 + wave(0, place.0, -place.1)];
        for (got, truth) in [(after[0].unwrap(), truth[0]), (after[3].unwrap(), truth[1])] {
            assert!((got - truth).abs() < 0.5 * line, "{place:?}: {got} {truth} {line}");
        }
    }
}

/// The codec that the array's metadata name.
fn codec(dir: &Path, store: &str) -> String {
    let meta: Value = serde_json::from_slice(&std::fs::read(dir.join(store).join("t/zarr.json")).unwrap()).unwrap();
    let codecs = meta["codecs"].as_array().unwrap();
    codecs.iter().find_map(|c| c["configuration"]["codec"].as_str()).unwrap().into()
}

#[test]
fn a_network_is_told_of_a_globe() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    globe(&dir.join("g.zarr"), [18, 36], |_, lat, lon| lat + lon);
    let quick = "inr,steps=5,width=4";
    let compress = |store: &str, codec: &str, chunks: &str, out: &str| {
        ok(dir, &["compress", store, out, "-b", "t:abs=1", "-f", "--codec", codec, "--chunks", chunks]);
    };
    compress("g.zarr", quick, "time=1", "a.zarr");
    assert!(codec(dir, "a.zarr").ends_with("globe=1,steps=5"), "{}", codec(dir, "a.zarr"));
    ok(dir, &["verify", "a.zarr", "--against", "g.zarr"]);
    // Asked for otherwise; parts of a globe; a file that holds such a part only.
    compress("g.zarr", "inr,steps=5,width=4,globe=0", "time=1", "b.zarr");
    compress("g.zarr", quick, "lon=18", "c.zarr");
    ok(dir, &["extract", "g.zarr", "t", "part.zarr", "--sel", "lon=0..100"]);
    compress("part.zarr", quick, "time=1", "d.zarr");
    for store in ["b.zarr", "c.zarr", "d.zarr"] {
        assert!(!codec(dir, store).contains("globe=1"), "{store}: {}", codec(dir, store));
    }
}
