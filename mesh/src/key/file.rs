//! Files that hold a secret: written once, for their owner alone, and not read when others could have read them.

use super::pem::NotAKey;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longest key file that is read, bytes; one of ours has 119.
const FILE_BYTES_MAX: usize = 4096;

/// Why a key file cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is a file already; it is never overwritten, for the key in it cannot be made again.
    #[error("there is a key at {} already; it was left as it is", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It could not be written.
    #[error("cannot write the key {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be read.
    #[error("cannot read the key {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than its owner have rights on it.
    #[error(
        "others than its owner may read or write the key {} (mode {mode:04o}), so it is not used. Run: chmod 600 {}",
        .path.display(), .path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory, a device, a pipe.
    #[error("the key {} is not a regular file", .path.display())]
    NotAFile {
        /// What is there.
        path: PathBuf,
    },
    /// What it holds is no key.
    #[error("the key {} cannot be used", .path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: NotAKey,
    },
}

/// Writes a secret to a new file of mode 0600. When this returns, the file and its name are on disk. What a failed
/// attempt wrote is removed again.
pub fn create(path: &Path, text: &str) -> Result<(), KeyError> {
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(KeyError::Exists { path: path.to_owned() });
        }
        Err(source) => return Err(KeyError::Write { path: path.to_owned(), source }),
    };
    let written =
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| sync_directory(path));
    written.map_err(|source| {
        // Otherwise half a key would stand in the way of the next attempt. The first error is the one to tell.
        let _ = fs::remove_file(path);
        KeyError::Write { path: path.to_owned(), source }
    })
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

/// Reads a secret; refuses a file on which its group or others have any right. What is checked is the open file, so
/// nothing can be put in its place meanwhile.
pub fn read(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let failed = |source| KeyError::Read { path: path.to_owned(), source };
    // A pipe put in the key's place would block the opening for ever; a directory can be opened but not read.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(KeyError::NotAFile { path: path.to_owned() });
    }
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(KeyError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    // Large enough from the start: a buffer that grows leaves copies behind that nobody wipes.
    let mut bytes = Zeroizing::new([0; FILE_BYTES_MAX]);
    let mut len = 0;
    while len < bytes.len() {
        match file.read(&mut bytes[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(failed(source)),
        }
    }
    match std::str::from_utf8(&bytes[..len]) {
        Ok(text) if len < bytes.len() => Ok(Zeroizing::new(text.to_owned())),
        _ => Err(KeyError::NotAKey { path: path.to_owned(), source: NotAKey::NotPem }),
    }
}
