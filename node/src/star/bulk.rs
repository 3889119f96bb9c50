//! Calls that are answered with much: files streamed, many small ones together, and what a delta needs.

use super::answer::{Job, NoAnswer, cores};
use super::session::Gone;
use crate::local::source_file::LocalFile;
use crate::local::system::LocalSystem;
use crate::standalone::state::now;
use orbit_cdc::hash_bytes;
use orbit_core::system::{ChunkDetail, OrbitSystem, SourceFile, SystemError, Xattr};
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::system::{
    CELL_BYTES, FETCH_FILE_BYTES_MAX, FETCH_OBJECTS_MAX, Found, PARCEL_BYTES_MAX, PIECE_BYTES_MAX, Parcel,
    Piece, Reply, SHORT_HASH_LEN, WireSystemError, pack_sketched, unpack_spans,
};
use orbit_core::{ByteRange, EntryKind, Metadata, RelPath};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Contents that are sent together, unless a single one is larger.
const PARCEL_BYTES: usize = 512 << 10;
/// Objects that are sent together.
const PARCEL_OBJECTS: usize = 256;
/// Extended attributes of one object; a frame holds 4 MiB of them all.
const XATTR_BYTES_MAX: usize = 256 << 10;
/// Bytes of a file that one call about spans covers at most.
const SPANS_BYTES_MAX: u64 = 4 << 30;
/// No single write takes longer than this, in nanoseconds.
const SETTLED_NS: i128 = 2_000_000_000;

impl Job {
    /// Sends a range of the open file.
    pub(super) fn stream(&self, range: ByteRange) -> Result<Reply, NoAnswer> {
        let mut buffer = vec![0; (PIECE_BYTES_MAX as u64).min(range.len()) as usize];
        let mut offset = range.offset();
        while offset < range.end() && !self.asked.is_stopped() {
            let wanted = (buffer.len() as u64).min(range.end() - offset) as usize;
            let read = self.read_open(&mut buffer[..wanted], offset)?;
            self.send_piece(&buffer[..read])?;
            offset += read as u64;
            if read < wanted {
                break;
            }
        }
        Ok(Reply::Done)
    }

    /// Sends spans of the open file, in pieces without gaps.
    pub(super) fn pick(&self, spans: &[u8]) -> Result<Reply, NoAnswer> {
        let mut buffer = vec![0; PIECE_BYTES_MAX];
        let mut filled = 0;
        for span in self.spans(spans)? {
            let mut offset = span.offset();
            while offset < span.end() && !self.asked.is_stopped() {
                let wanted = ((buffer.len() - filled) as u64).min(span.end() - offset) as usize;
                let read = self.read_open(&mut buffer[filled..filled + wanted], offset)?;
                if read < wanted {
                    return Err(self.changed());
                }
                filled += read;
                offset += read as u64;
                if filled == buffer.len() {
                    self.send_piece(&buffer)?;
                    filled = 0;
                }
            }
        }
        self.send_piece(&buffer[..filled])?;
        Ok(Reply::Done)
    }

    /// Sends short hashes of the cells of spans of the open file.
    pub(super) fn cells(&self, spans: &[u8]) -> Result<Reply, NoAnswer> {
        let mut hashes = Vec::new();
        let mut buffer = Vec::new();
        for span in self.spans(spans)? {
            let mut offset = span.offset();
            while offset < span.end() && !self.asked.is_stopped() {
                let wanted = (PIECE_BYTES_MAX as u64).min(span.end() - offset) as usize;
                buffer.resize(wanted, 0);
                if self.read_open(&mut buffer, offset)? < wanted {
                    return Err(self.changed());
                }
                for cell in buffer.chunks(CELL_BYTES) {
                    hashes.extend_from_slice(&hash_bytes(cell).as_bytes()[..SHORT_HASH_LEN]);
                }
                offset += wanted as u64;
                if hashes.len() >= PIECE_BYTES_MAX / 2 {
                    self.send_piece(&std::mem::take(&mut hashes))?;
                }
            }
        }
        self.send_piece(&hashes)?;
        Ok(Reply::Done)
    }

