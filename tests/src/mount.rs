//! [`Mount`]: a file system of a test's own.

use crate::report::skipped;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A mounted file system; unmounted when dropped.
#[derive(Debug)]
pub struct Mount {
    at: PathBuf,
    _directory: tempfile::TempDir,
}

impl Mount {
    /// A tmpfs with these options (`size=300k,nr_inodes=40`). `None` (and a loud word) where that is not possible.
    pub fn tmpfs(options: &str) -> Option<Self> {
        let directory = tempfile::Builder::new().prefix("orbit-mount-").tempdir().expect("makes a directory");
        let at = directory.path().join("mount");
        std::fs::create_dir(&at).expect("makes a directory");
        let mounted = Self::mount(&["-t", "tmpfs", "-o", &format!("mode=755,{options}"), "tmpfs"], &at);
        mounted.then(|| Self { at, _directory: directory })
    }

    /// A file system in an image of `megabytes`, made by `mkfs` (`mkfs.ext4`, `-q`, …). `None` (and a loud word) where
    /// that is not possible.
    pub fn image(mkfs: &[&str], megabytes: u64) -> Option<Self> {
        let directory = tempfile::Builder::new().prefix("orbit-mount-").tempdir().expect("makes a directory");
        let (image, at) = (directory.path().join("image"), directory.path().join("mount"));
        std::fs::create_dir(&at).expect("makes a directory");
        std::fs::File::create(&image).and_then(|file| file.set_len(megabytes << 20)).expect("makes an image");
        let (program, arguments) = mkfs.split_first().expect("mkfs is named");
        let made = Command::new(program).args(arguments).arg(&image).stdout(Stdio::null()).status();
        if !made.is_ok_and(|status| status.success()) {
            skipped(&format!("a file system of its own ({program})"), "it cannot be made here");
            return None;
        }
        let image = image.to_str().expect("a temporary path is text");
        Self::mount(&["-o", "loop", image], &at).then(|| Self { at, _directory: directory })
    }

    /// A tmpfs mounted over a directory that is there already.
    pub fn tmpfs_at(at: &Path, options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("makes a directory");
        let mounted = Self::mount(&["-t", "tmpfs", "-o", options, "tmpfs"], at);
        mounted.then(|| Self { at: at.to_owned(), _directory: directory })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Changes options of the mount.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.at).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot remount {}", self.at.display());
    }

    fn mount(arguments: &[&str], at: &Path) -> bool {
        let output = Command::new("mount").args(arguments).arg(at).output();
        match output {
            Ok(output) if output.status.success() => true,
            Ok(output) => {
                skipped("a mount of its own", String::from_utf8_lossy(&output.stderr).trim());
                false
            }
            Err(error) => {
                skipped("a mount of its own", &error.to_string());
                false
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmount = |flags: &[&str]| {
            let done = Command::new("umount").args(flags).arg(&self.at).stderr(Stdio::null()).status();
            done.is_ok_and(|status| status.success())
        };
        if !unmount(&[]) {
            unmount(&["-l"]);
        }
    }
}
