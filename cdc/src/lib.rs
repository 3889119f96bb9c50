//! Chunks.
mod chunker;
mod error;
mod gear;
mod hash;
mod input;
mod parallel;
mod params;
mod scalar;
mod scan;
#[cfg(test)]
mod test_data;

pub use chunker::{ChunkBytes, Chunker};
pub use error::ChunkError;
pub use hash::{ContentHasher, hash_bytes};
pub use input::{Input, ReadInput, Source, SourceInput};
pub use parallel::chunk_source;
pub use params::{ChunkParams, ORBIT_64K, ParamsId};
pub use scan::Scanner;
