//! The stress workers: processes that use CPU or memory, or fill a volume, on purpose.
//!
//! In: one [`Work`]. Out: the load itself. A worker that is attached to a process ends when that process
//! ends, one beside an instance does not; every worker ends at its time limit; the kernel ends it when the keeper dies. It takes nothing
//! back: its load goes with it, and the files it wrote are removed by name by the keeper.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use domain::{Bytes, Clock, Cores, FileClass, Incarnation, Percent};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::clock::SystemClock;
use crate::{cgroup, files, process};

/// Age of temporary files that a fault leaves: a day beyond what counts as old.
const FILLER_AGE: Duration = Duration::from_secs(8 * 86_400);
/// Size of one filler file.
const FILLER_FILE: u64 = 4 * 1024 * 1024;
/// What is missing at least before another file is written, while the level rises.
const FILLER_STEP: u64 = 64 * 1024;
/// Memory is taken in pieces of this size, measured after each.
const PIECE: usize = 1024 * 1024;
/// Most pieces taken between two measurements.
const PIECES_MAX: u64 = 16;
/// What a worker beside an instance leaves of the limit: its own program, and what the kernel needs for it.
const SPARE: u64 = 6 * 1024 * 1024;

/// What a worker does and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// The process it is attached to.
    pub victim: Option<Incarnation>,
    /// When it ends at the latest, in microseconds of the boot clock.
    pub until_boot_us: u64,
    /// What it does.
    pub kind: WorkKind,
}

/// What a worker does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkKind {
    /// Use this much processor.
    Cpu {
        /// In cores.
        cores: Cores,
    },
    /// Take memory until the process it is attached to, its descendants and the worker have this much
    /// resident together.
    Memory {
        /// In total.
        target: Bytes,
        /// For a worker beside an instance: who is counted in place of a process it is attached to.
        beside: Option<Beside>,
        /// The time in which it gets there, evenly.
        ramp: Duration,
    },
    /// Write files until the file system is this full.
    Disk {
        /// Where.
        dir: PathBuf,
        /// How the files' names begin.
        prefix: String,
        /// What kind of files.
        class: FileClass,
        /// How full.
        fill: Percent,
        /// The time in which it gets there, evenly.
        ramp: Duration,
    },
}

/// The instance a worker takes memory beside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// The kernel's list of the processes that are held to one limit together, the worker among them.
    pub members: PathBuf,
    /// That limit. The worker alone stays below it.
    pub limit: Bytes,
}

/// Lets a worker begin in a group of its own: it ends with its victim because it watches it, with the keeper that
/// starts it because the kernel sees to that.
pub(crate) fn end_with_parent(command: &mut Command) {
    let parent = std::process::id();
    let prepare = move || {
        // SAFETY: two system calls on plain numbers.
        unsafe {
            libc::setpgid(0, 0);
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        }
        match rustix::process::getppid() {
            Some(now) if now.as_raw_nonzero().get().unsigned_abs() == parent => Ok(()),
            _ => Err(io::ErrorKind::Interrupted.into()),
        }
    };
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(prepare) };
}

/// Does the work; returns when it is over.
pub fn run(work: &Work) -> io::Result<()> {
    match &work.kind {
        WorkKind::Cpu { cores } => run_cpu(work, *cores),
        WorkKind::Memory { target, beside, ramp } => run_memory(work, *target, beside.as_ref(), *ramp),
        WorkKind::Disk { dir, prefix, class, fill, ramp } => {
            let files = Filler { dir, prefix, class: *class };
            run_disk(work, &files, *fill, *ramp)
        }
    }
}

/// A level that is reached evenly in a time.
struct Rise {
    begun: Instant,
    from: u64,
    to: u64,
    within: Duration,
}

impl Rise {
    fn new(from: u64, to: u64, within: Duration) -> Self {
        Self { begun: Instant::now(), from, to, within }
    }

    /// Where it has to be now.
    fn level(&self) -> u64 {
        let passed = self.begun.elapsed();
        if passed >= self.within || self.from >= self.to {
            return self.to;
        }
        let share = passed.as_secs_f64() / self.within.as_secs_f64();
        self.from + ((self.to - self.from) as f64 * share) as u64
    }
}

/// Uses `cores` of processor until the work is over.
pub(crate) fn run_cpu(work: &Work, cores: Cores) -> io::Result<()> {
    let threads = cores.0.ceil().max(1.0);
    let duty = (cores.0 / threads).min(1.0);
    for _ in 0..threads as usize {
        // The threads end with the process, at the end of this function's caller.
        std::thread::Builder::new().spawn(move || burn(duty))?;
    }
    while !is_over(work, Duration::from_secs(3600)) {}
    Ok(())
}

