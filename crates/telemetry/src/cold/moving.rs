//! Old units into a bucket, and what is there looked after.
//!
//! ```text
//! a unit that is due ─ rows, then index, put there ─ seen to be there ─► A-B.moved ─► its Parquet files removed here
//! one that retention lets go of ─► A-B.gone ─ index, then rows, removed there ─► A-B.gone removed
//! ```
//!
//! In: units. Out: the same units, with their rows in the bucket; an object `owner`, which says whose prefix it is. One
//! thread, so that neither compaction nor intake ever waits for a network. What fails is counted, said in
//! [`Moving::trouble`] and tried again, later each time. Names are those of the units: what is done twice is the same.
//!
//! The index comes last and makes the rows there count, as it does here. Rows without one are what a crash left, and are
//! removed when the bucket is first asked for after a start; units that are there and not known here are taken in, unless
//! what is here has their rows, too.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant, SystemTime};

use super::compact::{Repeated, Take, Work, files_in};
use super::index::{Index, IndexError};
use super::marker::{Marker, OWNER, rows_name};
use super::unit::{Files, Part, Unit};
use crate::derive::{Derived, Minutes};
use crate::intake::lock;
use crate::model::Signal;
use crate::objects::{Bucket, BucketError, Object, WRITTEN, Whole};
use crate::segment::Segment;

/// After a failure it is waited so long, and twice as long after the next …
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// … up to this.
const AFTER_FAILURES: Duration = Duration::from_secs(600);

/// How long closing waits for a request under way; what it does is done again after the next start.
const CLOSING: Duration = Duration::from_secs(2);

const SIGNALS: [Signal; 2] = [Signal::Spans, Signal::Logs];

/// Where moving can be stopped by a test, as a crash would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    SpansUploaded,
    LogsUploaded,
    IndexUploaded,
    MarkerWritten,
    RowsRemoved,
    /// Of a unit that retention let go of.
    IndexRemovedThere,
    RowsRemovedThere,
}

/// Called after each step; an error ends the work there.
pub(super) type Watch<'a> = &'a dyn Fn(Step) -> io::Result<()>;

/// Why something was not moved, removed or taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The bucket.
    #[error("{url}: {source}")]
    There { url: String, source: BucketError },
    /// The local directory.
    #[error("{0}")]
    Here(#[from] io::Error),
    /// The prefix is another store's.
    #[error(
        "{url} belongs to another store; give each store a prefix of its own, or remove {url}/{OWNER} once the other is gone for good"
    )]
    Foreign { url: String },
}

/// What moves units and looks after the bucket.
#[derive(Debug)]
pub(crate) struct Moving {
    work: Arc<Work>,
    derived: Arc<Derived>,
    bucket: Arc<Bucket>,
    after: Duration,
    state: Mutex<State>,
    trouble: Mutex<Option<String>>,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// What earlier processes left there was looked through.
    looked_after: bool,
    /// Units whose files here cannot be read.
    unmovable: HashSet<PathBuf>,
}

impl Moving {
    pub(crate) fn new(work: Arc<Work>, derived: Arc<Derived>, bucket: Arc<Bucket>, after: Duration) -> Self {
        let (state, trouble, closed) = Default::default();
        Self { work, derived, bucket, after, state, trouble, closed }
    }

    /// Why nothing is moved at present.
    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// Does the next thing that is due; whether there was something to do.
    pub(crate) fn tick(&self, take: Take) -> Result<bool, Trouble> {
        self.tick_watched(take, &|_| Ok(()))
    }

    pub(super) fn tick_watched(&self, take: Take, watch: Watch<'_>) -> Result<bool, Trouble> {
        let mut state = lock(&self.state);
        let done = self.next(&mut state, take, watch);
        *lock(&self.trouble) = done.as_ref().err().map(Trouble::to_string);
        done.inspect_err(|_| self.bucket.counters().failures.add(1))
    }

    fn next(&self, state: &mut State, take: Take, watch: Watch<'_>) -> Result<bool, Trouble> {
        if !state.looked_after {
            self.claim()?;
            self.look_after()?;
            state.looked_after = true;
        }
        if self.remove_gone(watch)? {
            return Ok(true);
        }
        let Some(unit) = self.due(state, take) else { return Ok(false) };
        let moved = self.move_unit(&unit, watch);
        if let Err(Trouble::Here(error)) = &moved
            && error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
        {
            state.unmovable.insert(unit.files.index.clone());
        }
        moved.map(|()| true)
    }

    /// The oldest unit whose time has come.
    fn due(&self, state: &State, take: Take) -> Option<Arc<Unit>> {
        let crowded = self.work.bytes() > self.work.policy.retention_bytes / 4 * 3;
        let is_due = |unit: &Arc<Unit>| {
            let age = unit.written.elapsed().unwrap_or_default();
            !unit.is_moved()
                && !state.unmovable.contains(&unit.files.index)
                && (take == Take::All || crowded || age >= self.after)
        };
        self.work.tiers.units().into_iter().find(is_due)
    }

