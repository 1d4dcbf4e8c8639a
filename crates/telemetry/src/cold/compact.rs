//! When segments become units, when small units become one, and when units go.
//!
//! One thread, oldest segments first. What cannot be done now (no room on the disk, say) is counted, leaves everything
//! as it was, and is tried again. What cannot be read, or meets a defect, is set aside: what is behind it has its turn.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::build::{Watch, build};
use super::fault::{Blame, Fault, caught, is_full};
use super::merge::{Candidate, choose, merge};
use super::retain::{age_of, has_room};
use super::unit::{Files, Unit};
use crate::intake::{Shared, lock};
use crate::segment::Segment;
use crate::tiers::Tiers;

/// How often it is looked whether there is something to do.
const TICK: Duration = Duration::from_secs(1);

/// After a failure it is waited so long: room on a disk does not come back in a second.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// Segments of fewer bytes together wait for more, so that a quiet system does not get a unit every few minutes …
const UNIT_BYTES_MIN: u64 = 128 << 20;

/// … but no longer than this.
const GATHER_MAX: Duration = Duration::from_secs(3600);

/// No unit is made of more bytes of segments than this, but for a single segment.
const UNIT_BYTES_MAX: u64 = 512 << 20;

/// So many bytes are left free by merging, which can wait: a segment that is being filled cannot.
const ROOM_BYTES: u64 = 64 << 20;

/// When to compact, what to keep, and for how long.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) after: Option<Duration>,
    pub(crate) hot_bytes_max: u64,
    pub(crate) keep_percent: f64,
    pub(crate) retention_age: Duration,
    pub(crate) retention_bytes: u64,
}

/// What compaction and retention do, one thing at a time.
#[derive(Debug)]
pub(crate) struct Work {
    pub(super) tiers: Arc<Tiers>,
    pub(super) shared: Arc<Shared>,
    pub(super) dir: PathBuf,
    pub(super) policy: Policy,
    /// Units that cannot be merged: the first segment of each.
    unmergeable: Mutex<HashSet<u64>>,
    /// So many segments are taken one at a time: they failed together.
    one_by_one: AtomicUsize,
    /// A failure left files of a unit that is none.
    leftovers: AtomicBool,
    pub(super) one_at_a_time: Mutex<()>,
}

/// Which segments are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// Those whose time has come.
    Due,
    /// All that are sealed.
    All,
}

impl Work {
    /// Prepares work on the units in `dir`.
    pub(crate) fn new(tiers: Arc<Tiers>, shared: Arc<Shared>, dir: PathBuf, policy: Policy) -> Self {
        let (unmergeable, one_by_one, leftovers, one_at_a_time) = Default::default();
        Self { tiers, shared, dir, policy, unmergeable, one_by_one, leftovers, one_at_a_time }
    }

    /// What is due: compaction first, merging when there is nothing else. Whether there was something to do.
    fn tidy_up(&self) -> io::Result<bool> {
        Ok(self.compact(Take::Due)? || self.policy.after.is_some() && self.merge()?)
    }

    /// Makes one unit of the oldest segments that may be taken; whether there was something to do.
    pub(crate) fn compact(&self, take: Take) -> io::Result<bool> {
        self.sweep_leftovers()?;
        self.compact_watched(take, &|_| Ok(())).inspect_err(|_| self.note_leftovers())
    }

    pub(super) fn compact_watched(&self, take: Take, watch: Watch<'_>) -> io::Result<bool> {
        let _alone = lock(&self.one_at_a_time);
        let segments = self.next(take);
        if segments.is_empty() {
            return Ok(false);
        }
        let counted_down = |left: usize| left.checked_sub(1);
        let _ = self.one_by_one.fetch_update(Ordering::AcqRel, Ordering::Acquire, counted_down);
        let counters = &self.shared.counters;
        match caught(|| build(&self.dir, &segments, self.policy.keep_percent, watch)) {
            Ok(unit) => {
                let (kept, all) = unit.spans();
                counters.compacted_spans.add(all);
                counters.sampled_out_spans.add(all - kept);
                counters.units_written.add(1);
                counters.unit_bytes_written.add(unit.bytes);
                self.tiers.replace(Arc::new(unit));
                // What cannot be removed now is covered by the unit, and removed by the next start.
                segments.iter().for_each(|segment| drop(fs::remove_file(&segment.path)));
                Ok(true)
            }
            Err(fault) => {
                counters.compaction_failures.add(1);
                self.set_aside(&fault, &segments);
                Err(fault.error)
            }
        }
    }

