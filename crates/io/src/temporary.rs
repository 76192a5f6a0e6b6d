//! Files that are written beside their final place under a temporary name, and gone if they are never finished.

use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// An empty file `.NAME.XXXXXX.tmp` in the folder of `path`, removed when dropped.
pub(crate) fn beside(path: &Path) -> Result<NamedTempFile> {
    let Some(name) = path.file_name() else {
        return Err(Error::invalid("the output must be a file name", path.display()));
    };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    let prefix = format!(".{}.", name.to_string_lossy());
    builder.prefix(&prefix).suffix(".tmp");
    // What the user's umask leaves, as for any other new file; tempfile alone would shut out the group.
    #[cfg(unix)]
    let builder = builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder).map_err(Error::io(folder))
}

/// Gives the file its final name, replacing what is there.
pub(crate) fn persist(file: NamedTempFile, path: &Path) -> Result<()> {
    file.persist(path).map_err(|e| Error::io(path)(e.error))?;
    Ok(())
}
