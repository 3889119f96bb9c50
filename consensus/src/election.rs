//! Elections and heartbeats, which openraft leaves to us: a member that does not hear the leader first asks the others
//! whether they hear it, and asks for their votes only if a quorum does not. So a member that comes back after a while
//! does not raise the term and topple a leader that is well.

use crate::group::Shared;
use crate::message::{Answer, Question};
use crate::network::ask;
use crate::types::Voter;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft::ServerState;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// A member whose turn has not come looks again after so long.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(5);

/// Drives heartbeats or elections until its task is ended.
pub(crate) async fn drive(shared: Arc<Shared>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut server = shared.raft.server_metrics();
    // While votes come in, nobody asks again: candidates in step with each other would go on for ever.
    let mut not_before = Instant::now();
    let mut known_vote = None;
    let mut elected = None;
    loop {
        let (state, vote, voters) = {
            let seen = server.borrow_and_update();
            (seen.state, seen.vote, seen.membership_config.membership().get_joint_config().clone())
        };
        if known_vote.replace(vote) != Some(vote) {
            not_before = Instant::now() + shared.pace.heartbeat().mul_f64(random.gen_range(1.0..2.0));
        }
        let pause = if state == ServerState::Leader {
            let pause = shared.pace.choose_heartbeat();
            if !shared.is_handing_over() && shared.raft.trigger().heartbeat().await.is_err() {
                return;
            }
            pause
        } else if !voters.iter().any(|config| config.contains(&shared.own)) {
            Duration::MAX
        } else if voters.iter().all(|config| config.len() == 1 && config.contains(&shared.own)) {
            // Nobody else is to be asked. Its vote may take a while to be stored. Whoever led before, while this one did not
            // vote alone, may rely on it for a moment still.
            let is_free = vote.leader_id.voted_for == Some(shared.own) || shared.pace.is_silent();
            if is_free && elected.is_none_or(|at: Instant| at.elapsed() >= shared.pace.heartbeat()) {
                elected = Some(Instant::now());
                if shared.raft.trigger().elect().await.is_err() {
                    return;
                }
            }
            if is_free { shared.pace.heartbeat() } else { LOOK_AGAIN_MIN }
        } else {
            let patience =
                shared.pace.patience(shared.rank.load(Ordering::Relaxed), random.gen_range(0.0..1.0));
            let left = patience.saturating_sub(shared.pace.silence());
            let left = left.max(not_before.saturating_duration_since(Instant::now()));
            if left.is_zero() && shared.pace.is_silent() {
                not_before = Instant::now() + shared.pace.heartbeat().mul_f64(random.gen_range(1.0..2.0));
                if would_be_elected(&shared, &voters).await && shared.raft.trigger().elect().await.is_err() {
                    return;
                }
            }
            left.max(LOOK_AGAIN_MIN)
        };
        tokio::select! {
            changed = server.changed() => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
    }
}

async fn sleep(pause: Duration) {
    if pause == Duration::MAX {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(pause).await;
}

/// Whether a quorum of each set of voters would vote for this member now.
async fn would_be_elected(shared: &Shared, voters: &[BTreeSet<Voter>]) -> bool {
    let (term, last) = shared.term_and_last();
    let question = Question::PreVote { term, last };
    let others: BTreeSet<Voter> =
        voters.iter().flatten().copied().filter(|voter| *voter != shared.own).collect();
    let mut answers: FuturesUnordered<_> = others
        .iter()
        .map(|voter| {
            let asked = ask(shared.transport.as_ref(), voter.0, &question);
            async move { (*voter, timeout(shared.pace.heartbeat() * 2, asked).await) }
        })
        .collect();
    let mut granted = BTreeSet::from([shared.own]);
    let is_enough = |granted: &BTreeSet<Voter>| {
        voters.iter().all(|config| config.intersection(granted).count() > config.len() / 2)
    };
    while let Some((voter, answer)) = answers.next().await {
        if let Ok(Ok(Answer::PreVote { is_granted: true, .. })) = answer {
            granted.insert(voter);
            if is_enough(&granted) {
                return true;
            }
        }
    }
    false
}
