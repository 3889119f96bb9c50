//! [`JobObserver`]: what the engine tells while it works on a job.

use super::held::Held;
use crate::standalone::observer::{Observer, RunEvent};
use orbit_core::grid::job::JobFault;
use std::sync::Arc;

/// Remembers what failed.
pub(super) struct JobObserver(pub(super) Arc<Held>);

impl Observer for JobObserver {
    fn event(&self, event: &RunEvent<'_>) {
        match event {
            RunEvent::Fault { path, message } => {
                self.0.add_fault(JobFault::new(path.as_bytes(), message));
            }
            RunEvent::Notice(message) => tracing::info!(job = %self.0.id, message, "of a job"),
            RunEvent::Planned(_) | RunEvent::Change { .. } => {}
        }
    }
}
