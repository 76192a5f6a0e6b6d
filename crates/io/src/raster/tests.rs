#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use std::path::{Path, PathBuf};

use lithify_codec::{Dtype, Sample, Samples, match_dtype};

use crate::error::{Error, Result};
use crate::formats;
use crate::job::chunks::chunk_grid;
use crate::model::{AttrValue, Attribute, Group, Sink, Source, Values, Variable};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/raster").join(name)
}

fn fixtures() -> Vec<PathBuf> {
    let all = std::fs::read_dir(fixture("")).unwrap().map(|e| e.unwrap().path());
    all.filter(|p| p.extension().is_some_and(|e| e != "md")).collect()
}

/// The formula of `scripts/rasters.py`.
fn formula(b: usize, y: usize, x: usize) -> f64 {
    ((1000 * b + 37 * y + 11 * x) % 251) as f64
}

fn image(source: &dyn Source) -> (String, Variable) {
    let root = source.root().walk();
    let (path, v) = root.first().unwrap();
    (path.clone(), (*v).clone())
}

fn numbers(source: &dyn Source, path: &str, start: &[usize], count: &[usize]) -> Result<Samples> {
    match source.read(path, start, count)? {
        Values::Numbers(n) => Ok(n),
        other => panic!("{other:?}"),
    }
}

/// All values, read in blocks that fit no tile, and each band by itself.
fn all(source: &dyn Source) -> (Variable, Vec<f64>) {
    let (path, v) = image(source);
    let whole = numbers(source, &path, &[0, 0, 0], &v.shape).unwrap();
    for at in chunk_grid(&v.shape, &[1, 9, 7], None) {
        let part = numbers(source, &path, &at.start, &at.count).unwrap();
        assert_eq!(part.to_le_bytes(), whole.crop(&v.shape, &at.start, &at.count).to_le_bytes(), "{path} {at:?}");
    }
    (v, whole.to_f64())
}

fn text<'a>(v: &'a Variable, name: &str) -> &'a str {
    v.attr(name).unwrap_or_else(|| panic!("{name}")).as_text().unwrap()
}

#[test]
fn every_type_compression_and_layout_is_read() {
    for (name, dtype) in [
        ("u1-be-big-tiles-planar-lzw-2", Dtype::U8),
        ("i2-le-big-zstd-2", Dtype::I16),
        ("u2-be-packbits-0", Dtype::U16),
        ("u8-be-big-tiles-deflate-2", Dtype::U64),
        ("f2-le-tiles-deflate-3", Dtype::F32),
        ("f4-be-lzw-3", Dtype::F32),
        ("f8-le-big-planar-deflate-3", Dtype::F64),
        ("i1-le-tiles-None-0", Dtype::I8),
    ] {
        let source = formats::open(&fixture(&format!("{name}.tif"))).unwrap();
        let (v, values) = all(source.as_ref());
        assert_eq!((v.name.as_str(), v.dtype(), v.shape.as_slice()), (name, Some(dtype), &[2, 20, 24][..]));
        assert_eq!(source.warnings().len(), usize::from(name.starts_with("f2")), "{:?}", source.warnings());
        for (i, value) in values.iter().enumerate() {
            let want = formula(i / 480, i / 24 % 20, i % 24);
            let want = match dtype {
                Dtype::I8 => f64::from(want as u8 as i8),
                d if d.is_float() => want / 2.0,
                _ => want,
            };
            assert_eq!(*value, want, "{name} {i}");
        }
    }
}

#[test]
fn few_bits_palettes_and_holes_are_read() {
    let read = |name: &str| all(formats::open(&fixture(name)).unwrap().as_ref());
    let (v, values) = read("bits1.tif");
    assert!(v.dtype() == Some(Dtype::U8) && (0..480).all(|i| values[i] == formula(0, i / 24, i % 24) % 2.0));
    let (v, values) = read("bits12.tif");
    assert!(v.dtype() == Some(Dtype::U16) && (0..480).all(|i| values[i] == formula(0, i / 24, i % 24)));
    let (v, values) = read("palette.tif");
    assert!((0..480).all(|i| values[i] == formula(0, i / 24, i % 24)));
    assert!(matches!(v.attr("ColorMap"), Some(AttrValue::Numbers(n)) if n.len() == 768));
    // One of four tiles was written; the others are nodata.
    let (_, values) = read("holes.tif");
    let want = |y, x| if y < 16 && x < 16 { formula(0, y, x) } else { 7.0 };
    assert!((0..480).all(|i| values[i] == want(i / 24, i % 24)));
}

