//! Members of a group in one process: disks in memory, a network that can be cut, and virtual time.

use futures::FutureExt;
use futures::future::BoxFuture;
use orbit_consensus::databases::{Batch, Databases, Incoming, Loaded, Pinned, Snapshot};
use orbit_consensus::{Group, GroupConfig, GroupError, Office, Transport, Unreachable, seed};
use orbit_core::grid::{
    Anchor, CertificateRecord, Change, Command, GridHeader, GridState, NodeRecord, Outcome, Role,
};
use orbit_core::ids::{GridId, NodeId, PeerKey, RequestId, Serial};
use orbit_store::{LogDisk, Mark, RaftLog, SnapshotManifest, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long anything may take before a test fails, in virtual time.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 16])
}

/// Waits until something is so.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Files in memory. Everything is durable at once.
#[derive(Debug, Default)]
pub struct MemoryDisk(Mutex<BTreeMap<String, Vec<u8>>>);

impl LogDisk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.0).keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        lock(&self.0).get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        lock(&self.0).entry(name.to_owned()).or_default().extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).expect("a small file");
        lock(&self.0).entry(name.to_owned()).or_default().truncate(len);
        Ok(())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        lock(&self.0).insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        lock(&self.0).remove(name);
        Ok(())
    }
}

/// What both databases of a member hold. Contents are only counted.
#[derive(Clone, Debug, Default)]
pub struct Held {
    pub state: GridState,
    pub requests: BTreeMap<RequestId, (u64, Outcome)>,
    pub jobs: Mark,
    pub universe: Mark,
    pub contents: usize,
}

/// Databases in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryDatabases {
    pub held: Arc<Mutex<Held>>,
    newest: Arc<Mutex<Option<Arc<MemorySnapshot>>>>,
    incoming: Arc<Mutex<BTreeMap<[u8; 32], Held>>>,
    /// Snapshots of everybody, by their parts' hash: what a part says is only this key.
    shared: Arc<Mutex<BTreeMap<[u8; 32], Held>>>,
    network: Network,
}

#[derive(Debug)]
struct MemorySnapshot {
    manifest: SnapshotManifest,
}

impl Snapshot for MemorySnapshot {
    fn manifest(&self) -> &SnapshotManifest {
        &self.manifest
    }

    fn read_part(&self, number: u32) -> Result<Vec<u8>, StoreError> {
        Ok(self.manifest.parts[number as usize].to_vec())
    }
}

struct MemoryPinned {
    databases: MemoryDatabases,
    held: Held,
}

impl Pinned for MemoryPinned {
    fn write(self: Box<Self>) -> Result<Arc<dyn Snapshot>, StoreError> {
        let manifest = manifest_of(&self.held);
        lock(&self.databases.shared).insert(manifest.parts[0], self.held);
        let snapshot = Arc::new(MemorySnapshot { manifest });
        *lock(&self.databases.newest) = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }
}

fn manifest_of(held: &Held) -> SnapshotManifest {
    let position = held.jobs.position.expect("something was applied");
    let mut key = [0; 32];
    key[..8].copy_from_slice(&position.index.to_le_bytes());
    key[8..16].copy_from_slice(&position.term.to_le_bytes());
    SnapshotManifest { mark: held.jobs.clone(), bytes: 32, parts: vec![key] }
}

struct MemoryIncoming {
    databases: MemoryDatabases,
    id: [u8; 32],
    have: u32,
    parts: Vec<[u8; 32]>,
}

impl Incoming for MemoryIncoming {
    fn have(&self) -> u32 {
        self.have
    }

    fn put(&mut self, number: u32, part: &[u8]) -> Result<(), StoreError> {
        assert_eq!(part, self.parts[number as usize]);
        self.have = number + 1;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        if self.databases.network.lose_completion.swap(false, Ordering::Relaxed) {
            self.databases.network.is_completing.store(true, Ordering::Relaxed);
        }
        let held = lock(&self.databases.shared)[&self.parts[0]].clone();
        lock(&self.databases.incoming).insert(self.id, held);
        Ok(())
    }
}

impl Databases for MemoryDatabases {
    fn jobs_mark(&self) -> Result<Mark, StoreError> {
        Ok(lock(&self.held).jobs.clone())
    }

    fn universe_mark(&self) -> Result<Mark, StoreError> {
        Ok(lock(&self.held).universe.clone())
    }

    fn load(&mut self) -> Result<Loaded, StoreError> {
        let held = lock(&self.held);
        let mut requests: Vec<_> =
            held.requests.iter().map(|(id, (index, outcome))| (*index, *id, outcome.clone())).collect();
        requests.sort_by_key(|(index, id, _)| (*index, *id));
        Ok(Loaded { state: held.state.clone(), requests })
    }

