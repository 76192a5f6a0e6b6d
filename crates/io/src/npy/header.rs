//! The header: a Python dictionary in text.

use std::io::{ErrorKind, Read};
use std::path::Path;

use lithify_codec::Dtype;

use crate::error::{Error, Result};

/// First bytes of every file.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";
/// NumPy's headers of plain arrays stay far below; a longer one is damage.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// What the header says.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) fortran: bool,
    pub(super) big_endian: bool,
    /// Where the data begin.
    pub(super) data_at: u64,
    /// Bytes after the data.
    pub(super) trailing: u64,
}

impl Header {
    /// Reads it and checks that the file is as long as it says.
    pub(super) fn read(path: &Path, input: &mut std::io::BufReader<std::fs::File>) -> Result<Self> {
        let len = input.get_ref().metadata().map_err(Error::io(path))?.len();
        let mut fill = |bytes: &mut [u8]| {
            input.read_exact(bytes).map_err(|e| match e.kind() {
                ErrorKind::UnexpectedEof => Error::corrupt(path, "the header is cut short"),
                _ => Error::io(path)(e),
            })
        };
        let mut fixed = [0; 8];
        fill(&mut fixed)?;
        let mut text_len = [0; 4];
        let version = fixed[6];
        let width = match version {
            1 => 2,
            2 | 3 => 4,
            _ => return Err(Error::unsupported(path, format!(".npy version {version}; versions 1 to 3 are read"))),
        };
        fill(&mut text_len[..width])?;
        let text_len = u32::from_le_bytes(text_len) as usize;
        if text_len > MAX_HEADER_BYTES {
            return Err(Error::corrupt(path, format!("a header of {text_len} bytes")));
        }
        let mut text = vec![0; text_len];
        fill(&mut text)?;
        let data_at = (MAGIC.len() + 2 + width + text_len) as u64;
        let text = String::from_utf8_lossy(&text);
        let header = parse(path, &text, data_at)?;
        let bytes = header.shape.iter().try_fold(header.dtype.size() as u64, |n, len| n.checked_mul(*len as u64));
        match bytes.and_then(|b| b.checked_add(data_at)) {
            Some(end) if end <= len => Ok(Self { trailing: len - end, ..header }),
            _ => Err(Error::corrupt(path, format!("shape {:?} needs more than its {len} bytes", header.shape))),
        }
    }
}

fn parse(path: &Path, text: &str, data_at: u64) -> Result<Header> {
    let damaged = |key: &str| Error::corrupt(path, format!("the header lacks a good {key:?}: {:?}", text.trim()));
    // The text after `'key':`. Values that we accept contain neither quotes nor colons of other keys.
    let after = |key: &str| {
        [format!("'{key}'"), format!("\"{key}\"")]
            .iter()
            .find_map(|quoted| text.split_once(quoted.as_str()))
            .and_then(|(_, rest)| rest.trim_start().strip_prefix(':'))
            .map(str::trim_start)
            .ok_or_else(|| damaged(key))
    };
    let fortran = match after("fortran_order")? {
        v if v.starts_with("True") => true,
        v if v.starts_with("False") => false,
        _ => return Err(damaged("fortran_order")),
    };
    let inside = after("shape")?.strip_prefix('(').and_then(|v| v.split_once(')')).ok_or_else(|| damaged("shape"))?.0;
    let lengths = inside.split(',').map(str::trim).filter(|v| !v.is_empty());
    // Python 2 wrote long integers with an L.
    let shape = lengths.map(|v| v.trim_end_matches('L').parse::<usize>()).collect::<std::result::Result<Vec<_>, _>>();
    let shape = shape.map_err(|_| damaged("shape"))?;
    let descr = after("descr")?;
    let unsupported = || {
        Error::unsupported(path, format!("elements of type {}; integers and floats of numpy are read", short(descr)))
    };
    let quote = descr.chars().next().filter(|c| matches!(c, '\'' | '"')).ok_or_else(unsupported)?;
    let descr = descr[1..].split_once(quote).ok_or_else(|| damaged("descr"))?.0;
    let code = descr.strip_prefix(['<', '>', '|', '=']).unwrap_or(descr);
    let dtype = Dtype::ALL.into_iter().find(|d| self::code(*d) == code).ok_or_else(unsupported)?;
    Ok(Header { dtype, shape, fortran, big_endian: descr.starts_with('>'), data_at, trailing: 0 })
}

/// Enough of a dtype to recognise it.
fn short(descr: &str) -> String {
    descr.split(", '").next().unwrap_or_default().chars().take(40).collect()
}

/// NumPy's letter and size of a type.
fn code(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::I8 => "i1",
        Dtype::I16 => "i2",
        Dtype::I32 => "i4",
        Dtype::I64 => "i8",
        Dtype::U8 => "u1",
        Dtype::U16 => "u2",
        Dtype::U32 => "u4",
        Dtype::U64 => "u8",
        Dtype::F32 => "f4",
        Dtype::F64 => "f8",
    }
}

/// A header of version 1.0, byte for byte what NumPy writes for an array in C order.
pub(super) fn build(dtype: Dtype, shape: &[usize]) -> Vec<u8> {
    let order = if dtype.size() == 1 { '|' } else { '<' };
    let lengths: Vec<_> = shape.iter().map(ToString::to_string).collect();
    let shape = match lengths.as_slice() {
        [one] => format!("({one},)"),
        _ => format!("({})", lengths.join(", ")),
    };
    let mut text = format!("{{'descr': '{order}{}', 'fortran_order': False, 'shape': {shape}, }}", code(dtype));
    // NumPy leaves room for the first length to grow to 21 digits, then adds 1 to 64 spaces up to a multiple of 64.
    let growth = lengths.first().map_or(0, |first| 21usize.saturating_sub(first.len()));
    let used = MAGIC.len() + 4 + text.len() + growth + 1;
    text.push_str(&" ".repeat(growth + 64 - used % 64));
    text.push('\n');
    let mut out = MAGIC.to_vec();
    out.extend([1, 0]);
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.as_bytes());
    out
}
