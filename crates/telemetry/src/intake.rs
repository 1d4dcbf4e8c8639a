//! The way in: requests walked into open batches, one shard a receiver.
//!
//! In: OTLP protobuf. Out: an [`Admission`] whose [`Durable`] resolves when the disk has it, or a [`Refusal`]. No
//! request waits for another receiver's: shards share nothing but the count of bytes under way.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use crate::batch::Batch;
use crate::counters::Counters;
use crate::model::Signal;
use crate::otlp::{self, Limits, Walked};
use crate::round::{Durable, Round};
use crate::tiers::Tiers;

/// A batch is closed when it has so many rows: enough for columns to be small, few enough to be read for one row.
pub(crate) const BLOCK_ROWS: usize = 8192;

/// A batch is closed when it weighs so much, however few its rows.
const BLOCK_WEIGHT: usize = 8 << 20;

/// How long a sender is asked to wait when too much is under way: a few group commits.
const OVERLOADED_RETRY: Duration = Duration::from_millis(200);

/// How long a sender is asked to wait when compaction is behind: about what it takes until the gate opens again.
const BACKLOG_RETRY: Duration = Duration::from_secs(5);

/// What was taken in.
#[derive(Debug)]
pub struct Admission {
    /// Items taken in.
    pub accepted: u64,
    /// Items left out: OTLP's partial success.
    pub rejected: u64,
    /// Why items were left out.
    pub reason: Option<String>,
    /// Resolves when the disk has what was taken in.
    pub durable: Durable,
}

/// Why nothing of a request was taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are not the protobuf message they should be; sending them again will not help.
    #[error("not an OTLP request: {what} at byte {offset}")]
    Malformed {
        /// Where the bytes stop making sense.
        offset: usize,
        /// Why.
        what: &'static str,
    },
    /// More is under way to the disk than may be.
    #[error("too much is waiting for the disk; send again in {} ms", retry_after.as_millis())]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// More waits for compaction than may.
    #[error(
        "compaction is behind: {} MiB wait for it; send again in {} ms", waiting_bytes >> 20, retry_after.as_millis()
    )]
    Backlog {
        /// Bytes of complete segments.
        waiting_bytes: u64,
        /// When to try again.
        retry_after: Duration,
    },
    /// The disk did not take it: it is full, or broken.
    #[error("the disk did not take it: {message}; send again in {} ms", retry_after.as_millis())]
    Disk {
        /// What the system said.
        message: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The store is shutting down, or its writer ended by a defect, which it printed.
    #[error(
        "the store takes nothing any more: it is shutting down, or its writer ended by a defect; see its log"
    )]
    Closing,
}

/// One receiver's own entry.
#[derive(Debug)]
pub struct Intake {
    shard: Arc<Shard>,
    shared: Arc<Shared>,
}

/// What all receivers and the committer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    /// Most bytes of requests that may wait for the disk.
    pub(crate) waiting_max: u64,
    pub(crate) waiting: AtomicU64,
    pub(crate) closing: AtomicBool,
    /// There is something to write.
    work: AtomicBool,
    /// The segment written to shall be closed.
    seal: AtomicBool,
    /// The committer did that, or ended.
    sealed: (Mutex<Committing>, Condvar),
    /// Bytes for which the disk had no room; 0 where it had.
    room_wanted: AtomicU64,
    /// Where rows are; its gate closes when compaction is behind.
    tiers: Arc<Tiers>,
    committer: Mutex<Option<Thread>>,
    pub(crate) shards: Mutex<Vec<Arc<Shard>>>,
    pub(crate) spare: Mutex<Vec<Batch>>,
    pub(crate) counters: Counters,
}

/// Whether somebody still does what the committer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Committing {
    #[default]
    Yes,
    Ended,
}

/// The open batches of one receiver.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    spans: Option<Batch>,
    logs: Option<Batch>,
    full: Vec<Batch>,
    /// Bytes of the requests in these batches.
    bytes: u64,
    round: Arc<Round>,
}

/// What a shard hands to the committer.
pub(crate) struct Gathered {
    pub(crate) batches: Vec<Batch>,
    pub(crate) bytes: u64,
    pub(crate) round: Arc<Round>,
}

