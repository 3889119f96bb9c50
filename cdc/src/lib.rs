//! Chunks.
mod gear;
mod hash;
mod params;
mod scalar;
mod scan;
#[cfg(test)]
mod test_data;

pub use hash::{ContentHasher, hash_bytes};
pub use params::{ChunkParams, ORBIT_64K, ParamsId};
pub use scan::Scanner;
