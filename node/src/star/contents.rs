//! [`Inquiry`]: what voters ask of a star for the grid's universe, answered from the cache of hashes.
//!
//! Only what was hashed for the grid, so below allowed paths, is told. The cache belongs to whoever runs commands on this
//! machine first: while one has it, there is no answer, and the voter asks again later.

use super::Shared;
use super::answer::{Asked, CHUNKS_MAX};
use super::session::{Gone, Replies};
use orbit_core::grid::Refusal;
use orbit_core::wire::system::{CONTENTS_PAGE_MAX, Call, ContentsPage, MANIFESTS_MAX, Reply};
use orbit_core::{Chunk, ContentHash};
use orbit_store::StoreError;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A question to be answered.
pub(super) struct Inquiry {
    pub replies: Replies,
    pub asked: Arc<Asked>,
    pub shared: Arc<Shared>,
}

/// Why a question has no answer.
enum NoAnswer {
    /// A command on this machine has the cache.
    InUse,
    /// The cache failed.
    Store(StoreError),
    /// Nobody is there to hear it.
    Gone,
}

impl From<StoreError> for NoAnswer {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Gone> for NoAnswer {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl Inquiry {
    /// Sends all replies but the last, which it returns; none if nobody is there to hear it.
    pub fn answer(&self, call: &Call) -> Option<Reply> {
        let answered = match call {
            Call::Contents { unless, after } => self.page(*unless, after).map(Reply::Contents),
            Call::Manifests { roots } => self.manifests(roots).map(|()| Reply::Done),
            _ => Ok(Reply::Done),
        };
        let message = match answered {
            Ok(reply) => return Some(reply),
            Err(NoAnswer::Gone) => return None,
            Err(NoAnswer::InUse) => "its cache of hashes is in use by another process".to_owned(),
            Err(NoAnswer::Store(error)) => crate::standalone::error::chain(&error),
        };
        self.shared.counters.refused.fetch_add(1, Relaxed);
        Some(Reply::Refused(Refusal::Failed { node: self.shared.name(), message }))
    }

    fn page(&self, unless: Option<u64>, after: &[u8]) -> Result<ContentsPage, NoAnswer> {
        let cache = &self.shared.cache;
        let state = cache.state();
        let mut page = ContentsPage { state, contents: Vec::new(), next: Vec::new() };
        if unless != Some(state) && cache.is_there() {
            let lease = cache.lease();
            let found = lease.universe().ok_or(NoAnswer::InUse)?.shared(after, CONTENTS_PAGE_MAX)?;
            (page.contents, page.next) = (found.contents, found.next);
        }
        Ok(page)
    }

    fn manifests(&self, roots: &[[u8; 32]]) -> Result<(), NoAnswer> {
        let wanted: HashSet<_> =
            roots.iter().take(MANIFESTS_MAX).map(|root| ContentHash::from_bytes(*root)).collect();
        if !self.shared.cache.is_there() {
            return Ok(());
        }
        let lease = self.shared.cache.lease();
        let mut current = None;
        let mut sent = Ok(());
        lease.universe().ok_or(NoAnswer::InUse)?.shared_lists(wanted, |root, chunks| {
            let is_next = current.replace(root) != Some(root);
            sent = self.send(is_next.then_some(root), chunks);
            if sent.is_ok() && !self.asked.is_stopped() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        Ok(sent?)
    }

    fn send(&self, begins: Option<ContentHash>, chunks: &[Chunk]) -> Result<(), Gone> {
        if let Some(root) = begins {
            self.replies.send(&Reply::Manifest(root))?;
        }
        chunks.chunks(CHUNKS_MAX).try_for_each(|chunks| self.replies.send(&Reply::Chunks(chunks.to_vec())))
    }
}
