//! What is not sent.

use super::{Network, Peer};
use crate::log::Voted;
use crate::pace::Pace;
use crate::runtime::Scope;
use crate::transport::{Transport, Unreachable};
use crate::types::{Ballot, Voter};
use futures::FutureExt;
use futures::future::BoxFuture;
use openraft::error::RPCError;
use openraft::network::{RPCOption, RaftNetwork};
use openraft::raft::AppendEntriesRequest;
use orbit_core::ids::NodeId;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Counts what would have been sent.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Transport for Counting {
    fn call(&self, to: NodeId, _message: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, Unreachable>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        async move { Err(Unreachable { node: to, reason: "nobody is there".to_owned() }) }.boxed()
    }
}

fn voter(number: u8) -> Voter {
    Voter(NodeId::from_bytes([number; 16]))
}

/// A stream that was begun under one leader must not pass on what the next one wrote at the same positions: whoever
/// receives it has no means to tell. openraft 0.9 lets such streams run on.
#[tokio::test]
async fn a_leader_that_was_replaced_sends_nothing() {
    let transport = Arc::new(Counting::default());
    let voted = Voted::default();
    let network = Network {
        transport: Arc::clone(&transport) as Arc<dyn Transport>,
        pace: Arc::new(Pace::new()),
        scope: Scope::new(true),
        voted: voted.clone(),
    };
    let mut peer = Peer { network, to: voter(3) };
    let ours = Ballot::new_committed(4, voter(1));
    let mut sent = async |sent_under: Ballot| {
        let request = AppendEntriesRequest {
            vote: sent_under,
            prev_log_id: None,
            entries: Vec::new(),
            leader_commit: None,
        };
        let result = peer.append_entries(request, RPCOption::new(Duration::from_secs(1))).await;
        assert!(matches!(result, Err(RPCError::Unreachable(_))));
        transport.0.load(Ordering::Relaxed)
    };
    voted.set(&ours);
    assert_eq!(sent(ours).await, 1);
    // It voted for another, and that one may have written over its entries already.
    voted.set(&Ballot::new(5, voter(2)));
    assert_eq!(sent(ours).await, 1, "nothing more");
    voted.set(&Ballot::new(5, voter(1)));
    assert_eq!(sent(ours).await, 1, "nor under an older term of its own");
}
