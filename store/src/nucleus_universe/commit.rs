//! From the log: contents that a star holds, and stars whose contents are forgotten.

use super::NucleusUniverse;
use super::rows::{ContentRow, encode_mark};
use super::schema::{
    BEGUN, CONTENTS, Counter, GONE, HOLDER_NUMBERS, HOLDERS, HOLDINGS, MARK, MARK_KEY, META, NOTHING, ROOTS,
    RootKey, WANTED, decode_holder, decode_holding, encode_holder, encode_holding, encode_number,
    found_number, holdings_of, root_key, wipe,
};
use crate::Mark;
use crate::error::StoreError;
use crate::table::BytesTable;
use orbit_core::grid::{Change, Content};
use orbit_core::ids::NodeId;
use redb::{Durability, ReadableTable, WriteTransaction};

/// What a new content writes, in rows of all tables, scattered ones among them.
const CONTENT_BYTES: u64 = 2048;
/// What a transaction writes at least.
const COMMIT_BYTES: u64 = 16 << 10;
/// Contents put in one transaction by a reset.
const RESET_AT_ONCE: usize = 200_000;

/// The tables that say who holds what, and the counters that belong to them.
pub(super) struct Contents<'a> {
    counters: Counters,
    roots: BytesTable<'a>,
    rows: BytesTable<'a>,
    wanted: BytesTable<'a>,
    begun: BytesTable<'a>,
    holders: BytesTable<'a>,
    holder_numbers: BytesTable<'a>,
    holdings: BytesTable<'a>,
    gone: BytesTable<'a>,
}

#[derive(Clone, Copy)]
struct Counters {
    next_content: u64,
    next_holder: u64,
    bytes: u64,
    dead_records: u64,
}

impl NucleusUniverse {
    /// Applies changes in order and takes note of the mark, in one transaction. Changes that are not about contents
    /// change nothing here. It is durable after the next [`flush`](Self::flush), or by itself before.
    pub fn commit(&self, changes: &[Change], mark: &Mark) -> Result<(), StoreError> {
        let touches =
            |change: &&Change| matches!(change, Change::Contents { .. } | Change::ContentsForgotten(_));
        let count: usize = changes
            .iter()
            .map(|change| if let Change::Contents { contents, .. } = change { contents.len() } else { 0 })
            .sum();
        let bytes = COMMIT_BYTES + count as u64 * CONTENT_BYTES;
        self.0.write("record contents in the universe", bytes, |transaction| {
            if changes.iter().any(|change| touches(&change)) {
                Contents::change(transaction, |tables| {
                    changes.iter().filter(touches).try_for_each(|change| match change {
                        Change::Contents { holder, contents } => tables.add(*holder, contents),
                        Change::ContentsForgotten(holder) => tables.forget(*holder),
                        _ => Ok(()),
                    })
                })?;
            }
            put_mark(transaction, mark)
        })
    }

    /// Replaces all that is known by these contents, none of whose chunks are known, and this mark. Durable when it
    /// returns; until then there is no mark.
    pub fn reset(
        &self,
        contents: impl Iterator<Item = Result<(NodeId, Content), StoreError>>,
        mark: &Mark,
    ) -> Result<(), StoreError> {
        let inner = &self.0;
        let _building = super::lock(&inner.building);
        let before = inner.runs();
        inner.write_runs("empty the universe", Durability::Immediate, Vec::new(), wipe)?;
        before.iter().for_each(|run| run.remove());

        let mut contents = contents.peekable();
        let mut batch: Vec<(NodeId, Content)> = Vec::new();
        while contents.peek().is_some() {
            batch.clear();
            for row in contents.by_ref().take(RESET_AT_ONCE) {
                batch.push(row?);
            }
            batch.sort_unstable_by_key(|&(holder, _)| holder);
            let bytes = batch.len() as u64 * CONTENT_BYTES;
            inner.write("record contents in the universe", bytes, |transaction| {
                Contents::change(transaction, |tables| {
                    for of_one in batch.chunk_by(|(a, _), (b, _)| a == b) {
                        let contents: Vec<Content> = of_one.iter().map(|&(_, content)| content).collect();
                        tables.add(of_one[0].0, &contents)?;
                    }
                    Ok(())
                })
            })?;
        }
        inner.write("record contents in the universe", u64::MAX, |transaction| put_mark(transaction, mark))
    }
}

/// Takes note of what was applied.
pub(super) fn put_mark(transaction: &WriteTransaction, mark: &Mark) -> Result<(), redb::Error> {
    transaction.open_table(MARK)?.insert(MARK_KEY, encode_mark(mark).as_slice())?;
    Ok(())
}

