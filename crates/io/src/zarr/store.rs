//! Bytes under keys: a directory or a zip file, read with every byte counted, or written under a temporary name.
//!
//! Reading checks each range against the size of what is there before it asks for memory.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::{NamedTempFile, TempDir};
use zarrs::storage::byte_range::{ByteRange, ByteRangeIterator, InvalidByteRangeError};
use zarrs::storage::{Bytes, MaybeBytesIterator, ReadableStorageTraits, StorageError, StoreKey};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::atomic::{self, Claim, folder_of};
use crate::error::{Error, Result};

mod adopt;

/// Names that a Zarr hierarchy's root can have.
const METADATA: [&str; 3] = ["zarr.json", ".zgroup", ".zarray"];

/// A store open for reading.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    kind: Kind,
    bytes_read: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Kind {
    Directory,
    /// The archive, the names in it, and the folder in it that is the store (empty, or ending in a slash).
    Zip(Mutex<ZipArchive<Counted>>, BTreeSet<String>, String),
}

/// A file that counts what is read from it.
#[derive(Debug)]
struct Counted(File, Arc<AtomicU64>);

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.read(buf)?;
        self.1.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl Seek for Counted {
    fn seek(&mut self, pos: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(pos)
    }
}

impl Store {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let bytes_read = Arc::new(AtomicU64::new(0));
        let meta = fs::metadata(path).map_err(Error::io(path))?;
        let kind = if meta.is_dir() {
            Kind::Directory
        } else {
            let mut file = Counted(File::open(path).map_err(Error::io(path))?, bytes_read.clone());
            let mut magic = Vec::new();
            Read::take(&mut file, 2).read_to_end(&mut magic).map_err(Error::io(path))?;
            if magic != b"PK" {
                return Err(Error::unsupported(path, "not a Zarr store, which is a directory or a .zarr.zip file"));
            }
            let archive = ZipArchive::new(file).map_err(|e| Error::corrupt(path, e))?;
            let names = names_of(&archive);
            let root =
                zip_root(&names).ok_or_else(|| Error::unsupported(path, "there is no Zarr store in this zip"))?;
            Kind::Zip(Mutex::new(archive), names, root)
        };
        Ok(Self { path: path.into(), kind, bytes_read })
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// The whole value of a key, if there is one.
    pub(super) fn value(&self, key: &str) -> Result<Option<Bytes>> {
        let bytes = StoreKey::new(key).map_err(StorageError::from).and_then(|key| self.get(&key));
        bytes.map_err(|e| Error::corrupt(&self.path, format!("{key}: {e}")))
    }

    /// Whether the store is a folder in its zip file.
    pub(super) fn is_nested(&self) -> bool {
        matches!(&self.kind, Kind::Zip(_, _, root) if !root.is_empty())
    }

    /// Bytes of the value of a key; 0 if there is none.
    pub(super) fn size(&self, key: &str) -> u64 {
        let size = StoreKey::new(key).ok().and_then(|key| self.size_key(&key).ok());
        size.flatten().unwrap_or(0)
    }

    /// Names of what could be nodes directly below a group; `prefix` is empty or ends in a slash.
    pub(super) fn children(&self, prefix: &str) -> Result<BTreeSet<String>> {
        let mut out = BTreeSet::new();
        match &self.kind {
            Kind::Directory => {
                let folder = self.path.join(prefix);
                for entry in fs::read_dir(&folder).map_err(Error::io(&folder))? {
                    let entry = entry.map_err(Error::io(&folder))?;
                    if entry.path().is_dir() {
                        out.extend(entry.file_name().into_string());
                    }
                }
            }
            Kind::Zip(_, names, root) => {
                let prefix = format!("{root}{prefix}");
                let below = names.range(prefix.clone()..).map_while(|n| n.strip_prefix(&prefix));
                out.extend(below.filter_map(|rest| Some(rest.split_once('/')?.0.to_string())));
            }
        }
        out.retain(|name| !name.is_empty() && !name.starts_with('.') && !name.starts_with("__"));
        Ok(out)
    }
}

fn names_of<R: Read + Seek>(archive: &ZipArchive<R>) -> BTreeSet<String> {
    archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect()
}

/// The folder of a zip that is a Zarr store: the top, or the only folder there.
fn zip_root(names: &BTreeSet<String>) -> Option<String> {
    let has = |root: &str| METADATA.iter().any(|m| names.contains(&format!("{root}{m}")));
    if has("") {
        return Some(String::new());
    }
    let first = format!("{}/", names.first()?.split_once('/')?.0);
    has(&first).then_some(first)
}

