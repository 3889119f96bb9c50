//! The system protocol: the operations of [`OrbitSystem`](crate::system::OrbitSystem), asked of a star over a stream.
//!
//! A session is a stream. Each side sends frames: a length (4 bytes, little endian), then that many bytes, at most
//! [`MESSAGE_BYTES_MAX`](super::MESSAGE_BYTES_MAX). The first frame to the star is an [`Opening`], which it answers with
//! [`Reply::Opened`] or [`Reply::Refused`]. Then calls follow one after the other, on the same stream: a [`Call`], and
//! its replies up to one that [`ends`](Reply::ends) it. While a scan runs, the asker may send [`Call::Prune`] and
//! [`Call::Stop`] at any time.
//!
//! A session whose opening has an empty path is for the voters of the grid, who index what stars hold: it is answered with
//! [`Reply::Opened`] as if it were a directory, and takes [`Call::Contents`] and [`Call::Manifests`] alone.

mod bulk;
mod contents;
mod fault;

pub use bulk::{
    CELL_BYTES, Cargo, FETCH_FILE_BYTES_MAX, FETCH_OBJECTS_MAX, Found, PARCEL_BYTES_MAX, PIECE_BYTES_MAX,
    Parcel, Piece, SHORT_HASH_LEN, pack_sketched, pack_spans, short_hash, take_sketched, unpack_spans,
};

pub use contents::{CONTENTS_PAGE_MAX, ContentsPage, MANIFESTS_MAX};

pub use fault::{WireFault, WireSystemError};

use super::bytes;
use super::bytes::Octets;
use crate::byte_range::ByteRange;
use crate::chunk::Chunk;
use crate::entry::{Metadata, Timestamp};
use crate::grid::{Fence, Refusal};
use crate::hash::ContentHash;
use serde::{Deserialize, Serialize};

/// Begins a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// Epoch and term of the Nucleus that sends the asker. The Nucleus fills it in.
    pub fence: Fence,
    /// The path as a person wrote it: absolute, bytes. A directory becomes the session's root; a file or another kind
    /// is reached through its parent, and [`Opened::start`] names it. Empty for a voter that asks about contents.
    #[serde(with = "bytes")]
    pub path: Vec<u8>,
    /// Whether a path above the allowed ones is answered with the way to them instead of a refusal.
    pub browse: bool,
}

/// What the path of an [`Opening`] turned out to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    /// Empty if the path is a directory, which is the root now; else its name below the root.
    #[serde(with = "bytes")]
    pub start: Vec<u8>,
    /// The star's name, for messages.
    pub node: String,
    /// Not empty if the path lies above allowed paths: names below it that lead there. Nothing else may be called then.
    pub ways: Vec<Octets>,
}

