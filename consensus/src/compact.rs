//! When a snapshot is written, so that the log can be purged behind it.

use crate::group::Shared;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// Of its time a member spends at most one part in so many on writing snapshots: of a large state one takes many seconds
/// of processor and disk, and voters that do nothing else miss their heartbeats.
const SHARE_OF_TIME: u32 = 10;
/// How often it is looked whether there is enough for another.
const LOOK: Duration = Duration::from_millis(50);

/// Has snapshots written after every so many entries, until its task is ended.
pub(crate) async fn compact(shared: Arc<Shared>, every: u64) {
    let mut metrics = shared.raft.data_metrics();
    loop {
        let (applied, kept) = {
            let seen = metrics.borrow_and_update();
            (seen.last_applied.map_or(0, |at| at.index), seen.snapshot.map_or(0, |at| at.index))
        };
        if applied.saturating_sub(kept) >= every {
            let begun = Instant::now();
            if shared.raft.trigger().snapshot().await.is_err() {
                return;
            }
            let written =
                metrics.wait_for(|seen| seen.snapshot.map_or(0, |at| at.index) > kept).await.is_ok();
            if !written {
                return;
            }
            sleep_until(Instant::now() + begun.elapsed() * (SHARE_OF_TIME - 1)).await;
        } else if metrics.changed().await.is_err() {
            return;
        }
        sleep(LOOK).await;
    }
}