#[test]
fn jpeg_and_png_are_read() {
    for (name, tolerance) in [("chip.jpg", 6.0), ("jpeg-rgb.tif", 12.0), ("jpeg-ycbcr.tif", 12.0)] {
        let (v, values) = all(formats::open(&fixture(name)).unwrap().as_ref());
        assert_eq!((v.shape.as_slice(), v.dtype()), (&[3, 64, 80][..], Some(Dtype::U8)));
        let ramp = |y: usize, x: usize| (y + x) as f64 / 2.0;
        // Away from the third band's jump.
        let near = (0..2 * 5120).filter(|i| i / 80 % 64 + i % 80 < 120);
        let worst = near.map(|i| (values[i] - ramp(i / 80 % 64, i % 80).floor()).abs()).fold(0.0, f64::max);
        assert!(worst <= tolerance, "{name} {worst}");
    }
    let (v, values) = all(formats::open(&fixture("gray16.png")).unwrap().as_ref());
    assert!(v.dtype() == Some(Dtype::U16) && (0..480).all(|i| values[i] == 257.0 * formula(0, i / 24, i % 24)));
}

#[test]
fn what_a_file_says_becomes_attributes() {
    let source = formats::open(&fixture("described.tif")).unwrap();
    let (v, values) = all(source.as_ref());
    assert!(values[3 * 24 + 4].is_nan() && values[0] == 0.0);
    assert!(matches!(v.attr("_FillValue"), Some(AttrValue::Numbers(Samples::F32(n))) if n[0].is_nan()));
    let strings = |name: &str| match v.attr(name) {
        Some(AttrValue::Strings(s)) => s.clone(),
        other => panic!("{name} {other:?}"),
    };
    assert_eq!(
        (strings("long_name"), strings("units")),
        (vec!["red <edge>".to_string(), "near & infrared".into()], vec!["K".into(), "m".into()])
    );
    assert_eq!(v.attr("scales"), Some(&AttrValue::Numbers(Samples::F64(vec![0.5, 0.25]))));
    assert_eq!((text(&v, "acquired"), text(&v, "TIFFTAG_SOFTWARE")), ("2020-01-02", "none"));
    assert!(text(&v, "GDAL_METADATA").contains("wavelength"));
    let mapping = source.root().find(text(&v, "grid_mapping")).unwrap();
    assert_eq!(text(mapping, "GeoTransform"), "600000 10 0 5100000 0 -10");
    assert!(text(mapping, "crs_wkt").ends_with("AUTHORITY[\"EPSG\",\"32633\"]]"));
    let (x, y) = (source.root().find("x").unwrap(), numbers(source.as_ref(), "y", &[0], &[20]).unwrap());
    assert_eq!((text(x, "units"), text(x, "standard_name")), ("metre", "projection_x_coordinate"));
    assert_eq!((y.f64(0), y.f64(19)), (5_099_995.0, 5_099_805.0));
}

/// A store in memory.
struct Memory(Group, Vec<(String, Samples)>);

impl Source for Memory {
    fn root(&self) -> &Group {
        &self.0
    }
    fn read(&self, path: &str, start: &[usize], count: &[usize]) -> Result<Values> {
        let (_, all) = self.1.iter().find(|(p, _)| p == path).unwrap();
        Ok(Values::Numbers(all.crop(&self.0.find(path)?.shape, start, count)))
    }
    fn format(&self) -> &'static str {
        "memory"
    }
}

fn write(source: &dyn Source, out: &Path, chunk: &[usize]) -> Result<()> {
    let mut sink: Box<dyn Sink> = formats::create(out)?;
    sink.define(source.root())?;
    for (path, v) in source.root().walk() {
        let chunk = &chunk[chunk.len() - v.shape.len().min(chunk.len())..];
        for at in chunk_grid(&v.shape, if v.shape.len() == chunk.len() { chunk } else { &v.shape }, None) {
            sink.write(&path, &at.start, &at.count, &source.read(&path, &at.start, &at.count)?)?;
        }
    }
    sink.finish().map(drop)
}

fn equal(a: &dyn Source, b: &dyn Source) {
    assert_eq!(a.root().variables.len(), b.root().variables.len());
    for (v, w) in a.root().variables.iter().zip(&b.root().variables) {
        let at = vec![0; v.shape.len()];
        assert_eq!(
            format!("{:?}", (&v.name, &v.dims, &v.shape, &v.attrs)),
            format!("{:?}", (&w.name, &w.dims, &w.shape, &w.attrs))
        );
        let (x, y) = (numbers(a, &v.name, &at, &v.shape).unwrap(), numbers(b, &w.name, &at, &w.shape).unwrap());
        assert_eq!(x.to_le_bytes(), y.to_le_bytes(), "{}", v.name);
    }
}

