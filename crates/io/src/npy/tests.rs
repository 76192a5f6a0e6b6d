//! Files of NumPy's, and blocks of every kind.

use std::io::Write;
use std::path::{Path, PathBuf};

use lithify_codec::{Dtype, Samples};

use super::header;
use crate::error::Error;
use crate::formats::{create, open};
use crate::model::{DataType, Dimension, Group, Values, Variable};

const SHAPE: [usize; 3] = [3, 4, 5];

fn numbers(dtype: Dtype) -> Samples {
    Samples::from_le_bytes(dtype, &(0..60 * dtype.size()).map(|i| (i * 37) as u8).collect::<Vec<_>>())
}

fn group(dtype: Dtype, shape: &[usize]) -> Group {
    let dims: Vec<_> =
        (0..shape.len()).map(|i| Dimension { name: format!("dim_{i}"), len: shape[i], unlimited: false }).collect();
    let variable = Variable {
        name: "a".into(),
        dims: dims.iter().map(|d| d.name.clone()).collect(),
        shape: shape.into(),
        data_type: DataType::Number(dtype),
        attrs: Vec::new(),
        chunks: None,
    };
    Group { dims, variables: vec![variable], ..Group::default() }
}

fn file(folder: &Path, version: u8, text: &str, data: &[u8]) -> PathBuf {
    let path = folder.join("a.npy");
    let mut bytes = header::MAGIC.to_vec();
    bytes.extend([version, 0]);
    bytes.extend(&(text.len() as u32).to_le_bytes()[..if version == 1 { 2 } else { 4 }]);
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    std::fs::File::create(&path).unwrap().write_all(&bytes).unwrap();
    path
}

/// Blocks that start and end everywhere.
fn blocks() -> impl Iterator<Item = (Vec<usize>, Vec<usize>)> {
    let spans = |n: usize| (0..=n).flat_map(move |s| (0..=n - s).map(move |c| (s, c)));
    spans(3).flat_map(move |a| {
        spans(4).flat_map(move |b| spans(5).map(move |c| (vec![a.0, b.0, c.0], vec![a.1, b.1, c.1])))
    })
}

#[test]
fn blocks_of_every_type_are_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    for dtype in Dtype::ALL {
        let path = folder.path().join("a.npy");
        let all = numbers(dtype);
        let mut sink = create(&path).unwrap();
        sink.define(&group(dtype, &SHAPE)).unwrap();
        for (start, count) in [([0, 0, 0], [2, 4, 5]), ([2, 0, 0], [1, 4, 2]), ([2, 0, 2], [1, 4, 3])] {
            sink.write("a", &start, &count, &Values::Numbers(all.crop(&SHAPE, &start, &count))).unwrap();
        }
        sink.finish().unwrap();
        let source = open(&path).unwrap();
        assert_eq!(*source.root(), group(dtype, &SHAPE));
        for (start, count) in blocks() {
            let Values::Numbers(got) = source.read("a", &start, &count).unwrap() else { panic!("not numbers") };
            assert_eq!(
                got.to_le_bytes(),
                all.crop(&SHAPE, &start, &count).to_le_bytes(),
                "{dtype} {start:?} {count:?}"
            );
        }
    }
}

#[test]
fn fortran_order_and_big_endian_are_undone() {
    let folder = tempfile::tempdir().unwrap();
    let values: Vec<u16> = (0..60).map(|i| i * 257 + 1).collect();
    let at = |i: usize, j: usize, k: usize| values[(i * 4 + j) * 5 + k].to_be_bytes();
    let data: Vec<_> = (0..60).flat_map(|n| at(n % 3, n / 3 % 4, n / 12)).collect();
    let all = Samples::U16(values.clone());
    for version in [1, 2, 3] {
        let text = "{\"shape\": (3, 4L,5), 'fortran_order': True, 'descr': '>u2'}\n";
        let source = open(&file(folder.path(), version, text, &data)).unwrap();
        for (start, count) in blocks() {
            let want = Values::Numbers(all.crop(&SHAPE, &start, &count));
            assert_eq!(source.read("a", &start, &count).unwrap(), want, "{start:?} {count:?}");
        }
    }
}

#[test]
fn headers_are_numpys_own() {
    // Written by NumPy 2.3: numpy.save of zeros of these types and shapes; length of the header and its text.
    let cases = [
        (Dtype::F32, vec![], "{'descr': '<f4', 'fortran_order': False, 'shape': (), }", 128),
        (Dtype::I8, vec![7], "{'descr': '|i1', 'fortran_order': False, 'shape': (7,), }", 128),
        (Dtype::U64, vec![0, 12345], "{'descr': '<u8', 'fortran_order': False, 'shape': (0, 12345), }", 128),
    ];
    for (dtype, shape, text, len) in cases {
        let built = header::build(dtype, &shape);
        assert!(built[10..].starts_with(text.as_bytes()), "{}", String::from_utf8_lossy(&built));
        assert_eq!(built.len(), len);
        assert_eq!(built.last(), Some(&b'\n'));
    }
}

#[test]
fn bad_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let head = |descr: &str, shape: &str| format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
    let cases = [
        (head("'<f4'", "(3,)"), 11, "damaged"),
        (head("'<f4'", "(99999999999, 99999999999)"), 12, "damaged"),
        (head("'<f4'", "(-3,)"), 12, "damaged"),
        (head("'<f4'", "(3"), 12, "damaged"),
        ("{}".into(), 12, "damaged"),
        (head("'<c8'", "(3,)"), 24, "'<c8'"),
        (head("'|b1'", "(3,)"), 24, "'|b1'"),
        (head("[('x', '<f4')]", "(3,)"), 24, "[('x'"),
    ];
    for (text, n, want) in cases {
        let error = open(&file(folder.path(), 1, &text, &vec![0; n])).err().unwrap();
        assert!(matches!(error, Error::Corrupt { .. } | Error::Unsupported { .. }));
        assert!(error.to_string().contains(want), "{text} gave {error}");
    }
    let whole = header::build(Dtype::F32, &[3]);
    for cut in header::MAGIC.len()..whole.len() {
        let path = folder.path().join("cut.npy");
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert!(matches!(open(&path).err(), Some(Error::Corrupt { .. })), "cut at {cut}");
    }
}

#[test]
fn one_variable_and_no_trace_of_unfinished_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let mut two = group(Dtype::F32, &SHAPE);
    two.variables.push(Variable { name: "b".into(), ..two.variables[0].clone() });
    let mut sink = create(&path).unwrap();
    assert!(sink.define(&two).unwrap_err().to_string().contains("a, b"));
    drop(sink);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
