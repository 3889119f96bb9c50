//! [`check`]: is a history of a register linearizable? The algorithm of Wing and Gong (1993) with the improvements of Lowe
//! (2017): operations that are next are tried in turn, and no pair of (done operations, value) is tried twice.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

/// Pairs that are tried before a history is given up as undecided.
const EFFORT_MAX: usize = 400_000;

/// What an operation does with the register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Writes a value.
    Write(u64),
    /// Reads this value.
    Read(u64),
}

/// What a client did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What.
    pub what: What,
    /// When it began; moments are numbered in the order they happened.
    pub began: u64,
    /// When it ended; none: nobody knows whether it took effect, or when.
    pub ended: Option<u64>,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none: the furthest that any order gets is to this event.
    Broken(usize),
    /// It would take too long.
    Undecided,
}

/// Checks a register that holds 0 at first.
pub fn check(operations: &[Operation]) -> Verdict {
    Search::new(operations).run()
}

/// Beginnings and ends in the order in which they happened, as a linked list from which operations are lifted.
struct Search<'a> {
    operations: &'a [Operation],
    events: Vec<Event>,
    /// Where each operation ends.
    end_of: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Event {
    operation: usize,
    is_end: bool,
    before: usize,
    after: usize,
}

/// Number of the event in front of all.
const HEAD: usize = 0;

/// The set of operations that were done so far.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Done(Vec<u64>);

impl Done {
    fn flip(&mut self, operation: usize) {
        if let Some(word) = self.0.get_mut(operation / 64) {
            *word ^= 1 << (operation % 64);
        }
    }
}

impl<'a> Search<'a> {
    fn new(operations: &'a [Operation]) -> Self {
        let mut moments: Vec<(u64, bool, usize)> = Vec::with_capacity(operations.len() * 2);
        for (number, operation) in operations.iter().enumerate() {
            moments.push((operation.began, false, number));
            moments.push((operation.ended.unwrap_or(u64::MAX), true, number));
        }
        moments.sort_unstable();
        let mut events = vec![Event { operation: usize::MAX, is_end: false, before: HEAD, after: 1 }];
        let mut end_of = vec![0; operations.len()];
        for (at, (_, is_end, operation)) in moments.into_iter().enumerate() {
            if is_end {
                end_of[operation] = at + 1;
            }
            events.push(Event { operation, is_end, before: at, after: at + 2 });
        }
        Self { operations, events, end_of }
    }

    fn lift(&mut self, begin: usize) {
        for at in [begin, self.end_of[self.events[begin].operation]] {
            let Event { before, after, .. } = self.events[at];
            self.events[before].after = after;
            if let Some(next) = self.events.get_mut(after) {
                next.before = before;
            }
        }
    }

    fn put_back(&mut self, begin: usize) {
        for at in [self.end_of[self.events[begin].operation], begin] {
            let Event { before, after, .. } = self.events[at];
            self.events[before].after = at;
            if let Some(next) = self.events.get_mut(after) {
                next.before = at;
            }
        }
    }

    /// The value after an operation; none if it could not have read this.
    fn step(&self, value: u64, operation: usize) -> Option<u64> {
        match self.operations[operation].what {
            What::Write(written) => Some(written),
            What::Read(read) => (read == value).then_some(value),
        }
    }

    fn run(mut self) -> Verdict {
        let mut done = Done(vec![0; self.operations.len().div_ceil(64)]);
        let mut tried: HashSet<(Done, u64)> = HashSet::new();
        let mut path: Vec<(usize, u64)> = Vec::new();
        let (mut value, mut furthest) = (0, 0);
        let mut at = self.events[HEAD].after;
        loop {
            let Some(event) = self.events.get(at).copied() else { return Verdict::Linearizable };
            // Only operations whose outcome nobody knows are left: they need not have happened.
            if event.is_end && self.operations[event.operation].ended.is_none() {
                return Verdict::Linearizable;
            }
            if !event.is_end {
                if let Some(next) = self.step(value, event.operation) {
                    done.flip(event.operation);
                    if tried.insert((done.clone(), next)) {
                        if tried.len() > EFFORT_MAX {
                            return Verdict::Undecided;
                        }
                        path.push((at, value));
                        value = next;
                        self.lift(at);
                        at = self.events[HEAD].after;
                        continue;
                    }
                    done.flip(event.operation);
                }
                at = event.after;
                continue;
            }
            // An operation ended that is not done: another order has to be tried.
            furthest = furthest.max(at);
            let Some((begin, before)) = path.pop() else { return Verdict::Broken(furthest) };
            value = before;
            done.flip(self.events[begin].operation);
            self.put_back(begin);
            at = self.events[begin].after;
        }
    }
}
