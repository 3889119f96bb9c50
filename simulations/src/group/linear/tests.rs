//! Histories that are known to be linearizable, or not; and random ones against every order there is.

use super::*;
use crate::random::Random;

fn write(value: u64, began: u64, ended: u64) -> Operation {
    Operation { what: What::Write(value), began, ended: Some(ended) }
}

fn read(value: u64, began: u64, ended: u64) -> Operation {
    Operation { what: What::Read(value), began, ended: Some(ended) }
}

fn unsure(value: u64, began: u64) -> Operation {
    Operation { what: What::Write(value), began, ended: None }
}

fn is_good(operations: &[Operation]) -> bool {
    match check(operations) {
        Verdict::Linearizable => true,
        Verdict::Broken(_) => false,
        Verdict::Undecided => panic!("these are small"),
    }
}

#[test]
fn good_histories_are_accepted() {
    assert!(is_good(&[]));
    assert!(is_good(&[read(0, 1, 2), write(1, 3, 4), read(1, 5, 6)]));
    // While a write is on its way, either value may be read, but not back and forth.
    assert!(is_good(&[write(1, 1, 10), read(0, 2, 3), read(1, 4, 5), read(1, 11, 12)]));
    // Two writes at once, in whichever order the read wants.
    assert!(is_good(&[write(1, 1, 4), write(2, 2, 5), read(1, 6, 7)]));
    assert!(is_good(&[write(1, 1, 4), write(2, 2, 5), read(2, 6, 7)]));
    // A write without an answer may have happened, late or never.
    assert!(is_good(&[unsure(1, 1), read(0, 2, 3), read(0, 4, 5), read(1, 6, 7)]));
    assert!(is_good(&[unsure(1, 1), read(0, 2, 3)]));
    assert!(is_good(&[unsure(1, 1), unsure(2, 1), read(2, 3, 4), read(1, 5, 6)]));
}

#[test]
fn bad_histories_are_refused() {
    // A stale read.
    assert!(!is_good(&[write(1, 1, 2), read(0, 3, 4)]));
    // A lost write.
    assert!(!is_good(&[write(1, 1, 2), write(2, 3, 4), read(1, 5, 6)]));
    // New, then old.
    assert!(!is_good(&[write(1, 1, 10), read(1, 2, 3), read(0, 4, 5)]));
    // A value that nobody wrote.
    assert!(!is_good(&[write(1, 1, 2), read(7, 3, 4)]));
    // A write without an answer happens once.
    assert!(!is_good(&[unsure(1, 1), write(2, 2, 3), read(1, 4, 5), write(3, 6, 7), read(1, 8, 9)]));
    // It does not happen before it begins.
    assert!(!is_good(&[read(1, 1, 2), unsure(1, 3)]));
    // Two readers see two writes in different orders.
    let writes = [write(1, 1, 20), write(2, 1, 20)];
    let first = [read(1, 2, 3), read(2, 4, 5)];
    let second = [read(2, 6, 7), read(1, 8, 9)];
    assert!(!is_good(&[&writes[..], &first, &second].concat()));
}

/// Every order of every choice of the operations without an answer.
fn by_brute_force(operations: &[Operation], value: u64, done: &mut Vec<bool>) -> bool {
    let is_open = |at: &usize| !done[*at];
    let open: Vec<usize> = (0..operations.len()).filter(is_open).collect();
    if open.iter().all(|at| operations[*at].ended.is_none()) {
        return true;
    }
    open.iter().any(|&at| {
        let operation = &operations[at];
        let is_next =
            open.iter().all(|other| operations[*other].ended.is_none_or(|ended| ended > operation.began));
        let next = match operation.what {
            What::Write(written) => written,
            What::Read(read) if read == value => value,
            What::Read(_) => return false,
        };
        if !is_next {
            return false;
        }
        done[at] = true;
        let is_good = by_brute_force(operations, next, done);
        done[at] = false;
        is_good
    })
}

#[test]
fn random_histories_are_judged_as_by_trying_every_order() {
    let random = Random::new(7);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..4000 {
        let operations: Vec<Operation> = (0..=random.below(6))
            .map(|number| {
                // Beginnings are even and ends odd, so that no two events share a moment's order.
                let began = (random.below(10) * 2) as u64;
                let ended = began + 1 + (random.below(5) * 2) as u64;
                match random.below(5) {
                    0 => unsure(number as u64 + 1, began),
                    1 | 2 => write(number as u64 + 1, began, ended),
                    _ => read(random.below(4) as u64, began, ended),
                }
            })
            .collect();
        let expected = by_brute_force(&operations, 0, &mut vec![false; operations.len()]);
        assert_eq!(is_good(&operations), expected, "{operations:?}");
        *(if expected { &mut good } else { &mut bad }) += 1;
    }
    assert!(good > 500 && bad > 500, "{good} good, {bad} bad");
}
