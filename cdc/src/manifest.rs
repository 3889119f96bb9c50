//! A file's chunks as a tree of hashes whose root is the file's identity.
//!
//! ```text
//!  root    48 bytes: parameter set, length, top          its hash is the file's identity
//!   └─ node of height 1: (hash, bytes) of 16 to 192 nodes
//!       ├─ leaf, height 0: (hash, length) of 16 to 192 chunks
//!       └─ leaf …
//! ```
//! Where a node ends is decided by the hash of its last child, as content decides where a chunk ends. So an edit changes
//! the nodes above it and leaves the rest as they were, wherever they move to: two versions
//! of a file share most subtrees, and [`diff`] never looks into a shared one.
//!
//! Reading order: [`Node`] and [`Root`] (the formats), [`ManifestBuilder`], [`ChunkWalk`], [`diff`].

mod builder;
mod diff;
mod node;
mod root;
mod walk;

pub use builder::{ManifestBuilder, NodeSink, identity};
pub use diff::{CopiedRange, DiffError, Difference, PlacedChunk, diff};
pub use node::{Child, DecodeError, Node};
pub use root::{Root, Top};
pub use walk::{ChunkWalk, WalkError};

use crate::params::ChunkParams;
use orbit_core::{Chunk, ContentHash};
use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::BuildHasher;

/// Where nodes are read from.
pub trait NodeSource {
    /// Why a node could not be had.
    type Error: std::error::Error + 'static;

    /// The nodes with these hashes, in this order.
    ///
    /// [`diff`] asks for many at a time so that a peer answers a whole level in a few round trips. Bytes from
    /// elsewhere must pass through [`Node::decode_verified`].
    fn read_nodes(&mut self, hashes: &[ContentHash]) -> Result<Vec<Node>, Self::Error>;
}

/// A whole manifest in memory.
#[derive(Clone, Debug)]
pub struct Manifest {
    root: Root,
    nodes: HashMap<ContentHash, Node>,
}

/// A node that a manifest does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no manifest node {0}")]
pub struct NoSuchNode(pub ContentHash);

impl Manifest {
    /// The manifest of these chunks, in order.
    pub fn from_chunks(params: &ChunkParams, chunks: impl IntoIterator<Item = Chunk>) -> Self {
        let mut builder = ManifestBuilder::new(params, HashMap::new());
        let Ok(()) = chunks.into_iter().try_for_each(|chunk| builder.push(chunk));
        let Ok((root, nodes)) = builder.finish();
        Self { root, nodes }
    }

    /// Its root.
    pub const fn root(&self) -> &Root {
        &self.root
    }

    /// Its nodes by hash; equal ones are there once.
    pub const fn nodes(&self) -> &HashMap<ContentHash, Node> {
        &self.nodes
    }
}

impl<H: BuildHasher> NodeSink for HashMap<ContentHash, Node, H> {
    type Error = Infallible;

    fn put(&mut self, hash: ContentHash, node: &Node) -> Result<(), Infallible> {
        self.entry(hash).or_insert_with(|| node.clone());
        Ok(())
    }
}

impl NodeSource for &Manifest {
    type Error = NoSuchNode;

    fn read_nodes(&mut self, hashes: &[ContentHash]) -> Result<Vec<Node>, NoSuchNode> {
        hashes.iter().map(|hash| self.nodes.get(hash).cloned().ok_or(NoSuchNode(*hash))).collect()
    }
}

#[cfg(test)]
mod tests;
