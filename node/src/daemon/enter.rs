//! [`join`]: enters a grid by a token.
//!
//! ```text
//!   token ──▶ a node (--via, or whoever mDNS shows) ──▶ Hello: does its certificate lead to the pinned authority?
//!         ──▶ if it is not the Nucleus: it says where that is ──▶ the Nucleus, proved in the same way
//!         ──▶ only then: secret and certificate request ──▶ membership, kept on disk
//! ```

use super::config::Config;
use super::data_dir::{DataDir, Membership};
use super::error::DaemonError;
use super::lookup::resolve;
use crate::standalone::error::chain;
use crate::standalone::state::now_ms;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use orbit_core::grid::refusal::CertificateFault;
use orbit_core::grid::{JoinToken, Refusal, Role};
use orbit_core::wire::join::{Enrol, Enrolled, Hello, JoinReply, JoinRequest};
use orbit_mesh::key::NodeKey;
use orbit_mesh::net::{Limits, Mesh, MeshConfig, MeshEvent};
use orbit_mesh::pki::{AuthorityCertificate, SigningRequest, Trust, verify_against_pin};
use orbit_mesh::{Multiaddr, PeerId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout_at};

/// How long other nodes are looked for by mDNS.
const SEARCH: Duration = Duration::from_secs(10);
/// Nodes that are met at the same time: one that does not answer must not hold up the others.
const MET_AT_ONCE: usize = 8;
/// How long a grid that is electing is waited for, and the pause between attempts.
const FAILOVER: Duration = Duration::from_secs(8);
const AGAIN: Duration = Duration::from_millis(250);
/// Nuclei that are tried.
const NUCLEI_MAX: usize = 8;

/// What a grid is entered with.
#[derive(Clone, Debug, Default)]
pub struct JoinOptions {
    /// The join token, as pasted.
    pub token: String,
    /// Where a node of the grid is; found by mDNS unless given.
    pub via: Option<String>,
    /// The name wished for; the machine's host name unless given.
    pub name: Option<String>,
    /// Directories the grid may reach here.
    pub allow: Vec<PathBuf>,
    /// Holds no files for the grid.
    pub no_files: bool,
    /// Multiaddresses to listen on; port 4001 on all interfaces unless given.
    pub listen: Vec<String>,
    /// Do not look for other nodes by mDNS, nor be found by it.
    pub no_mdns: bool,
}

/// A grid that was entered.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Joined {
    /// Name of the grid.
    pub grid: String,
    /// Its id.
    pub grid_id: String,
    /// Name of the node, which may differ from the one wished for.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its key, as a libp2p peer id.
    pub peer: String,
    /// Its jail.
    pub allowed_paths: Vec<String>,
    /// Through which node it was admitted: its address.
    pub via: String,
    /// Where its data lies.
    pub data_dir: PathBuf,
}

/// Enters a grid. Nothing is kept unless the grid says yes, but the node's key and `star.toml`, which the next call
/// uses again.
pub fn join(data_dir: &Path, options: &JoinOptions) -> Result<Joined, DaemonError> {
    let token = JoinToken::parse(&options.token)?;
    let home = DataDir::new(data_dir);
    home.refuse_if_member()?;
    if options.allow.is_empty() && !options.no_files {
        return Err(DaemonError::NoPaths);
    }
    let mut config =
        Config::for_new_node(options.name.as_deref(), &options.allow, &options.listen, !options.no_mdns)?;
    config.via = options.via.iter().cloned().collect();
    home.create()?;
    let _lock = home.lock()?;
    let key = home.key_or_new()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DaemonError::Runtime)?;
    let (enrolled, via) = runtime.block_on(enter(&home, key, &token, &config))?;
    config.name.clone_from(&enrolled.name);
    config.save(&home.star_toml())?;
    let joined = Joined {
        grid: enrolled.grid_name.clone(),
        grid_id: enrolled.grid.to_string(),
        name: enrolled.name.clone(),
        id: enrolled.node.to_string(),
        peer: home.key()?.peer_id().to_string(),
        allowed_paths: config.allowed_paths.iter().map(|path| path.display().to_string()).collect(),
        via,
        data_dir: data_dir.to_owned(),
    };
    home.save_membership(&Membership {
        grid: enrolled.grid,
        grid_name: enrolled.grid_name,
        node: enrolled.node,
        certificate: enrolled.certificate,
        anchors: enrolled.anchors,
        revoked: Vec::new(),
        nuclei: enrolled.nuclei,
        fence: enrolled.fence,
    })?;
    Ok(joined)
}

