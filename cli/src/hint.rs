//! What a person reads besides the error itself: what did *not* happen, and the command that mends it.

use crate::exit::CliError;
use orbit_core::endpoint::Endpoint;
use orbit_node::api::client::ClientError;
use orbit_node::api::types::ErrorCode;
use orbit_node::daemon::DaemonError;
use orbit_node::local::writer::BeginError;
use orbit_node::remote::RemoteError;
use orbit_node::standalone::error::{Guard, RunError};
use orbit_node::store_trouble::StoreTrouble;

/// Whether it is certain that nothing was changed.
pub fn nothing_was_changed(error: &anyhow::Error) -> bool {
    if let Some(error) = error.downcast_ref::<ClientError>() {
        return error.is_without_effect();
    }
    if let Some(error) = error.downcast_ref::<DaemonError>() {
        // A request whose answer was lost may have been granted; and a node that runs may have done much before.
        let is_told_later = matches!(error, DaemonError::Ask(_) | DaemonError::Removed { .. });
        return !is_told_later && error.code() != ErrorCode::Failed;
    }
    match error.downcast_ref::<RunError>() {
        Some(RunError::Grid(error)) => error.is_without_effect(),
        Some(
            RunError::Refused(_)
            | RunError::NotFound { .. }
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
        None => matches!(
            error.downcast_ref(),
            Some(
                CliError::Elsewhere { .. }
                    | CliError::ApplyElsewhere { .. }
                    | CliError::NobodyToAsk { .. }
                    | CliError::NobodyToAskForSync
                    | CliError::IgnoreFile { .. }
                    | CliError::Job { is_planned: false, .. }
                    | CliError::NobodyToAskToRecover { .. }
                    | CliError::OtherGridName { .. }
                    | CliError::NewerElsewhere { .. }
                    | CliError::NoPassphrase
                    | CliError::BadPassphrase
                    | CliError::PassphrasesDiffer
                    | CliError::ReadFile { .. }
                    | CliError::Declined
                    | CliError::NoDataDir
            )
        ),
    }
}

/// The command that mends it, or how to go on.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(error) = error.downcast_ref() {
        return of_run(error);
    }
    if let Some(error) = error.downcast_ref::<ClientError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<DaemonError>() {
        return error.hint();
    }
    match error.downcast_ref()? {
        CliError::Elsewhere { endpoint } => Some(format!(
            "`orbit sync -n SOURCE DESTINATION` shows the plan of a sync between nodes; if this is a local path, write \
             ./{endpoint}"
        )),
        CliError::ApplyElsewhere { endpoint } => Some(match endpoint {
            Endpoint::Remote { node, path } => {
                let path = quoted(&orbit_core::rel_path::display_name(path));
                format!("run it on {node} itself: orbit dedup --apply {path}")
            }
            Endpoint::Local(_) => "leave --apply out".to_owned(),
        }),
        CliError::NobodyToAsk { .. } => Some("if it is meant, add -y".to_owned()),
        CliError::NobodyToAskForSync => Some("add -y to run it, or -n to see its plan alone".to_owned()),
        CliError::Job { failure, id, .. } => {
            Some(failure.hint.clone().unwrap_or_else(|| format!("`orbit job show {id}` tells more")))
        }
        CliError::JobCancelled { id } => Some(format!("`orbit job retry {id}` begins it anew")),
        CliError::IgnoreFile { .. } => Some("write its patterns in UTF-8".to_owned()),
        CliError::NobodyToAskToRecover { name } | CliError::OtherGridName { name, .. } => {
            Some(format!("if it is meant: orbit recover --yes-lose-quorum {}", quoted(name)))
        }
        CliError::NewerElsewhere { node, .. } => Some(format!(
            "run `orbit recover` on {node}; if that cannot be, add --here: the newer changes are lost then"
        )),
        CliError::NoPassphrase => {
            Some("name a file with it: --passphrase-file FILE; or set ORBIT_BACKUP_PASSPHRASE".to_owned())
        }
        CliError::BadPassphrase => Some("give another one; its file holds it as its first line".to_owned()),
        CliError::PassphrasesDiffer => Some("run the command again".to_owned()),
        CliError::NoDataDir => Some("name a directory with --data-dir DIR".to_owned()),
        CliError::Input(_)
        | CliError::Again(_)
        | CliError::Output(_)
        | CliError::File { .. }
        | CliError::ReadFile { .. }
        | CliError::Declined => None,
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
        RunError::Grid(error) => return error.hint(),
        RunError::Refused(refusal) => return refusal.hint(),
        RunError::Gone { .. } | RunError::Star { source: RemoteError::Link(_), .. } => {
            "see whether the node is well: orbit node ls; then run the same command again".to_owned()
        }
        RunError::Interrupted => "run the same command again".to_owned(),
        RunError::Path { .. }
        | RunError::WrongKind { .. }
        | RunError::BadPath { .. }
        | RunError::System(_)
        | RunError::Star { .. }
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
