//! [`LogDisk`]: the few operations on files that the log needs, and [`DirectoryDisk`], which does them for real.

use crate::error::StoreError;
use std::collections::HashMap;
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The files of a log. Names are plain file names.
pub trait LogDisk: Send + Sync + fmt::Debug {
    /// Names of all files.
    fn list(&self) -> io::Result<Vec<String>>;

    /// All bytes of a file. After the last byte that was appended zeros may follow.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Up to `len` bytes of a file from `offset` on.
    fn read_range(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let bytes = self.read(name)?;
        let rest = bytes.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        Ok(rest.get(..len).unwrap_or(rest).to_vec())
    }

    /// Writes bytes behind those appended before; creates the file. Until a [`sync`](Self::sync) they may be lost in a
    /// crash, all or in part.
    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Makes all that was appended to a file, and the file itself, survive a crash.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Cuts a file to `len` bytes, durably; the next append continues there.
    fn truncate(&self, name: &str, len: u64) -> io::Result<()>;

    /// Puts these bytes in place of a file, or creates it, durably: a crash leaves the old ones or the new ones. The next
    /// append continues behind them.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Removes a file, durably. One that is missing is no error.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Where the files are, for people.
    fn place(&self) -> PathBuf {
        PathBuf::from("log")
    }
}

/// Files are filled with zeros up to a multiple of this before they are needed: a sync of bytes that replace zeros writes
/// only these bytes, while one that lengthens the file has the file system commit its records too.
const PREPARED_BYTES: u64 = 1 << 20;
/// Behind the name of a file that will replace another.
const DRAFT: &str = ".draft";
const LOCK: &str = "lock";

/// A directory of a file system, locked while this exists. Files are 0600, the directory 0700.
#[derive(Debug)]
pub struct DirectoryDisk {
    path: PathBuf,
    directory: File,
    /// Holds the lock.
    _lock: File,
    /// Files that were appended to. The log appends to one at a time.
    open: Mutex<HashMap<String, Appended>>,
}

#[derive(Debug)]
struct Appended {
    file: File,
    /// Where the next bytes go.
    len: u64,
    /// Zeros lie from `len` to here.
    prepared: u64,
    /// The directory does not durably know it yet.
    is_new: bool,
}

impl DirectoryDisk {
    /// Opens or creates the directory.
    ///
    /// Errors: [`Locked`](StoreError::Locked) if another log uses it; [`Io`](StoreError::Io).
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let fault = |operation| move |error| StoreError::io(operation, path, error);
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(fault("create directory"))?;
        if let Some(parent) = path.parent() {
            sync_directory(parent).map_err(fault("sync the directory of"))?;
        }
        let directory = File::open(path).map_err(fault("open"))?;
        let lock_path = path.join(LOCK);
        let lock = private().create(true).truncate(false).open(&lock_path);
        let lock = lock.map_err(|error| StoreError::io("create", &lock_path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &lock_path, error)),
        }
        let this = Self { path: path.to_owned(), directory, _lock: lock, open: Mutex::default() };
        for name in this.list().map_err(fault("list"))? {
            if name.ends_with(DRAFT) {
                this.remove(&name).map_err(|error| StoreError::io("remove", &path.join(&name), error))?;
            }
        }
        Ok(this)
    }

    fn with_open<T>(&self, use_them: impl FnOnce(&mut HashMap<String, Appended>) -> T) -> T {
        use_them(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn open_to_append(&self, name: &str) -> io::Result<Appended> {
        let path = self.path.join(name);
        match private().create_new(true).open(&path) {
            Ok(file) => Ok(Appended { file, len: 0, prepared: 0, is_new: true }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let file = private().open(&path)?;
                let len = file.metadata()?.len();
                Ok(Appended { file, len, prepared: len, is_new: false })
            }
            Err(error) => Err(error),
        }
    }
}

impl LogDisk for DirectoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            // A name that is not UTF-8 is none of the log's.
            if let Ok(name) = entry?.file_name().into_string()
                && name != LOCK
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.path.join(name))
    }

    fn read_range(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = File::open(self.path.join(name))?;
        let left = file.metadata()?.len().saturating_sub(offset);
        let mut bytes = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(len)];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.with_open(|open| {
            if !open.contains_key(name) {
                let appended = self.open_to_append(name)?;
                open.clear();
                open.insert(name.to_owned(), appended);
            }
            let Some(appended) = open.get_mut(name) else { return Err(io::ErrorKind::NotFound.into()) };
            appended.write(bytes)
        })
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.with_open(|open| {
            let Some(appended) = open.get_mut(name) else { return Ok(()) };
            appended.file.sync_data()?;
            if appended.is_new {
                self.directory.sync_all()?;
                appended.is_new = false;
            }
            Ok(())
        })
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.with_open(|open| {
            open.remove(name);
            let file = private().open(self.path.join(name))?;
            file.set_len(len)?;
            file.sync_all()
        })
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.with_open(|open| {
            open.remove(name);
            let draft = self.path.join(format!("{name}{DRAFT}"));
            let mut file = private().create(true).truncate(true).open(&draft)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&draft, self.path.join(name))?;
            self.directory.sync_all()
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with_open(|open| {
            open.remove(name);
            match std::fs::remove_file(self.path.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed.and_then(|()| self.directory.sync_all()),
            }
        })
    }

    fn place(&self) -> PathBuf {
        self.path.clone()
    }
}

impl Appended {
    /// Writes at the end, and as many zeros behind as the file was not prepared for, in one write.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.len + bytes.len() as u64;
        if end <= self.prepared {
            self.file.write_all_at(bytes, self.len)?;
        } else {
            let prepared = end.next_multiple_of(PREPARED_BYTES);
            let mut padded = Vec::with_capacity(usize::try_from(prepared - self.len).unwrap_or(0));
            padded.extend_from_slice(bytes);
            padded.resize(usize::try_from(prepared - self.len).unwrap_or(bytes.len()), 0);
            self.file.write_all_at(&padded, self.len)?;
            self.prepared = prepared;
        }
        self.len = end;
        Ok(())
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}
