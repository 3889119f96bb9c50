//! The two databases as their callers see them, on real files.

mod damage;
mod grid;
mod jobs_open;
mod jobs_rows;
mod killed;
mod sample;
mod universe;
