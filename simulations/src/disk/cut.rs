//! What a power cut leaves of operations that were not flushed.

use super::state::{Inode, Op, State};
use super::{Inner, Written};
use crate::random::Random;
use std::collections::BTreeMap;

/// What becomes of a file's unflushed bytes. Names and bytes go their own ways: that is the trap.
#[derive(Clone, Copy)]
enum Fate {
    Whole,
    Nothing,
    /// So many of its writes.
    Some(usize),
    /// The length arrived, the bytes did not.
    Zeros,
}

impl Inner {
    /// The disk as it might be found if the power failed now. Half of the cuts keep the order of changes of names and
    /// attributes, as a journal does; the others keep any of them.
    pub(super) fn after_cut(&self, random: &Random) -> State {
        let mut state = self.durable.clone();
        let keeps_order = random.one_in(2);
        let journal_len = random.below(self.pending.len() + 1);
        let mut fates: BTreeMap<Inode, (Fate, usize)> = BTreeMap::new();
        for (at, Written { op, time }) in self.pending.iter().enumerate() {
            if let Some(inode) = op.data_of() {
                let (fate, writes) = fates.entry(inode).or_insert_with(|| (draw_fate(random), 0));
                *writes += 1;
                match fate {
                    Fate::Whole => state.apply(op, *time),
                    Fate::Some(kept) if *writes <= *kept => state.apply(op, *time),
                    Fate::Nothing | Fate::Some(_) => {}
                    Fate::Zeros => state.apply(&zeroed(op), *time),
                }
                continue;
            }
            let survives = if keeps_order { at < journal_len } else { random.one_in(2) };
            // An inode may be on the disk though its name is not.
            match op {
                Op::Make(_, inode, node) if !survives => {
                    state.nodes.insert(*inode, node.clone());
                }
                op if survives => state.apply(op, *time),
                _ => {}
            }
        }
        state.collect();
        state
    }
}

fn draw_fate(random: &Random) -> Fate {
    match random.below(4) {
        0 => Fate::Whole,
        1 => Fate::Nothing,
        2 => Fate::Zeros,
        _ => Fate::Some(random.below(4)),
    }
}

fn zeroed(op: &Op) -> Op {
    match op {
        Op::Write(inode, offset, bytes) => Op::Write(*inode, *offset, vec![0; bytes.len()]),
        op => op.clone(),
    }
}
