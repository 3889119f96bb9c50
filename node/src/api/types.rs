//! The objects of the API, written once: the daemon gives them, the CLI prints them, `--json` shows them as they are.

use serde::{Deserialize, Serialize};

/// `GET /v1/node`: the node that answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThisNode {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The grid it belongs to.
    pub grid: GridView,
    /// Whether it acts as the Nucleus.
    pub is_nucleus: bool,
    /// Id of the Nucleus it is connected to.
    pub nucleus: Option<String>,
    /// Why it is not connected to the Nucleus, if it is not.
    pub trouble: Option<String>,
    /// Libp2p peer id.
    pub peer: String,
    /// Multiaddresses it listens on.
    pub addresses: Vec<String>,
    /// Its version.
    pub version: String,
    /// Its jail.
    pub allowed_paths: Vec<String>,
    /// When its certificate ends, milliseconds since 1970.
    pub certificate_expires_ms: i64,
    /// How far its clock is ahead of the Nucleus's, milliseconds.
    pub clock_ahead_ms: Option<i64>,
    /// Messages from outside that were dropped, by reason.
    pub dropped: Vec<Counter>,
    /// How heartbeats of the last minutes were answered, microseconds.
    pub heartbeat_rtt: Option<Percentiles>,
    /// Resident memory of the process, bytes.
    pub memory_own: u64,
    /// Bytes sent by this node's mesh.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
}

/// A count with its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// What is counted.
    pub name: String,
    /// How many.
    pub count: u64,
}

/// How a measured value is distributed, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Values measured.
    pub count: u64,
    /// Half are below.
    pub p50_us: u64,
    /// 99 of 100 are below.
    pub p99_us: u64,
    /// None is above.
    pub max_us: u64,
}

/// A grid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GridView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// One sentence: healthy or not, and how many failures the grid survives.
    pub sentence: String,
    /// Whether nothing needs attention.
    pub is_healthy: bool,
    /// Voters that may fail while commands still work.
    pub tolerates_failures: u32,
    /// The grid.
    pub grid: GridView,
    /// Name of the Nucleus; none: there is none that is known to act.
    pub nucleus: Option<String>,
    /// Epoch of the grid.
    pub epoch: u32,
    /// Term of the Nucleus.
    pub term: u64,
    /// How many nodes there are in each state.
    pub nodes: NodeCounts,
    /// Who elects the Nucleus.
    pub group: GroupView,
    /// Name of the node that tells this.
    pub told_by: String,
    /// When this was so, milliseconds since 1970; none: now. No Nucleus confirms it.
    pub as_of_ms: Option<i64>,
    /// The universe, while it is made anew of what the stars hold.
    pub rebuilding: Option<RebuildView>,
    /// What the universe of the node that tells this knows; none if it has none.
    pub universe: Option<UniverseView>,
    /// What needs attention, with what to do.
    pub problems: Vec<Problem>,
    /// What is good to know and needs no attention.
    pub remarks: Vec<String>,
}

/// Who elects the Nucleus. Also `GET /v1/group`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// Who votes; the Nucleus first, then by name.
    pub voters: Vec<VoterView>,
    /// Who holds the data and does not vote, by name.
    pub learners: Vec<VoterView>,
    /// How many voters must agree.
    pub needed: u32,
    /// Whether they do: whether anything can be changed.
    pub has_quorum: bool,
}

/// A node that votes, or holds the data without a vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoterView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it acts as the Nucleus.
    pub is_nucleus: bool,
    /// Whether it is heard by the node that tells this; none: that is not known.
    pub is_heard: Option<bool>,
    /// Since when it is not, milliseconds since 1970, if that is known.
    pub silent_since_ms: Option<i64>,
    /// Entries of the log that it does not have yet, as far as that is known.
    pub behind: Option<u64>,
    /// Why it does not vote, or votes only for now.
    pub note: Option<String>,
}

/// How much the universe knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UniverseView {
    /// Contents that are recorded.
    pub contents: u64,
    /// Those of them whose chunks are not known yet.
    pub wanted: u64,
    /// Records of chunks.
    pub chunks: u64,
    /// Bytes of all contents.
    pub bytes: u64,
}

/// How far the universe is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildView {
    /// Contents whose chunks are known again.
    pub done: u64,
    /// All contents.
    pub total: u64,
}

/// How many nodes are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCounts {
    /// All.
    pub total: u32,
    /// Heard lately.
    pub ready: u32,
    /// A few heartbeats are missing.
    pub suspect: u32,
    /// Given up until they are heard again.
    pub lost: u32,
    /// Take no new work (counted above too).
    pub draining: u32,
}

