//! What the end-to-end tests in `tests/` are made of: the real binary, trees, pictures of trees, and ways to do harm.
//!
//! It is no test of units: what a crate can show by itself is tested there. Here everything goes through the program
//! `orbit` as a person would start it, and is judged by what is on the disk afterwards.
//!
//! ```text
//!  Scene ─┬─ Orbit      runs the binary with a home of its own ──▶ Run: exit code, output, summary
//!         └─ directories: source, destination
//!  Tree        makes a tree from a seed; evolves it into its next version
//!  Snapshot    a picture of a tree: contents, attributes, links; says how two differ
//!  Between     the judge of an interrupted run: every path is the old object or the new one, whole
//!  Injection   a run under strace in which one system call fails, or is the last
//!  Mount       file systems of their own, full, read-only, or short of inodes
//!  Grid        several nodes, on loopback or in network namespaces of their own
//!  nucleus     trials of those of them that elect the Nucleus: writers, kills, databases compared
//! ```
//!
//! Reading order: [`scene`], [`orbit`], [`snapshot`], [`tree`], [`between`], then [`injection`] and [`mount`]; [`grid`]
//! for several nodes, [`nucleus`] for their voters; [`conformance`] holds the suites that every implementation of a port passes.
//!
//! A test that needs root, a mount or strace and cannot have it says `SKIPPED` on standard error, and why.
//!
//! | variable | effect |
//! |---|---|
//! | `ORBIT_BIN` | the binary to test, instead of the one beside the test executables |
//! | `ORBIT_TEST_SEED` | another seed for the random delays and trees |
#![cfg(target_os = "linux")]

pub mod between;
pub mod conformance;
pub mod content;
pub mod grid;
pub mod injection;
pub mod mount;
pub mod nucleus;
pub mod orbit;
pub mod random;
pub mod report;
pub mod scene;
pub mod snapshot;
pub mod star;
pub mod tree;
pub mod wait;
