//! [`Chunker`]: a stream of bytes in, its chunks out.

use crate::error::ChunkError;
use crate::hash::hash_bytes;
use crate::input::{Input, ReadInput, Source, SourceInput};
use crate::params::ChunkParams;
use crate::scan::Scanner;
use orbit_core::{Chunk, ContentHash};
use std::io::{self, Read};

/// Bytes held at once: a few of the longest chunks. Half and twice as much were as fast.
const BUFFER_LEN: usize = 1 << 19;

/// Cuts an [`Input`] into chunks, one after the other, holding at most 512 KiB of it.
///
/// As an iterator it gives the chunks alone; [`Self::next_chunk`] lends their bytes too. After an
/// error it must not be asked again: it would leave out what could not be read.
pub struct Chunker<I> {
    params: ChunkParams,
    scanner: Scanner,
    input: I,
    buffer: Box<[u8]>,
    /// The part of the buffer that is read and not yet cut.
    start: usize,
    end: usize,
    /// Where in the input `start` is.
    offset: u64,
    ended: bool,
    /// The chunk of zeros of the greatest length and its hash, once it was met.
    zeros: Option<(Box<[u8]>, ContentHash)>,
}

/// A chunk, where it begins, and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct ChunkBytes<'a> {
    /// Hash and length.
    pub chunk: Chunk,
    /// Where in the input it begins.
    pub offset: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl<R: Read> Chunker<ReadInput<R>> {
    /// Chunks all that a reader gives.
    pub fn from_reader(params: &ChunkParams, reader: R) -> Self {
        Self::new(params, ReadInput::new(reader), 0, u64::MAX)
    }
}

impl<'a, F: Fn(&mut [u8], u64) -> io::Result<usize>> Chunker<SourceInput<'a, F>> {
    /// Chunks a whole source. Holes are not read.
    pub fn from_source(params: &ChunkParams, source: &'a Source<F>) -> Self {
        Self::new(params, SourceInput::new(source, 0, source.len()), 0, source.len())
    }

    /// Chunks a source as if a chunk began at `offset`, reading ahead no further than `horizon`.
    pub(crate) fn from_offset(
        params: &ChunkParams,
        source: &'a Source<F>,
        offset: u64,
        horizon: u64,
    ) -> Self {
        Self::new(params, SourceInput::new(source, offset, horizon), offset, source.len())
    }

    /// Goes on at another place of the source, as if a chunk began there.
    pub(crate) fn seek(&mut self, source: &'a Source<F>, offset: u64, horizon: u64) {
        self.input = SourceInput::new(source, offset, horizon);
        (self.start, self.end, self.offset, self.ended) = (0, 0, offset, false);
    }
}

impl<I: Input> Chunker<I> {
    /// `len_max` bounds what the input can give, so that a small file costs a small buffer.
    fn new(params: &ChunkParams, input: I, offset: u64, len_max: u64) -> Self {
        let len = BUFFER_LEN.max(2 * params.max_len());
        // One more than there is, so that reading the end is noticed.
        let len = len.min(usize::try_from(len_max.saturating_add(1)).unwrap_or(usize::MAX));
        Self {
            params: *params,
            scanner: Scanner::detect(),
            input,
            buffer: vec![0; len].into_boxed_slice(),
            start: 0,
            end: 0,
            offset,
            ended: false,
            zeros: None,
        }
    }

    /// Where the next chunk begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next chunk with its bytes, or `None` at the end of the input.
    pub fn next_chunk(&mut self) -> Result<Option<ChunkBytes<'_>>, ChunkError> {
        let max_len = self.params.max_len();
        if self.start == self.end && self.input.zeros_ahead() >= max_len as u64 {
            // No cut falls into zeros, so this chunk is as long as chunks get.
            self.input.skip_zeros(max_len as u64);
            let offset = self.advance(max_len);
            let (bytes, hash) = self.zero_chunk();
            return Ok(Some(ChunkBytes { chunk: chunk(hash, max_len), offset, bytes }));
        }
        self.fill(max_len)?;
        if self.start == self.end {
            return Ok(None);
        }
        let start = self.start;
        let len = self.scanner.cut(&self.params, &self.buffer[start..self.end]);
        self.start += len;
        let offset = self.advance(len);
        let hash = if len == max_len && is_zero(&self.buffer[start..start + len]) {
            self.zero_chunk().1
        } else {
            hash_bytes(&self.buffer[start..start + len])
        };
        Ok(Some(ChunkBytes { chunk: chunk(hash, len), offset, bytes: &self.buffer[start..start + len] }))
    }

    /// Reads until `wanted` bytes are there or the input ends.
    fn fill(&mut self, wanted: usize) -> Result<(), ChunkError> {
        while !self.ended && self.end - self.start < wanted {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let read = self.input.fill(&mut self.buffer[self.end..], wanted - self.end)?;
            self.end += read;
            self.ended = read == 0;
        }
        Ok(())
    }

    /// Moves on by a chunk and returns where it began.
    fn advance(&mut self, len: usize) -> u64 {
        let offset = self.offset;
        self.offset += len as u64;
        offset
    }

    fn zero_chunk(&mut self) -> (&[u8], ContentHash) {
        let max_len = self.params.max_len();
        let (bytes, hash) = self.zeros.get_or_insert_with(|| {
            let bytes = vec![0; max_len].into_boxed_slice();
            let hash = hash_bytes(&bytes);
            (bytes, hash)
        });
        (bytes, *hash)
    }
}

impl<I: Input> Iterator for Chunker<I> {
    type Item = Result<Chunk, ChunkError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_chunk().map(|next| next.map(|found| found.chunk)).transpose()
    }
}

fn chunk(hash: ContentHash, len: usize) -> Chunk {
    Chunk { hash, len: u32::try_from(len).expect("a chunk is shorter than 4 GiB") }
}

/// Whether every byte is zero: the first is, and each equals the one before it (a plain `memcmp`).
fn is_zero(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0) && bytes[1..] == bytes[..bytes.len() - 1]
}

#[cfg(test)]
mod tests;
