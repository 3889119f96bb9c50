//! `--apply`, on real file systems in images of their own where the machine lets us.

use super::*;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

const APPLY: DedupOptions = DedupOptions {
    walk: WalkRules { rules: Vec::new(), ignore_files: Vec::new(), one_file_system: false },
    apply: true,
    min_bytes: 0,
    chunks: false,
};

/// A file system in an image; unmounted when dropped.
struct Image {
    at: PathBuf,
    _directory: tempfile::TempDir,
}

impl Image {
    /// `None`, with a loud word, where it cannot be made.
    fn new(mkfs: &[&str]) -> Option<Self> {
        let directory = directory();
        let (image, at) = (directory.path().join("image"), directory.path().join("mount"));
        fs::create_dir(&at).expect("made");
        File::create(&image).and_then(|file| file.set_len(400 << 20)).expect("an image");
        let image = image.to_str().expect("a temporary path is text");
        let run = |words: &[&str]| {
            let done = Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).status();
            done.is_ok_and(|status| status.success())
        };
        let is_mounted = run(&[mkfs, &[image]].concat())
            && run(&["mount", "-o", "loop", image, at.to_str().expect("a temporary path is text")]);
        if !is_mounted {
            // Past the capture of the test's output.
            writeln!(std::io::stderr(), "SKIPPED: no file system of {} can be made here", mkfs[0])
                .expect("said");
            return None;
        }
        Some(Self { at, _directory: directory })
    }

    fn free(&self) -> u64 {
        rustix::fs::syncfs(File::open(&self.at).expect("opens")).expect("synced");
        let found = rustix::fs::statvfs(&self.at).expect("known");
        found.f_bfree * found.f_frsize
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.at).status().is_ok_and(|status| status.success());
        if !unmounted {
            Command::new("umount").arg("-l").arg(&self.at).status().expect("umount is there");
        }
    }
}

/// What must not change.
fn visible(path: &Path) -> (Vec<u8>, i64, i64, i64, i64, u32, u64) {
    let found = fs::metadata(path).expect("there");
    let content = fs::read(path).expect("readable");
    (content, found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec(), found.mode(), found.ino())
}

/// Whether all extents of a file are shared, as another tool sees it.
fn is_shared(path: &Path) -> bool {
    let output = Command::new("filefrag").arg("-v").arg(path).output().expect("filefrag is there");
    let text = String::from_utf8(output.stdout).expect("text");
    let extents: Vec<_> =
        text.lines().filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit())).collect();
    !extents.is_empty() && extents.iter().all(|line| line.contains("shared"))
}

fn age(path: &Path) {
    let then = SystemTime::now() - Duration::from_hours(1000);
    File::options().write(true).open(path).and_then(|file| file.set_modified(then)).expect("set");
}

fn shares_on(mkfs: &[&str]) {
    let Some(image) = Image::new(mkfs) else { return };
    let (scene, at) = (Scene::new(), image.at.clone());
    // More than two ranges, and an end within a unit of the file system.
    let large = bytes(1, (36 << 20) + 1234);
    for name in ["a/large", "b/large copy", "c/third"] {
        write(&at, name, &large);
        age(&at.join(name));
    }
    for name in ["a/read-only", "b/read-only"] {
        write(&at, name, &bytes(2, 100_000));
        fs::set_permissions(at.join(name), fs::Permissions::from_mode(0o400)).expect("set");
    }
    for name in ["a/holes", "b/holes"] {
        let file = File::create(at.join(name)).expect("made");
        file.set_len(50 << 20).expect("set");
        file.write_all_at(&bytes(3, 8192), 20 << 20).expect("written");
    }
    let files = ["a/large", "b/large copy", "c/third", "a/read-only", "b/read-only", "a/holes", "b/holes"]
        .map(|name| at.join(name));
    let before: Vec<_> = files.iter().map(|path| visible(path)).collect();
    let free_before = image.free();

    let (report, sets) = scene.run(std::slice::from_ref(&at), &APPLY);
    assert_eq!(scene.heard(), [""; 0]);
    assert_eq!((report.sets, report.duplicate_files, report.files_shared), (3, 4, 4));
    assert_eq!(report.bytes_shared, report.bytes_duplicate);
    assert_eq!(sets.iter().map(|set| set.files[0].storage).collect::<Vec<_>>(), [Storage::Own; 3]);
    let after: Vec<_> = files.iter().map(|path| visible(path)).collect();
    assert!(before == after, "contents, times, modes and inodes stay");
    for path in &files {
        assert!(is_shared(path), "{} is shared", path.display());
    }
    let gained = image.free() - free_before;
    let wanted = 2 * large.len() as u64;
    assert!(gained > wanted - (1 << 20), "{gained} bytes were gained");
    assert!(report.bytes_shareable.abs_diff(gained) < 2 << 20, "{} announced", report.bytes_shareable);

    // It knows what it did.
    let (report, sets) = scene.run(&[at], &APPLY);
    assert_eq!((report.sets, report.files_shared, report.bytes_shareable, report.faults), (3, 0, 0, 0));
    assert_eq!(sets[1].files[2].storage, Storage::SharedBefore);
}

