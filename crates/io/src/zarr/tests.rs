//! Stores written and read back, and stores that are damaged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lithify_codec::testkit::{FIELDS, SHAPES, hash};
use lithify_codec::{ChunkSpec, Dtype, Samples, block, encode_chunk};
use serde_json::{Value, json};

use super::{Layout, ZarrSource, ZarrWriter, configuration_of, spec_of};
use crate::error::Error;
use crate::formats;
use crate::model::{AttrValue, Attribute, DataType, Dimension, Group, Sink, Source, Values, Variable};

fn variable(name: &str, dims: &[(&str, usize)], data_type: DataType, attrs: Vec<Attribute>) -> Variable {
    Variable {
        name: name.into(),
        dims: dims.iter().map(|d| d.0.into()).collect(),
        shape: dims.iter().map(|d| d.1).collect(),
        data_type,
        attrs,
        chunks: None,
    }
}

fn dim(name: &str, len: usize, unlimited: bool) -> Dimension {
    Dimension { name: name.into(), len, unlimited }
}

fn read_all(source: &dyn Source, path: &str) -> crate::Result<Values> {
    let shape = source.root().find(path)?.shape.clone();
    source.read(path, &vec![0; shape.len()], &shape)
}

/// A variable of every sample type and shape, coded losslessly in chunks that do not divide the shape.
fn coded_group() -> (Group, BTreeMap<String, Layout>, BTreeMap<String, Samples>) {
    let (mut root, mut layouts, mut data) = (Group::default(), BTreeMap::new(), BTreeMap::new());
    for (i, shape) in SHAPES.iter().enumerate().filter(|(_, s)| s.len() < 5) {
        let dtype = Dtype::ALL[i % Dtype::ALL.len()];
        let names: Vec<String> = shape.iter().map(|l| format!("d{l}")).collect();
        let dims: Vec<_> = names.iter().map(String::as_str).zip(shape.iter().copied()).collect();
        let name = format!("v{i}");
        let samples = FIELDS[i % FIELDS.len()].samples(dtype, shape.iter().product(), 7);
        let fill =
            Attribute::numbers("_FillValue", Samples::filled(dtype, 1, hash(i as u64) >> (64 - 8 * dtype.size())));
        root.variables.push(variable(&name, &dims, DataType::Number(dtype), vec![fill]));
        let chunk: Vec<usize> = shape.iter().map(|d| (d / 2).clamp(1, 9)).collect();
        let shard = (i % 2 == 0 && !shape.is_empty()).then(|| chunk.iter().map(|c| c * 2).collect());
        let configuration = configuration_of(&ChunkSpec::lossless(), "lossless");
        layouts.insert(name.clone(), Layout { chunk, shard, configuration });
        data.insert(name, samples);
    }
    (root, layouts, data)
}

/// Chunks of an array in the order in which shards want them.
fn chunks_by_shard(shape: &[usize], layout: &Layout) -> Vec<Vec<usize>> {
    let grid: Vec<usize> = shape.iter().zip(&layout.chunk).map(|(s, c)| s.div_ceil(*c)).collect();
    let mut all: Vec<Vec<usize>> = block::grid(&grid, &vec![1; grid.len()]).into_iter().map(|b| b.0).collect();
    if let Some(shard) = &layout.shard {
        all.sort_by_key(|at| (0..at.len()).map(|d| at[d] * layout.chunk[d] / shard[d]).collect::<Vec<_>>());
    }
    all
}

fn write_coded(path: &Path, padded: bool) -> (Group, BTreeMap<String, Layout>, BTreeMap<String, Samples>) {
    let (root, layouts, data) = coded_group();
    let mut writer = ZarrWriter::create(path).unwrap();
    writer.define(&root, &layouts).unwrap();
    for v in &root.variables {
        let layout = &layouts[&v.name];
        for at in chunks_by_shard(&v.shape, layout) {
            let start: Vec<usize> = at.iter().zip(&layout.chunk).map(|(i, c)| i * c).collect();
            let count: Vec<usize> = (0..start.len()).map(|d| layout.chunk[d].min(v.shape[d] - start[d])).collect();
            let mut part = data[&v.name].crop(&v.shape, &start, &count);
            let mut shape = count.clone();
            if padded {
                let mut whole = Samples::zeros(part.dtype(), layout.chunk.iter().product());
                whole.paste(&layout.chunk, &vec![0; count.len()], &part, &count).unwrap();
                (part, shape) = (whole, layout.chunk.clone());
            }
            let payload = encode_chunk(&part, &shape, &ChunkSpec::lossless()).unwrap().bytes;
            writer.write_payload(&v.name, &at, payload).unwrap();
        }
    }
    writer.set_attribute("v8", "lithify", json!({"bound": "lossless"})).unwrap();
    assert!(writer.bytes_written("v8") > 0);
    assert_eq!(writer.finish().unwrap(), path);
    (root, layouts, data)
}

