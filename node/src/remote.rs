//! [`RemoteSystem`]: the reading contract, asked of a star over byte streams.
//!
//! ```text
//!  RemoteSystem ── sessions (one call at a time each, a few kept) ──> StarLink ── … ──> StarService
//!       ├────────── RemoteScan: packs ─> directories, checked and filtered here
//!       └────────── RemoteFile
//! ```
//! Whoever answers is a member of the grid, but nothing it says is believed: paths, orders, lengths and chunk lists are
//! checked as they arrive, and what does not fit is an error, never a panic, and never costs more memory than one
//! directory.
//!
//! Reading order: [`link`], [`session`], [`system`], then [`scan`] with `gather` and [`order`].

pub mod bundle;
pub mod error;
pub mod fetch;
pub mod file;
mod gather;
pub mod known;
pub mod link;
pub mod order;
pub mod pack;
pub mod scan;
pub mod session;
pub mod system;

pub use error::{ProtocolFault, RemoteError, remote_cause};
pub use fetch::{Fetch, Fetched};
pub use link::{Duplex, StarLink};
pub use system::{Browsed, RemoteSystem, browse};
