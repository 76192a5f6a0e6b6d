//! The same code as over a network, on stores in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use futures_util::TryStreamExt;
use lithify_codec::testkit::hash;
use lithify_codec::{ChunkSpec, Dtype, Samples, encode_chunk};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::json;

use super::block_on;
use crate::error::Error;
use crate::formats;
use crate::job::check_output;
use crate::model::{DataType, Dimension, Group, Source, Values, Variable};
use crate::zarr::{Layout, ZarrSource, ZarrWriter};

/// The bucket of this name, which lasts as long as the process.
pub(crate) fn bucket(name: &str) -> Arc<dyn ObjectStore> {
    static BUCKETS: OnceLock<Mutex<BTreeMap<String, Arc<InMemory>>>> = OnceLock::new();
    let mut buckets = BUCKETS.get_or_init(Mutex::default).lock().unwrap();
    buckets.entry(name.into()).or_default().clone()
}

/// Keys in a bucket.
fn keys(name: &str) -> Vec<String> {
    let all = block_on(bucket(name).list(None).try_collect::<Vec<_>>()).unwrap().unwrap();
    all.into_iter().map(|meta| meta.location.to_string()).collect()
}

fn put(name: &str, key: &str, value: impl Into<Vec<u8>>) {
    block_on(bucket(name).put(&key.into(), value.into().into())).unwrap().unwrap();
}

fn value(chunk: u64, i: u64) -> u64 {
    hash(chunk * 4096 + i)
}

/// `v` u64[64, 512] in chunks of 8 rows, 4 to a shard, and a coordinate `t`; incompressible.
fn write(url: &str) -> Result<(), Error> {
    let mut writer = start(Path::new(url))?;
    for i in 0..8 {
        let x = Samples::U64((0..8 * 512).map(|j| value(i, j)).collect());
        let payload = encode_chunk(&x, &[8, 512], &ChunkSpec::lossless()).unwrap().bytes;
        writer.write_payload("g/v", &[i as usize, 0], payload)?;
    }
    writer.finish().map(drop)
}

fn start(url: &Path) -> Result<ZarrWriter, Error> {
    let variable = |name: &str, dims: &[(&str, usize)], dtype| Variable {
        name: name.into(),
        dims: dims.iter().map(|d| d.0.into()).collect(),
        shape: dims.iter().map(|d| d.1).collect(),
        data_type: DataType::Number(dtype),
        attrs: vec![],
        chunks: None,
    };
    let v = variable("v", &[("t", 64), ("x", 512)], Dtype::U64);
    let sub = Group { name: "g".into(), variables: vec![v], ..Group::default() };
    let t = variable("t", &[("t", 64)], Dtype::F64);
    let root = Group { variables: vec![t], groups: vec![sub], ..Group::default() };
    let layout = Layout { chunk: vec![8, 512], shard: Some(vec![32, 512]), configuration: json!({}) };
    let mut writer = ZarrWriter::create(url)?;
    writer.define(&root, &BTreeMap::from([("g/v".to_string(), layout)]))?;
    writer.write("t", &[0], &[64], &Values::Numbers(Samples::F64((0..64).map(f64::from).collect())))?;
    Ok(writer)
}

#[test]
fn stores_come_back_from_every_kind_of_place() {
    let folder = tempfile::tempdir().unwrap();
    let local = folder.path().join("a.zarr");
    let places = ["memory://there/deep/a.zarr", "memory://there/a.zarr.zip", local.to_str().unwrap()];
    for place in places {
        write(place).unwrap();
    }
    // A server that cannot list has the same nodes, from the root's metadata.
    for place in places.into_iter().chain(["memory-web://there/deep/a.zarr/", "memory-web://there/a.zarr.zip"]) {
        let source = formats::open(Path::new(place)).unwrap();
        let paths: Vec<_> = source.root().walk().into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["t", "g/v"], "{place}");
        assert!(source.warnings().is_empty() && source.lost().is_empty());
        let want = (0..8).flat_map(|i| (0..8 * 512).map(move |j| value(i, j))).collect();
        assert_eq!(source.read("g/v", &[0, 0], &[64, 512]).unwrap(), Values::Numbers(Samples::U64(want)), "{place}");
        let t = Values::Numbers(Samples::F64(vec![3.0, 4.0]));
        assert_eq!(source.read("t", &[3], &[2]).unwrap(), t, "{place}");
        let source = ZarrSource::open(Path::new(place)).unwrap();
        assert!((8 * 32768..9 * 32768).contains(&source.bytes_stored("g/v").unwrap()), "{place}");
        assert_eq!(
            source.bytes_listed("g/v").unwrap().is_none(),
            place.starts_with("memory-web") && !place.contains("zip")
        );
    }
}

