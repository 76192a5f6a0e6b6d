//! Stores that take their place in one step, and who may change them.
//!
//! - A new store is built beside its place under a temporary name, `.NAME.XXXXXX.tmp`, and then changes places with the old one in
//!   one step, so that there is a whole store under the name at any moment, whenever the process ends. What has the temporary name
//!   after that is the old one, and goes.
//! - Whoever builds holds a lock on what it builds; whoever changes a store, on the store itself. Locks (`flock`) end with their
//!   process: a temporary that nobody has locked was left behind and is removed by the next writer.
//! - Where the file system cannot exchange two names, a directory is moved aside first, to `.NAME.XXXXXX.old`, and for a moment
//!   there is nothing under the name. That one is never removed unless the new store has its place.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{ErrorKind, Result as IoResult, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use crate::error::{Error, Result};

const SUFFIX: &str = ".tmp";
/// Characters that `tempfile` makes up.
const RANDOM: usize = 6;
/// Files that are waited for at a time.
const SYNCS: usize = 16;

/// The right to change a store or file, until dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    file: File,
}

impl Claim {
    /// Claims what is at `path`.
    ///
    /// # Errors
    /// [`Error::Busy`] if somebody else has; [`Error::Io`] if there is nothing, or the file system knows no locks.
    pub(crate) fn now(path: &Path) -> Result<Self> {
        loop {
            let file = File::open(path).map_err(Error::io(path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(Error::Busy(path.into())),
                Err(TryLockError::Error(e)) => {
                    let what = format!("the file system refuses to lock it ({e}); move the store to a local disk");
                    return Err(Error::unsupported(path, what));
                }
            }
            let claim = Self { path: path.into(), file };
            // Whoever had it before may have put another one in its place.
            if claim.holds() {
                return Ok(claim);
            }
        }
    }

    /// Waits until nobody else changes what is at `path`. `None` if there is nothing, or the file system knows no locks.
    fn wait(path: &Path) -> Result<Option<Self>> {
        loop {
            let Ok(file) = File::open(path) else { return Ok(None) };
            match file.lock() {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => return Err(Error::Interrupted),
                Err(_) => return Ok(None),
            }
            let claim = Self { path: path.into(), file };
            if claim.holds() {
                return Ok(Some(claim));
            }
        }
    }

    /// Whether the path still names what was claimed.
    pub(crate) fn holds(&self) -> bool {
        same(&self.file, &self.path)
    }
}

/// Whether `path` names this file or directory.
fn same(file: &File, path: &Path) -> bool {
    matches!((file.metadata(), fs::symlink_metadata(path)), (Ok(a), Ok(b)) if identity(&a) == identity(&b))
}

#[cfg(unix)]
fn identity(meta: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (meta.dev(), meta.ino())
}

#[cfg(not(unix))]
fn identity(meta: &Metadata) -> Option<std::time::SystemTime> {
    meta.created().ok()
}

/// A new directory for the store at `path`, removed when dropped, and the lock on it where there are locks.
pub(crate) fn folder_for(path: &Path) -> Result<(TempDir, Option<File>)> {
    let (parent, prefix) = place(path)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(SUFFIX).rand_bytes(RANDOM);
    // What the user's umask leaves, as for any other new directory; tempfile alone would shut out the group.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    loop {
        let folder = builder.tempdir_in(parent).map_err(Error::io(parent))?;
        let Ok(lock) = File::open(folder.path()) else { return Ok((folder, None)) };
        match lock.try_lock() {
            Ok(()) if same(&lock, folder.path()) => return Ok((folder, Some(lock))),
            // A sweep came between making it and locking it.
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(_)) => return Ok((folder, None)),
        }
    }
}

/// Like [`folder_for`], a file that holds its own lock.
pub(crate) fn file_for(path: &Path) -> Result<NamedTempFile> {
    let (parent, prefix) = place(path)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(SUFFIX).rand_bytes(RANDOM);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    loop {
        let file = builder.tempfile_in(parent).map_err(Error::io(parent))?;
        match file.as_file().try_lock() {
            Ok(()) if !same(file.as_file(), file.path()) => {}
            Err(TryLockError::WouldBlock) => {}
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(file),
        }
    }
}

/// Writes the file at `path`, whole or not at all; what was there is replaced.
///
/// # Errors
/// [`Error::Io`]; then what was there is in its place.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    sweep(path);
    let mut file = file_for(path)?;
    file.write_all(bytes).map_err(Error::io(path))?;
    let (_lock, new) = file.keep().map_err(|e| Error::io(path)(e.error))?;
    replace(&new, path)
}

/// The folder of `path`, and what the names of its temporaries begin with.
fn place(path: &Path) -> Result<(&Path, String)> {
    let name = path.file_name();
    let name =
        name.ok_or_else(|| Error::invalid("the output must be a path that ends in a file name", path.display()))?;
    Ok((folder_of(path), format!(".{}.", name.to_string_lossy())))
}

