//! What Orbit does: the contracts of `orbit-core` by system calls of this machine, and runs made of them.
//!
//! **Not for**: deciding what to do and in which order (`orbit-core`), what is printed (`orbit-cli`).
//!
//! ```text
//!   standalone ──── sync, plan, scan, hash, dedup: one function each, given a Context
//!       │  │
//!       │  └─ rules      which paths belong to a tree (gitignore syntax)
//!       ▼
//!   local ───────── LocalSystem (scan, read, hash) and LocalWriter (stage, commit), both below a Jail
//!
//!   doctor ──────── is this machine fit for it?
//! ```
//!
//! Reading order: [`local`] from the jail up, then [`standalone`]. Threads do the I/O; each piece of mutable state has
//! one owner, and channels between them are bounded.

pub mod doctor;
pub mod local;
pub mod rules;
pub mod standalone;
pub mod store_trouble;
