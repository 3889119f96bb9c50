use super::*;
use rustix::fs::{FileType, mknodat};
use rustix::io::read;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

fn path(text: impl Into<Vec<u8>>) -> RelPath {
    RelPath::new(text).expect("a valid path")
}

/// The same root by both ways of resolving.
fn both(root: &Path) -> [Jail; 2] {
    let best = Jail::open(root).expect("the root opens");
    #[cfg(target_os = "linux")]
    assert_eq!(best.resolver, Resolver::Kernel, "this kernel should have openat2");
    [best, Jail::open_walking(root)]
}

fn content(file: &OwnedFd) -> Vec<u8> {
    let mut buffer = [0; 64];
    let len = read(file, &mut buffer).expect("readable");
    buffer[..len].to_vec()
}

#[test]
fn opens_what_is_below() {
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(root.path().join("a/b")).expect("made");
    fs::write(root.path().join("a/b/file"), "inside").expect("written");
    fs::write(root.path().join("top"), "top").expect("written");
    for jail in both(root.path()) {
        assert_eq!(content(&jail.open_file(&path("a/b/file")).expect("opens")), b"inside");
        assert_eq!(content(&jail.open_file(&path("top")).expect("opens")), b"top");
        jail.open_directory(&RelPath::root()).expect("the root itself");
        let directory = jail.open_directory(&path("a/b")).expect("a directory");
        assert_eq!(metadata::of_handle(directory.as_fd()).expect("found").kind, EntryKind::Directory);
        let target = path("a/b/new");
        let (parent, name) = jail.open_parent(&target).expect("a parent");
        assert_eq!(name, b"new");
        assert!(metadata::of_name(parent.as_fd(), b"file").is_ok());
        assert!(matches!(jail.open_parent(&RelPath::root()), Err(SystemError::WrongKind { .. })));
    }
}

#[test]
fn the_root_may_be_named_through_a_link() {
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir(root.path().join("real")).expect("made");
    fs::write(root.path().join("real/file"), "inside").expect("written");
    symlink("real", root.path().join("alias")).expect("linked");
    let jail = Jail::open(&root.path().join("alias")).expect("opens");
    assert_eq!(content(&jail.open_file(&path("file")).expect("opens")), b"inside");
}

#[test]
fn links_are_refused_wherever_they_lead() {
    let outside = tempfile::tempdir().expect("a directory");
    fs::create_dir(outside.path().join("sub")).expect("made");
    fs::write(outside.path().join("sub/secret"), "secret").expect("written");
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(root.path().join("real/sub")).expect("made");
    fs::write(root.path().join("real/sub/secret"), "harmless").expect("written");
    for (name, target) in [
        ("absolute", outside.path().as_os_str().as_bytes()),
        ("up", b"../../../../../../tmp"),
        ("inside", b"real"),
        ("loop", b"loop"),
        ("dangling", b"nowhere"),
        ("magic", b"/proc/self/root/tmp"),
    ] {
        symlink(std::ffi::OsStr::from_bytes(target), root.path().join(name)).expect("linked");
        for jail in both(root.path()) {
            let escapes = |result: Result<OwnedFd, SystemError>| {
                assert!(matches!(result, Err(SystemError::Escapes { .. })), "{name}: {result:?}");
            };
            escapes(jail.open_directory(&path(name)));
            escapes(jail.open_directory(&path(format!("{name}/sub"))));
            escapes(jail.open_file(&path(format!("{name}/sub/secret"))));
            escapes(jail.open_parent(&path(format!("{name}/new"))).map(|(parent, _)| parent));
            let last = jail.open_file(&path(name));
            assert!(matches!(last, Err(SystemError::WrongKind { .. })), "{name}: {last:?}");
        }
    }
}

#[test]
fn a_file_in_the_way_is_not_a_directory() {
    let root = tempfile::tempdir().expect("a directory");
    fs::write(root.path().join("file"), "").expect("written");
    for jail in both(root.path()) {
        for result in [
            jail.open_directory(&path("file")),
            jail.open_directory(&path("file/below")),
            jail.open_file(&path("file/below")),
        ] {
            let Err(SystemError::Io { source, .. }) = result else { panic!("{result:?}") };
            assert_eq!(source.kind(), io::ErrorKind::NotADirectory);
        }
        assert!(jail.open_file(&path("missing/file")).is_err_and(|error| error.is_not_found()));
    }
}

