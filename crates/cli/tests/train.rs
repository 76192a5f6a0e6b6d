//! `lithify train` runs the program beside it, or says how to get it.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

#[test]
fn runs_what_lies_beside_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let lithify = dir.path().join("lithify");
    std::fs::copy(env!("CARGO_BIN_EXE_lithify"), &lithify).expect("a copy");
    let run = || {
        let out = Command::new(&lithify).args(["train", "a.toml", "--help", "-q"]).env("PATH", dir.path()).output();
        let out = out.expect("it runs");
        (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let (code, said) = run();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cargo build --release -p lithify-learned") && said.lines().count() == 1, "{said}");

    let program = dir.path().join("lithify-train");
    std::fs::write(&program, "#!/bin/sh\necho \"$@\"\nexit 4\n").expect("a script");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("made executable");
    assert_eq!(run(), (Some(4), "a.toml --help -q\n".into()));
}