#[test]
fn what_is_read_is_written_back_equal() {
    let tmp = tempfile::tempdir().unwrap();
    for path in fixtures() {
        let source = formats::open(&path).unwrap();
        let out = tmp.path().join(path.with_extension("tif").file_name().unwrap());
        write(source.as_ref(), &out, &[1, 9, 7]).unwrap();
        equal(source.as_ref(), formats::open(&out).unwrap().as_ref());
    }
}

#[test]
fn every_type_and_edge_comes_back_bit_for_bit() {
    let tmp = tempfile::tempdir().unwrap();
    let dims = |n: usize| ["band", "y", "x"][3 - n..].iter().map(|d| d.to_string()).collect::<Vec<_>>();
    for dtype in Dtype::ALL {
        for shape in [&[1, 1, 1][..], &[3, 300, 17], &[2, 256, 512], &[31, 270]] {
            let n: usize = shape.iter().product();
            // Any bit pattern, NaN and the like among them.
            let bits = (0..n as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - 8 * dtype.size()));
            let samples = match_dtype!(dtype, T => T::wrap(bits.map(<T as Sample>::from_bits).collect::<Vec<_>>()));
            let data_type = crate::model::DataType::Number(dtype);
            let v = Variable {
                name: "v".into(),
                dims: dims(shape.len()),
                shape: shape.into(),
                data_type,
                attrs: vec![],
                chunks: None,
            };
            let source = Memory(Group { variables: vec![v], ..Group::default() }, vec![("v".into(), samples.clone())]);
            let out = tmp.path().join("v.tif");
            write(&source, &out, &[2, 100, 60][3 - shape.len()..]).unwrap();
            let back = formats::open(&out).unwrap();
            let (path, w) = image(back.as_ref());
            let have = numbers(back.as_ref(), &path, &[0, 0, 0], &w.shape).unwrap();
            assert_eq!(
                (w.name.as_str(), w.dtype(), have.to_le_bytes()),
                ("v", Some(dtype), samples.to_le_bytes()),
                "{shape:?}"
            );
        }
    }
}

/// A part keeps its place, its bands' names, and whatever else is said of single bands.
#[test]
fn parts_keep_their_place() {
    let tmp = tempfile::tempdir().unwrap();
    let context = crate::job::Context { threads: 1, progress: &|_| {}, stop: &std::sync::Arc::default() };
    let part = |input: &str, name: &str, sel: &str| {
        let out = tmp.path().join("part.tif");
        let done = crate::job::select::extract(&fixture(input), name, &sel.parse().unwrap(), &out, true, &context);
        done.map(|_| formats::open(&out).unwrap())
    };
    let source = part("described.tif", "described", "band=1,y=5:11,x=20:24").unwrap();
    let (v, values) = all(source.as_ref());
    assert_eq!((v.shape.as_slice(), values[0]), (&[1, 6, 4][..], formula(1, 5, 20) / 2.0));
    assert_eq!((text(&v, "long_name"), text(&v, "units")), ("near & infrared", "m"));
    assert_eq!(v.attr("scale_factor"), Some(&AttrValue::Numbers(Samples::F64(vec![0.25]))));
    let mapping = source.root().find("spatial_ref").unwrap();
    assert_eq!(text(mapping, "GeoTransform"), "600200 10 0 5099950 0 -10");
    let source = part("point.tif", "point", "y=1:3,x=2:4").unwrap();
    let place: Vec<f64> = text(source.root().find("spatial_ref").unwrap(), "GeoTransform")
        .split(' ')
        .map(|v| v.parse().unwrap())
        .collect();
    let want = [7.5, 0.1, 0.0, 47.8, 0.0, -0.1];
    assert!(place.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12), "{place:?}");
    for name in ["rotated", "gcps"] {
        let error = part(&format!("{name}.tif"), name, "y=1:3").err().unwrap().to_string();
        assert!(error.contains("write it as .nc or .npy"), "{error}");
    }
}

