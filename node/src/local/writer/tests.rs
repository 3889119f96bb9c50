//! The writer on real trees.

mod areas;
mod attributes;
mod bytes;
mod commits;
mod fixture;
mod links;