/// One operation. Paths are bytes of a [`RelPath`](crate::RelPath) below the session's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Call {
    /// Walk a tree: replies are [`Reply::Listings`] and [`Reply::ScanFault`], in order, then [`Reply::Done`].
    Scan {
        /// Where it starts.
        #[serde(with = "bytes")]
        start: Vec<u8>,
        /// Not into other file systems.
        one_file_system: bool,
        /// Threads wished for; the star bounds them.
        threads: u16,
    },
    /// The same, for one who has much of it already: [`Reply::Bundles`], each answered with [`Call::Want`]; then, for each
    /// bundle that is wanted, its [`Reply::Listings`] and [`Reply::BundleEnd`].
    ScanKnown {
        /// Where it starts.
        #[serde(with = "bytes")]
        start: Vec<u8>,
        /// Not into other file systems.
        one_file_system: bool,
        /// Threads wished for; the star bounds them.
        threads: u16,
    },
    /// During such a scan: for each bundle of the last reply, 1 if it is wanted and 0 if it is known.
    Want {
        /// One byte a bundle.
        #[serde(with = "bytes")]
        wanted: Vec<u8>,
    },
    /// During a scan: not into this directory.
    Prune {
        /// The directory.
        #[serde(with = "bytes")]
        directory: Vec<u8>,
    },
    /// During a scan or a chunking: no more is wanted. The replies end early, with [`Reply::Done`].
    Stop,
    /// One directory, not what is below: [`Reply::Listings`] and [`Reply::Done`].
    List {
        /// The directory.
        #[serde(with = "bytes")]
        path: Vec<u8>,
    },
    /// Metadata of a path, not following a symbolic link: [`Reply::Metadata`].
    Metadata {
        /// The path.
        #[serde(with = "bytes")]
        path: Vec<u8>,
    },
    /// Text of a symbolic link: [`Reply::Bytes`].
    ReadLink {
        /// The path.
        #[serde(with = "bytes")]
        path: Vec<u8>,
    },
    /// Extended attributes: [`Reply::Xattrs`].
    Xattrs {
        /// The path.
        #[serde(with = "bytes")]
        path: Vec<u8>,
    },
    /// First bytes of a file: [`Reply::Bytes`].
    ReadHeader {
        /// The path.
        #[serde(with = "bytes")]
        path: Vec<u8>,
        /// At most this many, at most 1 MiB.
        len: u32,
    },
    /// BLAKE3 of a range: [`Reply::Hash`].
    HashRange {
        /// The path.
        #[serde(with = "bytes")]
        path: Vec<u8>,
        /// The range.
        range: ByteRange,
    },
    /// Chunks and identity: [`Reply::Chunks`] in order if asked for, then [`Reply::Hash`].
    Chunk {
        /// The path.
        #[serde(with = "bytes")]
        path: Vec<u8>,
        /// Whether the chunks are wanted, or the identity alone.
        with_chunks: bool,
    },
    /// Opens a regular file for this session: [`Reply::Metadata`]. A session holds one open file; opening another
    /// closes the first.
    Open {
        /// The path.
        #[serde(with = "bytes")]
        path: Vec<u8>,
    },
    /// Fresh metadata of the open file.
    FileMetadata,
    /// Bytes of the open file: [`Reply::Bytes`], at most 1 MiB; empty at the end.
    Read {
        /// First byte.
        offset: u64,
        /// At most this many.
        len: u32,
    },
    /// Next run of data of the open file: [`Reply::Range`].
    NextData {
        /// From here.
        offset: u64,
    },
    /// Extended attributes of the open file.
    FileXattrs,
    /// A range of the open file, as fast as it can be read and sent: [`Reply::Piece`], each with its cargo behind it, and
    /// [`Reply::Done`], early if the file ends.
    Stream {
        /// The range.
        range: ByteRange,
    },
    /// Objects with all that is needed to make them again: [`Reply::Parcel`], each with its cargo behind it, then
    /// [`Reply::Done`].
    Fetch {
        /// Paths; at most [`FETCH_OBJECTS_MAX`].
        paths: Vec<Octets>,
        /// Whether extended attributes are wanted.
        with_xattrs: bool,
    },
    /// What the open file consists of, in few bytes: packed chunks as [`Reply::Piece`], then [`Reply::Hash`], its identity.
    Sketch,
    /// Short hashes of the cells of spans of the open file, as [`Reply::Piece`], then [`Reply::Done`]. A span's last cell may be
    /// shorter than [`CELL_BYTES`].
    Cells {
        /// The spans, packed.
        #[serde(with = "bytes")]
        spans: Vec<u8>,
    },
    /// A second look at spans of the open file, each of at most [`PIECE_BYTES_MAX`] bytes: hashes as [`Reply::Piece`], then
    /// [`Reply::Done`]; no hashes if the file has not changed for so long that no write can be under way.
    Again {
        /// The spans, packed.
        #[serde(with = "bytes")]
        spans: Vec<u8>,
    },
    /// Spans of the open file, one after the other without gaps: as [`Call::Stream`].
    Pick {
        /// The spans, packed.
        #[serde(with = "bytes")]
        spans: Vec<u8>,
    },
    /// Contents that the star hashed for the grid, and whose chunks it knows: [`Reply::Contents`].
    Contents {
        /// The state that is known already: if it is the star's still, the answer is empty.
        unless: Option<u64>,
        /// The [`next`](ContentsPage::next) of the page before; empty at first.
        #[serde(with = "bytes")]
        after: Vec<u8>,
    },
    /// The chunks of contents: for each that the star has [`Reply::Manifest`] and its [`Reply::Chunks`], in any order; then
    /// [`Reply::Done`].
    Manifests {
        /// Roots; at most [`MANIFESTS_MAX`].
        #[serde(with = "bytes::hashes")]
        roots: Vec<[u8; 32]>,
    },
}

/// A part of a walk: directory and name where it begins, hash, latest change time, and whether more of its last directory
/// follows in the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundled(pub Octets, pub Octets, pub Octets, pub Timestamp, pub bool);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Reply {
    /// The session is open.
    Opened(Opened),
    /// The star refuses.
    Refused(Refusal),
    /// The operation failed.
    Failed(WireSystemError),
    /// Some listings, packed ([`listing`](super::listing)).
    Listings(#[serde(with = "bytes")] Vec<u8>),
    /// A directory could not be read, wholly or in part; the scan goes on.
    ScanFault {
        /// The directory. What is wrong may lie in it.
        #[serde(with = "bytes")]
        directory: Vec<u8>,
        /// What is wrong.
        error: WireSystemError,
    },
    /// Parts of a walk, told by their hashes.
    Bundles(Vec<Bundled>),
    /// No more listings of the bundle follow.
    BundleEnd,
    /// End of a scan, or of a call that was stopped.
    Done,
    /// Metadata.
    Metadata(Metadata),
    /// Bytes.
    Bytes(#[serde(with = "bytes")] Vec<u8>),
    /// A hash.
    Hash(#[serde(with = "bytes::hash")] ContentHash),
    /// Some chunks, in order.
    Chunks(#[serde(with = "bytes::chunks")] Vec<Chunk>),
    /// Extended attributes: names and values.
    Xattrs(Vec<(Octets, Octets)>),
    /// A range, or none.
    Range(Option<ByteRange>),
    /// A piece of a file; its bytes follow the frame.
    Piece(Piece),
    /// Some objects; the contents of files follow the frame.
    Parcel(Parcel),
    /// Some contents.
    Contents(ContentsPage),
    /// Chunks of the content with this root follow.
    Manifest(#[serde(with = "bytes::hash")] ContentHash),
}

impl Reply {
    /// Whether no more replies to the call follow.
    pub const fn ends(&self) -> bool {
        !matches!(
            self,
            Self::Listings(_)
                | Self::ScanFault { .. }
                | Self::Chunks(_)
                | Self::Manifest(_)
                | Self::Piece(_)
                | Self::Bundles(_)
                | Self::BundleEnd
                | Self::Parcel(_)
        )
    }
}
