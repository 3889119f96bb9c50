//! What Orbit remembers between runs: `jobs.db` (SQLite) and `universe_v3.db` (redb).
//!
//! This is the only crate that knows SQL or redb; no type of either appears in its interface, only as the
//! `source()` of an error. It stores and returns: what a step, an option or a summary *means* is its callers'
//! business, so those travel as opaque bytes. It does not hash content, walk file systems or decide what to do.
//!
//! ```text
//! on every machine
//!  JobsDb ────────┬ runs          what was started, how it ended        (newest 200)
//!  jobs.db        ├ plans, steps  work in execution order, and its state
//!                 └ checkpoints   staged large files: verified length and chunks
//!
//!  Universe ──────┬ files         (dev, ino, parameters) → identity, root
//!  universe_v3.db └ chunks        … → chunk list in parts
//!
//! on members of the nucleus group, in nucleus/
//!  RaftLog ───────── raft/        entries and vote, durable before anybody hears of them
//!  NucleusStore ──┬─ gen-N/jobs.db         members, tokens, certificates …, contents, requests, counters
//!                 ├─ gen-N/universe_v3.db  which chunk lies on which star (NucleusUniverse)
//!                 └─ snapshots/, incoming/ both, as of one entry of the log
//! ```
//!
//! Reading order: [`StoreError`], then `sqlite.rs` (opening) and `jobs.rs` with `jobs/` (one file a subject), then
//! `universe.rs` with `universe/`. Of the group: `raft_log.rs`, `nucleus_store.rs`, `nucleus_universe.rs`, each with a map.
//!
//! Every call blocks on the disk: run them on a thread of their own. A [`JobsDb`] and a [`NucleusStore`] belong to one
//! owner (`&mut` to write); a [`Universe`], a [`NucleusUniverse`] and a [`RaftLog`] may be shared.
//!
//! # What is promised
//! - Content of a file never panics: it is an error, or (in the universe, and for a checkpoint) a miss. One gap: redb
//!   may panic over a universe larger than 16 MiB that was damaged after a clean close. The next process then checks
//!   it whole and replaces it.
//! - SQLite has no page checksums and redb checks its own only in a full check, so rows that are acted upon carry a
//!   CRC-32 of their own. A flipped bit is found when the row is read.
//! - A checkpoint is on the disk when [`JobsDb::put_checkpoint`] returns, and so is every change of the [`RaftLog`].
//!   Everything else survives a killed process; a power cut may take back the last transactions, never half of one. In the
//!   replicated databases that is no loss: the log holds them.
//!
//! # jobs.db, version 4
//! `application_id` is `0x4F_52_42_4A` ("ORBJ"), the version is `user_version`; all tables are STRICT.
//! A row's `crc` is CRC-32 (IEEE) over the named columns in order, each as its length (u64) and its bytes, integers
//! as 8 bytes; everything little-endian. File times are an i64 of seconds and a u32 of nanoseconds.
//!
//! | table | key | columns | `crc` over |
//! |---|---|---|---|
//! | `runs` | `id` (16 bytes) | command, source, destination, started_ms, pid, finished_ms?, state?, summary? | none: for people |
//! | `plans` | `id` (16 bytes) | created_ms, source, destination, options, saved, totals?, step_count | id … saved, totals |
//! | `steps` | plan, rank, seq | bytes, body | plan, rank, seq, bytes, body |
//! | `step_states` | plan, seq | state: 1 done, 2 failed; no row: pending | none |
//! | `checkpoints` | destination_root, path | stage_name, identity (48 bytes), verified_len, chunk_count | all of them |
//! | `checkpoint_parts` | checkpoint, first chunk | records: 36 bytes a chunk | checkpoint, first, records |
//!
//! Version 3 had the tables `grid` and `metering` of a Nucleus without a group; where a grid is in them, they stay until it
//! is taken over ([`take_over_grid`]).
//!
//! A file identity is `0` dev u64, `8` ino u64, `16` size u64, `24` mtime, `36` ctime; 48 bytes.
//!
//! # The replicated jobs.db, version 1
//! As above, but `application_id` is `0x4F_52_42_4E` ("ORBN"); u64 are stored as the i64 of the same bits.
//!
//! | table | key | columns | `crc` over |
//! |---|---|---|---|
//! | `grid` | kind, key | body: CBOR of [`Change`](orbit_core::grid::Change) | kind, key, body |
//! | `metering` | node (16 bytes) | body: CBOR, an array of two [`Metering`](orbit_core::wire::pulse::Metering) | node, body |
//! | `contents` | number | holder (16 bytes); body: CBOR of [`Change::Contents`](orbit_core::grid::Change) | holder, body |
//! | `requests` | id (16 bytes) | entry: index in the log; body: CBOR of what came of it | all of them |
//! | `applied` | 0, the only row | term?, entry?: position of the last entry applied; membership: CBOR | term and entry together, membership |
//!
//! Kinds of `grid`: 0 header, 1 authorities, 2 member (node id), 3 token (token id), 4 constellation (name),
//! 5 revocation (serial), 6 older certificate that is still valid (serial), 7 sealed key of an authority (pin), 8 job (job id). The two of
//! `metering` are the total and what of the node's latest process is in it. What came of a request is an `Ok` with a list
//! of byte strings, each the CBOR of a [`Change`](orbit_core::grid::Change), or an `Err` with the
//! [`Refusal`](orbit_core::grid::Refusal).
//!
//! # The local universe_v3.db, version 4
//! Keys are big-endian, so that they sort by number; values little-endian.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `"version"` | u64 |
//! | `files` | `0` dev u64, `8` ino u64, `16` parameters u32 | 88 bytes, below |
//! | `chunks` | the same, `20` part u32 | `0` CRC-32 of key, root and records; `4` up to 7 000 records |
//!
//! | offset | of `files` | |
//! |---|---|---|
//! | 0 | size | u64 |
//! | 8 | mtime | i64 seconds, u32 nanoseconds |
//! | 20 | ctime | i64 seconds, u32 nanoseconds |
//! | 32 | observed at | i64 nanoseconds since 1970 |
//! | 40 | root | 32 bytes |
//! | 72 | chunks | u64; `u64::MAX`: the list is not kept |
//! | 80 | reserved | u32, 0 |
//! | 84 | checksum | CRC-32 of key and bytes 0..84 |
//!
//! A chunk record: `0` content hash, `32` length u32; 36 bytes. `universe_v3.db.open` beside it is empty and exists
//! while the universe is open.
//!
//! Callers use two numbers of parameters for other things: `u32::MAX` for the BLAKE3 of a whole file, `u32::MAX - 1` for the
//! tag that says that the grid may know the file's manifest (`universe/shared.rs`).
//!
//! # Migration rule
//! A layout change gets a new version and one entry in the table of migrations (`jobs/schema.rs`,
//! `nucleus_store/jobs.rs`, `universe/schema.rs`); published entries are never edited. Opening an older file runs the entries it lacks in
//! one transaction; a newer file is refused and left alone. `jobs.db` is always carried over; the universe is a
//! cache, so its migrations may simply forget.

