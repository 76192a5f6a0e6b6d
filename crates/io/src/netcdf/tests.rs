//! Copies of real and hand-made files, and files that are damaged.

use std::path::{Path, PathBuf};

use lithify_codec::{Dtype, Samples, match_dtype};

use crate::error::Error;
use crate::formats::{create, open};
use crate::model::{AttrValue, Attribute, DataType, Dimension, Group, Source, Values, Variable};

/// A copy through the model, `rows` of the first dimension at a time.
fn copy(from: &Path, to: &Path, rows: usize) {
    let source = open(from).unwrap();
    let mut sink = create(to).unwrap();
    sink.define(source.root()).unwrap();
    for (path, v) in source.root().walk() {
        for first in (0..v.shape.first().copied().unwrap_or(1)).step_by(rows) {
            let (mut start, mut count) = (vec![0; v.shape.len()], v.shape.clone());
            if let (Some(s), Some(c)) = (start.first_mut(), count.first_mut()) {
                (*s, *c) = (first, rows.min(*c - first));
            }
            sink.write(&path, &start, &count, &source.read(&path, &start, &count).unwrap()).unwrap();
        }
    }
    assert_eq!(sink.finish().unwrap(), to);
}

/// Everything a file holds, numbers as bits, chunks left out.
fn contents(source: &dyn Source) -> Vec<String> {
    fn numbers(n: &Samples) -> String {
        format!("{:?} {:?}", n.dtype(), n.to_le_bytes())
    }
    fn attrs(owner: &str, attrs: &[Attribute], out: &mut Vec<String>) {
        out.extend(attrs.iter().map(|a| match &a.value {
            AttrValue::Numbers(n) => format!("{owner}:{} {}", a.name, numbers(n)),
            other => format!("{owner}:{} {other:?}", a.name),
        }));
    }
    fn group(source: &dyn Source, g: &Group, prefix: &str, out: &mut Vec<String>) {
        out.push(format!("{prefix} {:?}", g.dims));
        attrs(prefix, &g.attrs, out);
        for v in &g.variables {
            let path = format!("{prefix}{}", v.name);
            out.push(format!("{path} {:?} {:?} {:?}", v.dims, v.shape, v.data_type));
            attrs(&path, &v.attrs, out);
            out.push(match source.read(&path, &vec![0; v.shape.len()], &v.shape).unwrap() {
                Values::Numbers(n) => numbers(&n),
                other => format!("{other:?}"),
            });
        }
        g.groups.iter().for_each(|sub| group(source, sub, &format!("{prefix}{}/", sub.name), out));
    }
    let mut out = Vec::new();
    group(source, source.root(), "", &mut out);
    out
}

fn assert_copies(from: &Path, rows: usize) {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy.nc");
    copy(from, &to, rows);
    let (a, b) = (open(from).unwrap(), open(&to).unwrap());
    let (a, b) = (contents(&*a), contents(&*b));
    for (a, b) in a.iter().zip(&b) {
        assert!(a == b, "{}: {:.300} became {:.300}", from.display(), a, b);
    }
    assert_eq!(a.len(), b.len());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing but the copy is left");
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

#[test]
fn hand_made_files_are_copied_bit_for_bit() {
    for name in ["every_feature.nc", "classic.nc", "cdf5.nc"] {
        assert_copies(&data(name), 2);
    }
}

#[test]
fn development_files_are_copied_bit_for_bit() {
    let Some(folder) = std::env::var_os("LITHIFY_DEV_DATA") else { return };
    for entry in std::fs::read_dir(Path::new(&folder).join("esm")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "nc") {
            assert_copies(&path, 7);
        }
    }
}

#[test]
fn what_the_model_cannot_hold_is_left_out_with_a_warning() {
    let source = open(&data("every_feature.nc")).unwrap();
    for name in ["enum", "ragged", "complex"] {
        assert!(source.root().find(name).is_err());
        assert!(
            source.warnings().iter().any(|w| w.starts_with(&format!("variable {name} "))),
            "{:?}",
            source.warnings()
        );
    }
    assert_eq!(source.root().find("codes").unwrap().data_type, DataType::Char);
    assert_eq!(source.root().find("part").unwrap().chunks, Some(vec![2, 3]));
    assert_eq!(source.root().find("g/sub/shadow").unwrap().shape, [2, 3]);
    assert_eq!(source.format(), "NetCDF-4");
}

