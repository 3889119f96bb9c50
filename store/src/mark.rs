//! [`Mark`]: how far a database has applied the log.

use crate::LogPosition;
use serde::{Deserialize, Serialize};

/// What a replicated database stores in the transaction that applies entries of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The last entry that was applied; `None` before the first.
    pub position: Option<LogPosition>,
    /// Who was a member then; opaque here.
    #[serde(with = "orbit_core::wire::bytes")]
    pub membership: Vec<u8>,
}

impl Mark {
    /// Whether this says that more was applied than `other` does.
    pub fn is_after(&self, other: &Self) -> bool {
        self.position > other.position
    }
}
