//! Taking over what is in an old store, without touching it: names for files that stay as they are, entries of a zip as they are.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use zip::ZipArchive;

use super::{Output, OutputKind, folder_of};
use crate::error::{Error, Result};

impl Output {
    /// Takes over every value of the store at `old` but those under the keys `except`, which have been written anew. Files get a
    /// second name (a hard link), or are copied where that cannot be.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what is neither a file nor a directory; [`Error::Io`].
    pub(in crate::zarr) fn adopt(&mut self, old: &Path, except: &BTreeSet<String>) -> Result<()> {
        match &mut self.kind {
            OutputKind::Remote(_) => {
                Err(Error::unsupported(&self.path, "an object store takes no files over from another"))
            }
            OutputKind::Directory(folder, _) => {
                adopt_folder(old, folder.path(), "", except)?;
                alike(old, folder.path())
            }
            OutputKind::Zip(zip) => {
                let bad = |e: zip::result::ZipError| Error::io(old)(e.into());
                let mut archive = ZipArchive::new(File::open(old).map_err(Error::io(old))?).map_err(bad)?;
                for i in 0..archive.len() {
                    let entry = archive.by_index_raw(i).map_err(bad)?;
                    if entry.name().is_ok_and(|name| !except.contains(name.as_ref())) {
                        zip.raw_copy_file(entry).map_err(bad)?;
                    }
                }
                Ok(())
            }
        }
    }
}

fn adopt_folder(old: &Path, new: &Path, prefix: &str, except: &BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(old).map_err(Error::io(old))? {
        let entry = entry.map_err(Error::io(old))?;
        let (from, to) = (entry.path(), new.join(entry.file_name()));
        let key = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().map_err(Error::io(&from))?;
        if kind.is_dir() {
            fs::create_dir_all(&to).map_err(Error::io(&to))?;
            adopt_folder(&from, &to, &format!("{key}/"), except)?;
            alike(&from, &to)?;
        } else if !kind.is_file() {
            // What it leads to would not be part of the one step in which the store changes.
            return Err(Error::unsupported(&from, "neither a file nor a directory; put it out of the store"));
        } else if !except.contains(&key) {
            fs::create_dir_all(folder_of(&to)).map_err(Error::io(&to))?;
            if fs::hard_link(&from, &to).is_err() {
                fs::copy(&from, &to).map_err(Error::io(&to))?;
            }
        }
    }
    Ok(())
}

/// Gives a directory the permissions of another.
fn alike(from: &Path, to: &Path) -> Result<()> {
    let meta = fs::metadata(from).map_err(Error::io(from))?;
    fs::set_permissions(to, meta.permissions()).map_err(Error::io(to))
}