/// Something that needs attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// State of a node as the Nucleus sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Heard lately.
    Ready,
    /// A few heartbeats are missing.
    Suspect,
    /// Given up until it is heard again.
    Lost,
    /// There is no Nucleus that would know.
    Unknown,
}

/// What a node does in the group that elects the Nucleus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// It acts as the Nucleus.
    Nucleus,
    /// It votes.
    Voter,
    /// It holds the data and does not vote.
    Learner,
    /// Nothing.
    #[default]
    None,
}

/// `GET /v1/nodes`, `GET /v1/nodes/{node}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `star`, `witness` or `nucleus`: what its certificate allows.
    pub role: String,
    /// Whether it acts as the Nucleus now.
    pub is_nucleus: bool,
    /// What it does in the group that elects the Nucleus.
    pub part: Part,
    /// What a person wants of its vote: `auto`, `wanted` (promoted) or `unwanted` (demoted).
    pub voting: String,
    /// Why it does not vote, or votes only for now.
    pub vote_note: Option<String>,
    /// Whether it is heard.
    pub state: NodeState,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
    /// Takes no new work.
    pub is_draining: bool,
    /// When it was last heard, milliseconds since 1970; none: not since the Nucleus started.
    pub last_seen_ms: Option<i64>,
    /// When it joined, milliseconds since 1970.
    pub joined_ms: i64,
    /// Version of its `orbit`.
    pub version: String,
    /// Operating system and processor.
    pub platform: String,
    /// Libp2p peer id.
    pub peer: String,
    /// Multiaddresses it listens on.
    pub addresses: Vec<String>,
    /// How it is connected to the Nucleus; none: it is the Nucleus, or not connected.
    pub link: Option<LinkView>,
    /// What its machine is busy with.
    pub load: Option<LoadView>,
    /// Its jail.
    pub allowed_paths: Vec<String>,
    /// Jobs it works on.
    pub jobs: u32,
    /// Constellations it belongs to.
    pub constellations: Vec<String>,
    /// Its certificate.
    pub certificate: CertificateView,
    /// What it did for the grid.
    pub metering: MeteringView,
    /// How far its clock is ahead of the Nucleus's, milliseconds.
    pub clock_ahead_ms: Option<i64>,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkView {
    /// `tcp4` or `tcp6`.
    pub kind: String,
    /// Multiaddress of the other end.
    pub address: String,
    /// Which end dialled: `out` from the Nucleus, `in` to it.
    pub direction: String,
    /// Round trip of the last heartbeat, microseconds.
    pub rtt_us: Option<u32>,
}

/// What a machine is busy with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadView {
    /// Processor use, 0 to 100 of all cores.
    pub cpu_percent: f32,
    /// Cores.
    pub cores: u16,
    /// Bytes.
    pub memory_total: u64,
    /// Bytes that programs can still get.
    pub memory_available: u64,
    /// Resident memory of the node's process, bytes.
    pub memory_own: u64,
    /// Disks under the allowed paths.
    pub disks: Vec<DiskView>,
    /// Calls being answered.
    pub calls_running: u32,
}

/// A file system under an allowed path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskView {
    /// The allowed path.
    pub path: String,
    /// Bytes.
    pub total: u64,
    /// Bytes that can still be written.
    pub free: u64,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// Serial number.
    pub serial: String,
    /// Milliseconds since 1970.
    pub issued_ms: i64,
    /// Milliseconds since 1970.
    pub expires_ms: i64,
}

/// What a star did for the grid since it joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeteringView {
    /// Calls answered.
    pub calls: u64,
    /// Calls refused.
    pub refused: u64,
    /// Entries listed.
    pub entries_scanned: u64,
    /// Bytes hashed.
    pub bytes_hashed: u64,
    /// Bytes sent in answers.
    pub bytes_sent: u64,
    /// Bytes received in questions.
    pub bytes_received: u64,
}

/// `PATCH /v1/nodes/{node}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodePatch {
    /// Its new name.
    pub name: Option<String>,
    /// Whether it takes no new work.
    pub is_draining: Option<bool>,
    /// What is wanted of its vote: `auto`, `wanted` or `unwanted`.
    pub voting: Option<String>,
}

/// The answer to a [`NodePatch`]: the node, and what happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeChanged {
    /// The node.
    #[serde(flatten)]
    pub node: NodeView,
    /// What happened, for people.
    pub told: Vec<String>,
}

