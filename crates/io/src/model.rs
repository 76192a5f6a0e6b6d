//! What every format is read into and written from: groups of named dimensions, attributes and variables.
//!
//! # Shapes
//! A variable's shape is that of its dimensions, in order, C order (last fastest). Data stay in the file until
//! [`Source::read`] asks for a part of them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use lithify_codec::{ChunkSpec, Dtype, FieldStats, Promise, Samples};

use crate::error::{Error, Result};
use crate::zarr::Layout;

/// A dimension of a group, visible in its subgroups too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimension {
    /// Name, without the group.
    pub name: String,
    /// Length.
    pub len: usize,
    /// Can grow (NetCDF's record dimensions).
    pub unlimited: bool,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum AttrValue {
    /// Text stored as characters.
    Text(String),
    /// Text stored as strings, one or several.
    Strings(Vec<String>),
    /// Numbers; one element for a scalar.
    Numbers(Samples),
}

/// A named attribute. Order is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    /// Name.
    pub name: String,
    /// Value.
    pub value: AttrValue,
}

/// What a variable's elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// Numbers.
    Number(Dtype),
    /// Single bytes of text (NC_CHAR).
    Char,
    /// Strings of any length (NC_STRING).
    String,
}

/// A variable: everything but its data.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    /// Name, without the group.
    pub name: String,
    /// Names of its dimensions, which its group or a parent of it defines.
    pub dims: Vec<String>,
    /// Their lengths.
    pub shape: Vec<usize>,
    /// Element type.
    pub data_type: DataType,
    /// Attributes in file order, `_FillValue` among them, reserved ones (`_NCProperties`, `DIMENSION_LIST`, ...) not.
    pub attrs: Vec<Attribute>,
    /// How the file chunks it, if it does: a hint for our own chunks and for writing back.
    pub chunks: Option<Vec<usize>>,
}

/// A group with its contents; the root group has no name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Group {
    /// Name, without its parents.
    pub name: String,
    /// Dimensions defined here.
    pub dims: Vec<Dimension>,
    /// Attributes in file order.
    pub attrs: Vec<Attribute>,
    /// Variables in file order.
    pub variables: Vec<Variable>,
    /// Subgroups.
    pub groups: Vec<Group>,
    /// The file keeps to NetCDF's classic data model; said of the root group only.
    pub classic: bool,
}

/// A block of data read from a variable, in C order.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Numbers, as stored: CF packing is not undone.
    Numbers(Samples),
    /// One byte per element.
    Chars(Vec<u8>),
    /// One string per element.
    Strings(Vec<String>),
}

/// An open file or store. Reading is serialised inside where the library below needs it.
pub trait Source: Send + Sync {
    /// Everything but the data.
    fn root(&self) -> &Group;

    /// The block `[start, start + count)` of the variable at `path` (`group/sub/name`, no leading slash), in C order.
    fn read(&self, path: &str, start: &[usize], count: &[usize]) -> Result<Values>;

    /// Format name for people: `NetCDF-4`, `GRIB2`, ...
    fn format(&self) -> &'static str;

    /// What this file holds that the model cannot, one line each.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Variables and groups that were written and cannot be read now.
    fn lost(&self) -> Vec<String> {
        Vec::new()
    }

    /// How the variable at `path` is stored, if as payloads of ours.
    fn layout(&self, _path: &str) -> Option<Layout> {
        None
    }

    /// The coded bytes of one chunk of a variable with a layout, by its index in the grid of (inner) chunks; `None` if it was
    /// never written and reads as the fill value.
    fn payload(&self, path: &str, _chunk: &[usize]) -> Result<Option<Vec<u8>>> {
        Err(Error::invalid("this variable is not coded by lithify", path))
    }

    /// Bytes of the chunks of the variable at `path`, where that is known.
    fn bytes_stored(&self, _path: &str) -> Result<Option<u64>> {
        Ok(None)
    }

    /// What whoever wrote the variable at `path` asked of each chunk, where that is known and nothing was certified.
    fn asked(&self, _path: &str) -> Option<Asked> {
        None
    }

    /// What an earlier lithify wrote about the variable at `path`: its bound, its errors, its lineage.
    fn certificate(&self, path: &str) -> Option<serde_json::Value> {
        let text = self.root().find(path).ok()?.attr("lithify")?.as_text()?;
        serde_json::from_str(text).ok()
    }

    /// What is known of the values of the variable at `path`: nobody will read them to find out.
    fn known(&self, _path: &str) -> Known {
        Known::default()
    }
}

/// What is known of a variable's values before they are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// Statistics of the valid samples, physical units.
    pub field: Option<FieldStats>,
    /// Mantissa bits that `bits=auto` keeps.
    pub bits: Option<u32>,
}

/// What an encoder was asked for that saw one chunk at a time.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What must hold of each chunk.
    pub promise: Promise,
    /// The same worked out, with what values mean and which of them are missing.
    pub spec: ChunkSpec,
}

