//! Everything that is printed. No other module writes to stdout or stderr.
//!
//! [`screen`] owns both streams and keeps the progress display out of their way; [`events`] tells what a run does,
//! [`progress`] draws its figures, [`summary`] says what happened, [`error`] says why not; [`listing`] prints scans;
//! [`format`] and [`json`] are the pure pieces below them.

pub mod dedup;
pub mod doctor;
pub mod error;
pub mod events;
pub mod format;
pub mod hashes;
pub mod json;
pub mod listing;
pub mod log;
pub mod plans;
pub mod progress;
pub mod screen;
pub mod style;
pub mod summary;