/// Uses `duty` of one core: runs while behind, sleeps while ahead.
fn burn(duty: f64) {
    let begun = Instant::now();
    let mut number = 1u64;
    loop {
        let ahead = thread_cpu_time().as_secs_f64() / duty - begun.elapsed().as_secs_f64();
        if ahead > 0.0 {
            std::thread::sleep(Duration::from_secs_f64(ahead.clamp(0.001, 0.02)));
        }
        for _ in 0..100_000 {
            number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

fn thread_cpu_time() -> Duration {
    let mut used = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `used` is a valid, writable timespec for the length of the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut used) };
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

/// Takes memory until `target` is reached in total, after `ramp`, and keeps it there until the work is over.
pub(crate) fn run_memory(
    work: &Work,
    target: Bytes,
    beside: Option<&Beside>,
    ramp: Duration,
) -> io::Result<()> {
    let rise = Rise::new(resident_in_total(work, beside), target.0, ramp);
    let mut held: Vec<Vec<u8>> = Vec::new();
    let most = match beside {
        Some(beside) => beside.limit.0.saturating_sub(SPARE),
        None => target.0,
    };
    loop {
        let total = resident_in_total(work, beside);
        let level = rise.level();
        let pause = if total < level && ((held.len() + 1) * PIECE) as u64 <= most {
            // Most of what is missing at once: measuring costs processor, which the instance's limit holds too.
            let room = level.min(total + most - (held.len() * PIECE) as u64) - total;
            let pieces = (room / 2 / PIECE as u64).clamp(1, PIECES_MAX);
            held.extend((0..pieces).map(|_| vec![1; PIECE]));
            Duration::ZERO
        } else {
            if total > level + 2 * PIECE as u64 {
                held.pop();
            }
            Duration::from_millis(50)
        };
        if is_over(work, pause) {
            return Ok(());
        }
    }
}

fn resident_in_total(work: &Work, beside: Option<&Beside>) -> u64 {
    let me = std::process::id();
    let mut members = match (beside, &work.victim) {
        (Some(beside), _) => cgroup::members(&beside.members),
        (None, Some(victim)) => process::tree(victim.pid),
        (None, None) => Vec::new(),
    };
    members.retain(|pid| *pid != me);
    members.push(me);
    members.into_iter().filter_map(process::stat).map(|stat| stat.resident).sum()
}

/// The files a disk fault writes.
struct Filler<'a> {
    dir: &'a Path,
    prefix: &'a str,
    class: FileClass,
}

/// Writes files until their file system is `fill` full; with a `ramp` as much as is missing at first, evenly, so that it
/// helps to remove some meanwhile.
fn run_disk(work: &Work, files: &Filler<'_>, fill: Percent, ramp: Duration) -> io::Result<()> {
    let Filler { dir, prefix, class } = *files;
    let end = match class {
        FileClass::Temporary => "tmp",
        FileClass::Logs => "log",
        FileClass::Cache => "cache",
        FileClass::Data => "data",
    };
    std::fs::create_dir_all(dir)?;
    let space = files::space(dir)?;
    let rise = Rise::new(space.used.0, (space.size.0 as f64 * fill.ratio()).ceil() as u64, ramp);
    let (mut number, mut written) = (0u32, 0);
    loop {
        let level = rise.level();
        let there = if ramp.is_zero() { files::space(dir)?.used.0 } else { rise.from + written };
        let missing = level.saturating_sub(there).min(FILLER_FILE);
        if level == rise.to && missing == 0 {
            break;
        }
        if level < rise.to && missing < FILLER_STEP {
            if is_over(work, Duration::from_millis(50)) {
                break;
            }
            continue;
        }
        let mut file = File::create(dir.join(format!("{prefix}{number}.{end}")))?;
        number += 1;
        written += missing;
        let full = write_lines(&mut file, missing)?;
        if class == FileClass::Temporary {
            #[expect(clippy::disallowed_methods, reason = "file times are of the wall clock")]
            let now = SystemTime::now();
            file.set_modified(now - FILLER_AGE)?;
        }
        if full == Full::Yes {
            break;
        }
    }
    Ok(())
}

#[derive(PartialEq, Eq)]
enum Full {
    Yes,
    No,
}

fn write_lines(file: &mut File, bytes: u64) -> io::Result<Full> {
    let lines = "filled on purpose by a homeostat disk fault; removed when it ends\n".repeat(1000);
    let mut missing = usize::try_from(bytes).unwrap_or(usize::MAX);
    while missing > 0 {
        match file.write(&lines.as_bytes()[..missing.min(lines.len())]) {
            Ok(written) => missing -= written,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(Full::Yes),
            Err(error) => return Err(error),
        }
    }
    Ok(Full::No)
}

/// Waits up to `pause` for the end of the work.
fn is_over(work: &Work, pause: Duration) -> bool {
    let left = Duration::from_micros(work.until_boot_us.saturating_sub(SystemClock.now().boot_us));
    if left.is_zero() {
        return true;
    }
    let pause = pause.min(left);
    let Some(victim) = &work.victim else {
        std::thread::sleep(pause);
        return false;
    };
    let Some(pidfd) = process::open(victim) else { return true };
    let timeout = Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: i64::from(pause.subsec_nanos()) };
    poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)).is_ok_and(|ready| ready > 0)
}