/// Opening a store and reading a series through some of its chunks costs less than 1.2 times these chunks.
#[test]
fn a_part_costs_only_its_chunks() {
    for place in ["memory://cost/a.zarr", "memory://cost/a.zarr.zip"] {
        write(place).unwrap();
        for place in [place.to_string(), place.replace("memory:", "memory-web:")] {
            for (start, count, chunks) in [(10, 2, 1), (0, 64, 8), (20, 30, 5)] {
                let source = ZarrSource::open(Path::new(&place)).unwrap();
                let series = source.read("g/v", &[start, 300], &[count, 1]).unwrap();
                let want = (start..start + count).map(|t| value(t as u64 / 8, (t % 8 * 512 + 300) as u64)).collect();
                assert_eq!(series, Values::Numbers(Samples::U64(want)));
                let (cost, least) = (source.bytes_read(), chunks * 32768);
                assert!(
                    (least..least * 12 / 10).contains(&cost),
                    "{place}: {cost} bytes for {chunks} chunks of 32 KiB"
                );
            }
        }
    }
}

#[test]
fn a_store_is_there_once_it_is_finished() {
    let url = Path::new("memory://whole/x/a.zarr");
    let mut writer = start(url).unwrap();
    for i in 0..5 {
        writer.write_payload("g/v", &[i, 0], vec![0; 30]).unwrap();
    }
    drop(writer);
    assert_eq!(keys("whole"), [""; 0], "what an unfinished job wrote is gone");

    // Another job that was faster keeps what it has.
    let slow = start(url).unwrap();
    put("whole", "x/a.zarr/zarr.json", "another's");
    assert!(slow.finish().unwrap_err().to_string().contains("another store"));
    assert!(keys("whole").contains(&"x/a.zarr/zarr.json".to_string()));

    for force in [false, true] {
        let error = check_output(url, force).unwrap_err().to_string();
        assert!(error.contains("the output exists") && error.contains("new name"), "{error}");
        assert_eq!(error.contains("-f does not help"), force);
    }
    assert!(start(url).is_err());
    put("whole", "y/b.zarr/chapter.txt", "years of work");
    assert!(check_output(Path::new("memory://whole/y/b.zarr"), true).is_err());
    check_output(Path::new("memory://whole/y/c.zarr"), false).unwrap();
    // One object is replaced in one step.
    write("memory://whole/c.zarr.zip").unwrap();
    assert!(check_output(Path::new("memory://whole/c.zarr.zip"), false).is_err());
    check_output(Path::new("memory://whole/c.zarr.zip"), true).unwrap();
    write("memory://whole/c.zarr.zip").unwrap();
    ZarrSource::open(Path::new("memory://whole/c.zarr.zip")).unwrap();
}

#[test]
fn files_are_fetched_and_sent() {
    for name in ["a.npy", "a.nc", "a.zarr", "a.zarr.zip"] {
        let url = format!("memory://files/{name}");
        let variable = Variable {
            name: "a".into(),
            dims: vec!["dim_0".into()],
            shape: vec![3_000_000],
            data_type: DataType::Number(Dtype::F64),
            attrs: vec![],
            chunks: None,
        };
        // Larger than what is sent as one part.
        let values = Values::Numbers(Samples::F64((0..3_000_000).map(|i| hash(i) as f64).collect()));
        let mut sink = formats::create(Path::new(&url)).unwrap();
        let dims = vec![Dimension { name: "dim_0".into(), len: 3_000_000, unlimited: false }];
        sink.define(&Group { dims, variables: vec![variable], ..Group::default() }).unwrap();
        sink.write("a", &[0], &[3_000_000], &values).unwrap();
        assert!(name == "a.zarr" || !keys("files").iter().any(|k| k.ends_with(name)), "{name} is there before its end");
        sink.finish().unwrap();
        let source = formats::open(Path::new(&url)).unwrap();
        assert!(source.read("a", &[0], &[3_000_000]).unwrap() == values, "{name}");
    }
    let error = formats::open(Path::new("memory://files/none.nc")).err().unwrap().to_string();
    assert_eq!(error, "memory://files/none.nc: there is nothing at this URL");
    put("files", "bad.nc", "no such format");
    let error = formats::open(Path::new("memory://files/bad.nc")).err().unwrap().to_string();
    assert!(error.starts_with("memory://files/bad.nc: not one of"), "{error}");
    let cut = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/pop-SSH.nc")).unwrap();
    put("files", "cut.nc", &cut[..cut.len() / 2]);
    let opened = formats::open(Path::new("memory://files/cut.nc"));
    let error = opened.and_then(|s| s.read("SSH", &[0, 0, 0], &[1, 1, 1])).err().unwrap().to_string();
    assert!(error.starts_with("memory://files/cut.nc: "), "{error}");
}

