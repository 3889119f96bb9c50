//! [`Links`]: names of the source that share an inode.

use crate::entry::Metadata;
use crate::plan::Phase;
use crate::rel_path::RelPath;
use std::collections::HashMap;

/// The first name of each inode that has several. Holds only inodes of which further names are still to come.
#[derive(Debug, Default)]
pub(super) struct Links(HashMap<(u64, u64), First>);

/// The first name met.
#[derive(Clone, Debug)]
pub(super) struct First {
    /// Where it is.
    pub path: RelPath,
    /// The destination's inode under that name, if it stays.
    pub stays: Option<(u64, u64)>,
    /// The phase in which it is in place at the latest.
    pub phase: Phase,
    names_left: u32,
}

impl Links {
    /// The first name of this inode, if it was met before. Forgets it after its last name.
    pub fn first_of(&mut self, source: &Metadata) -> Option<First> {
        let key = (source.dev, source.ino);
        let first = self.0.get_mut(&key)?;
        first.names_left = first.names_left.saturating_sub(1);
        let found = first.clone();
        if found.names_left == 0 {
            self.0.remove(&key);
        }
        Some(found)
    }

    /// Remembers a first name.
    pub fn remember(&mut self, source: &Metadata, path: RelPath, stays: Option<&Metadata>, phase: Phase) {
        let stays = stays.map(|existing| (existing.dev, existing.ino));
        let names_left = source.links.saturating_sub(1);
        self.0.insert((source.dev, source.ino), First { path, stays, phase, names_left });
    }
}
