//! What Orbit decides.
pub mod byte_range;
pub mod chunk;
pub mod endpoint;
pub mod entry;
pub mod filter;
pub mod hash;
pub mod priority;
pub mod rate;
pub mod rel_path;
pub mod summary;
pub mod system;
pub mod writer;
pub use byte_range::ByteRange;
pub use chunk::Chunk;
pub use entry::{Attributes, Entry, EntryKind, FileIdentity, Listing, Metadata, Timestamp};
pub use hash::ContentHash;
pub use rel_path::RelPath;
pub use summary::{Summary, Totals};
