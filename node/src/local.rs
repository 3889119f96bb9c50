//! [`LocalSystem`] and [`LocalWriter`]: the contracts of `orbit-core` by system calls of this machine.
//!
//! ```text
//!   LocalSystem ──> LocalScan (scanner) ──┐                     ┌── LocalWriter (writer)
//!        │   └────> LocalFile (source_file) ──> Jail, metadata, xattr
//!        └── chunk: orbit-cdc, ManifestCache
//! ```
//! Nothing here joins a path to the root's text: every call is made relative to a handle that [`Jail`](jail::Jail)
//! opened. Reading order: [`jail`], [`metadata`], [`xattr`], [`source_file`], [`scanner`], [`system`], [`writer`].
//!
//! [`LocalSystem`]: system::LocalSystem
//! [`LocalWriter`]: writer::LocalWriter

pub mod jail;
pub mod manifest_cache;
pub mod metadata;
pub mod scanner;
pub mod source_file;
pub mod system;
pub mod writer;
pub mod xattr;
