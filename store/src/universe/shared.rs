//! Which manifests the grid may know: those of files that it had hashed. What a person hashed for himself is his.
//!
//! A tag is an entry of the same file version under another number of parameters, without a list; it lies right behind the
//! entry that has the list, so both are met in one walk.

use super::Universe;
use super::record::{FILE_KEY_LEN, FileKey, FileRecord, decode_part, part_key};
use super::schema::{CHUNKS, FILES};
use crate::error::StoreError;
use orbit_core::grid::Content;
use orbit_core::{Chunk, ContentHash};
use redb::{ReadTransaction, ReadableDatabase};
use std::collections::HashSet;
use std::ops::{Bound, ControlFlow};

/// Bytes of a key that name the file; the number of the parameters, at least 1, is behind them.
const FILE_LEN_IN_KEY: usize = 16;
/// Rows looked at for one page of contents, most of which may be nobody's business.
const LOOKED_AT_MAX: usize = 200_000;

/// Numbers of chunking parameters: of lists, and of the tags that say which of them are shared. The tag's is the larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedParams {
    /// Of entries with lists.
    pub lists: u32,
    /// Of tags.
    pub tags: u32,
}

/// Some of the shared contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedPage {
    /// Contents in no order that means anything; each of several equal files is there.
    pub contents: Vec<Content>,
    /// Where the next page begins; empty after the last.
    pub next: Vec<u8>,
}

/// Where a walk goes on behind an entry, and the entry with its key if it has a list that is shared.
type Met<'a> = (FileKey, Option<&'a (FileKey, FileRecord)>);

impl Universe {
    /// Up to `limit` shared contents, from the `next` of the page before on, or from the beginning.
    pub fn shared(&self, params: SharedParams, after: &[u8], limit: usize) -> Result<SharedPage, StoreError> {
        let mut page = SharedPage::default();
        let mut looked_at = 0;
        self.walk_shared(params, after, |_, (behind, shared)| {
            looked_at += 1;
            if let Some((_, FileRecord { root, size, chunk_count: Some(chunks), .. })) = shared
                && let Ok(chunks) = u32::try_from(*chunks)
            {
                page.contents.push(Content { root: *root, bytes: *size, chunks });
            }
            if page.contents.len() >= limit || looked_at >= LOOKED_AT_MAX {
                page.next = behind.to_vec();
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(page)
    }

    /// Gives `each` the chunks of those of the shared contents that are wanted, some of one content at a time, in order. A
    /// list that is damaged ends early. Whoever has enough breaks.
    pub fn shared_lists(
        &self,
        params: SharedParams,
        mut wanted: HashSet<ContentHash>,
        mut each: impl FnMut(ContentHash, &[Chunk]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut chunks = Vec::new();
        self.walk_shared(params, &[], |transaction, (_, shared)| {
            let Some((key, FileRecord { root, chunk_count: Some(count), .. })) = shared else {
                return Ok(ControlFlow::Continue(()));
            };
            if !wanted.remove(root) {
                return Ok(ControlFlow::Continue(()));
            }
            let parts = transaction.open_table(CHUNKS)?;
            let mut sent = 0;
            for number in 0.. {
                let part_key = part_key(key, number);
                chunks.clear();
                let part = parts.get(part_key.as_slice())?;
                part.and_then(|part| decode_part(&part_key, root, part.value(), &mut chunks));
                sent += chunks.len() as u64;
                if each(*root, &chunks).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                if chunks.is_empty() || sent >= *count {
                    break;
                }
            }
            Ok(if wanted.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    }

    /// Walks all entries behind `after`, until `each` has enough.
    fn walk_shared(
        &self,
        params: SharedParams,
        after: &[u8],
        mut each: impl FnMut(&ReadTransaction, Met<'_>) -> Result<ControlFlow<()>, redb::Error>,
    ) -> Result<(), StoreError> {
        let mut walk = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_read()?;
            let files = transaction.open_table(FILES)?;
            let begin = if after.len() == FILE_KEY_LEN { Bound::Excluded(after) } else { Bound::Unbounded };
            let mut listed: Option<(FileKey, FileRecord)> = None;
            for row in files.range::<&[u8]>((begin, Bound::Unbounded))? {
                let (key, value) = row?;
                // A damaged key is passed over, as is what is stored under it.
                let Ok(key) = FileKey::try_from(key.value()) else { continue };
                let record = FileRecord::decode(&key, value.value());
                let mut shared = None;
                let mut behind = key;
                if key[FILE_LEN_IN_KEY..] == params.lists.to_be_bytes() {
                    // Its tag comes next: whoever stops here begins with this one again.
                    behind[FILE_LEN_IN_KEY..].fill(0);
                    listed = record.map(|record| (key, record));
                } else if key[FILE_LEN_IN_KEY..] == params.tags.to_be_bytes() {
                    let is_of_it = |(of, list): &(FileKey, FileRecord)| {
                        of[..FILE_LEN_IN_KEY] == key[..FILE_LEN_IN_KEY]
                            && record.is_some_and(|tag| tag.root == list.root && is_same_version(&tag, list))
                    };
                    shared = listed.take().filter(is_of_it);
                }
                if each(&transaction, (behind, shared.as_ref()))?.is_break() {
                    return Ok(());
                }
            }
            Ok(())
        };
        walk().map_err(|error| StoreError::redb("list manifests", &self.path, error))
    }
}

fn is_same_version(a: &FileRecord, b: &FileRecord) -> bool {
    (a.size, a.mtime, a.ctime) == (b.size, b.mtime, b.ctime)
}
