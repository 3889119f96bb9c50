//! [`ChunkParams`]: where chunks may end, as a named and numbered set.

use std::fmt;

/// The numeric name of a parameter set, for storage and for the wire. It never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamsId(u16);

impl ParamsId {
    /// Wraps a number read from storage or from a peer; whether the set is known is up to [`ChunkParams::by_id`].
    pub const fn from_number(number: u16) -> Self {
        Self(number)
    }

    /// The number to store.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for ParamsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of chunking parameters.
///
/// Two files can share chunks only if they were cut with the same set, and the set takes part in a file's
/// identity. A changed gear table, mask or size is therefore a new set with a new id, never an edit of an old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkParams {
    name: &'static str,
    version: u16,
    id: ParamsId,
    min_len: usize,
    average_len: usize,
    max_len: usize,
    strict_mask: u64,
    relaxed_mask: u64,
}

/// The set in use: chunks of 16 to 256 KiB, 64 KiB on average.
pub const ORBIT_64K: ChunkParams = ChunkParams::with_average("orbit-64k", 1, 1, 16);

/// A set that cuts every few hundred bytes, so that tests see many chunks in little data.
#[cfg(test)]
pub(crate) const TINY: ChunkParams = ChunkParams::with_average("tiny", 1, u16::MAX, 9);

/// Every set there is, for look-ups by id.
const KNOWN: &[ChunkParams] = &[
    ORBIT_64K,
    #[cfg(test)]
    TINY,
];

impl ChunkParams {
    /// FastCDC 2020 at normalisation level 2: the mask is two bits stricter before the average and two bits laxer
    /// after it, so that most lengths come out near the average. `average_bits` is its binary logarithm.
    const fn with_average(name: &'static str, version: u16, id: u16, average_bits: u32) -> Self {
        let average_len = 1 << average_bits;
        Self {
            name,
            version,
            id: ParamsId(id),
            min_len: average_len / 4,
            average_len,
            max_len: average_len * 4,
            strict_mask: mask(average_bits + 2),
            relaxed_mask: mask(average_bits - 2),
        }
    }

    /// The set with this id, if this version of Orbit knows it.
    pub fn by_id(id: ParamsId) -> Option<&'static Self> {
        KNOWN.iter().find(|params| params.id == id)
    }

    /// Its name for people, as in `orbit-64k`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Which edition of that name.
    pub const fn version(&self) -> u16 {
        self.version
    }

    /// Its number for storage: name and version in one.
    pub const fn id(&self) -> ParamsId {
        self.id
    }

    /// The least bytes in a chunk, except for the last of a file.
    pub const fn min_len(&self) -> usize {
        self.min_len
    }

    /// The bytes in a chunk that the masks aim at.
    pub const fn average_len(&self) -> usize {
        self.average_len
    }

    /// The most bytes in a chunk.
    pub const fn max_len(&self) -> usize {
        self.max_len
    }

    /// Hash bits that must all be zero for a cut before the average.
    pub(crate) const fn strict_mask(&self) -> u64 {
        self.strict_mask
    }

    /// Hash bits that must all be zero for a cut from the average on: a subset of the strict ones.
    pub(crate) const fn relaxed_mask(&self) -> u64 {
        self.relaxed_mask
    }
}

/// A mask of `bits` bits, each mask holding all bits of the smaller ones.
///
/// First come bits 15 to 6, which a vector unit can compute: enough to leave one position in 1024 for a closer look,
/// and none of the lowest six, which depend on too few bytes. Then come bits spread up to 62, so that the
/// decision depends on 63 bytes. Bit 63 stays out: the reference implementation loses it at even positions.
const fn mask(bits: u32) -> u64 {
    const ORDER: [u32; 18] = [15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 62, 56, 50, 44, 38, 32, 26, 20];
    let mut mask = 0;
    let mut index = 0;
    while index < bits {
        mask |= 1 << ORDER[index as usize];
        index += 1;
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_find_their_sets_and_are_unique() {
        for params in KNOWN {
            assert_eq!(ChunkParams::by_id(params.id()), Some(params));
        }
        assert_eq!(ChunkParams::by_id(ParamsId::from_number(0)), None);
    }

    #[test]
    fn the_set_in_use_is_frozen() {
        let params = ORBIT_64K;
        assert_eq!((params.name(), params.version(), params.id().number()), ("orbit-64k", 1, 1));
        assert_eq!((params.min_len(), params.average_len(), params.max_len()), (16_384, 65_536, 262_144));
        assert_eq!(params.strict_mask(), 0x4104_1041_0410_FFC0);
        assert_eq!(params.relaxed_mask(), 0x4104_1000_0000_FFC0);
    }
}