    /// Takes no segment again that was to blame; where it is not known which one was, each is tried alone.
    fn set_aside(&self, fault: &Fault, segments: &[Arc<Segment>]) {
        let to_blame = match fault.blame() {
            Blame::One(number) => segments.iter().position(|segment| segment.number == number),
            Blame::Unknown if segments.len() == 1 => Some(0),
            Blame::Unknown | Blame::System => None,
        };
        if let Some(at) = to_blame {
            self.tiers.set_aside(&segments[at]);
            self.shared.counters.damaged_segments.add(1);
        } else if segments.len() > 1 {
            self.one_by_one.store(segments.len(), Ordering::Release);
        } else if is_full(&fault.error) {
            self.shared.want_room(segments[0].bytes());
        }
    }

    /// Makes one unit of small neighbours; whether there was something to do.
    pub(crate) fn merge(&self) -> io::Result<bool> {
        self.sweep_leftovers()?;
        self.merge_watched(&|_| Ok(())).inspect_err(|_| self.note_leftovers())
    }

    pub(super) fn merge_watched(&self, watch: Watch<'_>) -> io::Result<bool> {
        let _alone = lock(&self.one_at_a_time);
        let units = self.neighbours();
        if units.is_empty() {
            return Ok(false);
        }
        let counters = &self.shared.counters;
        match caught(|| merge(&self.dir, &units, watch)) {
            Ok(unit) => {
                counters.merged_units.add(units.len() as u64);
                counters.merged_bytes_written.add(unit.bytes);
                self.tiers.replace_units(Arc::new(unit), &units);
                // What cannot be removed now is covered by the new unit, and removed by the next start.
                units.iter().for_each(|unit| drop(unit.files.remove()));
                Ok(true)
            }
            Err(fault) => {
                counters.merge_failures.add(1);
                let first = units.iter().filter_map(|unit| unit.segments().first());
                let to_blame: Vec<u64> = match fault.blame() {
                    Blame::One(number) => vec![number],
                    Blame::Unknown => first.copied().collect(),
                    Blame::System => Vec::new(),
                };
                counters.damaged_units.add(to_blame.len() as u64);
                lock(&self.unmergeable).extend(to_blame);
                Err(fault.error)
            }
        }
    }

    /// Removes what a failure left, at once where that is possible: it takes room, which may be what was missing.
    fn note_leftovers(&self) {
        self.leftovers.store(true, Ordering::Release);
        // What cannot be removed now is removed before anything else is written, or by the next start.
        let _ = self.sweep();
    }

    /// Removes what failures left and could not be removed then: an index among it would count, after a restart, beside
    /// a unit that has part of its segments only.
    fn sweep_leftovers(&self) -> io::Result<()> {
        if self.leftovers.load(Ordering::Acquire) { self.sweep() } else { Ok(()) }
    }

    /// Removes the files of units that are none.
    fn sweep(&self) -> io::Result<()> {
        let _alone = lock(&self.one_at_a_time);
        let units = self.tiers.units();
        for path in files_in(&self.dir)? {
            let Some((files, _)) = Files::with(&self.dir, &path) else { continue };
            if units.iter().all(|unit| unit.files.index != files.index) {
                files.remove()?;
            }
        }
        self.leftovers.store(false, Ordering::Release);
        Ok(())
    }

    /// The oldest units that may be merged; none where the disk has not the room.
    fn neighbours(&self) -> Vec<Arc<Unit>> {
        let units = self.tiers.units();
        let unmergeable = lock(&self.unmergeable);
        let candidate = |unit: &Arc<Unit>| {
            let known = unit.segments().first().is_some_and(|first| unmergeable.contains(first));
            if known { None } else { Candidate::new(unit) }
        };
        let candidates: Vec<Option<Candidate>> = units.iter().map(candidate).collect();
        let chosen = choose(&candidates, self.policy.retention_age);
        let chosen = chosen.map_or(&[][..], |chosen| &units[chosen]);
        // What is merged is on the disk twice until it is done.
        let bytes = chosen.iter().map(|unit| unit.bytes).sum::<u64>();
        if bytes > 0 && has_room(&self.dir, bytes + ROOM_BYTES) { chosen.to_vec() } else { Vec::new() }
    }