    fn commit_jobs(&mut self, batch: &Batch, mark: &Mark) -> Result<(), StoreError> {
        let mut held = lock(&self.held);
        for change in &batch.changes {
            held.state.absorb(change.clone());
        }
        for (index, id, outcome) in &batch.requests {
            held.requests.insert(*id, (*index, outcome.clone()));
        }
        for id in &batch.forgotten {
            held.requests.remove(id);
        }
        held.jobs = mark.clone();
        Ok(())
    }

    fn commit_universe(&mut self, changes: &[Change], mark: &Mark) -> Result<(), StoreError> {
        let mut held = lock(&self.held);
        held.contents += changes.len();
        held.universe = mark.clone();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn pin(&mut self) -> Result<Box<dyn Pinned>, StoreError> {
        Ok(Box::new(MemoryPinned { databases: self.clone(), held: lock(&self.held).clone() }))
    }

    fn newest_snapshot(&self) -> Result<Option<Arc<dyn Snapshot>>, StoreError> {
        Ok(lock(&self.newest).clone().map(|newest| newest as Arc<dyn Snapshot>))
    }

    fn pending_snapshot(&self) -> Result<Option<SnapshotManifest>, StoreError> {
        let applied = lock(&self.held).jobs.position;
        let complete = lock(&self.incoming);
        let above = complete.values().filter(|held| held.jobs.position > applied);
        Ok(above.max_by_key(|held| held.jobs.position).map(manifest_of))
    }

    fn receive(&mut self, manifest: &SnapshotManifest) -> Result<Box<dyn Incoming>, StoreError> {
        let (databases, parts) = (self.clone(), manifest.parts.clone());
        Ok(Box::new(MemoryIncoming { databases, id: manifest.hash(), have: 0, parts }))
    }

    fn install(&mut self, manifest: &SnapshotManifest) -> Result<(), StoreError> {
        *lock(&self.held) = lock(&self.incoming)[&manifest.hash()].clone();
        let snapshot = Arc::new(MemorySnapshot { manifest: manifest.clone() });
        *lock(&self.newest) = Some(snapshot);
        Ok(())
    }
}

/// Who can send to whom, and who is there.
#[derive(Clone, Debug, Default)]
pub struct Network {
    groups: Arc<Mutex<BTreeMap<NodeId, Group>>>,
    cut: Arc<Mutex<BTreeSet<(NodeId, NodeId)>>>,
    /// The answer to whoever completes a snapshot next is lost.
    pub lose_completion: Arc<AtomicBool>,
    is_completing: Arc<AtomicBool>,
}

struct Line {
    network: Network,
    from: NodeId,
}

impl Transport for Line {
    fn call(&self, to: NodeId, message: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, Unreachable>> {
        let (network, from) = (self.network.clone(), self.from);
        let gone = move |reason: &str| Unreachable { node: to, reason: reason.to_owned() };
        let is_cut = move |network: &Network, from, to| lock(&network.cut).contains(&(from, to));
        async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let group = lock(&network.groups).get(&to).cloned();
            let Some(group) = group.filter(|_| !is_cut(&network, from, to)) else {
                return Err(gone("nobody is there"));
            };
            let answer = group.answer(from, &message).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            if network.is_completing.swap(false, Ordering::Relaxed) {
                return Err(gone("the answer was lost"));
            }
            if is_cut(&network, to, from) { Err(gone("the answer was lost")) } else { Ok(answer) }
        }
        .boxed()
    }
}

/// Members, running or not.
pub struct World {
    pub network: Network,
    disks: BTreeMap<NodeId, Arc<MemoryDisk>>,
    pub databases: BTreeMap<NodeId, MemoryDatabases>,
    shared: Arc<Mutex<BTreeMap<[u8; 32], Held>>>,
    snapshot_every: u64,
}

impl World {
    pub fn new(snapshot_every: u64) -> Self {
        let (disks, databases, shared) = (BTreeMap::new(), BTreeMap::new(), Arc::default());
        Self { network: Network::default(), disks, databases, shared, snapshot_every }
    }

    /// The first member, with a grid that was just founded.
    pub async fn found(&mut self) -> Group {
        let (disk, databases) = self.machine(1);
        let state = founded();
        let mark = seed::sole_voter(id(1), seed::FOUNDED);
        *lock(&databases.held) = Held { state, jobs: mark.clone(), universe: mark, ..Held::default() };
        let log = RaftLog::open(disk).expect("an empty log");
        seed::log(&log, id(1), seed::FOUNDED).expect("a log that begins");
        drop(log);
        self.start(1).await
    }

