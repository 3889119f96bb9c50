//! The chunker against the scanner on whole slices.

use super::*;
use crate::params::{ORBIT_64K, TINY};
use crate::test_data::{any_data, chunks_of, noise, read_at, zero_ranges};
use orbit_core::ByteRange;
use proptest::prelude::*;

/// Gives at most `step` bytes a read, and is interrupted before each.
struct Trickle<'a> {
    rest: &'a [u8],
    step: usize,
    interrupted: bool,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = self.step.min(buffer.len()).min(self.rest.len());
        self.rest.read(&mut buffer[..len])
    }
}

fn collect<I: Input>(chunker: Chunker<I>) -> Vec<Chunk> {
    chunker.map(|chunk| chunk.expect("memory can be read")).collect()
}

proptest! {
    #[test]
    fn any_reads_give_the_chunks_of_the_slice(data in any_data(30_000), step in 1_usize..5_000) {
        let reader = Trickle { rest: &data, step, interrupted: false };
        prop_assert_eq!(collect(Chunker::from_reader(&TINY, reader)), chunks_of(&TINY, &data));
    }

    #[test]
    fn holes_give_the_chunks_of_zeros(data in any_data(60_000), shortest in 1_usize..9_000) {
        let holes = zero_ranges(&data, shortest);
        let source = Source::new(data.len() as u64, read_at(&data)).with_holes(holes);
        prop_assert_eq!(collect(Chunker::from_source(&TINY, &source)), chunks_of(&TINY, &data));
    }

    #[test]
    fn lent_bytes_are_those_of_the_chunk(data in any_data(60_000)) {
        let source = Source::new(data.len() as u64, read_at(&data)).with_holes(zero_ranges(&data, 3_000));
        let mut chunker = Chunker::from_source(&TINY, &source);
        let mut seen = Vec::new();
        while let Some(found) = chunker.next_chunk().expect("memory can be read") {
            prop_assert_eq!(found.offset, seen.len() as u64);
            prop_assert_eq!(found.chunk.hash, hash_bytes(found.bytes));
            prop_assert_eq!(found.chunk.len as usize, found.bytes.len());
            seen.extend_from_slice(found.bytes);
        }
        prop_assert_eq!(&seen, &data);
    }
}

#[test]
fn more_than_the_buffer_gives_the_chunks_of_the_slice() {
    let data = noise(3, 5 << 20);
    assert_eq!(collect(Chunker::from_reader(&ORBIT_64K, data.as_slice())), chunks_of(&ORBIT_64K, &data));
}

#[test]
fn a_hole_is_not_read() {
    let data = noise(5, 10_000);
    let hole = ByteRange::new(10_000, 1 << 30).expect("small numbers");
    let source = Source::new(hole.end() + 1, |buffer: &mut [u8], offset| {
        assert!(!(hole.offset()..hole.end()).contains(&offset), "read at {offset}");
        if offset == hole.end() {
            buffer[0] = 7;
            return Ok(1);
        }
        read_at(&data)(buffer, offset)
    })
    .with_holes([hole]);
    let chunks = collect(Chunker::from_source(&ORBIT_64K, &source));
    assert_eq!(chunks.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>(), source.len());
}

#[test]
fn a_source_that_ends_early_is_noticed() {
    let data = noise(1, 9_000);
    let source = Source::new(9_001, read_at(&data));
    let error = Chunker::from_source(&TINY, &source).find_map(Result::err);
    assert!(matches!(error, Some(ChunkError::SourceChanged { expected: 9_001, found: 9_000 })), "{error:?}");
}

#[test]
fn a_source_that_grew_is_noticed() {
    let data = noise(1, 9_000);
    let source = Source::new(8_999, read_at(&data));
    let error = Chunker::from_source(&TINY, &source).find_map(Result::err);
    assert!(matches!(error, Some(ChunkError::SourceChanged { expected: 8_999, found: 9_000 })), "{error:?}");
}

#[test]
fn a_failed_read_says_where() {
    let source = Source::new(100, |_: &mut [u8], _| Err(io::ErrorKind::PermissionDenied.into()));
    let error = Chunker::from_source(&TINY, &source).find_map(Result::err);
    assert!(matches!(error, Some(ChunkError::Read { offset: 0, .. })), "{error:?}");
}

/// One byte put in at many places changes only the chunks around it.
#[test]
fn an_insert_changes_few_chunks() {
    let old = noise(9, 8 << 20);
    let before: std::collections::HashSet<Chunk> = chunks_of(&ORBIT_64K, &old).into_iter().collect();
    let mut changed = 0;
    for place in (0..old.len()).step_by(1 << 20) {
        let new = [&old[..place], b"!", &old[place..]].concat();
        changed += chunks_of(&ORBIT_64K, &new).iter().filter(|chunk| !before.contains(chunk)).count();
    }
    assert!(changed <= 8 * 2, "{changed} chunks changed by 8 inserts");
}
