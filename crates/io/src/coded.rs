//! Where compressed variables go: files and stores that take chunks that are coded already.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lithify_codec::Dtype;
use lithify_codec::learned::Hash;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::job::chunks::shard_shape;
use crate::location;
use crate::model::{Group, Values, Variable};
use crate::netcdf;
use crate::zarr::{Layout, ZarrWriter};

/// A file or store being written under a temporary name. Dropping it without [`CodedSink::finish`] leaves nothing behind.
pub trait CodedSink {
    /// Declares everything; called once, first. Variables with a layout take payloads, all others values.
    fn define(&mut self, root: &Group, layouts: &BTreeMap<String, Layout>) -> Result<()>;

    /// Writes the block `[start, start + count)` of a variable without a layout.
    fn write(&mut self, path: &str, start: &[usize], count: &[usize], values: &Values) -> Result<()>;

    /// Writes the coded bytes of the chunk with this index.
    fn write_payload(&mut self, path: &str, chunk: &[usize], payload: Vec<u8>) -> Result<()>;

    /// Bytes of a variable's chunks so far, the indices of shards included.
    fn bytes_written(&mut self, path: &str) -> Result<u64>;

    /// What the variable's codec was told in the end.
    fn set_configuration(&mut self, path: &str, configuration: Value) -> Result<()>;

    /// What holds, to be stored with the variable.
    fn set_certificate(&mut self, path: &str, certificate: Value) -> Result<()>;

    /// Puts a learned model beside the data.
    fn embed(&mut self, _: Hash) -> Result<()> {
        Err(Error::invalid("only Zarr stores hold models; leave out --embed-model, or write a .zarr", "a NetCDF file"))
    }

    /// Completes it and gives it its name; what has it already is an error, or replaced.
    fn finish(self: Box<Self>, replace: bool) -> Result<PathBuf>;
}

/// The formats that can hold our payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodedFormat {
    /// A payload is what the codec `lithify` writes.
    Zarr,
    /// A payload is a chunk that went through the HDF5 filter `lithify`.
    NetCdf,
}

impl CodedFormat {
    /// The format that the output's ending names.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it names none.
    pub fn of(out: &Path) -> Result<Self> {
        let named = |ending: &&str| location::ends_with(out, ending);
        if ["zarr", "zarr.zip"].iter().any(named) {
            Ok(Self::Zarr)
        } else if netcdf::FORMAT.endings.iter().any(named) {
            Ok(Self::NetCdf)
        } else {
            Err(Error::invalid("the output's ending must be .zarr, .zarr.zip or .nc", location::shown(out)))
        }
    }

    /// Starts a file.
    ///
    /// # Errors
    /// [`Error::Io`] if nothing can be written beside `out`.
    pub fn create(self, out: &Path) -> Result<Box<dyn CodedSink>> {
        Ok(match self {
            Self::Zarr => Box::new(ZarrWriter::create(out)?),
            Self::NetCdf => Box::new(netcdf::Writer::create(out)?),
        })
    }

    /// Whether a variable can be cut into chunks: a single value in HDF5 cannot.
    pub fn takes(self, v: &Variable) -> bool {
        self == Self::Zarr || !v.shape.is_empty()
    }

    /// Shape of the shards, if there are any.
    pub fn shard(self, shape: &[usize], chunk: &[usize]) -> Option<Vec<usize>> {
        if self == Self::Zarr { shard_shape(shape, chunk) } else { None }
    }

    /// Fails for chunks that the format cannot hold.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming the variable.
    pub fn check_chunk(self, path: &str, dtype: Dtype, chunk: &[usize]) -> Result<()> {
        let bytes = chunk.iter().fold(dtype.size(), |n, c| n.saturating_mul(*c));
        if self == Self::NetCdf && u32::try_from(bytes).is_err() {
            let what =
                format!("a chunk of {path} would have 4 GiB or more, too much for HDF5; give --chunks smaller lengths");
            return Err(Error::invalid(what, format!("{chunk:?}")));
        }
        Ok(())
    }
}

impl CodedSink for ZarrWriter {
    fn define(&mut self, root: &Group, layouts: &BTreeMap<String, Layout>) -> Result<()> {
        Self::define(self, root, layouts)
    }

    fn write(&mut self, path: &str, start: &[usize], count: &[usize], values: &Values) -> Result<()> {
        Self::write(self, path, start, count, values)
    }

    fn write_payload(&mut self, path: &str, chunk: &[usize], payload: Vec<u8>) -> Result<()> {
        Self::write_payload(self, path, chunk, payload)
    }

    fn bytes_written(&mut self, path: &str) -> Result<u64> {
        Ok(Self::bytes_written(self, path))
    }

    fn set_configuration(&mut self, path: &str, configuration: Value) -> Result<()> {
        Self::set_configuration(self, path, configuration)
    }

    fn set_certificate(&mut self, path: &str, certificate: Value) -> Result<()> {
        self.set_attribute(path, "lithify", certificate)
    }

    fn embed(&mut self, hash: Hash) -> Result<()> {
        Self::embed(self, hash)
    }

    fn finish(self: Box<Self>, replace: bool) -> Result<PathBuf> {
        if replace { self.finish_replacing() } else { (*self).finish() }
    }
}