mod error;
mod ids;
mod jobs;
mod mark;
mod nucleus_store;
mod nucleus_universe;
mod private_file;
mod raft_log;
mod record;
mod sqlite;
mod table;
mod universe;

pub use error::{Cause, Damage, StoreError};
pub use ids::{ParseIdError, PlanId, RunId};
pub use jobs::checkpoints::{Checkpoint, CheckpointChunks, StoredCheckpoint};
pub use jobs::plans::{NewPlan, PlanRow};
pub use jobs::runs::{NewRun, RunRow, RunState};
pub use jobs::steps::{NewStep, StepRow, StepState};
pub use jobs::{JobsDb, OldGrid, forget_taken_over, take_over_grid};
pub use mark::Mark;
pub use nucleus_store::{
    ContentRow, CurrentUniverse, JobsBatch, LoadedGrid, NucleusStore, PART_BYTES, PinnedStore,
    SNAPSHOT_BYTES_MAX, SnapshotFile, SnapshotManifest, SnapshotReceiver,
};
pub use nucleus_universe::{
    ChunkPlace, ContentsLoad, Held, LoadOutcome, NucleusUniverse, NucleusUniverseStats, UniversePin, Wanted,
    WantedPage,
};
pub use raft_log::{DirectoryDisk, LogDisk, LogEntry, LogLimits, LogPosition, RaftLog, StoredVote};
pub use sqlite::{Check, JobsOptions};
pub use universe::{BatchOutcome, CachedManifest, SharedPage, SharedParams, Universe, UniverseStats};
