//! Rows of the replicated `jobs.db`: the grid's records, counters, contents and remembered requests.
//!
//! A record is stored as the [`Change`] that makes it, so loading is absorbing every row. A row of another kind than
//! its key says, or that does not decode, is damage: a grid that forgets a revocation by accident must not run.

use crate::error::Damage;
use crate::record::checksum;
use crate::sqlite::Fault;
use orbit_core::grid::{Change, Content, Metered, Outcome, Refusal};
use orbit_core::ids::{NodeId, RequestId};
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::{decode, encode};
use rusqlite::{Row, Transaction, params};

const GRID_DAMAGED: Fault = Fault::Damage(Damage::Row { table: "grid" });
const CONTENTS_DAMAGED: Fault = Fault::Damage(Damage::Row { table: "contents" });
const REQUESTS_DAMAGED: Fault = Fault::Damage(Damage::Row { table: "requests" });

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
    Job = 8,
}

/// What a change does to the tables.
enum Effect<'a> {
    /// The record of this key is this change now.
    Put(Kind, Vec<u8>),
    /// The record of this key is gone.
    Remove(Kind, Vec<u8>),
    /// The record of this member is gone, and its counters with it.
    RemoveMember(NodeId),
    /// This member holds these contents too.
    AddContents(NodeId, &'a [Content]),
    /// Nothing is known of what this member holds.
    ForgetContents(NodeId),
    /// These are the counters of a member now.
    Meter(&'a Metered),
}

fn effect(change: &Change) -> Effect<'_> {
    match change {
        Change::Header(_) => Effect::Put(Kind::Header, Vec::new()),
        Change::Anchors(_) => Effect::Put(Kind::Anchors, Vec::new()),
        Change::Node(node) => Effect::Put(Kind::Node, node.id.as_bytes().to_vec()),
        Change::NodeRemoved(id) => Effect::RemoveMember(*id),
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
        Change::Job(record) => Effect::Put(Kind::Job, record.id.as_bytes().to_vec()),
        Change::JobRemoved(id) => Effect::Remove(Kind::Job, id.as_bytes().to_vec()),
        Change::Contents { holder, contents } => Effect::AddContents(*holder, contents),
        Change::ContentsForgotten(holder) => Effect::ForgetContents(*holder),
        Change::Metered(row) => Effect::Meter(row),
    }
}

/// Does to the tables what `change` says.
pub(super) fn store(transaction: &Transaction<'_>, change: &Change) -> Result<(), Fault> {
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
        Effect::Remove(kind, key) => remove(transaction, kind, &key)?,
        Effect::RemoveMember(id) => {
            remove(transaction, Kind::Node, id.as_bytes())?;
            transaction.prepare_cached("DELETE FROM metering WHERE node = ?1")?.execute([id.as_bytes()])?;
        }
        // As one row: rows of single contents would each touch a page of their own.
        Effect::AddContents(_, []) => {}
        Effect::AddContents(holder, _) => {
            let body = encode(change);
            transaction
                .prepare_cached("INSERT INTO contents (holder, crc, body) VALUES (?1, ?2, ?3)")?
                .execute(params![holder.as_bytes(), checksum(&[holder.as_bytes(), &body]), body])?;
        }
        Effect::ForgetContents(holder) => {
            transaction
                .prepare_cached("DELETE FROM contents WHERE holder = ?1")?
                .execute([holder.as_bytes()])?;
        }
        Effect::Meter(row) => {
            let body = encode(&(row.total, row.counted));
            transaction
                .prepare_cached(
                    "INSERT INTO metering (node, crc, body) VALUES (?1, ?2, ?3)
                     ON CONFLICT DO UPDATE SET crc = ?2, body = ?3",
                )?
                .execute(params![row.node.as_bytes(), checksum(&[row.node.as_bytes(), &body]), body])?;
        }
    }
    Ok(())
}

fn remove(transaction: &Transaction<'_>, kind: Kind, key: &[u8]) -> Result<(), Fault> {
    transaction
        .prepare_cached("DELETE FROM grid WHERE kind = ?1 AND key = ?2")?
        .execute(params![kind as i64, key])?;
    Ok(())
}

