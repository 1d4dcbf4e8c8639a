//! Group commit: one thread writes what all have, waits for the disk, signs how much there is, and answers them all.
//!
//! Order of a round: write, `fdatasync`, head, answer. While it waits, the next round fills by itself: the busier it is,
//! the more records share one wait. What fails before the head leaves nothing behind. Checkpoints come after the answers,
//! so that nobody waits for them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, SyncSender};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::checkpoints::CheckpointFile;
use crate::error::{AuditError, Result};
use crate::head::Head;
use crate::index::{Row, Segment};
use crate::keys::SigningKeys;
use crate::layout::Layout;
use crate::merkle::{Frontier, Hash};
use crate::note::{Checkpoint, SignedCheckpoint};
use crate::record::NewRecord;
use crate::shared::{Shared, lock};
use crate::trail::Options;

/// How long after a checkpoint that could not be written the next one is tried.
const CHECKPOINT_RETRY: Duration = Duration::from_secs(10);

/// A record that waits for the disk.
pub(crate) struct Job {
    pub(crate) record: NewRecord,
    pub(crate) time_us: i64,
    pub(crate) answer: SyncSender<Result<u64>>,
}

/// Who asked for a checkpoint of everything so far.
pub(crate) type CheckpointAsked = Sender<Result<SignedCheckpoint>>;

/// What there is to do.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) jobs: Vec<Job>,
    pub(crate) checkpoints: Vec<CheckpointAsked>,
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
}

pub(crate) struct Committer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) layout: Layout,
    pub(crate) keys: SigningKeys,
    pub(crate) options: Options,
    pub(crate) head: Head,
    pub(crate) checkpoints: CheckpointFile,
    /// The newest checkpoint in the file.
    pub(crate) newest: Option<SignedCheckpoint>,
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
            let wanted = work.last || !work.checkpoints.is_empty();
            if since > 0 && (since >= self.options.checkpoint_records || late || wanted) {
                due = match self.checkpoint() {
                    Ok(()) => None,
                    Err(_) => Some(Instant::now() + CHECKPOINT_RETRY),
                };
            }
            self.answer(work.checkpoints);
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
        self.newest.as_ref().map_or(0, |newest| newest.checkpoint.size)
    }

    fn round(&mut self, jobs: Vec<Job>) {
        let segment = match self.segment() {
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

    /// Sees to a segment with room. Returns how long it is.
    fn segment(&mut self) -> io::Result<u64> {
        if let Some(current) =
            self.current.as_ref().filter(|current| current.len < self.options.segment_bytes)
        {
            return Ok(current.len);
        }
        let first = self.frontier.size();
        let path = self.layout.segment(first);
        let mut options = OpenOptions::new();
        // One that an earlier round could not fill is empty.
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        File::open(self.layout.log())?.sync_all()?;
        self.current = Some(Current { file: Arc::new(file), first, len: 0, known: false });
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
        let head = signed.and_then(|note| self.head.write(&note).map_err(|error| error.to_string()));
        // It may be on the disk or not, so the records may count or not.
        head.map_err(|error| {
            Failure::Stop(format!(
                "audit/head could not be written ({error}), so the last records may count or not"
            ))
        })
    }

    fn checkpoint_of(&self, frontier: &Frontier) -> Checkpoint {
        Checkpoint { origin: self.keys.public().origin.clone(), size: frontier.size(), root: frontier.root() }
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
            self.checkpoints.add(&note).map_err(AuditError::file("write", &path))?;
            Ok(note)
        });
        let mut status = lock(&self.shared.status);
        match added {
            Ok(note) => {
                status.checkpoint_size = checkpoint.size;
                status.checkpoint_failure = None;
                self.newest = Some(SignedCheckpoint { checkpoint, note });
                Ok(())
            }
            Err(error) => {
                status.checkpoint_failure = Some(error.clone());
                Err(error)
            }
        }
    }

    fn answer(&self, asked: Vec<CheckpointAsked>) {
        for asked in asked {
            let failure = lock(&self.shared.status).checkpoint_failure.clone();
            let answer = match (&self.newest, failure) {
                (_, Some(error)) => Err(error),
                (Some(newest), None) => Ok(newest.clone()),
                (None, None) => Err(AuditError::NotCovered { sequence: 0 }),
            };
            // Who asked may be gone.
            let _ = asked.send(answer);
        }
    }
}

fn refuse(answers: impl IntoIterator<Item = SyncSender<Result<u64>>>, error: &AuditError) {
    for answer in answers {
        // Who asked may be gone.
        let _ = answer.send(Err(error.clone()));
    }
}