#[test]
fn coded_arrays_come_back_from_directories_and_zips() {
    let folder = tempfile::tempdir().unwrap();
    for (name, padded) in [("a.zarr", false), ("b.zarr", true), ("c.zarr.zip", false)] {
        let path = folder.path().join(name);
        let (root, layouts, data) = write_coded(&path, padded);
        let source = ZarrSource::open(&path).unwrap();
        assert_eq!(source.warnings(), [""; 0]);
        assert_eq!(source.root().variables, root.variables);
        assert_eq!(source.attribute("v8", "lithify"), Some(json!({"bound": "lossless"})));
        for v in &root.variables {
            let (x, layout) = (&data[&v.name], &layouts[&v.name]);
            assert_eq!(source.layout(&v.name).as_ref(), Some(layout));
            let same = |got: Values, want: &Samples, what: &dyn std::fmt::Debug| {
                let Values::Numbers(got) = got else { panic!("{} is not numbers", v.name) };
                assert_eq!(got.to_le_bytes(), want.to_le_bytes(), "{name} {} {what:?}", v.name);
            };
            same(read_all(&source, &v.name).unwrap(), x, &"whole");
            // Parts that begin and end inside chunks.
            let start: Vec<usize> = v.shape.iter().map(|d| d / 3).collect();
            let count: Vec<usize> = v.shape.iter().zip(&start).map(|(d, s)| (d - s).div_ceil(2)).collect();
            same(source.read(&v.name, &start, &count).unwrap(), &x.crop(&v.shape, &start, &count), &start);
        }
    }
    // Nothing but the finished stores is left.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn zarrs_itself_reads_and_writes_the_codec() {
    use zarrs::array::{Array, ArraySubset};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zarr");
    let (root, layouts, data) = write_coded(&path, false);
    let store = std::sync::Arc::new(zarrs::filesystem::FilesystemStore::new(&path).unwrap());
    for v in root.variables.iter().filter(|v| v.dtype() == Some(Dtype::F64) && !v.is_empty()) {
        let array = Array::open(store.clone(), &format!("/{}", v.name)).unwrap();
        let all = ArraySubset::new_with_shape(array.shape().to_vec());
        let got: Vec<f64> = array.retrieve_array_subset(&all).unwrap();
        assert_eq!(Samples::F64(got.clone()).to_le_bytes(), data[&v.name].to_le_bytes(), "{}", v.name);
        let copy = Array::new_with_metadata(store.clone(), "/copy", array.metadata().clone()).unwrap();
        copy.store_metadata().unwrap();
        copy.store_array_subset(&all, got).unwrap();
        let source = ZarrSource::open(&path).unwrap();
        assert_eq!(source.layout("copy").as_ref(), layouts.get(&v.name));
        let Values::Numbers(got) = read_all(&source, "copy").unwrap() else { panic!() };
        assert_eq!(got.to_le_bytes(), data[&v.name].to_le_bytes());
        std::fs::remove_dir_all(path.join("copy")).unwrap();
    }
}

