//! Object stores and web servers: `s3://`, `gs://`, `az://` and `abfs://`, to be read `http://` and `https://` too.
//!
//! Callers are synchronous; one small runtime drives the requests. Every byte of a value that arrives is counted.
//!
//! # Algorithm of a read
//! 1. A request asks for the range that is wanted and no more; several ranges of one value that nearly touch are one request.
//! 2. Server errors, broken and refused connections are tried again with growing pauses, for less than a minute.
//! 3. What arrives is checked against what was asked for: a server is trusted no more than a file.

mod connect;
mod explain;
mod fetch;
mod output;
mod ranged;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::future::Future;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, coalesce_ranges};
use zarrs::storage::Bytes;
use zarrs::storage::byte_range::ByteRange;

use self::connect::{Connection, connect, runtime};
use crate::error::{Error, Result};
use crate::location::is_web;

pub(crate) use self::fetch::{Sending, Staged, fetch};
pub(crate) use self::output::Tree;
pub(crate) use self::ranged::Ranged;

/// Requests under way at the same time.
pub(crate) const CONCURRENT: usize = 8;
/// Ranges of a value that are no farther apart are read as one: a request costs more than these bytes.
const GAP: u64 = 4 << 10;
/// A body that breaks off is asked for again so many times, where the client library cannot go on in the middle.
const ATTEMPTS: usize = 3;

/// Takes what is worth knowing while a request runs: one line each.
static NOTES: OnceLock<fn(&str)> = OnceLock::new();

/// Has notes given to `note`; without, there are none. The first call holds.
pub fn on_note(note: fn(&str)) {
    // A second program part in the same process gets none.
    let _ = NOTES.set(note);
}

fn note(line: &str) {
    if let Some(note) = NOTES.get() {
        note(line);
    }
}

/// A place in an object store, and what lies below it.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    url: PathBuf,
    store: Arc<dyn ObjectStore>,
    root: Path,
    is_web: bool,
    bytes_read: Arc<AtomicU64>,
}

/// Runs a request from any thread that is not the runtime's own.
fn block_on<T>(request: impl Future<Output = T>) -> Result<T> {
    Ok(runtime()?.block_on(request))
}

impl Remote {
    /// Makes the client; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] for URLs of unknown schemes, [`Error::Io`] for an environment that does not fit them.
    pub(crate) fn open(url: &FilePath) -> Result<Self> {
        // The client is bound to the runtime that is there when it is made.
        let _guard = runtime()?.enter();
        let Connection { store, root, is_web } = connect(url)?;
        Ok(Self { url: url.into(), store, root, is_web, bytes_read: Arc::default() })
    }

    /// The same place with a counter of the caller's.
    pub(crate) fn counting(mut self, bytes_read: Arc<AtomicU64>) -> Self {
        self.bytes_read = bytes_read;
        self
    }

    /// Whether what lies below can be asked for.
    pub(crate) fn lists(&self) -> bool {
        !self.is_web
    }

    /// The whole value at `key`, the place itself if that is empty; `None` if there is none.
    pub(crate) fn value(&self, key: &str) -> Result<Option<Bytes>> {
        self.maybe(key, block_on(self.get(self.at(key)?, None))?)
    }

    /// Several values at once.
    pub(crate) fn values(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        let paths = keys.iter().map(|key| self.at(key)).collect::<Result<Vec<_>>>()?;
        let all = stream::iter(paths.into_iter().map(|path| self.get(path, None)));
        let all: Vec<_> = block_on(all.buffered(CONCURRENT).collect())?;
        keys.iter().zip(all).map(|(key, value)| self.maybe(key, value)).collect()
    }

