//! Extended attributes, access control lists among them.
//!
//! Only what means the same on another machine is read, see [`is_portable`]. File systems without any have none.

use orbit_core::system::Xattr;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::fs::{fgetxattr, flistxattr, lgetxattr, llistxattr};
use rustix::io::Errno;
use std::io;

/// Longest list of names and longest value; the kernel has the same limits.
const BYTES_MAX: usize = 64 * 1024;

/// What one object's attributes may come to: a bound on memory, far beyond use.
const TOTAL_BYTES_MAX: usize = 16 << 20;

/// Whether an attribute is copied.
///
/// These are: the user's own, the administrator's (`trusted.`), POSIX access control lists and file capabilities.
/// These are not: labels of a security module (`security.selinux`) and signatures (`security.ima`, `security.evm`),
/// which hold for one system and one inode; what an overlay keeps for itself; and `system.` attributes that are a
/// window on something else (`system.nfs4_acl`, `system.cifs_acl`).
pub fn is_portable(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || (name.starts_with(b"trusted.") && !name.starts_with(b"trusted.overlay."))
        || matches!(name, b"system.posix_acl_access" | b"system.posix_acl_default" | b"security.capability")
}

/// Attributes of an open file or directory, sorted by name.
pub fn of_handle(file: BorrowedFd<'_>) -> io::Result<Vec<Xattr>> {
    read_all(|list| flistxattr(file, list), |name, value| fgetxattr(file, name, value))
}

/// Attributes of `name` in an open directory, sorted by name, without opening it nor following it: for symbolic links,
/// FIFOs, sockets and devices.
///
/// The calls that would take a directory's handle came with Linux 6.13, so it goes through `/proc`. A symbolic link
/// can only have attributes that an administrator sees; for others that way is spared.
#[cfg(target_os = "linux")]
pub fn of_name(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<Xattr>> {
    let path = [format!("/proc/self/fd/{}/", directory.as_fd().as_raw_fd()).as_bytes(), name].concat();
    read_all(|list| llistxattr(&path, list), |name, value| lgetxattr(&path[..], name, value))
}

/// Other systems offer no way to do this beneath a directory's handle.
#[cfg(not(target_os = "linux"))]
pub fn of_name(_: BorrowedFd<'_>, _: &[u8]) -> io::Result<Vec<Xattr>> {
    Ok(Vec::new())
}

fn read_all(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> io::Result<Vec<Xattr>> {
    // Most objects have none: one call, no allocation.
    let mut few = [0; 256];
    let names = match list(&mut few) {
        Ok(len) => few[..len].to_vec(),
        Err(Errno::RANGE) => fill(&list)?,
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        Err(errno) => return Err(errno.into()),
    };
    let mut xattrs = Vec::new();
    let mut total = 0;
    for name in names.split(|&byte| byte == 0).filter(|name| is_portable(name)) {
        let value = match fill(|value| get(name, value)) {
            Ok(value) => value,
            // It was removed since the names were listed.
            Err(Errno::NODATA) => continue,
            Err(errno) => return Err(errno.into()),
        };
        total += name.len() + value.len();
        if total > TOTAL_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "extended attributes exceed 16 MiB"));
        }
        xattrs.push(Xattr { name: name.to_vec(), value });
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

/// Calls with growing buffers until the answer fits.
fn fill(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1024];
    loop {
        match call(&mut buffer) {
            Ok(len) => {
                buffer.truncate(len);
                buffer.shrink_to_fit();
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < BYTES_MAX => buffer.resize(BYTES_MAX, 0),
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{XattrFlags, fsetxattr, lsetxattr};
    use std::fs::File;
    use std::os::unix::fs::symlink;

    fn xattr(name: &str, value: impl Into<Vec<u8>>) -> Xattr {
        Xattr { name: name.as_bytes().to_vec(), value: value.into() }
    }

    #[test]
    fn reads_what_was_set_sorted() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = File::create(directory.path().join("file")).expect("created");
        assert_eq!(of_handle(file.as_fd()).expect("readable"), []);
        let mut wanted: Vec<_> = (0..30).map(|n| xattr(&format!("user.many-{n:02}"), [n])).collect();
        wanted.push(xattr("user.empty", []));
        wanted.push(xattr("user.long", vec![7; 2_000]));
        wanted.sort();
        for Xattr { name, value } in &wanted {
            match fsetxattr(&file, &name[..], value, XattrFlags::empty()) {
                Err(Errno::OPNOTSUPP) => {
                    tracing::warn!("no extended attributes on this file system: reading them is not tested");
                    return;
                }
                result => result.expect("set"),
            }
        }
        assert_eq!(of_handle(file.as_fd()).expect("readable"), wanted);
        let handle = File::open(directory.path()).expect("opens");
        if cfg!(target_os = "linux") {
            assert_eq!(of_name(handle.as_fd(), b"file").expect("readable"), wanted);
        }
    }

    #[test]
    fn links_show_their_own_and_not_their_targets() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = File::create(directory.path().join("file")).expect("created");
        let link = directory.path().join("link");
        symlink("file", &link).expect("linked");
        let set = fsetxattr(&file, "user.target", b"1", XattrFlags::empty())
            .and_then(|()| lsetxattr(&link, "trusted.link", b"2", XattrFlags::empty()));
        if let Err(errno) = set {
            tracing::warn!(%errno, "no privilege or no support: attributes of links are not tested");
            return;
        }
        let handle = File::open(directory.path()).expect("opens");
        assert_eq!(of_name(handle.as_fd(), b"link").expect("readable"), [xattr("trusted.link", *b"2")]);
    }

    #[test]
    fn a_file_system_without_any_has_none() {
        let status = File::open("/proc/self/status").expect("opens");
        assert_eq!(of_handle(status.as_fd()).expect("readable"), []);
    }

    #[test]
    fn what_belongs_to_this_system_stays_here() {
        for name in ["user.x", "trusted.x", "system.posix_acl_access", "security.capability"] {
            assert!(is_portable(name.as_bytes()), "{name}");
        }
        for name in ["", "security.selinux", "security.ima", "trusted.overlay.opaque", "system.nfs4_acl"] {
            assert!(!is_portable(name.as_bytes()), "{name}");
        }
    }
}
