//! [`Squeeze`]: compresses what is sent where that saves time, and only there.

use std::time::{Duration, Instant};
use zstd::bulk::Compressor;

/// The fastest level: what a slower one saves is not worth its time on any link that data is worth sending over.
const LEVEL: i32 = 1;

/// A way faster than this, in nanoseconds a byte, is never worth compressing for.
const FAST_NS: f64 = 2.0;

/// After an attempt that did not pay, so many pieces go out as they are.
const PASSES: u32 = 15;

/// How much a new measurement counts.
const WEIGHT: f64 = 0.2;

/// Decides piece by piece, from how long writing took so far and what compressing brought.
pub(super) struct Squeeze {
    compressor: Option<Compressor<'static>>,
    packed: Vec<u8>,
    /// Nanoseconds that a byte takes on its way.
    wire_ns: f64,
    /// Pieces to let pass before the next attempt.
    passes: u32,
}

impl Squeeze {
    /// Knows nothing of the way yet.
    pub fn new() -> Self {
        Self { compressor: Compressor::new(LEVEL).ok(), packed: Vec::new(), wire_ns: 0.0, passes: 0 }
    }

    /// The compressed form, if sending it is quicker by so much that compressing is worth it.
    pub fn pack(&mut self, bytes: &[u8]) -> Option<&[u8]> {
        if self.wire_ns < FAST_NS {
            return None;
        }
        if self.passes > 0 {
            self.passes -= 1;
            return None;
        }
        let begun = Instant::now();
        self.packed.resize(zstd::zstd_safe::compress_bound(bytes.len()), 0);
        let len = self.compressor.as_mut()?.compress_to_buffer(bytes, &mut self.packed[..]).ok()?;
        if pays(bytes.len(), len, begun.elapsed(), self.wire_ns) {
            return Some(&self.packed[..len]);
        }
        self.passes = PASSES;
        None
    }

    /// So many bytes took so long to be taken.
    pub fn sent(&mut self, bytes: usize, took: Duration) {
        if bytes > 0 {
            let now = took.as_nanos() as f64 / bytes as f64;
            self.wire_ns += (now - self.wire_ns) * WEIGHT;
        }
    }
}

/// Whether compressing and sending less took, or will take, less time than sending all.
fn pays(bytes: usize, packed: usize, took: Duration, wire_ns: f64) -> bool {
    let saved = bytes.saturating_sub(packed) as f64 * wire_ns;
    packed < bytes && saved > took.as_nanos() as f64 * 1.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_way_is_left_alone_and_a_slow_one_is_not() {
        let zeros = vec![0; 1 << 20];
        let mut squeeze = Squeeze::new();
        assert!(squeeze.pack(&zeros).is_none(), "nothing is known yet");
        (0..20).for_each(|_| squeeze.sent(1 << 20, Duration::from_micros(300)));
        assert!(squeeze.pack(&zeros).is_none(), "3 GB/s");
        (0..20).for_each(|_| squeeze.sent(1 << 20, Duration::from_millis(100)));
        let packed = squeeze.pack(&zeros).expect("10 MB/s");
        assert_eq!(zstd::bulk::decompress(packed, 1 << 20).expect("reads"), zeros);
    }

    #[test]
    fn what_does_not_shrink_is_tried_seldom() {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(1 << 16)
        .collect();
        let mut squeeze = Squeeze::new();
        squeeze.sent(1 << 20, Duration::from_secs(1));
        assert!(squeeze.pack(&noise).is_none());
        assert_eq!(squeeze.passes, PASSES);
        assert!(squeeze.pack(&vec![0; 1 << 16]).is_none(), "it is not tried");
    }
}
