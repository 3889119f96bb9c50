//! Suites that every implementation of a port passes, whatever lies behind it.
//!
//! A suite is a table of named checks. Each gets a directory of this machine and a way to open the implementation on
//! it, so the same check serves what reads the disk itself and what asks a program elsewhere to do it.

pub mod reading;
pub mod writing;

use crate::report::say;
use orbit_core::RelPath;
use std::path::Path;

/// A check and its name. `O` is how an implementation is opened.
pub type Check<O> = (&'static str, fn(&Path, &O));

/// Runs every check of a suite in a directory of its own.
///
/// # Panics
/// With the first check that fails, after its name.
pub fn run<O: ?Sized>(suite: &[Check<O>], open: &O) {
    for (name, check) in suite {
        let directory =
            tempfile::Builder::new().prefix("orbit-conform-").tempdir().expect("makes a directory");
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(directory.path(), open)));
        if let Err(panic) = failed {
            say(&format!("conformance: `{name}` failed"));
            std::panic::resume_unwind(panic);
        }
    }
}

/// A path below a root.
///
/// # Panics
/// If it is none.
pub fn rel(path: impl AsRef<[u8]>) -> RelPath {
    RelPath::new(path.as_ref()).expect("a test names plain paths")
}
