//! Ctrl-C: the first asks the run to stop cleanly, the second ends the process at once.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The flag that SIGINT, SIGTERM and SIGHUP set. Runs poll it.
///
/// Nothing is lost by the second signal either: Orbit never leaves a file half written under its name.
pub fn stop_flag() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let ignored = ignored_signals();
    for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0) {
        // In this order: the first signal finds the flag unset and sets it, the second finds it set and dies by it.
        let hooked = signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)));
        if let Err(error) = hooked {
            tracing::warn!(signal, %error, "cannot catch a signal; it will end the run at once");
        }
    }
    stop
}

/// Signals that whoever started this process had it ignore, as `nohup` does with SIGHUP: one bit each, from signal 1. They
/// stay ignored.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