/// Whether a path is a Zarr store.
pub(super) fn detect(path: &Path, head: &[u8]) -> bool {
    if path.is_dir() {
        return METADATA.iter().any(|m| path.join(m).is_file());
    }
    let names = || {
        let archive = ZipArchive::new(File::open(path).ok()?).ok()?;
        zip_root(&names_of(&archive))
    };
    head.starts_with(b"PK") && names().is_some()
}

/// Offset and length of a range of a value of `size` bytes.
fn resolve(range: ByteRange, size: u64) -> std::result::Result<(u64, u64), StorageError> {
    let resolved = match range {
        ByteRange::FromStart(at, None) => size.checked_sub(at).map(|n| (at, n)),
        ByteRange::FromStart(at, Some(n)) => at.checked_add(n).filter(|end| *end <= size).map(|_| (at, n)),
        ByteRange::Suffix(n) => size.checked_sub(n).map(|at| (at, n)),
    };
    resolved.ok_or_else(|| InvalidByteRangeError::new(range, size).into())
}

fn read_ranges(
    file: &mut (impl Read + Seek),
    size: u64,
    ranges: ByteRangeIterator<'_>,
) -> std::result::Result<Vec<Bytes>, StorageError> {
    ranges
        .map(|range| {
            let (at, n) = resolve(range, size)?;
            file.seek(SeekFrom::Start(at))?;
            let mut bytes = vec![0; n as usize];
            file.read_exact(&mut bytes)?;
            Ok(bytes.into())
        })
        .collect()
}

impl Store {
    /// Sizes of everything below `prefix`, metadata not counted.
    pub(super) fn bytes_under(&self, prefix: &str) -> Result<u64> {
        fn walk(folder: &Path) -> std::io::Result<u64> {
            let mut sum = 0;
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let meta = entry.metadata()?;
                let name = entry.file_name();
                sum += match meta.is_dir() {
                    true => walk(&entry.path())?,
                    false if is_metadata(&name.to_string_lossy()) => 0,
                    false => meta.len(),
                };
            }
            Ok(sum)
        }
        match &self.kind {
            Kind::Directory => walk(&self.path.join(prefix)).map_err(Error::io(&self.path)),
            Kind::Zip(archive, names, root) => {
                let mut archive = archive.lock().unwrap_or_else(PoisonError::into_inner);
                let prefix = format!("{root}{prefix}");
                let inside = names.iter().filter(|n| n.starts_with(&prefix));
                let data = inside.filter(|n| !is_metadata(n.rsplit('/').next().unwrap_or_default()));
                Ok(data.filter_map(|n| archive.by_name(n).ok().map(|e| e.compressed_size())).sum())
            }
        }
    }
}

fn is_metadata(name: &str) -> bool {
    METADATA.contains(&name) || name == ".zattrs" || name == ".zmetadata"
}

impl ReadableStorageTraits for Store {
    fn get_partial_many<'a>(
        &'a self,
        key: &StoreKey,
        ranges: ByteRangeIterator<'a>,
    ) -> std::result::Result<MaybeBytesIterator<'a>, StorageError> {
        if key.as_str().split('/').any(|part| part == "..") {
            return Err(StorageError::Other(format!("the key {key} leads out of the store")));
        }
        let parts = match &self.kind {
            Kind::Directory => {
                let file = match File::open(self.path.join(key.as_str())) {
                    Ok(file) => file,
                    Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
                    Err(e) => return Err(e.into()),
                };
                let size = file.metadata()?.len();
                read_ranges(&mut Counted(file, self.bytes_read.clone()), size, ranges)?
            }
            Kind::Zip(archive, names, root) => {
                let name = format!("{root}{key}");
                if !names.contains(&name) {
                    return Ok(None);
                }
                let zip_error = |e: zip::result::ZipError| StorageError::Other(format!("{name}: {e}"));
                let mut archive = archive.lock().unwrap_or_else(PoisonError::into_inner);
                let entry = archive.by_name(&name).map_err(zip_error)?;
                if entry.compression() == CompressionMethod::Stored {
                    let size = entry.size().min(entry.compressed_size());
                    drop(entry);
                    let mut file = archive.by_name_seek(&name).map_err(zip_error)?;
                    read_ranges(&mut file, size, ranges)?
                } else {
                    let mut whole = Vec::new();
                    let size = entry.size();
                    entry.take(size).read_to_end(&mut whole)?;
                    let size = whole.len() as u64;
                    read_ranges(&mut std::io::Cursor::new(whole), size, ranges)?
                }
            }
        };
        Ok(Some(Box::new(parts.into_iter().map(Ok))))
    }

    fn size_key(&self, key: &StoreKey) -> std::result::Result<Option<u64>, StorageError> {
        match &self.kind {
            Kind::Directory => Ok(fs::metadata(self.path.join(key.as_str())).ok().map(|m| m.len())),
            Kind::Zip(archive, _, root) => {
                let mut archive = archive.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(archive.by_name(&format!("{root}{key}")).ok().map(|e| e.size()))
            }
        }
    }

    fn supports_get_partial(&self) -> bool {
        true
    }
}

