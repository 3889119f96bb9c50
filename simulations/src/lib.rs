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
