//! The gear table: what each byte adds to the rolling hash.
//!
//! The hash at a position is the sum, over the last 64 bytes, of `GEAR[byte] << age`. Two properties of the
//! table make it quick to search and are frozen, because every stored manifest depends on them:
//!
//! - The **low 16 bits** of an entry are an affine map over GF(2) of the byte (a matrix and a constant), so that a
//!   vector unit computes them for many bytes at once without a table ([`crate::scan`]).
//! - The **other 48 bits** are noise from a fixed generator.

/// How many bytes the hash looks back: older ones have been shifted out of its 64 bits.
pub(crate) const WINDOW: usize = 64;

/// The image of each bit of a byte under the linear half of the map.
///
/// Drawn at random until both bytes were permutations of the 256 bytes and no run of one repeated byte meets a
/// cut mask. An alphabet of two letters moves bit 6 of the hash, the lowest a mask looks at, unless its
/// letters differ by exactly `0xF7`; so text, DNA, digits and bitmaps cut like noise.
const COLUMNS: [u16; 8] = [0x15D3, 0xDEE5, 0xD981, 0x6067, 0xF0D4, 0x53CC, 0xE9DC, 0xB8F3];

/// The constant half of the map: the low 16 bits of byte 0. It is odd, so that a run of zeros never meets a mask.
pub(crate) const CONSTANT: u16 = 0xAEA5;

/// The table.
pub(crate) static GEAR: [u64; 256] = table();

/// The linear half of the low 16 bits of `GEAR[byte]`.
pub(crate) const fn linear(byte: u8) -> u16 {
    let mut sum = 0;
    let mut bit = 0;
    while bit < 8 {
        if byte >> bit & 1 == 1 {
            sum ^= COLUMNS[bit];
        }
        bit += 1;
    }
    sum
}

/// The low 16 bits of `GEAR[byte]`.
pub(crate) const fn affine(byte: u8) -> u16 {
    linear(byte) ^ CONSTANT
}

const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (noise(byte as u64) & !0xFFFF) | affine(byte as u8) as u64;
        byte += 1;
    }
    table
}

/// The `index`-th output of the SplitMix64 generator (Steele, Lea and Flood, OOPSLA 2014) from seed 0.
const fn noise(index: u64) -> u64 {
    let mut mixed = (index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::ORBIT_64K;
    use std::collections::HashSet;

    #[test]
    fn the_table_is_frozen() {
        let bytes: Vec<u8> = GEAR.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        let hash = crate::hash_bytes(&bytes).to_string();
        assert_eq!(hash, "8bbf4360d0eb6e75e0282dba31a1b6ba68a449c07e007c9c347661dee87449eb");
    }

    #[test]
    fn both_low_bytes_are_permutations() {
        assert_eq!(GEAR.iter().map(|entry| *entry as u8).collect::<HashSet<_>>().len(), 256);
        assert_eq!(GEAR.iter().map(|entry| (*entry >> 8) as u8).collect::<HashSet<_>>().len(), 256);
    }

    #[test]
    fn no_run_of_one_byte_meets_a_mask() {
        for entry in GEAR {
            let mut hash = 0_u64;
            for _ in 0..2 * WINDOW {
                hash = (hash << 1).wrapping_add(entry);
                assert_ne!(hash & ORBIT_64K.relaxed_mask(), 0);
            }
        }
    }

    #[test]
    fn alphabets_of_two_letters_move_the_lowest_mask_bit() {
        let stuck: Vec<u8> =
            (1..=255).filter(|difference| linear(*difference).trailing_zeros() > 6).collect();
        assert_eq!(stuck, [0xF7]);
    }
}
