//! [`Held`]: what is recorded of one holder, compared with what it says.

use super::NucleusUniverse;
use super::find::Rows;
use super::schema::{
    HOLDER_NUMBERS, HOLDERS, HOLDINGS, ROOTS, decode_holder, decode_node, encode_holding, found_number,
    holdings_of, root_key,
};
use super::tidy::Numbers;
use crate::error::StoreError;
use crate::table::ReadBytesTable;
use orbit_core::grid::Content;
use orbit_core::ids::NodeId;
use redb::{ReadTransaction, ReadableTable};
use std::path::PathBuf;

/// What was recorded of a holder when the comparison began. What is recorded meanwhile does not show.
pub struct Held {
    roots: ReadBytesTable,
    holdings: ReadBytesTable,
    rows: Rows,
    holder: Option<u32>,
    recorded: u64,
    /// Of those, the ones that the holder said it has.
    seen: Numbers,
    seen_count: u64,
    path: PathBuf,
}

impl NucleusUniverse {
    /// Nodes of which contents are recorded.
    pub fn holders(&self) -> Result<Vec<NodeId>, StoreError> {
        let list = |transaction: ReadTransaction| -> Result<Vec<NodeId>, redb::Error> {
            let holders = transaction.open_table(HOLDERS)?;
            holders.iter()?.map(|row| Ok(decode_node(row?.1.value())?)).collect()
        };
        list(self.0.begin_read()?)
            .map_err(|error| StoreError::redb("list who holds contents", &self.0.path, error))
    }

    /// Begins to compare what is recorded of this holder. Reads all that is recorded of it.
    pub fn held(&self, holder: NodeId) -> Result<Held, StoreError> {
        let transaction = self.0.begin_read()?;
        let begin = || -> Result<Held, redb::Error> {
            let number = transaction.open_table(HOLDER_NUMBERS)?.get(holder.as_bytes().as_slice())?;
            let number = number.map(|number| decode_holder(number.value())).transpose()?;
            let holdings = transaction.open_table(HOLDINGS)?;
            let mut recorded = 0;
            if let Some(holder) = number {
                for row in holdings_of(&holdings, holder)? {
                    row?;
                    recorded += 1;
                }
            }
            Ok(Held {
                roots: transaction.open_table(ROOTS)?,
                holdings,
                rows: Rows::open(&transaction)?,
                holder: number,
                recorded,
                seen: Numbers::default(),
                seen_count: 0,
                path: self.0.path.clone(),
            })
        };
        begin().map_err(|error| StoreError::redb("list what a node holds", &self.0.path, error))
    }
}

impl Held {
    /// Takes note that the holder has these, and returns the ones that are not recorded of it, each once.
    pub fn unrecorded(&mut self, mut contents: Vec<Content>) -> Result<Vec<Content>, StoreError> {
        contents.sort_unstable();
        contents.dedup_by_key(|content| content.root);
        let mut new = Vec::new();
        for content in contents {
            let number = self.recorded_as(&content);
            match number.map_err(|error| StoreError::redb("look up a content", &self.path, error))? {
                None => new.push(content),
                Some(number) if !self.seen.contains(number) => {
                    self.seen.insert(number);
                    self.seen_count += 1;
                }
                Some(_) => {}
            }
        }
        Ok(new)
    }

    /// Contents that were recorded of the holder.
    pub fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Of those, how many it did not say it has.
    pub fn missing(&self) -> u64 {
        self.recorded.saturating_sub(self.seen_count)
    }

    fn recorded_as(&mut self, content: &Content) -> Result<Option<u64>, redb::Error> {
        let Some(holder) = self.holder else { return Ok(None) };
        let number = found_number(self.roots.get(root_key(&content.root).as_slice())?)?;
        let Some(number) = number else { return Ok(None) };
        let is_held = self.holdings.get(encode_holding(holder, number).as_slice())?.is_some();
        // A row that is damaged is recorded anew.
        Ok(self.rows.get(number)?.filter(|(row, _)| is_held && row.root == content.root).map(|_| number))
    }
}
