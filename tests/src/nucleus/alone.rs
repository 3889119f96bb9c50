//! The group alone, without daemons: three members in one process, their logs and databases on a real disk.

use orbit_consensus::{Group, GroupConfig, Office, Transport, Unreachable, seed};
use orbit_core::grid::{Change, Command, GridHeader};
use orbit_core::ids::{GridId, NodeId};
use orbit_store::{DirectoryDisk, Mark, NucleusStore, RaftLog};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Members.
const MEMBERS: u8 = 3;

/// Who is there.
type Members = Arc<Mutex<BTreeMap<NodeId, Group>>>;

/// A loopback: a message is handed to the other as it is.
struct Loopback {
    own: NodeId,
    members: Members,
}

impl Transport for Loopback {
    fn call(
        &self,
        to: NodeId,
        message: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, Unreachable>> + Send + 'static>> {
        let other = self.members.lock().expect("nobody panicked").get(&to).cloned();
        let own = self.own;
        Box::pin(async move {
            match other {
                Some(group) => Ok(group.answer(own, &message).await),
                None => Err(Unreachable { node: to, reason: "it is not there yet".to_owned() }),
            }
        })
    }
}

/// Measures how many changes of one constellation each `writers` make in a second, and how long one waits alone.
pub(super) fn measure(directory: &Path, writers: usize, seconds: u64) -> Value {
    let place = tempfile::tempdir_in(directory).expect("makes a directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("has a runtime");
    runtime.block_on(async {
        let members = Members::default();
        let ids: Vec<NodeId> = (1..=MEMBERS).map(|number| NodeId::from_bytes([number; 16])).collect();
        for id in &ids {
            start(place.path(), *id, ids[0], &members).await;
        }
        let leader = members.lock().expect("nobody panicked")[&ids[0]].clone();
        let mut standing = leader.standing();
        standing.wait_for(|now| now.office == Office::Leader).await.expect("elects itself");
        for id in &ids[1..] {
            leader.add_learner(*id).await.expect("adds a learner");
        }
        leader.set_voters(ids.iter().copied().collect::<BTreeSet<_>>()).await.expect("sets the voters");
        let one = latency(&leader).await;
        let rate = rate(&leader, writers, seconds).await;
        let groups: Vec<Group> = members.lock().expect("nobody panicked").values().cloned().collect();
        for group in groups {
            group.stop().await;
        }
        json!({ "writers": writers, "writes_per_second": rate, "one_writer_ms": one })
    })
}

async fn start(place: &Path, id: NodeId, founder: NodeId, members: &Members) {
    let directory = place.join(id.to_string());
    let raft = directory.join("raft");
    std::fs::create_dir_all(&raft).expect("makes a directory");
    let disk = DirectoryDisk::open(&raft).expect("opens the log's directory");
    let log = RaftLog::open(Arc::new(disk)).expect("opens the log");
    let header =
        GridHeader { id: GridId::from_bytes([7; 16]), name: "alone".to_owned(), epoch: 1, created_ms: 0 };
    let (records, mark) = if id == founder {
        seed::log(&log, id, seed::FOUNDED).expect("begins the log");
        (vec![Change::Header(header)], seed::sole_voter(id, seed::FOUNDED))
    } else {
        (Vec::new(), Mark::default())
    };
    let store = NucleusStore::seed(&directory, &records, &[], &mark).expect("makes databases");
    let transport = Loopback { own: id, members: Arc::clone(members) };
    let config = GroupConfig::new(id, u64::from(id.as_bytes()[0]));
    let group = Group::start(config, log, Box::new(store), Arc::new(transport)).await.expect("starts");
    members.lock().expect("nobody panicked").insert(id, group);
}

/// Makes a constellation and removes it.
async fn toggle(group: &Group, name: &str) {
    let create = Command::CreateConstellation { name: name.to_owned() };
    group.execute(None, create).await.expect("creates");
    let remove = Command::RemoveFromConstellation { name: name.to_owned(), nodes: Vec::new() };
    group.execute(None, remove).await.expect("removes");
}

async fn latency(group: &Group) -> Value {
    let mut times = Vec::new();
    for _ in 0..1_000 {
        let begun = Instant::now();
        toggle(group, "one").await;
        times.push(begun.elapsed() / 2);
    }
    super::bench::spread(times)
}

async fn rate(group: &Group, writers: usize, seconds: u64) -> u64 {
    let (is_over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = |number: usize| {
        let (group, stop, counter) = (group.clone(), Arc::clone(&is_over), Arc::clone(&count));
        tokio::spawn(async move {
            let name = format!("writer-{number}");
            while !stop.load(Ordering::Relaxed) {
                toggle(&group, &name).await;
                counter.fetch_add(2, Ordering::Relaxed);
            }
        })
    };
    let tasks: Vec<_> = (0..writers).map(writer).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, begun) = (count.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let rate = (count.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64();
    is_over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("a writer does not panic");
    }
    rate as u64
}