/// A store being written under a temporary name beside its final one.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    kind: OutputKind,
}

#[derive(Debug)]
enum OutputKind {
    /// The folder, and the lock that says that somebody works on it.
    Directory(TempDir, Option<File>),
    Zip(Box<ZipWriter<Fallible>>),
}

/// A file that takes everything after its first error, which its writer has been told: a `ZipWriter` that is given up would
/// otherwise print what it could not complete.
#[derive(Debug)]
struct Fallible {
    file: NamedTempFile,
    failed: bool,
}

impl Fallible {
    fn attempt<T>(
        &mut self,
        instead: T,
        run: impl FnOnce(&mut NamedTempFile) -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        if self.failed {
            return Ok(instead);
        }
        let result = run(&mut self.file);
        self.failed = result.is_err();
        result
    }
}

impl Write for Fallible {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.attempt(buf.len(), |file| file.write(buf))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.attempt((), Write::flush)
    }
}

impl Seek for Fallible {
    fn seek(&mut self, pos: SeekFrom) -> std::io::Result<u64> {
        self.attempt(0, |file| file.seek(pos))
    }
}

impl Output {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let bad = || Error::invalid("the output must be a path that ends in a file name", path.display());
        let name = path.file_name().ok_or_else(bad)?.to_string_lossy().into_owned();
        // A path that leads through its own target must not lose its way when that is moved aside.
        let parent = fs::canonicalize(folder_of(path)).map_err(Error::io(path))?;
        let path = &parent.join(&name);
        atomic::sweep(path);
        let kind = if name.to_lowercase().ends_with(".zip") {
            OutputKind::Zip(Box::new(ZipWriter::new(Fallible { file: atomic::file_for(path)?, failed: false })))
        } else {
            let (folder, lock) = atomic::folder_for(path)?;
            OutputKind::Directory(folder, lock)
        };
        Ok(Self { path: path.into(), kind })
    }

    /// Writes a new value; there must be none under this key.
    pub(super) fn put(&mut self, key: &str, bytes: &[u8]) -> Result<()> {
        let path = &self.path;
        match &mut self.kind {
            OutputKind::Directory(folder, _) => {
                let file = folder.path().join(key);
                fs::create_dir_all(folder_of(&file)).map_err(Error::io(path))?;
                let mut file = File::create_new(file).map_err(Error::io(path.join(key)))?;
                file.write_all(bytes).map_err(Error::io(path))
            }
            OutputKind::Zip(zip) => {
                let large = bytes.len() >= u32::MAX as usize;
                let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
                zip.start_file(key, options.large_file(large)).map_err(|e| Error::io(path)(e.into()))?;
                zip.write_all(bytes).map_err(Error::io(path))
            }
        }
    }

    /// Renames to the final name. What is there already stays and is an error, or goes once the new store has its place.
    pub(super) fn finish(self, replace: bool) -> Result<PathBuf> {
        if !replace && fs::symlink_metadata(&self.path).is_ok() {
            let what = "the output exists already; remove it or choose another name";
            return Err(Error::invalid(what, self.path.display()));
        }
        self.place(if replace { atomic::replace } else { atomic::publish })
    }

    /// Takes the place of a store that is claimed.
    pub(super) fn finish_claimed(self, claim: &Claim) -> Result<PathBuf> {
        self.place(|new, _| atomic::replace_claimed(new, claim))
    }

    fn place(self, put: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<PathBuf> {
        let path = self.path;
        // Locked until it has its name: nobody must take it for something left behind.
        let (new, _lock) = match self.kind {
            OutputKind::Directory(folder, lock) => (folder.keep(), lock),
            OutputKind::Zip(zip) => {
                let Fallible { file, failed } = zip.finish().map_err(|e| Error::io(&path)(e.into()))?;
                if failed {
                    return Err(Error::io(&path)(ErrorKind::WriteZero.into()));
                }
                let (file, new) = file.keep().map_err(|e| Error::io(&path)(e.error))?;
                (new, Some(file))
            }
        };
        put(&new, &path)?;
        Ok(path)
    }
}
