//! Appending: old values stay bit for bit, promises hold for old and new together, what does not fit is refused and changes nothing.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lithify_codec::testkit::FIELDS;
use lithify_codec::{Dtype, Samples, decode_chunk, encode_chunk, parts};
use lithify_io::job::append::append;
use lithify_io::job::compress::{Options, compress};
use lithify_io::job::verify::verify;
use lithify_io::job::{Context, Progress};
use lithify_io::model::{Attribute, DataType, Dimension, Group, Source, Values, Variable};
use lithify_io::policy::BoundRule;
use lithify_io::zarr::{ZarrAppender, ZarrSource, spec_of};
use lithify_io::{Error, Result};

/// A file in memory.
#[derive(Clone)]
struct Memory {
    root: Group,
    values: BTreeMap<String, Values>,
}

impl Source for Memory {
    fn root(&self) -> &Group {
        &self.root
    }

    fn read(&self, path: &str, start: &[usize], count: &[usize]) -> Result<Values> {
        let shape = &self.root.find(path)?.shape;
        Ok(match &self.values[path] {
            Values::Numbers(n) => Values::Numbers(n.crop(shape, start, count)),
            Values::Chars(c) => Values::Chars(lithify_codec::block::crop(c, shape, start, count)),
            Values::Strings(s) => {
                let all: Vec<usize> = (0..s.len()).collect();
                let of = lithify_codec::block::crop(&all, shape, start, count);
                Values::Strings(of.into_iter().map(|i| s[i].clone()).collect())
            }
        })
    }

    fn format(&self) -> &'static str {
        "memory"
    }
}

impl Memory {
    fn add(&mut self, name: &str, dims: &[(&str, usize)], values: Values, attrs: Vec<Attribute>) {
        let data_type = match &values {
            Values::Numbers(n) => DataType::Number(n.dtype()),
            Values::Chars(_) => DataType::Char,
            Values::Strings(_) => DataType::String,
        };
        self.root.variables.push(Variable {
            name: name.into(),
            dims: dims.iter().map(|d| d.0.into()).collect(),
            shape: dims.iter().map(|d| d.1).collect(),
            data_type,
            attrs,
            chunks: None,
        });
        self.values.insert(name.into(), values);
    }

    /// The part `[start, stop)` along `dim`.
    fn part(&self, dim: &str, start: usize, stop: usize) -> Self {
        let mut part = self.clone();
        for v in &mut part.root.variables {
            let mut first = vec![0; v.shape.len()];
            if let Some(axis) = v.dims.iter().position(|d| d == dim) {
                (first[axis], v.shape[axis]) = (start, stop - start);
            }
            part.values.insert(v.name.clone(), self.read(&v.name, &first, &v.shape).unwrap());
        }
        part.root.dims.iter_mut().filter(|d| d.name == dim).for_each(|d| d.len = stop - start);
        part
    }

    fn variable(&mut self, name: &str) -> &mut Variable {
        self.root.variables.iter_mut().find(|v| v.name == name).unwrap()
    }
}

const N: usize = 14;
const LAT: usize = 6;
const LON: usize = 7;

/// `T` of any type, with coordinates, bounds, text, a static field.
fn file(dtype: Dtype, field: usize) -> Memory {
    sized(dtype, field, LAT, LON)
}