#[test]
fn a_part_costs_only_its_chunks() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.zarr", "a.zarr.zip"] {
        let path = folder.path().join(name);
        let mut root = Group::default();
        root.variables.push(variable("v", &[("t", 64), ("x", 512)], DataType::Number(Dtype::U64), vec![]));
        let layout = Layout { chunk: vec![8, 512], shard: Some(vec![32, 512]), configuration: json!({}) };
        let mut writer = ZarrWriter::create(&path).unwrap();
        writer.define(&root, &BTreeMap::from([("v".to_string(), layout)])).unwrap();
        for i in (0..8).filter(|i| *i != 5) {
            let x = Samples::U64((0..8 * 512).map(|j| hash(i * 4096 + j)).collect());
            let payload = encode_chunk(&x, &[8, 512], &ChunkSpec::lossless()).unwrap().bytes;
            writer.write_payload("v", &[i as usize, 0], payload).unwrap();
        }
        writer.finish().unwrap();
        let source = ZarrSource::open(&path).unwrap();
        let before = source.bytes_read();
        let got = source.read("v", &[10, 3], &[2, 1]).unwrap();
        let want = [(1, 2), (1, 3)].map(|(c, row)| hash(c * 4096 + row * 512 + 3));
        assert_eq!(got, Values::Numbers(Samples::U64(want.to_vec())));
        let cost = source.bytes_read() - before;
        assert!((32_000..35_000).contains(&cost), "{cost} bytes for a chunk of 32 KiB");
        assert_eq!(source.payload("v", &[5, 0]).unwrap(), None);
        assert_eq!(source.read("v", &[40, 0], &[8, 1]).unwrap(), Values::Numbers(Samples::U64(vec![0; 8])));
        assert!(matches!(source.payload("v", &[8, 0]), Err(Error::Invalid { .. })));
    }
}

/// Everything that the dataset model can hold.
fn rich_group() -> (Group, Vec<(&'static str, Values)>) {
    let n = |d| DataType::Number(d);
    let attrs = vec![
        Attribute::numbers("valid_range", Samples::F32(vec![f32::NAN, f32::INFINITY])),
        Attribute::text("units", "K"),
        Attribute::numbers("flag_values", Samples::I16(vec![1, -2])),
        Attribute::numbers("scale", Samples::F32(vec![0.1])),
        Attribute::numbers("whole", Samples::F64(vec![2.0])),
        Attribute::numbers("big", Samples::U64(vec![u64::MAX])),
        Attribute::numbers("long", Samples::I64(vec![i64::MIN, 3])),
        Attribute::numbers("none", Samples::I8(vec![])),
        Attribute { name: "names".into(), value: AttrValue::Strings(vec!["a".into(), "b".into()]) },
        Attribute { name: "name".into(), value: AttrValue::Strings(vec!["a".into()]) },
        Attribute { name: "no names".into(), value: AttrValue::Strings(vec![]) },
        Attribute::text("empty", ""),
        Attribute::text("quotes", "\"NaN\" \\ \u{e9}\n"),
        Attribute::numbers("missing_value", Samples::F64(vec![f64::from_bits(0x7ff8_0000_0000_0001)])),
    ];
    let fill = |s| vec![Attribute::numbers("_FillValue", s)];
    let sub = Group {
        classic: false,
        name: "sub".into(),
        dims: vec![dim("x", 2, false)],
        attrs: vec![Attribute::text("title", "a group")],
        variables: vec![variable("v", &[("time", 3), ("x", 2)], n(Dtype::I8), fill(Samples::I8(vec![-1])))],
        groups: vec![Group { name: "empty".into(), ..Group::default() }],
    };
    let root = Group {
        classic: true,
        name: String::new(),
        dims: vec![dim("unused", 4, false), dim("time", 3, true), dim("x", 5, false), dim("none", 0, true)],
        attrs: attrs.clone(),
        variables: vec![
            variable("time", &[("time", 3)], n(Dtype::F64), attrs),
            variable("x", &[("x", 5)], n(Dtype::F32), fill(Samples::F32(vec![f32::from_bits(0x7fc0_0123)]))),
            variable("crs", &[], n(Dtype::I32), vec![Attribute::numbers("_FillValue", Samples::I64(vec![3]))]),
            variable("code", &[("time", 3), ("x", 5)], DataType::Char, vec![Attribute::text("_FillValue", "-")]),
            variable("station", &[("x", 5)], DataType::String, vec![Attribute::text("_FillValue", "none")]),
            variable("nothing", &[("none", 0), ("x", 5)], n(Dtype::U16), fill(Samples::U16(vec![9]))),
            Variable {
                chunks: Some(vec![1, 5]),
                ..variable("hinted", &[("time", 3), ("x", 5)], n(Dtype::F64), fill(Samples::F64(vec![-9.5])))
            },
        ],
        groups: vec![sub],
    };
    let strings = ["", "a", "\u{e9}\u{e9}", "long text", "\0"].map(String::from).to_vec();
    let values = vec![
        ("time", Values::Numbers(Samples::F64(vec![1.0, 2.5, f64::NAN]))),
        ("x", Values::Numbers(Samples::F32(vec![1.0, -0.0, f32::INFINITY, 3.0, 4.0]))),
        ("crs", Values::Numbers(Samples::I32(vec![42]))),
        ("code", Values::Chars(b"abcdefghijklmn\0".to_vec())),
        ("station", Values::Strings(strings)),
        ("nothing", Values::Numbers(Samples::U16(vec![]))),
        ("hinted", Values::Numbers(Samples::F64((0..15).map(f64::from).collect()))),
        ("sub/v", Values::Numbers(Samples::I8(vec![1, 2, 3, -4, 5, 6]))),
    ];
    (root, values)
}

#[test]
fn the_whole_model_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.zarr", "a.zarr.zip"] {
        let path = folder.path().join(name);
        let (root, values) = rich_group();
        let mut sink = formats::create(&path).unwrap();
        sink.define(&root).unwrap();
        for (path, v) in &values {
            let shape = root.find(path).unwrap().shape.clone();
            sink.write(path, &vec![0; shape.len()], &shape, v).unwrap();
        }
        sink.finish().unwrap();
        let source = formats::open(&path).unwrap();
        // Bits, since NaN is not equal to itself.
        assert_eq!(format!("{:?}", source.root()), format!("{root:?}"));
        let Some(AttrValue::Numbers(fill)) = source.root().find("x").unwrap().attr("_FillValue") else { panic!() };
        assert_eq!(fill.bits(0), 0x7fc0_0123);
        for (path, v) in values {
            assert_eq!(format!("{:?}", read_all(source.as_ref(), path).unwrap()), format!("{v:?}"), "{path}");
        }
    }
}

