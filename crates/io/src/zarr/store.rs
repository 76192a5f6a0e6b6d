//! Bytes under keys: a directory, a zip file or a place in an object store, read with every byte counted, or written so that they
//! appear whole.
//!
//! Reading checks each range against the size of what is there before it asks for memory.

use std::collections::{BTreeMap, BTreeSet};
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
use crate::location::{self, is_url};
use crate::remote::{Ranged, Remote, Staged, Tree};

mod adopt;

/// Names that a Zarr hierarchy's root can have.
const METADATA: [&str; 3] = ["zarr.json", ".zgroup", ".zarray"];

/// A store open for reading.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    kind: Kind,
    bytes_read: Arc<AtomicU64>,
    /// Values that were fetched before they are asked for.
    fetched: Mutex<BTreeMap<String, Option<Bytes>>>,
    /// What kept a server from answering: no fault of the data.
    failure: Mutex<Option<String>>,
}

#[derive(Debug)]
enum Kind {
    Directory,
    Remote(Remote),
    /// The archive, the names in it, the folder in it that is the store (empty, or ending in a slash), and where the archive is if
    /// that is at a URL.
    Zip(Mutex<ZipArchive<Box<dyn Archive>>>, BTreeSet<String>, String, Option<Remote>),
}

/// What a zip file is read from.
trait Archive: Read + Seek + Send + std::fmt::Debug {}

