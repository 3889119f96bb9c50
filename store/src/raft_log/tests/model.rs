//! Random operations against a model, with failures in the middle of them and with the power going.

use super::{FakeDisk, State, at, entry, open, vote};
use crate::raft_log::RaftLog;
use proptest::prelude::*;
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Op {
    Append {
        lens: Vec<usize>,
        term_step: u64,
    },
    /// From so many entries before the end.
    Truncate(u64),
    /// Up to so many entries behind the first; beyond the last one it is a snapshot that is ahead.
    Purge {
        ahead: u64,
        term_step: u64,
    },
    Vote(u64),
    Reopen,
    Crash(u64),
    /// Lets the next operation fail at its n-th change of the disk; then the power goes, or not.
    Fail {
        after: u32,
        crash: Option<u64>,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (proptest::collection::vec(0_usize..70, 1..7), 0_u64..2)
            .prop_map(|(lens, term_step)| Op::Append { lens, term_step }),
        2 => (0_u64..9).prop_map(Op::Truncate),
        2 => (0_u64..12, 0_u64..5).prop_map(|(ahead, step)| Op::Purge { ahead, term_step: u64::from(step == 0) }),
        1 => (0_u64..9).prop_map(Op::Vote),
        1 => Just(Op::Reopen),
        2 => any::<u64>().prop_map(Op::Crash),
        4 => (0_u32..4, proptest::option::of(any::<u64>())).prop_map(|(after, crash)| Op::Fail { after, crash }),
    ]
}

/// What the log may hold after `op`, the last being what it holds if nothing fails.
fn outcomes(before: &State, term: u64, op: &Op) -> Vec<State> {
    let mut states = vec![before.clone()];
    let mut then = |change: &dyn Fn(&mut State)| {
        let mut state = states.last().cloned().unwrap_or_default();
        change(&mut state);
        states.push(state);
    };
    match op {
        Op::Append { lens, .. } => {
            for &len in lens {
                then(&|state| state.entries.push(entry(term, state.next(), len)));
            }
        }
        &Op::Truncate(back) => {
            for _ in 0..back.min(before.entries.len() as u64) {
                then(&|state| drop(state.entries.pop()));
            }
        }
        &Op::Purge { ahead, .. } => {
            let position = purge_position(before, term, ahead);
            let held = before.entries.iter().find(|entry| entry.position.index == position.index);
            if held.is_some_and(|held| held.position != position) {
                while states.last().is_some_and(|state| state.next() > position.index) {
                    let mut shorter = states.last().cloned().unwrap_or_default();
                    shorter.entries.pop();
                    states.push(shorter);
                }
            }
            let mut state = states.last().cloned().unwrap_or_default();
            state.entries.retain(|entry| entry.position.index > position.index);
            state.purged = Some(position);
            states.push(state);
        }
        &Op::Vote(number) => then(&|state| state.vote = Some(vote(number))),
        Op::Reopen | Op::Crash(_) | Op::Fail { .. } => {}
    }
    states
}

fn purge_position(state: &State, term: u64, ahead: u64) -> crate::LogPosition {
    let index = state.first() + ahead;
    let held = state.entries.iter().find(|entry| entry.position.index == index);
    held.map_or(at(term, index), |held| at(held.position.term.max(term), index))
}

fn carry_out(log: &RaftLog, before: &State, term: u64, op: &Op) -> Result<(), crate::StoreError> {
    match op {
        Op::Append { lens, .. } => {
            let entries: Vec<_> =
                (before.next()..).zip(lens).map(|(index, &len)| entry(term, index, len)).collect();
            log.append(&entries)
        }
        &Op::Truncate(back) => log.truncate_from(before.next() - back.min(before.entries.len() as u64)),
        &Op::Purge { ahead, .. } => log.purge_to(purge_position(before, term, ahead)),
        &Op::Vote(number) => log.save_vote(&vote(number)),
        Op::Reopen | Op::Crash(_) | Op::Fail { .. } => Ok(()),
    }
}

fn play(ops: &[Op]) -> Result<(), TestCaseError> {
    let disk = Arc::new(FakeDisk::default());
    let mut log = open(&disk).expect("opened");
    let mut state = State::default();
    let mut term = 1;
    let mut failing = None;
    for op in ops {
        match *op {
            Op::Reopen => {
                drop(log);
                log = open(&disk).expect("opened again");
            }
            Op::Crash(seed) => {
                drop(log);
                disk.crash(seed);
                log = open(&disk).expect("opened after a crash");
            }
            Op::Fail { after, crash } => {
                failing = Some((after, crash));
                continue;
            }
            Op::Append { term_step, .. } | Op::Purge { term_step, .. } => term += term_step,
            Op::Truncate(_) | Op::Vote(_) => {}
        }
        let mut possible = outcomes(&state, term, op);
        let failing = failing.take();
        if let Some((after, _)) = failing {
            disk.fail_after(after);
        }
        let result = carry_out(&log, &state, term, op);
        let failed = disk.stop_failing() && failing.is_some();
        // A purged segment that cannot be removed is no error.
        if result.is_ok() {
            possible.drain(..possible.len() - 1);
        }
        prop_assert!(failed || result.is_ok(), "{op:?}: {result:?}");
        if failed {
            drop(log);
            if let Some((_, Some(seed))) = failing {
                disk.crash(seed);
            }
            log = open(&disk).map_err(|error| TestCaseError::fail(format!("{op:?}: {error}")))?;
        }
        let found = State::of(&log).expect("read");
        prop_assert!(possible.contains(&found), "{:?}:\n{:?}\nis none of\n{:?}", op, found, possible);
        state = found;
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_was_acknowledged_stays(ops in proptest::collection::vec(op(), 1..60)) {
        play(&ops)?;
    }
}