#[test]
fn blocks_may_cover_chunks_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zarr");
    // 5 x 3e6 bytes: three chunks of 2 rows.
    let (shape, width) = ([5, 3_000_000], 3_000_000);
    let x: Vec<u8> = (0..15_000_000u32).map(|i| (i >> 7) as u8).collect();
    let mut root = Group::default();
    root.variables.push(variable("v", &[("y", 5), ("x", width)], DataType::Number(Dtype::U8), vec![]));
    let mut writer = ZarrWriter::create(&path).unwrap();
    Sink::define(&mut writer, &root).unwrap();
    for (start, count) in block::grid(&shape, &[3, 2_000_000]) {
        let part = Values::Numbers(Samples::U8(block::crop(&x, &shape, &start, &count)));
        writer.write("v", &start, &count, &part).unwrap();
    }
    writer.finish().unwrap();
    let source = ZarrSource::open(&path).unwrap();
    assert_eq!(source.root().variables[0].chunks, None);
    assert!(read_all(&source, "v").unwrap() == Values::Numbers(Samples::U8(x)));
}

#[test]
fn the_output_appears_when_it_is_finished_and_only_then() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.zarr", "a.zarr.zip"] {
        let path = folder.path().join(name);
        let start = |value: i32| {
            let mut writer = ZarrWriter::create(&path).unwrap();
            let mut root = Group::default();
            root.variables.push(variable("v", &[], DataType::Number(Dtype::I32), vec![]));
            Sink::define(&mut writer, &root).unwrap();
            writer.write("v", &[], &[], &Values::Numbers(Samples::I32(vec![value]))).unwrap();
            writer
        };
        let value = || match read_all(&ZarrSource::open(&path).unwrap(), "v").unwrap() {
            Values::Numbers(n) => n.f64(0),
            _ => f64::NAN,
        };
        let writer = start(1);
        assert!(!path.exists());
        drop(writer);
        start(2).finish().unwrap();
        assert!(start(3).finish().is_err());
        assert_eq!(value(), 2.0);
        start(4).finish_replacing().unwrap();
        assert_eq!(value(), 4.0);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn configurations_say_what_specs_say() {
    let spec = ChunkSpec {
        codec: "identity".parse().unwrap(),
        tolerance: lithify_codec::Tolerance { abs: Some(0.1), mse: Some(1e-300), ..Default::default() },
        affine: lithify_codec::Affine { scale: 0.01, offset: -3.0 },
        missing: vec![0x8000, 7],
        step: Some(0.25),
        effort: 9,
    };
    let back = spec_of(&configuration_of(&spec, "l2=1e-3"), Dtype::I16).unwrap();
    assert_eq!(format!("{back:?}"), format!("{spec:?}"));
    let plain = spec_of(&json!({"bound": "abs=0.5"}), Dtype::F32).unwrap();
    assert_eq!(plain.tolerance.abs, Some(0.5));
    for bad in [
        json!(3),
        json!({"bond": "abs=1"}),
        json!({"bound": "abs=-1"}),
        json!({"bound": "l2=1e-3"}),
        json!({"codec": "zfp"}),
        json!({"effort": 10}),
        json!({"scale": 0}),
        json!({"missing": ["0x10000"]}),
        json!({"resolved": {"abs": -1}}),
        json!({"resolved": {"max": 1}}),
    ] {
        assert!(spec_of(&bad, Dtype::I16).is_err(), "{bad}");
    }
}

