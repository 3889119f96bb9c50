//! [`chunk_source`]: one large file chunked by several threads, with the chunks one thread would find.
//!
//! ```text
//!  source   |--- segment 0 ---|--- segment 1 ---|--- segment 2 ---|     each a thread's, cut as if
//!  guesses  a---b---c---d------e                                        a chunk began at its start
//!                             f--g----h---i------j
//!  joined   a---b---c---d------e--x---h---i------j                      x: cut again by the joiner
//! ```
//! Where chunks end depends on the bytes since the last cut only. So as soon as a true chunk ends where a guessed one
//! does (at `h`), all guesses from there on are true. In common data that takes two or three chunks. Data
//! that repeats a short period may never come together; then the joiner cuts it all, at the speed of one thread.

use crate::chunker::Chunker;
use crate::error::ChunkError;
use crate::input::{Source, SourceInput};
use crate::params::ChunkParams;
use orbit_core::Chunk;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Bytes guessed at a time: long, so that cutting a few chunks again at each seam costs under one in a hundred.
const SEGMENT_LEN: u64 = 64 << 20;

/// Finished segments a thread may run ahead of the joiner: enough that a slow neighbour holds nobody up; each
/// waits as a list of about 37 KiB.
const SEGMENTS_AHEAD_PER_THREAD: u64 = 4;

/// Chunks a source with up to `threads` threads and gives its chunks to `deliver`, in order, on the calling thread.
///
/// Every thread holds about 1 MiB. `deliver` may stop it all by returning [`ControlFlow::Break`], which is then the
/// result; chunks that were already delivered are true in any case.
///
/// # Errors
/// [`ChunkError::SourceChanged`] if the source ends early or goes on past its length. Chunks may have been delivered.
pub fn chunk_source<F, B>(
    params: &ChunkParams,
    source: &Source<F>,
    threads: NonZeroUsize,
    deliver: impl FnMut(Chunk) -> ControlFlow<B>,
) -> Result<ControlFlow<B>, ChunkError>
where
    F: Fn(&mut [u8], u64) -> io::Result<usize> + Sync,
{
    chunk_segments(params, source, threads, SEGMENT_LEN, deliver)
}

fn chunk_segments<F, B>(
    params: &ChunkParams,
    source: &Source<F>,
    threads: NonZeroUsize,
    segment_len: u64,
    mut deliver: impl FnMut(Chunk) -> ControlFlow<B>,
) -> Result<ControlFlow<B>, ChunkError>
where
    F: Fn(&mut [u8], u64) -> io::Result<usize> + Sync,
{
    let segments = source.len().div_ceil(segment_len);
    let threads = segments.min(threads.get() as u64);
    if threads <= 1 {
        for chunk in Chunker::from_source(params, source) {
            if let ControlFlow::Break(value) = deliver(chunk?) {
                return Ok(ControlFlow::Break(value));
            }
        }
        return Ok(ControlFlow::Continue(()));
    }
    let board = Board::new(segments, threads * SEGMENTS_AHEAD_PER_THREAD);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _stop = StopOnPanic(&board);
                while let Some(index) = board.take() {
                    let start = index * segment_len;
                    board.put(index, guess(params, source, start, source.len().min(start + segment_len)));
                }
            });
        }
        let _stop = StopOnPanic(&board);
        let mut joiner = Joiner { source, at: 0, chunker: Chunker::from_offset(params, source, 0, 0) };
        let result = joiner.join_all(&board, segment_len, &mut deliver);
        board.stop();
        result
    })
}

/// The chunks of a segment, as if one began at its start; the last one may reach past its end.
fn guess<F>(params: &ChunkParams, source: &Source<F>, start: u64, end: u64) -> Result<Vec<Chunk>, ChunkError>
where
    F: Fn(&mut [u8], u64) -> io::Result<usize>,
{
    let mut chunker = Chunker::from_offset(params, source, start, end);
    let mut chunks = Vec::new();
    while chunker.offset() < end {
        match chunker.next() {
            Some(chunk) => chunks.push(chunk?),
            None => break,
        }
    }
    Ok(chunks)
}

