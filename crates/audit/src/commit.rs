//! Group commit: one thread writes what all have, waits for the disk, signs how much there is, and answers them all.
//!
//! Order of a round: write, `fdatasync`, head, answer. While it waits, the next round fills by itself: the busier it is,
//! the more records share one wait. What fails before the head leaves nothing behind. Checkpoints come after the answers,
//! so that nobody waits for them; so do other keys, and the removal of what is too old.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, SyncSender};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::checkpoints::CheckpointFile;
use crate::error::{AuditError, Result};
use crate::head::Head;
use crate::index::{Row, Segment, seconds};
use crate::keys::SigningKeys;
use crate::layout::Layout;
use crate::merkle::{Frontier, Hash};
use crate::note::{Checkpoint, SignedCheckpoint};
use crate::record::NewRecord;
use crate::retained::{self, Beginning};
use crate::shared::{Shared, lock};
use crate::trail::Options;
use crate::verifying::VerifyingKeys;

/// How long after a checkpoint that could not be written the next one is tried.
const CHECKPOINT_RETRY: Duration = Duration::from_secs(10);

/// A record that waits for the disk.
pub(crate) struct Job {
    pub(crate) record: NewRecord,
    pub(crate) time_us: i64,
    pub(crate) answer: SyncSender<Result<u64>>,
}

/// What somebody asked for beside records.
pub(crate) enum Asked {
    /// A checkpoint of everything so far.
    Checkpoint(Sender<Result<SignedCheckpoint>>),
    /// Other keys from now on.
    Keys(Sender<Result<VerifyingKeys>>),
    /// That the log begins there, and nothing before is kept.
    Beginning(Beginning, Sender<Result<()>>),
    /// That what an earlier removal could not finish is finished; whether there was something.
    Leftover(Sender<Result<bool>>),
}

/// What there is to do.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) jobs: Vec<Job>,
    pub(crate) asked: Vec<Asked>,
    /// Nothing comes after this.
    pub(crate) last: bool,
}

/// The segment written to.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) file: Arc<File>,
    pub(crate) first: u64,
    /// Bytes of acknowledged records.
    pub(crate) len: u64,
    /// Whether the index knows it.
    pub(crate) known: bool,
    /// When its first record was made, in seconds since 1970-01-01; `None` where it has none.
    pub(crate) begun: Option<u32>,
}

pub(crate) struct Committer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) layout: Layout,
    pub(crate) keys: SigningKeys,
    pub(crate) options: Options,
    pub(crate) head: Head,
    pub(crate) checkpoints: CheckpointFile,
    /// Where the log begins.
    pub(crate) beginning: Beginning,
    /// Whether something that lies before it is still there.
    pub(crate) leftover: bool,
    pub(crate) current: Option<Current>,
    pub(crate) frontier: Frontier,
    pub(crate) last: Hash,
}

/// What a round made, before anybody knows of it.
struct Round {
    frontier: Frontier,
    last: Hash,
    bytes: Vec<u8>,
    rows: Vec<(Row, u32)>,
    answers: Vec<SyncSender<Result<u64>>>,
}

/// Why a round came to nothing.
enum Failure {
    /// It left nothing behind; the next one may succeed.
    Round(io::Error),
    /// Nobody knows what the disk has: no more until the next start.
    Stop(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Round(error)
    }
}

impl Committer {
    /// Runs on a thread of its own. Should it panic, which is a defect, everything is refused from then on: who waited
    /// for a dead writer would wait for ever.
    pub(crate) fn start(self) -> io::Result<JoinHandle<()>> {
        let shared = Arc::clone(&self.shared);
        thread::Builder::new().name("audit-commit".to_owned()).spawn(move || {
            // What the committer left half-done is never looked at again. That it panicked was printed.
            if catch_unwind(AssertUnwindSafe(|| self.run())).is_err() {
                shared.stop("its writer ended by a defect".into());
            }
        })
    }

    fn run(mut self) {
        let mut due = self.checkpoint_due();
        loop {
            let mut work = self.shared.wait_for_work(due);
            if !work.jobs.is_empty() {
                self.round(std::mem::take(&mut work.jobs));
                due = due.or_else(|| self.checkpoint_due());
            }
            let since = self.frontier.size() - self.checkpoint_size();
            let late = due.is_some_and(|due| due <= Instant::now());
            let wanted = work.last || work.asked.iter().any(|asked| matches!(asked, Asked::Checkpoint(_)));
            if since > 0 && (since >= self.options.checkpoint_records || late || wanted) {
                due = match self.checkpoint() {
                    Ok(()) => None,
                    Err(_) => Some(Instant::now() + CHECKPOINT_RETRY),
                };
            }
            work.asked.into_iter().for_each(|asked| self.answer(asked));
            if work.last {
                return;
            }
        }
    }

