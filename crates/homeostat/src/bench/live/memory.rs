//! The memory of another process, watched.
//!
//! In: a process. Out: the most that was resident, by the kernel's own mark, and the most by proportion, as it was seen
//! once a second.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;

/// Between two looks: each walks over the pages of the process.
const LOOK: Duration = Duration::from_secs(1);

const MIB: f64 = (1 << 20) as f64;

/// What a process had in memory.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Memory {
    pub(super) rss_at_rest_mib: f64,
    pub(super) rss_peak_mib: f64,
    /// Shared pages count by the share of it.
    pub(super) pss_peak_mib: f64,
}

/// Looks until it is ended.
pub(super) struct Watch {
    ending: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watch {
    pub(super) fn begin(pid: u32) -> Self {
        let ending = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ending);
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            while !told.load(Ordering::Relaxed) {
                // A process that is gone has no more than it had.
                peak = peak.max(kib(pid, "smaps_rollup", "Pss:").unwrap_or_default());
                std::thread::park_timeout(LOOK);
            }
            peak
        });
        Self { ending, thread }
    }

    /// `rss_peak_bytes` is what the kernel marked.
    pub(super) fn end(self, at_rest: u64, rss_peak_bytes: u64) -> Memory {
        self.ending.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        let pss = self.thread.join().unwrap_or_default();
        Memory {
            rss_at_rest_mib: at_rest as f64 / MIB,
            rss_peak_mib: rss_peak_bytes as f64 / MIB,
            pss_peak_mib: pss as f64 / MIB,
        }
    }
}

/// What of a process is resident now, in bytes.
pub(super) fn resident(pid: u32) -> io::Result<u64> {
    kib(pid, "status", "VmRSS:")
}

/// A line of `/proc/PID/FILE` that is in KiB, in bytes.
fn kib(pid: u32, file: &str, name: &str) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let line =
        text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
    line.map(|kib| kib * 1024).ok_or_else(|| io::Error::other(format!("/proc/{pid}/{file} has no {name}")))
}