#[test]
fn shares_on_xfs() {
    shares_on(&["mkfs.xfs", "-q"]);
}

#[test]
fn shares_on_btrfs() {
    shares_on(&["mkfs.btrfs", "-q"]);
}

#[test]
fn shares_between_subvolumes_of_btrfs() {
    let Some(image) = Image::new(&["mkfs.btrfs", "-q"]) else { return };
    let (scene, at) = (Scene::new(), image.at.clone());
    let made = Command::new("btrfs").args(["-q", "subvolume", "create"]).arg(at.join("sub")).status();
    assert!(made.is_ok_and(|status| status.success()));
    write(&at, "one", &bytes(1, 1 << 20));
    write(&at, "sub/two", &bytes(1, 1 << 20));
    let (report, _) = scene.run(&[at], &APPLY);
    assert_eq!((report.files_shared, report.bytes_shared, report.faults), (1, 1 << 20, 0));
}

/// Changes files after they were hashed and before they are shared: the sink hears of a larger set in between.
fn a_change_is_noticed_on(mkfs: &[&str]) {
    let Some(image) = Image::new(mkfs) else { return };
    let (scene, at) = (Scene::new(), image.at.clone());
    for name in ["one", "two"] {
        write(&at, &format!("first-{name}"), &bytes(1, 600_000));
        write(&at, &format!("second-{name}"), &bytes(2, 500_000));
        write(&at, &format!("third-{name}"), &bytes(3, 400_000));
    }
    let mut storages = Vec::new();
    let mut sink = |set: &DuplicateSet| {
        storages.push(set.files[1].storage);
        if set.size == 600_000 {
            let second = File::options().write(true).open(at.join("second-two")).expect("opens");
            second.write_all_at(b"!", 499_999).expect("written");
            fs::write(at.join("third-two"), b"shorter").expect("written");
        }
    };
    let report = dedup(&scene.context, &places(std::slice::from_ref(&at)), &APPLY, &mut sink).expect("runs");
    assert_eq!(storages, [Storage::SharedNow { bytes: 600_000 }, Storage::Differs, Storage::Differs]);
    assert_eq!((report.files_shared, report.files_differing, report.faults), (1, 2, 2));
    assert_eq!(
        scene.heard(),
        ["fault second-two: second-two changed meanwhile", "fault third-two: third-two changed meanwhile"]
    );
    let mut changed = bytes(2, 500_000);
    assert!(fs::read(at.join("second-one")).expect("readable") == changed);
    changed[499_999] = b'!';
    assert!(fs::read(at.join("second-two")).expect("readable") == changed);
    assert_eq!(fs::read(at.join("third-two")).expect("readable"), b"shorter");
}

#[test]
fn a_change_is_noticed_on_xfs() {
    a_change_is_noticed_on(&["mkfs.xfs", "-q"]);
}

#[test]
fn a_change_is_noticed_on_btrfs() {
    a_change_is_noticed_on(&["mkfs.btrfs", "-q"]);
}

#[test]
fn a_file_system_that_cannot_share_is_named_once() {
    let Some(image) = Image::new(&["mkfs.ext4", "-q"]) else { return };
    let (scene, at) = (Scene::new(), image.at.clone());
    for number in 1..3 {
        for name in ["one", "two", "three"] {
            write(&at, &format!("dir/{name}-{number}"), &bytes(number, 5000));
        }
    }
    let before = visible(&at.join("dir/two-1"));
    let (report, sets) = scene.run(&[at.join("dir")], &APPLY);
    assert_eq!((report.sets, report.files_shared, report.faults), (2, 0, 0));
    assert_eq!(report.mounts_unsupported, [at.canonicalize().expect("there")]);
    assert_eq!(sets[0].files[1].storage, Storage::Unsupported);
    let heard = scene.heard();
    assert!(heard.len() == 1 && heard[0].contains("needs btrfs, or XFS"), "{heard:?}");
    assert!(before == visible(&at.join("dir/two-1")));
}

#[test]
fn copies_on_another_file_system_stay() {
    let Some(image) = Image::new(&["mkfs.xfs", "-q"]) else { return };
    let (elsewhere, scene) = (directory(), Scene::new());
    write(elsewhere.path(), "one", &bytes(1, 50_000));
    write(&image.at, "two", &bytes(1, 50_000));
    write(&image.at, "three", &bytes(1, 50_000));
    let (report, sets) = scene.run(&[elsewhere.path().to_owned(), image.at.clone()], &APPLY);
    assert_eq!((report.files_shared, report.faults, report.mounts_unsupported.len()), (1, 0, 0));
    let storages: Vec<_> = sets[0].files.iter().map(|file| file.storage).collect();
    assert_eq!(storages, [Storage::Own, Storage::Own, Storage::SharedNow { bytes: 50_000 }]);
    assert_eq!(sets[0].bytes_shareable, sets[0].files[2].allocated);
}
