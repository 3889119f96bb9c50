//! What a test tells whoever reads its log: figures, and what it could not do.

use std::io::Write;

/// Writes a line to standard error, past the capture of the test runner.
pub fn say(line: &str) {
    // A log that cannot be written is no reason to fail.
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}

/// Says loudly that something is not tested here, and why.
pub fn skipped(what: &str, why: &str) {
    say(&format!("SKIPPED: {what}: {why}"));
}

/// Whether this process is root; if not, says that `what` is skipped.
pub fn is_root_or_skips(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped(what, "it needs root");
    }
    root
}
