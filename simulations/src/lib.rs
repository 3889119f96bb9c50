//! Two seeded virtual worlds: the decision core, which syncs files, and the group of voters, which elects the Nucleus.
//!
//! # Files
//!
//! The decision core under a seeded virtual world: what `orbit-core` decides is carried out on disks in memory, while
//! the process is killed, the power fails, disks fill up and err, and the source changes.
//!
//! ```text
//!            scenario (a seed) ── draws ──▶ world, settings, troubles
//!                 │
//!               driver ── planner and Job of orbit-core, virtual workers
//!                 │  SimSystem, SimWriter
//!            disk, disk ── every call ──▶ machine: counts, logs, strikes
//!                 │
//!             invariants ── after each run, each kill, each power cut
//! ```
//!
//! Reading order: [`scenario`], [`driver`], [`invariants`], then [`disk`] (what is done and what is durable), `system`
//! and [`writer`] (the two contracts over it), [`machine`] and [`world`]. [`plant`] holds bugs that must be caught.
//!
//! No clock, no threads, no chance but [`random`]: a seed plays the same way on every machine, call by call. What it does
//! *not* show is whether the real system calls behave as [`disk`] says; for that, real file systems are killed and cut
//! in `tests`.
//!
//! # The group of voters
//!
//! [`group`] plays `orbit_consensus` and the log of `orbit_store` as they ship, over a simulated network, disk, pair of
//! databases and clock; its own documentation has the map. tokio's choices come from the seed too, which needs
//! `--cfg tokio_unstable` (`.cargo/config.toml`).
//!
//! # Playing seeds
//!
//! ```text
//! orbit-sim --seeds 20000                      files; the first seed that breaks a rule is printed with its log
//! orbit-sim group --seeds 20000 --jobs 2       the group: the long run before a release
//! orbit-sim group --seed 17                    one seed again, with its log: bit for bit what it was before
//! orbit-sim group --seeds 50 --plant stale-read    must fail
//! ```
//!
//! (`orbit-sim` is `cargo run -p orbit-simulations --`.) `--from S` begins elsewhere, `--voters 1|3|5` fixes the size,
//! `--keep-going` plays all seeds and names those that failed.

pub mod disk;
pub mod driver;
pub mod group;
pub mod invariants;
pub mod machine;
pub mod plant;
pub mod random;
pub mod scenario;
pub mod store;
pub mod system;
pub mod world;
pub mod writer;