    /// Hashes spans of the open file a second time, if a write may have been under way.
    pub(super) fn again(&self, spans: &[u8]) -> Result<Reply, NoAnswer> {
        self.open_file()?;
        if self.scene.was_settled {
            return Ok(Reply::Done);
        }
        let mut hashes = Vec::new();
        let mut buffer = vec![0; PIECE_BYTES_MAX];
        for span in self.spans(spans)? {
            if self.asked.is_stopped() {
                break;
            }
            let wanted = buffer.get_mut(..span.len() as usize).ok_or_else(|| self.changed())?;
            if self.read_open(wanted, span.offset())? < wanted.len() {
                return Err(self.changed());
            }
            hashes.extend_from_slice(hash_bytes(wanted).as_bytes());
        }
        self.send_piece(&hashes)?;
        Ok(Reply::Done)
    }

    /// Sends what the open file consists of.
    pub(super) fn sketch(&self) -> Result<Reply, NoAnswer> {
        let (path, _) = self.open_file()?;
        let cache = Arc::new(self.shared.cache.lease());
        let system = LocalSystem::new(Arc::clone(&self.scene.jail))
            .with_stop(self.asked.stop_flag())
            .with_cache(Arc::clone(&cache) as Arc<_>)
            .with_threads(cores());
        let mut packed = Vec::new();
        let mut gone = Ok(());
        let mut bytes = 0;
        let root = system.chunk(path, ChunkDetail::Chunks, &mut |chunk| {
            bytes += u64::from(chunk.len);
            pack_sketched(&mut packed, &chunk);
            if packed.len() >= PIECE_BYTES_MAX / 2 {
                gone = self.send_piece(&std::mem::take(&mut packed));
                if gone.is_err() {
                    self.asked.stop();
                }
            }
        });
        gone?;
        let root = root?;
        if !cache.has_answered() {
            self.shared.counters.bytes_hashed.fetch_add(bytes, Relaxed);
        }
        self.send_piece(&packed)?;
        Ok(Reply::Hash(root))
    }

    /// Sends objects with all that is needed to make them again.
    pub(super) fn fetch(&self, paths: &[Octets], with_xattrs: bool) -> Result<Reply, NoAnswer> {
        let system = LocalSystem::new(Arc::clone(&self.scene.jail));
        let mut contents = Vec::with_capacity(PARCEL_BYTES);
        let mut found = Vec::new();
        let mut xattr_bytes = 0;
        for path in paths.iter().take(FETCH_OBJECTS_MAX) {
            if self.asked.is_stopped() {
                return Ok(Reply::Done);
            }
            let path = self.path(&path.0)?;
            let begin = contents.len();
            let object = object(&system, &path, with_xattrs, &mut contents);
            let object = object.unwrap_or_else(|error| {
                contents.truncate(begin);
                Found::Failed(WireSystemError::from(&error))
            });
            xattr_bytes += xattr_len(&object);
            found.push(object);
            let is_full = contents.len() >= PARCEL_BYTES
                || found.len() >= PARCEL_OBJECTS
                || xattr_bytes >= XATTR_BYTES_MAX;
            if is_full {
                self.send_parcel(&mut contents, &mut found)?;
                xattr_bytes = 0;
            }
        }
        if !found.is_empty() {
            self.send_parcel(&mut contents, &mut found)?;
        }
        Ok(Reply::Done)
    }

    fn send_parcel(&self, contents: &mut Vec<u8>, found: &mut Vec<Found>) -> Result<(), Gone> {
        debug_assert!(contents.len() <= PARCEL_BYTES_MAX, "a parcel is closed when it is full");
        let found = std::mem::take(found);
        let sent = self.replies.send_with(contents, |cargo| Reply::Parcel(Parcel { cargo, found }));
        contents.clear();
        sent
    }

    fn send_piece(&self, bytes: &[u8]) -> Result<(), Gone> {
        if bytes.is_empty() {
            return Ok(());
        }
        let hash = hash_bytes(bytes);
        self.replies.send_with(bytes, |cargo| Reply::Piece(Piece { cargo, hash }))
    }

    fn read_open(&self, buffer: &mut [u8], offset: u64) -> Result<usize, NoAnswer> {
        let (path, file) = self.open_file()?;
        Ok(file.fill_at(buffer, offset).map_err(SystemError::io("read", path))?)
    }

