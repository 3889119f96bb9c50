//! Numbers of one to ten bytes, and signed ones folded so that small ones stay short.

/// Appends a LEB128 varint.
pub(in crate::wire) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a varint; none if it is cut off or does not fit in 64 bits.
pub(in crate::wire) fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first()?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// 0, -1, 1, -2 … as 0, 1, 2, 3 …
pub(super) const fn fold(value: i64) -> u64 {
    (value as u64) << 1 ^ (value >> 63) as u64
}

/// Undoes [`fold`].
pub(super) const fn unfold(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: u64, signed: i64) {
            for value in [value, value >> 40, value >> 57, u64::MAX, 0] {
                let mut out = Vec::new();
                put(&mut out, value);
                let mut rest = &out[..];
                prop_assert_eq!(take(&mut rest), Some(value));
                prop_assert!(rest.is_empty());
                prop_assert_eq!(take(&mut &out[..out.len() - 1]), None);
            }
            prop_assert_eq!(unfold(fold(signed)), signed);
        }

        #[test]
        fn any_bytes_are_judged(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xff)], 0..12)) {
            let _ = take(&mut &bytes[..]);
        }
    }

    #[test]
    fn small_ones_are_short() {
        assert_eq!([0, -1, 1, -2].map(fold), [0, 1, 2, 3]);
        assert_eq!((fold(i64::MIN), fold(i64::MAX)), (u64::MAX, u64::MAX - 1));
        assert_eq!(take(&mut &[0xff; 11][..]), None);
    }
}
