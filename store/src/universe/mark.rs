//! A file beside the universe that exists while it is open, and stays behind if the process dies.
//!
//! redb notes an unclean close itself, but only once it has opened the file; this also covers dying over a damaged
//! file *while* opening it, which would otherwise repeat itself for ever.

use crate::error::StoreError;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// The mark. Removed when dropped, but only after it was [held](OpenMark::held): until then it may be another
/// process's.
#[derive(Debug)]
pub(crate) struct OpenMark {
    path: PathBuf,
    was_left: bool,
    held: bool,
}

impl OpenMark {
    /// Makes sure the mark of the universe at `universe` exists.
    pub fn set(universe: &Path) -> Result<Self, StoreError> {
        let mut path = universe.as_os_str().to_owned();
        path.push(".open");
        let path = PathBuf::from(path);
        let mut file = OpenOptions::new();
        file.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
        let was_left = match file.open(&path) {
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => true,
            Err(error) => return Err(StoreError::io("create", &path, error)),
        };
        Ok(Self { path, was_left, held: false })
    }

    /// Whether it was there before: another process has the universe open, or died having it open.
    pub const fn was_left(&self) -> bool {
        self.was_left
    }

    /// The universe is open, so the mark is this process's.
    #[must_use]
    pub const fn held(mut self) -> Self {
        self.held = true;
        self
    }
}

impl Drop for OpenMark {
    fn drop(&mut self) {
        if self.held
            && let Err(error) = fs::remove_file(&self.path)
        {
            // Costs the next process a check, nothing else.
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the mark of an open universe");
        }
    }
}
