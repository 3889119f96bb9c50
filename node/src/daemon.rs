//! The daemon: a node of a grid. [`init`] founds a grid, [`join`] enters one, [`run`] works for it until it is stopped.
//!
//! **Not for**: the commands of one machine alone ([`standalone`](crate::standalone)); nothing there needs a daemon.
//!
//! ```text
//!   init, join ──▶ DataDir (star.toml, identity/, nucleus/, orbit.sock)
//!                     │
//!   run ──▶ Node ─────┼── Mesh ──▶ events ─┬─ join, control ──▶ Nucleus, or forwarded to it
//!                     │                    ├─ system streams ─▶ StarService
//!                     │                    └─ pulse, api streams ▶ Nucleus
//!                     ├── NucleusLink: dials the Nucleus, sends heartbeats, takes in what changed
//!                     └── API on orbit.sock
//! ```
//!
//! Reading order: [`config`], [`data_dir`], [`found`](init), [`enter`](join), [`run`].

mod allocator;
pub mod backup;
pub mod config;
pub mod data_dir;
mod enter;
pub(crate) mod epoch;
mod error;
pub(crate) mod events;
mod found;
pub(crate) mod load;
mod lookup;
mod nucleus_link;
pub(crate) mod reach;
pub mod recover;
pub(crate) mod renewal;
pub mod restore;
mod run;
pub mod seal;
pub(crate) mod shared;

pub use enter::{JoinOptions, Joined, join};
pub use error::DaemonError;
pub use found::{Founded, InitOptions, forget, init};
pub use run::{RunOptions, run, run_with};
pub use shared::Node;
