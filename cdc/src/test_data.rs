//! Data for tests: noise, runs, repetitions, and small alphabets, in any length and with a seed.

use crate::{ChunkParams, Scanner, hash_bytes};
use orbit_core::{ByteRange, Chunk};
use proptest::prelude::*;

/// A kind of data.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Noise,
    Zeros,
    Letters(Vec<u8>),
    Repeated(Vec<u8>),
    /// Stretches of noise with stretches of zeros between them.
    Holed,
}

impl Kind {
    pub(crate) fn generate(&self, seed: u64, len: usize) -> Vec<u8> {
        match self {
            Self::Noise => noise(seed, len),
            Self::Zeros => vec![0; len],
            Self::Letters(letters) => {
                noise(seed, len).iter().map(|byte| letters[usize::from(*byte) % letters.len()]).collect()
            }
            Self::Repeated(period) => period.iter().copied().cycle().take(len).collect(),
            Self::Holed => {
                let mut data = noise(seed, len);
                for stretch in data.chunks_mut(5_000 + (seed % 3_000) as usize).skip(1).step_by(2) {
                    stretch.fill(0);
                }
                data
            }
        }
    }
}

/// `len` bytes that depend only on the seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x2545_F491_4F6C_DD1D) | 1;
    let mut data: Vec<u8> = Vec::with_capacity(len + 8);
    while data.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend_from_slice(&state.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    }
    data.truncate(len);
    data
}

/// Data of every kind, up to `max_len` bytes.
pub(crate) fn any_data(max_len: usize) -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![
        3 => Just(Kind::Noise),
        1 => Just(Kind::Zeros),
        2 => proptest::collection::vec(any::<u8>(), 1..5).prop_map(Kind::Letters),
        2 => proptest::collection::vec(any::<u8>(), 1..70).prop_map(Kind::Repeated),
        2 => Just(Kind::Holed),
    ];
    (kind, any::<u64>(), 0..=max_len).prop_map(|(kind, seed, len)| kind.generate(seed, len))
}

/// The chunks of a slice by the reference scanner.
pub(crate) fn chunks_of(params: &ChunkParams, mut data: &[u8]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    while !data.is_empty() {
        let (bytes, rest) = data.split_at(Scanner::SCALAR.cut(params, data));
        chunks.push(Chunk { hash: hash_bytes(bytes), len: bytes.len() as u32 });
        data = rest;
    }
    chunks
}

/// Reads a slice like a file.
pub(crate) fn read_at(data: &[u8]) -> impl Fn(&mut [u8], u64) -> std::io::Result<usize> + Sync {
    move |buffer, offset| {
        let rest = data.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

/// The runs of at least `shortest` zeros.
pub(crate) fn zero_ranges(data: &[u8], shortest: usize) -> Vec<ByteRange> {
    let mut offset = 0;
    let mut ranges = Vec::new();
    for run in data.chunk_by(|left, right| (*left == 0) == (*right == 0)) {
        if run[0] == 0 && run.len() >= shortest {
            ranges.extend(ByteRange::new(offset, run.len() as u64));
        }
        offset += run.len() as u64;
    }
    ranges
}