/// The change of a row of `kind, key, crc, body`.
pub(crate) fn record(row: &Row<'_>) -> Result<Change, Fault> {
    let (kind, key): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
    let (found, body): (u32, Vec<u8>) = (row.get(2)?, row.get(3)?);
    if found != crc(kind, &key, &body) {
        return Err(GRID_DAMAGED);
    }
    let change: Change = decode(&body).map_err(|_| GRID_DAMAGED)?;
    match effect(&change) {
        Effect::Put(is, of) if is as i64 == kind && of == key => Ok(change),
        _ => Err(GRID_DAMAGED),
    }
}

fn crc(kind: i64, key: &[u8], body: &[u8]) -> u32 {
    checksum(&[&kind.to_le_bytes(), key, body])
}

/// The counters of a row of `node, body`; `None` if it is damaged: they count from zero again.
pub(crate) fn counters(node: &[u8], body: &[u8]) -> Option<Metered> {
    let node = NodeId::from_bytes(node.try_into().ok()?);
    let (total, counted) = decode(body).ok()?;
    Some(Metered { node, total, counted })
}

/// The counters of a row of `node, crc, body`, as [`counters`].
pub(super) fn checked_counters(row: &Row<'_>) -> Result<Option<Metered>, Fault> {
    let (node, crc, body): (Vec<u8>, i64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let found = counters(&node, &body).filter(|_| crc == i64::from(checksum(&[&node, &body])));
    if found.is_none() {
        tracing::warn!("dropped a damaged counter");
    }
    Ok(found)
}

/// The contents of a row of `holder, crc, body`.
pub(super) fn contents(row: &Row<'_>) -> Result<(NodeId, Vec<Content>), Fault> {
    let (of, crc, body): (Vec<u8>, i64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
    match decode(&body) {
        Ok(Change::Contents { holder, contents })
            if holder.as_bytes() == &of[..] && crc == i64::from(checksum(&[&of, &body])) =>
        {
            Ok((holder, contents))
        }
        _ => Err(CONTENTS_DAMAGED),
    }
}

/// Remembers what came of a request.
pub(super) fn remember(
    transaction: &Transaction<'_>,
    (index, request, outcome): &(u64, RequestId, Outcome),
) -> Result<(), Fault> {
    // Each change by itself: one may be as large as a message may be.
    let packed = outcome
        .as_ref()
        .map(|changes| changes.iter().map(|change| Octets(encode(change))).collect::<Vec<_>>());
    let body = encode(&packed);
    transaction
        .prepare_cached(
            "INSERT INTO requests (id, entry, crc, body) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET entry = ?2, crc = ?3, body = ?4",
        )?
        .execute(params![request.as_bytes(), *index as i64, request_crc(*request, *index, &body), body])?;
    Ok(())
}

/// Forgets a request.
pub(super) fn forget(transaction: &Transaction<'_>, request: RequestId) -> Result<(), Fault> {
    transaction.prepare_cached("DELETE FROM requests WHERE id = ?1")?.execute([request.as_bytes()])?;
    Ok(())
}

/// The request of a row of `id, entry, crc, body`.
pub(super) fn request(row: &Row<'_>) -> Result<(u64, RequestId, Outcome), Fault> {
    let (request, index) = (RequestId::from_bytes(row.get(0)?), row.get::<_, i64>(1)? as u64);
    let (crc, body): (i64, Vec<u8>) = (row.get(2)?, row.get(3)?);
    if crc != i64::from(request_crc(request, index, &body)) {
        return Err(REQUESTS_DAMAGED);
    }
    let packed: Result<Vec<Octets>, Refusal> = decode(&body).map_err(|_| REQUESTS_DAMAGED)?;
    let outcome = match packed {
        Ok(changes) => {
            let changes = changes.iter().map(|change| decode(&change.0)).collect::<Result<_, _>>();
            Ok(changes.map_err(|_| REQUESTS_DAMAGED)?)
        }
        Err(refusal) => Err(refusal),
    };
    Ok((index, request, outcome))
}

fn request_crc(request: RequestId, index: u64, body: &[u8]) -> u32 {
    checksum(&[request.as_bytes(), &index.to_le_bytes(), body])
}
