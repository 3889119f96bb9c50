//! The control protocol: one question between members, one answer.

use super::bytes;
use super::bytes::Octets;
use crate::grid::Refusal;
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
    /// Which addresses answered with the asker's key.
    DialledBack {
        /// Multiaddresses that worked.
        reached: Vec<String>,
    },
    /// No.
    Refused(Refusal),
}
