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
    /// No.
    Refused(Refusal),
}