impl Archive for Counted {}
impl Archive for Ranged {}

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
        let kind = if is_url(path) {
            Self::at_url(path, bytes_read.clone())?
        } else if fs::metadata(path).map_err(Error::io(path))?.is_dir() {
            Kind::Directory
        } else {
            let mut file = Counted(File::open(path).map_err(Error::io(path))?, bytes_read.clone());
            let mut magic = Vec::new();
            Read::take(&mut file, 2).read_to_end(&mut magic).map_err(Error::io(path))?;
            if magic != b"PK" {
                return Err(Error::unsupported(path, "not a Zarr store, which is a directory or a .zarr.zip file"));
            }
            Self::zip(path, Box::new(file), None)?
        };
        Ok(Self { path: path.into(), kind, bytes_read, fetched: Mutex::default(), failure: Mutex::default() })
    }

    fn at_url(url: &Path, bytes_read: Arc<AtomicU64>) -> Result<Kind> {
        let remote = Remote::open(url)?.counting(bytes_read);
        if !location::ends_with(url, "zip") {
            return Ok(Kind::Remote(remote));
        }
        match Ranged::open(remote.clone())? {
            Some(file) => Self::zip(url, Box::new(file), Some(remote)),
            None => Err(Error::io(url)(std::io::Error::new(ErrorKind::NotFound, "there is nothing at this URL"))),
        }
    }

    fn zip(path: &Path, file: Box<dyn Archive>, remote: Option<Remote>) -> Result<Kind> {
        let archive = ZipArchive::new(file).map_err(|e| match e {
            zip::result::ZipError::Io(e) if remote.is_some() => Error::io(path)(e),
            e => Error::corrupt(path, e),
        })?;
        let names = names_of(&archive);
        let root = zip_root(&names).ok_or_else(|| Error::unsupported(path, "there is no Zarr store in this zip"))?;
        Ok(Kind::Zip(Mutex::new(archive), names, root, remote))
    }

    /// Whether reading goes over a network, where several requests at once are as fast as one.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self.kind, Kind::Remote(_) | Kind::Zip(_, _, _, Some(_)))
    }

    /// Whether what is there can be listed.
    pub(super) fn lists(&self) -> bool {
        !matches!(&self.kind, Kind::Remote(remote) if !remote.lists())
    }

    /// The error of a server that did not answer, if one did not: reading failed for that, not for what was read.
    pub(super) fn failure(&self) -> Option<Error> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone().map(|text| Error::io(&self.path)(std::io::Error::other(text)))
    }

    fn failed(&self, e: &Error) -> StorageError {
        let text = match e {
            Error::Io { reason, .. } => reason.to_string(),
            e => e.to_string(),
        };
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.clone());
        StorageError::Other(text)
    }

    /// Fetches values that will be asked for, several at once, if this is an object store.
    ///
    /// # Errors
    /// [`Error::Io`] if the server does not answer.
    pub(super) fn fetch(&self, keys: impl Iterator<Item = String>) -> Result<()> {
        let Kind::Remote(remote) = &self.kind else { return Ok(()) };
        let known = |key: &String| self.fetched.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key);
        let keys: Vec<String> = keys.filter(|key| !known(key)).collect();
        let values = remote.values(&keys)?;
        self.know(keys.into_iter().zip(values));
        Ok(())
    }

    /// Takes values that came with others.
    pub(super) fn know(&self, values: impl Iterator<Item = (String, Option<Bytes>)>) {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner).extend(values);
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// The whole value of a key, if there is one.
    pub(super) fn value(&self, key: &str) -> Result<Option<Bytes>> {
        if let Some(known) = self.fetched.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Ok(known.clone());
        }
        if let Kind::Remote(remote) = &self.kind {
            return remote.value(key);
        }
        let bytes = StoreKey::new(key).map_err(StorageError::from).and_then(|key| self.get(&key));
        bytes.map_err(|e| self.failure().unwrap_or_else(|| Error::corrupt(&self.path, format!("{key}: {e}"))))
    }

    /// Whether the store is a folder in its zip file.
    pub(super) fn is_nested(&self) -> bool {
        matches!(&self.kind, Kind::Zip(_, _, root, _) if !root.is_empty())
    }

    /// Bytes of the value of a key; 0 if there is none.
    pub(super) fn size(&self, key: &str) -> u64 {
        let size = StoreKey::new(key).ok().and_then(|key| self.size_key(&key).ok());
        size.flatten().unwrap_or(0)
    }

    /// Names of what could be nodes directly below a group; `prefix` is empty or ends in a slash. `None` where nothing can be listed.
    pub(super) fn children(&self, prefix: &str) -> Result<Option<BTreeSet<String>>> {
        let mut out = BTreeSet::new();
        match &self.kind {
            Kind::Remote(remote) => match remote.children(prefix)? {
                Some(names) => out = names,
                None => return Ok(None),
            },
            Kind::Directory => {
                let folder = self.path.join(prefix);
                for entry in fs::read_dir(&folder).map_err(Error::io(&folder))? {
                    let entry = entry.map_err(Error::io(&folder))?;
                    if entry.path().is_dir() {
                        out.extend(entry.file_name().into_string());
                    }
                }
            }
            Kind::Zip(_, names, root, _) => {
                let prefix = format!("{root}{prefix}");
                let below = names.range(prefix.clone()..).map_while(|n| n.strip_prefix(&prefix));
                out.extend(below.filter_map(|rest| Some(rest.split_once('/')?.0.to_string())));
            }
        }
        out.retain(|name| !name.is_empty() && !name.starts_with('.') && !name.starts_with("__"));
        Ok(Some(out))
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

/// Parts that a server sent, if they are as long as they were asked for.
fn checked(parts: Vec<Bytes>, ranges: &[ByteRange]) -> std::result::Result<Vec<Bytes>, StorageError> {
    let short = ranges.iter().zip(&parts).find(|(range, part)| match range {
        ByteRange::FromStart(_, Some(n)) | ByteRange::Suffix(n) => part.len() as u64 != *n,
        ByteRange::FromStart(_, None) => false,
    });
    match short {
        Some((range, part)) => {
            Err(StorageError::Other(format!("{range} was asked for, {} bytes are there", part.len())))
        }
        None if parts.len() < ranges.len() => Err(StorageError::Other("the value is gone".into())),
        None => Ok(parts),
    }
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
    /// Sizes of the values of these keys, those that are there; for stores that cannot list.
    pub(super) fn bytes_of(&self, keys: impl Iterator<Item = String>) -> Result<u64> {
        match &self.kind {
            Kind::Remote(remote) => remote.size_of_all(keys),
            _ => Err(Error::unsupported(&self.path, "it can be listed")),
        }
    }

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
            Kind::Remote(remote) => {
                let all = remote.list(prefix)?.ok_or_else(|| Error::unsupported(&self.path, "it cannot be listed"))?;
                let data = all.iter().filter(|(key, _)| !is_metadata(key.rsplit('/').next().unwrap_or_default()));
                Ok(data.map(|(_, size)| size).sum())
            }
            Kind::Zip(archive, names, root, _) => {
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
            Kind::Remote(remote) => {
                let ranges: Vec<ByteRange> = ranges.collect();
                match remote.ranges(key.as_str(), &ranges).map_err(|e| self.failed(&e))? {
                    Some(parts) => checked(parts, &ranges)?,
                    None => return Ok(None),
                }
            }
            Kind::Zip(archive, names, root, remote) => {
                let name = format!("{root}{key}");
                if !names.contains(&name) {
                    return Ok(None);
                }
                let zip_error = |e: zip::result::ZipError| match (e, remote) {
                    (zip::result::ZipError::Io(e), Some(_)) => self.failed(&Error::io(&self.path)(e)),
                    (e, _) => StorageError::Other(format!("{name}: {e}")),
                };
                let mut archive = archive.lock().unwrap_or_else(PoisonError::into_inner);
                let entry = archive.by_name(&name).map_err(zip_error)?;
                if entry.compression() == CompressionMethod::Stored {
                    let size = entry.size().min(entry.compressed_size());
                    if let (Some(remote), Some(at)) = (remote, entry.data_start()) {
                        // Several may read at once, and no more than they want.
                        drop(entry);
                        drop(archive);
                        let within =
                            |range| resolve(range, size).map(|(from, n)| ByteRange::FromStart(at + from, Some(n)));
                        let ranges = ranges.map(within).collect::<std::result::Result<Vec<_>, _>>()?;
                        let parts = remote.ranges("", &ranges).map_err(|e| self.failed(&e))?.unwrap_or_default();
                        return Ok(Some(Box::new(checked(parts, &ranges)?.into_iter().map(Ok))));
                    }
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
            Kind::Remote(remote) => remote.size(key.as_str()).map_err(|e| self.failed(&e)),
            Kind::Zip(archive, _, root, _) => {
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
    /// The URL that the finished file is sent to.
    staged: Option<Staged>,
}

#[derive(Debug)]
enum OutputKind {
    /// A tree below a URL.
    Remote(Tree),
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
        if is_url(path) && location::ends_with(path, "zip") {
            let staged = Staged::new(path)?;
            let local = Self::create(staged.local())?;
            return Ok(Self { staged: Some(staged), ..local });
        }
        if is_url(path) {
            return Ok(Self { path: path.into(), kind: OutputKind::Remote(Tree::create(path)?), staged: None });
        }
        let bad = || Error::invalid("the output must be a path that ends in a file name", path.display());
        let name = path.file_name().ok_or_else(bad)?;
        // A path that leads through its own target must not lose its way when that is moved aside.
        let parent = fs::canonicalize(folder_of(path)).map_err(Error::io(path))?;
        let path = &parent.join(name);
        atomic::sweep(path);
        let kind = if location::ends_with(path, "zip") {
            OutputKind::Zip(Box::new(ZipWriter::new(Fallible { file: atomic::file_for(path)?, failed: false })))
        } else {
            let (folder, lock) = atomic::folder_for(path)?;
            OutputKind::Directory(folder, lock)
        };
        Ok(Self { path: path.into(), kind, staged: None })
    }

    /// Writes a new value; there must be none under this key.
    pub(super) fn put(&mut self, key: &str, bytes: &[u8]) -> Result<()> {
        let path = &self.path;
        match &mut self.kind {
            OutputKind::Remote(tree) => tree.put(key, bytes),
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
    pub(super) fn finish(mut self, replace: bool) -> Result<PathBuf> {
        if let Some(staged) = self.staged.take() {
            self.finish(false)?;
            return staged.send();
        }
        if let OutputKind::Remote(tree) = self.kind {
            return tree.finish();
        }
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
            OutputKind::Remote(tree) => return tree.finish(),
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
