//! Keeping few runs with little in them that means nothing, and forgotten holders out of the rows.

use super::load::{BEFORE_REMOVING, name_run};
use super::merge::Merge;
use super::record::number;
use super::run::{Run, RunWriter, Written};
use super::schema::{BEGUN, CONTENTS, Counter, META, NOTHING, RUNS, WANTED, decode_number, encode_number};
use super::{Inner, NucleusUniverse, commit};
use crate::error::StoreError;
use redb::{ReadableDatabase, ReadableTable};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// As many runs of about a size become one.
const MERGED_AT_ONCE: usize = 16;
/// Holdings swept in one transaction.
const SWEPT_AT_ONCE: usize = 10_000;
/// What one of them writes.
const SWEPT_BYTES: u64 = 1024;
/// Runs are not rewritten for fewer records that mean nothing.
#[cfg(not(test))]
const DEAD_MIN: u64 = 100_000;
#[cfg(test)]
const DEAD_MIN: u64 = 10;

impl NucleusUniverse {
    /// Does some of the work that can wait, and returns whether there is more: sweeps what forgotten holders held, rewrites
    /// runs of which half means nothing, has everything loaded again after a run was found damaged.
    pub fn tidy(&self) -> Result<bool, StoreError> {
        let inner = &self.0;
        if inner.damaged.load(Ordering::Relaxed) {
            let _building = super::lock(&inner.building);
            inner.forget_chunks()?;
            inner.damaged.store(false, Ordering::Relaxed);
        }
        let bytes = SWEPT_AT_ONCE as u64 * SWEPT_BYTES;
        let gone = inner.begin_read().and_then(|transaction| {
            let fault = |error: redb::Error| StoreError::redb("list forgotten holders", &inner.path, error);
            let is_any = || -> Result<bool, redb::Error> {
                Ok(transaction.open_table(super::schema::GONE)?.first()?.is_some())
            };
            is_any().map_err(fault)
        })?;
        if gone {
            inner.write("sweep a forgotten holder", bytes, |transaction| {
                commit::Contents::change(transaction, |tables| tables.sweep(SWEPT_AT_ONCE))
            })?;
            return Ok(true);
        }
        let _building = super::lock(&inner.building);
        let dead = inner.dead_records()?;
        let runs = inner.runs();
        let records: u64 = runs.iter().map(|run| run.records).sum();
        if dead >= DEAD_MIN && dead >= records / 2 {
            inner.merge(&runs)?;
        }
        Ok(false)
    }
}

impl Inner {
    /// Merges while there are enough runs of a size. The caller holds `building`.
    pub(super) fn merge_due(&self) -> Result<(), StoreError> {
        loop {
            let runs = self.runs();
            let due = runs.iter().map(|run| class(run)).find(|&class_of_one| {
                runs.iter().filter(|run| class(run) == class_of_one).count() >= MERGED_AT_ONCE
            });
            let Some(due) = due else { return Ok(()) };
            let chosen: Vec<_> = runs.iter().filter(|run| class(run) == due).cloned().collect();
            self.merge(&chosen)?;
        }
    }

    /// Makes one run of these, without records of contents that are not known any more. The caller holds `building`.
    fn merge(&self, chosen: &[Arc<Run>]) -> Result<(), StoreError> {
        let id = self.next_run.fetch_add(1, Ordering::Relaxed);
        let merged = self.write_merged(chosen, id).inspect_err(|error| {
            if matches!(error, StoreError::Corrupt { .. }) {
                self.damaged.store(true, Ordering::Relaxed);
            }
        });
        let (written, dropped) = merged?;
        let is_chosen = |run: &Arc<Run>| chosen.iter().any(|chosen| chosen.id == run.id);
        let mut after: Vec<_> = self.runs().iter().filter(|run| !is_chosen(run)).cloned().collect();
        after.extend(written.iter().map(|(run, _)| Arc::clone(run)));
        // If this fails, nobody knows which runs are named: all files stay, needed or orphans.
        self.write_runs("record a merged run", BEFORE_REMOVING, after, |transaction| {
            let mut runs = transaction.open_table(RUNS)?;
            for run in chosen {
                runs.remove(encode_number(run.id).as_slice())?;
            }
            drop(runs);
            if let Some((run, row)) = &written {
                name_run(transaction, run, *row)?;
            }
            let mut meta = transaction.open_table(META)?;
            // Whoever merges everything has dropped all there were.
            let all = self.runs().len() == chosen.len();
            Counter::DeadRecords
                .change(&mut meta, |dead| if all { 0 } else { dead.saturating_sub(dropped) })?;
            Ok(())
        })?;
        for run in chosen {
            run.remove();
        }
        Ok(())
    }

