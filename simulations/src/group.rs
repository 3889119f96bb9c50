//! The group of nodes that elects the Nucleus, with everything around it simulated: the real log (`orbit_store::RaftLog`),
//! consensus, elections and steward run over a simulated network, disk, pair of databases and clock.
//!
//! ```text
//!   clients ─▶ network ─▶ hosts ── group (real) ──┬── log (real) ── SimDisk ── Platter
//!     │          ▲          │                     ├── SimDatabases ── Cabinet
//!     │          └─ stars ◀─┴─ office: steward    └── SimTransport ── network
//!     ▼                                                    │ each asks its Life first: a process may end in any step
//!   history ─▶ linear          rules ◀─ everything, as it happens
//! ```
//!
//! Reading order: [`scenario`] (a seed from beginning to end), [`settings`] and [`faults`] (what goes wrong), [`invariants`]
//! (what must hold), then [`host`] and [`life`] (processes and their ends), [`disk`] and [`databases`] (what is durable),
//! [`network`], [`office`], [`client`], and [`linear`], the checker of histories. [`plant`] names bugs that must be caught.
//!
//! Everything runs on one thread of tokio with a paused clock, whose choices are drawn from the seed: a seed plays the same
//! way again, event by event. Time passes only while everybody waits.

pub mod client;
pub mod databases;
pub mod disk;
pub mod faults;
pub mod host;
pub mod invariants;
pub mod life;
pub mod linear;
pub mod network;
pub mod office;
mod panics;
pub mod plant;
pub mod scenario;
pub mod settings;
pub mod star;
pub mod trace;
pub mod world;

pub use plant::Plant;
pub use scenario::{Options, Report, Tally, run};
pub use trace::Keep;
