//! Tickets: signed by the Nucleus, checked by the source.

use crate::daemon::Node;
use crate::daemon::shared::lock;
use crate::nucleus::Nucleus;
use crate::standalone::state::now_ms;
use orbit_core::grid::ticket::{Crowded, Presented, TICKET_LIFETIME_MS};
use orbit_core::grid::{Refusal, Ticket, TicketFault, Verb};
use orbit_core::ids::{JobId, NodeId};
use orbit_core::wire::link::SignedTicket;
use orbit_core::wire::{decode, encode};
use orbit_mesh::key::{NodeKey, is_signed_by, random};
use orbit_mesh::pki::{MemberCertificate, Trust};

/// Seconds after which the source may have forgotten enough tickets to take another.
const CROWDED_S: u32 = 30;

/// Signs a ticket: for a minute, and once, the destination may begin to read `root` at the source for this job. As bytes,
/// which only the two understand.
pub(crate) fn issue(
    node: &Node,
    nucleus: &Nucleus,
    job: JobId,
    source: NodeId,
    destination: NodeId,
    root: &[u8],
) -> Result<Vec<u8>, Refusal> {
    if !nucleus.group().holds_lease() {
        // Another may be the Nucleus by now, with another term.
        return Err(nucleus.no_quorum());
    }
    let unknown = |id: NodeId| Refusal::UnknownNode { name: id.to_string(), nearest: None };
    let address = nucleus.with(|state| {
        state.node(destination).ok_or_else(|| unknown(destination))?;
        let record = state.node(source).ok_or_else(|| unknown(source))?;
        Ok(crate::nucleus::pulse::address(node, record))
    })?;
    let membership = node.membership();
    let now_ms = now_ms();
    let ticket = Ticket {
        grid: membership.grid,
        fence: nucleus.fence,
        job,
        source,
        source_key: address.key,
        source_addresses: address.addresses,
        destination,
        root: root.to_vec(),
        verb: Verb::Read,
        nonce: random(),
        issued_ms: now_ms,
        expires_ms: now_ms + TICKET_LIFETIME_MS,
    };
    Ok(encode(&sign(&node.links.key, membership.certificate, &ticket)))
}

/// Signs a ticket by a key and the certificate that belongs to it.
pub(super) fn sign(key: &NodeKey, certificate: Vec<u8>, ticket: &Ticket) -> SignedTicket {
    let ticket = encode(ticket);
    let signature = key.sign(&SignedTicket::signed_bytes(&ticket));
    SignedTicket { ticket, certificate, signature }
}

/// What a ticket says, if a member that can be the Nucleus signed it. What it says may still not fit.
pub(super) fn open(signed: &SignedTicket, trust: &Trust, now_ms: i64) -> Result<Ticket, TicketFault> {
    let unreadable = |_| TicketFault::Unreadable;
    let key = MemberCertificate::parse(&signed.certificate).map_err(unreadable)?.key;
    let signer = trust.verify(&signed.certificate, &key, now_ms).map_err(TicketFault::Signer)?;
    if !signer.role.may_lead() {
        return Err(TicketFault::NotNucleus);
    }
    if !is_signed_by(&key, &SignedTicket::signed_bytes(&signed.ticket), &signed.signature) {
        return Err(TicketFault::Forged);
    }
    decode(&signed.ticket).map_err(|_| TicketFault::Unreadable)
}

/// Checks a ticket that `asker` presents, and lets it count. An epoch and a term that are newer than what this node has seen
/// are kept before anything is done for them.
pub(super) async fn admit(node: &Node, asker: NodeId, signed: &SignedTicket) -> Result<Ticket, Refusal> {
    let refused = |reason| Refusal::Ticket { node: node.standing().name, reason };
    let failed = |message: String| Refusal::Failed { node: node.standing().name, message };
    let membership = node.membership();
    let trust = membership.trust().map_err(|error| failed(error.to_string()))?;
    let ticket = open(signed, &trust, now_ms()).map_err(refused)?;
    let presented = Presented {
        grid: membership.grid,
        source: membership.node,
        destination: asker,
        fence: membership.fence,
        now_ms: nucleus_now_ms(node),
    };
    ticket.judge(&presented).map_err(refused)?;
    lock(&node.links.seen)
        .admit(&ticket, presented.now_ms)
        .map_err(|Crowded| Refusal::TooMany { retry_after_s: CROWDED_S })?
        .map_err(refused)?;
    if ticket.fence > membership.fence {
        let kept =
            node.change_membership(|membership| membership.fence = membership.fence.max(ticket.fence)).await;
        kept.map_err(|error| failed(crate::standalone::error::chain(&error)))?;
    }
    Ok(ticket)
}

/// The time by the Nucleus's clock, as far as it is known.
fn nucleus_now_ms(node: &Node) -> i64 {
    let ahead = if node.nucleus().is_some() { None } else { node.standing().clock_ahead_ms };
    now_ms().saturating_sub(ahead.unwrap_or(0))
}
