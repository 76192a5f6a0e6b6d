//! `kill -9` at any moment: under the store's name there is the old store or the new one, whole.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lithify_codec::testkit::uniform;

/// What is killed, and how often. A zip file is replaced by both verbs in the same way.
const ROUNDS: [(&str, &str, u64); 3] =
    [("x.zarr", "compress", 20), ("x.zarr", "append", 20), ("x.zarr.zip", "append", 10)];
/// Many small chunks: most of the time goes to files.
const SHAPE: [usize; 3] = [60, 8, 8];

fn npy(path: &Path, n: usize, seed: u64) {
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    let [_, b, c] = SHAPE;
    let shape = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({n}, {b}, {c}), }}");
    let text = format!("{shape:<117}\n");
    file.extend((text.len() as u16).to_le_bytes());
    file.extend(text.as_bytes());
    for i in 0..n * b * c {
        file.extend(((i as f32 / 50.0).sin() + uniform(i as u64 ^ seed << 40) as f32).to_le_bytes());
    }
    fs::write(path, file).unwrap();
}

fn lithify(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lithify"));
    command.args(args).current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn ok(dir: &Path, args: &[&str]) {
    let out = Command::new(env!("CARGO_BIN_EXE_lithify")).args(args).current_dir(dir).output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// Every file with its bytes: two stores are the same if these are.
fn tree(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn go(root: &Path, at: &Path, out: &mut BTreeMap<PathBuf, Vec<u8>>) {
        if at.is_dir() {
            for entry in fs::read_dir(at).unwrap() {
                go(root, &entry.unwrap().path(), out);
            }
        } else {
            out.insert(at.strip_prefix(root).unwrap().into(), fs::read(at).unwrap());
        }
    }
    let mut out = BTreeMap::new();
    go(path, path, &mut out);
    out
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

fn remove(path: &Path) {
    if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Kills `args`, which turns the store `name` from what it is in `old/` into what it is in `new/`, again and again.
fn killed_again_and_again(dir: &Path, name: &str, args: &[&str], rounds: u64) {
    let (old, new) = (tree(&dir.join("old").join(name)), tree(&dir.join("new").join(name)));
    assert_ne!(old, new);
    let work = dir.join("work");
    let fresh = || {
        if work.exists() {
            remove(&work);
        }
        fs::create_dir(&work).unwrap();
        copy(&dir.join("old").join(name), &work.join(name));
    };
    fresh();
    let started = Instant::now();
    assert!(lithify(&work, args).status().unwrap().success());
    let whole = started.elapsed();
    assert_eq!(tree(&work.join(name)), new, "{args:?} does not do the same twice");
    let (mut n_old, mut n_left) = (0, 0);
    for round in 0..rounds {
        fresh();
        let mut child = lithify(&work, args).spawn().unwrap();
        // Spread over the whole run and a little beyond, each time somewhere else.
        let part = (round as f64 + uniform(round)) / rounds as f64 * 1.1;
        std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * part));
        child.kill().unwrap();
        child.wait().unwrap();
        let now = tree(&work.join(name));
        assert!(now == old || now == new, "{args:?}, killed in round {round}: neither the old store nor the new one");
        n_old += usize::from(now == old);
        let left = names(&work);
        n_left += usize::from(left.len() > 1);
        assert!(left.len() <= 2 && left.iter().all(|n| n.contains(name)), "{left:?}");
        if round % 3 == 0 {
            // The next run finds its way, and clears up.
            if now == old {
                assert!(lithify(&work, args).status().unwrap().success());
            } else {
                ok(&work, &["compress", "../second.npy", name, "-f"]);
            }
            assert_eq!(names(&work), [name]);
        }
    }
    // Some were killed early, or nothing was tried.
    assert!(n_old > 0, "{args:?}: every run was through before it was killed");
    eprintln!("{args:?}: {n_old} of {rounds} were killed before the store changed, {n_left} left a temporary");
}

#[test]
fn a_killed_process_leaves_the_old_store_or_the_new_one() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let [n, ..] = SHAPE;
    npy(&dir.join("x.npy"), n, 1);
    npy(&dir.join("second.npy"), n + 7, 2);
    for (name, verb, rounds) in ROUNDS {
        for folder in ["old", "new", "work"] {
            if dir.join(folder).exists() {
                remove(&dir.join(folder));
            }
            fs::create_dir(dir.join(folder)).unwrap();
        }
        let chunks = ["-b", "abs=1e-3", "--chunks", "dim_0=1,dim_1=4", "--effort", "1", "-f", "-T", "2"];
        ok(&dir.join("old"), &[&["compress", "../x.npy", name], &chunks[..]].concat());
        copy(&dir.join("old").join(name), &dir.join("new").join(name));
        let args = match verb {
            "compress" => [&["compress", "../second.npy", name], &chunks[..]].concat(),
            _ => vec!["append", "../second.npy", name, "--dim", "dim_0"],
        };
        ok(&dir.join("new"), &args);
        killed_again_and_again(dir, name, &args, rounds);
    }
}

#[test]
fn two_at_once_do_not_mix() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    npy(&dir.join("x.npy"), 20, 1);
    npy(&dir.join("more.npy"), 300, 2);
    ok(dir, &["compress", "x.npy", "x.zarr", "--chunks", "dim_0=1"]);
    let append = || {
        let mut c = lithify(dir, &["append", "more.npy", "x.zarr", "--dim", "dim_0", "-T", "1"]);
        c.stderr(Stdio::piped()).spawn().unwrap()
    };
    let running: Vec<_> = (0..4).map(|_| append()).collect();
    let ended: Vec<_> = running.into_iter().map(|c| c.wait_with_output().unwrap()).collect();
    let through = ended.iter().filter(|o| o.status.success()).count();
    for o in ended.iter().filter(|o| !o.status.success()) {
        let said = String::from_utf8_lossy(&o.stderr);
        assert!(o.status.code() == Some(1) && said.contains("another append is running"), "{said}");
    }
    assert!(through >= 1);
    // Each one that was through is there, whole.
    let out = lithify(dir, &["info", "x.zarr", "--json"]).stdout(Stdio::piped()).output().unwrap();
    let info: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(info["variables"][0]["shape"][0], 20 + 300 * through);
    ok(dir, &["verify", "x.zarr"]);
    assert_eq!(names(dir), ["more.npy", "x.npy", "x.zarr"]);
}
