//! [`World`]: hosts, lines, stars and rules of one seed.

use super::databases::{Cabinet, Image, Jobs, Universe, Vault};
use super::disk::{Platter, SimDisk};
use super::host::Host;
use super::invariants::Watch;
use super::life::Life;
use super::network::{Network, Place};
use super::office::Wish;
use super::plant::Plant;
use super::settings::Settings;
use super::star::Star;
use super::trace::Trace;
use crate::random::Random;
use orbit_consensus::{Office, Standing, seed};
use orbit_core::grid::{Anchor, CertificateRecord, Change, GridHeader, NodeRecord, Profile, Role, Voting};
use orbit_core::ids::{GridId, NodeId, PeerKey, Serial};
use orbit_store::RaftLog;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The clock of the world at its beginning, milliseconds since 1970.
const BEGINS_MS: i64 = 1_700_000_000_000;
/// Members that are no machines here: their names and versions are the registers that clients write and read.
pub const MEMBERS: usize = 6;
/// How long certificates are valid, milliseconds.
const YEAR_MS: i64 = 365 * 86_400_000;

/// Everything of one seed.
#[derive(Debug)]
pub struct World {
    /// What happens.
    pub trace: Arc<Trace>,
    /// Chance, for what has no source of its own.
    pub random: Random,
    /// The lines.
    pub network: Arc<Network>,
    /// The rules.
    pub watch: Arc<Watch>,
    /// The machines.
    pub hosts: Vec<Arc<Host>>,
    /// Who obeys.
    pub stars: Vec<Star>,
    /// What was drawn.
    pub settings: Settings,
    /// The bug that is planted.
    pub plant: Option<Plant>,
    /// Members whose records are registers.
    pub members: Vec<NodeId>,
    wishes: Mutex<Vec<Wish>>,
    moments: AtomicU64,
    is_over: AtomicBool,
}

fn node_id(kind: u8, number: usize) -> NodeId {
    let mut bytes = [kind; 16];
    bytes[15] = number as u8 + 1;
    NodeId::from_bytes(bytes)
}

/// A member's record.
pub fn record(random: &Random, id: NodeId, name: &str, role: Role, now_ms: i64) -> NodeRecord {
    NodeRecord {
        id,
        name: name.to_owned(),
        key: PeerKey::from_bytes(drawn(random)),
        role,
        joined_ms: now_ms,
        is_draining: false,
        voting: Voting::Auto,
        certificate: CertificateRecord {
            serial: Serial::from_bytes(drawn(random)),
            request_hash: drawn(random),
            authority: [1; 32],
            der: vec![1; 8],
            not_before_ms: now_ms - 3_600_000,
            not_after_ms: now_ms + YEAR_MS,
        },
        profile: Profile {
            version: "v-0".to_owned(),
            platform: "simulated".to_owned(),
            ..Profile::default()
        },
    }
}

/// Bytes by chance.
pub fn drawn<const N: usize>(random: &Random) -> [u8; N] {
    std::array::from_fn(|_| random.below(256) as u8)
}

impl World {
    /// A grid that was just founded on the first of the machines, which are all off.
    pub fn new(
        seed: u64,
        settings: Settings,
        plant: Option<Plant>,
        random: &Random,
        trace: Arc<Trace>,
    ) -> Arc<Self> {
        let watch = Watch::new(&trace);
        let vault = Arc::new(Vault::default());
        let named: Vec<(String, NodeId)> =
            (0..settings.hosts).map(|place| (format!("n{}", place + 1), node_id(0xaa, place))).collect();
        let network = Network::new(&trace, random.fork(), &named);
        let members: Vec<NodeId> = (0..MEMBERS).map(|number| node_id(0xcc, number)).collect();
        let changes = founding(random, &named, &members);
        let hosts = named.iter().enumerate().map(|(place, (name, id))| {
            let platter = Platter::new(name, random.fork(), plant);
            let founds = place == 0;
            let image = founds.then(|| {
                let mark = seed::sole_voter(*id, seed::FOUNDED);
                Image { jobs: Jobs::seed(&changes, &mark), universe: Universe::seed(&mark) }
            });
            if founds {
                found_log(&platter, *id, &trace);
            }
            let cabinet = Cabinet::new(name, random.fork(), plant, &vault, &watch, image);
            Host::new((place, name.clone(), *id), platter, cabinet, random.fork())
        });
        let hosts = hosts.collect();
        trace.note("seed", format_args!("{seed}: {settings:?}, plant {plant:?}"));
        Arc::new(Self {
            trace,
            random: random.fork(),
            network,
            watch,
            hosts,
            stars: (0..settings.stars).map(|_| Star::default()).collect(),
            settings,
            plant,
            members,
            wishes: Mutex::default(),
            moments: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        })
    }

