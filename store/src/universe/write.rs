//! Storing and forgetting. redb loads sorted batches several times faster than scattered entries, and far faster
//! without a sync each; so a batch is sorted, and durable only once enough has come together.

use super::record::{CHUNK_BYTES, FileKey, FileRecord, PART_CHUNKS, encode_part, file_key, part_key};
use super::schema::{CHUNKS, FILES};
use super::{BatchOutcome, CachedManifest, Universe};
use crate::error::StoreError;
use crate::table::BytesTable;
use orbit_core::Timestamp;
use redb::{Durability, ReadableTable, ReadableTableMetadata, WriteTransaction};
use std::sync::PoisonError;

/// Written bytes after which a batch is committed durably. redb cannot reuse pages freed since the last durable
/// commit, so this bounds how far the file grows, and what a kill takes back.
const VOLATILE_BYTES_MAX: u64 = 32 << 20;
/// What an entry writes, between its own 108 bytes among neighbours and a page of 4 KiB when it lies alone.
const ENTRY_BYTES: u64 = 1024;
/// Entries evicted in one transaction.
const EVICTED_AT_ONCE: usize = 100_000;

impl Universe {
    /// Stores one manifest; returns whether it was stored. See [`put_batch`](Self::put_batch), which is faster.
    pub fn put(&self, manifest: &CachedManifest, observed_at: Timestamp) -> Result<bool, StoreError> {
        let outcome = self.put_batch(std::slice::from_ref(manifest), observed_at)?;
        Ok(outcome.stored == 1)
    }

    /// Stores manifests in one transaction, replacing what was known of other versions of the same files.
    ///
    /// `observed_at` is the clock *before* the first of these files was last looked at (its identity taken). A file
    /// that changed less than two seconds before that may change again under the same time stamps: it is refused
    /// as racy. A killed process may lose what came since the last [`flush`](Self::flush).
    pub fn put_batch(
        &self,
        manifests: &[CachedManifest],
        observed_at: Timestamp,
    ) -> Result<BatchOutcome, StoreError> {
        let mut rows: Vec<_> = manifests
            .iter()
            .filter_map(|manifest| {
                let record = FileRecord::new(manifest, observed_at)?;
                Some((file_key(&manifest.identity, manifest.params_id), record, manifest.chunks.as_deref()))
            })
            .collect();
        let stored = rows.len() as u64;
        let outcome = BatchOutcome { stored, racy: manifests.len() as u64 - stored };
        if rows.is_empty() {
            return Ok(outcome);
        }
        // Stable, so that of two versions of one file the later wins.
        rows.sort_by_key(|&(key, ..)| key);
        let chunk_count: usize = rows.iter().filter_map(|&(.., chunks)| chunks).map(<[_]>::len).sum();
        let bytes = stored * ENTRY_BYTES + chunk_count as u64 * CHUNK_BYTES;

        self.write("store manifests", self.durability_after(bytes), |transaction| {
            let mut files = transaction.open_table(FILES)?;
            let mut parts = transaction.open_table(CHUNKS)?;
            let mut value = Vec::new();
            for (key, record, chunks) in &rows {
                let known = files.insert(key.as_slice(), record.encode(key).as_slice())?;
                // A damaged entry may have had parts.
                let had_list = |old: FileRecord| old.chunk_count.is_some();
                if known.is_some_and(|old| FileRecord::decode(key, old.value()).is_none_or(had_list)) {
                    remove_parts(&mut parts, key)?;
                }
                for (number, part) in (0_u32..).zip(chunks.unwrap_or_default().chunks(PART_CHUNKS)) {
                    let key = part_key(key, number);
                    encode_part(&key, &record.root, part, &mut value);
                    parts.insert(key.as_slice(), value.as_slice())?;
                }
            }
            Ok(())
        })?;
        Ok(outcome)
    }

    /// Forgets everything; [`compact`](Self::compact) then gives the space back.
    pub fn remove_all(&self) -> Result<(), StoreError> {
        self.write("empty the universe", Durability::Immediate, |transaction| {
            transaction.delete_table(FILES)?;
            transaction.delete_table(CHUNKS)?;
            transaction.open_table(FILES)?;
            transaction.open_table(CHUNKS)?;
            Ok(())
        })
    }

    /// Forgets the entries observed longest ago until at most `max_entries` are left; returns how many went.
    /// Reads the whole table if there are more, with 28 bytes of memory for each.
    pub fn evict_to(&self, max_entries: u64) -> Result<u64, StoreError> {
        let mut evicted = 0;
        loop {
            let gone = self.write("evict from the universe", Durability::Immediate, |transaction| {
                let mut files = transaction.open_table(FILES)?;
                let mut parts = transaction.open_table(CHUNKS)?;
                let excess = usize::try_from(files.len()?.saturating_sub(max_entries)).unwrap_or(usize::MAX);
                let oldest = oldest(&files, excess.min(EVICTED_AT_ONCE))?;
                for key in &oldest {
                    remove_entry(&mut files, &mut parts, key)?;
                }
                Ok(oldest.len() as u64)
            })?;
            evicted += gone;
            if gone < EVICTED_AT_ONCE as u64 {
                return Ok(evicted);
            }
        }
    }

    /// One transaction, which also drops the entries readers found damaged.
    pub(super) fn write<T>(
        &self,
        operation: &'static str,
        durability: Durability,
        body: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let run = || -> Result<T, redb::Error> {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(durability)?;
            let damaged = self.take_damaged();
            if !damaged.is_empty() {
                let mut files = transaction.open_table(FILES)?;
                let mut parts = transaction.open_table(CHUNKS)?;
                for key in &damaged {
                    remove_entry(&mut files, &mut parts, key)?;
                }
                tracing::warn!(path = %self.path.display(), entries = damaged.len(), "dropped damaged entries");
            }
            let value = body(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|error| StoreError::redb(operation, &self.path, error))
    }

    fn durability_after(&self, bytes: u64) -> Durability {
        let mut volatile = self.volatile_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        *volatile += bytes;
        if *volatile < VOLATILE_BYTES_MAX {
            return Durability::None;
        }
        *volatile = 0;
        Durability::Immediate
    }
}

fn remove_entry(
    files: &mut BytesTable<'_>,
    parts: &mut BytesTable<'_>,
    key: &FileKey,
) -> Result<(), redb::Error> {
    files.remove(key.as_slice())?;
    remove_parts(parts, key)
}

fn remove_parts(parts: &mut BytesTable<'_>, key: &FileKey) -> Result<(), redb::Error> {
    let (first, last) = (part_key(key, 0), part_key(key, u32::MAX));
    Ok(parts.retain_in(first.as_slice()..=last.as_slice(), |_, _| false)?)
}

/// The keys of the `count` entries observed longest ago. A damaged entry is older than any.
fn oldest(files: &BytesTable<'_>, count: usize) -> Result<Vec<FileKey>, redb::Error> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut ages = Vec::with_capacity(usize::try_from(files.len()?).unwrap_or(0));
    for row in files.iter()? {
        let (key, value) = row?;
        let Ok(key) = FileKey::try_from(key.value()) else { continue };
        let observed_at = FileRecord::decode(&key, value.value()).map(|record| record.observed_at);
        ages.push((observed_at, key));
    }
    if count < ages.len() {
        ages.select_nth_unstable(count);
        ages.truncate(count);
    }
    Ok(ages.into_iter().map(|(_, key)| key).collect())
}
