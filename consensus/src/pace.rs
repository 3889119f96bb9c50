//! [`Pace`]: how quick the group is, and who was heard when. What election, lease and transport have in common.

#[cfg(test)]
mod tests;

use crate::types::Voter;
use orbit_core::ids::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Heartbeats come at least so far apart: a quicker group would mistake a busy machine for a dead one.
pub const HEARTBEAT_MIN: Duration = Duration::from_millis(50);
/// Heartbeats come at most so far apart: a line that needs longer is no line for a voter.
pub const HEARTBEAT_MAX: Duration = Duration::from_millis(500);
/// Heartbeats are so many slowest round trips apart.
const ROUND_TRIPS_APART: u32 = 3;
/// A slow round trip counts for so long.
const ROUND_TRIP_KEPT: Duration = Duration::from_secs(10);
/// After so many heartbeats' time without a word, a leader is silent: whoever did not hear it may be asked to vote for
/// another.
const SILENT_AFTER: u32 = 3;
/// A leader may rely on being it for so many heartbeats' time after a quorum answered: less than [`SILENT_AFTER`].
const LEASE: u32 = 2;

/// Times and sightings of one member of the group. Cheap to ask; locks are held for a few instructions.
#[derive(Debug)]
pub(crate) struct Pace {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// What the leader says; our own when we lead.
    heartbeat: Duration,
    /// When a leader was last heard.
    heard: Instant,
    /// Until then a leader may rely on what this member answered before it was started; none: one was heard since.
    bound_until: Option<Instant>,
    /// Appends of the leader that are being worked on: it is not silent while our own disk is slow.
    working: u32,
    /// Slowest round trip of late, and when it was.
    slowest: (Duration, Instant),
    /// The newest of our terms that anybody answered to.
    term: u64,
    /// What each member last answered to in that term.
    answered: BTreeMap<Voter, Answered>,
    /// The term whose lease was given away.
    given_away: Option<u64>,
    /// The term in which a hand-over failed, and when it was given up: what was answered to earlier messages does not bind.
    taken_back: Option<(u64, Instant)>,
    /// The term that the leader told this member to begin.
    told: Option<u64>,
    /// The term whose leader takes back what it told anybody: nobody is to begin the next by its word.
    void: Option<u64>,
}

/// A message that was answered.
#[derive(Clone, Copy, Debug)]
struct Answered {
    sent: Instant,
    /// The time between heartbeats that it told. The member waits for so long times [`SILENT_AFTER`].
    told: Duration,
}

impl Pace {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let inner = Inner {
            heartbeat: HEARTBEAT_MIN,
            heard: now,
            bound_until: Some(now + HEARTBEAT_MAX * LEASE),
            working: 0,
            slowest: (Duration::ZERO, now),
            term: 0,
            answered: BTreeMap::new(),
            given_away: None,
            taken_back: None,
            told: None,
            void: None,
        };
        Self { inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time between heartbeats.
    pub(crate) fn heartbeat(&self) -> Duration {
        self.lock().heartbeat
    }

    /// The leader sends something; it is worked on until the guard is dropped.
    pub(crate) fn hear(&self, heartbeat: Duration) -> Hearing<'_> {
        let mut inner = self.lock();
        inner.heartbeat = heartbeat.clamp(HEARTBEAT_MIN, HEARTBEAT_MAX);
        inner.heard = Instant::now();
        inner.bound_until = None;
        inner.working += 1;
        Hearing { pace: self }
    }

    /// For how long no leader was heard.
    pub(crate) fn silence(&self) -> Duration {
        let inner = self.lock();
        if inner.working > 0 { Duration::ZERO } else { inner.heard.elapsed() }
    }

    /// Whether the leader has been silent for so long that another may be voted for.
    pub(crate) fn is_silent(&self) -> bool {
        let (limit, bound_until) = {
            let inner = self.lock();
            (inner.heartbeat * SILENT_AFTER, inner.bound_until)
        };
        self.silence() >= limit && bound_until.is_none_or(|until| Instant::now() >= until)
    }

    /// The time of silence after which a member with this rank begins to look for votes; `share` spreads them.
    pub(crate) fn patience(&self, rank: u32, share: f64) -> Duration {
        let silent = self.lock().heartbeat * SILENT_AFTER;
        silent + silent.mul_f64(share.clamp(0.0, 1.0)) + silent * rank
    }

    /// The leader lets another take over: from now on it relies on nothing but answers.
    pub(crate) fn give_away(&self, term: u64) {
        self.lock().given_away = Some(term);
    }

    /// The hand-over in this term of ours failed. Whoever was told to take over may hear of it late, so the lease rests
    /// only on members that learned since then that it is void.
    pub(crate) fn take_back(&self, term: u64) {
        let mut inner = self.lock();
        inner.given_away = None;
        inner.taken_back = Some((term, Instant::now()));
    }

