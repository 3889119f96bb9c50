//! Trials of the group that elects the Nucleus: who writes, who kills, and how it is judged what is left.
//!
//! ```text
//!  Writer ── changes with ids, sent until it is known what became of each ──▶ daemons
//!  kills  ── kills voters at random while writers write; then every acknowledged change must be there
//!  records ── the databases of nodes that do not run, compared
//!  Gaps   ── how long nothing was acknowledged
//!  bench  ── what is measured; fill, alone: on what
//! ```

mod alone;
pub mod bench;
mod fill;
pub mod gaps;
pub mod kills;
pub mod records;
pub mod writer;
