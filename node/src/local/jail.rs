//! [`Jail`]: a root handle below which every path is opened.
//!
//! A path is never checked and then used: it is resolved by the kernel beneath the root's handle, and what is done is
//! done through the handle that came out of it. A symbolic link on the way is refused, wherever it leads, so swapping
//! one in gains nothing. What a jail does not stop: bind mounts, and hard links to files outside.

use crate::local::metadata;
use orbit_core::system::SystemError;
use orbit_core::{EntryKind, RelPath};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Longest piece of a path handed to one system call: `PATH_MAX` is 4 096 with the final NUL.
const SEGMENT_BYTES_MAX: usize = 4_000;

/// How often a resolution that raced with a rename is tried again.
#[cfg(target_os = "linux")]
const ATTEMPTS_MAX: u32 = 64;

/// A handle on a directory on the way to something: search permission is enough where the system allows that.
#[cfg(target_os = "linux")]
const WAYPOINT: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
#[cfg(not(target_os = "linux"))]
const WAYPOINT: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// A directory and everything below it, reached without ever following a symbolic link.
#[derive(Debug)]
pub struct Jail {
    root: OwnedFd,
    root_path: PathBuf,
    resolver: Resolver,
}

/// How paths are resolved; chosen once, when the jail is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolver {
    /// `openat2` does it in one call.
    #[cfg(target_os = "linux")]
    Kernel,
    /// One `openat` a component, for kernels before 5.6, strict seccomp profiles and other systems.
    Walk,
}

