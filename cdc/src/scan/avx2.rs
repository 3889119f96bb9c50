//! The scanner for AVX2: 32 positions at a time.
#![allow(unsafe_code, reason = "vector instructions need the processor's consent, which `Supported` proves")]

use super::confirm;
use crate::gear::{affine, linear};
use crate::scalar;
#[allow(clippy::wildcard_imports, reason = "the intrinsics carry their own prefix")]
use std::arch::x86_64::*;

/// Positions in one step.
const WIDTH: usize = 32;

/// Proof that this processor has the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Supported(());

impl Supported {
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }
}

/// As [`scalar::find`].
pub(super) fn find(_: Supported, data: &[u8], from: usize, to: usize, mask: u64) -> Option<usize> {
    // SAFETY: a `Supported` exists only where `detect` found the feature this function enables.
    unsafe { find_vector(data, from, to, mask) }
}

#[target_feature(enable = "avx2")]
fn find_vector(data: &[u8], from: usize, to: usize, mask: u64) -> Option<usize> {
    let low_mask = _mm256_set1_epi16(mask as i16);
    let zero = _mm256_setzero_si256();
    let tables = Tables::new();
    let mut sums = [zero; 4];
    let mut start = from;
    if from + WIDTH <= to {
        step(&tables, &mut sums, load(data, from - WIDTH));
    }
    while start + WIDTH <= to {
        let (even, odd) = step(&tables, &mut sums, load(data, start));
        let even = _mm256_cmpeq_epi16(_mm256_and_si256(even, low_mask), zero);
        let odd = _mm256_cmpeq_epi16(_mm256_and_si256(odd, low_mask), zero);
        // Packing works within groups of sixteen, as widening does, and so restores the order.
        let survivors = _mm256_movemask_epi8(_mm256_packs_epi16(even, odd)).cast_unsigned();
        if survivors != 0 {
            let cut = confirm(data, start, WIDTH, u64::from(survivors), mask);
            if cut.is_some() {
                return cut;
            }
        }
        start += WIDTH;
    }
    scalar::find(data, start, to, mask)
}

/// The affine map as look-ups by half byte, which a shuffle does for 32 bytes at once.
struct Tables {
    low_by_low: __m256i,
    low_by_high: __m256i,
    high_by_low: __m256i,
    high_by_high: __m256i,
}

impl Tables {
    #[target_feature(enable = "avx2")]
    #[inline]
    fn new() -> Self {
        const BY_LOW: ([u8; 32], [u8; 32]) = by_half(0);
        const BY_HIGH: ([u8; 32], [u8; 32]) = by_half(4);
        Self {
            low_by_low: load(&BY_LOW.0, 0),
            low_by_high: load(&BY_HIGH.0, 0),
            high_by_low: load(&BY_LOW.1, 0),
            high_by_high: load(&BY_HIGH.1, 0),
        }
    }
}

/// The low and the high byte of the map for each half byte shifted by `shift`, twice over. The constant is
/// part of the tables for the low half.
const fn by_half(shift: u32) -> ([u8; 32], [u8; 32]) {
    let (mut low, mut high) = ([0; 32], [0; 32]);
    let mut index = 0;
    while index < 32 {
        let half = (index as u8 & 15) << shift;
        let [low_byte, high_byte] = if shift == 0 { affine(half) } else { linear(half) }.to_le_bytes();
        low[index] = low_byte;
        high[index] = high_byte;
        index += 1;
    }
    (low, high)
}

/// The low 16 bits of the hash at each of the next 32 positions: the even half and the odd half of each group of
/// sixteen (see the module for AVX-512, whose layout this shares). `sums` is what one step hands to the next.
#[target_feature(enable = "avx2")]
#[inline]
fn step(tables: &Tables, sums: &mut [__m256i; 4], bytes: __m256i) -> (__m256i, __m256i) {
    let half = _mm256_set1_epi8(15);
    let by_low = _mm256_and_si256(bytes, half);
    let by_high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), half);
    let low = _mm256_xor_si256(
        _mm256_shuffle_epi8(tables.low_by_low, by_low),
        _mm256_shuffle_epi8(tables.low_by_high, by_high),
    );
    let high = _mm256_xor_si256(
        _mm256_shuffle_epi8(tables.high_by_low, by_low),
        _mm256_shuffle_epi8(tables.high_by_high, by_high),
    );
    let even = _mm256_unpacklo_epi8(low, high);
    let odd = _mm256_unpackhi_epi8(low, high);
    let (even, odd) = double::<14, 1>(even, odd, &mut sums[0]);
    let (even, odd) = double::<12, 2>(even, odd, &mut sums[1]);
    let (even, odd) = double::<8, 4>(even, odd, &mut sums[2]);
    double::<0, 8>(even, odd, &mut sums[3])
}

/// Adds to each sum the one `SHIFT` positions earlier, shifted left by as many bits. `BYTES` is `16 - 2 * SHIFT`.
#[target_feature(enable = "avx2")]
#[inline]
fn double<const BYTES: i32, const SHIFT: i32>(
    even: __m256i,
    odd: __m256i,
    carry: &mut __m256i,
) -> (__m256i, __m256i) {
    let before = _mm256_permute2x128_si256::<0x21>(*carry, odd);
    *carry = odd;
    let even_earlier = _mm256_alignr_epi8::<BYTES>(even, before);
    let odd_earlier = _mm256_alignr_epi8::<BYTES>(odd, even);
    (
        _mm256_add_epi16(even, _mm256_slli_epi16::<SHIFT>(even_earlier)),
        _mm256_add_epi16(odd, _mm256_slli_epi16::<SHIFT>(odd_earlier)),
    )
}

#[target_feature(enable = "avx2")]
#[inline]
fn load(data: &[u8], start: usize) -> __m256i {
    let bytes: &[u8] = &data[start..start + WIDTH];
    // SAFETY: the slice holds the 32 bytes that are read, and this load needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}
