//! Values to store.

use orbit_core::{Chunk, FileIdentity, Timestamp};
use orbit_store::{CachedManifest, Checkpoint, NewPlan, NewRun, NewStep, PlanId, RunId};

/// A clock long after every time stamp here.
pub const NOW: Timestamp = at(2_000_000_000);

pub const fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

pub fn identity(ino: u64) -> FileIdentity {
    FileIdentity { dev: u64::MAX - 1, ino, size: ino * 10, mtime: at(-5), ctime: at(1_000_000_000) }
}

pub fn chunk(n: u64) -> Chunk {
    let mut hash = [0x5a; 32];
    hash[..8].copy_from_slice(&n.to_le_bytes());
    Chunk { hash: hash.into(), len: n as u32 }
}

pub fn manifest(ino: u64, chunk_count: u64) -> CachedManifest {
    let chunks = Some((0..chunk_count).map(|n| chunk(ino + n)).collect());
    CachedManifest { identity: identity(ino), params_id: 7, root: chunk(ino).hash, chunks }
}

pub fn run(n: u8) -> NewRun {
    NewRun {
        id: RunId::from_bytes([n; 16]),
        command: format!("sync {n}"),
        source: b"/a\xff".to_vec(),
        destination: b"/b".to_vec(),
        started_ms: i64::from(n),
        pid: u32::MAX,
    }
}

pub fn plan(first_byte: u8) -> NewPlan {
    let mut id = [0xab; 16];
    id[0] = first_byte;
    NewPlan {
        id: PlanId::from_bytes(id),
        created_ms: i64::from(first_byte),
        source: b"/a".to_vec(),
        destination: b"/b".to_vec(),
        options: vec![0, 1, 2],
        saved: true,
    }
}

pub fn step(seq: u64, rank: i64) -> NewStep {
    NewStep { seq, rank, bytes: seq ^ 0x55, body: format!("step {seq} of rank {rank}").into_bytes() }
}

pub fn checkpoint(name: &str, verified_len: u64) -> Checkpoint {
    Checkpoint {
        destination_root: b"/b".to_vec(),
        path: name.as_bytes().to_vec(),
        stage_name: format!(".stage-{name}").into_bytes(),
        source: identity(u64::MAX / 20),
        verified_len,
    }
}
