//! Whole files over the network: fetched before they are read, written before they are sent.
//!
//! They wait in the system's folder for temporary files (`TMPDIR`).

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, WriteMultipart};
use serde_json::Value;
use tempfile::TempDir;

use super::explain::explain;
use super::{ATTEMPTS, Remote, block_on, note};
use crate::error::{Error, Result};
use crate::location::{file_name, shown};
use crate::model::{Group, Sink, Source, Values};

/// Fetching more than this is said.
const LARGE: u64 = 1_000_000_000;
/// Values up to this size are put with one request.
pub(super) const WHOLE: usize = 16 << 20;
/// Bytes of one part of an upload; more for files of more than the 10 000 parts that stores take.
const PART: usize = 8 << 20;
/// Parts under way at the same time.
const PARTS: usize = 4;

/// A file fetched from a URL; its folder goes with it.
pub(crate) struct Fetched {
    source: Box<dyn Source>,
    local: PathBuf,
    url: PathBuf,
    _folder: TempDir,
}

/// Fetches the file at `url` and has `open` open it; `None` if there is none.
///
/// # Errors
/// [`Error::Io`] for the network and the temporary file; those of `open`.
pub(crate) fn fetch(url: &Path, open: impl FnOnce(&Path) -> Result<Box<dyn Source>>) -> Result<Option<Fetched>> {
    let remote = Remote::open(url)?;
    let folder = tempfile::Builder::new().prefix("lithify-").tempdir().map_err(Error::io(std::env::temp_dir()))?;
    let local = folder.path().join(local_name(url));
    let mut file = File::create_new(&local).map_err(Error::io(&local))?;
    if !remote.download(&mut file)? {
        return Ok(None);
    }
    drop(file);
    let source = open(&local).map_err(|e| e.renamed(&local, &shown(url)))?;
    Ok(Some(Fetched { source, local, url: url.into(), _folder: folder }))
}

/// A name that any file system takes.
fn local_name(url: &Path) -> String {
    let name = file_name(url);
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = name.chars().take(100).map(plain).collect();
    if name.trim_matches('.').is_empty() { "data".into() } else { name }
}

impl Fetched {
    fn named(&self, e: Error) -> Error {
        e.renamed(&self.local, &shown(&self.url))
    }
}

impl Source for Fetched {
    fn root(&self) -> &Group {
        self.source.root()
    }

    fn read(&self, path: &str, start: &[usize], count: &[usize]) -> Result<Values> {
        self.source.read(path, start, count).map_err(|e| self.named(e))
    }

    fn format(&self) -> &'static str {
        self.source.format()
    }

    fn warnings(&self) -> Vec<String> {
        self.source.warnings()
    }

    fn lost(&self) -> Vec<String> {
        self.source.lost()
    }

    fn certificate(&self, path: &str) -> Option<Value> {
        self.source.certificate(path)
    }
}

impl Remote {
    /// Writes the value at this place to a file, from the file's start; false if there is none.
    fn download(&self, file: &mut File) -> Result<bool> {
        let path = self.at("")?;
        let mut attempt = 0;
        let mut run = async || -> object_store::Result<std::io::Result<()>> {
            loop {
                let result = self.store.get_opts(&path, GetOptions::default()).await?;
                let size = result.meta.size;
                if size > LARGE && attempt == 0 {
                    let local = std::env::temp_dir();
                    let name = shown(&self.url);
                    note(&format!("{name}: {:.1} GB are fetched to {} first", size as f64 / 1e9, local.display()));
                }
                if let Err(e) = std::io::Seek::rewind(file).and_then(|()| file.set_len(0)) {
                    return Ok(Err(e));
                }
                let mut parts = result.into_stream();
                let broken = loop {
                    match parts.next().await {
                        None => return Ok(Ok(())),
                        Some(Err(e)) => break e,
                        Some(Ok(part)) => {
                            self.count(&part);
                            if let Err(e) = file.write_all(&part) {
                                return Ok(Err(e));
                            }
                        }
                    }
                };
                attempt += 1;
                if attempt == ATTEMPTS {
                    return Err(broken);
                }
            }
        };
        let got = block_on(run())?;
        match self.maybe("", got)? {
            None => Ok(false),
            Some(written) => written.map(|()| true).map_err(Error::io(std::env::temp_dir())),
        }
    }

