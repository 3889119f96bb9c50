//! [`JobSchedule`]: when a job begins anew by itself.

use serde::{Deserialize, Serialize};

/// When a job begins anew. What the text means is for whoever computes the next time; the grid remembers that time alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSchedule {
    /// Minute, hour, day, month and day of the week, as in a crontab.
    pub cron: String,
    /// The time zone it is meant in, for example `Europe/Berlin`.
    pub zone: String,
    /// The next time, milliseconds since 1970. One that passed while there was no Nucleus is caught up, once.
    pub next_ms: i64,
    /// How often its time came while it was not over.
    pub skipped: u32,
}
