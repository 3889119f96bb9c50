//! The databases as their callers see them, on real files.

mod damage;
mod jobs_open;
mod jobs_rows;
mod killed;
mod killed_group;
mod nucleus;
mod nucleus_sample;
mod old_grid;
mod sample;
mod shared;
mod snapshots;
mod universe;
