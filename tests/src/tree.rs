//! [`Tree`]: makes trees from a seed, and their next versions.

use crate::random::Random;
use crate::snapshot::{Kind, Snapshot, os};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, mknodat, utimensat};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// Makes and changes what lies below a directory. Times and contents come from the seed.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    random: Random,
    made: u64,
}

impl Tree {
    /// Makes the directory `root` (or goes on in it).
    ///
    /// # Panics
    /// If it cannot be made, as every method here if the disk does not obey.
    pub fn at(root: &Path, seed: u64) -> Self {
        fs::create_dir_all(root).unwrap_or_else(|e| panic!("make {}: {e}", root.display()));
        Self { root: root.to_owned(), random: Random::new(seed), made: 0 }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of something in it.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// A directory, with those above it.
    pub fn directory(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(&path).unwrap_or_else(|e| panic!("make {}: {e}", path.display()));
        path
    }

    /// A file with this content; directories above it are made.
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(path);
        let above = path.parent().expect("a file lies in a directory");
        fs::create_dir_all(above).unwrap_or_else(|e| panic!("make {}: {e}", above.display()));
        fs::write(&path, content).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        path
    }

    /// A file of so many random bytes.
    pub fn file(&mut self, path: impl AsRef<Path>, len: usize) -> PathBuf {
        let content = self.random.bytes(len);
        self.write(path, content)
    }

    /// A file with holes: data only at the given offsets.
    pub fn sparse(&mut self, path: impl AsRef<Path>, len: u64, data_at: &[u64]) -> PathBuf {
        let path = self.write(path, b"");
        let file = File::options().write(true).open(&path).expect("opens what it made");
        file.set_len(len).expect("sets the length");
        for &offset in data_at {
            file.write_all_at(&self.random.bytes(3000), offset).expect("writes");
        }
        path
    }

    /// A symbolic link with this text.
    pub fn symlink(&self, path: impl AsRef<Path>, text: impl AsRef<Path>) -> PathBuf {
        let path = self.path(path);
        symlink(text, &path).unwrap_or_else(|e| panic!("link {}: {e}", path.display()));
        path
    }

    /// Another name of the file `first`.
    pub fn hard_link(&self, first: impl AsRef<Path>, path: impl AsRef<Path>) -> PathBuf {
        let path = self.path(path);
        fs::hard_link(self.path(first), &path).unwrap_or_else(|e| panic!("link {}: {e}", path.display()));
        path
    }

    /// A named pipe.
    pub fn fifo(&self, path: impl AsRef<Path>) -> PathBuf {
        self.node(path, FileType::Fifo, 0)
    }

    /// A device node or a named pipe.
    pub fn node(&self, path: impl AsRef<Path>, kind: FileType, device: u64) -> PathBuf {
        let path = self.path(path);
        mknodat(CWD, &path, kind, Mode::from_raw_mode(0o640), device).expect("makes a node");
        path
    }

    /// Sets permission bits.
    pub fn mode(&self, path: impl AsRef<Path>, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).expect("sets the mode");
    }

    /// Sets an extended attribute; `false` where the file system has none.
    pub fn xattr(&self, path: impl AsRef<Path>, name: &str, value: &[u8]) -> bool {
        rustix::fs::lsetxattr(self.path(path), name, value, XattrFlags::empty()).is_ok()
    }

    /// Removes a file or a whole directory.
    pub fn remove(&self, path: impl AsRef<Path>) {
        remove(&self.path(path));
    }

    /// Renames.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        fs::rename(self.path(from), self.path(to)).expect("renames");
    }

    /// Sets a modification time, of a link itself.
    pub fn mtime(&self, path: impl AsRef<Path>, seconds: i64, nanos: u32) {
        set_mtime(&self.path(path), seconds, nanos).expect("sets a time");
    }

    /// Gives everything a modification time of its own in the past, directories last.
    pub fn age(&mut self) {
        let paths: Vec<Vec<u8>> = Snapshot::take(&self.root).entries.into_keys().collect();
        for path in paths.iter().rev() {
            let seconds = self.random.between(1_000_000_000, 1_750_000_000) as i64;
            let nanos = self.random.below(1_000_000_000) as u32;
            self.mtime(os(path), seconds, nanos);
        }
    }

    /// A new name that says nothing.
    fn new_name(&mut self, stem: &str) -> String {
        self.made += 1;
        format!("{stem}-{}-{:04x}", self.made, self.random.below(1 << 16))
    }
}

/// Whole trees.
impl Tree {
    /// A tree with a bit of everything that needs no privilege: about `files` files in nested directories, of sizes
    /// 0 to some 100 KB, links of both kinds, holes, odd names, modes, extended attributes.
    pub fn mixed(root: &Path, seed: u64, files: usize) -> Self {
        let mut tree = Self::at(root, seed);
        let mut directories = vec![PathBuf::new()];
        for _ in 0..files / 8 + 2 {
            let name = tree.new_name("dir");
            let directory = tree.random.pick(&directories).join(name);
            tree.directory(&directory);
            directories.push(directory);
        }
        for number in 0..files {
            let name = tree.new_name(["file", "Mün chen", "-rf", "a\nb"][number % 4]);
            let path = tree.random.pick(&directories).join(name);
            let len = tree.some_len();
            tree.file(&path, len);
            tree.decorate(&path, number);
        }
        tree.symlink("link to a directory", directories.last().expect("some were made"));
        tree.symlink("dangling", "nowhere/at all");
        tree.symlink("absolute", "/etc/hostname");
        tree.symlink(os(b"not utf-8 \xff\xfe"), "..");
        tree.sparse("holes", 3 << 20, &[0, 1 << 20, (2 << 20) + 777]);
        tree.directory("empty/inside empty");
        tree.mode("empty/inside empty", 0o2711);
        tree.age();
        tree
    }