    fn machine(&mut self, number: u8) -> (Arc<MemoryDisk>, MemoryDatabases) {
        let disk = self.disks.entry(id(number)).or_default();
        let databases = self.databases.entry(id(number)).or_insert_with(|| MemoryDatabases {
            shared: Arc::clone(&self.shared),
            network: self.network.clone(),
            ..MemoryDatabases::default()
        });
        (Arc::clone(disk), databases.clone())
    }

    /// Starts a member from what it has on its disks.
    pub async fn start(&mut self, number: u8) -> Group {
        let (disk, databases) = self.machine(number);
        let config = GroupConfig {
            snapshot_every: self.snapshot_every,
            entries_kept: self.snapshot_every / 2,
            is_inline: true,
            ..GroupConfig::new(id(number), u64::from(number))
        };
        let log = RaftLog::open(disk).expect("a sound log");
        let line = Arc::new(Line { network: self.network.clone(), from: id(number) });
        let group = Group::start(config, log, Box::new(databases), line).await.expect("a member");
        lock(&self.network.groups).insert(id(number), group.clone());
        group
    }

    /// Ends a member as a killed process ends.
    pub fn kill(&mut self, number: u8) {
        if let Some(group) = lock(&self.network.groups).remove(&id(number)) {
            group.kill();
        }
    }

    /// One, and the others up to `count` as voters.
    pub async fn of(count: u8, snapshot_every: u64) -> Self {
        let mut world = Self::new(snapshot_every);
        let first = world.found().await;
        until("the founder leads", || first.standing().borrow().office == Office::Leader).await;
        for number in 2..=count {
            world.start(number).await;
            first.add_learner(id(number)).await.expect("a learner");
        }
        let voters = (1..=count).map(id).collect();
        first.set_voters(voters).await.expect("voters");
        world
    }

    pub fn group(&self, number: u8) -> Group {
        lock(&self.network.groups)[&id(number)].clone()
    }

    pub fn running(&self) -> Vec<Group> {
        lock(&self.network.groups).values().cloned().collect()
    }

    /// Cuts or mends the way from one to another.
    pub fn cut(&self, from: u8, to: u8, is_cut: bool) {
        let way = (id(from), id(to));
        if is_cut {
            lock(&self.network.cut).insert(way)
        } else {
            lock(&self.network.cut).remove(&way)
        };
    }

    /// Cuts a member off from all others, both ways, or mends that.
    pub fn isolate(&self, number: u8, others: std::ops::RangeInclusive<u8>, is_cut: bool) {
        for other in others.filter(|other| *other != number) {
            self.cut(number, other, is_cut);
            self.cut(other, number, is_cut);
        }
    }

    /// Waits for a leader other than `not`.
    pub async fn leader(&self, not: Option<u8>) -> Group {
        let leads = |group: &Group| group.standing().borrow().office == Office::Leader && group.holds_lease();
        let found = || {
            let groups = lock(&self.network.groups);
            let mut candidates = groups.iter().filter(|(node, _)| Some(**node) != not.map(id));
            candidates.find(|(_, group)| leads(group)).map(|(_, group)| group.clone())
        };
        until("somebody leads", || found().is_some()).await;
        found().expect("it was there")
    }
}

/// Makes an empty constellation of this name.
pub async fn write(group: &Group, name: &str) -> Result<(), GroupError> {
    write_as(group, None, name).await
}

pub async fn write_as(group: &Group, request: Option<RequestId>, name: &str) -> Result<(), GroupError> {
    group.execute(request, Command::CreateConstellation { name: name.to_owned() }).await.map(drop)
}

/// Names of all constellations that a member knows.
pub fn names(group: &Group) -> BTreeSet<String> {
    group.with(|state| state.constellations().map(|constellation| constellation.name.clone()).collect())
}

fn founded() -> GridState {
    let certificate = CertificateRecord {
        serial: Serial::from_bytes([1; 16]),
        request_hash: [1; 32],
        authority: [1; 32],
        der: vec![1; 4],
        not_before_ms: 0,
        not_after_ms: 90 * 86_400_000,
    };
    let node = NodeRecord {
        id: id(1),
        name: "n1".to_owned(),
        key: PeerKey::from_bytes([1; 32]),
        role: Role::Nucleus,
        joined_ms: 0,
        is_draining: false,
        voting: orbit_core::grid::Voting::default(),
        certificate,
        profile: orbit_core::grid::Profile::default(),
    };
    let header =
        GridHeader { id: GridId::from_bytes([1; 16]), name: "home".to_owned(), epoch: 1, created_ms: 0 };
    let anchor = Anchor { der: vec![1; 4], cross_signed: Vec::new(), created_ms: 0, is_current: true };
    let mut state = GridState::default();
    for change in state.decide(&Command::Found { header, anchor, node }).expect("a new grid") {
        state.absorb(change);
    }
    state
}