    /// When the next checkpoint is to be written, unless enough records come before.
    fn checkpoint_due(&self) -> Option<Instant> {
        (self.frontier.size() > self.checkpoint_size())
            .then(|| Instant::now().checked_add(self.options.checkpoint_interval))?
    }

    fn checkpoint_size(&self) -> u64 {
        lock(&self.shared.signed).checkpoint.as_ref().map_or(0, |newest| newest.checkpoint.size)
    }

    fn round(&mut self, jobs: Vec<Job>) {
        let now = jobs.first().map_or(0, |job| seconds(job.time_us));
        let segment = match self.segment(now) {
            Ok(len) => len,
            Err(error) => {
                return refuse(jobs.into_iter().map(|job| job.answer), &AuditError::Append(Arc::new(error)));
            }
        };
        let round = self.prepare(jobs, segment);
        match self.commit(&round) {
            Ok(()) => self.publish(round),
            Err(Failure::Round(error)) => refuse(round.answers, &AuditError::Append(Arc::new(error))),
            Err(Failure::Stop(why)) => {
                let why: Arc<str> = why.into();
                self.shared.stop(Arc::clone(&why));
                refuse(round.answers, &AuditError::Stopped(why));
            }
        }
    }

    /// Sees to a segment with room that is not too old. Returns how long it is.
    fn segment(&mut self, now: u32) -> io::Result<u64> {
        let segment_age = self.shared.segment_age.load(Ordering::Relaxed);
        let fits = |current: &&mut Current| {
            let age = current.begun.map_or(0, |begun| now.saturating_sub(begun));
            current.len < self.options.segment_bytes && u64::from(age) < segment_age
        };
        if let Some(current) = self.current.as_mut().filter(fits) {
            current.begun.get_or_insert(now);
            return Ok(current.len);
        }
        let first = self.frontier.size();
        let path = self.layout.segment(first);
        let mut options = OpenOptions::new();
        // One that an earlier round could not fill is empty.
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        File::open(self.layout.log())?.sync_all()?;
        self.current = Some(Current { file: Arc::new(file), first, len: 0, known: false, begun: Some(now) });
        Ok(0)
    }

    fn prepare(&self, jobs: Vec<Job>, begin: u64) -> Round {
        let mut round = Round {
            frontier: self.frontier.clone(),
            last: self.last,
            bytes: Vec::with_capacity(jobs.len() * 512),
            rows: Vec::with_capacity(jobs.len()),
            answers: Vec::with_capacity(jobs.len()),
        };
        for job in jobs {
            let record = job.record.placed(round.frontier.size(), job.time_us, round.last);
            // A segment is closed at a gibibyte at most, and a round has one record of each thread.
            let offset = (begin + round.bytes.len() as u64) as u32;
            round.rows.push((self.shared.names.row(&record), offset));
            round.last = record.write(&mut round.bytes);
            round.frontier.push(round.last);
            round.answers.push(job.answer);
        }
        round
    }

    fn commit(&mut self, round: &Round) -> Result<(), Failure> {
        let Some(current) = &self.current else { return Err(Failure::Stop("it has no segment".to_owned())) };
        let written =
            current.file.write_all_at(&round.bytes, current.len).and_then(|()| current.file.sync_data());
        if let Err(error) = written {
            // A full disk, or a sync after which nobody knows what the disk has: all of the round is cut off.
            return Err(match current.file.set_len(current.len) {
                Ok(()) => Failure::Round(error),
                Err(cut) => {
                    Failure::Stop(format!("a write failed ({error}) and could not be taken back ({cut})"))
                }
            });
        }
        let checkpoint = self.checkpoint_of(&round.frontier);
        let signed = self.keys.sign_head(&checkpoint).map_err(|error| error.to_string());
        let head = signed.and_then(|note| {
            self.head.write(&note).map_err(|error| error.to_string())?;
            Ok(note)
        });
        // It may be on the disk or not, so the records may count or not.
        let note = head.map_err(|error| {
            Failure::Stop(format!(
                "audit/head could not be written ({error}), so the last records may count or not"
            ))
        })?;
        lock(&self.shared.signed).head = Some(SignedCheckpoint { checkpoint, note });
        Ok(())
    }

    fn checkpoint_of(&self, frontier: &Frontier) -> Checkpoint {
        Checkpoint {
            origin: self.keys.public().origin().to_owned(),
            size: frontier.size(),
            root: frontier.root(),
        }
    }