fn sized(dtype: Dtype, field: usize, lat: usize, lon: usize) -> Memory {
    let dim = |name: &str, len, unlimited| Dimension { name: name.into(), len, unlimited };
    let dims = vec![dim("time", N, true), dim("lat", lat, false), dim("lon", lon, false), dim("nv", 2, false)];
    let mut m = Memory { root: Group { dims, ..Group::default() }, values: BTreeMap::new() };
    let ramp = |n: usize| Values::Numbers(Samples::F64((0..n).map(|i| i as f64 * 6.0).collect()));
    let units = |u: &str| vec![Attribute::text("units", u)];
    m.add("time", &[("time", N)], ramp(N), units("hours since 2000-01-01"));
    m.add("time_bnds", &[("time", N), ("nv", 2)], ramp(2 * N), vec![]);
    m.add("lat", &[("lat", lat)], ramp(lat), units("degrees_north"));
    m.add("lon", &[("lon", lon)], ramp(lon), units("degrees_east"));
    m.add("label", &[("time", N)], Values::Strings((0..N).map(|i| format!("step {i}")).collect()), vec![]);
    m.add(
        "letters",
        &[("time", N), ("nv", 2)],
        Values::Chars((0..2 * N).map(|i| b'a' + i as u8 % 26).collect()),
        vec![],
    );
    let shape = [("time", N), ("lat", lat), ("lon", lon)];
    let x = FIELDS[field].samples(dtype, N * lat * lon, 3);
    m.add("T", &shape, Values::Numbers(x), units("K"));
    let mask = Samples::I8((0..lat * lon).map(|i| (i % 3) as i8).collect());
    m.add("oro", &[("lat", lat), ("lon", lon)], Values::Numbers(mask), vec![]);
    m
}

fn context<'a>(stop: &'a Arc<AtomicBool>, progress: &'a dyn Fn(Progress<'_>)) -> Context<'a> {
    Context { threads: 2, progress, stop }
}

fn compressed(source: &dyn Source, out: &Path, bounds: &[&str], codec: &str, chunks: &[(&str, usize)]) {
    let options = Options {
        bounds: bounds.iter().map(|b| b.parse::<BoundRule>().unwrap()).collect(),
        codec: codec.parse().unwrap(),
        effort: 3,
        chunks: chunks.iter().map(|(d, n)| (d.to_string(), *n)).collect(),
        variables: vec![],
        force: true,
        embed_model: false,
    };
    compress(source, out, &options, &context(&Arc::default(), &|_| {}), &mut |_| {}).unwrap();
}

fn appended(source: &dyn Source, store: &Path, dim: &str) -> Result<Vec<String>> {
    let mut said = Vec::new();
    append(source, store, dim, &context(&Arc::default(), &|_| {}), &mut |w| said.push(w)).map(|_| said)
}

