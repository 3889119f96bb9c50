//! Every scanner against the reference, and the reference against the `fastcdc` crate.

use super::*;
use crate::gear::GEAR;
use crate::params::{ORBIT_64K, TINY};
use crate::test_data::{Kind as Data, any_data, noise};
use proptest::prelude::*;

/// The `fastcdc` crate's cut point for our table and masks.
fn cut_by_crate(params: &ChunkParams, data: &[u8]) -> usize {
    let shifted = GEAR.map(|entry| entry << 1);
    let (strict, relaxed) = (params.strict_mask(), params.relaxed_mask());
    let (min, average, max) = (params.min_len(), params.average_len(), params.max_len());
    fastcdc::v2020::cut_gear(
        data,
        min,
        average,
        max,
        strict,
        relaxed,
        strict << 1,
        relaxed << 1,
        &GEAR,
        &shifted,
    )
    .1
}

fn cuts(mut data: &[u8], cut: impl Fn(&[u8]) -> usize) -> Vec<usize> {
    let mut lens = Vec::new();
    while !data.is_empty() {
        let len = cut(data);
        lens.push(len);
        data = &data[len..];
    }
    lens
}

fn assert_all_agree(params: &ChunkParams, data: &[u8]) {
    let expected = cuts(data, |data| cut_by_crate(params, data));
    for scanner in Scanner::available() {
        assert_eq!(cuts(data, |data| scanner.cut(params, data)), expected, "{}", scanner.name());
    }
}

proptest! {
    #[test]
    fn tiny_chunks_agree_with_the_crate(data in any_data(20_000), skip in 0_usize..64) {
        assert_all_agree(&TINY, &data[skip.min(data.len())..]);
    }

    #[test]
    fn find_agrees_at_every_position_and_alignment(
        data in any_data(700),
        from in 64_usize..300,
        width in 0_usize..400,
        mask_bits in 0_u32..12,
    ) {
        prop_assume!(data.len() >= 64);
        let from = from.min(data.len());
        let to = (from + width).min(data.len());
        let mask = ((1_u64 << mask_bits) - 1) << 6;
        let expected = scalar::find(&data, from, to, mask);
        for scanner in Scanner::available() {
            prop_assert_eq!(scanner.find(&data, from, to, mask), expected, "{}", scanner.name());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn full_size_chunks_agree_with_the_crate(data in any_data(2_000_000), skip in 0_usize..64) {
        assert_all_agree(&ORBIT_64K, &data[skip.min(data.len())..]);
    }
}

#[test]
fn every_length_around_the_borders_agrees() {
    let data = noise(7, TINY.max_len() + 200);
    for border in [0, TINY.min_len(), TINY.min_len() + WINDOW, TINY.average_len(), TINY.max_len()] {
        for len in border.saturating_sub(70)..border + 140 {
            assert_all_agree(&TINY, &data[..len]);
        }
    }
}

/// Data in which nearly every position survives the vector filter, but no cut follows.
#[test]
fn data_made_to_pass_the_filter_agrees() {
    let mask = TINY.relaxed_mask() | ORBIT_64K.relaxed_mask();
    for (pattern, period) in [(1_u64, 2_usize), (2, 3), (3, 5), (4, 9)] {
        let mut letters = noise(pattern, 4096);
        // Keep the rotation of noise whose repetition survives the low mask most often.
        letters.truncate(4096 / period * period);
        let best = letters.chunks_exact(period).max_by_key(|letters| {
            let data: Vec<u8> = letters.iter().copied().cycle().take(256).collect();
            (64..256).filter(|&at| scalar::hash_at(&data, at) & mask & 0xFFC0 == 0).count()
        });
        let data: Vec<u8> = best.unwrap_or_default().iter().copied().cycle().take(300_000).collect();
        assert_all_agree(&TINY, &data);
        assert_all_agree(&ORBIT_64K, &data);
    }
}

#[test]
fn one_repeated_byte_cuts_only_at_the_maximum() {
    for byte in 0..=255 {
        let data = vec![byte; 3 * ORBIT_64K.max_len() + 1];
        let lens = cuts(&data, |data| Scanner::detect().cut(&ORBIT_64K, data));
        assert_eq!(lens, [ORBIT_64K.max_len(), ORBIT_64K.max_len(), ORBIT_64K.max_len(), 1]);
    }
}

/// Small alphabets starve a hash whose low bits depend on few bytes; ours must still cut near the average.
#[test]
fn small_alphabets_cut_near_the_average() {
    let alphabets: [&[u8]; 7] =
        [b"ACGT", b"acgt", b"01", b"\0\x01", b"\0\xFF", b"0123456789\n", b"0123456789abcdef"];
    for alphabet in alphabets {
        let data = Data::Letters(alphabet.to_vec()).generate(11, 8_000_000);
        let count = cuts(&data, |data| Scanner::detect().cut(&ORBIT_64K, data)).len();
        let average = data.len() / count;
        assert!((50_000..90_000).contains(&average), "{} gives {average}", alphabet.escape_ascii());
    }
}
