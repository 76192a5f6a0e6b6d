//! NumPy's `.npy` files: one array of numbers, no names, no attributes.
//!
//! # Shapes
//! As NumPy shows them; Fortran order and big-endian values are turned into ours while reading.
//! The variable is called like the file, its dimensions `dim_0`, `dim_1`, ...
//! # Reference
//! NumPy documentation, `numpy.lib.format`, versions 1.0 to 3.0

mod header;

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lithify_codec::{Dtype, Sample, Samples, match_samples};
use tempfile::NamedTempFile;

use crate::error::{Error, Result};
use crate::formats::Format;
use crate::location::variable_name;
use crate::model::{DataType, Dimension, Group, Sink, Source, Values, Variable, check_block};
use crate::temporary;
use header::Header;

/// Reads as much ahead as makes short, near-by runs cheap.
const BUFFER_BYTES: usize = 256 << 10;

/// This format's row.
pub const FORMAT: Format = Format {
    name: ".npy",
    endings: &["npy"],
    detect: |_, head| head.starts_with(header::MAGIC),
    open: |path| Ok(Box::new(Reader::open(path)?)),
    create: Some(|path| Ok(Box::new(Writer { path: path.into(), file: temporary::beside(path)?, target: None }))),
};

/// Calls `body` with offset and length, in elements, of each contiguous run of a block, in C order.
fn for_runs(
    shape: &[usize],
    start: &[usize],
    count: &[usize],
    mut body: impl FnMut(u64, usize) -> Result<()>,
) -> Result<()> {
    if count.contains(&0) {
        return Ok(());
    }
    // The last dimensions that are taken whole, and the one before them, make one run.
    let whole = (0..shape.len()).rev().take_while(|d| count[*d] == shape[*d]).count();
    let inner = shape.len().saturating_sub(whole + 1);
    let run: usize = count[inner..].iter().product();
    let mut strides = vec![1u64; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d] as u64;
    }
    let at = |index: &[usize]| index.iter().zip(&strides).map(|(i, s)| *i as u64 * s).sum::<u64>();
    let mut index = start.to_vec();
    loop {
        body(at(&index), run)?;
        let Some(d) = (0..inner).rev().find(|d| index[*d] + 1 < start[*d] + count[*d]) else {
            return Ok(());
        };
        index[d] += 1;
        index[d + 1..inner].copy_from_slice(&start[d + 1..inner]);
    }
}

/// An open `.npy` file.
struct Reader {
    path: PathBuf,
    header: Header,
    root: Group,
    input: Mutex<BufReader<File>>,
}

impl Reader {
    fn open(path: &Path) -> Result<Self> {
        let mut input = BufReader::with_capacity(BUFFER_BYTES, File::open(path).map_err(Error::io(path))?);
        let header = Header::read(path, &mut input)?;
        let dims: Vec<_> = header
            .shape
            .iter()
            .enumerate()
            .map(|(i, len)| Dimension { name: format!("dim_{i}"), len: *len, unlimited: false })
            .collect();
        let variable = Variable {
            name: variable_name(path),
            dims: dims.iter().map(|d| d.name.clone()).collect(),
            shape: header.shape.clone(),
            data_type: DataType::Number(header.dtype),
            attrs: Vec::new(),
            chunks: None,
        };
        let root = Group { dims, variables: vec![variable], ..Group::default() };
        Ok(Self { path: path.into(), header, root, input: Mutex::new(input) })
    }
}

impl Source for Reader {
    fn root(&self) -> &Group {
        &self.root
    }

    fn read(&self, path: &str, start: &[usize], count: &[usize]) -> Result<Values> {
        self.root.find(path)?;
        let Header { dtype, shape, fortran, big_endian, data_at, .. } = &self.header;
        check_block(path, shape, start, count)?;
        let size = dtype.size();
        let mut bytes = vec![0; count.iter().product::<usize>() * size];
        let mut rest = bytes.as_mut_slice();
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let mut position = input.stream_position().map_err(Error::io(&self.path))?;
        let mut fill = |offset: u64, run: usize| {
            let from = data_at + offset * size as u64;
            let (part, after) = std::mem::take(&mut rest).split_at_mut(run * size);
            rest = after;
            // Unlike `seek`, this keeps what the buffer holds.
            input.seek_relative(from.wrapping_sub(position) as i64).map_err(Error::io(&self.path))?;
            input.read_exact(part).map_err(Error::io(&self.path))?;
            position = from + part.len() as u64;
            Ok(())
        };
        // Fortran order is C order with the dimensions reversed.
        match fortran {
            false => for_runs(shape, start, count, &mut fill)?,
            true => for_runs(&reversed(shape), &reversed(start), &reversed(count), &mut fill)?,
        }
        if *big_endian {
            bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        let samples = Samples::from_le_bytes(*dtype, &bytes);
        Ok(Values::Numbers(if *fortran { from_fortran(&samples, count) } else { samples }))
    }

    fn format(&self) -> &'static str {
        ".npy"
    }

