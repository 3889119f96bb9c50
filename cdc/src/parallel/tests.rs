//! Several threads against one.

use super::*;
use crate::params::{ORBIT_64K, TINY};
use crate::test_data::{any_data, chunks_of, noise, read_at, zero_ranges};
use orbit_core::ByteRange;
use proptest::prelude::*;

type Chunks = Result<Vec<Chunk>, ChunkError>;

fn chunk_with<F>(source: &Source<F>, threads: usize, segment_len: u64) -> Chunks
where
    F: Fn(&mut [u8], u64) -> io::Result<usize> + Sync,
{
    let mut chunks = Vec::new();
    let threads = NonZeroUsize::new(threads).expect("at least one");
    let flow = chunk_segments(&TINY, source, threads, segment_len, |chunk| {
        chunks.push(chunk);
        ControlFlow::<()>::Continue(())
    });
    flow.map(|_| chunks)
}

proptest! {
    #[test]
    fn threads_find_the_chunks_of_one(
        data in any_data(60_000),
        threads in 1_usize..5,
        segment_len in 1_u64..20_000,
        shortest_hole in 500_usize..9_000,
    ) {
        let expected = chunks_of(&TINY, &data);
        let source = Source::new(data.len() as u64, read_at(&data));
        prop_assert_eq!(chunk_with(&source, threads, segment_len).expect("memory can be read"), &expected[..]);
        let source = source.with_holes(zero_ranges(&data, shortest_hole));
        prop_assert_eq!(chunk_with(&source, threads, segment_len).expect("memory can be read"), expected);
    }

    #[test]
    fn a_wrong_length_is_noticed(len in 1_usize..30_000, stated in 0_u64..30_000, segment_len in 500_u64..20_000) {
        let data = noise(2, len);
        let source = Source::new(stated, read_at(&data));
        let result = chunk_with(&source, 3, segment_len);
        if stated == len as u64 {
            prop_assert!(result.is_ok());
        } else {
            let found = (len as u64).min(stated + 1);
            let error = result.expect_err("the length is wrong");
            prop_assert!(
                matches!(error, ChunkError::SourceChanged { expected, found: at } if expected == stated && at == found),
                "{error:?}"
            );
        }
    }
}

#[test]
fn delivery_can_be_stopped() {
    let data = noise(4, 100_000);
    let source = Source::new(100_000, read_at(&data));
    let mut left = 5;
    let flow = chunk_segments(&TINY, &source, NonZeroUsize::MIN.saturating_add(2), 9_000, |chunk| {
        left -= 1;
        if left == 0 { ControlFlow::Break(chunk) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(flow.expect("memory can be read"), ControlFlow::Break(chunks_of(&TINY, &data)[4]));
}

#[test]
fn a_panic_in_a_reader_reaches_the_caller() {
    let source = Source::new(100_000, |_: &mut [u8], _| panic!("out of order"));
    let caught = std::panic::catch_unwind(|| chunk_with(&source, 3, 9_000));
    assert!(caught.is_err());
}

#[test]
fn a_sparse_tebibyte_is_chunked_without_reading() {
    let data = noise(6, 100_001);
    let hole = ByteRange::new(100_001, 1 << 40).expect("small numbers");
    let source = Source::new(hole.end(), |buffer: &mut [u8], offset| {
        assert!(offset < hole.offset() || offset == hole.end(), "read at {offset}");
        read_at(&data)(buffer, offset)
    })
    .with_holes([hole]);
    let mut total = 0;
    let flow = chunk_source(&ORBIT_64K, &source, NonZeroUsize::MIN.saturating_add(1), |chunk| {
        total += u64::from(chunk.len);
        ControlFlow::<()>::Continue(())
    });
    assert!(flow.is_ok());
    assert_eq!(total, source.len());
}