    /// A node's name in the trace.
    pub fn name_of(&self, node: NodeId) -> String {
        let host = self.hosts.iter().find(|host| host.id == node);
        host.map_or_else(|| node.to_string(), |host| host.name.clone())
    }

    /// Where a star is.
    pub fn star_place(&self, number: usize) -> Place {
        self.hosts.len() + number
    }

    /// Where a client is.
    pub fn client_place(&self, number: usize) -> Place {
        self.hosts.len() + self.stars.len() + number
    }

    /// What a clock that is right shows, milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        BEGINS_MS + i64::try_from(self.trace.now_ms()).unwrap_or(i64::MAX / 2)
    }

    /// The next moment: events are numbered in the order they happen.
    pub fn moment(&self) -> u64 {
        self.moments.fetch_add(1, Ordering::Relaxed)
    }

    /// A person wants something of whoever leads.
    pub fn wish(&self, wish: Wish) {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner).push(wish);
    }

    /// The oldest wish that nobody has heard yet.
    pub fn take_wish(&self) -> Option<Wish> {
        let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        if wishes.is_empty() { None } else { Some(wishes.remove(0)) }
    }

    /// Clients begin nothing new.
    pub fn close(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether clients begin nothing new.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Whether the group survives the loss of this host: all that vote know of three voters or more, and of no change.
    pub fn can_spare(&self, place: Place) -> bool {
        let standings: Vec<Standing> = self
            .hosts
            .iter()
            .filter_map(|host| host.handle())
            .map(|handle| handle.group.standing().borrow().clone())
            .collect();
        let Some(leads) = standings.iter().find(|standing| standing.office == Office::Leader) else {
            return false;
        };
        let agrees = |voter: &&NodeId| {
            let host = self.hosts.iter().find(|host| host.id == **voter);
            let standing =
                host.and_then(|host| host.handle()).map(|handle| handle.group.standing().borrow().clone());
            standing.is_some_and(|known| known.voters == leads.voters && known.outgoing.is_none())
        };
        let is_voter = leads.voters.contains(&self.hosts[place].id);
        leads.voters.len() >= 3 && is_voter && leads.voters.iter().all(|voter| agrees(&voter))
    }

    /// What every host says of itself, for people.
    pub fn standing(&self) -> String {
        let of_one = |host: &Arc<Host>| {
            let Some(handle) = host.handle() else {
                return format!("{} down{}", host.name, if host.is_gone() { " for ever" } else { "" });
            };
            let standing = handle.group.standing().borrow().clone();
            let progress = handle.group.progress();
            let index =
                |position: Option<orbit_store::LogPosition>| position.map_or(0, |position| position.index);
            format!(
                "{} {:?} term {} of {:?}, applied {} of {}, voters {:?}",
                host.name,
                standing.office,
                standing.term,
                standing.leader.map(|id| self.name_of(id)),
                index(progress.applied),
                index(progress.last),
                standing.voters.iter().map(|id| self.name_of(*id)).collect::<Vec<_>>(),
            )
        };
        self.hosts.iter().map(of_one).collect::<Vec<_>>().join("; ")
    }
}

fn founding(random: &Random, hosts: &[(String, NodeId)], members: &[NodeId]) -> Vec<Change> {
    let header = GridHeader {
        id: GridId::from_bytes([9; 16]),
        name: "home".to_owned(),
        epoch: 1,
        created_ms: BEGINS_MS,
    };
    let anchor =
        Anchor { der: vec![1; 8], cross_signed: Vec::new(), created_ms: BEGINS_MS, is_current: true };
    let mut changes = vec![Change::Header(header), Change::Anchors(vec![anchor])];
    for (place, (name, id)) in hosts.iter().enumerate() {
        let role = if place == 0 { Role::Nucleus } else { Role::Star };
        changes.push(Change::Node(record(random, *id, name, role, BEGINS_MS)));
    }
    for (number, id) in members.iter().enumerate() {
        changes.push(Change::Node(record(random, *id, &format!("m{number}-0"), Role::Witness, BEGINS_MS)));
    }
    changes
}

/// What founding leaves in the log of the first node.
fn found_log(platter: &Arc<Platter>, node: NodeId, trace: &Arc<Trace>) {
    let life = Life::begin("n1", None, trace);
    let log = RaftLog::open(SimDisk::open(platter, &life)).expect("an empty disk is good");
    seed::log(&log, node, seed::FOUNDED).expect("an empty disk is good");
}
