//! What a person reads besides the error itself: what did *not* happen, and the command that mends it.

use crate::exit::CliError;
use orbit_node::local::writer::BeginError;
use orbit_node::standalone::error::{Guard, RunError};
use orbit_node::store_trouble::StoreTrouble;

/// Whether it is certain that nothing was changed.
pub fn nothing_was_changed(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<RunError>() {
        Some(
            RunError::NotFound { .. }
            | RunError::NoParent { .. }
            | RunError::Path { .. }
            | RunError::WrongKind { .. }
            | RunError::BadPath { .. }
            | RunError::Guard(_)
            | RunError::Begin { .. }
            | RunError::Rules(_)
            | RunError::Stale { .. }
            | RunError::Interrupted,
        ) => true,
        Some(_) => false,
        None => matches!(error.downcast_ref(), Some(CliError::NotInGrid { .. } | CliError::NoDataDir)),
    }
}

/// The command that mends it, or how to go on.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(error) = error.downcast_ref() {
        return of_run(error);
    }
    match error.downcast_ref()? {
        CliError::NotInGrid { endpoint } => Some(format!(
            "give paths on this machine, for example a mounted share; if this is a local path, write ./{endpoint}"
        )),
        CliError::NoDataDir => Some("name a directory with --data-dir DIR".to_owned()),
        CliError::Output(_) | CliError::File { .. } => None,
    }
}

fn of_run(error: &RunError) -> Option<String> {
    let hint = match error {
        RunError::NotFound { .. } => "check the spelling, and that its disk is mounted".to_owned(),
        RunError::NoParent { path } => {
            let parent = path.parent().unwrap_or(path);
            format!(
                "check that its disk is mounted; else create it: mkdir -p {}",
                quoted(&parent.display().to_string())
            )
        }
        RunError::Guard(guard) => of_guard(guard),
        RunError::Begin { source, .. } => return of_begin(source),
        RunError::Store(error) => of_store(StoreTrouble::from(error)).to_owned(),
        RunError::Rules(_) => "patterns are written as in .gitignore".to_owned(),
        RunError::Stale { .. } => {
            "make a new plan of what is there now: orbit plan SOURCE DESTINATION".to_owned()
        }
        RunError::NoSpace { .. } => {
            "make room and run the same command again: it goes on where it was".to_owned()
        }
        RunError::NotDurable { .. } => {
            "check the disk (dmesg, smartctl), then run the same command again with --verify".to_owned()
        }
        RunError::Interrupted => "run the same command again".to_owned(),
        RunError::Path { .. }
        | RunError::WrongKind { .. }
        | RunError::BadPath { .. }
        | RunError::System(_)
        | RunError::Plan(_) => return None,
    };
    Some(hint)
}

fn of_guard(guard: &Guard) -> String {
    match guard {
        Guard::DeleteGate { deletions, entries, .. } => {
            let needed = (deletions * 100).div_ceil((*entries).max(1)).min(100);
            format!(
                "see what would go with --dry-run; if it is meant, allow it with --max-delete {needed}, and keep it with \
                 --trash"
            )
        }
        Guard::FreeSpace { .. } => {
            "make room in the destination, or leave something out with --exclude".to_owned()
        }
        Guard::MarkerMissing { .. } => "mount the source's disk and run the same command again".to_owned(),
        Guard::EmptySource { .. } => {
            "mount the source's disk; if it is meant to be empty, delete the destination's contents yourself"
                .to_owned()
        }
        Guard::TrashInside { .. } => {
            "name a directory beside the trees, or use `--trash` alone: it keeps things in `.orbit-trash`"
                .to_owned()
        }
        Guard::DestinationInside { .. } | Guard::SourceInside { .. } | Guard::Same { .. } => {
            "choose a source and a destination that do not overlap".to_owned()
        }
    }
}

fn of_begin(error: &BeginError) -> Option<String> {
    match error {
        BeginError::Busy(_) => Some("wait until the other run has ended".to_owned()),
        BeginError::NotOurs { .. } => Some("rename what is there".to_owned()),
        BeginError::TrashElsewhere { .. } => Some(
            "choose a trash on the destination's file system, or --trash alone for .orbit-trash in it"
                .to_owned(),
        ),
        BeginError::Trash { .. } => Some("create the directory, or check its permissions".to_owned()),
        BeginError::System(_) => None,
    }
}

fn of_store(trouble: StoreTrouble) -> &'static str {
    match trouble {
        StoreTrouble::NoSuchPlan => "see which plans there are: orbit plan ls",
        StoreTrouble::AmbiguousPlan => "write more of the id: orbit plan ls",
        StoreTrouble::Busy => {
            "wait until the other run has ended, or use another state directory: --data-dir DIR"
        }
        StoreTrouble::ReadOnly => "use a state directory that can be written: --data-dir DIR",
        StoreTrouble::Full => "make room on the disk of the state directory, or use another: --data-dir DIR",
        StoreTrouble::Damaged => {
            "move the file away; Orbit makes a new one. Stored plans are lost, your files are not"
        }
        StoreTrouble::Foreign => "use another state directory: --data-dir DIR",
        StoreTrouble::Newer => {
            "use the newer Orbit that wrote it, or another state directory: --data-dir DIR"
        }
        StoreTrouble::Other => "orbit doctor",
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests;
