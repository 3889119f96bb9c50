//! [`Ticket`]: what lets the destination of a job read at its source, and whether it counts.
//!
//! The Nucleus signs it, the destination presents it, the source judges it: everything that it says must fit, and each
//! ticket counts once. [`Seen`] remembers those that counted until they have expired.

use super::record::Fence;
use super::refusal::{CertificateFault, span};
use crate::ids::{GridId, JobId, NodeId, PeerKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How long a ticket is valid, milliseconds.
pub const TICKET_LIFETIME_MS: i64 = 60_000;
/// How far the clocks of the Nucleus and of the source may be apart, milliseconds.
pub const CLOCK_TOLERANCE_MS: i64 = 30_000;
/// Tickets that are remembered at a time: more than a node is given in a minute and a half by any plan.
pub const SEEN_MAX: usize = 16_384;
/// Longest path of a ticket, bytes.
pub const TICKET_PATH_BYTES_MAX: usize = 16 << 10;

/// What its bearer may do, for a minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// The grid it is for.
    pub grid: GridId,
    /// Epoch and term of the Nucleus that signed it.
    pub fence: Fence,
    /// The job it is for.
    pub job: JobId,
    /// Whose files it is for.
    pub source: NodeId,
    /// The source's key: its peer id.
    pub source_key: PeerKey,
    /// Multiaddresses of the source, for whoever bears the ticket; at most 16.
    pub source_addresses: Vec<String>,
    /// Who may present it.
    pub destination: NodeId,
    /// What of the source may be reached: an absolute path, bytes.
    #[serde(with = "crate::wire::bytes")]
    pub root: Vec<u8>,
    /// What may be done there.
    pub verb: Verb,
    /// Drawn for this ticket alone: it counts once.
    #[serde(with = "crate::wire::bytes::fixed")]
    pub nonce: [u8; 16],
    /// When it was signed, by the Nucleus's clock, milliseconds since 1970.
    pub issued_ms: i64,
    /// When it ends, likewise; at most [`TICKET_LIFETIME_MS`] later.
    pub expires_ms: i64,
}

/// What a ticket allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// To list and to read.
    Read,
}

/// Who judges a ticket, who presents it, and when.
#[derive(Clone, Copy, Debug)]
pub struct Presented {
    /// The judge's grid.
    pub grid: GridId,
    /// The judge.
    pub source: NodeId,
    /// Whoever presents it.
    pub destination: NodeId,
    /// Highest epoch and term the judge has seen.
    pub fence: Fence,
    /// The time, by the Nucleus's clock as far as the judge knows it, milliseconds since 1970.
    pub now_ms: i64,
}

/// What is wrong with a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(deny_unknown_fields)]
pub enum TicketFault {
    /// It cannot be read.
    #[error("it cannot be read")]
    Unreadable,
    /// Whoever signed it is no member.
    #[error("whoever signed it is not accepted: {0}")]
    Signer(CertificateFault),
    /// Whoever signed it may not be the Nucleus.
    #[error("it was signed by a node that cannot be the Nucleus")]
    NotNucleus,
    /// Somebody changed it, or made it up.
    #[error("its signature is wrong")]
    Forged,
    /// It is for another grid.
    #[error("it is of another grid")]
    OtherGrid,
    /// It is for another node's files.
    #[error("it is for the files of another node")]
    OtherSource,
    /// It was given to another node.
    #[error("it was given to another node than the one that shows it")]
    OtherDestination,
    /// It was signed by a Nucleus that has been replaced.
    #[error("it is of {theirs}, and {ours} has begun")]
    OldTerm {
        /// What it says.
        theirs: Fence,
        /// What the judge has seen.
        ours: Fence,
    },
    /// Its time is over.
    #[error("it expired {} ago", span(*.ago_ms))]
    Expired {
        /// Since when, milliseconds.
        ago_ms: i64,
    },
    /// Its time has not come.
    #[error("it is not valid for another {}: a clock is off", span(*.in_ms))]
    NotYet {
        /// How long, milliseconds.
        in_ms: i64,
    },
    /// It is valid for longer than any is.
    #[error("it is valid for longer than a minute")]
    TooLong,
    /// Its path is none.
    #[error("its path is not absolute, or too long")]
    Path,
    /// It has been used.
    #[error("it has been used before")]
    Used,
    /// What was agreed by it is over.
    #[error("what was agreed by it is over")]
    Over,
}

impl TicketFault {
    /// Whether the next ticket may be accepted where this one was not.
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::OldTerm { .. } | Self::Expired { .. } | Self::NotYet { .. } | Self::Used | Self::Over
        )
    }

    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Expired { .. } | Self::NotYet { .. } => {
                "set the clocks of the nodes (`timedatectl set-ntp true`); the job asks for another ticket by itself"
            }
            Self::OldTerm { .. } | Self::Used | Self::Over => "the job asks for another one by itself",
            Self::Signer(fault) => fault.hint(),
            _ => "`orbit status` tells which node is the Nucleus; `orbit doctor` looks for the cause",
        }
    }
}

impl Ticket {
    /// Whether everything that a ticket says fits. Its signature is checked before; whether it was used, after.
    pub fn judge(&self, by: &Presented) -> Result<(), TicketFault> {
        if self.grid != by.grid {
            return Err(TicketFault::OtherGrid);
        }
        if self.source != by.source {
            return Err(TicketFault::OtherSource);
        }
        if self.destination != by.destination {
            return Err(TicketFault::OtherDestination);
        }
        if self.fence < by.fence {
            return Err(TicketFault::OldTerm { theirs: self.fence, ours: by.fence });
        }
        if self.root.first() != Some(&b'/') || self.root.len() > TICKET_PATH_BYTES_MAX {
            return Err(TicketFault::Path);
        }
        if self.expires_ms.saturating_sub(self.issued_ms) > TICKET_LIFETIME_MS {
            return Err(TicketFault::TooLong);
        }
        let early = self.issued_ms.saturating_sub(by.now_ms);
        if early > CLOCK_TOLERANCE_MS {
            return Err(TicketFault::NotYet { in_ms: early });
        }
        let late = by.now_ms.saturating_sub(self.expires_ms);
        if late > CLOCK_TOLERANCE_MS {
            return Err(TicketFault::Expired { ago_ms: late });
        }
        Ok(())
    }
}

/// Tickets that counted, for as long as they could be shown again.
#[derive(Clone, Debug, Default)]
pub struct Seen(
    /// When they expire, and their nonces.
    BTreeSet<(i64, [u8; 16])>,
);

/// Too many tickets at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded;

impl Seen {
    /// Lets a ticket that was judged good count, once.
    pub fn admit(&mut self, ticket: &Ticket, now_ms: i64) -> Result<Result<(), TicketFault>, Crowded> {
        let over = now_ms.saturating_sub(CLOCK_TOLERANCE_MS);
        self.0 = self.0.split_off(&(over, [0; 16]));
        let one = (ticket.expires_ms, ticket.nonce);
        if self.0.contains(&one) {
            return Ok(Err(TicketFault::Used));
        }
        if self.0.len() >= SEEN_MAX {
            return Err(Crowded);
        }
        self.0.insert(one);
        Ok(Ok(()))
    }
}

#[cfg(test)]
mod tests;
