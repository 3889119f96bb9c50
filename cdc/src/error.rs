//! [`ChunkError`]: why a source could not be chunked.

use std::io;

/// Why chunking stopped before the end.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// A read failed.
    #[error("cannot read the source at byte {offset}")]
    Read {
        /// Where the read began.
        offset: u64,
        /// What the reader said.
        source: io::Error,
    },
    /// The source is shorter or longer than its stated length: it was written to while being read.
    #[error("the source changed while it was read: expected {expected} bytes, found {found}")]
    SourceChanged {
        /// Its length when reading began.
        expected: u64,
        /// Where it ended, or one more than expected if it went on.
        found: u64,
    },
}