    fn there(&self, source: BucketError) -> Trouble {
        Trouble::There { url: self.bucket.url().to_owned(), source }
    }

    /// Puts a unit there, and lets go of its rows here.
    fn move_unit(&self, unit: &Arc<Unit>, watch: Watch<'_>) -> Result<(), Trouble> {
        let marker = match self.put(unit, watch) {
            // It was merged or let go of meanwhile.
            Err(Trouble::Here(error)) if error.kind() == io::ErrorKind::NotFound && !self.has(unit) => None,
            put => Some(put?),
        };
        if let Some(marker) = marker
            && self.commit(unit, marker, watch)?
        {
            self.bucket.counters().moved_units.add(1);
            return Ok(());
        }
        self.remove_there(unit.files.stem(), watch)
    }

    fn has(&self, unit: &Arc<Unit>) -> bool {
        self.work.tiers.units().iter().any(|known| Arc::ptr_eq(known, unit))
    }

    /// Puts the files of a unit there, and sees that they are.
    fn put(&self, unit: &Unit, watch: Watch<'_>) -> Result<Marker, Trouble> {
        let (files, stem) = (&unit.files, unit.files.stem());
        let mut marker = Marker { url: self.bucket.url().to_owned(), spans: None, logs: None };
        for signal in SIGNALS.into_iter().filter(|&signal| !unit.index.groups(signal).is_empty()) {
            let file = File::open(files.of(signal))?;
            let object = self.bucket.put_file(&rows_name(stem, signal), &file);
            let object = Some(object.map_err(|error| self.there(error))?);
            match signal {
                Signal::Spans => marker.spans = object,
                Signal::Logs => marker.logs = object,
            }
            watch(if signal == Signal::Spans { Step::SpansUploaded } else { Step::LogsUploaded })?;
        }
        let index = fs::read(&files.index)?;
        let written = unit.written.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let header = Some((WRITTEN, written.as_nanos().to_string()));
        let name = index_name(stem);
        let put = self.bucket.put_bytes(&name, &index, header).map_err(|error| self.there(error))?;
        watch(Step::IndexUploaded)?;
        let rows =
            SIGNALS.into_iter().filter_map(|signal| Some((rows_name(stem, signal), marker.of(signal)?)));
        for (name, object) in rows.chain([(name, &put)]) {
            let found = self.bucket.head(&name).map_err(|error| self.there(error))?;
            if found.as_ref() != Some(object) {
                let why = format!("{name} is not there as it was put there");
                return Err(self.there(BucketError::Different(why)));
            }
        }
        Ok(marker)
    }

    /// Makes the rows there count, and removes those here; `false` where the unit is not one any more.
    fn commit(&self, unit: &Arc<Unit>, marker: Marker, watch: Watch<'_>) -> Result<bool, Trouble> {
        let _alone = lock(&self.work.one_at_a_time);
        self.check_open()?;
        if !self.has(unit) {
            return Ok(false);
        }
        let files = unit.files.clone();
        write_durably(&files.moved(), &marker.write(), None)?;
        watch(Step::MarkerWritten)?;
        let bytes = fs::metadata(&files.index)?.len() as usize;
        let moved = Unit::moved(files.clone(), unit.index.clone(), bytes, Arc::clone(&self.bucket), marker)?;
        self.work.tiers.replace_units(Arc::new(moved), std::slice::from_ref(unit));
        for signal in SIGNALS {
            // What cannot be removed now is found beside the marker by the next start.
            let _ = fs::remove_file(files.of(signal));
        }
        watch(Step::RowsRemoved)?;
        Ok(true)
    }

    /// Refuses to touch the directory of a store that was closed: it may be another process's by now.
    fn check_open(&self) -> io::Result<()> {
        if self.closed.load(Ordering::Acquire) {
            Err(io::Error::other("the store was closed"))
        } else {
            Ok(())
        }
    }

    /// Removes a unit there that retention let go of; whether there was one.
    fn remove_gone(&self, watch: Watch<'_>) -> Result<bool, Trouble> {
        let gone =
            files_in(&self.work.dir)?.into_iter().find(|path| path.extension().is_some_and(|e| e == "gone"));
        let Some(path) = gone else { return Ok(false) };
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        self.remove_there(stem, watch)?;
        self.check_open()?;
        fs::remove_file(&path)?;
        Ok(true)
    }