    /// The oldest segments that may be taken together.
    fn next(&self, take: Take) -> Vec<Arc<Segment>> {
        let Some(after) = (match take {
            Take::All => Some(Duration::ZERO),
            Take::Due => self.policy.after,
        }) else {
            return Vec::new();
        };
        let sealed = self.tiers.sealed();
        let hot: u64 = sealed.iter().map(|segment| segment.bytes()).sum();
        let alone = self.one_by_one.load(Ordering::Acquire) > 0;
        let crowded = hot > self.policy.hot_bytes_max.min(self.tiers.gate.crowded_above());
        let mut taken: Vec<Arc<Segment>> = Vec::new();
        let (mut bytes, mut oldest) = (0, Duration::ZERO);
        for segment in sealed {
            let age = age_of(&segment.path);
            let full = !taken.is_empty() && (alone || bytes + segment.bytes() > UNIT_BYTES_MAX);
            if !crowded && age < after || full {
                break;
            }
            oldest = oldest.max(age);
            bytes += segment.bytes();
            taken.push(segment);
        }
        let enough = bytes >= UNIT_BYTES_MIN || oldest >= after + GATHER_MAX;
        if crowded || alone || after.is_zero() || enough { taken } else { Vec::new() }
    }
}

/// The thread.
#[derive(Debug)]
pub(crate) struct Compactor {
    thread: Repeated,
}

impl Compactor {
    /// Starts it.
    pub(crate) fn start(work: Arc<Work>) -> io::Result<Self> {
        let shared = Arc::clone(&work.shared);
        let rests_until: Cell<Option<Instant>> = Cell::default();
        let defect = move || shared.counters.compaction_failures.add(1);
        let thread = Repeated::start("telemetry-compact", defect, move || {
            // Room on a full disk is made meanwhile, too: intake waits for it.
            work.retain();
            if rests_until.get().is_some_and(|until| Instant::now() < until) {
                return Ok(false);
            }
            rests_until.set(None);
            work.tidy_up().inspect_err(|_| rests_until.set(Some(Instant::now() + AFTER_FAILURE)))
        })?;
        Ok(Self { thread })
    }

    /// Ends it, after what it is doing.
    pub(crate) fn stop(self) {
        self.thread.end();
        self.thread.join();
    }
}

/// A thread that repeats something until it is ended.
#[derive(Debug)]
pub(super) struct Repeated {
    thread: thread::JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl Repeated {
    /// Repeats `tick`, at once where there was something to do. Should it panic, which is a defect, that is counted, and it
    /// goes on: without compaction intake would be refused before long.
    pub(super) fn start(
        name: &str,
        count_defect: impl Fn() + Send + 'static,
        tick: impl Fn() -> io::Result<bool> + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let run = move || {
            while !stopping.load(Ordering::Acquire) {
                // What it changes, it changes at once or in files that do not count yet.
                match catch_unwind(AssertUnwindSafe(&tick)) {
                    Ok(Ok(true)) => {}
                    Ok(Ok(false) | Err(_)) => thread::park_timeout(TICK),
                    Err(_) => {
                        count_defect();
                        thread::park_timeout(AFTER_FAILURE);
                    }
                }
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { thread, stop })
    }

    /// Tells it to end after what it is doing.
    pub(super) fn end(&self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
    }

    /// Waits for its end.
    pub(super) fn join(self) {
        // A panic of the thread was printed when it happened; what it worked on is still there.
        let _ = self.thread.join();
    }
}

/// All files in a directory, by name.
pub(super) fn files_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> =
        dir.read_dir()?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::Limits;

    #[test]
    fn a_defect_is_counted_and_what_comes_after_it_goes_on() {
        let shared = Arc::new(Shared::new(Limits::default(), 1, Arc::default()));
        let count = {
            let shared = Arc::clone(&shared);
            move || shared.counters.compaction_failures.add(1)
        };
        let begun = Arc::new(AtomicUsize::new(0));
        let tick = {
            let begun = Arc::clone(&begun);
            move || {
                assert!(begun.fetch_add(1, Ordering::AcqRel) > 0, "a defect made for a test");
                Ok(false)
            }
        };
        let repeated = Repeated::start("a test's", count, tick).expect("a thread");
        let deadline = Instant::now() + Duration::from_secs(20);
        while begun.load(Ordering::Acquire) < 3 {
            assert!(Instant::now() < deadline, "it was begun {begun:?} times");
            repeated.thread.thread().unpark();
            thread::yield_now();
        }
        assert_eq!(shared.counters.compaction_failures.get(), 1);
        repeated.end();
        repeated.join();
    }
}
