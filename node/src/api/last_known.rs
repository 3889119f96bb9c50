//! [`LastKnown`]: what this node heard last of the grid, to be told when there is no Nucleus to ask. In memory only.

use super::forward;
use super::types::GroupView;
use crate::daemon::Node;
use crate::daemon::shared::{LinkState, lock};
use crate::standalone::state::now_ms;
use orbit_core::ids::NodeId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often is looked which voters are connected.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After how many looks a star asks again who votes.
const ASK_EVERY: u32 = 120;

/// What was heard last.
#[derive(Debug, Default)]
pub(crate) struct LastKnown {
    group: Mutex<Option<GroupView>>,
    /// When the Nucleus was connected last, milliseconds since 1970.
    nucleus_ms: Mutex<Option<i64>>,
    /// When each voter was connected last, milliseconds since 1970.
    voters: Mutex<HashMap<NodeId, i64>>,
}

impl LastKnown {
    /// Who elected the Nucleus when it was heard last, and when that was.
    pub(super) fn group(&self) -> (Option<GroupView>, Option<i64>) {
        (lock(&self.group).clone(), *lock(&self.nucleus_ms))
    }

    /// When a voter was connected last, if it ever was.
    pub(super) fn silent_since(&self, id: NodeId) -> Option<i64> {
        lock(&self.voters).get(&id).copied()
    }
}

/// Notes what is heard until the node stops.
pub(crate) async fn keep(node: Arc<Node>) {
    let mut link = node.link.subscribe();
    let mut looks = 0_u32;
    loop {
        look(&node);
        let is_connected = matches!(*link.borrow(), LinkState::Connected(_));
        if is_connected && looks == 0 && node.group().is_none() {
            ask(&node).await;
        }
        tokio::select! {
            () = node.stop.cancelled() => return,
            changed = link.changed() => {
                if changed.is_err() {
                    return;
                }
                looks = 0;
            }
            () = tokio::time::sleep(LOOK_EVERY) => looks = (looks + 1) % ASK_EVERY,
        }
    }
}

fn look(node: &Node) {
    let now = now_ms();
    if matches!(*node.link.borrow(), LinkState::Connected(_) | LinkState::Own) {
        *lock(&node.known.nucleus_ms) = Some(now);
    }
    let Some(seat) = node.group() else { return };
    let voters = seat.group.standing().borrow().voters.clone();
    let mut known = lock(&node.known.voters);
    known.retain(|id, _| voters.contains(id));
    known.extend(
        node.mesh.peers().iter().filter(|link| voters.contains(&link.node)).map(|link| (link.node, now)),
    );
}

async fn ask(node: &Arc<Node>) {
    if let Ok(group) = forward::ask_group(node).await {
        *lock(&node.known.group) = Some(group);
    }
}
