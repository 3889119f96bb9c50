//! [`MemberCertificate`]: what a membership certificate says.

use super::PkiError;
use super::shape::{Certificate, Name};
use orbit_core::grid::Role;
use orbit_core::ids::{GridId, NodeId, PeerKey, Serial};

/// Key usage of a member: digital signature alone.
const USAGE: u16 = 1;

/// A member's certificate, read. That it can be read says nothing about whether it is true:
/// [`Trust::verify`](super::Trust::verify) does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberCertificate {
    /// The member.
    pub node: NodeId,
    /// Its grid.
    pub grid: GridId,
    /// Its key.
    pub key: PeerKey,
    /// What it is for.
    pub role: Role,
    /// The certificate's serial number.
    pub serial: Serial,
    /// Valid from, milliseconds since 1970; whole seconds.
    pub not_before_ms: i64,
    /// Valid until, milliseconds since 1970; whole seconds.
    pub not_after_ms: i64,
}

impl MemberCertificate {
    /// Reads a certificate **without asking who signed it**: for a node's own, or one that was just issued.
    pub fn parse(der: &[u8]) -> Result<Self, PkiError> {
        Self::read(der).map_err(|why| PkiError::Unreadable { what: "membership certificate", why })
    }

    pub(super) fn read(der: &[u8]) -> Result<Self, &'static str> {
        let certificate = Certificate::parse(der)?;
        let Name::Member(grid, node, role) = certificate.name else {
            return Err("its alternative name is not a member's");
        };
        if certificate.common_name != node.to_string() {
            return Err("its two names differ");
        }
        if certificate.extensions.constraints.is_none_or(|(is_authority, _)| is_authority) {
            return Err("it may be used to issue certificates");
        }
        if certificate.extensions.usage != Some(USAGE) || !certificate.extensions.is_for_both_ends {
            return Err("it is for another use");
        }
        Ok(Self {
            node,
            grid,
            key: certificate.key,
            role,
            serial: certificate.serial,
            not_before_ms: certificate.not_before_ms,
            not_after_ms: certificate.not_after_ms,
        })
    }
}