    /// Lets everybody know of a round that is on the disk.
    fn publish(&mut self, round: Round) {
        let first = self.frontier.size();
        {
            let mut index = self.shared.index.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(current) = &mut self.current {
                if !current.known {
                    let segment = Segment { first: current.first, file: Arc::clone(&current.file), len: 0 };
                    index.begin(segment);
                    current.known = true;
                }
                current.len += round.bytes.len() as u64;
                index.set_len(current.len);
            }
            round.rows.iter().for_each(|(row, offset)| index.push(row, *offset));
        }
        self.frontier = round.frontier;
        self.last = round.last;
        lock(&self.shared.status).commits += 1;
        for (sequence, answer) in (first..).zip(round.answers) {
            // Who asked may be gone.
            let _ = answer.send(Ok(sequence));
        }
    }

    /// Signs what there is with both keys, and keeps that.
    fn checkpoint(&mut self) -> Result<()> {
        let checkpoint = self.checkpoint_of(&self.frontier);
        let path = self.layout.checkpoints();
        let added = self.keys.sign(&checkpoint).and_then(|note| {
            self.checkpoints.add(&self.layout, &note).map_err(AuditError::file("write", &path))?;
            Ok(note)
        });
        let mut status = lock(&self.shared.status);
        match added {
            Ok(note) => {
                status.checkpoint_size = checkpoint.size;
                status.checkpoint_failure = None;
                lock(&self.shared.signed).checkpoint = Some(SignedCheckpoint { checkpoint, note });
                Ok(())
            }
            Err(error) => {
                status.checkpoint_failure = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Who asked may be gone, so nobody has to take the answer.
    fn answer(&mut self, asked: Asked) {
        match asked {
            Asked::Checkpoint(answer) => drop(answer.send(self.newest_checkpoint())),
            Asked::Keys(answer) => drop(answer.send(self.rotate())),
            Asked::Beginning(beginning, answer) => drop(answer.send(self.begin_with(beginning))),
            Asked::Leftover(answer) => drop(answer.send(self.finish_removal())),
        }
    }

    fn newest_checkpoint(&self) -> Result<SignedCheckpoint> {
        let failure = lock(&self.shared.status).checkpoint_failure.clone();
        match (lock(&self.shared.signed).checkpoint.clone(), failure) {
            (_, Some(error)) => Err(error),
            (Some(newest), None) => Ok(newest),
            (None, None) => Err(AuditError::NotCovered { sequence: 0 }),
        }
    }

    /// Signs all there is with the old keys, then signs with new ones. Up to `audit.pub` the old ones count; what fails
    /// after it is finished by the next start.
    fn rotate(&mut self) -> Result<VerifyingKeys> {
        if self.frontier.size() > self.checkpoint_size() {
            self.checkpoint()?;
        }
        let next = self.keys.successor(self.frontier.size())?;
        next.write_next(&self.layout)?;
        if self.beginning.size() > 0 {
            // By both, for whichever counts when a crash comes.
            let text = self.beginning.text(self.keys.public().origin());
            retained::write(&self.layout, &next.countersign(&text, &self.keys.sign_text(&text)?)?)?;
        }
        let head = next.sign_head(&self.checkpoint_of(&self.frontier))?;
        let written = next
            .take_over(&self.layout)
            .and_then(|()| self.head.write(&head).map_err(AuditError::file("write", &self.layout.head())));
        if let Err(error) = written {
            self.shared.stop(format!("its keys were being rotated ({error})").into());
            return Err(error);
        }
        self.keys = next;
        let keys = self.keys.public().clone();
        lock(&self.shared.signed).keys = keys.clone();
        Ok(keys)
    }

    /// Signs where the log begins from now on, and removes what is before.
    fn begin_with(&mut self, beginning: Beginning) -> Result<()> {
        let note = self.keys.sign_text(&beginning.text(self.keys.public().origin()))?;
        retained::write(&self.layout, &note)?;
        self.shared.index.write().unwrap_or_else(PoisonError::into_inner).begin_with(beginning.size());
        self.beginning = beginning;
        self.leftover = true;
        self.finish_removal().map(|_| ())
    }

    /// Removes what lies before the beginning. What fails is tried again by the next removal, and by the next start.
    fn finish_removal(&mut self) -> Result<bool> {
        if !self.leftover {
            return Ok(false);
        }
        self.checkpoints.begin_with(&self.layout, self.keys.public(), self.beginning.size())?;
        self.beginning.remove_before(&self.layout)?;
        self.leftover = false;
        Ok(true)
    }
}

fn refuse(answers: impl IntoIterator<Item = SyncSender<Result<u64>>>, error: &AuditError) {
    for answer in answers {
        // Who asked may be gone.
        let _ = answer.send(Err(error.clone()));
    }
}