#[test]
fn what_zarr_cannot_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let layout = |chunk: Vec<usize>, shard| Layout { chunk, shard, configuration: json!({}) };
    for (name, layout) in [
        ("v", layout(vec![0], None)),
        ("v", layout(vec![2, 2], None)),
        ("v", layout(vec![2], Some(vec![3]))),
        ("v", Layout { configuration: json!({"x": 1}), ..layout(vec![2], None) }),
        ("w", layout(vec![2], None)),
    ] {
        let mut writer = ZarrWriter::create(&folder.path().join("a.zarr")).unwrap();
        let mut root = Group::default();
        root.variables.push(variable("v", &[("x", 4)], DataType::Number(Dtype::F32), vec![]));
        let layouts = BTreeMap::from([(name.to_string(), layout)]);
        assert!(writer.define(&root, &layouts).is_err(), "{layouts:?}");
    }
    for names in [vec!["a/b"], vec!["__a"], vec![""], vec![".."], vec!["a", "a"]] {
        let mut writer = ZarrWriter::create(&folder.path().join("a.zarr")).unwrap();
        let mut root = Group::default();
        root.variables.extend(names.iter().map(|n| variable(n, &[], DataType::Char, vec![])));
        assert!(Sink::define(&mut writer, &root).is_err(), "{names:?}");
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { out.extend(files_below(&path)) } else { out.push(path) }
    }
    out.sort();
    out
}

/// Opens a store and reads everything there is, whatever comes of it.
fn read_everything(path: &Path) -> Vec<String> {
    let source = match ZarrSource::open(path) {
        Ok(source) => source,
        Err(e) => return vec![e.to_string()],
    };
    let mut errors = source.warnings().to_vec();
    for (path, v) in source.root().walk() {
        // Damage can make an array large; a reader asks for what it can hold.
        let count: Vec<usize> = v.shape.iter().map(|d| *d.min(&20)).collect();
        errors.extend(source.read(&path, &vec![0; count.len()], &count).err().map(|e| e.to_string()));
    }
    errors
}

#[test]
fn damage_is_an_error_not_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zarr");
    let mut root = Group::default();
    root.variables.push(variable("v", &[("x", 20)], DataType::Number(Dtype::I16), vec![]));
    root.variables.push(variable("s", &[("y", 3)], DataType::String, vec![]));
    root.variables.push(variable("n", &[("y", 3)], DataType::Number(Dtype::F64), vec![]));
    let layout = Layout { chunk: vec![8], shard: Some(vec![16]), configuration: json!({}) };
    let write = |path: &Path| {
        let mut writer = ZarrWriter::create(path).unwrap();
        writer.define(&root, &BTreeMap::from([("v".to_string(), layout.clone())])).unwrap();
        for (i, n) in [8, 8, 4].into_iter().enumerate() {
            let x = Samples::I16((0..n).map(|j| j * 3).collect());
            let payload = encode_chunk(&x, &[n as usize], &ChunkSpec::lossless()).unwrap().bytes;
            writer.write_payload("v", &[i], payload).unwrap();
        }
        let strings = ["a", "bc", ""].map(String::from).to_vec();
        writer.write("s", &[0], &[3], &Values::Strings(strings)).unwrap();
        writer.write("n", &[0], &[3], &Values::Numbers(Samples::F64(vec![1.0, 2.0, 3.0]))).unwrap();
        writer.finish().unwrap();
    };
    write(&path);
    assert_eq!(read_everything(&path), [""; 0]);
    for file in files_below(&path) {
        let whole = std::fs::read(&file).unwrap();
        let is_shard = file.starts_with(path.join("v/c"));
        let is_root = file == path.join("zarr.json");
        let damage = |bytes: &[u8], must_fail: bool| {
            std::fs::write(&file, bytes).unwrap();
            let errors = read_everything(&path);
            assert!(!must_fail || !errors.is_empty(), "{} {:?}", file.display(), bytes.len());
            assert!(!is_shard || errors.iter().all(|e| e.contains("v, chunk [")), "{errors:?}");
        };
        let step = (whole.len() / 25).max(1);
        for cut in (0..whole.len()).step_by(step) {
            damage(&whole[..cut], !is_root || cut > 0);
        }
        for i in (0..whole.len()).step_by(step) {
            let mut bytes = whole.clone();
            bytes[i] ^= 1 << (hash(i as u64) % 8);
            damage(&bytes, is_shard);
        }
        std::fs::write(&file, &whole).unwrap();
    }
    // A zip, damaged anywhere.
    let zip = folder.path().join("a.zarr.zip");
    write(&zip);
    let whole = std::fs::read(&zip).unwrap();
    for i in (0..whole.len()).step_by(61) {
        let mut bytes = whole.clone();
        bytes[i] ^= 1 << (hash(i as u64) % 8);
        std::fs::write(&zip, &bytes).unwrap();
        read_everything(&zip);
        std::fs::write(&zip, &whole[..i]).unwrap();
        assert!(!read_everything(&zip).is_empty());
    }
}