#[test]
fn coordinates_alone_place_an_image() {
    let tmp = tempfile::tempdir().unwrap();
    let out = tmp.path().join("t.tif");
    let number = |name: &str, dims: &[&str], shape: &[usize], attrs| Variable {
        name: name.into(),
        dims: dims.iter().map(|d| d.to_string()).collect(),
        shape: shape.into(),
        data_type: crate::model::DataType::Number(Dtype::F64),
        attrs,
        chunks: None,
    };
    let wkt = |text: &str| vec![Attribute::text("crs_wkt", text)];
    let made = |lat: Vec<f64>, crs: Option<&str>| {
        let mut variables = vec![
            number("t", &["time", "lat", "lon"], &[1, 3, 2], vec![Attribute::text("grid_mapping", "crs")]),
            number("lat", &["lat"], &[3], vec![]),
            number("lon", &["lon"], &[2], vec![]),
        ];
        variables.extend(crs.map(|c| number("crs", &[], &[], wkt(c))));
        let values = [("t", vec![0.0; 6]), ("lat", lat), ("lon", vec![5.0, 5.5]), ("crs", vec![0.0])];
        Memory(Group { variables, ..Group::default() }, values.map(|(n, v)| (n.into(), Samples::F64(v))).into())
    };
    let place = |source: &Memory| -> Result<(Option<String>, Option<String>)> {
        write(source, &out, &[1, 3, 2])?;
        let back = formats::open(&out)?;
        let said = |name: &str| Some(back.root().find("spatial_ref").ok()?.attr(name)?.as_text()?.to_string());
        Ok((said("GeoTransform"), said("crs_wkt")))
    };
    let north_up = vec![48.0, 47.0, 46.0];
    let transform = Some("4.75 0.5 0 48.5 0 -1".to_string());
    assert_eq!(place(&made(north_up.clone(), None)).unwrap(), (transform.clone(), None));
    let wgs84 = crs_definitions::from_code(4326).unwrap().wkt;
    assert_eq!(place(&made(north_up.clone(), Some(wgs84))).unwrap(), (transform, Some(wgs84.into())));
    assert_eq!(place(&made(vec![46.0, 47.0, 48.0], None)).unwrap().0.unwrap(), "4.75 0.5 0 45.5 0 1");
    assert_eq!(place(&made(vec![46.0, 47.0, 49.0], None)).unwrap(), (None, None));
    let nameless =
        "GEOGCS[\"unknown\",DATUM[\"x\",SPHEROID[\"x\",1,1]],UNIT[\"degree\",0.017,AUTHORITY[\"EPSG\",\"9122\"]]]";
    assert!(matches!(place(&made(north_up, Some(nameless))), Err(Error::Invalid { .. })));
    assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 1, "something was left behind");
}

/// Reads everything that can be read; what comes is of no interest.
fn try_all(path: &Path) -> Result<()> {
    let source = formats::open(path)?;
    let (name, v) = image(source.as_ref());
    if v.len() < 1 << 16 {
        numbers(source.as_ref(), &name, &[0, 0, 0], &v.shape)?;
    } else {
        numbers(source.as_ref(), &name, &[0, 0, 0], &[1, 1, 1])?;
    }
    source.root().walk().iter().try_for_each(|(p, v)| match v.shape.len() {
        1 if v.len() < 1 << 16 => numbers(source.as_ref(), p, &[0], &v.shape).map(drop),
        _ => Ok(()),
    })
}

/// Every cut and every changed byte is an error or a value, never a panic.
#[test]
fn damage_is_found_or_harmless() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("x.tif");
    for fixture in fixtures() {
        let bytes = std::fs::read(&fixture).unwrap();
        for n in (0..bytes.len()).step_by(7) {
            std::fs::write(&path, &bytes[..n]).unwrap();
            match try_all(&path) {
                Ok(()) | Err(Error::Corrupt { .. } | Error::Unsupported { .. }) => {}
                Err(e) => panic!("{} cut to {n}: {e}", fixture.display()),
            }
        }
        // Of larger files, which are mostly samples, some.
        for i in (0..bytes.len()).step_by(if bytes.len() > 1500 { 5 } else { 1 }) {
            let mut bytes = bytes.clone();
            bytes[i] ^= if i % 2 == 0 { 0xff } else { 1 << (i % 8) };
            std::fs::write(&path, &bytes).unwrap();
            match try_all(&path) {
                Ok(()) | Err(Error::Corrupt { .. } | Error::Unsupported { .. }) => {}
                // What a header asks for may be more than there is memory.
                Err(Error::Invalid { what, .. }) if what.contains("memory") => {}
                Err(e) => panic!("{} byte {i}: {e}", fixture.display()),
            }
        }
    }
}

