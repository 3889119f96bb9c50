//! [`ManifestBuilder`]: chunks in, nodes and a root out.

use super::node::{Child, Node};
use super::root::{Root, Top};
use crate::params::{ChunkParams, ParamsId};
use orbit_core::{Chunk, ContentHash};
use std::convert::Infallible;

/// Where finished nodes go.
pub trait NodeSink {
    /// Why a node could not be kept.
    type Error;

    /// Takes a node. Children come before their parents; equal nodes may come again.
    fn put(&mut self, hash: ContentHash, node: &Node) -> Result<(), Self::Error>;
}

/// Keeps nothing: for when only the root is wanted.
impl NodeSink for () {
    type Error = Infallible;

    fn put(&mut self, _hash: ContentHash, _node: &Node) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Builds a manifest from chunks in order, holding one unfinished node a level: a few dozen KiB for any file.
#[derive(Debug)]
pub struct ManifestBuilder<S> {
    params: ParamsId,
    sink: S,
    len: u64,
    /// The children of each level's unfinished node, leaves first.
    levels: Vec<Vec<Child>>,
}

/// The identity of the file with these chunks: [`Root::identity`] without keeping its nodes.
pub fn identity(params: &ChunkParams, chunks: impl IntoIterator<Item = Chunk>) -> ContentHash {
    let mut builder = ManifestBuilder::new(params, ());
    let Ok(()) = chunks.into_iter().try_for_each(|chunk| builder.push(chunk));
    let Ok((root, ())) = builder.finish();
    root.identity()
}

impl<S: NodeSink> ManifestBuilder<S> {
    /// No chunks yet.
    pub fn new(params: &ChunkParams, sink: S) -> Self {
        Self { params: params.id(), sink, len: 0, levels: vec![Vec::new()] }
    }

    /// Adds the next chunk.
    pub fn push(&mut self, chunk: Chunk) -> Result<(), S::Error> {
        self.len += u64::from(chunk.len);
        let mut level = 0;
        let mut child = Child::from(chunk);
        // A node that is complete becomes a child one level up, which may complete that one too.
        loop {
            self.levels[level].push(child);
            if !Node::is_complete(&self.levels[level]) {
                return Ok(());
            }
            child = self.close(level)?;
            level += 1;
        }
    }

    /// Closes all nodes and gives the root and the sink.
    ///
    /// The top is the lowest node that stands for the whole file, so there is one tree for a list of chunks.
    pub fn finish(mut self) -> Result<(Root, S), S::Error> {
        let mut level = 0;
        let top = loop {
            match (&self.levels[level][..], level + 1 == self.levels.len()) {
                ([], true) => break Top::Empty,
                ([only], true) if level == 0 => break Top::Chunk(only.hash),
                ([only], true) => break Top::Tree { height: level as u8 - 1, hash: only.hash },
                ([], false) => {}
                _ => {
                    let child = self.close(level)?;
                    self.levels[level + 1].push(child);
                }
            }
            level += 1;
        };
        Ok((Root { params: self.params, len: self.len, top }, self.sink))
    }

    /// Finishes the node of a level, makes sure that there is a level above, and gives the child to put there.
    fn close(&mut self, level: usize) -> Result<Child, S::Error> {
        if level + 1 == self.levels.len() {
            self.levels.push(Vec::new());
        }
        let node = Node::new(level as u8, std::mem::take(&mut self.levels[level]));
        let hash = node.hash();
        self.sink.put(hash, &node)?;
        Ok(Child { hash, len: node.len() })
    }
}
