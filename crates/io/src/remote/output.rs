//! A tree of objects being written: a store that is there once its root's metadata are, which come last.
//!
//! # What is atomic
//! Objects appear whole or not at all. The tree has no such guarantee of its own, so the root's `zarr.json` makes the store: it is
//! put when everything else has arrived, and only where there is none. Dropping an unfinished tree deletes what it wrote.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload, WriteMultipart};
use tokio::task::JoinSet;
use zarrs::storage::Bytes;

use super::connect::runtime;
use super::explain::{explain, said};
use super::fetch::WHOLE;
use super::{Remote, block_on, check_output, note};
use crate::error::{Error, Result};
use crate::location::shown;

/// Values under way at the same time. A shard can be large, and another is being made meanwhile.
const PUTS: usize = 4;
/// Deleting what a failed job wrote takes no longer.
const TIDY: Duration = Duration::from_secs(60);
/// The key that makes a store.
const ROOT: &str = "zarr.json";

/// A key, and what became of its value.
type Put = (String, object_store::Result<()>);

/// A tree being written.
#[derive(Debug)]
pub(crate) struct Tree {
    remote: Remote,
    puts: JoinSet<Put>,
    /// Keys that may have been written.
    keys: Vec<Path>,
    /// The last value was metadata.
    metadata: bool,
    /// The server is gone, and nothing can be deleted there.
    dead: bool,
    finished: bool,
}

impl Tree {
    /// # Errors
    /// [`Error::Invalid`] for a URL that cannot be written, or that has something below it; [`Error::Io`].
    pub(crate) fn create(url: &std::path::Path) -> Result<Self> {
        check_output(url, true, false)?;
        Ok(Self {
            remote: Remote::open(url)?,
            puts: JoinSet::new(),
            keys: Vec::new(),
            metadata: false,
            dead: false,
            finished: false,
        })
    }

    /// Writes a value, or starts to. Metadata wait for what came before them.
    ///
    /// # Errors
    /// [`Error::Io`] if this or an earlier value cannot be written.
    pub(crate) fn put(&mut self, key: &str, bytes: &[u8]) -> Result<()> {
        let path = self.remote.at(key)?;
        let is_metadata = key.rsplit('/').next() == Some(ROOT);
        let begins_metadata = is_metadata && !std::mem::replace(&mut self.metadata, is_metadata);
        self.wait_until(if begins_metadata || key == ROOT { 0 } else { PUTS - 1 })?;
        if key == ROOT {
            return self.put_root(path, bytes);
        }
        self.keys.push(path.clone());
        let (store, key, bytes) = (Arc::clone(&self.remote.store), key.to_string(), Bytes::copy_from_slice(bytes));
        self.puts.spawn_on(async move { (key, put(store.as_ref(), &path, bytes).await) }, runtime()?.handle());
        Ok(())
    }

    fn put_root(&mut self, path: Path, bytes: &[u8]) -> Result<()> {
        let store = &self.remote.store;
        let payload = || PutPayload::from(Bytes::copy_from_slice(bytes));
        let created = block_on(store.put_opts(&path, payload(), PutMode::Create.into()))?;
        let done = match created {
            // Not every server knows conditions.
            Err(object_store::Error::NotImplemented { .. }) => block_on(store.put(&path, payload()))?,
            // The first answer may have been lost on its way; then it is our own that is there.
            Err(e @ (object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. })) => {
                if self.remote.value(ROOT)?.is_none_or(|there| there != bytes) {
                    // What was written is mixed with another job's, which is complete: not ours to delete.
                    self.finished = true;
                    let what =
                        "another store was written here meanwhile, and may hold values of this one; write it again";
                    return Err(
                        self.failed(std::io::Error::new(ErrorKind::AlreadyExists, format!("{what} ({})", said(&e))))
                    );
                }
                return Ok(());
            }
            done => done,
        };
        self.keys.push(path);
        done.map(drop).map_err(|e| explain(&self.remote.url, ROOT, e))
    }

    /// Waits until at most `n` values are under way.
    fn wait_until(&mut self, n: usize) -> Result<()> {
        while self.puts.len() > n {
            match block_on(self.puts.join_next())? {
                None => return Ok(()),
                Some(Ok((_, Ok(())))) => {}
                Some(Ok((key, Err(e)))) => {
                    let error = explain(&self.remote.url, &key, e);
                    self.dead = matches!(&error, Error::Io { reason, .. } if reason.kind() == ErrorKind::NotConnected);
                    return Err(error);
                }
                Some(Err(e)) => return Err(self.failed(std::io::Error::other(e))),
            }
        }
        Ok(())
    }

    fn failed(&self, reason: std::io::Error) -> Error {
        Error::Io { path: shown(&self.remote.url).into(), reason }
    }

    /// Ends it; everything has been put.
    ///
    /// # Errors
    /// [`Error::Io`] if a value cannot be written.
    pub(crate) fn finish(mut self) -> Result<std::path::PathBuf> {
        self.wait_until(0)?;
        self.finished = true;
        Ok(self.remote.url.clone())
    }
}

/// One value, in parts if it is large.
async fn put(store: &dyn ObjectStore, path: &Path, bytes: Bytes) -> object_store::Result<()> {
    if bytes.len() <= WHOLE {
        return store.put(path, bytes.into()).await.map(drop);
    }
    let mut upload = WriteMultipart::new_with_chunk_size(store.put_multipart(path).await?, WHOLE);
    upload.put(bytes);
    upload.finish().await.map(drop)
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.finished || self.keys.is_empty() {
            return;
        }
        if self.dead || !self.tidied() {
            let place = shown(&self.remote.url);
            note(&format!(
                "{place}: values of the unfinished store may be left, which is no store to a reader; delete them"
            ));
        }
    }
}

impl Tree {
    /// Deletes what was written.
    fn tidied(&mut self) -> bool {
        let (puts, keys) = (&mut self.puts, std::mem::take(&mut self.keys));
        let tidy = async {
            // A value under way would arrive after its deletion.
            while puts.join_next().await.is_some() {}
            let gone = self.remote.store.delete_stream(stream::iter(keys.into_iter().map(Ok)).boxed());
            let missing = |e: &object_store::Error| matches!(e, object_store::Error::NotFound { .. });
            gone.all(|one| std::future::ready(one.is_ok() || one.is_err_and(|e| missing(&e)))).await
        };
        block_on(async { tokio::time::timeout(TIDY, tidy).await }).is_ok_and(|done| done == Ok(true))
    }
}