/// Turns guesses into the true chunks.
struct Joiner<'a, F> {
    source: &'a Source<F>,
    /// Where the next true chunk begins.
    at: u64,
    /// Cuts what no guess covers. Reads no more than it needs.
    chunker: Chunker<SourceInput<'a, F>>,
}

impl<F: Fn(&mut [u8], u64) -> io::Result<usize>> Joiner<'_, F> {
    fn join_all<B>(
        &mut self,
        board: &Board,
        segment_len: u64,
        deliver: &mut impl FnMut(Chunk) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, ChunkError> {
        for index in 0..board.segments {
            // Stopped early means that a thread panicked: leaving the scope passes the panic on.
            let Some(guesses) = board.wait_for(index) else { break };
            if let ControlFlow::Break(value) = self.join(index * segment_len, &guesses?, deliver)? {
                return Ok(ControlFlow::Break(value));
            }
        }
        self.source.confirm_end()?;
        Ok(ControlFlow::Continue(()))
    }

    /// Delivers the chunks up to the end of the segment's last guess. `start` is where its guesses begin.
    fn join<B>(
        &mut self,
        start: u64,
        guesses: &[Chunk],
        deliver: &mut impl FnMut(Chunk) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, ChunkError> {
        let mut guesses = guesses.iter();
        let mut guessed = start;
        loop {
            while guessed < self.at
                && let Some(chunk) = guesses.next()
            {
                guessed += u64::from(chunk.len);
            }
            let chunk = match guessed.cmp(&self.at) {
                Ordering::Greater => self.cut()?,
                Ordering::Less => break,
                Ordering::Equal => {
                    let Some(chunk) = guesses.next() else { break };
                    guessed += u64::from(chunk.len);
                    *chunk
                }
            };
            self.at += u64::from(chunk.len);
            if let ControlFlow::Break(value) = deliver(chunk) {
                return Ok(ControlFlow::Break(value));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn cut(&mut self) -> Result<Chunk, ChunkError> {
        if self.chunker.offset() != self.at {
            self.chunker.seek(self.source, self.at, 0);
        }
        let ended = ChunkError::SourceChanged { expected: self.source.len(), found: self.at };
        self.chunker.next().unwrap_or(Err(ended))
    }
}

/// Which segments are taken, finished and joined.
struct Board {
    segments: u64,
    ahead: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    taken: u64,
    joined: u64,
    finished: BTreeMap<u64, Result<Vec<Chunk>, ChunkError>>,
    stopped: bool,
}

impl Board {
    fn new(segments: u64, ahead: u64) -> Self {
        Self { segments, ahead, state: Mutex::default(), changed: Condvar::new() }
    }

    /// The next segment to guess; waits while too many are unjoined.
    fn take(&self) -> Option<u64> {
        let mut state = self.wait_while(|state| {
            !state.stopped && state.taken < self.segments && state.taken >= state.joined + self.ahead
        });
        let index = state.taken;
        (!state.stopped && index < self.segments).then(|| {
            state.taken += 1;
            index
        })
    }

    fn put(&self, index: u64, chunks: Result<Vec<Chunk>, ChunkError>) {
        self.lock().finished.insert(index, chunks);
        self.changed.notify_all();
    }

    /// The guesses of a segment, once they are there, or `None` if all was stopped.
    fn wait_for(&self, index: u64) -> Option<Result<Vec<Chunk>, ChunkError>> {
        let mut state = self.wait_while(|state| !state.stopped && !state.finished.contains_key(&index));
        let chunks = state.finished.remove(&index);
        state.joined = index + 1;
        self.changed.notify_all();
        chunks
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// A panic elsewhere leaves no half-done change behind, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, mut condition: impl FnMut(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_while(self.lock(), |state| condition(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the other threads from waiting for one that panicked.
struct StopOnPanic<'a>(&'a Board);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
        }
    }
}

#[cfg(test)]
mod tests;