    /// Removes the objects of a unit: the index first, so that what a crash leaves of it is known to be nothing.
    fn remove_there(&self, stem: &str, watch: Watch<'_>) -> Result<(), Trouble> {
        let delete = |name: &str| self.bucket.delete(name).map_err(|error| self.there(error));
        delete(&index_name(stem))?;
        watch(Step::IndexRemovedThere)?;
        SIGNALS.into_iter().try_for_each(|signal| delete(&rows_name(stem, signal)))?;
        watch(Step::RowsRemovedThere)?;
        self.bucket.counters().removed_units.add(1);
        Ok(())
    }

    /// Makes sure that the prefix is ours.
    fn claim(&self) -> Result<(), Trouble> {
        let ours = fs::read_to_string(self.work.dir.join(OWNER))?;
        match self.bucket.get(OWNER).map_err(|error| self.there(error))? {
            Some(theirs) if theirs.content == ours.as_bytes() => Ok(()),
            Some(_) => Err(Trouble::Foreign { url: self.bucket.url().to_owned() }),
            None => {
                let put = self.bucket.put_bytes(OWNER, ours.as_bytes(), None);
                put.map(drop).map_err(|error| self.there(error))
            }
        }
    }

    /// Looks through what is there: removes what a crash left, and takes in units that are not known here.
    fn look_after(&self) -> Result<(), Trouble> {
        let there = units_there(&self.bucket).map_err(|error| self.there(error))?;
        let gone = files_in(&self.work.dir)?;
        for (stem, names) in there {
            let files = Files::new(&self.work.dir, &stem);
            let is_known = self.work.tiers.units().iter().any(|unit| unit.files.index == files.index);
            if is_known || gone.contains(&files.gone()) {
                continue;
            }
            if names.contains(&index_name(&stem)) {
                self.look_at(files, &stem)?;
            } else {
                self.remove_there(&stem, &|_| Ok(()))?;
            }
        }
        Ok(())
    }

    /// Looks at a unit that is there and not known here.
    fn look_at(&self, files: Files, stem: &str) -> Result<(), Trouble> {
        let Some(found) = Found::fetch(&self.bucket, stem).map_err(|error| self.there(error))? else {
            return Ok(());
        };
        let view = self.work.tiers.view();
        let mut here: Vec<u64> = view.cold.iter().flat_map(|unit| unit.segments()).copied().collect();
        here.extend(view.hot.iter().map(|segment| segment.number));
        let is_here = |number: &&u64| here.contains(number);
        let held = found.index.segments.iter().filter(is_here).count();
        let newest_start = SIGNALS.iter().flat_map(|&signal| found.index.groups(signal));
        let newest_start = newest_start.map(super::index::Group::start_max).max().unwrap_or(0);
        let age = found.written.elapsed().unwrap_or_default();
        if held == found.index.segments.len() || self.work.is_too_old(age, newest_start) {
            return self.remove_there(stem, &|_| Ok(()));
        }
        // Some of it is here, or it is newer than anything here: it is no part of what this store has lost.
        let lost = held == 0 && found.index.segments.iter().max() <= here.iter().max();
        let Some(minutes) = Minutes::from_bytes(&found.index.derived).ok().filter(|_| lost) else {
            self.bucket.counters().unknown_units.add(1);
            return Ok(());
        };
        let _alone = lock(&self.work.one_at_a_time);
        self.check_open()?;
        found.write(&files)?;
        let Found { index, bytes, marker, .. } = found;
        let unit = Unit::moved(files, index, bytes.len(), Arc::clone(&self.bucket), marker)?;
        unit.tell(&minutes, &self.derived);
        self.work.tiers.take_in(Arc::new(unit));
        Ok(())
    }

    /// Touches the directory no more, whatever is under way.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        drop(lock(&self.work.one_at_a_time));
    }
}

/// The name of the object that has a unit's index.
fn index_name(stem: &str) -> String {
    format!("{stem}.index")
}

/// The names of all objects that belong to units, by unit.
fn units_there(bucket: &Bucket) -> Result<BTreeMap<String, Vec<String>>, BucketError> {
    let mut units: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, _) in bucket.list()? {
        let number = |text: &str| text.len() == 20 && text.bytes().all(|byte| byte.is_ascii_digit());
        if let Some((files, Part::Index | Part::Rows)) = Files::with(Path::new(""), Path::new(&name))
            && files.stem().split_once('-').is_some_and(|(first, last)| number(first) && number(last))
            && !name.contains('/')
        {
            units.entry(files.stem().to_owned()).or_default().push(name);
        }
    }
    Ok(units)
}

/// A unit as it was found in a bucket.
struct Found {
    bytes: Vec<u8>,
    index: Index,
    marker: Marker,
    written: SystemTime,
}