#[test]
fn hostile_metadata_is_refused_before_it_costs_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zarr");
    std::fs::create_dir_all(path.join("v")).unwrap();
    std::fs::write(path.join("zarr.json"), json!({"zarr_format": 3, "node_type": "group"}).to_string()).unwrap();
    let big = 1u64 << 40;
    let array = |shape: Value, chunk: Value, codecs: Value| {
        json!({
            "zarr_format": 3, "node_type": "array", "shape": shape, "data_type": "float32", "fill_value": 0,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
            "chunk_key_encoding": {"name": "default"}, "codecs": codecs
        })
    };
    let bytes = json!([{"name": "bytes", "configuration": {"endian": "little"}}]);
    let shards = |inner: Value, codecs: &Value| {
        json!([{"name": "sharding_indexed", "configuration": {
            "chunk_shape": inner, "codecs": codecs, "index_codecs": bytes, "index_location": "end"
        }}])
    };
    let ours = json!([{"name": "lithify", "configuration": {}}]);
    for meta in [
        array(json!([big, big, big]), json!([1, 1, 1]), bytes.clone()),
        array(json!([big]), json!([big]), bytes.clone()),
        array(json!([big]), json!([big]), ours.clone()),
        array(json!([8]), json!([0]), bytes.clone()),
        array(json!([8]), json!([8, 8]), bytes.clone()),
        array(json!([big]), json!([big]), shards(json!([1]), &bytes)),
        array(json!([8]), json!([8]), shards(json!([0]), &bytes)),
        array(json!([8]), json!([8]), shards(json!([3]), &bytes)),
        array(json!([8]), json!([8]), json!([{"name": "unheard_of"}])),
        array(json!([8]), json!([8]), json!([{"name": "lithify", "configuration": {"x": 1}}])),
        array(json!([8]), json!([8]), json!([])),
        array(json!([-1]), json!([8]), bytes.clone()),
        json!({"node_type": "array"}),
        json!([]),
    ] {
        std::fs::write(path.join("v/zarr.json"), meta.to_string()).unwrap();
        let source = ZarrSource::open(&path).unwrap();
        assert_eq!(source.warnings().len(), 1, "{meta}");
        assert!(source.root().variables.is_empty());
    }
    // A chunk larger than the array is no harm to our own codec, whose payloads end with the array.
    std::fs::write(path.join("v/zarr.json"), array(json!([8]), json!([big]), ours).to_string()).unwrap();
    let payload = encode_chunk(&Samples::zeros(Dtype::F32, 8), &[8], &ChunkSpec::lossless()).unwrap().bytes;
    std::fs::create_dir_all(path.join("v/c")).unwrap();
    std::fs::write(path.join("v/c/0"), payload).unwrap();
    let source = ZarrSource::open(&path).unwrap();
    assert_eq!(read_all(&source, "v").unwrap(), Values::Numbers(Samples::zeros(Dtype::F32, 8)));
}

/// Stores as other programs write them, by hand: keys and values.
fn foreign_store(folder: &Path, files: &[(&str, Vec<u8>)]) {
    for (key, value) in files {
        let path = folder.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, value).unwrap();
    }
}

