//! `-` for standard input and output, and URLs where no network is needed to refuse them.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs a command with these bytes on its standard input and a folder of its own for temporary files, which must be empty afterwards.
fn lithify(dir: &Path, args: &[&str], input: &[u8]) -> Output {
    let temporary = dir.join("tmp");
    std::fs::create_dir_all(&temporary).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_lithify"))
        .args(args)
        .current_dir(dir)
        .env("TMPDIR", &temporary)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A command that refuses its arguments reads nothing.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "{args:?} left temporary files");
    out
}

#[track_caller]
fn ok(dir: &Path, args: &[&str], input: &[u8]) -> Output {
    let out = lithify(dir, args, input);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out
}

#[track_caller]
fn fails(dir: &Path, code: i32, says: &str, args: &[&str], input: &[u8]) -> String {
    let out = lithify(dir, args, input);
    let err = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(code), "{args:?}: {err}");
    assert!(err.contains(says) && out.stdout.is_empty(), "{args:?}: {err}");
    err
}

/// float32 [n, 50].
fn npy(n: usize) -> Vec<u8> {
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    let text = format!("{:<117}\n", format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({n}, 50), }}"));
    file.extend((text.len() as u16).to_le_bytes());
    file.extend(text.as_bytes());
    (0..n * 50).for_each(|i| file.extend(((i as f32 / 300.0).sin() * 10.0).to_le_bytes()));
    file
}

#[test]
fn what_goes_in_comes_out_through_pipes() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let original = npy(200);
    ok(dir, &["compress", "-", "s.zarr"], &original);
    assert_eq!(ok(dir, &["decompress", "s.zarr", "-"], b"").stdout[128..], original[128..]);

    let zip = ok(dir, &["compress", "-", "-", "-b", "abs=0.01"], &original);
    assert!(zip.stdout.starts_with(b"PK"));
    let table = String::from_utf8_lossy(&zip.stderr);
    assert!(table.contains("ratio") && table.contains("data"), "{table}");
    ok(dir, &["decompress", "-", "back.npy"], &zip.stdout);
    assert_eq!(std::fs::read(dir.join("back.npy")).unwrap().len(), original.len());
    let info = ok(dir, &["info", "-", "--json"], &zip.stdout);
    assert!(String::from_utf8_lossy(&info.stdout).contains("abs=0.01"));
    ok(dir, &["verify", "-", "--json"], &zip.stdout);

    let part = ok(dir, &["extract", "s.zarr", "data", "-", "--sel", "dim_0=3:5", "--json"], b"");
    assert_eq!(part.stdout[128..], original[128 + 3 * 200..128 + 5 * 200]);
    assert!(String::from_utf8_lossy(&part.stderr).contains("\"bytes_read\""));
    // The same from a file.
    ok(dir, &["extract", "s.zarr", "data", "part.npy", "--sel", "dim_0=3:5"], b"");
    assert_eq!(std::fs::read(dir.join("part.npy")).unwrap(), part.stdout);
}

#[test]
fn bad_streams_are_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let original = npy(200);
    fails(dir, 4, "standard input: not one of", &["compress", "-", "s.zarr"], b"not a file of ours");
    fails(dir, 4, "standard input: the file is empty", &["compress", "-", "s.zarr"], b"");
    fails(dir, 4, "standard input: ", &["compress", "-", "-"], &original[..500]);
    assert!(!dir.join("s.zarr").exists());
    let zip = ok(dir, &["compress", "-", "-"], &original).stdout;
    fails(dir, 4, "standard input", &["decompress", "-", "b.npy"], &zip[..zip.len() / 2]);
    fails(dir, 2, "2", &["extract", "-", "data", "-", "--sel", "dim_0=1e9"], &zip);
}

#[test]
fn a_pipe_that_is_closed_ends_quietly() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    std::fs::write(dir.join("x.npy"), npy(20_000)).unwrap();
    ok(dir, &["compress", "x.npy", "s.zarr"], b"");
    for args in [&["decompress", "s.zarr", "-"][..], &["info", "s.zarr"], &["info", "s.zarr", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = Command::new(env!("CARGO_BIN_EXE_lithify"))
            .args(args)
            .current_dir(dir)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn();
        let out = child.unwrap().wait_with_output().unwrap();
        assert_eq!((out.status.code(), String::from_utf8_lossy(&out.stderr).as_ref()), (Some(1), ""), "{args:?}");
    }
}

#[test]
fn urls_are_refused_without_their_secrets() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    std::fs::write(dir.join("x.npy"), npy(20)).unwrap();
    for (says, args) in [
        ("only read", &["compress", "x.npy", "https://h/a.zarr?sig=hidden"][..]),
        ("same", &["compress", "https://h/a.zarr?sig=hidden", "https://h/a.zarr?sig=hidden"]),
        ("URLs can begin", &["info", "ftp://h/a.nc"]),
        ("bucket", &["info", "s3:///a.zarr"]),
        ("picture", &["compress", "x.npy", "a.zarr", "--picture", "s3://b/p.png"]),
    ] {
        let err = fails(dir, 2, says, args, b"");
        assert!(!err.contains("hidden"), "{err}");
    }
    // A server that refuses everything.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = server.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut client, _)) = server.accept() {
            let mut request = [0; 4096];
            let _ = std::io::Read::read(&mut client, &mut request);
            let _ = client.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    let url = format!("http://user:hidden@{host}/a.nc?sig=hidden");
    let err = fails(dir, 1, &format!("http://{host}/a.nc?...: access is refused (403)"), &["info", &url], b"");
    assert!(!err.contains("hidden"), "{err}");
}