async fn enter(
    home: &DataDir,
    key: NodeKey,
    token: &JoinToken,
    config: &Config,
) -> Result<(Enrolled, String), DaemonError> {
    let request = SigningRequest::create(&key)?;
    let mesh = MeshConfig {
        key,
        listen: Vec::new(),
        // With an address nobody is looked for; and who is looked for by mDNS need not be found.
        mdns: config.mdns && config.via.is_empty(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        limits: Limits::default(),
    };
    let (mesh, mut events) = Mesh::start(mesh, None).await?;
    let enrol = Enrol { token: token.id, secret: token.secret.to_vec(), request, name: config.name.clone() };
    let deadline = Instant::now() + FAILOVER;
    // The same request again is answered with the same certificate: if the Nucleus changes meanwhile, the next one is asked.
    let entered = loop {
        let found = match config.via.first() {
            Some(via) => ask_at(&mesh, via, token).await,
            None => search(&mesh, &mut events, token, config.mdns).await,
        };
        let entered = match found {
            Ok((peer, via)) => enrol_at(&mesh, peer, &enrol, token, via).await,
            Err(error) => Err(error),
        };
        match entered {
            Err(error) if is_for_now(&error) && Instant::now() < deadline => {
                tracing::debug!(error = chain(&error), "the Nucleus is looked for again");
                tokio::time::sleep(AGAIN).await;
            }
            entered => break entered,
        }
    };
    mesh.shutdown().await;
    let (enrolled, via) = entered?;
    check(home, token, &enrolled)?;
    Ok((enrolled, via))
}

async fn enrol_at(
    mesh: &Mesh,
    peer: PeerId,
    enrol: &Enrol,
    token: &JoinToken,
    via: String,
) -> Result<(Enrolled, String), DaemonError> {
    match mesh.join(peer, JoinRequest::Enrol(enrol.clone())).await? {
        JoinReply::Enrolled(enrolled) if enrolled.grid == token.grid => Ok((*enrolled, via)),
        JoinReply::Refused(refusal) => Err(refusal.into()),
        JoinReply::Enrolled(_) | JoinReply::Hello(_) | JoinReply::Nuclei(_) => {
            Err(DaemonError::OtherGrid { address: via })
        }
    }
}

/// Whether the grid may answer otherwise in a moment, because it is electing.
fn is_for_now(error: &DaemonError) -> bool {
    matches!(
        error,
        DaemonError::Refused(
            Refusal::NotNucleus { .. } | Refusal::NoNucleus { .. } | Refusal::NoQuorum { .. }
        ) | DaemonError::Ask(_)
            | DaemonError::NoNucleusYet
    )
}

/// What the grid gave must work before it is kept.
///
/// It has to lead from the authority that the token pins, as everything later has to lead from what is trusted then: a
/// Nucleus that was broken into must not make a newcomer another's.
fn check(home: &DataDir, token: &JoinToken, enrolled: &Enrolled) -> Result<(), DaemonError> {
    let anchors: Vec<Vec<u8>> = enrolled.anchors.iter().map(|anchor| anchor.0.clone()).collect();
    let is_pinned =
        |der: &&Vec<u8>| AuthorityCertificate::parse(der).is_ok_and(|anchor| anchor.pin() == token.pin);
    let pinned: Vec<Vec<u8>> = anchors.iter().filter(is_pinned).cloned().collect();
    let trust = Trust::new(token.grid, &pinned, [])?.follow(&anchors, [], now_ms())?;
    let own = home.key()?.key();
    match trust.verify(&enrolled.certificate, &own, now_ms()) {
        Ok(member) if member.node == enrolled.node && member.role != Role::Nucleus => Ok(()),
        Ok(_) => Err(Refusal::Certificate { reason: CertificateFault::Unreadable }.into()),
        Err(reason) => Err(Refusal::Certificate { reason }.into()),
    }
}

/// What a node turned out to be.
enum Met {
    /// The Nucleus of the token's grid: it may be told the secret.
    Nucleus,
    /// Another member of the token's grid. It knows where the Nucleus is, and is told nothing.
    Member,
    /// Of another grid, or of none.
    Stranger,
    /// It would count, but this clock is so far ahead of its clock (milliseconds) that nothing can be said.
    ClockAhead(i64),
}

fn judge(hello: &Hello, peer: PeerId, token: &JoinToken) -> Met {
    let Some(key) = orbit_mesh::key::key_of(&peer) else { return Met::Stranger };
    let anchors: Vec<Vec<u8>> = hello.anchors.iter().map(|anchor| anchor.0.clone()).collect();
    let verify = |now| verify_against_pin(&token.pin, token.grid, &anchors, &hello.certificate, &key, now);
    match verify(now_ms()) {
        Ok(certificate) if certificate.role.may_lead() && hello.is_nucleus => Met::Nucleus,
        Ok(_) => Met::Member,
        // Would it hold by the other side's clock? Then it is ours, or its, that is wrong.
        Err(CertificateFault::NotYet { .. } | CertificateFault::Expired { .. })
            if verify(hello.now_ms).is_ok() =>
        {
            Met::ClockAhead(now_ms() - hello.now_ms)
        }
        Err(_) => Met::Stranger,
    }
}

/// The Nucleus, by way of the node at an address that a person wrote.
async fn ask_at(mesh: &Mesh, via: &str, token: &JoinToken) -> Result<(PeerId, String), DaemonError> {
    let peer = mesh.connect(None, resolve(via).await?).await?;
    match judge(&mesh.hello(peer).await?, peer, token) {
        Met::Nucleus => Ok((peer, via.to_owned())),
        Met::Member => from_member(mesh, peer, token).await,
        Met::ClockAhead(ahead_ms) => Err(DaemonError::Clock { ahead_ms }),
        Met::Stranger => Err(DaemonError::OtherGrid { address: via.to_owned() }),
    }
}

/// The Nucleus, where another member says it is.
async fn from_member(
    mesh: &Mesh,
    member: PeerId,
    token: &JoinToken,
) -> Result<(PeerId, String), DaemonError> {
    let nuclei = match mesh.join(member, JoinRequest::Nuclei).await? {
        JoinReply::Nuclei(nuclei) => nuclei,
        JoinReply::Refused(refusal) => return Err(refusal.into()),
        JoinReply::Hello(_) | JoinReply::Enrolled(_) => Vec::new(),
    };
    let mut last = None;
    let mut met = false;
    for nucleus in nuclei.iter().take(NUCLEI_MAX) {
        let Some(peer) = orbit_mesh::key::peer_id_of(&nucleus.key) else { continue };
        let addresses: Vec<Multiaddr> =
            nucleus.addresses.iter().filter_map(|text| text.parse().ok()).collect();
        let shown = addresses.first().map(ToString::to_string).unwrap_or_default();
        match mesh.connect(Some(peer), addresses).await {
            Ok(_) => {
                let hello = mesh.hello(peer).await;
                if hello.is_ok_and(|hello| matches!(judge(&hello, peer, token), Met::Nucleus)) {
                    return Ok((peer, shown));
                }
                met = true;
            }
            Err(error) => last = Some(error),
        }
    }
    if met {
        return Err(DaemonError::NoNucleusYet);
    }
    Err(last.map_or_else(
        || DaemonError::NoGridFound {
            reason: "a member was found, but it knows no Nucleus".to_owned(),
            fix: "name the Nucleus itself: --via HOST; `orbit status` on a member tells which it is"
                .to_owned(),
        },
        DaemonError::from,
    ))
}

/// Asks everybody that mDNS shows until the Nucleus of the token's grid is found, or a member that knows where it is.
async fn search(
    mesh: &Mesh,
    events: &mut Receiver<MeshEvent>,
    token: &JoinToken,
    mdns: bool,
) -> Result<(PeerId, String), DaemonError> {
    if !mdns {
        return Err(DaemonError::NoGridFound {
            reason: "it was not looked for: mDNS is off".to_owned(),
            fix: "name a node of the grid: --via HOST".to_owned(),
        });
    }
    let mut seen = Seen::default();
    let deadline = Instant::now() + SEARCH;
    let mut meetings = FuturesUnordered::new();
    // Who is met right now, and where they were seen meanwhile.
    let mut in_hand: BTreeMap<PeerId, Option<Vec<Multiaddr>>> = BTreeMap::new();
    loop {
        tokio::select! {
            event = timeout_at(deadline, events.recv()), if in_hand.len() < MET_AT_ONCE => {
                let Ok(Some(event)) = event else { break };
                let MeshEvent::Discovered { peer, addresses } = event else { continue };
                if let Some(again) = in_hand.get_mut(&peer) {
                    *again = Some(addresses);
                } else if !seen.others.contains(&peer) {
                    in_hand.insert(peer, None);
                    meetings.push(meet(mesh, peer, addresses, token, deadline));
                }
            }
            Some((peer, outcome)) = meetings.next() => {
                let again = in_hand.remove(&peer).flatten();
                if let Some(found) = seen.note(peer, outcome) {
                    return found;
                }
                if let Some(addresses) = again.filter(|_| !seen.others.contains(&peer)) {
                    in_hand.insert(peer, None);
                    meetings.push(meet(mesh, peer, addresses, token, deadline));
                }
            }
        }
    }
    // The last ones end in a moment: they know the deadline too.
    while let Some((peer, outcome)) = meetings.next().await {
        if let Some(found) = seen.note(peer, outcome) {
            return found;
        }
    }
    Err(seen.explain())
}

/// What came of a meeting.
enum Meeting {
    /// Nobody answered at this address.
    Unreachable(String),
    /// It is the Nucleus, or leads to it.
    Found(PeerId, String),
    /// It is of the grid, and could not lead to its Nucleus.
    Astray(DaemonError),
    /// It is of another grid, or of none.
    Stranger,
    /// Nothing can be said until the clocks agree.
    Clock(i64),
}

/// Meets one node that mDNS showed.
async fn meet(
    mesh: &Mesh,
    peer: PeerId,
    addresses: Vec<Multiaddr>,
    token: &JoinToken,
    deadline: Instant,
) -> (PeerId, Meeting) {
    let shown = addresses.first().map(ToString::to_string).unwrap_or_default();
    let asked = async {
        mesh.connect(Some(peer), addresses).await.ok()?;
        mesh.hello(peer).await.ok()
    };
    let Some(hello) = timeout_at(deadline, asked).await.ok().flatten() else {
        return (peer, Meeting::Unreachable(shown));
    };
    let outcome = match judge(&hello, peer, token) {
        Met::Nucleus => return (peer, Meeting::Found(peer, shown)),
        Met::ClockAhead(ahead_ms) => return (peer, Meeting::Clock(ahead_ms)),
        Met::Member => match from_member(mesh, peer, token).await {
            Ok((nucleus, via)) => return (peer, Meeting::Found(nucleus, via)),
            Err(error) => Meeting::Astray(error),
        },
        Met::Stranger => Meeting::Stranger,
    };
    mesh.disconnect(peer).await;
    (peer, outcome)
}

/// Whom mDNS showed, and what came of it.
#[derive(Default)]
struct Seen {
    others: BTreeSet<PeerId>,
    unreachable: BTreeSet<String>,
    /// Why a member of the grid could not lead to its Nucleus.
    astray: Option<DaemonError>,
}

impl Seen {
    /// The end of the search, if this meeting is it.
    fn note(&mut self, peer: PeerId, outcome: Meeting) -> Option<Result<(PeerId, String), DaemonError>> {
        match outcome {
            Meeting::Found(nucleus, via) => return Some(Ok((nucleus, via))),
            Meeting::Clock(ahead_ms) => return Some(Err(DaemonError::Clock { ahead_ms })),
            Meeting::Unreachable(shown) => {
                self.unreachable.insert(shown);
                return None;
            }
            Meeting::Astray(error) => self.astray = Some(error),
            Meeting::Stranger => {}
        }
        self.others.insert(peer);
        None
    }

    /// Why nobody was found, from what was seen and what this machine offers.
    fn explain(self) -> DaemonError {
        if let Some(error) = self.astray {
            return error;
        }
        let searched = SEARCH.as_secs();
        let via = "name a node of the grid: --via HOST (the machine on which the token was made will do)";
        if !self.unreachable.is_empty() {
            let list: Vec<&str> = self.unreachable.iter().map(String::as_str).collect();
            return DaemonError::NoGridFound {
                reason: format!("mDNS showed a node at {}, but it could not be reached", list.join(", ")),
                fix: "let TCP port 4001 through the firewall there, or name another node with --via HOST"
                    .to_owned(),
            };
        }
        if !self.others.is_empty() {
            return DaemonError::NoGridFound {
                reason: format!("{} node(s) answered in {searched} s, all of other grids", self.others.len()),
                fix: via.to_owned(),
            };
        }
        let survey = orbit_mesh::survey(orbit_mesh::DEFAULT_PORT);
        let interfaces: Vec<String> = survey.discovery().map(|interface| interface.name.clone()).collect();
        if interfaces.is_empty() {
            return DaemonError::NoGridFound {
                reason: "no network interface here carries multicast".to_owned(),
                fix: via.to_owned(),
            };
        }
        DaemonError::NoGridFound {
            reason: format!(
                "nobody answered on {} in {searched} s; multicast does not cross routers, VLANs or a container's \
                 bridge network",
                interfaces.join(", ")
            ),
            fix: format!("{via}; in a container use the host's network; is `orbit node run` running there?"),
        }
    }
}