fn all_of(store: &Path, path: &str) -> Samples {
    let source = ZarrSource::open(store).unwrap();
    let shape = source.root().find(path).unwrap().shape.clone();
    match source.read(path, &vec![0; shape.len()], &shape).unwrap() {
        Values::Numbers(n) => n,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn holds(store: &Path, original: Option<&dyn Source>, what: &str) {
    let source = ZarrSource::open(store).unwrap();
    assert!(source.warnings().is_empty(), "{what}: {:?}", source.warnings());
    for v in verify(&source, original, &context(&Arc::default(), &|_| {})).unwrap() {
        assert!(v.problems.is_empty(), "{what}: {}: {:?}", v.path, v.problems);
    }
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut out = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.extend(files(&path));
        } else {
            out.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    out
}

/// Chunks and shards by file: one chunk along time, chunks that end at seams and that do not, many chunks in shards.
const CHUNKS: &[&[(&str, usize)]] = &[
    &[],
    &[("time", 1)],
    &[("time", 3), ("lat", 4)],
    &[("time", 5), ("lon", 3)],
    &[("time", 20)],
    &[("time", 2), ("lat", 1), ("lon", 2)],
];
const LENGTHS: &[&[usize]] = &[&[1, 13], &[4, 1, 1, 8], &[6, 6, 2], &[2, 1, 1, 1, 1, 1, 1, 6]];

/// Each bound with the types that it is tried on.
const BOUNDS: &[(&str, &[Dtype])] = &[
    ("lossless", &[Dtype::F32, Dtype::I16, Dtype::U8, Dtype::F64]),
    ("abs=2", &[Dtype::F32, Dtype::I16, Dtype::F64]),
    ("rel=0.01", &[Dtype::F32]),
    ("range=0.01", &[Dtype::F32]),
    ("l2=0.01", &[Dtype::F32, Dtype::F64]),
    ("l2-block=0.01", &[Dtype::F32]),
    ("psnr=50", &[Dtype::F32]),
    ("bits=6", &[Dtype::F32]),
    ("bits=auto", &[Dtype::F64]),
    ("abs=5,l2=0.01", &[Dtype::F32]),
    ("ratio=1.2", &[Dtype::F32]),
];

#[test]
fn old_values_stay_and_promises_hold_for_all() {
    let tmp = tempfile::tempdir().unwrap();
    let mut round = 0;
    for (bound, dtypes) in BOUNDS {
        for dtype in *dtypes {
            for (i, chunks) in CHUNKS.iter().enumerate() {
                for (k, lengths) in LENGTHS.iter().enumerate() {
                    round += 1;
                    // For each bound and type all chunks and all lengths, not each of one with each of the other.
                    if (i + round / 24) % LENGTHS.len() != k {
                        continue;
                    }
                    let field = [0, 1, 4, 8][(round / 5) % 4];
                    let name = if round % 3 == 0 { "x.zarr.zip" } else { "x.zarr" };
                    let what = format!("{bound} {dtype} {chunks:?} {lengths:?} {} {name}", FIELDS[field].name());
                    let mut all = file(*dtype, field);
                    // Every file of a directory is waited for; those that are only along for the ride are in the zips.
                    if name == "x.zarr" && round % 5 > 0 {
                        all.root.variables.retain(|v| ["time", "T"].contains(&v.name.as_str()));
                    }
                    grows(&tmp.path().join(name), &all, bound, chunks, lengths, &what);
                }
            }
        }
    }
    // Nothing but the two stores, and no temporaries.
    let mut left: Vec<_> = std::fs::read_dir(tmp.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["x.zarr", "x.zarr.zip"]);
}

fn grows(store: &Path, all: &Memory, bound: &str, chunks: &[(&str, usize)], lengths: &[usize], what: &str) {
    // A ratio must be in reach of every part, for all that is said of each payload.
    if bound.starts_with("ratio") && (lengths.contains(&1) || chunks.iter().any(|c| c.0 == "lon")) {
        return;
    }
    let rule = format!("T:{bound}");
    let [_, lat, lon] = all.root.find("T").unwrap().shape[..] else { panic!() };
    compressed(&all.part("time", 0, lengths[0]), store, &[&rule], "predict", chunks);
    let (mut at, mut seams) = (lengths[0], vec![0]);
    for n in &lengths[1..] {
        let (before, untouched) = (all_of(store, "T"), if store.is_dir() { files(store) } else { BTreeMap::new() });
        appended(&all.part("time", at, at + n), store, "time").unwrap_or_else(|e| panic!("{what}: {e}"));
        seams.push(at);
        at += n;
        let after = all_of(store, "T");
        let old = after.crop(&[at, lat, lon], &[0; 3], &[at - n, lat, lon]);
        assert_eq!(old.to_le_bytes(), before.to_le_bytes(), "{what}: old values changed");
        // What was there and is not in the way of what came is the same file.
        if store.is_dir() {
            let now = files(store);
            let layout = ZarrSource::open(store).unwrap().layout("T");
            let length = layout.map_or(lengths[0], |l| l.shard.unwrap_or(l.chunk)[0]);
            let whole = (at - n) / length;
            for (path, bytes) in untouched.iter().filter(|(p, _)| p.starts_with(store.join("T/c"))) {
                let below = path.strip_prefix(store.join("T/c")).unwrap();
                let index: usize = below.iter().next().unwrap().to_str().unwrap().parse().unwrap();
                assert!(index >= whole || now[path] == *bytes, "{what}: {} was rewritten", path.display());
            }
        }
    }
    assert_eq!(at, N);
    holds(store, None, what);
    holds(store, Some(all), what);
    let source = ZarrSource::open(store).unwrap();
    assert_eq!(source.root().dims.iter().find(|d| d.name == "time").map(|d| (d.len, d.unlimited)), Some((N, true)));
    let Some(certificate) = source.certificate("T") else {
        // What is small and lossless any Zarr reader opens.
        return assert!(bound == "lossless" && source.layout("T").is_none(), "{what}");
    };
    assert_eq!(certificate["parts"].as_array().unwrap().len(), lengths.len(), "{what}");
    // Piece by piece it is what the codec alone makes of it; where a step was searched, every part has its own.
    if !["l2=", "psnr", "ratio", "range", "bits=auto"].iter().any(|b| bound.contains(b)) {
        let layout = source.layout("T").unwrap();
        let spec = spec_of(&layout.configuration, all.root.find("T").unwrap().dtype().unwrap()).unwrap();
        let Values::Numbers(x) = &all.values["T"] else { panic!() };
        let shape = [N, lat, lon];
        for (start, count) in lithify_codec::block::grid(&shape, &layout.chunk) {
            let index: Vec<usize> = start.iter().zip(&layout.chunk).map(|(s, c)| s / c).collect();
            let payload = source.payload("T", &index).unwrap().unwrap();
            let cuts = seams.iter().filter(|s| **s > start[0] && **s < start[0] + count[0]);
            let pieces = parts(&payload).unwrap();
            assert_eq!(pieces.len(), 1 + cuts.count(), "{what}");
            for piece in pieces {
                let first: Vec<usize> = start.iter().zip(&piece.start).map(|(a, b)| a + b).collect();
                let own =
                    encode_chunk(&x.crop(&shape, &first, &piece.header.shape), &piece.header.shape, &spec).unwrap();
                assert!(own.bytes == piece.payload, "{what}: {first:?} is coded otherwise");
                decode_chunk(piece.payload, &piece.header.shape).unwrap();
            }
        }
    }
}

#[test]
fn large_lossless_variables_are_joined_too() {
    let tmp = tempfile::tempdir().unwrap();
    let chunks: [&[(&str, usize)]; 3] =
        [&[("time", 5)], &[("time", 3), ("lat", 40)], &[("time", 2), ("lat", 16), ("lon", 30)]];
    for (i, chunks) in chunks.into_iter().enumerate() {
        for dtype in [Dtype::F32, Dtype::I16] {
            let what = format!("{dtype} {chunks:?}");
            let all = sized(dtype, i, 64, 65);
            grows(&tmp.path().join("x.zarr"), &all, "lossless", chunks, &[4, 3, 7], &what);
            assert!(ZarrSource::open(&tmp.path().join("x.zarr")).unwrap().layout("T").is_some());
        }
    }
}

#[test]
fn any_dimension_can_grow() {
    let tmp = tempfile::tempdir().unwrap();
    let store = tmp.path().join("x.zarr");
    for (dim, n) in [("lat", LAT), ("lon", LON)] {
        for chunks in CHUNKS {
            let mut all = file(Dtype::F32, 1);
            // The longitude of a field of its own goes with it.
            all.variable("oro").attrs.clear();
            compressed(&all.part(dim, 0, 2), &store, &["T:l2=1e-2"], "predict", chunks);
            let before = all_of(&store, "T");
            appended(&all.part(dim, 2, 3), &store, dim).unwrap();
            appended(&all.part(dim, 3, n), &store, dim).unwrap();
            holds(&store, Some(&all), &format!("{dim} {chunks:?}"));
            let mut shape = [N, LAT, LON];
            let all_shape = shape;
            shape[if dim == "lat" { 1 } else { 2 }] = 2;
            let old = all_of(&store, "T").crop(&all_shape, &[0; 3], &shape);
            assert_eq!(old.to_le_bytes(), before.to_le_bytes());
            let other = if dim == "lat" { "lon" } else { "lat" };
            let e = appended(&all, &store, other).unwrap_err();
            assert!(matches!(e, Error::Invalid { .. }), "{e}");
        }
    }
}

/// Ranges grow, fields begin with nothing: what is promised in terms of the whole is judged by the whole.
#[test]
fn a_field_may_begin_with_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let store = tmp.path().join("x.zarr");
    for begin in [0.0, f32::NAN] {
        for bound in ["range=1e-3", "psnr=60", "l2=1e-3", "rel=1e-2", "abs=0.1", "ratio=20"] {
            let mut all = sized(Dtype::F32, 0, 40, 50);
            let n = 4 * 40 * 50;
            if let Some(Values::Numbers(Samples::F32(x))) = all.values.get_mut("T") {
                x[..n].fill(begin);
            }
            compressed(&all.part("time", 0, 4), &store, &[&format!("T:{bound}")], "auto", &[]);
            appended(&all.part("time", 4, N), &store, "time").unwrap_or_else(|e| panic!("{bound}: {e}"));
            holds(&store, Some(&all), bound);
            let said = ZarrSource::open(&store).unwrap().certificate("T").unwrap();
            assert!(said["achieved"]["n_changed"].as_u64().unwrap() > 0, "{bound}: {said}");
            assert_ne!(said["resolved"], "lossless", "{bound}");
        }
    }
}

#[test]
fn certificates_of_before_are_continued() {
    let tmp = tempfile::tempdir().unwrap();
    let store = tmp.path().join("x.zarr");
    for bound in ["l2=1e-3", "lossless"] {
        let all = sized(Dtype::F32, 0, 64, 65);
        compressed(&all.part("time", 0, 5), &store, &[&format!("T:{bound}")], "predict", &[]);
        let path = store.join("T/zarr.json");
        let mut meta: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let want = meta["attributes"]["lithify"]["field"]["sum_sq"].as_f64().unwrap();
        meta["attributes"]["lithify"]["field"].as_object_mut().unwrap().remove("sum_sq");
        let achieved = meta["attributes"]["lithify"]["achieved"].as_object_mut().unwrap();
        achieved.remove("sum_sq_err");
        achieved.remove("sum_err");
        std::fs::write(&path, meta.to_string()).unwrap();
        appended(&all.part("time", 5, N), &store, "time").unwrap();
        holds(&store, Some(&all), bound);
        let said = ZarrSource::open(&store).unwrap().certificate("T").unwrap();
        assert!(said["field"]["sum_sq"].as_f64().unwrap() > want, "{said}");
    }
}

#[test]
fn passes_before_are_told() {
    let tmp = tempfile::tempdir().unwrap();
    let store = tmp.path().join("x.zarr");
    let all = file(Dtype::F32, 0);
    compressed(&all.part("time", 0, 5), &store, &["T:abs=1"], "predict", &[]);
    let mut part = all.part("time", 5, N);
    let earlier = r#"{"bound": "abs=1", "resolved": "abs=1.0", "lineage": [{"tool": "x"}, {"tool": "y"}]}"#;
    part.variable("T").attrs.push(Attribute::text("lithify", earlier));
    let said = appended(&part, &store, "time").unwrap();
    assert!(said.iter().any(|w| w.contains("lossy already")), "{said:?}");
    let certificate = ZarrSource::open(&store).unwrap().certificate("T").unwrap();
    let passes = |v: &serde_json::Value| v["lineage"].as_array().unwrap().len();
    assert_eq!((passes(&certificate), passes(&certificate["parts"][0]), passes(&certificate["parts"][1])), (3, 1, 3));
}

#[test]
fn a_single_time_needs_no_dimension() {
    let tmp = tempfile::tempdir().unwrap();
    let store = tmp.path().join("x.zarr");
    let all = file(Dtype::F32, 0);
    compressed(&all.part("time", 0, N - 1), &store, &["T:abs=1"], "predict", &[("time", 4)]);
    let mut last = all.part("time", N - 1, N);
    for v in &mut last.root.variables {
        if let Some(axis) = v.dims.iter().position(|d| d == "time") {
            v.dims.remove(axis);
            v.shape.remove(axis);
        }
    }
    last.root.dims.retain(|d| d.name != "time");
    appended(&last, &store, "time").unwrap();
    holds(&store, Some(&all), "a single time");
}

#[test]
fn what_does_not_go_on_is_refused_and_changes_nothing() {
    type Change = fn(&mut Memory);
    fn set(m: &mut Memory, name: &str, value: Values) {
        m.values.insert(name.into(), value);
    }
    fn attribute(m: &mut Memory, of: &str, name: &str, value: &str) {
        let attrs = &mut m.variable(of).attrs;
        attrs.retain(|a| a.name != name);
        attrs.push(Attribute::text(name, value));
    }
    fn times(m: &mut Memory, first: f64, step: f64) {
        let n = m.variable("time").shape[0];
        set(m, "time", Values::Numbers(Samples::F64((0..n).map(|i| first + i as f64 * step).collect())));
    }
    let table: &[(&str, &str, Change)] = &[
        ("there are", "month", |_| {}),
        ("no variable T", "time", |m| m.root.variables.retain(|v| v.name != "T")),
        ("float32", "time", |m| {
            m.variable("T").data_type = DataType::Number(Dtype::F64);
        }),
        ("dimensions [time, lat, lon]", "time", |m| m.variable("T").dims.swap(1, 2)),
        ("long along lat", "time", |m| m.variable("T").shape[1] -= 1),
        ("same time", "time", |m| attribute(m, "time", "units", "hours since 2001-01-01")),
        ("attribute units", "time", |m| attribute(m, "time", "units", "days since 2000-01-01")),
        ("attribute units", "time", |m| attribute(m, "T", "units", "degC")),
        ("attribute calendar", "time", |m| attribute(m, "time", "calendar", "360_day")),
        ("scale_factor", "time", |m| {
            m.variable("T").attrs.push(Attribute::numbers("scale_factor", Samples::F64(vec![0.1])));
        }),
        ("_FillValue", "time", |m| {
            m.variable("T").attrs.push(Attribute::numbers("_FillValue", Samples::F32(vec![0.1])));
        }),
        ("a coordinate, differs", "time", |m| {
            set(m, "lat", Values::Numbers(Samples::F64((0..LAT).map(|i| i as f64 * 6.0 + 1e-13).collect())));
        }),
        ("a coordinate, is not in the file", "time", |m| m.root.variables.retain(|v| v.name != "lat")),
        ("must go on", "time", |m| times(m, 6.0, 6.0)),
        ("is 24", "time", |m| times(m, 24.0, 6.0)),
        ("all the way", "time", |m| times(m, 100.0, -1.0)),
        ("all the way", "time", |m| times(m, 100.0, 0.0)),
        ("must go on", "time", |m| times(m, f64::NAN, 1.0)),
        ("nothing", "time", |m| *m = m.part("time", 0, 0)),
    ];
    let tmp = tempfile::tempdir().unwrap();
    let store = tmp.path().join("x.zarr");
    let all = file(Dtype::F32, 0);
    compressed(&all.part("time", 0, 5), &store, &["T:abs=1"], "predict", &[("time", 3)]);
    let before = files(tmp.path());
    for (says, dim, change) in table {
        let mut part = all.part("time", 5, N);
        change(&mut part);
        let e = appended(&part, &store, dim).unwrap_err();
        assert!(matches!(e, Error::Invalid { .. }) && e.to_string().contains(says), "{says}: {e}");
        assert!(files(tmp.path()) == before, "{says}: the store has changed");
    }
    // What may be another is said.
    let mut part = all.part("time", 5, N);
    set(&mut part, "oro", Values::Numbers(Samples::I8(vec![9; LAT * LON])));
    part.add("new", &[("time", N - 5)], Values::Numbers(Samples::F32(vec![0.0; N - 5])), vec![]);
    attribute(&mut part, "time", "calendar", "gregorian");
    let said = appended(&part, &store, "time").unwrap().join("\n");
    assert!(said.contains("oro differs") && said.contains("new is not in the store"), "{said}");

    let bytes = |promise: &str, says: &str| {
        compressed(&all.part("time", 0, 5), &store, &[&format!("T:{promise}")], "predict", &[]);
        let e = appended(&all.part("time", 5, N), &store, "time").unwrap_err();
        assert!(e.to_string().contains(says), "{e}");
    };
    bytes("bytes=600", "ratio=");
    // A store of somebody else, a file, nothing.
    std::fs::write(tmp.path().join("other.zarr"), "text").unwrap();
    for (name, says) in [("other.zarr", "no Zarr store"), ("nothing.zarr", "No such file")] {
        let e = appended(&all, &tmp.path().join(name), "time").unwrap_err();
        assert!(e.to_string().contains(says), "{e}");
    }
}

#[test]
fn text_that_names_what_is_there_already_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let store = tmp.path().join("x.zarr");
    let of = |labels: &[&str]| {
        let mut m = Memory { root: Group::default(), values: BTreeMap::new() };
        let text = Values::Strings(labels.iter().map(|l| l.to_string()).collect());
        m.add("member", &[("member", labels.len())], text, vec![]);
        m.add("x", &[("member", labels.len())], Values::Numbers(Samples::F32(vec![1.5; labels.len()])), vec![]);
        m
    };
    compressed(&of(&["a", "b"]), &store, &[], "auto", &[]);
    assert!(appended(&of(&["c", "b"]), &store, "member").unwrap_err().to_string().contains("already"));
    appended(&of(&["c"]), &store, "member").unwrap();
    holds(&store, Some(&of(&["a", "b", "c"])), "labels");
}

