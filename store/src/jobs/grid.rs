//! The grid's records, as the Nucleus keeps them, and what its stars did for it.
//!
//! A record is stored as the [`Change`] that makes it, so loading is absorbing every row. A row of another kind than
//! its key says, or that does not decode, is damage: a grid that forgets a revocation by accident must not run.

use super::{Fault, JobsDb};
use crate::error::{Damage, StoreError};
use crate::record::checksum;
use orbit_core::grid::{Change, GridState};
use orbit_core::ids::NodeId;
use orbit_core::wire::pulse::Metering;
use orbit_core::wire::{decode, encode};
use rusqlite::{Connection, Row, Transaction, params};

const DAMAGED: Fault = Fault::Damage(Damage::Row { table: "grid" });

/// Counters of one node. A node counts from zero again with each process, so what of its process is in the total is
/// kept with the total: a Nucleus that starts again neither counts it twice nor misses what came meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeteringRow {
    /// Whose.
    pub node: NodeId,
    /// All it did for the grid; `since_ms` means nothing here.
    pub total: Metering,
    /// The counters of its latest process, as far as they are in `total`.
    pub counted: Metering,
}

/// Kinds of records; their numbers are stored, and rows are loaded in this order.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
enum Kind {
    Header = 0,
    Anchors = 1,
    Node = 2,
    Token = 3,
    Constellation = 4,
    Revoked = 5,
    Superseded = 6,
    AuthorityKey = 7,
}

/// What a change does to the table.
enum Effect {
    /// The record of this key is this change now.
    Put(Kind, Vec<u8>),
    /// The record of this key is gone.
    Remove(Kind, Vec<u8>),
    /// It is kept elsewhere.
    None,
}

fn effect(change: &Change) -> Effect {
    match change {
        Change::Header(_) => Effect::Put(Kind::Header, Vec::new()),
        Change::Anchors(_) => Effect::Put(Kind::Anchors, Vec::new()),
        Change::Node(node) => Effect::Put(Kind::Node, node.id.as_bytes().to_vec()),
        Change::NodeRemoved(id) => Effect::Remove(Kind::Node, id.as_bytes().to_vec()),
        Change::Token(token) => Effect::Put(Kind::Token, token.id.as_bytes().to_vec()),
        Change::TokenRemoved(id) => Effect::Remove(Kind::Token, id.as_bytes().to_vec()),
        Change::Constellation(found) => Effect::Put(Kind::Constellation, found.name.clone().into_bytes()),
        Change::ConstellationRemoved(name) => Effect::Remove(Kind::Constellation, name.clone().into_bytes()),
        Change::Revoked { serial, .. } => Effect::Put(Kind::Revoked, serial.as_bytes().to_vec()),
        Change::RevocationForgotten(serial) => Effect::Remove(Kind::Revoked, serial.as_bytes().to_vec()),
        Change::Superseded { serial, .. } => Effect::Put(Kind::Superseded, serial.as_bytes().to_vec()),
        Change::SupersededForgotten(serial) => Effect::Remove(Kind::Superseded, serial.as_bytes().to_vec()),
        Change::AuthorityKey { pin, .. } => Effect::Put(Kind::AuthorityKey, pin.to_vec()),
        Change::AuthorityKeyForgotten(pin) => Effect::Remove(Kind::AuthorityKey, pin.to_vec()),
        Change::Contents { .. } | Change::ContentsForgotten(_) | Change::Metered(_) => Effect::None,
    }
}

impl JobsDb {
    /// Stores changes of the grid's state, all or none; they are on the disk when this returns.
    pub fn store_changes(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.durably(|this| {
            this.write("store changes of the grid", |transaction| {
                changes.iter().try_for_each(|change| store(transaction, change))
            })
        })
    }

    /// The grid's state; an empty one if there is no grid. A damaged record is an error, never left out.
    pub fn load_grid(&self) -> Result<GridState, StoreError> {
        self.read("load the grid", |connection| {
            let mut state = GridState::default();
            let mut statement =
                connection.prepare("SELECT kind, key, crc, body FROM grid ORDER BY kind, key")?;
            for change in statement.query_and_then([], stored)? {
                state.absorb(change?);
            }
            Ok(state)
        })
    }

    /// Forgets the grid, with its counters.
    pub fn forget_grid(&mut self) -> Result<(), StoreError> {
        self.durably(|this| {
            this.write("forget the grid", |transaction| {
                Ok(transaction.execute_batch("DELETE FROM grid; DELETE FROM metering;")?)
            })
        })
    }

    /// Keeps counters of nodes in place of those kept before. A power cut may take back the last ones.
    pub fn put_metering(&mut self, rows: &[MeteringRow]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.write("keep counters", |transaction| {
            let mut put = transaction.prepare_cached(
                "INSERT INTO metering (node, body) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET body = ?2",
            )?;
            for row in rows {
                put.execute(params![row.node.as_bytes(), encode(&(row.total, row.counted))])?;
            }
            Ok(())
        })
    }

    /// The counters of all nodes that have any. A damaged counter counts from zero again.
    pub fn all_metering(&self) -> Result<Vec<MeteringRow>, StoreError> {
        self.read("read counters", all_metering)
    }

    /// Runs a write that is on the disk when it returns.
    fn durably<T>(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.set_durability("FULL")?;
        let result = write(self);
        self.set_durability("NORMAL")?;
        result
    }
}

fn store(transaction: &Transaction<'_>, change: &Change) -> Result<(), Fault> {
    match effect(change) {
        Effect::Put(kind, key) => {
            let body = encode(change);
            transaction
                .prepare_cached(
                    "INSERT INTO grid (kind, key, crc, body) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET crc = ?3, body = ?4",
                )?
                .execute(params![kind as i64, key, crc(kind as i64, &key, &body), body])?;
        }
        Effect::Remove(kind, key) => {
            transaction
                .prepare_cached("DELETE FROM grid WHERE kind = ?1 AND key = ?2")?
                .execute(params![kind as i64, key])?;
        }
        Effect::None => {}
    }
    Ok(())
}

fn stored(row: &Row<'_>) -> Result<Change, Fault> {
    let (kind, key): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
    let (found, body): (u32, Vec<u8>) = (row.get(2)?, row.get(3)?);
    if found != crc(kind, &key, &body) {
        return Err(DAMAGED);
    }
    let change: Change = decode(&body).map_err(|_| DAMAGED)?;
    match effect(&change) {
        Effect::Put(is, of) if is as i64 == kind && of == key => Ok(change),
        _ => Err(DAMAGED),
    }
}

fn crc(kind: i64, key: &[u8], body: &[u8]) -> u32 {
    checksum(&[&kind.to_le_bytes(), key, body])
}

fn all_metering(connection: &Connection) -> Result<Vec<MeteringRow>, Fault> {
    let mut statement = connection.prepare_cached("SELECT node, body FROM metering")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    let mut found = Vec::new();
    for row in rows {
        let (node, body) = row?;
        if let (Ok(id), Ok((total, counted))) = (<[u8; 16]>::try_from(node.as_slice()), decode(&body)) {
            found.push(MeteringRow { node: NodeId::from_bytes(id), total, counted });
        } else {
            tracing::warn!("dropped a damaged counter");
        }
    }
    Ok(found)
}