/// A file or store being written under a temporary name. Dropping it without [`Sink::finish`] leaves nothing behind.
pub trait Sink: Send {
    /// Declares everything; called once, first. Fails for what the format cannot hold, naming it.
    fn define(&mut self, root: &Group) -> Result<()>;

    /// Writes the block `[start, start + count)` of the variable at `path`.
    fn write(&mut self, path: &str, start: &[usize], count: &[usize], values: &Values) -> Result<()>;

    /// Flushes, closes and renames to the final name.
    fn finish(self: Box<Self>) -> Result<PathBuf>;
}

impl Attribute {
    /// Text.
    pub fn text(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: AttrValue::Text(value.into()) }
    }

    /// Numbers.
    pub fn numbers(name: impl Into<String>, value: Samples) -> Self {
        Self { name: name.into(), value: AttrValue::Numbers(value) }
    }
}

/// The attribute called `name`.
pub fn attr<'a>(attrs: &'a [Attribute], name: &str) -> Option<&'a AttrValue> {
    attrs.iter().find(|a| a.name == name).map(|a| &a.value)
}

impl AttrValue {
    /// The text, if it is one text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(s) => Some(s),
            Self::Strings(v) if v.len() == 1 => Some(&v[0]),
            _ => None,
        }
    }

    /// The first number as f64.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Numbers(n) if !n.is_empty() => Some(n.f64(0)),
            _ => None,
        }
    }
}

impl Variable {
    /// The sample type, if the variable holds numbers.
    pub fn dtype(&self) -> Option<Dtype> {
        match self.data_type {
            DataType::Number(d) => Some(d),
            _ => None,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// No elements at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The attribute called `name`.
    pub fn attr(&self, name: &str) -> Option<&AttrValue> {
        attr(&self.attrs, name)
    }
}

impl Group {
    /// All variables below this group with their paths, depth first, in file order.
    pub fn walk(&self) -> Vec<(String, &Variable)> {
        fn go<'a>(group: &'a Group, prefix: &str, out: &mut Vec<(String, &'a Variable)>) {
            out.extend(group.variables.iter().map(|v| (format!("{prefix}{}", v.name), v)));
            for g in &group.groups {
                go(g, &format!("{prefix}{}/", g.name), out);
            }
        }
        let mut out = Vec::new();
        go(self, "", &mut out);
        out
    }

    /// Names of all dimensions that can grow.
    pub fn unlimited(&self) -> BTreeSet<String> {
        let own = self.dims.iter().filter(|d| d.unlimited).map(|d| d.name.clone());
        own.chain(self.groups.iter().flat_map(Self::unlimited)).collect()
    }

    /// The variable at `path`.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming what there is, if there is no such variable.
    pub fn find(&self, path: &str) -> Result<&Variable> {
        let all = self.walk();
        let path = path.trim_start_matches('/');
        all.iter().find(|(p, _)| p == path).map(|(_, v)| *v).ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|(p, _)| p.as_str()).collect();
            Error::invalid(format!("there is no variable {path:?}; there are"), names.join(", "))
        })
    }
}

/// A block of a variable that holds numbers of a known type.
///
/// # Errors
/// Those of [`Source::read`], and [`Error::Invalid`] if something else comes.
pub fn read_numbers(
    source: &dyn Source,
    path: &str,
    dtype: Dtype,
    start: &[usize],
    count: &[usize],
) -> Result<Samples> {
    match source.read(path, start, count)? {
        Values::Numbers(n) if n.dtype() == dtype => Ok(n),
        _ => Err(Error::invalid(format!("{path} was announced as {dtype}"), "another type came")),
    }
}

/// Fails unless `[start, start + count)` lies inside `shape` and there is memory for it: a damaged shape may ask for more than
/// any machine has.
pub fn check_block(path: &str, shape: &[usize], start: &[usize], count: &[usize]) -> Result<()> {
    let inside = start.len() == shape.len()
        && count.len() == shape.len()
        && (0..shape.len()).all(|d| start[d].checked_add(count[d]).is_some_and(|end| end <= shape[d]));
    if !inside {
        return Err(Error::invalid(
            format!("{path} has shape {shape:?}; the block must lie inside"),
            format!("{start:?} + {count:?}"),
        ));
    }
    // Asked for and given back: the reservation costs nothing until it is written to.
    let bytes = count.iter().try_fold(LARGEST_ELEMENT, |n, c| n.checked_mul(*c));
    match bytes.map(|n| Vec::<u8>::new().try_reserve_exact(n)) {
        Some(Ok(())) => Ok(()),
        _ => Err(Error::invalid(
            format!("{path}: there is no memory for so many values at once; select fewer"),
            format!("{count:?}"),
        )),
    }
}

/// Bytes of the largest sample type.
const LARGEST_ELEMENT: usize = 8;