impl<'a> Contents<'a> {
    /// Changes the tables. Counters are read before and written behind it, once for all rows.
    pub fn change<T>(
        transaction: &'a WriteTransaction,
        body: impl FnOnce(&mut Self) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let mut meta = transaction.open_table(META)?;
        let counters = Counters {
            next_content: Counter::NextContent.get(&meta)?,
            next_holder: Counter::NextHolder.get(&meta)?,
            bytes: Counter::Bytes.get(&meta)?,
            dead_records: Counter::DeadRecords.get(&meta)?,
        };
        let mut tables = Self::open(transaction, counters)?;
        let value = body(&mut tables)?;
        let Counters { next_content, next_holder, bytes, dead_records } = tables.counters;
        Counter::NextContent.change(&mut meta, |_| next_content)?;
        Counter::NextHolder.change(&mut meta, |_| next_holder)?;
        Counter::Bytes.change(&mut meta, |_| bytes)?;
        Counter::DeadRecords.change(&mut meta, |_| dead_records)?;
        Ok(value)
    }

    fn open(transaction: &'a WriteTransaction, counters: Counters) -> Result<Self, redb::Error> {
        Ok(Self {
            counters,
            roots: transaction.open_table(ROOTS)?,
            rows: transaction.open_table(CONTENTS)?,
            wanted: transaction.open_table(WANTED)?,
            begun: transaction.open_table(BEGUN)?,
            holders: transaction.open_table(HOLDERS)?,
            holder_numbers: transaction.open_table(HOLDER_NUMBERS)?,
            holdings: transaction.open_table(HOLDINGS)?,
            gone: transaction.open_table(GONE)?,
        })
    }

    /// Records that `node` holds these.
    fn add(&mut self, node: NodeId, contents: &[Content]) -> Result<(), redb::Error> {
        let holder = self.holder_number(node)?;
        // In the order of the roots, so that numbers and roots are both inserted in order.
        let mut contents: Vec<&Content> = contents.iter().collect();
        contents.sort_unstable_by_key(|content| content.root);
        for content in contents {
            let (key, number) = (root_key(&content.root), self.counters.next_content);
            // Most are new: one look is enough to find out and to enter them.
            let before = found_number(self.roots.insert(key.as_slice(), encode_number(number).as_slice())?)?;
            let known = before.map(|number| self.row(number)).transpose()?.flatten();
            // A row that is damaged or of another content is none: the content gets a new number.
            if let Some((number, mut row)) = known.filter(|(_, row)| row.content.root == content.root) {
                self.roots.insert(key.as_slice(), encode_number(number).as_slice())?;
                if row.add(holder) {
                    self.put_row(number, &row)?;
                    self.holdings.insert(encode_holding(holder, number).as_slice(), NOTHING)?;
                }
                continue;
            }
            self.counters.next_content += 1;
            self.put_as(number, &ContentRow { content: *content, holders: vec![holder] })?;
            if content.chunks > 0 {
                self.wanted.insert(encode_number(number).as_slice(), NOTHING)?;
            }
            self.counters.bytes = self.counters.bytes.saturating_add(content.bytes);
        }
        Ok(())
    }

    /// Forgets what `node` holds: it stops counting now, and is swept later.
    fn forget(&mut self, node: NodeId) -> Result<(), redb::Error> {
        if let Some(holder) = self.holder_numbers.remove(node.as_bytes().as_slice())? {
            let key = encode_holder(decode_holder(holder.value())?);
            self.holders.remove(key.as_slice())?;
            self.gone.insert(key.as_slice(), NOTHING)?;
        }
        Ok(())
    }

    /// Gives the content a new number, because records of a manifest that was not loaded to its end are in runs under
    /// this one. Returns the new number.
    pub fn renumber(&mut self, old: u64) -> Result<Option<u64>, redb::Error> {
        let Some((_, row)) = self.row(old)? else { return Ok(None) };
        let key = encode_number(old);
        let was_wanted = self.wanted.remove(key.as_slice())?.is_some();
        let was_begun = self.begun.remove(key.as_slice())?.is_some();
        self.rows.remove(key.as_slice())?;
        for holder in &row.holders {
            self.holdings.remove(encode_holding(*holder, old).as_slice())?;
        }
        let chunks = u64::from(row.content.chunks);
        let new = self.put(&row)?;
        if was_wanted {
            self.wanted.insert(encode_number(new).as_slice(), NOTHING)?;
        }
        if was_begun {
            self.counters.dead_records = self.counters.dead_records.saturating_add(chunks);
        }
        Ok(Some(new))
    }

