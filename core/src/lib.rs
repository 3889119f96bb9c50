//! What Orbit decides: types, contracts, the planner and the job machine. Pure: no clock, no randomness, no threads, no
//! file system, no runtime. What it needs of the world comes in as values or through traits.
//!
//! **Not for**: system calls (`orbit-node`), hashing and chunking (`orbit-cdc`), databases (`orbit-store`).
//!
//! ```text
//!   RelPath, Entry, Listing           what a scan says
//!        │
//!   OrbitSystem ── Scan ──┐                                       OrbitWriter
//!   (reading side)        ├─ planner ─ batcher ─▶ Step ─▶ Job ─▶  (stage, commit)
//!   OrbitSystem ── Scan ──┘   compare, priority    plan    machine
//! ```
//!
//! Reading order: [`rel_path`] and [`entry`] (words), [`system`] and [`writer`] (the contracts behind which the physical
//! world lies), [`planner`] (what differs), [`plan`] and [`batcher`] (what is to be done about it), [`job`] (in which
//! order, and when it is safe). [`endpoint`], [`rate`], [`priority`] and [`filter`] are what a person says.
//! Several machines: [`grid`] (who belongs to it, and what may be done to it) and [`wire`] (what its nodes say to each
//! other), with the [`ids`] of both.

pub mod batcher;
pub mod byte_range;
pub mod chunk;
pub mod compare;
pub mod endpoint;
pub mod entry;
pub mod filter;
pub mod grid;
pub mod hash;
pub mod ids;
pub mod job;
pub mod plan;
pub mod planner;
pub mod priority;
pub mod rate;
pub mod rel_path;
pub mod summary;
pub mod system;
pub mod wire;
pub mod writer;

pub use byte_range::ByteRange;
pub use chunk::Chunk;
pub use entry::{Attributes, Entry, EntryKind, FileIdentity, Listing, Metadata, Timestamp};
pub use hash::ContentHash;
pub use rel_path::RelPath;
pub use summary::{Summary, Totals};
