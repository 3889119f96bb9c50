//! What the daemon reads: its configuration, and both ends of the system protocol, whole sessions of it.
//!
//! Inputs that stand for a session are frames without their length: a number of bytes (u16, little endian), then as
//! many, and so on; the last is what is left. So the fuzzer changes messages and not only their lengths. Lengths have
//! tests of their own.

use orbit_core::filter::KeepAll;
use orbit_core::grid::Fence;
use orbit_core::system::{ChunkDetail, OrbitSystem, ScanOptions};
use orbit_core::wire::codec::FRAME_HEAD_LEN;
use orbit_core::wire::system::{Call, Reply};
use orbit_core::wire::{MESSAGE_BYTES_MAX, decode};
use orbit_core::{ByteRange, RelPath};
use orbit_node::daemon::config::Config;
use orbit_node::remote::pack::Unpacker;
use orbit_node::remote::{Duplex, RemoteSystem, StarLink, browse};
use orbit_node::star::{StarLimits, StarService, StarServiceConfig};
use std::io::{self, Cursor, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// The text of a `star.toml`.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Config::parse(text) {
        Ok(config) => {
            assert!(config.allowed_paths.iter().all(|path| path.is_absolute()));
            assert!(config.listen.iter().all(|address| address.parse::<orbit_mesh::Multiaddr>().is_ok()));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Packed listings as they travel: compressed.
pub fn pack(bytes: &[u8]) {
    let mut unpacker = Unpacker::new().expect("memory");
    if let Ok(pack) = unpacker.decompress(bytes) {
        super::listing(pack);
    }
    let _ = unpacker.unpack(bytes);
}

/// The messages of a session.
fn frames(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk() {
        let (message, rest) = rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()));
        frames.push([&(message.len() as u32).to_le_bytes(), message].concat());
        bytes = rest;
    }
    frames
}

/// A star that says the same, whatever it is asked.
struct Tape(Vec<u8>);

struct Playing(Cursor<Vec<u8>>);

impl StarLink for Tape {
    fn open(&self) -> io::Result<Box<dyn Duplex>> {
        Ok(Box::new(Playing(Cursor::new(self.0.clone()))))
    }
}

impl Read for Playing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut self.0, buffer)
    }
}

impl Write for Playing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a star answers, taken in by whoever asked it. A first byte says what is asked.
pub fn remote(bytes: &[u8]) {
    let Some((&ask, bytes)) = bytes.split_first() else { return };
    let tape = Tape(frames(bytes).concat());
    if ask % 10 == 9 {
        let _ = browse(&tape, b"/srv".to_vec());
        return;
    }
    let Ok((system, start)) = RemoteSystem::open(Arc::new(tape), b"/srv".to_vec()) else { return };
    match ask % 10 {
        0 | 1 => scan(&system, start),
        2 => drop(system.metadata(&start)),
        3 => drop(system.read_link(&start)),
        4 => drop(system.xattrs(&start)),
        5 => assert!(system.read_header(&start, 512).is_ok_and(|bytes| bytes.len() <= 512) || ask > 0),
        6 => drop(system.hash_range(&start, ByteRange::first(4096))),
        7 => drop(system.chunk(&start, ChunkDetail::Chunks, &mut |_| {})),
        _ => read(&system, &start),
    }
}

fn scan(system: &RemoteSystem, start: RelPath) {
    let options = ScanOptions { start, filter: Arc::new(KeepAll), one_file_system: false, threads: 2 };
    let Ok(mut scan) = system.scan(&options) else { return };
    let mut last: Option<RelPath> = None;
    while let Some(step) = scan.next() {
        let Ok(listing) = step else { continue };
        assert!(listing.path.starts_with(&options.start), "nothing from elsewhere");
        assert!(last.as_ref().is_none_or(|last| *last <= listing.path), "in order");
        if let Some(first) = listing.entries().first()
            && let Ok(below) = listing.path.join(listing.name(first))
        {
            scan.prune(&below);
        }
        last = Some(listing.path);
    }
}

fn read(system: &RemoteSystem, path: &RelPath) {
    let Ok(file) = system.open(path) else { return };
    let _ = file.metadata();
    let mut buffer = [0; 1024];
    assert!(file.read_at(&mut buffer, 1 << 40).is_ok_and(|len| len <= buffer.len()) || !buffer.is_empty());
    if let Ok(Some(range)) = file.next_data(100) {
        assert!(range.end() >= range.offset());
    }
    let _ = file.xattrs();
}

/// A star with a few files, and what it runs on.
static STAR: LazyLock<(tokio::runtime::Runtime, StarService)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let root = tree().expect("the directory for temporary files can be written");
    let config = StarServiceConfig {
        name: "nas2".to_owned(),
        allowed: vec![root.join("open")],
        data_dir: root.join("data"),
        fence: Fence::default(),
        limits: StarLimits::default(),
    };
    (runtime, StarService::new(config))
});

/// Where the star's files are: `open` may be reached, `closed` may not.
pub const TREE: &str = "/tmp/orbit-fuzz-star";

fn tree() -> io::Result<PathBuf> {
    let root = PathBuf::from(TREE);
    for directory in ["open/photos", "open/deep/er", "closed", "data"] {
        std::fs::create_dir_all(root.join(directory))?;
    }
    for file in ["open/a", "open/photos/IMG_0001.jpg", "open/deep/er/z"] {
        std::fs::write(root.join(file), vec![7; 10_000])?;
    }
    std::fs::write(root.join("closed/secret"), SECRET)?;
    for (link, to) in [("open/out", "../closed"), ("open/way", "../closed/secret"), ("open/loop", "loop")] {
        match std::os::unix::fs::symlink(to, root.join(link)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(root)
}

const SECRET: &[u8] = b"this lies outside of what the star allows";

/// What a Nucleus asks, answered by a star. Whatever it asks, it sees nothing that is not allowed.
pub fn star(bytes: &[u8]) {
    let (runtime, service) = &*STAR;
    let (asking, answering) = tokio::io::duplex(64 << 10);
    runtime.block_on(async {
        tokio::join!(service.serve(answering), ask(asking, frames(bytes)));
    });
}

/// Calls that the star answered, of all inputs so far: whether they get that far.
pub fn calls_answered() -> u64 {
    STAR.1.metering().calls
}

async fn ask(mut star: DuplexStream, frames: Vec<Vec<u8>>) {
    for frame in frames {
        if star.write_all(&frame).await.is_err() {
            return;
        }
        // These are not answered.
        let is_remark = matches!(decode(&frame[FRAME_HEAD_LEN..]), Ok(Call::Prune { .. } | Call::Stop));
        while !is_remark {
            let heard = tokio::time::timeout(Duration::from_secs(5), hear(&mut star)).await;
            let Some(reply) = heard.expect("a star answers, or ends the session") else { return };
            let shown = reply.windows(SECRET.len()).any(|bytes| bytes == SECRET);
            assert!(!shown, "it shows what it does not allow");
            if decode::<Reply>(&reply).expect("a star's replies can be read").ends() {
                break;
            }
        }
    }
}

async fn hear(star: &mut DuplexStream) -> Option<Vec<u8>> {
    let len = star.read_u32_le().await.ok()? as usize;
    assert!(len <= MESSAGE_BYTES_MAX, "a reply is too long");
    let mut reply = vec![0; len];
    star.read_exact(&mut reply).await.ok()?;
    Some(reply)
}
