//! Backups: everything the Nucleus owns in one file, checked when it is read, its secrets sealed.
//!
//! ```text
//!   orbit backup ─▶ POST /v1/backup ─▶ Nucleus (or this voter) ─▶ snapshot of both databases ─▶ pieces ─▶ FILE
//!   every voter, each night ─────────────────────────────────────────────────────────────────▶ nucleus/backups/
//!   orbit restore ◀─ file::Reader
//! ```
//!
//! A backup holds the databases as they are replicated: the authority's private key is in them, sealed under the grid's
//! seal key. The seal key itself is in the file only if there is a passphrase, sealed under it. One that a voter keeps
//! by itself does not have it: whoever copies the file alone has no secret.
//!
//! Reading order: [`file`](self::file), [`keep`].

pub mod file;
mod nightly;

pub(crate) use nightly::keep;

use super::seal::{SealKey, Stretch};
use super::{DaemonError, Node};
use crate::group::Seat;
use crate::standalone::state::now_ms;
use file::{Header, Pieces, Secrets, Tally};
use orbit_core::grid::GridState;

/// Under what the secrets in a backup are sealed.
pub(crate) enum SealedUnder {
    /// A key made of a passphrase, and how it was made.
    Passphrase(SealKey, Stretch),
    /// The grid's own seal key, which the backup does not hold.
    Grid,
}

/// A consistent copy of what this member of the group has applied, while it goes on. Its pieces are read by a thread
/// that may block.
pub(crate) async fn take(node: &Node, seat: &Seat, under: SealedUnder) -> Result<Pieces, DaemonError> {
    let grid = seat.group.with(|state| state.header().cloned());
    let grid = grid.ok_or(orbit_core::grid::Refusal::NotFounded)?;
    let tally = seat.group.with(tally);
    let snapshot = seat.group.write_snapshot().await.map_err(DaemonError::Group)?;
    let secrets = match under {
        SealedUnder::Passphrase(key, stretch) => {
            Secrets::Passphrase { stretch, seal_key: key.seal(file::SEAL_KEY, seat.seal.as_bytes()) }
        }
        SealedUnder::Grid => Secrets::Grid { proof: seat.seal.seal(file::PROOF, grid.id.as_bytes()) },
    };
    Ok(Pieces::new(
        Header {
            grid: grid.id,
            grid_name: grid.name,
            epoch: grid.epoch,
            made_ms: now_ms(),
            made_by: node.standing().name,
            tally,
            secrets,
            manifest: snapshot.manifest().clone(),
        },
        snapshot,
    ))
}

fn tally(state: &GridState) -> Tally {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Tally {
        nodes: count(state.nodes().count()),
        tokens: count(state.tokens().count()),
        constellations: count(state.constellations().count()),
        authorities: count(state.anchors().len()),
    }
}