/// A little-endian TIFF of these entries, each a LONG or, with several values, LONGs behind the directory.
fn tiff(entries: &[(u16, &[u32])], next: u32) -> Vec<u8> {
    let mut out = b"II\x2a\0\x08\0\0\0".to_vec();
    out.extend((entries.len() as u16).to_le_bytes());
    let mut beside = Vec::new();
    let end = 8 + 2 + 12 * entries.len() + 4;
    for (tag, values) in entries {
        out.extend(tag.to_le_bytes());
        out.extend(4u16.to_le_bytes());
        out.extend((values.len() as u32).to_le_bytes());
        match values {
            [one] => out.extend(one.to_le_bytes()),
            many => {
                out.extend(((end + beside.len()) as u32).to_le_bytes());
                many.iter().for_each(|v| beside.extend(v.to_le_bytes()));
            }
        }
    }
    out.extend(next.to_le_bytes());
    out.extend(beside);
    out
}

#[test]
fn hostile_headers_are_refused_in_time() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("x.tif");
    let refused = |bytes: Vec<u8>, says: &str| {
        std::fs::write(&path, bytes).unwrap();
        match try_all(&path) {
            Err(e @ (Error::Corrupt { .. } | Error::Unsupported { .. })) => {
                assert!(e.to_string().contains(says), "{e}")
            }
            other => panic!("{says}: {other:?}"),
        }
    };
    const MANY: u32 = u32::MAX;
    let one = |w, h, extra: &[(u16, &'static [u32])]| {
        let mut entries: Vec<(u16, &[u32])> = vec![(258, &[8]), (259, &[1]), (273, &[8]), (279, &[8])];
        let (w, h) = ([w], [h]);
        entries.extend([(256, &w[..]), (257, &h[..])]);
        entries.retain(|(tag, _)| extra.iter().all(|(t, _)| t != tag));
        entries.extend(extra.iter().map(|(t, v)| (*t, *v)));
        tiff(&entries, 0)
    };
    refused(one(MANY, MANY, &[]), "too large to be decoded");
    refused(one(1000, MANY, &[]), "bytes instead of");
    refused(one(16, 16, &[(278, &[1])]), "16 strips or tiles make the image, and it has 1");
    refused(one(16, 16, &[(278, &[MANY]), (259, &[8])]), "row 0, column 0");
    refused(one(30000, 30000, &[(277, &[60000]), (259, &[8])]), "too large to be decoded");
    refused(
        one(16, 16, &[(322, &[MANY]), (323, &[MANY]), (324, &[8]), (325, &[8]), (259, &[5])]),
        "too large to be decoded",
    );
    refused(one(0, 16, &[]), "width is missing or zero");
    refused(one(16, 16, &[(277, &[0])]), "0 samples per pixel");
    refused(one(16, 16, &[(258, &[8, 16]), (277, &[2])]), "bands of different lengths");
    refused(one(16, 16, &[(259, &[34887])]), "compression 34887 (LERC) is not read");
    refused(one(16, 16, &[(339, &[6]), (258, &[64])]), "complex samples");
    refused(one(16, 16, &[(273, &[4_000_000_000])]), "8 bytes at 4000000000");
    refused(tiff(&[(256, &[1])], 8), "in a circle");
    refused(tiff(&[(256, &[1])], 9), "a directory");
    refused(b"II\x2a\0\0\0\0\0".to_vec(), "holds no image");
    refused(b"II\x2b\0\x08\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(), "a directory");
    refused(b"II\x2b\0\x10\0\0\0\x10\0\0\0\0\0\0\0".to_vec(), "not of 8 bytes");
}

/// More files: `LITHIFY_DATA=DIR cargo test`.
#[test]
fn development_files_come_back_equal() {
    let Some(dir) = std::env::var_os("LITHIFY_DATA") else { return };
    fn find(dir: &Path, out: &mut Vec<PathBuf>) {
        for path in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
            match path.is_dir() {
                true => find(&path, out),
                false if path.extension().is_some_and(|e| e == "tif" || e == "jpg") => out.push(path),
                false => {}
            }
        }
    }
    let mut files = Vec::new();
    find(Path::new(&dir), &mut files);
    assert!(!files.is_empty(), "no .tif and no .jpg in {}", dir.display());
    let tmp = tempfile::tempdir().unwrap();
    for path in files {
        let source = formats::open(&path).unwrap();
        let out = tmp.path().join(path.with_extension("tif").file_name().unwrap());
        write(source.as_ref(), &out, &[2, 500, 300]).unwrap();
        equal(source.as_ref(), formats::open(&out).unwrap().as_ref());
    }
}
