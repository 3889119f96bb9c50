//! Everything that is printed. No other module writes to stdout or stderr.
//!
//! [`screen`] owns both streams and keeps the progress display out of their way; [`events`] tells what a run does,
//! [`progress`] draws its figures, [`summary`] says what happened, [`error`] says why not; [`listing`] prints scans;
//! [`setup`], [`nodes`], [`status`], [`tokens`], [`groups`] and [`rescue`] show a grid; [`jobs`] its syncs;
//! [`format`] and [`json`] are the pure pieces below them.

pub mod dedup;
pub mod directory;
pub mod doctor;
pub mod error;
pub mod events;
pub mod format;
pub mod groups;
pub mod hashes;
pub mod jobs;
pub mod json;
pub mod listing;
pub mod log;
pub mod nodes;
pub mod plans;
pub mod progress;
pub mod rescue;
pub mod screen;
pub mod setup;
pub mod status;
pub mod style;
pub mod summary;
pub mod table;
pub mod time;
pub mod tokens;