impl Drop for Gathered {
    /// Nobody waits for ever: whoever was not told how it went by now is refused.
    fn drop(&mut self) {
        self.round.end(Err(Refusal::Closing));
    }
}

impl Intake {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let shard = Arc::new(Shard::default());
        lock(&shared.shards).push(Arc::clone(&shard));
        Self { shard, shared }
    }

    /// Takes in an `ExportTraceServiceRequest`: all of it or nothing, but for spans without usable ids.
    ///
    /// # Errors
    ///
    /// Every [`Refusal`] but that of the disk, which [`Admission::durable`] tells.
    pub fn traces(&self, request: &[u8]) -> Result<Admission, Refusal> {
        self.take(Signal::Spans, request)
    }

    /// Takes in an `ExportLogsServiceRequest`: all of it or nothing.
    ///
    /// # Errors
    ///
    /// As [`traces`](Self::traces).
    pub fn logs(&self, request: &[u8]) -> Result<Admission, Refusal> {
        self.take(Signal::Logs, request)
    }

    fn take(&self, signal: Signal, request: &[u8]) -> Result<Admission, Refusal> {
        let shared = &*self.shared;
        let counters = &shared.counters;
        let len = request.len() as u64;
        if shared.tiers.gate.refuses() {
            counters.backlogged.add(1);
            let waiting_bytes = shared.tiers.gate.now().bytes;
            return Err(Refusal::Backlog { waiting_bytes, retry_after: BACKLOG_RETRY });
        }
        if shared.waiting.fetch_add(len, Ordering::Relaxed) + len > shared.waiting_max {
            shared.waiting.fetch_sub(len, Ordering::Relaxed);
            counters.overloaded.add(1);
            return Err(Refusal::Overloaded { retry_after: OVERLOADED_RETRY });
        }
        let taken = self.walk(signal, request);
        match &taken {
            Ok((walked, _)) if walked.accepted > 0 => {
                counters.took(signal, walked);
                shared.wake();
            }
            Ok((walked, _)) => {
                counters.took(signal, walked);
                shared.waiting.fetch_sub(len, Ordering::Relaxed);
            }
            Err(refusal) => {
                if matches!(refusal, Refusal::Malformed { .. }) {
                    counters.malformed.add(1);
                }
                shared.waiting.fetch_sub(len, Ordering::Relaxed);
            }
        }
        let (walked, durable) = taken?;
        let reason = (walked.rejected > 0).then(|| {
            let count = walked.rejected;
            format!("{count} spans have no usable ids: a trace id has 16 bytes, a span id 8, not all zero")
        });
        Ok(Admission { accepted: walked.accepted, rejected: walked.rejected, reason, durable })
    }

    fn walk(&self, signal: Signal, request: &[u8]) -> Result<(Walked, Durable), Refusal> {
        let mut open = lock(&self.shard.open);
        // Looked at under the lock that the committer's last gathering takes: what is let in here is still written.
        if self.shared.closing.load(Ordering::Acquire) {
            return Err(Refusal::Closing);
        }
        let open = &mut *open;
        let slot = match signal {
            Signal::Spans => &mut open.spans,
            Signal::Logs => &mut open.logs,
        };
        let batch = slot.get_or_insert_with(|| self.shared.batch(signal));
        let limits = &self.shared.limits;
        let walked = match signal {
            Signal::Spans => otlp::walk_traces(request, limits, batch),
            Signal::Logs => otlp::walk_logs(request, limits, batch),
        };
        let walked = walked
            .map_err(|fault| Refusal::Malformed { offset: fault.offset_in(request), what: fault.what })?;
        if walked.accepted == 0 {
            return Ok((walked, Durable::already()));
        }
        if batch.rows() >= BLOCK_ROWS || batch.weight() >= BLOCK_WEIGHT {
            open.full.extend(slot.take());
        }
        open.bytes += request.len() as u64;
        Ok((walked, Durable::after(Arc::clone(&open.round))))
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        // The shard stays until the committer has taken what is in it.
        self.shared.wake();
    }
}