    /// The merged run, if it has any records, and how many were left out.
    fn write_merged(&self, chosen: &[Arc<Run>], id: u64) -> Result<(Written, u64), StoreError> {
        let live = if self.dead_records()? > 0 { Some(self.live_numbers()?) } else { None };
        let mut merge = Merge::new(chosen)?;
        let mut writer = RunWriter::create(&self.directory, id)?;
        let mut dropped = 0;
        while let Some(record) = merge.next()? {
            if live.as_ref().is_none_or(|live| live.contains(number(&record))) {
                writer.push(&record)?;
            } else {
                dropped += 1;
            }
        }
        Ok((writer.finish()?, dropped))
    }

    /// Forgets all runs, so that all contents are wanted again. The caller holds `building`, or nobody else is there yet.
    pub(super) fn forget_chunks(&self) -> Result<(), StoreError> {
        tracing::warn!(path = %self.path.display(), "chunk records are damaged or missing: all are loaded again");
        let before = self.runs();
        self.write_runs("forget chunk records", BEFORE_REMOVING, Vec::new(), |transaction| {
            transaction.delete_table(RUNS)?;
            transaction.open_table(RUNS)?;
            transaction.delete_table(BEGUN)?;
            transaction.open_table(BEGUN)?;
            Counter::DeadRecords.change(&mut transaction.open_table(META)?, |_| 0)?;
            let mut wanted = transaction.open_table(WANTED)?;
            for row in transaction.open_table(CONTENTS)?.iter()? {
                let (number, row) = row?;
                let decoded = super::rows::ContentRow::decode(decode_number(number.value())?, row.value());
                if decoded.is_some_and(|row| row.content.chunks > 0) {
                    wanted.insert(number.value(), NOTHING)?;
                }
            }
            Ok(())
        })?;
        before.iter().for_each(|run| run.remove());
        Ok(())
    }

    fn dead_records(&self) -> Result<u64, StoreError> {
        let read = |transaction: redb::ReadTransaction| -> Result<u64, redb::Error> {
            Counter::DeadRecords.get(&transaction.open_table(META)?)
        };
        read(self.begin_read()?).map_err(|error| StoreError::redb("measure the universe", &self.path, error))
    }

    /// The numbers of contents that are known. Later ones are not among them: no run that is there now has any.
    fn live_numbers(&self) -> Result<Numbers, StoreError> {
        let read = || -> Result<Numbers, redb::Error> {
            let transaction = self.database.begin_read()?;
            let mut numbers = Numbers::default();
            for row in transaction.open_table(CONTENTS)?.iter()? {
                numbers.insert(decode_number(row?.0.value())?);
            }
            Ok(numbers)
        };
        read().map_err(|error| StoreError::redb("list the contents of the universe", &self.path, error))
    }
}

/// A set of numbers, a bit for each up to the largest.
#[derive(Debug, Default)]
pub(super) struct Numbers(Vec<u64>);

impl Numbers {
    pub fn insert(&mut self, number: u64) {
        let word = (number / 64) as usize;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    pub fn contains(&self, number: u64) -> bool {
        self.0.get((number / 64) as usize).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }
}

/// Runs of one class are merged with each other: 16 of a class make one of the next. A load's batches lie in the middle of
/// theirs, though a few records are left out of some. All small ones are of one class.
fn class(run: &Run) -> u32 {
    ((run.records * 2).max(1).ilog2() / 4).max(3)
}
