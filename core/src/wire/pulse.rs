//! The pulse: heartbeats from a star to the Nucleus on a stream that stays open, and what comes back.
//!
//! A frame is a length (4 bytes, little endian, at most 64 KiB) and a CBOR message.

use super::bytes::Octets;
use super::join::NucleusAddress;
use crate::grid::{Fence, Profile};
use crate::ids::Serial;
use serde::{Deserialize, Serialize};

/// Largest frame, bytes.
pub const PULSE_BYTES_MAX: usize = 64 << 10;
/// Time between heartbeats, milliseconds.
pub const PULSE_INTERVAL_MS: u64 = 5_000;

/// A heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pulse {
    /// Counts up from 0 on this stream; the answer repeats it.
    pub seq: u64,
    /// The star's clock, milliseconds since 1970.
    pub now_ms: i64,
    /// How long the last heartbeat took to be answered, microseconds; 0 before the first.
    pub rtt_us: u32,
    /// What the machine is busy with.
    pub load: Load,
    /// What it did for the grid since it started.
    pub metering: Metering,
    /// What it says of itself: in the first heartbeat of a stream, and when it changed.
    pub profile: Option<Profile>,
    /// Serial of the certificate it uses.
    pub serial: Option<Serial>,
}

/// What a machine is busy with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Processor use since the last heartbeat, 0 to 1000 per mille of all cores.
    pub cpu_permille: u16,
    /// Cores.
    pub cores: u16,
    /// Memory of the machine, bytes.
    pub memory_total: u64,
    /// Memory that programs can still get, bytes.
    pub memory_available: u64,
    /// Resident memory of this process, bytes.
    pub memory_own: u64,
    /// Disks under the allowed paths; at most 32.
    pub disks: Vec<Disk>,
    /// Calls being answered.
    pub calls_running: u32,
    /// Jobs being worked on.
    pub jobs_running: u32,
}

/// A file system under an allowed path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// The allowed path, for people.
    pub path: String,
    /// Bytes.
    pub total: u64,
    /// Bytes an ordinary user can still write.
    pub free: u64,
}

/// What a star did for the grid since it started. Counters only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metering {
    /// When it started counting, milliseconds since 1970: another value means the counters began at 0 again.
    pub since_ms: i64,
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

/// What the Nucleus answers, or sends by itself when something changed (then `seq` is none).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PulseReply {
    /// The heartbeat it answers.
    pub seq: Option<u64>,
    /// The Nucleus's epoch and term.
    pub fence: Fence,
    /// The Nucleus's clock, milliseconds since 1970.
    pub now_ms: i64,
    /// What changed: with the first answer of a stream, and whenever it changed.
    pub update: Option<Box<Update>>,
}

/// What every star must know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// The star's name.
    pub name: String,
    /// Whether it gets no new work.
    pub is_draining: bool,
    /// The authorities to trust, DER.
    pub anchors: Vec<Octets>,
    /// Revoked certificates that have not expired: the 2 000 that are valid longest. The Nucleus knows them all.
    pub revoked: Vec<Serial>,
    /// Nodes that are or may become the Nucleus.
    pub nuclei: Vec<NucleusAddress>,
    /// Whether the star should ask for a new certificate now, because the authority changed.
    pub renew: bool,
}
