//! [`StarLink`]: where byte streams to a star come from.

use std::io::{self, Read, Write};

/// A way to a star.
pub trait StarLink: Send + Sync {
    /// Opens a fresh byte stream to it, on which the system protocol is spoken.
    ///
    /// A stream whose other end is gone must end or fail, for reads and writes alike: nothing here has a clock.
    fn open(&self) -> io::Result<Box<dyn Duplex>>;
}

/// A byte stream in both directions; dropping it closes it.
pub trait Duplex: Read + Write + Send {}

impl<T: Read + Write + Send> Duplex for T {}
