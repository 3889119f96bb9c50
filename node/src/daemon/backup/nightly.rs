//! The backup that every voter makes by itself each night, on its own disk: the newest seven are kept.

use super::file::{BackupError, Staged};
use super::{SealedUnder, take};
use crate::daemon::data_dir::DataDir;
use crate::daemon::{DaemonError, Node};
use crate::group::{Seat, files};
use crate::standalone::error::chain;
use crate::standalone::state::now_ms;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use orbit_core::ids::NodeId;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How many are kept.
const KEPT: usize = 7;
/// How often is looked whether one is due.
const LOOK_EVERY: Duration = Duration::from_mins(10);
/// From when in the night on, local time.
const NIGHT: Time = Time::constant(2, 0, 0, 0);
/// Over how long the nodes of a grid spread it, seconds.
const SPREAD_S: u64 = 2 * 3600;
/// What must stay free on the disk beside twice the size of the last one, bytes.
const FREE_MIN: u64 = 1 << 30;
/// How the files' names begin and end; between is the time, so that they sort by it.
const PREFIX: &str = "nightly-";
const SUFFIX: &str = ".orbit-backup";

/// Where they lie.
pub(crate) fn directory(home: &DataDir) -> PathBuf {
    home.nucleus().join("backups")
}

/// Makes a backup each night while this node votes. Runs until the node stops.
pub(crate) async fn keep(node: Arc<Node>) {
    let mut look = tokio::time::interval_at(tokio::time::Instant::now() + LOOK_EVERY, LOOK_EVERY);
    loop {
        tokio::select! {
            () = node.stop.cancelled() => return,
            _ = look.tick() => {}
        }
        let Some(seat) = node.group() else { continue };
        let own = node.membership().node;
        if !seat.group.standing().borrow().voters.contains(&own) {
            continue;
        }
        if let Err(error) = make_if_due(&node, &seat, own).await {
            tracing::warn!(error = chain(&error), "the nightly backup was not made");
        }
    }
}

async fn make_if_due(node: &Node, seat: &Seat, own: NodeId) -> Result<(), DaemonError> {
    let directory = directory(&node.home);
    let before = names(&directory);
    let due_ms = last_due_ms(own, now_ms());
    if before.last().is_some_and(|newest| made_ms(newest).is_some_and(|made| made >= due_ms)) {
        return Ok(());
    }
    let (place, begun) = (directory.clone(), node.home.nucleus());
    files::blocking(move || {
        std::fs::create_dir_all(&place).map_err(DaemonError::file("create directory", &place))?;
        // A snapshot is written first, and the backup is made of it.
        let wanted = size_of_databases(&begun).saturating_mul(2).saturating_add(FREE_MIN);
        let free = rustix::fs::statvfs(&place).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        if free.is_ok_and(|free| free < wanted) {
            let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(DaemonError::file("make a backup in", &place)(full));
        }
        Ok(())
    })
    .await?;
    let pieces = take(node, seat, SealedUnder::Grid).await?;
    files::blocking(move || {
        let header = pieces.header();
        let path = directory.join(name(header.made_ms));
        write(pieces, &path)?;
        for old in names(&directory).iter().rev().skip(KEPT) {
            let path = directory.join(old);
            std::fs::remove_file(&path).map_err(DaemonError::file("remove", path))?;
        }
        Ok(())
    })
    .await
}

fn write(pieces: super::file::Pieces, path: &Path) -> Result<(), BackupError> {
    let mut staged = Staged::create(path)?;
    for piece in pieces {
        staged.write_all(&piece?).map_err(|source| BackupError::Write { path: path.to_owned(), source })?;
    }
    staged.keep()?;
    Ok(())
}

/// Bytes of the databases in their present generation, and of what lies beside them.
fn size_of_databases(nucleus: &Path) -> u64 {
    let inside = |directory: PathBuf| std::fs::read_dir(directory).into_iter().flatten().flatten();
    let generations = inside(nucleus.to_owned())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("gen-"))
        .flat_map(|generation| inside(generation.path()));
    let mut bytes = 0_u64;
    for entry in generations {
        let Ok(metadata) = entry.metadata() else { continue };
        let own = if metadata.is_dir() {
            inside(entry.path())
                .filter_map(|entry| entry.metadata().ok())
                .map(|metadata| metadata.len())
                .sum()
        } else {
            metadata.len()
        };
        bytes = bytes.saturating_add(own);
    }
    bytes
}

/// The last point in time at which a backup of this node was due: in the night, at a time of its own.
fn last_due_ms(own: NodeId, now_ms: i64) -> i64 {
    let spread = u64::from_le_bytes(*own.as_bytes().first_chunk().expect("an id has 16 bytes")) % SPREAD_S;
    let now = Timestamp::from_millisecond(now_ms)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_zoned_datetime(TimeZone::system());
    let due = |back: i64| {
        let day = now.date().checked_sub(back.days()).ok()?;
        let begin = day.to_datetime(NIGHT).to_zoned_datetime(now.time_zone().clone()).ok()?;
        let due = begin.checked_add(i64::try_from(spread).ok()?.seconds()).ok()?.timestamp().as_millisecond();
        (due <= now_ms).then_some(due)
    };
    due(0).or_else(|| due(1)).unwrap_or(now_ms)
}

fn name(made_ms: i64) -> String {
    let made = Timestamp::from_millisecond(made_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{PREFIX}{}{SUFFIX}", made.strftime("%Y-%m-%dT%H-%M-%SZ"))
}

fn made_ms(name: &str) -> Option<i64> {
    let time = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let made = jiff::civil::DateTime::strptime("%Y-%m-%dT%H-%M-%SZ", time).ok()?;
    Some(made.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

/// The nightly backups that are there, oldest first.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| made_ms(name).is_some())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_714_566_896_789;

    #[test]
    fn names_tell_their_time_and_sort_by_it() {
        assert_eq!(name(NOW_MS), "nightly-2024-05-01T12-34-56Z.orbit-backup");
        assert_eq!(made_ms(&name(NOW_MS)), Some(NOW_MS - 789));
        for foreign in ["", "x", "nightly-.orbit-backup", "nightly-2024-05-01T12-34-56Z.orbit-backup.partial"]
        {
            assert_eq!(made_ms(foreign), None, "{foreign}");
        }
        assert!(name(NOW_MS) < name(NOW_MS + 1_000));
    }

    #[test]
    fn one_is_due_each_night_at_a_time_of_its_own() {
        let ids = [[0; 16], [7; 16], [0xff; 16]].map(NodeId::from_bytes);
        for id in ids {
            let due = last_due_ms(id, NOW_MS);
            assert!((0..25 * 3_600_000).contains(&(NOW_MS - due)), "{due}");
            // At its time it is due, and not again before the next.
            assert_eq!(last_due_ms(id, due), due);
            assert_eq!(last_due_ms(id, due + 20 * 3_600_000), due);
            assert!(last_due_ms(id, due - 1) < due);
        }
        assert_ne!(last_due_ms(ids[0], NOW_MS), last_due_ms(ids[1], NOW_MS));
    }
}