    /// Makes a file the value at this place. It appears when all of it has arrived.
    fn upload(&self, local: &Path) -> Result<()> {
        let path = self.at("")?;
        let mut file = File::open(local).map_err(Error::io(local))?;
        let size = file.metadata().map_err(Error::io(local))?.len();
        if size <= WHOLE as u64 {
            let mut bytes = Vec::with_capacity(size as usize);
            file.read_to_end(&mut bytes).map_err(Error::io(local))?;
            let put = block_on(self.store.put(&path, bytes.into()))?;
            return put.map(drop).map_err(|e| explain(&self.url, "", e));
        }
        let part = PART.max((size / 9_000) as usize);
        let sent = block_on(async {
            let mut upload = WriteMultipart::new_with_chunk_size(self.store.put_multipart(&path).await?, part);
            let mut bytes = vec![0; part];
            loop {
                upload.wait_for_capacity(PARTS).await?;
                match read_full(&mut file, &mut bytes) {
                    Ok(0) => return upload.finish().await.map(|_| Ok(())),
                    Ok(n) => upload.write(&bytes[..n]),
                    Err(e) => {
                        upload.abort().await?;
                        return Ok(Err(e));
                    }
                }
            }
        })?;
        sent.map_err(|e: object_store::Error| explain(&self.url, "", e))?.map_err(Error::io(local))
    }
}

fn read_full(file: &mut File, bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut n = 0;
    while n < bytes.len() {
        match file.read(&mut bytes[n..])? {
            0 => break,
            more => n += more,
        }
    }
    Ok(n)
}

/// A place for a file that is sent to a URL once it is complete.
#[derive(Debug)]
pub(crate) struct Staged {
    remote: Remote,
    url: PathBuf,
    local: PathBuf,
    _folder: TempDir,
}

impl Staged {
    /// # Errors
    /// [`Error::Invalid`] for a URL that cannot be written, [`Error::Io`] if there is no room for temporary files.
    pub(crate) fn new(url: &Path) -> Result<Self> {
        super::check_output(url, false, true)?;
        let folder = tempfile::Builder::new().prefix("lithify-").tempdir().map_err(Error::io(std::env::temp_dir()))?;
        let local = folder.path().join(local_name(url));
        Ok(Self { remote: Remote::open(url)?, url: url.into(), local, _folder: folder })
    }

    /// Where to write it.
    pub(crate) fn local(&self) -> &Path {
        &self.local
    }

    /// Sends what was written there.
    ///
    /// # Errors
    /// [`Error::Io`]; what was at the URL is still there then.
    pub(crate) fn send(self) -> Result<PathBuf> {
        self.remote.upload(&self.local)?;
        Ok(self.url)
    }
}

/// A file of any format that is sent to a URL once it is complete.
pub(crate) struct Sending {
    sink: Box<dyn Sink>,
    staged: Staged,
}

impl Sending {
    /// Starts a file with `create`, to be sent to `url`.
    ///
    /// # Errors
    /// As [`Staged::new`] and `create`.
    pub(crate) fn new(url: &Path, create: impl FnOnce(&Path) -> Result<Box<dyn Sink>>) -> Result<Self> {
        let staged = Staged::new(url)?;
        Ok(Self { sink: create(staged.local())?, staged })
    }
}

impl Sink for Sending {
    fn define(&mut self, root: &Group) -> Result<()> {
        self.sink.define(root)
    }

    fn write(&mut self, path: &str, start: &[usize], count: &[usize], values: &Values) -> Result<()> {
        self.sink.write(path, start, count, values)
    }

    fn finish(self: Box<Self>) -> Result<PathBuf> {
        self.sink.finish()?;
        self.staged.send()
    }
}
