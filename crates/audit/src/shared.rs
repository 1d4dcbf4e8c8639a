//! What the handles of a trail and its writer share: what waits, what is known, how it is.

use std::sync::atomic::AtomicU64;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::commit::{Asked, Job, Work};
use crate::error::{AuditError, Result};
use crate::index::{Index, Names};
use crate::note::SignedCheckpoint;
use crate::record::NewRecord;
use crate::verifying::VerifyingKeys;

/// How a trail is.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// How many records are acknowledged, with those that were removed.
    pub size: u64,
    /// The first record that is there.
    pub first: u64,
    /// How many of them the newest checkpoint covers.
    pub checkpoint_size: u64,
    /// Why the last checkpoint could not be written; it is tried again.
    pub checkpoint_failure: Option<AuditError>,
    /// Why no more records are taken.
    pub stopped: Option<Arc<str>>,
    /// How many times the disk was waited for since the start.
    pub commits: u64,
}

#[derive(Default)]
struct Queue {
    work: Work,
    stopped: Option<Arc<str>>,
}

pub(crate) struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    pub(crate) index: RwLock<Index>,
    pub(crate) names: Names,
    /// `size`, `first` and `stopped` stand elsewhere.
    pub(crate) status: Mutex<Status>,
    pub(crate) signed: Mutex<SignedNow>,
    /// A segment whose first record is so many seconds old is followed by another.
    pub(crate) segment_age: AtomicU64,
}

/// What is signed, and what that is known by.
pub(crate) struct SignedNow {
    pub(crate) keys: VerifyingKeys,
    /// The newest checkpoint, by both keys.
    pub(crate) checkpoint: Option<SignedCheckpoint>,
    /// What is acknowledged, by Ed25519.
    pub(crate) head: Option<SignedCheckpoint>,
}

/// Locks, whoever panicked while holding it: what is guarded is whole between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(signed: SignedNow, segment_age: Duration) -> Self {
        Self {
            queue: Mutex::default(),
            wake: Condvar::new(),
            index: RwLock::default(),
            names: Names::default(),
            status: Mutex::default(),
            signed: Mutex::new(signed),
            segment_age: AtomicU64::new(segment_age.as_secs()),
        }
    }

    /// Puts a record in the line, with the time of that, and waits for what becomes of it.
    pub(crate) fn append(&self, record: NewRecord, now_us: impl FnOnce() -> i64) -> Result<u64> {
        let (answer, answered) = mpsc::sync_channel(1);
        {
            let mut queue = lock(&self.queue);
            if let Some(why) = &queue.stopped {
                return Err(AuditError::Stopped(Arc::clone(why)));
            }
            // Within the lock, so that times stand in the order of records.
            let time_us = now_us();
            queue.work.jobs.push(Job { record, time_us, answer });
        }
        self.wake.notify_one();
        answered.recv().unwrap_or_else(|_| Err(self.stopped()))
    }

    /// Has the writer do something, between two rounds of records.
    pub(crate) fn ask<T>(&self, asked: impl FnOnce(mpsc::Sender<Result<T>>) -> Asked) -> Result<T> {
        let (answer, answered) = mpsc::channel();
        {
            let mut queue = lock(&self.queue);
            if let Some(why) = &queue.stopped {
                return Err(AuditError::Stopped(Arc::clone(why)));
            }
            queue.work.asked.push(asked(answer));
        }
        self.wake.notify_one();
        answered.recv().unwrap_or_else(|_| Err(self.stopped()))
    }

    fn stopped(&self) -> AuditError {
        let why = lock(&self.queue).stopped.clone();
        AuditError::Stopped(why.unwrap_or_else(|| "its writer has ended".into()))
    }

    /// Waits until there is something to do, or until `due`.
    pub(crate) fn wait_for_work(&self, due: Option<Instant>) -> Work {
        let mut queue = lock(&self.queue);
        loop {
            let work = &queue.work;
            if !work.jobs.is_empty() || !work.asked.is_empty() || work.last {
                return std::mem::take(&mut queue.work);
            }
            queue = match due.map(|due| due.saturating_duration_since(Instant::now())) {
                None => self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return Work::default(),
                Some(left) => self.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// Ends the writer after what it has.
    pub(crate) fn close(&self) {
        lock(&self.queue).work.last = true;
        self.wake.notify_one();
    }

    /// Refuses everything from now on, what waits as well.
    pub(crate) fn stop(&self, why: Arc<str>) {
        let waiting = {
            let mut queue = lock(&self.queue);
            queue.stopped = Some(why);
            (std::mem::take(&mut queue.work.jobs), std::mem::take(&mut queue.work.asked))
        };
        // Who waits is told by the end of the channel.
        drop(waiting);
    }

    pub(crate) fn status(&self) -> Status {
        let (size, first) = {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            (index.size(), index.first())
        };
        let stopped = lock(&self.queue).stopped.clone();
        Status { size, first, stopped, ..lock(&self.status).clone() }
    }
}
