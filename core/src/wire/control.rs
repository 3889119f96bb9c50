//! The control protocol: one question between members, one answer.

use super::bytes;
use super::bytes::Octets;
use super::join::Enrolled;
use crate::grid::Refusal;
use crate::ids::PeerKey;
use crate::wire::join::Enrol;
use serde::{Deserialize, Serialize};

/// What a member asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ControlRequest {
    /// To the Nucleus: a new certificate for my key.
    Renew {
        /// Certificate request, DER.
        #[serde(with = "bytes")]
        request: Vec<u8>,
    },
    /// To the Nucleus: somebody asked me to be admitted; this is what it said.
    ForwardEnrol {
        /// The key that Noise proved.
        key: PeerKey,
        /// What it asked.
        enrol: Enrol,
    },
    /// To the Nucleus: somebody whose certificate expired asked me.
    ForwardReEnrol {
        /// The key that Noise proved.
        key: PeerKey,
        /// Certificate request, DER.
        #[serde(with = "bytes")]
        request: Vec<u8>,
    },
    /// Can you reach me at these addresses? For `orbit doctor`.
    DialBack {
        /// Multiaddresses; at most 16. Only addresses of the asker's own key count.
        addresses: Vec<String>,
    },
}

/// What it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ControlReply {
    /// The new certificate and the authorities to trust.
    Renewed {
        /// DER.
        #[serde(with = "bytes")]
        certificate: Vec<u8>,
        /// DER.
        anchors: Vec<Octets>,
    },
    /// For the one who asked to be admitted.
    Enrolled(Box<Enrolled>),
    /// Which addresses answered with the asker's key.
    DialledBack {
        /// Multiaddresses that worked.
        reached: Vec<String>,
    },
    /// No.
    Refused(Refusal),
}
