//! The group that elects the Nucleus and replicates what it owns, by Raft (openraft).
//!
//! ```text
//!   execute ─▶ propose ─▶ openraft ─┬─▶ log ──────▶ RaftLog            (store: durable before it is acknowledged)
//!                            ▲      ├─▶ network ──▶ Transport ══▶ other members ─▶ answer
//!      election: pre-vote,   │      └─▶ machine ──▶ GridState decides ─▶ Databases (jobs.db, universe)
//!      heartbeats, hand-over ┘
//! ```
//!
//! Only this crate knows openraft; others see a [`Group`] and three ports: [`Transport`] (how members reach each other),
//! [`Databases`] (what is applied) and [`orbit_store::LogDisk`] (where the log lies). It never sees libp2p.
//!
//! Reading order: [`group`] (the handle), `machine` (what applying is), `log`, `pace` and `election`
//! (who leads, and what a leader may rely on), `compact` (when a snapshot is written), `network` and `answer` (what members say), [`steward`] (who should vote),
//! [`fitness`] (whose disk is quick enough).
//!
//! What openraft does not do for us, or not as we need it, is in `docs/adr/0014-openraft-and-what-is-ours.md`.

mod answer;
mod compact;
pub mod databases;
mod election;
pub mod fitness;
pub mod group;
mod log;
mod machine;
mod message;
mod network;
mod pace;
mod propose;
pub mod quorum;
mod replica;
mod runtime;
pub mod seed;
mod snapshot;
pub mod standing;
pub mod steward;
pub mod transport;
mod types;

pub use databases::Databases;
pub use fitness::{Fitness, FitnessError, Verdict, disk_fitness};
pub use group::{Group, GroupConfig, GroupError, StartError};
pub use quorum::{tolerates, voters_for};
pub use standing::{Office, Progress, Standing};
pub use transport::{Transport, Unreachable};