#[test]
fn only_regular_files_are_opened_and_nothing_blocks() {
    let root = tempfile::tempdir().expect("a directory");
    let handle = fs::File::open(root.path()).expect("opens");
    mknodat(&handle, "fifo", FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("made");
    let _socket = UnixListener::bind(root.path().join("socket")).expect("bound");
    fs::create_dir(root.path().join("dir")).expect("made");
    let zero = rustix::fs::makedev(1, 5);
    let device = mknodat(&handle, "device", FileType::CharacterDevice, Mode::RUSR, zero).is_ok();
    if !device {
        tracing::warn!("no privilege to make a device node: that case is not tested");
    }
    for jail in both(root.path()) {
        for name in ["fifo", "socket", "dir"].into_iter().chain(device.then_some("device")) {
            let result = jail.open_file(&path(name));
            assert!(matches!(result, Err(SystemError::WrongKind { .. })), "{name}: {result:?}");
        }
    }
}

#[test]
fn paths_far_beyond_path_max_work() {
    let root = tempfile::tempdir().expect("a directory");
    let [jail, walking] = both(root.path());
    for (name, depth) in [(vec![b'd'; 3], 1_600), (vec![b'x'; 255], 40)] {
        let mut directory = jail.open_directory(&RelPath::root()).expect("opens");
        for _ in 0..depth {
            rustix::fs::mkdirat(&directory, &*name, Mode::RWXU).expect("made");
            directory = open_at(directory.as_fd(), &name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
                .expect("opens");
        }
        let file = open_at(
            directory.as_fd(),
            b"file",
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
            Mode::RUSR | Mode::WUSR,
        )
        .expect("created");
        rustix::io::write(&file, b"deep").expect("written");
        let deep = path(vec![name; depth].join(&b'/'));
        assert!(deep.as_bytes().len() > 4_096);
        for jail in [&jail, &walking] {
            jail.open_directory(&deep).expect("opens");
            let file = jail.open_file(&deep.join(b"file").expect("a name")).expect("opens");
            assert_eq!(content(&file), b"deep");
        }
    }
}

#[test]
fn a_component_that_is_too_long_is_an_error() {
    let root = tempfile::tempdir().expect("a directory");
    for jail in both(root.path()) {
        for len in [256, 3_999, 4_001, 100_000] {
            assert!(jail.open_file(&path(vec![b'x'; len])).is_err(), "{len}");
            assert!(jail.open_directory(&path(vec![b'x'; len])).is_err(), "{len}");
        }
    }
}

/// A directory that is swapped with a symbolic link over and over never leads outside.
#[test]
fn swapping_a_link_in_gains_nothing() {
    let outside = tempfile::tempdir().expect("a directory");
    fs::write(outside.path().join("file"), "outside").expect("written");
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir(root.path().join("swapped")).expect("made");
    fs::write(root.path().join("swapped/file"), "inside").expect("written");
    symlink(outside.path(), root.path().join("link")).expect("linked");
    let target = path("swapped/file");
    for jail in both(root.path()) {
        let done = AtomicBool::new(false);
        let (mut read, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let root = fs::File::open(root.path()).expect("opens");
                while !done.load(Ordering::Relaxed) {
                    swap(&root, "swapped", "link");
                }
            });
            for _ in 0..50_000 {
                match jail.open_file(&target) {
                    Ok(file) => {
                        assert_eq!(content(&file), b"inside");
                        read += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(read > 0 && refused > 0, "no race happened: {read} read, {refused} refused");
        if fs::symlink_metadata(root.path().join("swapped")).expect("there").is_symlink() {
            swap(&fs::File::open(root.path()).expect("opens"), "swapped", "link");
        }
    }
}

#[cfg(target_os = "linux")]
fn swap(root: &fs::File, a: &str, b: &str) {
    rustix::fs::renameat_with(root, a, root, b, rustix::fs::RenameFlags::EXCHANGE).expect("exchanged");
}

#[cfg(not(target_os = "linux"))]
fn swap(root: &fs::File, a: &str, b: &str) {
    rustix::fs::renameat(root, a, root, "aside").expect("renamed");
    rustix::fs::renameat(root, b, root, a).expect("renamed");
    rustix::fs::renameat(root, "aside", root, b).expect("renamed");
}

#[test]
fn a_jail_below_holds_its_directory_wherever_it_goes() {
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(root.path().join("a/b")).expect("made");
    fs::write(root.path().join("a/b/file"), "inside").expect("written");
    symlink("a", root.path().join("link")).expect("linked");
    for jail in both(root.path()) {
        let below = jail.below(&path("a/b")).expect("opens");
        assert_eq!(below.root_path(), root.path().join("a/b"));
        fs::rename(root.path().join("a"), root.path().join("moved")).expect("renamed");
        symlink("/", root.path().join("a")).expect("linked");
        assert_eq!(content(&below.open_file(&path("file")).expect("opens")), b"inside");
        assert!(matches!(jail.below(&path("a/b")), Err(SystemError::Escapes { .. })));
        fs::remove_file(root.path().join("a")).expect("removed");
        fs::rename(root.path().join("moved"), root.path().join("a")).expect("renamed");
        assert!(matches!(jail.below(&path("link/b")), Err(SystemError::Escapes { .. })));
        assert!(jail.below(&path("a/b/file")).is_err());
        assert!(jail.below(&RelPath::root()).is_ok());
    }
}