    fn warnings(&self) -> Vec<String> {
        let Header { fortran, big_endian, trailing, .. } = &self.header;
        let left_out = format!("the {trailing} bytes after the array are left out");
        let all = [
            (*fortran, "Fortran order is not kept: arrays are written in C order"),
            (*big_endian, "big-endian byte order is not kept: values are written in little-endian order"),
            (*trailing > 0, left_out.as_str()),
        ];
        all.iter().filter(|(applies, _)| *applies).map(|(_, text)| (*text).to_string()).collect()
    }
}

fn reversed(v: &[usize]) -> Vec<usize> {
    v.iter().rev().copied().collect()
}

/// An array of that shape in Fortran order, in C order.
fn from_fortran(samples: &Samples, shape: &[usize]) -> Samples {
    fn typed<T: Sample>(v: &[T], shape: &[usize]) -> Samples {
        let mut strides = vec![1; shape.len()];
        for d in 1..shape.len() {
            strides[d] = strides[d - 1] * shape[d - 1];
        }
        let mut out = Vec::with_capacity(v.len());
        let mut index = vec![0; shape.len()];
        for _ in 0..v.len() {
            out.push(v[index.iter().zip(&strides).map(|(i, s)| i * s).sum::<usize>()]);
            for d in (0..shape.len()).rev() {
                index[d] += 1;
                if index[d] < shape[d] {
                    break;
                }
                index[d] = 0;
            }
        }
        T::wrap(out)
    }
    match_samples!(samples, v => typed(v, shape))
}

/// A `.npy` file being written.
struct Writer {
    path: PathBuf,
    file: NamedTempFile,
    target: Option<Target>,
}

/// What is written to it.
struct Target {
    path: String,
    dtype: Dtype,
    shape: Vec<usize>,
    data_at: u64,
}

impl Sink for Writer {
    fn define(&mut self, root: &Group) -> Result<()> {
        let all = root.walk();
        let [(path, variable)] = all.as_slice() else {
            let names: Vec<_> = all.iter().map(|(p, _)| p.as_str()).collect();
            return Err(Error::invalid("a .npy file holds one variable; choose one of", names.join(", ")));
        };
        let Some(dtype) = variable.dtype() else {
            return Err(Error::invalid("a .npy file holds numbers; this variable holds text", path));
        };
        let bytes = variable.shape.iter().try_fold(dtype.size() as u64, |n, len| n.checked_mul(*len as u64));
        let header = header::build(dtype, &variable.shape);
        let data_at = header.len() as u64;
        let Some(end) = bytes.and_then(|b| b.checked_add(data_at)) else {
            return Err(Error::invalid("the array is too large for a file", format!("{:?}", variable.shape)));
        };
        let file = self.file.as_file_mut();
        file.write_all(&header).and_then(|()| file.set_len(end)).map_err(Error::io(&self.path))?;
        self.target = Some(Target { path: path.clone(), dtype, shape: variable.shape.clone(), data_at });
        Ok(())
    }

    fn write(&mut self, path: &str, start: &[usize], count: &[usize], values: &Values) -> Result<()> {
        let Some(target) = self.target.as_ref().filter(|t| t.path == path.trim_start_matches('/')) else {
            return Err(Error::invalid("no such variable was declared", path));
        };
        check_block(path, &target.shape, start, count)?;
        let n = count.iter().product::<usize>();
        let bytes = match values {
            Values::Numbers(v) if v.dtype() == target.dtype && v.len() == n => v.to_le_bytes(),
            _ => return Err(Error::invalid(format!("{path} takes {n} values of {}", target.dtype), "other values")),
        };
        let size = target.dtype.size();
        let mut rest = bytes.as_slice();
        let file = self.file.as_file_mut();
        for_runs(&target.shape, start, count, |offset, run| {
            let (part, after) = rest.split_at(run * size);
            rest = after;
            file.seek(SeekFrom::Start(target.data_at + offset * size as u64)).map_err(Error::io(&self.path))?;
            file.write_all(part).map_err(Error::io(&self.path))
        })
    }

    fn finish(self: Box<Self>) -> Result<PathBuf> {
        let Self { path, file, .. } = *self;
        temporary::persist(file, &path)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests;