impl Shared {
    pub(crate) fn new(limits: Limits, waiting_max: u64, tiers: Arc<Tiers>) -> Self {
        Self {
            limits,
            waiting_max,
            waiting: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            work: AtomicBool::new(false),
            seal: AtomicBool::new(false),
            sealed: Default::default(),
            room_wanted: AtomicU64::new(0),
            tiers,
            committer: Mutex::default(),
            shards: Mutex::default(),
            spare: Mutex::default(),
            counters: Counters::default(),
        }
    }

    /// An empty batch, one that was used before where there is one.
    fn batch(&self, signal: Signal) -> Batch {
        let mut spare = lock(&self.spare);
        match spare.iter().position(|batch| batch.signal == signal) {
            Some(at) => spare.swap_remove(at),
            None => Batch::new(signal),
        }
    }

    /// Keeps a batch for later.
    pub(crate) fn recycle(&self, mut batch: Batch) {
        const SPARE: usize = 8;
        batch.clear();
        let mut spare = lock(&self.spare);
        if spare.len() < SPARE {
            spare.push(batch);
        }
    }

    /// Everything the shards hold. Shards whose receiver is gone are let go of.
    pub(crate) fn gather(&self) -> Vec<Gathered> {
        let mut gathered = Vec::new();
        lock(&self.shards).retain(|shard| {
            // Asked before the shard is emptied: once its receiver is gone, nothing can come into it any more.
            let in_use = Arc::strong_count(shard) > 1;
            gathered.extend(lock(&shard.open).gather());
            in_use
        });
        gathered
    }

    /// Refuses everything from now on, and whoever waits.
    pub(crate) fn refuse_all(&self) {
        self.closing.store(true, Ordering::Release);
        drop(self.gather());
    }

    pub(crate) fn attach(&self, committer: Thread) {
        *lock(&self.committer) = Some(committer);
    }

    /// Says that there is something to write.
    pub(crate) fn wake(&self) {
        if !self.work.swap(true, Ordering::AcqRel)
            && let Some(committer) = &*lock(&self.committer)
        {
            committer.unpark();
        }
    }

    /// Has the segment written to closed, and waits until it is: what is on disk when this is called may be compacted
    /// when it comes back.
    pub(crate) fn seal(&self) {
        let mut committing = lock(&self.sealed.0);
        self.seal.store(true, Ordering::Release);
        if let Some(committer) = &*lock(&self.committer) {
            committer.unpark();
        }
        while *committing == Committing::Yes && self.awaits_seal() {
            committing = self.sealed.1.wait(committing).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether the segment written to shall be closed.
    pub(crate) fn awaits_seal(&self) -> bool {
        self.seal.load(Ordering::Acquire)
    }

    /// Says that it was closed, with nothing written since.
    pub(crate) fn sealed(&self) {
        let _committing = lock(&self.sealed.0);
        self.seal.store(false, Ordering::Release);
        self.sealed.1.notify_all();
    }

    /// Says that the committer ended: nothing is open any more, nobody waits for it.
    pub(crate) fn ended(&self) {
        *lock(&self.sealed.0) = Committing::Ended;
        self.sealed.1.notify_all();
    }

    /// Says that the disk had no room for so many bytes.
    pub(crate) fn want_room(&self, bytes: u64) {
        self.room_wanted.fetch_max(bytes, Ordering::AcqRel);
    }

    /// For how many bytes the disk had no room since this was last asked.
    pub(crate) fn wanted_room(&self) -> u64 {
        self.room_wanted.swap(0, Ordering::AcqRel)
    }

    /// Whether there was something to write since this was last asked.
    pub(crate) fn take_work(&self) -> bool {
        self.work.swap(false, Ordering::AcqRel)
    }
}

impl Open {
    fn gather(&mut self) -> Option<Gathered> {
        let mut batches = std::mem::take(&mut self.full);
        for slot in [&mut self.spans, &mut self.logs] {
            if slot.as_ref().is_some_and(|batch| batch.rows() > 0) {
                batches.extend(slot.take());
            }
        }
        (!batches.is_empty()).then(|| Gathered {
            batches,
            bytes: std::mem::take(&mut self.bytes),
            round: std::mem::take(&mut self.round),
        })
    }
}

/// A poisoned lock guards columns that a panic may have left uneven; every change under these locks either completes
/// or is taken back by its own code, so going on is right.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
