//! Questions: where a chunk lies, and which contents are wanted.

use super::record::{hash, len, number, offset, prefix_of};
use super::rows::ContentRow;
use super::run::{BLOCK_LEN, Run};
use super::schema::{CONTENTS, HOLDERS, WANTED, decode_node, decode_number, encode_holder, encode_number};
use super::{NucleusUniverse, Runs};
use crate::error::StoreError;
use crate::table::ReadBytesTable;
use orbit_core::ContentHash;
use orbit_core::grid::Content;
use orbit_core::ids::NodeId;
use redb::ReadTransaction;
use std::collections::HashMap;
use std::sync::atomic::Ordering;

/// Records of one chunk that are looked at in a run. Those of contents that are forgotten or not loaded to their end are
/// among them.
const LOOKED_AT_MAX: usize = 4096;
/// Rows of `wanted` looked at for one page: those that nobody holds any more, and wait for the sweep, are skipped.
const WANTED_LOOKED_AT_MAX: usize = 100_000;

/// Where a chunk lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkPlace {
    /// The content it is part of.
    pub root: ContentHash,
    /// Who holds that.
    pub holders: Vec<NodeId>,
    /// First byte in the content. If the chunk is there several times, one of them.
    pub offset: u64,
    /// Bytes.
    pub len: u32,
}

/// A content whose chunks are to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The content.
    pub content: Content,
    /// Who holds it; at least one.
    pub holders: Vec<NodeId>,
}

/// Some of the wanted contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedPage {
    /// Those recorded first come first.
    pub contents: Vec<Wanted>,
    /// Where the next page begins, if this was not the last.
    pub next: Option<u64>,
}

impl NucleusUniverse {
    /// Up to `limit` contents whose chunks are not all known, from `after` on: 0, or the [`next`](WantedPage::next) of the
    /// page before.
    pub fn wanted(&self, after: u64, limit: usize) -> Result<WantedPage, StoreError> {
        let transaction = self.0.begin_read()?;
        let read = || -> Result<WantedPage, redb::Error> {
            let wanted = transaction.open_table(WANTED)?;
            let mut rows = Rows::open(&transaction)?;
            let mut page = WantedPage::default();
            for (looked_at, number) in wanted.range(encode_number(after).as_slice()..)?.enumerate() {
                let number = decode_number(number?.0.value())?;
                if page.contents.len() >= limit || looked_at >= WANTED_LOOKED_AT_MAX {
                    page.next = Some(number);
                    break;
                }
                if let Some((content, holders)) = rows.get(number)? {
                    page.contents.push(Wanted { content, holders });
                }
            }
            Ok(page)
        };
        read().map_err(|error| StoreError::redb("list wanted contents", &self.0.path, error))
    }

    /// Up to `limit` places where this chunk lies.
    pub fn find(&self, chunk: &ContentHash, limit: usize) -> Result<Vec<ChunkPlace>, StoreError> {
        Ok(self.find_many(std::slice::from_ref(chunk), limit)?.pop().unwrap_or_default())
    }

    /// Up to `limit` places of each chunk, in the order asked. Much faster than one by one.
    pub fn find_many(
        &self,
        chunks: &[ContentHash],
        limit: usize,
    ) -> Result<Vec<Vec<ChunkPlace>>, StoreError> {
        let runs: Runs = self.0.runs();
        let transaction = self.0.begin_read()?;
        let fault = |error: redb::Error| StoreError::redb("look up chunks", &self.0.path, error);
        let mut rows = Rows::open(&transaction).map_err(fault)?;
        let wanted = transaction.open_table(WANTED).map_err(|error| fault(error.into()))?;
        let mut places = vec![Vec::new(); chunks.len()];
        // In the order of runs, so that a block is read once for all that lie in it.
        let mut sorted: Vec<usize> = (0..chunks.len()).collect();
        sorted.sort_unstable_by_key(|&asked| chunks[asked]);
        let mut buffer = vec![0; BLOCK_LEN];
        for run in runs.iter() {
            let mut block = None;
            for &asked in &sorted {
                let places: &mut Vec<ChunkPlace> = &mut places[asked];
                let found = self.numbers_in(run, &chunks[asked], &mut block, &mut buffer)?;
                for (number, offset, len) in found {
                    if places.len() >= limit {
                        break;
                    }
                    if wanted
                        .get(encode_number(number).as_slice())
                        .map_err(|error| fault(error.into()))?
                        .is_some()
                    {
                        continue;
                    }
                    let Some((content, holders)) = rows.get(number).map_err(fault)? else { continue };
                    // The same content may be in two runs, if a part of it was loaded before a crash.
                    if places.iter().all(|place| place.root != content.root) {
                        places.push(ChunkPlace { root: content.root, holders, offset, len });
                    }
                }
            }
        }
        Ok(places)
    }

    /// The records of a chunk in a run: number of the content, offset, length. `block` is the one in `buffer`.
    fn numbers_in(
        &self,
        run: &Run,
        chunk: &ContentHash,
        block: &mut Option<u64>,
        buffer: &mut [u8],
    ) -> Result<Vec<(u64, u64, u32)>, StoreError> {
        let prefix = prefix_of(chunk.as_bytes());
        let mut found = Vec::new();
        let mut at = run.first_block(chunk);
        while run.may_begin_before(at, prefix) && found.len() < LOOKED_AT_MAX {
            if *block != Some(at) {
                *block = None;
                match run.read(at, buffer) {
                    Ok(_) => *block = Some(at),
                    Err(StoreError::Corrupt { path, .. }) => {
                        // A miss; `tidy` has everything loaded again.
                        tracing::warn!(path = %path.display(), "a run of the universe is damaged");
                        self.0.damaged.store(true, Ordering::Relaxed);
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
            let records = &Run::records_of(buffer)[..run.records_in(at)];
            let begin = records.partition_point(|record| record[..ContentHash::LEN] < chunk.as_bytes()[..]);
            let same = records[begin..].iter().take_while(|record| hash(record) == *chunk);
            found.extend(same.map(|record| (number(record), offset(record), len(record))));
            at += 1;
        }
        Ok(found)
    }
}

/// Contents by their number, with holders that still count.
pub(super) struct Rows {
    contents: ReadBytesTable,
    holders: ReadBytesTable,
    /// Nodes by their number; `None` is gone. A grid has few.
    nodes: HashMap<u32, Option<NodeId>>,
}

impl Rows {
    pub fn open(transaction: &ReadTransaction) -> Result<Self, redb::Error> {
        let (contents, holders) = (transaction.open_table(CONTENTS)?, transaction.open_table(HOLDERS)?);
        Ok(Self { contents, holders, nodes: HashMap::new() })
    }

    /// The content with this number, if anybody holds it.
    pub fn get(&mut self, number: u64) -> Result<Option<(Content, Vec<NodeId>)>, redb::Error> {
        let row = self.contents.get(encode_number(number).as_slice())?;
        let Some(row) = row.and_then(|row| ContentRow::decode(number, row.value())) else { return Ok(None) };
        let mut holders = Vec::with_capacity(row.holders.len());
        for holder in row.holders {
            holders.extend(self.node(holder)?);
        }
        Ok((!holders.is_empty()).then_some((row.content, holders)))
    }

    fn node(&mut self, holder: u32) -> Result<Option<NodeId>, redb::Error> {
        if let Some(node) = self.nodes.get(&holder) {
            return Ok(*node);
        }
        let node = self.holders.get(encode_holder(holder).as_slice())?;
        let node = node.map(|node| decode_node(node.value())).transpose()?;
        self.nodes.insert(holder, node);
        Ok(node)
    }
}
