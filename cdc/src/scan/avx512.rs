//! The scanner for AVX-512 with GFNI: 64 positions at a time.
#![allow(unsafe_code, reason = "vector instructions need the processor's consent, which `Supported` proves")]

use super::confirm;
use crate::gear::{CONSTANT, WINDOW, linear};
use crate::scalar;
#[allow(clippy::wildcard_imports, reason = "the intrinsics carry their own prefix")]
use std::arch::x86_64::*;

/// Positions in one step.
const WIDTH: usize = 64;

/// Proof that this processor has the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Supported(());

impl Supported {
    pub(super) fn detect() -> Option<Self> {
        let supported = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("gfni");
        supported.then_some(Self(()))
    }
}

/// As [`scalar::find`].
pub(super) fn find(_: Supported, data: &[u8], from: usize, to: usize, mask: u64) -> Option<usize> {
    // SAFETY: a `Supported` exists only where `detect` found every feature this function enables.
    unsafe { find_vector(data, from, to, mask) }
}

#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn find_vector(data: &[u8], from: usize, to: usize, mask: u64) -> Option<usize> {
    let low_mask = _mm512_set1_epi16(mask as i16);
    let mut sums = Sums::default();
    let mut start = from;
    if from + WIDTH <= to {
        sums.step(load(data, from - WINDOW));
    }
    while start + WIDTH <= to {
        let (even, odd) = sums.step(load(data, start));
        let even = _mm512_testn_epi16_mask(even, low_mask);
        let odd = _mm512_testn_epi16_mask(odd, low_mask);
        if even | odd != 0 {
            let cut = confirm(data, start, WIDTH, interleave(even, odd), mask);
            if cut.is_some() {
                return cut;
            }
        }
        start += WIDTH;
    }
    scalar::find(data, start, to, mask)
}

/// What one step hands to the next: the odd half of each doubling.
///
/// Sixty-four positions are two vectors of 16-bit sums. The instruction that widens bytes works within groups of
/// sixteen, so the *even* vector holds the first eight positions of each group and the *odd* one the last eight. The
/// eight positions before an odd half are then the even half beside it, and those before an even half
/// are the odd half one group earlier.
struct Sums([__m512i; 4]);

impl Default for Sums {
    fn default() -> Self {
        // SAFETY: a vector of integers is valid when all its bits are zero.
        Self(unsafe { std::mem::zeroed() })
    }
}

impl Sums {
    /// The low 16 bits of the hash at each of the next 64 positions: the even half and the odd half.
    #[target_feature(enable = "avx512f,avx512bw,gfni")]
    #[inline]
    fn step(&mut self, bytes: __m512i) -> (__m512i, __m512i) {
        const LOW: i64 = matrix(0);
        const HIGH: i64 = matrix(8);
        let low = _mm512_gf2p8affine_epi64_epi8::<{ CONSTANT as u8 as i32 }>(bytes, _mm512_set1_epi64(LOW));
        let high =
            _mm512_gf2p8affine_epi64_epi8::<{ (CONSTANT >> 8) as i32 }>(bytes, _mm512_set1_epi64(HIGH));
        let even = _mm512_unpacklo_epi8(low, high);
        let odd = _mm512_unpackhi_epi8(low, high);
        let (even, odd) = double::<14, 1>(even, odd, &mut self.0[0]);
        let (even, odd) = double::<12, 2>(even, odd, &mut self.0[1]);
        let (even, odd) = double::<8, 4>(even, odd, &mut self.0[2]);
        double::<0, 8>(even, odd, &mut self.0[3])
    }
}

/// Adds to each sum the one `SHIFT` positions earlier, shifted left by as many bits. `BYTES` is `16 - 2 * SHIFT`.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn double<const BYTES: i32, const SHIFT: u32>(
    even: __m512i,
    odd: __m512i,
    carry: &mut __m512i,
) -> (__m512i, __m512i) {
    let before = _mm512_alignr_epi64::<6>(odd, *carry);
    *carry = odd;
    let even_earlier = _mm512_alignr_epi8::<BYTES>(even, before);
    let odd_earlier = _mm512_alignr_epi8::<BYTES>(odd, even);
    (
        _mm512_add_epi16(even, _mm512_slli_epi16::<SHIFT>(even_earlier)),
        _mm512_add_epi16(odd, _mm512_slli_epi16::<SHIFT>(odd_earlier)),
    )
}

/// The matrix of `gf2p8affineqb` for the eight bits of the affine map from bit `first`: the row of the lowest bit is
/// the highest byte.
const fn matrix(first: u32) -> i64 {
    let mut rows = 0_u64;
    let mut input = 0;
    while input < 8 {
        let image = linear(1 << input) >> first;
        let mut output = 0;
        while output < 8 {
            rows |= ((image >> output & 1) as u64) << ((7 - output) * 8 + input);
            output += 1;
        }
        input += 1;
    }
    rows as i64
}

/// One bit a position, in order, from the bits of the even and odd halves.
fn interleave(even: u32, odd: u32) -> u64 {
    let (even, odd) = (even.to_le_bytes(), odd.to_le_bytes());
    u64::from_le_bytes([even[0], odd[0], even[1], odd[1], even[2], odd[2], even[3], odd[3]])
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(data: &[u8], start: usize) -> __m512i {
    let bytes: &[u8] = &data[start..start + WIDTH];
    // SAFETY: the slice holds the 64 bytes that are read, and this load needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}