    /// Whether this leader has taken back a hand-over in this term.
    pub(crate) fn is_taken_back(&self, term: u64) -> bool {
        self.lock().taken_back.is_some_and(|(of, _)| of == term)
    }

    /// The leader of this term takes back what it told anybody.
    pub(crate) fn note_void(&self, term: u64) {
        self.lock().void = Some(term);
    }

    /// Whether the leader of this term has taken back what it told anybody.
    pub(crate) fn is_void(&self, term: u64) -> bool {
        self.lock().void == Some(term)
    }

    /// The leader told this member to begin this term.
    pub(crate) fn take_over(&self, term: u64) {
        self.lock().told = Some(term);
    }

    /// Whether the leader told this member to begin this term.
    pub(crate) fn was_told(&self, term: u64) -> bool {
        self.lock().told == Some(term)
    }

    /// A member answered what was sent at `sent` in this term of ours, which told it this time between heartbeats.
    pub(crate) fn note_answer(
        &self,
        member: Voter,
        term: u64,
        sent: Instant,
        told: Duration,
        was_empty: bool,
    ) {
        let mut inner = self.lock();
        if term > inner.term {
            inner.term = term;
            inner.answered.clear();
        }
        if term < inner.term {
            return;
        }
        let answered = inner.answered.entry(member).or_insert(Answered { sent, told });
        if sent > answered.sent {
            *answered = Answered { sent, told };
        }
        if was_empty {
            let round_trip = sent.elapsed();
            if round_trip >= inner.slowest.0 || inner.slowest.1.elapsed() > ROUND_TRIP_KEPT {
                inner.slowest = (round_trip, Instant::now());
            }
        }
    }

    /// The leader's own choice of time between heartbeats, by its slowest voter of late.
    pub(crate) fn choose_heartbeat(&self) -> Duration {
        let mut inner = self.lock();
        inner.heartbeat = (inner.slowest.0 * ROUND_TRIPS_APART).clamp(HEARTBEAT_MIN, HEARTBEAT_MAX);
        inner.heartbeat
    }

    /// How long ago a quorum of each of these sets of voters was asked what it answered; `own` always answers. None: not
    /// in this term.
    pub(crate) fn quorum_answered(
        &self,
        own: Voter,
        term: u64,
        configs: &[BTreeSet<Voter>],
    ) -> Option<Duration> {
        self.quorum(own, term, configs, |answered, _| Some(answered.sent)).map(|sent| sent.elapsed())
    }

    /// Whether a leader may rely on being it, without asking: no quorum can have turned to another yet.
    pub(crate) fn holds_lease(&self, own: Voter, term: u64, configs: &[BTreeSet<Voter>]) -> bool {
        let until = self.quorum(own, term, configs, |answered, taken_back| {
            let binds = taken_back.is_none_or(|since| answered.sent >= since);
            binds.then(|| answered.sent + answered.told * LEASE)
        });
        until.is_some_and(|until| Instant::now() < until) && self.lock().given_away != Some(term)
    }

    /// The latest instant that a quorum of each set reaches.
    fn quorum(
        &self,
        own: Voter,
        term: u64,
        configs: &[BTreeSet<Voter>],
        of: impl Fn(&Answered, Option<Instant>) -> Option<Instant>,
    ) -> Option<Instant> {
        let inner = self.lock();
        let own_now = Instant::now() + HEARTBEAT_MIN;
        let taken_back = inner.taken_back.filter(|(of, _)| *of == term).map(|(_, since)| since);
        let of_one = |voters: &BTreeSet<Voter>| {
            let reached = |voter: &Voter| {
                let answered = inner.answered.get(voter).filter(|_| inner.term == term);
                if *voter == own {
                    Some(own_now)
                } else {
                    answered.and_then(|answered| of(answered, taken_back))
                }
            };
            let mut instants: Vec<Option<Instant>> = voters.iter().map(reached).collect();
            instants.sort_unstable_by(|a, b| b.cmp(a));
            instants.get(voters.len() / 2).copied().flatten()
        };
        configs.iter().map(of_one).min().flatten()
    }

    /// How long ago each member last answered.
    pub(crate) fn answered(&self) -> BTreeMap<NodeId, Duration> {
        self.lock().answered.iter().map(|(voter, answered)| (voter.0, answered.sent.elapsed())).collect()
    }
}

/// A message of the leader is being worked on.
pub(crate) struct Hearing<'a> {
    pace: &'a Pace,
}

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        let mut inner = self.pace.lock();
        inner.working -= 1;
        inner.heard = Instant::now();
    }
}
