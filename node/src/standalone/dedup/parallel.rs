//! [`map`]: the same work on many items, by several threads.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Does `work` on every item, by so many threads, and gives the results in the items' order; `None` for what was not begun before `stop`
/// was set.
pub(super) fn map<T: Sync, R: Send + Sync>(
    items: &[T],
    threads: usize,
    stop: &AtomicBool,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<Option<R>> {
    let results: Vec<OnceLock<R>> = items.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let run = || {
        while !stop.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return };
            let is_first = results[index].set(work(item)).is_ok();
            debug_assert!(is_first, "an index is handed out once");
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(items.len()) {
            scope.spawn(run);
        }
        run();
    });
    results.into_iter().map(OnceLock::into_inner).collect()
}