    /// Parts of a value; `None` if there is no such value. A part that reaches beyond the value's end is cut there.
    pub(crate) fn ranges(&self, key: &str, ranges: &[ByteRange]) -> Result<Option<Vec<Bytes>>> {
        let path = self.at(key)?;
        let bounded = |range: &ByteRange| match *range {
            ByteRange::FromStart(at, Some(n)) => Some(at..at.saturating_add(n)),
            _ => None,
        };
        if let (true, Some(bounded)) = (ranges.len() > 1, ranges.iter().map(bounded).collect::<Option<Vec<_>>>()) {
            let fetch = |range| self.get(path.clone(), Some(GetRange::Bounded(range)));
            return self.maybe(key, block_on(coalesce_ranges(&bounded, fetch, GAP))?);
        }
        let mut parts = Vec::new();
        for range in ranges {
            let wanted = match *range {
                ByteRange::FromStart(0, None) => None,
                ByteRange::FromStart(at, None) => Some(GetRange::Offset(at)),
                // An empty range cannot be asked for.
                ByteRange::FromStart(_, Some(0)) | ByteRange::Suffix(0) => {
                    parts.push(Bytes::new());
                    continue;
                }
                ByteRange::FromStart(at, Some(n)) => Some(GetRange::Bounded(at..at.saturating_add(n))),
                ByteRange::Suffix(n) => Some(GetRange::Suffix(n)),
            };
            let mut got = block_on(self.get(path.clone(), wanted))?;
            if let (ByteRange::Suffix(n), Err(object_store::Error::NotSupported { .. })) = (*range, &got) {
                // Azure serves no suffixes: the size comes first.
                let Some(size) = self.size(key)? else { return Ok(None) };
                let wanted = GetRange::Bounded(size.saturating_sub(n)..size);
                got = block_on(self.get(path.clone(), Some(wanted)))?;
            }
            match self.maybe(key, got)? {
                Some(part) => parts.push(part),
                None => return Ok(None),
            }
        }
        Ok(Some(parts))
    }

    /// The first `n` bytes of a value and its size; `None` if there is none.
    pub(crate) fn beginning(&self, key: &str, n: u64) -> Result<Option<(Bytes, u64)>> {
        let path = self.at(key)?;
        let options = GetOptions { range: Some(GetRange::Bounded(0..n)), ..GetOptions::default() };
        let got = block_on(async {
            let result = self.store.get_opts(&path, options).await?;
            let size = result.meta.size;
            Ok((self.collect(result).await?, size))
        })?;
        self.maybe(key, got)
    }

    /// The size of a value, if there is one.
    pub(crate) fn size(&self, key: &str) -> Result<Option<u64>> {
        let path = self.at(key)?;
        self.maybe(key, block_on(self.store.head(&path))?.map(|meta| meta.size))
    }

    /// The sizes of several values; those that are not there count as none.
    pub(crate) fn size_of_all(&self, keys: impl Iterator<Item = String>) -> Result<u64> {
        let sizes = stream::iter(keys.map(|key| async move {
            let path = self.at(&key)?;
            let size = self.store.head(&path).await.map(|meta| meta.size);
            Ok::<_, Error>(self.maybe(&key, size)?.unwrap_or(0))
        }));
        block_on(sizes.buffer_unordered(2 * CONCURRENT).try_fold(0, |sum, n| async move { Ok(sum + n) }))?
    }