    fn spans(&self, packed: &[u8]) -> Result<Vec<ByteRange>, NoAnswer> {
        // Spans that make no sense are of another version of the file.
        unpack_spans(packed, SPANS_BYTES_MAX).ok_or_else(|| self.changed())
    }

    fn changed(&self) -> NoAnswer {
        let path = self.scene.file.as_ref().map(|(path, _)| path.clone()).unwrap_or_default();
        NoAnswer::Failed(SystemError::Changed { path })
    }
}

/// One object. Its bytes are appended to `contents`.
fn object(
    system: &LocalSystem,
    path: &RelPath,
    with_xattrs: bool,
    contents: &mut Vec<u8>,
) -> Result<Found, SystemError> {
    let attributes = || if with_xattrs { bounded(system.xattrs(path)?, path) } else { Ok(Vec::new()) };
    match LocalFile::open(system.jail(), path) {
        Ok(file) => return file_object(&file, path, with_xattrs, contents),
        Err(SystemError::WrongKind { .. }) => {}
        Err(error) => return Err(error),
    }
    let metadata = system.metadata(path)?;
    match metadata.kind {
        EntryKind::Symlink => {
            let text = system.read_link(path)?;
            Ok(Found::Symlink(metadata, attributes()?, Octets(text)))
        }
        // It took the place of something else just now.
        EntryKind::File => Err(SystemError::Changed { path: path.clone() }),
        _ => Ok(Found::Other(metadata, attributes()?)),
    }
}

fn file_object(
    file: &LocalFile,
    path: &RelPath,
    with_xattrs: bool,
    contents: &mut Vec<u8>,
) -> Result<Found, SystemError> {
    let look = || file.metadata().map_err(SystemError::io("read", path));
    let before = look()?;
    if before.size > FETCH_FILE_BYTES_MAX {
        return Ok(Found::Large);
    }
    let mut xattrs = Vec::new();
    if with_xattrs {
        xattrs = bounded(file.xattrs().map_err(SystemError::io("read the attributes of", path))?, path)?;
    }
    let settled = is_settled(&before);
    let begin = contents.len();
    let changed = || SystemError::Changed { path: path.clone() };
    // One byte more than there should be: some file systems do not know a file's size before it is read.
    contents.resize(begin + before.size as usize + 1, 0);
    let read = file.fill_at(&mut contents[begin..], 0).map_err(SystemError::io("read", path))?;
    if read as u64 != before.size {
        return Err(changed());
    }
    contents.truncate(begin + read);
    let hash = hash_bytes(&contents[begin..]);
    if !settled && !reads_again(file, &contents[begin..], path)? {
        return Err(changed());
    }
    if look()?.identity() != before.identity() {
        return Err(changed());
    }
    Ok(Found::File(before, xattrs, read as u32, hash))
}

/// Whether no write can be under way that began before the file was looked at.
pub(super) fn is_settled(metadata: &Metadata) -> bool {
    now().as_nanos() - metadata.ctime.as_nanos() > SETTLED_NS
}

/// A write in progress sets the times when it begins: only a second look tells.
fn reads_again(file: &LocalFile, bytes: &[u8], path: &RelPath) -> Result<bool, SystemError> {
    let mut again = vec![0; bytes.len()];
    let read = file.fill_at(&mut again, 0).map_err(SystemError::io("read", path))?;
    Ok(read == bytes.len() && again == bytes)
}

fn bounded(found: Vec<Xattr>, path: &RelPath) -> Result<Vec<(Octets, Octets)>, SystemError> {
    let bytes: usize = found.iter().map(|xattr| xattr.name.len() + xattr.value.len()).sum();
    if bytes > XATTR_BYTES_MAX {
        let error = std::io::Error::new(std::io::ErrorKind::FileTooLarge, "they exceed 256 KiB");
        return Err(SystemError::io("send the attributes of", path)(error));
    }
    Ok(found.into_iter().map(|xattr| (Octets(xattr.name), Octets(xattr.value))).collect())
}

fn xattr_len(found: &Found) -> usize {
    let pairs = match found {
        Found::File(_, pairs, ..) | Found::Symlink(_, pairs, _) | Found::Other(_, pairs) => &pairs[..],
        Found::Large | Found::Failed(_) => &[],
    };
    pairs.iter().map(|(name, value)| name.0.len() + value.0.len() + 16).sum()
}
