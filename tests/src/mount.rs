//! [`Mount`]: a file system of a test's own.

use crate::report::skipped;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A mounted file system; unmounted when dropped.
#[derive(Debug)]
pub struct Mount {
    at: PathBuf,
    image: Option<PathBuf>,
    _directory: tempfile::TempDir,
}

impl Mount {
    /// A tmpfs with these options (`size=300k,nr_inodes=40`). `None` (and a loud word) where that is not possible.
    pub fn tmpfs(options: &str) -> Option<Self> {
        let directory = tempfile::Builder::new().prefix("orbit-mount-").tempdir().expect("makes a directory");
        let at = directory.path().join("mount");
        std::fs::create_dir(&at).expect("makes a directory");
        let mounted = Self::mount(&["-t", "tmpfs", "-o", &format!("mode=755,{options}"), "tmpfs"], &at);
        mounted.then(|| Self { at, image: None, _directory: directory })
    }

    /// A file system in an image of `megabytes`, made by `mkfs` (`mkfs.ext4`, `-q`, …). `None` (and a loud word) where
    /// that is not possible.
    pub fn image(mkfs: &[&str], megabytes: u64) -> Option<Self> {
        Self::image_in(&std::env::temp_dir(), mkfs, megabytes, "loop")
    }

    /// The same with the image in a directory of the caller's choice, and options of the mount.
    ///
    /// # Panics
    /// If nothing can be made in that directory.
    pub fn image_in(directory: &Path, mkfs: &[&str], megabytes: u64, options: &str) -> Option<Self> {
        let directory =
            tempfile::Builder::new().prefix("orbit-mount-").tempdir_in(directory).expect("makes a directory");
        let image = directory.path().join("image");
        std::fs::File::create(&image).and_then(|file| file.set_len(megabytes << 20)).expect("makes an image");
        let (program, arguments) = mkfs.split_first().expect("mkfs is named");
        let made = Command::new(program).args(arguments).arg(&image).stdout(Stdio::null()).status();
        if !made.is_ok_and(|status| status.success()) {
            skipped(&format!("a file system of its own ({program})"), "it cannot be made here");
            return None;
        }
        Self::of_image(directory, image, options)
    }

    /// What would be on the disk if the power failed now: a mount of a copy of the image, taken at one instant (which
    /// needs an image on a file system with reflinks) without asking anyone to write anything first.
    ///
    /// # Panics
    /// If the image cannot be copied so.
    pub fn after_power_cut(&self, options: &str) -> Option<Self> {
        let image = self.image.as_ref().expect("has an image");
        let beside = image.parent().and_then(Path::parent).expect("lies in a directory of its own");
        let directory =
            tempfile::Builder::new().prefix("orbit-cut-").tempdir_in(beside).expect("makes a directory");
        let copy = directory.path().join("image");
        let status = Command::new("cp").arg("--reflink=always").arg(image).arg(&copy).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot copy {}", image.display());
        Self::of_image(directory, copy, options)
    }

    fn of_image(directory: tempfile::TempDir, image: PathBuf, options: &str) -> Option<Self> {
        let at = directory.path().join("mount");
        std::fs::create_dir(&at).expect("makes a directory");
        let mounted = Self::mount(&["-o", options, image.to_str().expect("a temporary path is text")], &at);
        mounted.then(|| Self { at, image: Some(image), _directory: directory })
    }

    /// A tmpfs mounted over a directory that is there already.
    pub fn tmpfs_at(at: &Path, options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("makes a directory");
        let mounted = Self::mount(&["-t", "tmpfs", "-o", options, "tmpfs"], at);
        mounted.then(|| Self { at: at.to_owned(), image: None, _directory: directory })
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
