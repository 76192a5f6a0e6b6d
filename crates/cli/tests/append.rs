//! `lithify append` on a real file that comes in pieces.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

mod common;

use std::path::Path;

use serde_json::Value;

use common::{fails, ok};

#[track_caller]
fn json(dir: &Path, args: &[&str]) -> Value {
    common::json(dir, &[args, &["--json"]].concat())
}

#[test]
fn a_file_in_pieces_becomes_one_store() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/pop-SSH.nc");
    let whole = whole.to_str().unwrap();
    ok(dir, &["extract", whole, "SSH", "all.nc"]);
    for i in ["0", "1"] {
        ok(dir, &["extract", whole, "SSH", &format!("{i}.nc"), "--sel", &format!("time={i}")]);
    }
    for (store, bound) in [("s.zarr", "SSH:range=1e-3"), ("n.zarr", "SSH:l2=1e-3"), ("z.zarr.zip", "SSH:ratio=10")] {
        let chunks = ["--chunks", "time=2,nlat=200", "--effort", "2"];
        ok(dir, &[&["compress", "0.nc", store, "-b", bound], &chunks[..]].concat());
        ok(dir, &["extract", store, "SSH", "before.npy"]);
        fails(dir, 2, "already", &["append", "0.nc", store, "--dim", "time"]);
        if store == "s.zarr" {
            let report = json(dir, &["append", "1.nc", store, "--dim", "time"]);
            assert_eq!((&report["start"], &report["stop"]), (&1.into(), &2.into()));
        } else {
            let text = ok(dir, &["append", "1.nc", store, "--dim", "time", "-T", "1"]);
            assert!(text.contains("SSH") && text.contains(store), "{text}");
        }
        assert_eq!(json(dir, &["verify", store, "--against", "all.nc"])["ok"], true);
        ok(dir, &["extract", store, "SSH", "after.npy", "--sel", "time=0:1"]);
        assert_eq!(std::fs::read(dir.join("before.npy")).unwrap(), std::fs::read(dir.join("after.npy")).unwrap());
        std::fs::remove_file(dir.join("before.npy")).unwrap();
        std::fs::remove_file(dir.join("after.npy")).unwrap();
        let info = ok(dir, &["info", store]);
        assert!(info.contains("grown along time in 2 parts, 1 + 1: SSH"), "{info}");
        fails(dir, 2, "already", &["append", "1.nc", store, "--dim", "time"]);
        fails(dir, 2, "must go on", &["append", "0.nc", store, "--dim", "time"]);
        fails(dir, 2, "there are", &["append", "1.nc", store, "--dim", "nope"]);
        ok(dir, &["decompress", store, "back.nc"]);
        ok(dir, &["compare", "all.nc", "back.nc"]);
        std::fs::remove_file(dir.join("back.nc")).unwrap();
    }
    fails(dir, 4, "lithify compress", &["append", "1.nc", "0.nc", "--dim", "time"]);
    fails(dir, 2, "the same", &["append", "s.zarr", "s.zarr", "--dim", "time"]);
    fails(dir, 1, "No such file", &["append", "1.nc", "nothing.zarr", "--dim", "time"]);
    ok(dir, &["decompress", "s.zarr", "plain.zarr"]);
    fails(dir, 2, "already", &["append", "1.nc", "plain.zarr", "--dim", "time"]);
}

/// Damage to what a joined chunk was joined from, or to what is said of the parts, is found out.
#[test]
fn damage_to_parts_is_found_out() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/pop-SSH.nc");
    for (name, part) in [("a.nc", "time=0:1"), ("b.nc", "time=1:2")] {
        ok(dir, &["extract", whole.to_str().unwrap(), "SSH", name, "--sel", part]);
    }
    ok(dir, &["compress", "a.nc", "s.zarr", "-b", "SSH:abs=1", "--chunks", "time=3", "--effort", "1"]);
    ok(dir, &["append", "b.nc", "s.zarr", "--dim", "time"]);
    ok(dir, &["verify", "s.zarr"]);
    let meta = dir.join("s.zarr/SSH/zarr.json");
    let good = std::fs::read_to_string(&meta).unwrap();
    let certificate = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let said = |path: &str| certificate(&good).pointer(&format!("/attributes/lithify{path}")).cloned().unwrap();
    for (path, other) in [
        ("/parts/0/decoded_checksum", Value::from("crc32c:00000000")),
        ("/parts/1/decoded_checksum", said("/parts/0/decoded_checksum")),
        ("/parts/1/stop", 3.into()),
        ("/parts/1/start", 2.into()),
        ("/parts/0/stop", 2.into()),
        ("/parts/0/dim", "nlat".into()),
        ("/parts", Value::Null),
        ("/field/n", 7.into()),
    ] {
        assert_ne!(said(path), other);
        let mut bad = certificate(&good);
        *bad.pointer_mut(&format!("/attributes/lithify{path}")).unwrap() = other;
        if path == "/parts" {
            // One checksum for all, as if it had been written at once.
            bad["attributes"]["lithify"]["decoded_checksum"] = said("/parts/0/decoded_checksum");
        }
        std::fs::write(&meta, bad.to_string()).unwrap();
        fails(dir, 3, "failed", &["verify", "s.zarr"]);
    }
    std::fs::write(&meta, &good).unwrap();
    let chunk = dir.join("s.zarr/SSH/c/0/0/0");
    let payload = std::fs::read(&chunk).unwrap();
    assert_eq!(payload[..4], *b"LTH\x02");
    for at in [20, payload.len() / 2, payload.len() - 6] {
        let mut bad = payload.clone();
        bad[at] ^= 8;
        std::fs::write(&chunk, bad).unwrap();
        fails(dir, 3, "failed", &["verify", "s.zarr"]);
        fails(dir, 4, "SSH", &["decompress", "s.zarr", "o.nc"]);
    }
    std::fs::write(&chunk, payload).unwrap();
    ok(dir, &["verify", "s.zarr"]);
}