fn version_2() -> Vec<(&'static str, Vec<u8>)> {
    let array = |dtype: &str, shape: Value, fill: Value| {
        let meta = json!({
            "zarr_format": 2, "shape": shape, "chunks": [2], "dtype": dtype, "fill_value": fill,
            "compressor": null, "filters": null, "order": "C"
        });
        meta.to_string().into_bytes()
    };
    let utf32 = |s: &str| s.chars().flat_map(|c| (c as u32).to_le_bytes()).collect::<Vec<u8>>();
    vec![
        (".zgroup", b"{\"zarr_format\": 2}".to_vec()),
        (".zattrs", b"{\"title\": \"NaN, \\\"Infinity\\\"\", \"limits\": [1, -Infinity, NaN], \"no\": null}".to_vec()),
        ("a/.zarray", array(">i2", json!([3]), json!(-1))),
        ("a/.zattrs", b"{\"_ARRAY_DIMENSIONS\": [\"x\"], \"n\": 3, \"f\": 0.5, \"flags\": [1, 2]}".to_vec()),
        ("a/0", vec![0, 1, 0, 2]),
        ("c/.zarray", array("|S1", json!([2]), json!(""))),
        ("c/0", b"xy".to_vec()),
        ("s/.zarray", array("|S3", json!([2]), json!(null))),
        ("s/0", b"ab\0xyz".to_vec()),
        ("u/.zarray", array("<U2", json!([2]), json!(null))),
        ("u/0", utf32("\u{e9}\0zz")),
        ("b/.zarray", array("|b1", json!([2]), json!(null))),
        ("b/0", vec![1, 0]),
        ("g/.zgroup", b"{\"zarr_format\": 2}".to_vec()),
        ("g/d/.zarray", array("<c8", json!([2]), json!(null))),
        ("g/x/.zarray", array("<f4", json!([5]), json!("NaN"))),
        ("g/x/.zattrs", b"{\"_ARRAY_DIMENSIONS\": [\"x\"]}".to_vec()),
    ]
}

#[test]
fn version_2_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zarr");
    foreign_store(&path, &version_2());
    // The same in a folder of a compressed zip, as a person would pack it.
    let zip = folder.path().join("a.zip");
    let mut writer = zip::ZipWriter::new(std::fs::File::create(&zip).unwrap());
    for (key, value) in version_2() {
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        writer.start_file(format!("a.zarr/{key}"), options).unwrap();
        std::io::Write::write_all(&mut writer, &value).unwrap();
    }
    writer.finish().unwrap();
    for path in [path, zip] {
        let source = formats::open(&path).unwrap();
        assert_eq!(source.format(), "Zarr v2");
        let root = source.root();
        assert_eq!(root.attrs[0], Attribute::text("title", "NaN, \"Infinity\""));
        assert_eq!(
            format!("{:?}", root.attrs[1]),
            format!("{:?}", Attribute::numbers("limits", Samples::F64(vec![1.0, f64::NEG_INFINITY, f64::NAN])))
        );
        let want = [
            Attribute::numbers("n", Samples::I64(vec![3])),
            Attribute::numbers("f", Samples::F64(vec![0.5])),
            Attribute::numbers("flags", Samples::I64(vec![1, 2])),
            Attribute::numbers("_FillValue", Samples::I16(vec![-1])),
        ];
        assert_eq!(root.find("a").unwrap().attrs, want);
        assert_eq!(root.dims, [dim("x", 3, false), dim("dim_2", 2, false)]);
        assert_eq!(root.groups[0].dims, [dim("x", 5, false)]);
        let strings = |a: &str, b: &str| Values::Strings(vec![a.into(), b.into()]);
        for (name, want) in [
            ("a", Values::Numbers(Samples::I16(vec![1, 2, -1]))),
            ("b", Values::Numbers(Samples::U8(vec![1, 0]))),
            ("c", Values::Chars(b"xy".to_vec())),
            ("s", strings("ab", "xyz")),
            ("u", strings("\u{e9}", "zz")),
        ] {
            assert_eq!(read_all(source.as_ref(), name).unwrap(), want, "{name}");
        }
        let Values::Numbers(x) = read_all(source.as_ref(), "g/x").unwrap() else { panic!() };
        assert!((0..5).all(|i| x.f64(i).is_nan()));
        let warnings = source.warnings();
        assert!(warnings.len() == 1 && warnings[0].contains("array d"), "{warnings:?}");
    }
}
