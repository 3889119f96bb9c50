//! Content-defined chunks, their hashes, and the manifests that name a file by them.
//!
//! **For**: cutting bytes into chunks that survive insertions, naming chunks and files by BLAKE3, and finding out
//! what one version of a file has that another lacks. All of it is a function of bytes.
//!
//! **Not for**: paths, files and metadata (`orbit-node`), keeping manifests (`orbit-store`), moving chunks.
//!
//! ```text
//!   reader ──────────┐                                 ┌─► ChunkBytes: hash, offset, bytes
//!   Source + holes ──┴─► Chunker ─► Scanner ─► BLAKE3 ─┤
//!        │               (1 MiB)    (gear hash)        └─► Chunk ─► ManifestBuilder ─► nodes + Root
//!        └─► chunk_source: threads, same chunks             │                              │
//!                                                           └─► identity ◄─────────────────┤
//!   differing_cells: old bytes, new bytes ─► ranges         old Root, new Root ─► diff ────┘
//! ```
//!
//! Reading order: `params`, `gear`, `scalar` (what a cut is), `scan` (finding it quickly), `input` and `chunker`,
//! `parallel`, then `manifest`. `hash` and `cells` stand alone.
//!
//! Invariants:
//! - Cut points depend on bytes and parameters only: not on the processor, the number of threads, the sizes of
//!   reads, or whether zeros were read or known. `scalar` is the reference that all else is tested against.
//! - A parameter set and a manifest format never change. A better one gets a new number.
//! - Bytes from elsewhere never panic a decoder nor make it grow beyond a stated bound.
//!
//! `cargo run --release -p orbit-cdc --example throughput` measures each part.

mod cells;
mod chunker;
mod error;
mod gear;
mod hash;
mod input;
mod manifest;
mod parallel;
mod params;
mod scalar;
mod scan;
#[cfg(test)]
mod test_data;

pub use cells::differing_cells;
pub use chunker::{ChunkBytes, Chunker};
pub use error::ChunkError;
pub use hash::{ContentHasher, hash_bytes};
pub use input::{Input, ReadInput, Source, SourceInput};
pub use manifest::{
    Child, ChunkWalk, CopiedRange, DecodeError, DiffError, Difference, Manifest, ManifestBuilder, NoSuchNode,
    Node, NodeSink, NodeSource, PlacedChunk, Root, Top, WalkError, diff, identity,
};
pub use parallel::chunk_source;
pub use params::{ChunkParams, ORBIT_64K, ParamsId};
pub use scan::Scanner;
