//! Kernel, clock and limits.

use super::Finding;
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 2026-01-01, in hours since 1970: this program did not exist before, so an earlier clock is wrong.
const CLOCK_MIN: Duration = Duration::from_hours(490_896);
/// 2100-01-01.
const CLOCK_MAX: Duration = Duration::from_hours(1_139_568);
/// A file of ours may be this much younger than now, by coarse clocks and network file systems.
const CLOCK_SLACK: Duration = Duration::from_mins(1);

/// Open files a run with many threads may need.
const FILES_WARN: u64 = 1024;
/// Open files without which nothing works.
const FILES_FAIL: u64 = 128;

pub(super) fn examine(state_dir: &Path, found: &mut dyn FnMut(Finding)) {
    found(beneath());
    found(clock(SystemTime::now(), newest(state_dir)));
    found(open_files(getrlimit(Resource::Nofile).current));
}

/// Whether the kernel keeps a path below a directory by itself.
#[cfg(target_os = "linux")]
fn beneath() -> Finding {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    let subject = "path jail";
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match openat2(CWD, c".", flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS) {
        Ok(_) => Finding::ok(subject, "the kernel keeps paths inside the tree (openat2)"),
        Err(_) => Finding::warn(
            subject,
            "this kernel has no openat2, or a sandbox forbids it: paths are walked one component at a time, as safely \
             but slower",
            "use Linux 5.6 or newer, or allow openat2 in the container's seccomp profile",
        ),
    }
}

#[cfg(not(target_os = "linux"))]
fn beneath() -> Finding {
    Finding::ok("path jail", "paths are walked one component at a time")
}

/// The newest time of any file in `directory`: the clock was at least there once.
fn newest(directory: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max()
}

fn clock(now: SystemTime, seen: Option<SystemTime>) -> Finding {
    let subject = "clock";
    let fix = "set it, and keep it right by NTP: timedatectl set-ntp true";
    let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    if !(CLOCK_MIN..CLOCK_MAX).contains(&since_1970) {
        let message = format!("the clock says {} seconds since 1970, which cannot be", since_1970.as_secs());
        return Finding::fail(subject, message, fix);
    }
    match seen.and_then(|seen| seen.duration_since(now).ok()) {
        Some(ahead) if ahead > CLOCK_SLACK => {
            let message = format!("the clock was {} seconds later before: it was set back", ahead.as_secs());
            Finding::warn(subject, message, fix)
        }
        _ => Finding::ok(subject, "the clock is plausible"),
    }
}

/// `None` is unlimited.
fn open_files(limit: Option<u64>) -> Finding {
    let subject = "open files";
    let Some(limit) = limit else {
        return Finding::ok(subject, "any number of files may be open");
    };
    let message = format!("{limit} files may be open at once");
    let fix = "ulimit -n 4096 (for a service: LimitNOFILE=4096)";
    match limit {
        ..FILES_FAIL => Finding::fail(subject, message, fix),
        FILES_FAIL..FILES_WARN => Finding::warn(subject, message, fix),
        _ => Finding::ok(subject, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn clocks() {
        let now = UNIX_EPOCH + CLOCK_MIN + Duration::from_secs(1000);
        let level = |now, seen| clock(now, seen).level;
        assert_eq!(level(now, None), Level::Ok);
        assert_eq!(level(now, Some(now + CLOCK_SLACK)), Level::Ok);
        assert_eq!(level(now, Some(now + CLOCK_SLACK * 2)), Level::Warn);
        assert_eq!(level(UNIX_EPOCH, None), Level::Fail);
        assert_eq!(level(UNIX_EPOCH + CLOCK_MAX, None), Level::Fail);
        assert_eq!(level(UNIX_EPOCH - CLOCK_SLACK, None), Level::Fail);
    }

    #[test]
    fn open_file_limits() {
        let levels = [Some(64), Some(256), Some(1024), None].map(|limit| open_files(limit).level);
        assert_eq!(levels, [Level::Fail, Level::Warn, Level::Ok, Level::Ok]);
    }
}
