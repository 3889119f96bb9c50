//! What this machine is busy with, from `/proc` and the file systems.

use orbit_core::wire::pulse::{Disk, Load};
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Disks told at most.
const DISKS_MAX: usize = 32;
/// How long the file systems are waited for. One that hangs must not hold up what is told of all the rest.
const DISKS_PATIENCE: Duration = Duration::from_millis(100);

/// Measures load; processor use is that since the measurement before.
#[derive(Debug, Default)]
pub(crate) struct LoadMeter {
    busy: u64,
    total: u64,
    /// The disks, when the file systems answered last.
    disks: Vec<Disk>,
    /// They are being asked, on a thread of its own.
    asked: Option<JoinHandle<Vec<Disk>>>,
}

impl LoadMeter {
    /// Looks now. While the file systems under the allowed paths do not answer, their disks are as they were.
    /// Cancel-safe.
    pub(crate) async fn measure(&mut self, allowed: &[PathBuf]) -> Load {
        self.ask_disks(allowed).await;
        let mut load = Load {
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u16),
            cpu_permille: self.processor(),
            disks: self.disks.clone(),
            memory_own: own_memory(),
            ..Load::default()
        };
        (load.memory_total, load.memory_available) = memory();
        load
    }

    /// Asks the file systems, one time after the other.
    async fn ask_disks(&mut self, allowed: &[PathBuf]) {
        let asked = self.asked.get_or_insert_with(|| {
            let paths: Vec<PathBuf> = allowed.iter().take(DISKS_MAX).cloned().collect();
            tokio::task::spawn_blocking(move || paths.iter().filter_map(disk).collect())
        });
        if let Ok(answered) = timeout(DISKS_PATIENCE, asked).await {
            self.asked = None;
            self.disks = answered.unwrap_or_default();
        }
    }

    fn processor(&mut self) -> u16 {
        let Ok(stat) = std::fs::read_to_string("/proc/stat") else { return 0 };
        let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
        let ticks: Vec<u64> = fields.take(8).filter_map(|field| field.parse().ok()).collect();
        let total: u64 = ticks.iter().sum();
        // Fields four and five are idle and waiting for disks.
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        let busy = total.saturating_sub(idle);
        let (busy_since, total_since) = (busy.saturating_sub(self.busy), total.saturating_sub(self.total));
        (self.busy, self.total) = (busy, total);
        (busy_since * 1000).checked_div(total_since).unwrap_or(0).min(1000) as u16
    }
}

fn disk(path: &PathBuf) -> Option<Disk> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(Disk {
        path: path.display().to_string(),
        total: found.f_blocks.saturating_mul(found.f_frsize),
        free: found.f_bavail.saturating_mul(found.f_frsize),
    })
}

/// Total and available memory, bytes.
fn memory() -> (u64, u64) {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = |name: &str| {
        let rest = info.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    (line("MemTotal:").unwrap_or(0), line("MemAvailable:").unwrap_or(0))
}

/// Resident memory of this process, bytes.
pub(crate) fn own_memory() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_machine_has_memory_and_a_disk() {
        let mut meter = LoadMeter::default();
        let mut load = meter.measure(&[PathBuf::from("/")]).await;
        while load.disks.is_empty() {
            load = meter.measure(&[PathBuf::from("/")]).await;
        }
        if cfg!(target_os = "linux") {
            assert!(load.memory_total >= load.memory_available && load.memory_available > 0);
            assert!(load.memory_own > 0 && load.memory_own < load.memory_total);
        }
        assert!(load.disks[0].total >= load.disks[0].free);
        assert!(load.cpu_permille <= 1000 && load.cores > 0);
    }

    #[tokio::test]
    async fn disks_that_do_not_answer_are_as_they_were() {
        let mut meter = LoadMeter::default();
        let root = [PathBuf::from("/")];
        let before = meter.measure(&root).await.disks;
        let (answer, hangs) = std::sync::mpsc::channel::<()>();
        meter.asked = Some(tokio::task::spawn_blocking(move || {
            let _ = hangs.recv();
            Vec::new()
        }));
        assert_eq!(meter.measure(&root).await.disks.len(), before.len());
        assert!(meter.asked.is_some(), "nobody is asked a second time");
        drop(answer);
    }
}