#[test]
fn stores_of_others_where_nothing_can_be_listed() {
    let array = json!({
        "zarr_format": 3, "node_type": "array", "shape": [2], "data_type": "uint8", "fill_value": 7,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2]}},
        "chunk_key_encoding": {"name": "default"}, "codecs": [{"name": "bytes"}]
    });
    let group = json!({"zarr_format": 3, "node_type": "group"});
    put("others", "a.zarr/zarr.json", group.to_string());
    put("others", "a.zarr/g/zarr.json", group.to_string());
    put("others", "a.zarr/g/v/zarr.json", array.to_string());
    let read = |place: &str| {
        let source = formats::open(Path::new(place))?;
        source.read("g/v", &[0], &[2])
    };
    let want = Values::Numbers(Samples::U8(vec![7, 7]));
    assert_eq!(read("memory://others/a.zarr").unwrap(), want);
    let error = read("memory-web://others/a.zarr").unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains("consolidate"), "{error}");
    let mut root = group.clone();
    root["consolidated_metadata"] =
        json!({"kind": "inline", "must_understand": false, "metadata": {"g": group, "g/v": array}});
    put("others", "b.zarr/zarr.json", root.to_string());
    let array = json!({
        "zarr_format": 2, "shape": [2], "chunks": [2], "dtype": "|u1", "fill_value": 7, "compressor": null,
        "filters": null, "order": "C"
    });
    let group = json!({"zarr_format": 2});
    let all = json!({".zgroup": group, "g/.zgroup": group, "g/v/.zarray": array, "g/v/.zattrs": {"n": 3}});
    put("others", "c.zarr/.zgroup", group.to_string());
    put("others", "c.zarr/.zmetadata", json!({"zarr_consolidated_format": 1, "metadata": all}).to_string());
    for place in ["memory-web://others/b.zarr", "memory://others/b.zarr", "memory-web://others/c.zarr"] {
        assert_eq!(read(place).unwrap(), want, "{place}");
    }
}

#[test]
fn what_a_store_lacks_is_damage_and_no_store_is_said() {
    write("memory://damage/a.zarr").unwrap();
    let url = Path::new("memory://damage/a.zarr");
    let shard = "a.zarr/g/v/c/1/0";
    let whole = block_on(async { bucket("damage").get(&shard.into()).await.unwrap().bytes().await.unwrap() }).unwrap();
    let read = || ZarrSource::open(url).unwrap().read("g/v", &[40, 0], &[8, 512]);
    let good = read().unwrap();
    for cut in [0, 3, 50, whole.len() / 2, whole.len() - 1] {
        put("damage", shard, &whole[..cut]);
        assert!(matches!(read().unwrap_err(), Error::Corrupt { .. }), "cut at {cut}");
    }
    let mut bytes = whole.to_vec();
    // A chunk that claims to be longer than anything.
    let n = bytes.len();
    bytes[n - 4 - 3 * 16 + 8 + 7] = 0x7f;
    let crc = crc32c::crc32c(&bytes[n - 68..n - 4]);
    bytes[n - 4..].copy_from_slice(&crc.to_le_bytes());
    put("damage", shard, bytes);
    assert!(matches!(read().unwrap_err(), Error::Corrupt { .. }));
    put("damage", shard, whole.to_vec());
    assert_eq!(read().unwrap(), good);
    for bad in ["memory://damage/none.zarr", "memory://damage/none"] {
        let error = formats::open(Path::new(bad)).err().unwrap().to_string();
        assert!(error.contains("there is nothing at this URL"), "{error}");
    }
    for bad in ["ftp://x/a.zarr", "s3:///a.zarr", "memory://damage/a//b.zarr"] {
        assert!(matches!(formats::open(Path::new(bad)).err().unwrap(), Error::Invalid { .. }), "{bad}");
    }
    let error = check_output(Path::new("https://h/a.zarr?sig=secret"), true).unwrap_err().to_string();
    assert!(error.contains("only read") && !error.contains("secret"), "{error}");
}