/// The folder that holds `path`; `Path::parent` of a bare name is empty, which is no folder.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes the temporaries for `path` that their process left behind. Those that somebody still has locked stay.
pub(crate) fn sweep(path: &Path) {
    let Ok((parent, prefix)) = place(path) else { return };
    let Ok(entries) = fs::read_dir(parent) else { return };
    let ours = |name: &str| {
        let random = name.strip_prefix(&prefix).and_then(|n| n.strip_suffix(SUFFIX));
        random.is_some_and(|r| r.len() == RANDOM && r.bytes().all(|b| b.is_ascii_alphanumeric()))
    };
    for entry in entries.flatten().filter(|e| e.file_name().to_str().is_some_and(ours)) {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_symlink() {
            continue;
        }
        let Ok(file) = File::open(&path) else { continue };
        if file.try_lock().is_ok() && same(&file, &path) {
            // Whatever cannot be removed now is met again by the next sweep.
            let _ = remove(&path);
        }
    }
}

fn remove(path: &Path) -> IoResult<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// Gives `new` the name `path`, which nothing has. Nothing is lost if the machine goes down, so nothing is waited for.
///
/// # Errors
/// [`Error::Io`]; then `new` is gone.
pub(crate) fn publish(new: &Path, path: &Path) -> Result<()> {
    let placed = fs::rename(new, path);
    if placed.is_err() {
        let _ = remove(new);
    }
    placed.map_err(Error::io(path))
}

/// Gives `new` the name `path`, in place of what is there, which is removed. Waits for whoever changes that.
///
/// # Errors
/// [`Error::Io`]; then what was there is in its place, and `new` is gone.
pub(crate) fn replace(new: &Path, path: &Path) -> Result<()> {
    let claim = match Claim::wait(path) {
        Ok(claim) => claim,
        Err(e) => {
            let _ = remove(new);
            return Err(e);
        }
    };
    let done = take_place(new, path);
    drop(claim);
    done
}

/// [`replace`] for whoever has the claim already.
pub(crate) fn replace_claimed(new: &Path, claim: &Claim) -> Result<()> {
    if claim.holds() {
        return take_place(new, &claim.path);
    }
    let _ = remove(new);
    Err(Error::invalid("the store was moved or replaced meanwhile by somebody else; start again", claim.path.display()))
}

fn take_place(new: &Path, path: &Path) -> Result<()> {
    let placed = sync(new).and_then(|()| swap(new, path, exchange));
    if placed.is_ok() {
        sync_folder(folder_of(path));
    }
    // The old one, or the new one that found no place.
    let _ = remove(new);
    placed.map_err(Error::io(path))
}

/// Puts `new` at `path`; what was there is at `new` then.
fn swap(new: &Path, path: &Path, exchange: fn(&Path, &Path) -> IoResult<()>) -> IoResult<()> {
    let Ok(old) = fs::symlink_metadata(path) else { return fs::rename(new, path) };
    // Nothing is touched for the sake of something that is not there.
    if !fs::symlink_metadata(new)?.is_dir() && !old.is_dir() {
        // A file takes the place of another in one step everywhere.
        return fs::rename(new, path);
    }
    match exchange(new, path) {
        Err(e) if cannot(&e) => {}
        done => return done,
    }
    let (parent, prefix) = place(path).map_err(|e| std::io::Error::other(e.to_string()))?;
    let aside = tempfile::Builder::new().prefix(&prefix).suffix(".old").tempdir_in(parent)?;
    let old = aside.path().join("old");
    fs::rename(path, &old)?;
    if let Err(e) = fs::rename(new, path) {
        if fs::rename(&old, path).is_err() {
            // The old store must not go with its temporary folder.
            let _ = aside.keep();
        }
        return Err(e);
    }
    Ok(())
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn exchange(a: &Path, b: &Path) -> IoResult<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn exchange(_: &Path, _: &Path) -> IoResult<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Whether the system or the file system does not know how to exchange names.
fn cannot(e: &std::io::Error) -> bool {
    matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput)
}

/// Has everything new below `path` written to the disk before what it replaces goes: a crash of the machine must not leave names
/// without contents. Many at a time, for the file system writes down together what comes together.
fn sync(path: &Path) -> IoResult<()> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    list(path, &mut files, &mut folders)?;
    each(&files, |file| File::open(file)?.sync_all())?;
    each(&folders, |folder| {
        sync_folder(folder);
        Ok(())
    })
}

/// Files that have no other name, and folders.
fn list(path: &Path, files: &mut Vec<PathBuf>, folders: &mut Vec<PathBuf>) -> IoResult<()> {
    let meta = fs::symlink_metadata(path)?;
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            list(&entry?.path(), files, folders)?;
        }
        folders.push(path.into());
    } else if meta.is_file() && !is_shared(&meta) {
        files.push(path.into());
    }
    Ok(())
}

