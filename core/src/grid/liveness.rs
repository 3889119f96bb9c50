//! [`Liveness`]: whether a node is heard, from when it was last heard.

/// When a silent node counts as suspect and as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivenessRules {
    /// Silent for longer than this: suspect. Milliseconds.
    pub suspect_after_ms: i64,
    /// Silent for longer than this: lost. Milliseconds.
    pub lost_after_ms: i64,
}

impl Default for LivenessRules {
    /// Two and a half, and six heartbeats of 5 s.
    fn default() -> Self {
        Self { suspect_after_ms: 12_500, lost_after_ms: 30_000 }
    }
}

/// Whether a node is heard, and since when it is so (milliseconds on the caller's clock).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Heard lately.
    Ready {
        /// Since when.
        since_ms: i64,
    },
    /// A few heartbeats are missing.
    Suspect {
        /// Since when.
        since_ms: i64,
    },
    /// Given up until it is heard again.
    Lost {
        /// Since when.
        since_ms: i64,
    },
}

impl Liveness {
    /// How a node stands at `now_ms`, heard last at `last_seen_ms`. `since_ms` is when it was first heard after its
    /// last silence, or, for one that was not heard yet, when listening began. All on one clock; one that ran backwards
    /// makes nobody lost.
    ///
    /// A node that was not heard yet is suspect: after a restart everybody is, until the first heartbeats come.
    pub fn of(last_seen_ms: Option<i64>, since_ms: i64, now_ms: i64, rules: &LivenessRules) -> Self {
        let after = |from: i64, ms: i64| from.saturating_add(ms);
        let Some(seen) = last_seen_ms else {
            let lost = after(since_ms, rules.lost_after_ms);
            return if now_ms > lost { Self::Lost { since_ms: lost } } else { Self::Suspect { since_ms } };
        };
        let suspect = after(seen, rules.suspect_after_ms);
        let lost = after(seen, rules.lost_after_ms);
        if now_ms > lost {
            Self::Lost { since_ms: lost }
        } else if now_ms > suspect {
            Self::Suspect { since_ms: suspect }
        } else {
            Self::Ready { since_ms: since_ms.min(seen) }
        }
    }

    /// Since when it is so.
    pub const fn since_ms(self) -> i64 {
        match self {
            Self::Ready { since_ms } | Self::Suspect { since_ms } | Self::Lost { since_ms } => since_ms,
        }
    }

    /// The same on another clock.
    #[must_use]
    pub fn map_since(self, clock: impl FnOnce(i64) -> i64) -> Self {
        match self {
            Self::Ready { since_ms } => Self::Ready { since_ms: clock(since_ms) },
            Self::Suspect { since_ms } => Self::Suspect { since_ms: clock(since_ms) },
            Self::Lost { since_ms } => Self::Lost { since_ms: clock(since_ms) },
        }
    }

    /// Its name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready { .. } => "ready",
            Self::Suspect { .. } => "suspect",
            Self::Lost { .. } => "lost",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: LivenessRules = LivenessRules { suspect_after_ms: 12_500, lost_after_ms: 30_000 };

    fn of(last_seen_ms: Option<i64>, now_ms: i64) -> Liveness {
        Liveness::of(last_seen_ms, 100, now_ms, &RULES)
    }

    #[test]
    fn silence_makes_suspect_then_lost() {
        assert_eq!(of(Some(5_000), 17_500), Liveness::Ready { since_ms: 100 });
        assert_eq!(of(Some(5_000), 17_501), Liveness::Suspect { since_ms: 17_500 });
        assert_eq!(of(Some(5_000), 35_000), Liveness::Suspect { since_ms: 17_500 });
        assert_eq!(of(Some(5_000), 35_001), Liveness::Lost { since_ms: 35_000 });
    }

    #[test]
    fn one_that_was_never_heard_is_not_ready() {
        assert_eq!(of(None, 100), Liveness::Suspect { since_ms: 100 });
        assert_eq!(of(None, 30_100), Liveness::Suspect { since_ms: 100 });
        assert_eq!(of(None, 30_101), Liveness::Lost { since_ms: 30_100 });
    }

    #[test]
    fn a_clock_that_ran_backwards_loses_nobody() {
        assert_eq!(of(Some(5_000), 0), Liveness::Ready { since_ms: 100 });
    }

    proptest! {
        #[test]
        fn any_times_are_taken(seen: Option<i64>, since: i64, now: i64) {
            let liveness = Liveness::of(seen, since, now, &RULES);
            prop_assert!(!liveness.name().is_empty());
            prop_assert_eq!(liveness.map_since(|_| 7).since_ms(), 7);
        }
    }
}
