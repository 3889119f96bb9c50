//! What this machine offers the group of voters that elects the Nucleus.
//!
//! **Today** this crate holds the arithmetic of voters ([`voters_for`], [`tolerates`]) and measures whether a disk is
//! quick enough for a voter's log ([`disk_fitness`]); `orbit doctor` prints both.
//!
//! **What it will grow into**: the Raft group itself (log storage, state machine over `store`, a network port that
//! `mesh` implements) and the automation that keeps its membership at one, three or five. It never sees libp2p.
//!
//! Reading order: [`quorum`] → [`fitness`].

pub mod fitness;
pub mod quorum;

pub use fitness::{Fitness, FitnessError, Verdict, disk_fitness};
pub use quorum::{tolerates, voters_for};
