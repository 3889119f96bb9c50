//! Which authorities are led to by those that are believed, through what each certified for the next.

use super::CHAIN_MAX;
use super::authority::AuthorityCertificate;
use super::trust::in_time;
use orbit_core::grid::refusal::CertificateFault;
use orbit_core::ids::PeerKey;

/// The key of an authority, and whether all that leads to it is in force.
pub(super) type Reached = (PeerKey, Result<(), CertificateFault>);

/// Where a way begins: an authority that is believed already.
pub(super) fn root(anchor: &AuthorityCertificate, now_ms: i64) -> Reached {
    (*anchor.key(), in_force(anchor, now_ms))
}

/// The roots, and the authorities they lead to: level by level, each signed by one of the level before. A way that is
/// not in force is followed as well, so that its fault can be told; a key may be reached both ways.
pub(super) fn reached_from(
    roots: Vec<Reached>,
    documents: &[AuthorityCertificate],
    now_ms: i64,
) -> Vec<Reached> {
    let mut level = 0..roots.len();
    let mut reached = roots;
    // One certificate of the chain is the member's own; the rest are cross-signed.
    for _ in 1..CHAIN_MAX {
        for document in documents {
            let ways = reached[level.clone()].iter().filter(|(key, _)| document.is_signed_by(key));
            let Some((_, so_far)) = ways.min_by_key(|(_, in_force)| in_force.is_err()) else { continue };
            let way = (*document.key(), so_far.and_then(|()| in_force(document, now_ms)));
            let is_news = |(key, known): &Reached| key != document.key() || (known.is_err() && way.1.is_ok());
            if reached.iter().all(is_news) {
                reached.push(way);
            }
        }
        level = level.end..reached.len();
    }
    reached
}

fn in_force(anchor: &AuthorityCertificate, now_ms: i64) -> Result<(), CertificateFault> {
    in_time(anchor.not_before_ms(), anchor.not_after_ms(), now_ms)
}
