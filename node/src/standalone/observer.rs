//! [`Observer`]: who hears what a run does, and [`Reported`]: how a path fared.

use orbit_core::{RelPath, Totals};

/// One thing worth telling. Paths are below the endpoints.
#[derive(Debug)]
pub enum RunEvent<'a> {
    /// The plan is complete; nothing has been changed yet.
    Planned(&'a Totals),
    /// A planned change (told by a dry run, `plan show`, and with `-v`).
    Change {
        /// What is done.
        verb: Verb,
        /// To what.
        path: &'a RelPath,
        /// Bytes of the file.
        bytes: u64,
    },
    /// Something failed or was skipped.
    Fault {
        /// Which path.
        path: &'a RelPath,
        /// What and why, with causes, for people.
        message: &'a str,
    },
    /// Something a person should know that is no fault.
    Notice(&'a str),
}

/// What is done to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Created.
    Create,
    /// Content replaced.
    Replace,
    /// Attributes set.
    Attributes,
    /// Linked to another name.
    Link,
    /// Deleted.
    Delete,
}

/// Hears what happens. Called from several threads, never while a lock is held.
pub trait Observer: Send + Sync {
    /// Takes one event; must return soon.
    fn event(&self, event: &RunEvent<'_>);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: &RunEvent<'_>) {}
}
