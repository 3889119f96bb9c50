//! New certificates in time: at two thirds of a certificate's life, when the authority changed, and after a long sleep.

use super::error::DaemonError;
use super::events::ask_nucleus;
use super::shared::Node;
use crate::standalone::error::chain;
use crate::standalone::state::now_ms;
use orbit_core::grid::Refusal;
use orbit_core::wire::control::{ControlReply, ControlRequest};
use orbit_core::wire::join::{JoinReply, JoinRequest};
use orbit_mesh::PeerId;
use orbit_mesh::pki::{BACKDATE_MS, MemberCertificate, SigningRequest};
use std::sync::Arc;
use std::time::Duration;

/// Longest time between looks at the clock, which may be set, or stand still while the machine sleeps.
const LOOK_MAX: Duration = Duration::from_mins(10);
/// Pause after a successful one, should the next be due at once because a clock is wrong.
const PACE: Duration = Duration::from_secs(1);
/// Pause after a failed attempt.
const RETRY: Duration = Duration::from_secs(5);

/// Renews the node's certificate in time until it stops.
pub(super) async fn keep(node: Arc<Node>) {
    let mut is_wanted = false;
    loop {
        let wait = match node.certificate() {
            Ok(certificate) => due_in(&certificate, now_ms()),
            Err(error) => {
                tracing::error!(error = chain(&error), "the node's own certificate cannot be read");
                RETRY
            }
        };
        let wait = if is_wanted || wait.is_zero() {
            match renew(&node).await {
                Ok(()) => {
                    is_wanted = false;
                    PACE
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), "cannot renew the certificate yet");
                    RETRY
                }
            }
        } else {
            wait
        };
        tokio::select! {
            () = node.stop.cancelled() => return,
            () = node.renewal_wanted.notified() => is_wanted = true,
            () = tokio::time::sleep(wait.clamp(Duration::from_millis(100), LOOK_MAX)) => {}
        }
    }
}

/// Time until two thirds of its life are over, spread by up to a tenth so that nodes do not come together.
fn due_in(certificate: &MemberCertificate, now_ms: i64) -> Duration {
    let issued = certificate.not_before_ms + BACKDATE_MS;
    let life = certificate.not_after_ms - issued;
    let spread = i64::from(certificate.serial.as_bytes()[1]) * (life / 10) / 255;
    let due = issued + life * 2 / 3 - spread;
    Duration::from_millis(u64::try_from(due - now_ms).unwrap_or(0))
}

/// Asks for a new certificate and uses it from now on.
async fn renew(node: &Node) -> Result<(), DaemonError> {
    let request = SigningRequest::create(&node.home.key()?)?;
    if let Some(nucleus) = node.nucleus() {
        let certificate = nucleus.renew_own(node, &request).await?;
        let anchors = node.membership().anchors;
        return node.take_certificate(certificate, anchors).await;
    }
    match ask_nucleus(node, &ControlRequest::Renew { request }).await? {
        ControlReply::Renewed { certificate, anchors } => node.take_certificate(certificate, anchors).await,
        ControlReply::Refused(refusal) => Err(refusal.into()),
    }
}

/// Asks for a new certificate with the key alone, because the old certificate is not accepted any more.
pub(super) async fn re_enrol(node: &Node, peer: PeerId) -> Result<(), DaemonError> {
    let request = SigningRequest::create(&node.home.key()?)?;
    match node.mesh.join(peer, JoinRequest::ReEnrol { request }).await? {
        JoinReply::Enrolled(enrolled) => node.take_certificate(enrolled.certificate, enrolled.anchors).await,
        JoinReply::Refused(refusal) => Err(refusal.into()),
        JoinReply::Hello(_) | JoinReply::Nuclei(_) => Err(Refusal::OtherGrid.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::grid::Role;
    use orbit_core::ids::{GridId, NodeId, PeerKey, Serial};

    fn certificate(spread: u8) -> MemberCertificate {
        let mut serial = [0; 16];
        serial[1] = spread;
        MemberCertificate {
            node: NodeId::from_bytes([1; 16]),
            grid: GridId::from_bytes([2; 16]),
            key: PeerKey::from_bytes([3; 32]),
            role: Role::Star,
            serial: Serial::from_bytes(serial),
            not_before_ms: 1_000_000 - BACKDATE_MS,
            not_after_ms: 1_000_000 + 90_000,
        }
    }

    #[test]
    fn it_is_due_at_two_thirds_of_its_life_or_a_little_before() {
        assert_eq!(due_in(&certificate(0), 1_000_000), Duration::from_mins(1));
        assert_eq!(due_in(&certificate(255), 1_000_000), Duration::from_secs(51));
        assert_eq!(due_in(&certificate(0), 1_060_000), Duration::ZERO);
        assert_eq!(due_in(&certificate(0), i64::MAX / 2), Duration::ZERO);
    }
}