/// `POST /v1/tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// How long it works, seconds (1 to 30 days).
    pub ttl_s: u64,
    /// How many nodes it admits (1 to 10 000).
    pub uses: u32,
    /// `star` or `witness`.
    pub role: String,
}

/// Its answer: the only time the token itself is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCreated {
    /// The token with its secret.
    pub token: String,
    /// The line to type on the new machine.
    pub join_command: String,
    /// How the token is listed.
    pub listed: TokenView,
}

/// `GET /v1/tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    /// Its id.
    pub id: String,
    /// The role it gives.
    pub role: String,
    /// Nodes it admits in all.
    pub uses: u32,
    /// Nodes it still admits.
    pub uses_left: u32,
    /// `usable`, `used` or `expired`.
    pub state: String,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub expires_ms: i64,
    /// Name of the node on which it was asked for.
    pub created_on: String,
}

/// `GET /v1/constellations`, `POST /v1/constellations` (then `nodes` is empty).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConstellationView {
    /// Its name.
    pub name: String,
    /// Names of its nodes.
    #[serde(default)]
    pub nodes: Vec<String>,
}

/// `POST` and `DELETE /v1/constellations/{name}/nodes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeList {
    /// Names of nodes.
    pub nodes: Vec<String>,
}

/// `GET /v1/authorities`, `POST /v1/authorities` (which starts a new one).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityView {
    /// SHA-256 of its public key, hexadecimal: what tokens pin.
    pub pin: String,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub expires_ms: i64,
    /// Whether it issues certificates; the others are only still trusted.
    pub is_current: bool,
    /// Members whose certificate it signed.
    pub members: u32,
}

/// `POST /v1/nodes/{node}/reach`: can the Nucleus reach that node by itself, and the node the Nucleus?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachView {
    /// Addresses of the node that were tried.
    pub tried: Vec<String>,
    /// Those that answered with the node's key.
    pub reached: Vec<String>,
}

/// `GET /v1/node/recovery`: what `orbit recover` would work with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryView {
    /// The grid.
    pub grid: GridView,
    /// Name of the node that answers.
    pub node: String,
    /// Whether enough voters agree, so that nothing needs to be recovered.
    pub has_quorum: bool,
    /// Whether the others were asked.
    pub others_were_asked: bool,
    /// Everybody who may hold records.
    pub survivors: Vec<SurvivorView>,
    /// How many members the grid has.
    pub members: u32,
}

/// How far the records of a node are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurvivorView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is the node that answers.
    pub is_this: bool,
    /// Whether it said how far it is.
    pub answered: bool,
    /// Why it did not.
    pub trouble: Option<String>,
    /// Term of the end of its log.
    pub term: Option<u64>,
    /// Index of the end of its log: the number of its last change.
    pub index: Option<u64>,
    /// When its log was last written to, milliseconds since 1970.
    pub changed_ms: Option<i64>,
}

/// `POST /v1/node/recover`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoverRequest {
    /// The grid's name, as proof that it is meant.
    pub grid_name: String,
}

/// `POST /v1/backup` (of the Nucleus) and `POST /v1/node/backup` (of this node); the answer is the file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    /// The key under which its secrets are sealed, made of a passphrase: 64 hexadecimal digits.
    pub key: String,
    /// How it was made.
    pub stretch: crate::daemon::seal::Stretch,
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupView {
    /// The grid.
    pub grid: GridView,
    /// Its epoch.
    pub epoch: u32,
    /// The last change in it.
    pub index: u64,
    /// When it was made, milliseconds since 1970.
    pub made_ms: i64,
    /// Name of the node that made it.
    pub made_by: String,
    /// Members in it.
    pub nodes: u32,
    /// Join tokens in it.
    pub tokens: u32,
    /// Constellations in it.
    pub constellations: u32,
    /// Certificate authorities in it.
    pub authorities: u32,
    /// Bytes of the databases in it.
    pub bytes: u64,
    /// What opens its secrets: `passphrase`, or `grid` (the grid's own seal key).
    pub sealed_under: String,
}

/// What every request that fails is answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// What kind of failure; decides the exit code.
    pub code: ErrorCode,
    /// What failed, on what, why.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Whether it may have been done all the same: the answer was lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_uncertain: bool,
}

/// What kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request is not understood.
    Usage,
    /// Something named does not exist.
    NotFound,
    /// A node or the Nucleus cannot be reached.
    Unreachable,
    /// Refused.
    Refused,
    /// Anything else.
    Failed,
}
