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