    fn some_len(&mut self) -> usize {
        let most = *self.random.pick(&[1, 200, 5_000, 5_000, 40_000, 40_000, 130_000]);
        if self.random.is_one_in(10) { most / 4096 * 4096 } else { self.random.below(most as u64) as usize }
    }

    fn decorate(&mut self, path: &Path, number: usize) {
        self.mode(path, [0o644, 0o600, 0o755, 0o444, 0o640][number % 5]);
        if number % 6 == 1 {
            self.xattr(path, "user.note", format!("number {number}").as_bytes());
        }
        if number % 9 == 2 {
            let name = self.new_name("hard");
            self.hard_link(path, name);
        }
        if rustix::process::geteuid().is_root() && number % 4 == 3 {
            lchown(self.path(path), Some(1000 + number as u32), Some(2000)).expect("changes the owner");
        }
    }

    /// Turns the tree into its next version: files rewritten, grown, renamed, deleted and new, directories renamed,
    /// attributes alone changed, kinds exchanged.
    pub fn evolve(&mut self) {
        let files = self.paths_of(|kind| matches!(kind, Kind::File(content) if content.len < 1 << 20));
        let few = files.len() / 12 + 1;
        let mut order: Vec<usize> = (0..files.len()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, self.random.below(at as u64 + 1) as usize);
        }
        let mut next = order.into_iter().map(|at| files[at].clone());
        for path in next.by_ref().take(few * 2) {
            let len = self.some_len();
            replace(&self.path(&path), &self.random.bytes(len));
        }
        for path in next.by_ref().take(few) {
            let before = fs::metadata(self.path(&path)).expect("is there").permissions().mode() & 0o777;
            let (mode, value) = (if before == 0o600 { 0o755 } else { 0o600 }, self.random.bytes(4));
            self.mode(&path, mode);
            self.xattr(&path, "user.version", &value);
        }
        for path in next.by_ref().take(few) {
            let name = self.new_name("renamed");
            self.rename(&path, name);
        }
        for path in next.by_ref().take(few) {
            self.remove(&path);
        }
        self.exchange_kinds(&mut next);
        let fresh = PathBuf::from(self.new_name("fresh"));
        for number in 0..few * 2 {
            let len = self.some_len();
            self.file(fresh.join(format!("{number}")), len);
        }
        let directories = self.paths_of(|kind| matches!(kind, Kind::Directory));
        let moved = self.random.pick(&directories).clone();
        if !moved.as_os_str().is_empty() {
            let name = self.new_name("moved");
            self.rename(&moved, name);
        }
    }

    /// A file becomes a directory, another one a link, a link a file, an empty directory a file.
    fn exchange_kinds(&mut self, files: &mut impl Iterator<Item = PathBuf>) {
        if let Some(path) = files.next() {
            self.remove(&path);
            self.write(path.join("was a file"), "now below a directory");
        }
        if let Some(path) = files.next() {
            self.remove(&path);
            self.symlink(&path, "was a file");
        }
        if let Some(path) = self.paths_of(|kind| matches!(kind, Kind::Symlink(_))).first() {
            self.remove(path);
            self.write(path, "was a link");
        }
        if self.path("empty").is_dir() {
            self.remove("empty");
            self.write("empty", "was a directory");
        } else if self.path("empty").exists() {
            self.remove("empty");
            self.directory("empty/inside empty");
        }
    }

    fn paths_of(&self, wanted: impl Fn(&Kind) -> bool) -> Vec<PathBuf> {
        let snapshot = Snapshot::take(&self.root);
        snapshot
            .entries
            .iter()
            .filter(|(_, seen)| wanted(&seen.kind))
            .map(|(path, _)| os(path).into())
            .collect()
    }
}

/// Writes a new content into an inode, as editors do that keep hard links.
fn replace(path: &Path, content: &[u8]) {
    let before = fs::metadata(path).expect("is there").permissions();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("sets the mode");
    fs::write(path, content).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
    fs::set_permissions(path, before).expect("sets the mode");
}

/// Removes a file or a whole directory; nothing there is fine.
///
/// # Panics
/// If it cannot be removed.
pub fn remove(path: &Path) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
        .unwrap_or_else(|e| panic!("remove {}: {e}", path.display()));
}

/// Sets a modification time, of a link itself.
pub fn set_mtime(path: &Path, seconds: i64, nanos: u32) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Copies a tree as it is, with `cp -a`.
///
/// # Panics
/// If `cp` fails.
pub fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-aT").arg(from).arg(to).status().expect("cp starts");
    assert!(status.success(), "cp -aT {} {} failed", from.display(), to.display());
}
