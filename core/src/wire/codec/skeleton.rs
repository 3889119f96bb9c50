//! The skeleton of CBOR (RFC 8949 section 3): heads and lengths, without what they mean.

use super::WireError;

/// Deepest nesting: three times that of the deepest message.
const DEPTH_MAX: usize = 32;
/// Most items of one message, strings counted as one. What is long (listings, chunks, bytes of files) travels as byte
/// strings, so this bounds the memory that many empty items would take once decoded.
const ITEMS_MAX: u32 = 65_536;

/// Major types, the first three bits of an item's head.
mod major {
    pub(super) const UNSIGNED: u8 = 0;
    pub(super) const NEGATIVE: u8 = 1;
    pub(super) const BYTES: u8 = 2;
    pub(super) const TEXT: u8 = 3;
    pub(super) const ARRAY: u8 = 4;
    pub(super) const MAP: u8 = 5;
    pub(super) const SIMPLE: u8 = 7;
}

/// Whether `bytes` are one item that claims no more than it holds.
pub(super) fn check(bytes: &[u8]) -> Result<(), WireError> {
    let mut rest = bytes;
    // Items that are still wanted at each level.
    let mut wanted = [0_u64; DEPTH_MAX];
    let mut depth = 0;
    let mut passed = 0;
    loop {
        passed += 1;
        if passed > ITEMS_MAX {
            return Err(WireError::TooMany { max: ITEMS_MAX });
        }
        let items = item(&mut rest)?;
        if items > 0 {
            *wanted.get_mut(depth).ok_or(WireError::TooDeep { max: DEPTH_MAX })? = items;
            depth += 1;
            continue;
        }
        while depth > 0 && wanted[depth - 1] == 1 {
            depth -= 1;
        }
        match depth {
            0 if rest.is_empty() => return Ok(()),
            0 => return Err(WireError::Trailing { count: rest.len() }),
            _ => wanted[depth - 1] -= 1,
        }
    }
}

/// Passes an item's head, and its bytes if it is a string. Says how many items it holds.
fn item(rest: &mut &[u8]) -> Result<u64, WireError> {
    let head = *rest.split_off_first().ok_or(WireError::CutOff)?;
    let (kind, small) = (head >> 5, head & 0x1f);
    let argument = match small {
        0..24 => u64::from(small),
        24 => big_endian::<1>(rest)?,
        25 => big_endian::<2>(rest)?,
        26 => big_endian::<4>(rest)?,
        27 => big_endian::<8>(rest)?,
        // Lengths that are left open, and codes that nobody has given a meaning.
        _ => return Err(WireError::Item { byte: head }),
    };
    let items = match kind {
        major::UNSIGNED | major::NEGATIVE => 0,
        major::BYTES | major::TEXT => {
            let len = usize::try_from(argument).map_err(|_| WireError::CutOff)?;
            rest.split_off(..len).ok_or(WireError::CutOff)?;
            0
        }
        major::ARRAY => argument,
        major::MAP => argument.checked_mul(2).ok_or(WireError::CutOff)?,
        // False, true, null, and floating-point numbers.
        major::SIMPLE if matches!(small, 20..=22 | 26 | 27) => 0,
        _ => return Err(WireError::Item { byte: head }),
    };
    // Every item has a byte at least.
    if items > rest.len() as u64 { Err(WireError::CutOff) } else { Ok(items) }
}

fn big_endian<const N: usize>(rest: &mut &[u8]) -> Result<u64, WireError> {
    let bytes = rest.split_off(..N).ok_or(WireError::CutOff)?;
    Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{decode, encode};
    use proptest::prelude::*;

    fn nested(depth: usize) -> Vec<u8> {
        let mut bytes = vec![0x81; depth];
        bytes.push(0);
        bytes
    }

    #[test]
    fn many_items_are_refused_before_any_is_made() {
        let mut bytes = vec![0x9a, 0x00, 0x10, 0x00, 0x00];
        bytes.resize(5 + (1 << 20), 0x60);
        assert!(matches!(check(&bytes), Err(WireError::TooMany { .. })));
        assert!(matches!(decode::<Vec<String>>(&bytes), Err(WireError::TooMany { .. })));
    }

    #[test]
    fn depth_is_bounded() {
        assert!(check(&nested(DEPTH_MAX)).is_ok());
        assert!(matches!(check(&nested(DEPTH_MAX + 1)), Err(WireError::TooDeep { max: DEPTH_MAX })));
        assert!(matches!(check(&nested(1 << 20)), Err(WireError::TooDeep { .. })));
    }

    #[test]
    fn nothing_claims_more_than_there_is() {
        for head in [0x5b, 0x7b, 0x9b, 0xbb] {
            let mut bytes = vec![head];
            bytes.extend_from_slice(&(1_u64 << 60).to_be_bytes());
            bytes.extend_from_slice(&[0; 16]);
            assert!(matches!(check(&bytes), Err(WireError::CutOff)), "{head:#x}");
            bytes[1..9].copy_from_slice(&u64::MAX.to_be_bytes());
            assert!(matches!(check(&bytes), Err(WireError::CutOff)), "{head:#x}");
        }
        assert!(matches!(check(&[0x82, 0]), Err(WireError::CutOff)));
        assert!(matches!(check(&[]), Err(WireError::CutOff)));
        assert!(matches!(check(&[0, 0, 0]), Err(WireError::Trailing { count: 2 })));
    }

    #[test]
    fn what_no_message_holds_is_refused() {
        // Open array, open string, tag, break, undefined, half-precision float, reserved.
        for (at, bytes) in
            [&[0x9f, 0xff][..], &[0x5f, 0xff], &[0xc1, 0], &[0xff], &[0xf7], &[0xf9, 0, 0], &[0x1c]]
                .iter()
                .enumerate()
        {
            assert!(matches!(check(bytes), Err(WireError::Item { .. })), "number {at}");
        }
    }

    type Anything = (Vec<(u64, i64, Option<String>)>, std::collections::BTreeMap<String, Vec<bool>>, f64);

    proptest! {
        #[test]
        fn whatever_is_encoded_passes(
            list in prop::collection::vec((any::<u64>(), any::<i64>(), any::<Option<String>>()), 0..40),
            map in prop::collection::btree_map(".{0,3}", prop::collection::vec(any::<bool>(), 0..3), 0..30),
            float: f64,
        ) {
            let value = (list, map, float);
            let bytes = encode(&value);
            prop_assert!(check(&bytes).is_ok());
            let back: Anything = decode(&bytes).expect("it was encoded");
            prop_assert_eq!(back, value);
            for cut in 0..bytes.len() {
                prop_assert!(matches!(check(&bytes[..cut]), Err(WireError::CutOff)));
            }
        }

        #[test]
        fn any_bytes_are_judged(bytes: Vec<u8>) {
            let _ = check(&bytes);
        }
    }
}
