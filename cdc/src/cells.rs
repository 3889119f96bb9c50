//! [`differing_cells`]: which cells of two buffers differ, for patching a clone in place.

use std::ops::Range;

/// The ranges of `new` that must be written over `old` to make it `new`, in steps of `cell` bytes; touching ones are
/// merged. Bytes of `new` past the end of `old` differ. Both begin at the same offset of their files.
///
/// Comparing runs at the speed of memory.
///
/// # Panics
/// If `cell` is 0.
pub fn differing_cells(old: &[u8], new: &[u8], cell: usize) -> impl Iterator<Item = Range<usize>> {
    assert!(cell > 0, "cells hold at least one byte");
    let differs = move |start: usize| {
        let end = new.len().min(start + cell);
        old.get(start..end) != Some(&new[start..end])
    };
    let mut next = 0;
    std::iter::from_fn(move || {
        let start = (next..new.len()).step_by(cell).find(|start| differs(*start))?;
        let end = (start + cell..new.len()).step_by(cell).find(|start| !differs(*start));
        let end = end.unwrap_or(new.len());
        next = end + cell;
        Some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn touching_cells_are_one_range() {
        let old = [0; 20];
        let mut new = [0; 22];
        new[4] = 1;
        new[9] = 1;
        new[17] = 1;
        assert_eq!(differing_cells(&old, &new, 4).collect::<Vec<_>>(), [4..12, 16..22]);
    }

    #[test]
    fn equal_or_empty_buffers_have_none() {
        assert_eq!(differing_cells(&[1; 9], &[1; 9], 4).count(), 0);
        assert_eq!(differing_cells(&[1; 9], &[], 4).count(), 0);
        assert_eq!(differing_cells(&[1; 9], &[1; 5], 4).count(), 0);
    }

    proptest! {
        #[test]
        fn writing_the_ranges_makes_the_new_from_the_old(
            old in proptest::collection::vec(0_u8..2, 0..200),
            flips in proptest::collection::vec(0_usize..200, 0..6),
            len in 0_usize..200,
            cell in 1_usize..20,
        ) {
            let mut new = old.clone();
            new.resize(len, 1);
            for flip in flips {
                if let Some(byte) = new.get_mut(flip) {
                    *byte ^= 1;
                }
            }
            let mut patched = old.clone();
            patched.resize(len, 7);
            let mut last_end = None;
            for range in differing_cells(&old, &new, cell) {
                prop_assert!(range.start % cell == 0 && range.start < range.end);
                prop_assert!(last_end.is_none_or(|end| range.start > end));
                let cells: Vec<_> = range.clone().step_by(cell).collect();
                for start in cells {
                    let end = new.len().min(start + cell);
                    prop_assert!(old.get(start..end) != Some(&new[start..end]));
                }
                last_end = Some(range.end);
                patched[range.clone()].copy_from_slice(&new[range]);
            }
            prop_assert_eq!(patched, new);
        }
    }
}
