//! A destination in a temporary directory, and file systems of a test's own.

use crate::local::jail::{Jail, open_at};
use crate::local::metadata;
use crate::local::writer::{BeginError, LocalWriter, TrashPlace, WriterOptions};
use orbit_core::system::{SourceFile, SystemError, Xattr};
use orbit_core::writer::{
    AttributeChange, Disposal, Layout, OrbitWriter, Outline, Place, StagedFile, StagedName, WriteMode,
};
use orbit_core::{Attributes, ByteRange, Metadata, RelPath, Timestamp};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

pub const MTIME: Timestamp = Timestamp { seconds: 1_600_000_000, nanos: 123_456_789 };

/// A destination `root` and what lies beside it, `outside`.
pub struct Tree {
    pub top: TempDir,
}

impl Tree {
    pub fn new() -> Self {
        Self::at_top(tempfile::tempdir().expect("a directory"))
    }

    /// In memory where that can be had: for tests that make so many files that a disk would set their pace.
    pub fn in_memory() -> Self {
        let top = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::at_top(top.expect("a directory"))
    }

    fn at_top(top: TempDir) -> Self {
        for name in ["root", "outside"] {
            fs::create_dir(top.path().join(name)).expect("made");
        }
        Self { top }
    }

    pub fn root(&self) -> PathBuf {
        self.top.path().join("root")
    }

    pub fn outside(&self) -> PathBuf {
        self.top.path().join("outside")
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub fn put(&self, name: &str, text: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        fs::write(path, text).expect("written");
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).expect("read")
    }

    pub fn seen(&self, path: &str) -> Metadata {
        let root = File::open(self.root()).expect("opens");
        metadata::of_name(root.as_fd(), path.as_bytes()).expect("found")
    }

    pub fn writer(&self) -> LocalWriter {
        begin(&self.root(), options()).expect("begins")
    }

    /// Every path below the root, with the text of files.
    pub fn listing(&self) -> Vec<String> {
        list(&self.root())
    }
}

pub fn list(directory: &Path) -> Vec<String> {
    fn walk(top: &Path, directory: &Path, out: &mut Vec<String>) {
        for entry in fs::read_dir(directory).expect("listed") {
            let path = entry.expect("read").path();
            let name = path.strip_prefix(top).expect("below").display().to_string();
            let kind = fs::symlink_metadata(&path).expect("found").file_type();
            if kind.is_dir() {
                out.push(format!("{name}/"));
                walk(top, &path, out);
            } else if kind.is_file() {
                out.push(format!("{name}={}", String::from_utf8_lossy(&fs::read(&path).expect("read"))));
            } else {
                out.push(format!("{name}*"));
            }
        }
    }
    let mut out = Vec::new();
    walk(directory, directory, &mut out);
    out.sort();
    out
}

pub fn options() -> WriterOptions {
    WriterOptions { run_id: b"run".to_vec(), trash: TrashPlace::InDestination, keep_staged: BTreeSet::new() }
}

pub fn begin(root: &Path, options: WriterOptions) -> Result<LocalWriter, BeginError> {
    LocalWriter::begin(Arc::new(Jail::open(root).expect("opens")), options)
}

pub fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a valid path")
}

pub fn outline(size: u64, write: WriteMode) -> Outline {
    Outline { size, mode: 0o644, layout: Layout::Dense, write }
}

pub fn stage(writer: &LocalWriter, place: Place<'_>, bytes: &[u8]) -> Box<dyn StagedFile> {
    let outline = outline(bytes.len() as u64, WriteMode::Cached);
    let mut file = writer.stage_file(place, outline).expect("staged");
    file.write_at(bytes, 0).expect("written");
    file
}

/// Stages `text` and commits it.
pub fn commit(
    writer: &LocalWriter,
    name: &str,
    text: &str,
    expected: Option<&Metadata>,
    disposal: Disposal,
) -> Result<(), SystemError> {
    let path = path(name);
    let file = stage(writer, Place::Alone(&path), text.as_bytes());
    writer.commit(file.name(), &path, expected, disposal).inspect_err(|_| writer.discard(file.name()))
}

pub fn change(mode: u32) -> AttributeChange<'static> {
    let attributes = Attributes { mode, uid: 0, gid: 0, mtime: MTIME };
    AttributeChange { attributes, set_mode: true, set_owner: false, xattrs: None }
}

pub fn staged_name(text: &str) -> StagedName {
    StagedName(path(text))
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says that a test cannot run here.
#[allow(clippy::print_stderr, reason = "a test that does not run must be seen")]
pub fn skip(reason: &str) {
    eprintln!("SKIPPED: {reason}");
}

/// An open file as the source of a copy.
pub struct Source(pub File);

impl SourceFile for Source {
    fn metadata(&self) -> io::Result<Metadata> {
        metadata::of_handle(self.0.as_fd())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<ByteRange>> {
        let len = self.0.metadata()?.len().saturating_sub(offset);
        Ok((len > 0).then(|| ByteRange::new(offset, len).expect("fits")))
    }

    fn xattrs(&self) -> io::Result<Vec<Xattr>> {
        Ok(Vec::new())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

/// Something mounted for one test.
pub struct Mounted(PathBuf);

impl Mounted {
    /// `None`, said loudly, where this process may not mount.
    pub fn new(arguments: &[&str], at: &Path) -> Option<Self> {
        let done = is_root()
            && Command::new("mount").args(arguments).arg(at).output().is_ok_and(|out| out.status.success());
        if !done {
            skip(&format!("cannot mount {arguments:?}"));
            return None;
        }
        Some(Self(at.to_owned()))
    }

    pub fn tmpfs(options: &str, at: &Path) -> Option<Self> {
        Self::new(&["-t", "tmpfs", "-o", options, "tmpfs"], at)
    }

    /// A new file system in a file of 512 MiB, mounted at `at`; `image` must not exist.
    pub fn image(mkfs: &[&str], image: &Path, at: &Path) -> Option<Self> {
        File::create(image).and_then(|file| file.set_len(512 << 20)).expect("made");
        let made = Command::new(mkfs[0]).args(&mkfs[1..]).arg(image).output();
        if !made.is_ok_and(|out| out.status.success()) {
            skip(&format!("{mkfs:?} does not work here"));
            return None;
        }
        Self::new(&["-o", "loop", image.to_str().expect("plain")], at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()), "the test's mount is taken down");
    }
}

/// Opens the handle the calls on attributes need.
pub fn open(path: &Path) -> rustix::fd::OwnedFd {
    let parent = File::open(path.parent().expect("not the root")).expect("opens");
    let name = path.file_name().expect("named").as_encoded_bytes();
    open_at(parent.as_fd(), name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).expect("opens")
}
