//! [`Step`]: the unit of a plan, and how it is stored.
//!
//! A plan is a list of steps, immutable and bound to what was scanned. A step carries the metadata that both sides had,
//! so that whoever runs it can tell that the disk moved on.

use crate::entry::Metadata;
use crate::priority::Class;
use crate::rel_path::RelPath;
use serde::{Deserialize, Serialize};

/// Number of a step within its plan, in the order of planning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepId(pub u64);

/// Stages of a run. All steps of one are finished before the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Directories, files, symbolic links and nodes are made, and attributes set.
    Files,
    /// Further names of files.
    Links,
    /// What the source lacks is removed. Skipped after any fault.
    Deletions,
    /// What could only be made after deletions or after another name was replaced: files in the place of directories,
    /// and what lies deeper in a directory that takes a file's place.
    Late,
    /// Further names of files that were made late.
    LateLinks,
    /// Attributes of directories, children before parents.
    Directories,
}

impl Phase {
    /// All, in the order of execution.
    pub const ALL: [Self; 6] =
        [Self::Files, Self::Links, Self::Deletions, Self::Late, Self::LateLinks, Self::Directories];

    /// The one after this.
    pub fn next(self) -> Option<Self> {
        Self::ALL.get(self as usize + 1).copied()
    }

    /// Whether steps are staged and committed (or applied in place).
    pub const fn is_staged(self) -> bool {
        matches!(self, Self::Files | Self::Links | Self::Late | Self::LateLinks)
    }

    /// Whether steps run one after another: a directory can only be removed when what was in it is gone.
    pub const fn is_serial(self) -> bool {
        matches!(self, Self::Deletions)
    }
}

/// What is done to one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Made like the source's object, in the place of `existing`.
    Put {
        /// The source's object as it was scanned.
        source: Metadata,
        /// What the destination had.
        existing: Option<Metadata>,
    },
    /// Content is the same; mode, owner or times are set.
    Attributes {
        /// The source's object.
        source: Metadata,
        /// The destination's.
        existing: Metadata,
    },
    /// Made another name of a file that is in place by then.
    Link {
        /// That file, below the destination.
        to: RelPath,
        /// The source's object.
        source: Metadata,
        /// What the destination had.
        existing: Option<Metadata>,
    },
    /// Removed.
    Delete {
        /// What the destination had.
        existing: Metadata,
    },
    /// The group's directory gets its final attributes.
    Finish {
        /// The source's directory.
        source: Metadata,
    },
}

impl Change {
    /// Bytes that are copied for it.
    pub const fn bytes(&self) -> u64 {
        match self {
            Self::Put { source, .. } if source.is_file() => source.size,
            _ => 0,
        }
    }
}

/// A change and the name it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Name in the group's directory; empty for [`Change::Finish`].
    #[serde(with = "name_bytes")]
    pub name: Vec<u8>,
    /// What is done.
    pub change: Change,
}

/// Whether the group's directory is there already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DirectoryState {
    /// It is, or another group makes it.
    Exists,
    /// It is made with the group, under one rename.
    New {
        /// The source's directory.
        source: Metadata,
        /// What is in its place now (not a directory).
        existing: Option<Metadata>,
    },
}

/// Changes in one directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The directory.
    pub directory: RelPath,
    /// Whether it is made with the group.
    pub state: DirectoryState,
    /// The changes in it.
    pub items: Vec<Item>,
}

/// The unit a worker takes: many small changes, or one large file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub phase: Phase,
    /// How important.
    pub class: Class,
    /// What.
    pub groups: Vec<Group>,
}

/// A stored step that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot decode a stored step")]
pub struct DecodeStepError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl Step {
    /// Bytes that are copied.
    pub fn bytes(&self) -> u64 {
        self.items().map(|item| item.change.bytes()).sum()
    }

    /// All items.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.groups.iter().flat_map(|group| &group.items)
    }

    /// Where the step stands in the order of execution, lower first: phase, then class, then size; directories
    /// deepest first.
    pub fn rank(&self, id: StepId) -> i64 {
        let phase = (self.phase as i64) << 56;
        if matches!(self.phase, Phase::Deletions | Phase::Directories) {
            return phase | ((1 << 48) - 1 - (id.0 as i64 & ((1 << 48) - 1)));
        }
        let largest = self.items().map(|item| item.change.bytes()).max().unwrap_or(0);
        let magnitude = i64::from(u64::BITS - (largest >> 20).leading_zeros());
        phase | (self.class as i64) << 52 | magnitude << 44
    }

    /// The stored form: CBOR.
    pub fn encode(&self) -> Vec<u8> {
        cbor4ii::serde::to_vec(Vec::new(), self).expect("memory grows and every field has a CBOR form")
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeStepError> {
        cbor4ii::serde::from_slice(bytes).map_err(|error| DecodeStepError(error.into()))
    }
}

/// Names as CBOR byte strings.
mod name_bytes {
    use serde::{Deserializer, Serializer, de::Error, de::Visitor};

    pub(super) fn serialize<S: Serializer>(name: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(name)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the bytes of a name")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Name)
    }
}

#[cfg(test)]
mod tests;
