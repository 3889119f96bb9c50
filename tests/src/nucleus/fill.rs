//! [`fill`]: a grid of one node gets as much to know as one of many nodes with many files.

use orbit_consensus::{Group, GroupConfig, Office, Transport, Unreachable};
use orbit_core::grid::{Command, Content, NodeRecord, Role, TokenRecord};
use orbit_core::ids::{NodeId, PeerKey, Serial, TokenId};
use orbit_core::{Chunk, ContentHash};
use orbit_store::{DirectoryDisk, NucleusStore, RaftLog};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

/// Chunks of a file.
const CHUNKS: u64 = 64;
/// Bytes of a chunk.
const CHUNK_BYTES: u32 = 65_536;
/// Contents of one command of the log.
const CONTENTS_AT_ONCE: u64 = 10_000;
/// About how many bytes of a snapshot one content takes with its chunks: counted, not computed.
const BYTES_OF_A_CONTENT: u64 = 3_000;

/// What it got.
#[derive(Clone, Copy, Debug)]
pub struct Filled {
    /// Contents recorded.
    pub contents: u64,
    /// Chunks of them.
    pub chunks: u64,
    /// Size of a snapshot of it.
    pub snapshot_bytes: u64,
}

/// Nobody else.
struct Alone;

impl Transport for Alone {
    fn call(
        &self,
        to: NodeId,
        _: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, Unreachable>> + Send + 'static>> {
        Box::pin(async move { Err(Unreachable { node: to, reason: "it is alone".to_owned() }) })
    }
}

/// Fills the records of the only node of a grid, whose daemon does not run, until a snapshot of them has about so many
/// bytes: by commands, as the Nucleus does, and with the chunks that the nodes' manifests would give.
///
/// # Panics
/// If anything fails.
pub fn fill(data_dir: &Path, bytes: u64) -> Filled {
    let nucleus = data_dir.join("nucleus");
    let disk = DirectoryDisk::open(&nucleus.join("raft")).expect("opens the log's directory");
    let log = RaftLog::open(Arc::new(disk)).expect("opens the log");
    let store = NucleusStore::open(&nucleus).expect("opens the records").expect("has records");
    let universe = store.universe();
    let state = store.load().expect("loads").state;
    let founder = state.nodes().next().expect("has a node").clone();
    let contents = (bytes / BYTES_OF_A_CONTENT).max(CONTENTS_AT_ONCE);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("has a runtime");
    let snapshot_bytes = runtime.block_on(async {
        let config = GroupConfig::new(founder.id, 1);
        let group = Group::start(config, log, Box::new(store), Arc::new(Alone)).await.expect("starts");
        let mut standing = group.standing();
        standing.wait_for(|now| now.office == Office::Leader).await.expect("elects itself");
        let holder = enrol(&group, &founder).await;
        for first in (0..contents).step_by(CONTENTS_AT_ONCE as usize) {
            let contents = (first..contents.min(first + CONTENTS_AT_ONCE)).map(content).collect();
            group.execute(None, Command::RecordContents { holder, contents }).await.expect("records");
        }
        let manifest = |n: u64| (root(n), (0..CHUNKS).map(move |at| chunk(n * CHUNKS + at)));
        universe.get().fill_many((0..contents).map(manifest)).expect("fills the universe");
        let snapshot = group.write_snapshot().await.expect("writes a snapshot");
        let bytes = snapshot.manifest().bytes;
        group.stop().await;
        bytes
    });
    Filled { contents, chunks: contents * CHUNKS, snapshot_bytes }
}

/// A member that is never there, so that nobody asks it what it holds.
async fn enrol(group: &Group, founder: &NodeRecord) -> NodeId {
    let (id, now_ms) = (NodeId::from_bytes([9; 16]), founder.joined_ms);
    let token = TokenRecord {
        id: TokenId::from_bytes([9; TokenId::LEN]),
        secret_hash: [9; 32],
        authority: founder.certificate.authority,
        role: Role::Star,
        uses: 1,
        used_by: Vec::new(),
        created_ms: now_ms,
        expires_ms: now_ms + 3_600_000,
        created_on: founder.id,
    };
    let mut node =
        NodeRecord { id, name: "archive".to_owned(), key: PeerKey::from_bytes([9; 32]), ..founder.clone() };
    node.certificate.serial = Serial::from_bytes([9; Serial::LEN]);
    node.certificate.request_hash = [9; 32];
    let enrol = Command::Enrol { token: token.id, secret_hash: token.secret_hash, node, now_ms };
    group.execute(None, Command::CreateToken { token }).await.expect("creates a token");
    group.execute(None, enrol).await.expect("enrols a member");
    id
}

/// Any numbers, evenly spread (splitmix64).
const fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn hash(n: u64) -> ContentHash {
    let mut bytes = [0; 32];
    for (part, at) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(0..) {
        *part = mixed(n.wrapping_mul(4).wrapping_add(at)).to_le_bytes();
    }
    bytes.into()
}

fn chunk(n: u64) -> Chunk {
    Chunk { hash: hash(n), len: CHUNK_BYTES }
}

fn root(n: u64) -> ContentHash {
    hash(n | 1 << 60)
}

fn content(n: u64) -> Content {
    Content { root: root(n), bytes: CHUNKS * u64::from(CHUNK_BYTES), chunks: CHUNKS as u32 }
}
