//! What Orbit does: the contracts of `orbit-core` by system calls of this machine, runs made of them, and the daemon
//! that lets other machines ask for them.
//!
//! **Not for**: deciding what to do and in which order (`orbit-core`), how nodes find and prove each other
//! (`orbit-mesh`), what is printed (`orbit-cli`).
//!
//! ```text
//!   standalone ──── sync, plan, scan, hash, dedup: one function each, given a Context
//!       │  │
//!       │  └─ rules      which paths belong to a tree (gitignore syntax)
//!       ▼
//!   local ───────── LocalSystem (scan, read, hash) and LocalWriter (stage, commit), both below a Jail
//!       ▲
//!   star ────────── answers for LocalSystem over a stream       remote ── asks, as a RemoteSystem
//!       ▲
//!   daemon ──────── founds, joins, runs a node                  api ───── REST on the node's socket, and its client
//!       ├─ link     direct links between stars, for jobs
//!       ├─ group    this node's member of the group that elects the Nucleus
//!       ├─ jobs     what the Nucleus wants of this star, done by its workers
//!       └─ nucleus  who belongs to the grid and is heard: what the elected one does
//!
//!   doctor ──────── is this machine fit for it?
//! ```
//!
//! Reading order: [`local`] from the jail up, then [`standalone`]; for a grid [`star`], [`remote`], [`daemon`],
//! [`group`], [`nucleus`], [`api`]. Threads do the file I/O; each piece of mutable state has one owner, and channels between them
//! are bounded.

pub mod api;
pub mod daemon;
pub mod doctor;
pub mod group;
mod jobs;
pub mod link;
pub mod local;
pub mod nucleus;
pub mod remote;
pub mod rules;
pub mod standalone;
pub mod star;
pub mod store_trouble;