fn each(paths: &[PathBuf], run: impl Fn(&Path) -> IoResult<()> + Sync) -> IoResult<()> {
    let share = paths.len().div_ceil(SYNCS).max(1);
    std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> =
            paths.chunks(share).map(|some| scope.spawn(move || some.iter().try_for_each(|p| run(p)))).collect();
        let ended = threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

/// Directories cannot be synced everywhere; where they can, it is done.
fn sync_folder(path: &Path) {
    if let Ok(folder) = File::open(path) {
        let _ = folder.sync_all();
    }
}

/// Whether the file has another name, as those have that were taken over from an old store.
#[cfg(unix)]
fn is_shared(meta: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(meta) > 1
}

#[cfg(not(unix))]
fn is_shared(_: &Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test fails by panicking

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn store(path: &Path, text: &str) {
        fs::create_dir(path).unwrap();
        fs::write(path.join("a"), text).unwrap();
    }

    #[test]
    fn the_new_one_takes_the_place_of_the_old_one() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("x.zarr");
        // Directory and file, in place of nothing, of a directory, of a file.
        for (i, is_dir) in [true, true, false, false, true].into_iter().enumerate() {
            let text = i.to_string();
            if is_dir {
                let (folder, _lock) = folder_for(&path).unwrap();
                fs::write(folder.path().join("a"), &text).unwrap();
                replace(&folder.keep(), &path).unwrap();
                assert_eq!(fs::read_to_string(path.join("a")).unwrap(), text);
            } else {
                let file = file_for(&path).unwrap();
                fs::write(file.path(), &text).unwrap();
                let (_lock, new) = file.keep().unwrap();
                replace(&new, &path).unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), text);
            }
            assert_eq!(names(tmp.path()), ["x.zarr"]);
        }
    }

    #[test]
    fn without_an_exchange_the_old_one_steps_aside() {
        let tmp = tempfile::tempdir().unwrap();
        let (path, new) = (tmp.path().join("x.zarr"), tmp.path().join("new"));
        store(&path, "old");
        for code in [rustix::io::Errno::INVAL, rustix::io::Errno::NOSYS, rustix::io::Errno::OPNOTSUPP] {
            assert!(cannot(&code.into()), "{code:?}");
            store(&new, &format!("{code:?}"));
            swap(&new, &path, |_, _| Err(ErrorKind::Unsupported.into())).unwrap();
            assert_eq!(
                (names(tmp.path()), fs::read_to_string(path.join("a")).unwrap()),
                (vec!["x.zarr".into()], format!("{code:?}"))
            );
        }
        // What cannot be put there leaves the old one in its place.
        let before = fs::read_to_string(path.join("a")).unwrap();
        assert!(swap(&new, &path, |_, _| Err(ErrorKind::Unsupported.into())).is_err());
        store(&new, "new");
        assert!(swap(&new, &path, |_, _| Err(ErrorKind::StorageFull.into())).is_err());
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), before);
    }

    #[test]
    fn a_claim_is_one_at_a_time_and_of_what_the_path_names() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("x.zarr");
        store(&path, "old");
        let claim = Claim::now(&path).unwrap();
        assert!(matches!(Claim::now(&path), Err(Error::Busy(_))));
        let (folder, lock) = folder_for(&path).unwrap();
        fs::write(folder.path().join("a"), "new").unwrap();
        replace_claimed(&folder.keep(), &claim).unwrap();
        drop(lock);
        // The claim was on the old one, which is gone.
        assert!(!claim.holds());
        drop(Claim::now(&path).unwrap());
        let (folder, _lock) = folder_for(&path).unwrap();
        let new = folder.keep();
        assert!(matches!(replace_claimed(&new, &claim), Err(Error::Invalid { .. })));
        assert_eq!(
            (names(tmp.path()), fs::read_to_string(path.join("a")).unwrap()),
            (vec!["x.zarr".into()], "new".into())
        );
    }

    #[test]
    fn only_what_a_dead_process_left_is_swept() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("x.zarr");
        for dead in
            [".x.zarr.abc123.tmp", ".y.zarr.abc123.tmp", ".x.zarr.abc123.old", ".x.zarr.abc.tmp", "x.zarr.abc123.tmp"]
        {
            store(&tmp.path().join(dead), "left");
        }
        fs::write(tmp.path().join(".x.zarr.ABC123.tmp"), "left").unwrap();
        let (live, _lock) = folder_for(&path).unwrap();
        let live_file = file_for(&path).unwrap();
        sweep(&path);
        let mut want = vec![".x.zarr.abc.tmp", ".x.zarr.abc123.old", ".y.zarr.abc123.tmp", "x.zarr.abc123.tmp"];
        want.extend([live.path(), live_file.path()].map(|p| p.file_name().unwrap().to_str().unwrap()));
        want.sort_unstable();
        assert_eq!(names(tmp.path()), want);
    }
}