    /// Names with a slash after them directly below `prefix`, which is empty or ends in a slash; `None` where nothing can be listed.
    pub(crate) fn children(&self, prefix: &str) -> Result<Option<BTreeSet<String>>> {
        if self.is_web {
            return Ok(None);
        }
        let folder = self.at(prefix)?;
        let Some(found) = self.listed(prefix, block_on(self.store.list_with_delimiter(Some(&folder)))?)? else {
            return Ok(None);
        };
        Ok(Some(found.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_string)).collect()))
    }

    /// Every key below `prefix` with its size; `None` where nothing can be listed.
    pub(crate) fn list(&self, prefix: &str) -> Result<Option<Vec<(String, u64)>>> {
        if self.is_web {
            return Ok(None);
        }
        let folder = self.at(prefix)?;
        let all = block_on(self.store.list(Some(&folder)).try_collect::<Vec<_>>())?;
        let all = self.listed(prefix, all)?;
        Ok(all.map(|all| all.into_iter().map(|meta| (meta.location.to_string(), meta.size)).collect()))
    }

    /// Whether anything lies below or at this place.
    pub(crate) fn is_taken(&self) -> Result<bool> {
        let first = block_on(async { self.store.list(Some(&self.root)).next().await.transpose() })?;
        let below = first.map_err(|e| explain::explain(&self.url, "", e))?.is_some();
        Ok(below || self.size("")?.is_some())
    }

    /// One request, its body counted as it arrives.
    async fn get(&self, path: Path, range: Option<GetRange>) -> object_store::Result<Bytes> {
        let mut attempt = 0;
        loop {
            let options = GetOptions { range: range.clone(), ..GetOptions::default() };
            let result = self.store.get_opts(&path, options).await?;
            match self.collect(result).await {
                Err(_) if attempt + 1 < ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }

    async fn collect(&self, result: object_store::GetResult) -> object_store::Result<Bytes> {
        // What the server says of the length earns no memory; what it sends does.
        let mut parts = result.into_stream();
        let Some(first) = parts.next().await.transpose()? else { return Ok(Bytes::new()) };
        self.count(&first);
        let Some(second) = parts.next().await.transpose()? else { return Ok(first) };
        self.count(&second);
        let mut all = [first, second].concat();
        while let Some(part) = parts.next().await.transpose()? {
            self.count(&part);
            all.extend_from_slice(&part);
        }
        Ok(all.into())
    }

    fn count(&self, part: &Bytes) {
        self.bytes_read.fetch_add(part.len() as u64, Ordering::Relaxed);
    }

    /// The place below this one that `key` names.
    fn at(&self, key: &str) -> Result<Path> {
        let below = Path::parse(key.trim_end_matches('/'))
            .map_err(|e| Error::invalid("an object store has no such key", format!("{key}: {e}")))?;
        Ok(self.root.parts().chain(below.parts()).collect())
    }

    fn maybe<T>(&self, key: &str, got: object_store::Result<T>) -> Result<Option<T>> {
        match got {
            Ok(got) => Ok(Some(got)),
            Err(e @ object_store::Error::NotFound { .. }) if is_missing(&e) => Ok(None),
            Err(e) => Err(explain::explain(&self.url, key, e)),
        }
    }

    /// Who may read may still not list.
    fn listed<T>(&self, prefix: &str, got: object_store::Result<T>) -> Result<Option<T>> {
        use object_store::Error as E;
        match got {
            Ok(got) => Ok(Some(got)),
            Err(E::PermissionDenied { .. } | E::Unauthenticated { .. } | E::NotImplemented { .. }) => Ok(None),
            Err(e) => Err(explain::explain(&self.url, prefix, e)),
        }
    }
}

/// Whether only the value is missing; without its bucket, everything is.
fn is_missing(e: &object_store::Error) -> bool {
    let text = e.to_string();
    !text.contains("NoSuchBucket") && !text.contains("ContainerNotFound")
}

/// Bytes of everything at a URL, where that can be listed or asked for.
///
/// # Errors
/// [`Error::Io`] if the server does not answer.
pub fn size_at(url: &FilePath) -> Result<Option<u64>> {
    let remote = Remote::open(url)?;
    match remote.size("")? {
        Some(size) => Ok(Some(size)),
        None => Ok(remote.list("")?.map(|all| all.iter().map(|(_, size)| size).sum())),
    }
}

/// Fails unless something may be written at this URL. One object can be replaced; a tree of them cannot, since readers would meet
/// old and new values side by side.
pub(crate) fn check_output(url: &FilePath, is_tree: bool, force: bool) -> Result<()> {
    let shown = crate::location::shown(url);
    if is_web(&url.to_string_lossy()) {
        let what = "web servers are only read; write to s3://, gs://, az:// or a file";
        return Err(Error::invalid(what, shown));
    }
    let remote = Remote::open(url)?;
    if is_tree {
        if !remote.is_taken()? {
            return Ok(());
        }
        let what = match (force, remote.is_store()?) {
            (true, _) => {
                "the output exists, and -f does not help: an object store cannot replace a tree in one step; write to a new name, or delete it first"
            }
            (false, true) => "the output exists; write to a new name, or delete it first",
            (false, false) => {
                "there are objects under this name, if not a store: perhaps an interrupted job's; write to a new name, or delete them first"
            }
        };
        return Err(Error::invalid(what, shown));
    }
    match remote.size("")? {
        Some(_) if !force => Err(Error::invalid("the output exists; give -f to replace it", shown)),
        _ => Ok(()),
    }
}

impl Remote {
    fn is_store(&self) -> Result<bool> {
        let names = ["zarr.json", ".zgroup", ".zarray"].map(String::from);
        Ok(self.values(&names)?.iter().any(Option::is_some))
    }
}
