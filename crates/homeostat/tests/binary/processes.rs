//! What `/proc` says about the processes of one data directory, read without asking Homeostat.
//!
//! In: a data directory. Out: its control plane, keeper, services and workers, found by what they were
//! started with. They are ended by process descriptors, which cannot come to mean another process.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// What a process of a data directory does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// `homeostat serve` or `up`.
    ControlPlane,
    /// `homeostat keeper`.
    Keeper,
    /// The holder of the volumes' namespace.
    Holder,
    /// A stress worker, for the instance named.
    Worker(String),
    /// A process of the instance named.
    Service(String),
}

/// One process.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) part: Part,
    /// `T` is stopped.
    pub(crate) state: char,
    /// Whether it leads its session: what the keeper started, not what that started.
    pub(crate) leads: bool,
    /// The data directory of its instance, as it is seen from here.
    pub(crate) volume: Option<PathBuf>,
}

/// The living processes of a data directory.
pub(crate) fn of(dir: &Path) -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| look(pid, dir)).collect()
}

fn look(pid: u32, dir: &Path) -> Option<Process> {
    let words = |file: &str| -> Option<Vec<String>> {
        let bytes = std::fs::read(format!("/proc/{pid}/{file}")).ok()?;
        let parts = bytes.split(|byte| *byte == 0);
        Some(parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect())
    };
    let (command, environment) = (words("cmdline")?, words("environ")?);
    let variable = |name: &str| {
        environment.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    };
    let kept_here =
        variable("HOMEOSTAT_KEEPER").is_some_and(|keeper| Path::new(&keeper) == dir.join("keeper"));
    let named_here = command.windows(2).any(|pair| pair[0] == "--dir" && Path::new(&pair[1]) == dir);
    let part = match (kept_here, named_here) {
        (true, _) => match (variable("HOMEOSTAT_WORKER"), variable("HOMEOSTAT_INSTANCE")) {
            (Some(work), _) if work == "volumes" => Part::Holder,
            (Some(work), instance) => Part::Worker(instance.unwrap_or(work)),
            (None, instance) => Part::Service(instance.unwrap_or_default()),
        },
        (false, true) if command.get(1).is_some_and(|word| word == "keeper") => Part::Keeper,
        (false, true) => Part::ControlPlane,
        (false, false) => return None,
    };
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let session: u32 = fields.nth(2)?.parse().ok()?;
    let volume = variable("HOMEOSTAT_VOLUME")
        .map(|path| PathBuf::from(format!("/proc/{pid}/root")).join(path.trim_start_matches('/')));
    (!matches!(state, 'Z' | 'X')).then_some(Process { pid, part, state, leads: session == pid, volume })
}

/// Whether a process is there and has not ended.
pub(crate) fn runs(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
}

/// SIGKILL, and waits until it has ended. A process that is gone already is well.
pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
    let deadline = Instant::now() + Duration::from_secs(60);
    while runs(pid) {
        assert!(Instant::now() < deadline, "process {pid} survives SIGKILL");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sends a signal.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    if let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) {
        // It may have ended since.
        let _ = pidfd_send_signal(&handle, signal);
    }
}

/// Ends everything of a data directory, the keeper first so that it starts nothing anew.
pub(crate) fn end_all(dir: &Path) {
    for _ in 0..10 {
        let mut left = of(dir);
        if left.is_empty() {
            return;
        }
        left.sort_by_key(|process| match process.part {
            Part::ControlPlane => 0,
            Part::Keeper => 1,
            _ => 2,
        });
        left.iter().for_each(|process| signal(process.pid, Signal::KILL));
        std::thread::sleep(Duration::from_millis(50));
    }
}
