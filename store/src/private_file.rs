//! What the databases hold is the user's business alone: files are created 0600, their directory 0700.

use crate::error::StoreError;
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::path::Path;

/// Creates `path` empty if it is missing, and its directory before it. What exists keeps its permissions.
pub(crate) fn create(path: &Path) -> Result<(), StoreError> {
    let mut file = OpenOptions::new();
    file.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
    match file.open(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(StoreError::io("create", path, error)),
    }
    if let Some(directory) = path.parent() {
        create_directory(directory)?;
    }
    match file.open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(StoreError::io("create", path, error))
        }
        _ => Ok(()),
    }
}

/// Makes names that were given, changed or removed in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let synced = std::fs::File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|error| StoreError::io("sync the directory", path, error))
}

/// Creates a directory and those above it, 0700.
pub(crate) fn create_directory(path: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| StoreError::io("create directory", path, error))
}

/// Puts these bytes in place of a file, or creates it (0600), durably: a crash leaves the old ones or the new ones.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    use std::io::Write as _;
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    let draft = Path::new(&draft);
    create(draft)?;
    let written = OpenOptions::new().write(true).truncate(true).open(draft).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| StoreError::io("write", draft, error))?;
    std::fs::rename(draft, path).map_err(|error| StoreError::io("rename", draft, error))?;
    path.parent().map_or(Ok(()), sync_directory)
}
