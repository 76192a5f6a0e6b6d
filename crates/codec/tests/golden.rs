//! Payloads written by earlier versions decode for ever, and damaged ones never do.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use lithify_codec::{decode_chunk, header, learned};

fn golden() -> Vec<(String, Vec<u8>)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden");
    let mut files = Vec::new();
    for version in std::fs::read_dir(root).unwrap() {
        for file in std::fs::read_dir(version.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            if path.extension().is_some_and(|e| e == "safetensors") {
                learned::register(learned::Model::from_bytes(&bytes).unwrap());
                continue;
            }
            files.push((path.display().to_string(), bytes));
        }
    }
    files.sort();
    files
}

#[test]
fn every_golden_payload_decodes() {
    let files = golden();
    // Every codec of the first version, every sample type; joined payloads.
    let of = |version: &str| files.iter().filter(|(name, _)| name.contains(&format!("golden/{version}/"))).count();
    assert!(of("1") >= 50 && of("2") >= 4, "{}", files.len());
    for (name, bytes) in files {
        let h = header(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let x = decode_chunk(&bytes, &h.shape).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(x.crc32c(), h.decoded_crc32c, "{name}");
    }
}

#[test]
fn no_flip_and_no_cut_goes_unnoticed_or_panics() {
    let some = golden().into_iter().enumerate().filter(|(i, (name, _))| i % 3 == 0 || name.contains("golden/2/"));
    for (_, (name, bytes)) in some {
        let shape = header(&bytes).unwrap().shape;
        for cut in 0..bytes.len() {
            assert!(decode_chunk(&bytes[..cut], &shape).is_err(), "{name} cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut b = bytes.clone();
            b[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_chunk(&b, &shape).is_err(), "{name} bit {bit}");
            // With the checksum put right the damage reaches the codec: an error or a value, no panic.
            let at = b.len() - 4;
            let crc = lithify_codec::crc32c_append(0, &b[..at]);
            b[at..].copy_from_slice(&crc.to_le_bytes());
            if bit % 7 == 0 {
                let _ = decode_chunk(&b, &shape);
            }
        }
    }
}

#[test]
fn narrow_vectors_give_the_same_values() {
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["every_golden_payload_decodes", "--exact"])
        .env("LITHIFY_SIMD", "baseline")
        .status();
    assert!(status.unwrap().success());
}
