//! [`ChunkWalk`]: the chunks of a manifest, in order.

use super::node::{Child, Node};
use super::root::{Root, Top};
use super::{NodeSource, PlacedChunk};
use orbit_core::{Chunk, ContentHash};

/// Walks a manifest from the first chunk to the last, holding one node a level. Ends after an error.
#[derive(Debug)]
pub struct ChunkWalk<S> {
    source: S,
    offset: u64,
    /// What is left to visit with its level (0 a chunk, else one more than a node's height), the next one last.
    stack: Vec<(u8, Child)>,
}

/// Why a manifest could not be walked.
#[derive(Debug, thiserror::Error)]
pub enum WalkError<E: std::error::Error + 'static> {
    /// A node could not be had; the cause says which.
    #[error("cannot read a manifest")]
    Read(#[source] E),
    /// A node is not what its parent says: its height or its length differs.
    #[error("manifest node {0} does not fit its parent")]
    Misfit(ContentHash),
}

impl<S: NodeSource> ChunkWalk<S> {
    /// The chunks below a root.
    pub fn new(root: &Root, source: S) -> Self {
        let first = match root.top {
            Top::Empty => None,
            Top::Chunk(hash) => Some((0, Child { hash, len: root.len })),
            Top::Tree { height, hash } => Some((height + 1, Child { hash, len: root.len })),
        };
        Self { source, offset: 0, stack: first.into_iter().collect() }
    }

    fn node(&mut self, level: u8, child: Child) -> Result<Node, WalkError<S::Error>> {
        let hash = child.hash;
        let mut nodes = self.source.read_nodes(&[hash]).map_err(WalkError::Read)?;
        nodes
            .pop()
            .filter(|node| node.height() + 1 == level && node.len() == child.len)
            .ok_or(WalkError::Misfit(hash))
    }
}

impl<S: NodeSource> Iterator for ChunkWalk<S> {
    type Item = Result<PlacedChunk, WalkError<S::Error>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (level, child) = self.stack.pop()?;
            if level == 0 {
                let chunk: Chunk = child.as_chunk();
                let offset = self.offset;
                self.offset += child.len;
                return Some(Ok(PlacedChunk { offset, chunk }));
            }
            match self.node(level, child) {
                Ok(node) => self.stack.extend(node.children().iter().rev().map(|child| (level - 1, *child))),
                Err(error) => {
                    self.stack.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}