/// A group with one variable `v[n, 3]` with these attributes.
fn group(data_type: DataType, n: usize, attrs: Vec<Attribute>) -> Group {
    let dim = |name: &str, len| Dimension { name: name.into(), len, unlimited: false };
    let variable = Variable {
        name: "v".into(),
        dims: vec!["n".into(), "three".into()],
        shape: vec![n, 3],
        data_type,
        attrs,
        chunks: Some(vec![1000, 2]),
    };
    Group { dims: vec![dim("n", n), dim("three", 3)], variables: vec![variable], ..Group::default() }
}

#[test]
fn any_bits_and_a_fill_value_of_any_type_survive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nc");
    for dtype in Dtype::ALL {
        // Signalling NaNs, NaN payloads and subnormals among them.
        let bits = |i: usize| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | [0, 0x7ff0_0000_7f80_0000][i % 2];
        let values = match_dtype!(dtype, T => {
            <T as lithify_codec::Sample>::wrap((0..6000).map(|i| <T as lithify_codec::Sample>::from_bits(bits(i))).collect())
        });
        let fill = Attribute::numbers("_FillValue", values.crop(&[6000], &[1], &[1]));
        let odd = Attribute::numbers("_FillValue", Samples::I32(vec![1, 2]));
        let text = Attribute::text("_FillValue", "");
        for attrs in [vec![], vec![fill], vec![Attribute::text("a", ""), odd], vec![text, Attribute::text("z", "z")]] {
            let root = group(DataType::Number(dtype), 2000, attrs);
            let mut sink = create(&path).unwrap();
            sink.define(&root).unwrap();
            sink.write("v", &[0, 0], &[2000, 3], &Values::Numbers(values.clone())).unwrap();
            sink.finish().unwrap();
            let source = open(&path).unwrap();
            let attrs = |g: &Group| g.variables[0].attrs.iter().map(|a| format!("{a:?}")).collect::<Vec<_>>();
            assert_eq!(attrs(source.root()), attrs(&root));
            let Values::Numbers(got) = source.read("v", &[0, 0], &[2000, 3]).unwrap() else { panic!("not numbers") };
            assert!(got.to_le_bytes() == values.to_le_bytes(), "{dtype}");
        }
    }
}

#[test]
fn what_cannot_be_written_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nc");
    let number = DataType::Number(Dtype::F32);
    let cases = [
        (group(number, 2, vec![Attribute::text("NAME", "reserved")]), "attribute NAME of variable v"),
        (group(number, 2, vec![Attribute::text("a\0b", "")]), "attribute a\0b of variable v"),
        (Group { dims: vec![], ..group(number, 2, vec![]) }, "dimension of length 2"),
    ];
    for (root, want) in cases {
        let error = create(&path).unwrap().define(&root).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
    let mut sink = create(&path).unwrap();
    sink.define(&group(number, 2, vec![])).unwrap();
    for (start, count, values) in [
        ([0, 0], [2, 4], Values::Numbers(Samples::F32(vec![0.0; 8]))),
        ([0, 0], [2, 3], Values::Numbers(Samples::F32(vec![0.0; 5]))),
        ([0, 0], [2, 3], Values::Numbers(Samples::F64(vec![0.0; 6]))),
        ([0, 0], [2, 3], Values::Chars(vec![0; 6])),
    ] {
        assert!(sink.write("v", &start, &count, &values).is_err());
    }
    drop(sink);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(matches!(create(&folder.path().join("no/such/a.nc")).err(), Some(Error::Io { .. })));
}

#[test]
fn files_that_are_cut_short_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.nc");
    for name in ["every_feature.nc", "classic.nc", "cdf5.nc"] {
        let whole = std::fs::read(data(name)).unwrap();
        for cut in (4..whole.len() - 4).step_by(whole.len() / 60 + 1) {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let error = open(&path).err().unwrap_or_else(|| panic!("{name} cut at {cut} was opened"));
            assert!(matches!(error, Error::Corrupt { .. }), "{error}");
            assert_eq!(error.to_string().lines().count(), 1);
        }
    }
}
