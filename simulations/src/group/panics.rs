//! Panics of simulated processes: kept for the rules instead of being printed.

use std::cell::RefCell;
use std::panic::{set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static HEARD: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// From now on panics of this thread are kept.
pub fn listen() {
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            let is_kept = HEARD.with_borrow_mut(|heard| {
                heard.as_mut().map(|heard| heard.push(panic.to_string().replace('\n', " "))).is_some()
            });
            if !is_kept {
                usual(panic);
            }
        }));
    });
    HEARD.set(Some(Vec::new()));
}

/// What panicked since the last time.
pub fn take() -> Vec<String> {
    HEARD.with_borrow_mut(|heard| heard.as_mut().map(std::mem::take).unwrap_or_default())
}

/// From now on panics of this thread are printed again. Returns what panicked since the last time.
pub fn done() -> Vec<String> {
    HEARD.take().unwrap_or_default()
}