impl Found {
    /// Fetches the index of a unit, and sees what rows are there; `None` where it is none that can be read, which is
    /// counted.
    fn fetch(bucket: &Bucket, stem: &str) -> Result<Option<Self>, BucketError> {
        let unknown = || {
            bucket.counters().unknown_units.add(1);
            Ok(None)
        };
        let Some(Whole { content: bytes, written }) = bucket.get(&index_name(stem))? else { return Ok(None) };
        let index = match Index::read(&bytes) {
            Ok(index) => index,
            Err(IndexError::Damaged) => return unknown(),
            Err(newer) => return Err(BucketError::Different(format!("{}: {newer}", index_name(stem)))),
        };
        let mut marker = Marker { url: bucket.url().to_owned(), spans: None, logs: None };
        for signal in SIGNALS.into_iter().filter(|&signal| !index.groups(signal).is_empty()) {
            let object: Option<Object> = bucket.head(&rows_name(stem, signal))?;
            if object.is_none() {
                return unknown();
            }
            match signal {
                Signal::Spans => marker.spans = object,
                Signal::Logs => marker.logs = object,
            }
        }
        let since =
            written.and_then(|written| written.parse().ok()).map_or(Duration::ZERO, Duration::from_nanos);
        Ok(Some(Self { bytes, index, marker, written: SystemTime::UNIX_EPOCH + since }))
    }

    /// Makes it a unit of the directory: the index last.
    fn write(&self, files: &Files) -> io::Result<()> {
        write_durably(&files.moved(), &self.marker.write(), None)?;
        write_durably(&files.index, &self.bytes, Some(self.written))
    }
}

/// Replaces a file as a whole, as of a time other than now where one is given.
fn write_durably(path: &Path, bytes: &[u8], written: Option<SystemTime>) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    if let Some(written) = written {
        file.set_modified(written)?;
    }
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// Before the units of a directory are read: makes sure that it and the bucket know each other. A directory that holds
/// nothing of its own takes over what is there; one that has spans and never used the bucket must not find any.
pub(crate) fn acquaint(bucket: &Bucket, cold: &Path, hot: &Path) -> Result<(), Trouble> {
    let owner = cold.join(OWNER);
    if owner.try_exists()? {
        return Ok(());
    }
    let there = |source| Trouble::There { url: bucket.url().to_owned(), source };
    let id = match bucket.get(OWNER).map_err(there)? {
        None => new_owner()?.into_bytes(),
        Some(_) if !holds_nothing(cold, hot)? => {
            return Err(Trouble::Foreign { url: bucket.url().to_owned() });
        }
        Some(id) => {
            for stem in units_there(bucket).map_err(there)?.into_keys() {
                let files = Files::new(cold, &stem);
                if !files.index.try_exists()?
                    && let Some(found) = Found::fetch(bucket, &stem).map_err(there)?
                {
                    found.write(&files)?;
                }
            }
            id.content
        }
    };
    // Last: where it is missing, this is done again.
    Ok(write_durably(&owner, &id, None)?)
}

/// Whether all that is in a directory came from a bucket.
fn holds_nothing(cold: &Path, hot: &Path) -> io::Result<bool> {
    let own = |path: PathBuf| match Files::with(cold, &path) {
        Some((files, Part::Index)) => !files.moved().exists(),
        _ => false,
    };
    Ok(Segment::list(hot)?.is_empty() && !files_in(cold)?.into_iter().any(own))
}

fn new_owner() -> io::Result<String> {
    let mut id = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut id)?;
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The thread.
#[derive(Debug)]
pub(crate) struct Mover {
    moving: Arc<Moving>,
    thread: Repeated,
    ended: mpsc::Receiver<()>,
}

impl Mover {
    /// Starts it.
    pub(crate) fn start(moving: Arc<Moving>) -> io::Result<Self> {
        let (end, ended) = mpsc::channel();
        let rest: Cell<Option<(Instant, Duration)>> = Cell::default();
        let failed = Arc::clone(&moving);
        let at_work = Arc::clone(&moving);
        let tick = move || {
            // Gone when the thread is.
            let _end: &mpsc::Sender<()> = &end;
            let (until, last) = rest.get().unzip();
            if until.is_some_and(|until| Instant::now() < until) {
                return Ok(false);
            }
            let done = at_work.tick(Take::Due);
            let next = last.map_or(AFTER_FAILURE, |last| (2 * last).min(AFTER_FAILURES));
            rest.set(done.is_err().then(|| (Instant::now() + next, next)));
            done.map_err(io::Error::other)
        };
        let defect = move || failed.bucket.counters().failures.add(1);
        let thread = Repeated::start("telemetry-objects", defect, tick)?;
        Ok(Self { moving, thread, ended })
    }

    /// Ends it. A request that is under way is not waited for long: it changes nothing here any more.
    pub(crate) fn stop(self) {
        self.thread.end();
        // The thread's end is a closed channel.
        if self.ended.recv_timeout(CLOSING) == Err(mpsc::RecvTimeoutError::Disconnected) {
            self.thread.join();
        }
        self.moving.close();
    }
}