#[test]
fn only_one_appends_at_a_time() {
    let tmp = tempfile::tempdir().unwrap();
    for name in ["x.zarr", "x.zarr.zip"] {
        let store = tmp.path().join(name);
        let all = file(Dtype::F32, 0);
        compressed(&all.part("time", 0, 5), &store, &["T:abs=1"], "predict", &[]);
        let first = ZarrAppender::open(&store).unwrap();
        let e = appended(&all.part("time", 5, N), &store, "time").unwrap_err();
        assert!(matches!(&e, Error::Busy(_)) && e.to_string().contains("another append"), "{e}");
        drop(first);
        appended(&all.part("time", 5, N), &store, "time").unwrap();
        // Somebody who knows nothing of locks puts another store there meanwhile.
        let first = ZarrAppender::open(&store).unwrap();
        let moved = tmp.path().join(format!("moved.{name}"));
        std::fs::rename(&store, &moved).unwrap();
        compressed(&all, &store, &["T:abs=2"], "predict", &[]);
        let e = first.finish().unwrap_err();
        assert!(e.to_string().contains("moved or replaced"), "{e}");
        holds(&store, Some(&all), name);
        holds(&moved, Some(&all), name);
    }
}

/// Symbolic links would lead out of the one step in which a store changes.
#[cfg(unix)]
#[test]
fn links_out_of_a_store_are_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let store = tmp.path().join("x.zarr");
    let all = file(Dtype::F32, 0);
    compressed(&all.part("time", 0, 5), &store, &["T:abs=1"], "predict", &[]);
    std::os::unix::fs::symlink(tmp.path(), store.join("elsewhere")).unwrap();
    let e = appended(&all.part("time", 5, N), &store, "time").unwrap_err();
    assert!(e.to_string().contains("neither a file nor a directory"), "{e}");
    std::fs::remove_file(store.join("elsewhere")).unwrap();
    holds(&store, Some(&all.part("time", 0, 5)), "after a refusal");
    // A name that leads to the store is fine.
    std::os::unix::fs::symlink(&store, tmp.path().join("name.zarr")).unwrap();
    appended(&all.part("time", 5, N), &tmp.path().join("name.zarr"), "time").unwrap();
    holds(&store, Some(&all), "by another name");
}
