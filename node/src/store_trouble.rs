//! [`StoreTrouble`]: what is wrong with a database, as far as a caller that never sees the store must tell apart.

use orbit_store::{Damage, StoreError};

/// Kinds of [`StoreError`] that need different answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreTrouble {
    /// No plan has this id.
    NoSuchPlan,
    /// Several plans have ids that begin like this.
    AmbiguousPlan,
    /// Another process holds the database.
    Busy,
    /// It cannot be written.
    ReadOnly,
    /// The disk it lies on is full.
    Full,
    /// It is damaged.
    Damaged,
    /// It belongs to another program and must be left alone.
    Foreign,
    /// A newer Orbit wrote it.
    Newer,
    /// Anything else.
    Other,
}

impl From<&StoreError> for StoreTrouble {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::PlanNotFound { .. } => Self::NoSuchPlan,
            StoreError::PlanAmbiguous { .. } => Self::AmbiguousPlan,
            StoreError::Locked { .. } => Self::Busy,
            StoreError::ReadOnly { .. } => Self::ReadOnly,
            StoreError::Full { .. } => Self::Full,
            StoreError::Corrupt { damage: Damage::Foreign, .. } => Self::Foreign,
            StoreError::Corrupt { .. } => Self::Damaged,
            StoreError::NewerVersion { .. } => Self::Newer,
            _ => Self::Other,
        }
    }
}