impl Jail {
    /// Opens the directory `root`. The user named it, so symbolic links on the way to it are followed.
    pub fn open(root: &Path) -> io::Result<Self> {
        let handle = openat(CWD, root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let resolver = Resolver::best(handle.as_fd());
        Ok(Self { root: handle, root_path: root.to_owned(), resolver })
    }

    /// A jail of its own around a directory below this one, opened by this one's handle: whatever happens to the path
    /// to it meanwhile, it holds that directory.
    pub fn below(&self, path: &RelPath) -> Result<Self, SystemError> {
        let root = self.open_directory(path)?;
        let name = std::ffi::OsStr::from_bytes(path.as_bytes());
        Ok(Self { root, root_path: self.root_path.join(name), resolver: self.resolver })
    }

    /// The root as it was named, for messages.
    pub fn root_path(&self) -> &Path {
        &self.root_path
    }

    /// The root's handle.
    pub fn root_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens a directory for reading its names and for operations relative to it.
    pub fn open_directory(&self, path: &RelPath) -> Result<OwnedFd, SystemError> {
        self.resolve(path.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(|errno| refusal("open directory", path, errno))
    }

    /// Opens the directory that contains `path` and returns it with the last name of `path`.
    ///
    /// The handle serves operations relative to it, not reading. The root has no containing directory:
    /// [`SystemError::WrongKind`].
    pub fn open_parent<'p>(&self, path: &'p RelPath) -> Result<(OwnedFd, &'p [u8]), SystemError> {
        let bytes = path.as_bytes();
        let Some(name) = path.name() else {
            return Err(SystemError::WrongKind {
                path: path.clone(),
                wanted: "a name below the root".into(),
            });
        };
        let parent = &bytes[..bytes.len() - name.len()];
        let parent = parent.strip_suffix(b"/").unwrap_or(parent);
        let handle = self.resolve(parent, WAYPOINT).map_err(|errno| refusal("reach", path, errno))?;
        Ok((handle, name))
    }

    /// Opens a regular file for reading. Everything else, a symbolic link too, is [`SystemError::WrongKind`].
    ///
    /// It never blocks on a FIFO. Merely opening a device can act on it, so the kind is looked at before, and again
    /// on the open handle, in case something else was put there between the two.
    pub fn open_file(&self, path: &RelPath) -> Result<OwnedFd, SystemError> {
        let (parent, name) = self.open_parent(path)?;
        open_file_at(parent.as_fd(), name, path)
    }

    /// Opens what `path` (bytes of a [`RelPath`]) names, in pieces that fit into one call each.
    fn resolve(&self, mut path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let mut reached: Option<OwnedFd> = None;
        while path.len() > SEGMENT_BYTES_MAX {
            let window = &path[..SEGMENT_BYTES_MAX];
            let Some(end) = window.iter().rposition(|&byte| byte == b'/') else {
                return Err(Errno::NAMETOOLONG);
            };
            let from = reached.as_ref().map_or(self.root_fd(), AsFd::as_fd);
            reached = Some(self.resolver.open(from, &path[..end], WAYPOINT)?);
            path = &path[end + 1..];
        }
        let from = reached.as_ref().map_or(self.root_fd(), AsFd::as_fd);
        self.resolver.open(from, path, flags)
    }

    #[cfg(test)]
    fn open_walking(root: &Path) -> Self {
        Self { resolver: Resolver::Walk, ..Self::open(root).expect("the root opens") }
    }
}

/// Opens `name`, which is one component, in an open directory, never following a symbolic link.
///
/// `O_NOFOLLOW` and `O_CLOEXEC` are added to `flags`.
pub fn open_at(
    directory: BorrowedFd<'_>,
    name: &[u8],
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    debug_assert!(!name.contains(&b'/') && name != b"..", "open_at takes one name");
    openat(directory, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode)
}

/// [`Jail::open_file`] for a name in a directory that is already open; `path` is for the error.
pub fn open_file_at(directory: BorrowedFd<'_>, name: &[u8], path: &RelPath) -> Result<OwnedFd, SystemError> {
    let wrong_kind = || SystemError::WrongKind { path: path.clone(), wanted: "a regular file".into() };
    let before = metadata::of_name(directory, name).map_err(SystemError::io("open", path))?;
    if before.kind != EntryKind::File {
        return Err(wrong_kind());
    }
    let file = match open_at(directory, name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
        Ok(file) => file,
        // A symbolic link, or a socket or device without a driver, came between the look and the opening.
        Err(Errno::LOOP | Errno::NXIO) => return Err(wrong_kind()),
        Err(errno) => return Err(SystemError::io("open", path)(errno.into())),
    };
    let opened = metadata::of_handle(file.as_fd()).map_err(SystemError::io("open", path))?;
    if opened.kind == EntryKind::File { Ok(file) } else { Err(wrong_kind()) }
}

impl Resolver {
    /// `openat2` if this kernel has it and lets us.
    #[cfg(target_os = "linux")]
    fn best(root: BorrowedFd<'_>) -> Self {
        match Self::Kernel.open(root, b"", WAYPOINT) {
            Ok(_) => Self::Kernel,
            Err(_) => Self::Walk,
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn best(_: BorrowedFd<'_>) -> Self {
        Self::Walk
    }

    /// Opens a directory below `from`; an empty path is `from` itself. A symbolic link on the way is `ELOOP`.
    fn open(self, from: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Kernel => open_beneath(from, path, flags),
            Self::Walk => walk(from, path, flags),
        }
    }
}

#[cfg(target_os = "linux")]
fn open_beneath(from: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::{ResolveFlags, openat2};
    let stay = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    let path = if path.is_empty() { b"." } else { path };
    let mut attempt = 1;
    loop {
        match openat2(from, path, flags | OFlags::CLOEXEC, Mode::empty(), stay) {
            Err(Errno::AGAIN | Errno::INTR) if attempt < ATTEMPTS_MAX => attempt += 1,
            result => return result,
        }
    }
}

fn walk(from: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    if path.is_empty() {
        return open_at(from, b".", flags, Mode::empty());
    }
    let mut reached: Option<OwnedFd> = None;
    let mut names = path.split(|&byte| byte == b'/').peekable();
    while let Some(name) = names.next() {
        let directory = reached.as_ref().map_or(from, AsFd::as_fd);
        let step = if names.peek().is_none() { flags } else { WAYPOINT };
        let next = match open_at(directory, name, step, Mode::empty()) {
            // With O_DIRECTORY the kernel calls a symbolic link "not a directory".
            Err(Errno::NOTDIR) if is_symlink(directory, name) => return Err(Errno::LOOP),
            result => result?,
        };
        reached = Some(next);
    }
    reached.ok_or(Errno::NOENT)
}

fn is_symlink(directory: BorrowedFd<'_>, name: &[u8]) -> bool {
    metadata::of_name(directory, name).is_ok_and(|found| found.kind == EntryKind::Symlink)
}

/// What the kernel's refusal means for the caller.
fn refusal(operation: &'static str, path: &RelPath, errno: Errno) -> SystemError {
    match errno {
        Errno::LOOP | Errno::XDEV => SystemError::Escapes { path: path.clone() },
        errno => SystemError::io(operation, path)(errno.into()),
    }
}

#[cfg(test)]
#[path = "jail_tests.rs"]
mod tests;