    /// Takes up to `limit` holdings of forgotten holders away; returns how many there were.
    pub fn sweep(&mut self, limit: usize) -> Result<usize, redb::Error> {
        let holder = self.gone.first()?.map(|(holder, _)| decode_holder(holder.value())).transpose()?;
        let Some(holder) = holder else { return Ok(0) };
        let mut swept = Vec::new();
        for row in holdings_of(&self.holdings, holder)?.take(limit) {
            swept.push(decode_holding(row?.0.value())?);
        }
        for &number in &swept {
            self.holdings.remove(encode_holding(holder, number).as_slice())?;
            if let Some((_, mut row)) = self.row(number)? {
                row.remove(holder);
                if row.holders.is_empty() {
                    self.remove(number, &row.content)?;
                } else {
                    self.put_row(number, &row)?;
                }
            }
        }
        if swept.len() < limit {
            self.gone.remove(encode_holder(holder).as_slice())?;
        }
        Ok(swept.len())
    }

    /// Forgets a content that nobody holds.
    fn remove(&mut self, number: u64, content: &Content) -> Result<(), redb::Error> {
        let (key, root) = (encode_number(number), root_key(&content.root));
        self.rows.remove(key.as_slice())?;
        let named = found_number(self.roots.get(root.as_slice())?)?;
        if named == Some(number) {
            self.roots.remove(root.as_slice())?;
        }
        let had_records =
            self.wanted.remove(key.as_slice())?.is_none() || self.begun.remove(key.as_slice())?.is_some();
        self.counters.bytes = self.counters.bytes.saturating_sub(content.bytes);
        if had_records {
            let chunks = u64::from(content.chunks);
            self.counters.dead_records = self.counters.dead_records.saturating_add(chunks);
        }
        Ok(())
    }

    /// Stores a row under a new number.
    fn put(&mut self, row: &ContentRow) -> Result<u64, redb::Error> {
        let number = self.counters.next_content;
        self.counters.next_content += 1;
        self.roots.insert(root_key(&row.content.root).as_slice(), encode_number(number).as_slice())?;
        self.put_as(number, row)?;
        Ok(number)
    }

    /// Stores a row under a number that no content has, but for its root.
    fn put_as(&mut self, number: u64, row: &ContentRow) -> Result<(), redb::Error> {
        self.put_row(number, row)?;
        for &holder in &row.holders {
            self.holdings.insert(encode_holding(holder, number).as_slice(), NOTHING)?;
        }
        Ok(())
    }

    fn put_row(&mut self, number: u64, row: &ContentRow) -> Result<(), redb::Error> {
        self.rows.insert(encode_number(number).as_slice(), row.encode(number).as_slice())?;
        Ok(())
    }

    /// Makes contents of a snapshot known by their roots, which are in order.
    pub fn restore_roots(&mut self, roots: &[(RootKey, u64)]) -> Result<(), redb::Error> {
        for (root, number) in roots {
            self.roots.insert(root.as_slice(), encode_number(*number).as_slice())?;
        }
        Ok(())
    }

    /// Stores a content of a snapshot under the number it has there, but for its root.
    pub fn restore(
        &mut self,
        number: u64,
        content: Content,
        nodes: &[NodeId],
        is_whole: bool,
    ) -> Result<(), redb::Error> {
        let mut row = ContentRow { content, holders: Vec::with_capacity(nodes.len()) };
        for node in nodes {
            row.add(self.holder_number(*node)?);
        }
        self.put_as(number, &row)?;
        if !is_whole {
            self.wanted.insert(encode_number(number).as_slice(), NOTHING)?;
        }
        self.counters.bytes = self.counters.bytes.saturating_add(content.bytes);
        Ok(())
    }

    /// The number of a node as a holder, given now if it has none.
    fn holder_number(&mut self, node: NodeId) -> Result<u32, redb::Error> {
        if let Some(holder) = self.holder_numbers.get(node.as_bytes().as_slice())? {
            return Ok(decode_holder(holder.value())?);
        }
        let holder = self.counters.next_holder as u32;
        self.counters.next_holder += 1;
        let key = encode_holder(holder);
        self.holders.insert(key.as_slice(), node.as_bytes().as_slice())?;
        self.holder_numbers.insert(node.as_bytes().as_slice(), key.as_slice())?;
        Ok(holder)
    }

    fn row(&self, number: u64) -> Result<Option<(u64, ContentRow)>, redb::Error> {
        let row = self.rows.get(encode_number(number).as_slice())?;
        Ok(row.and_then(|row| ContentRow::decode(number, row.value())).map(|row| (number, row)))
    }
}
