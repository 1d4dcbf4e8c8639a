//! Where export threads meet the queues.
//!
//! In: parts of traces from every thread's queue. Out: batches, to whichever export thread asks. One thread at
//! a time sits at the desk, empties the queues and encodes; with a batch in hand it leaves the desk to the next
//! and sends. So batches are full although several are on their way, an idle service wakes one thread and not
//! four, and a receiver that is slow or gone holds up senders only, until all of them wait and the queue's
//! bound drops what comes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{FlushError, SPARE_BYTES_MAX, otlp};
use crate::buffer::Buffer;
use crate::clock::Calibration;
use crate::counters::Reason;
use crate::tracer::Inner;

/// Encoded bytes at which a batch is sent without waiting: about 2,000 spans of usual size. One part more
/// than this can be in it.
pub(crate) const BATCH_BYTES: usize = 512 * 1024;

/// The receiving half of a thread's queue, and the way back for its buffers.
#[derive(Debug)]
pub(crate) struct LaneEnd {
    pub(crate) parts: rtrb::Consumer<Box<Buffer>>,
    pub(crate) used: rtrb::Producer<Box<Buffer>>,
}

#[derive(Debug)]
pub(crate) struct Collector {
    /// How long spans wait for company.
    interval: Duration,
    threads: usize,
    /// Queues of new threads, on a lock of their own: a service thread must not wait for the desk.
    arrivals: Mutex<Vec<LaneEnd>>,
    desk: Mutex<Desk>,
    signal: Mutex<Signal>,
    /// For whoever sits at the desk.
    work: Condvar,
    /// For those who flush or close, and for senders that wait to try again.
    settled: Condvar,
    woken: AtomicBool,
}

#[derive(Debug, Default)]
struct Desk {
    lanes: Vec<LaneEnd>,
    /// Where the next round begins, so that no queue is served last for ever.
    turn: usize,
    batch: Batch,
}

/// Encoded spans.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) spans: Vec<u8>,
    pub(crate) count: u64,
    /// When its first span came.
    since: Option<Instant>,
    number: u64,
}

#[derive(Debug, Default)]
struct Signal {
    /// Flushes asked for, and how many of them found the queues empty.
    asked: u64,
    emptied: u64,
    /// The first batch number that no flush waits for.
    after: u64,
    next: u64,
    sending: BTreeSet<u64>,
    /// Set when closing: until when to try.
    deadline: Option<Instant>,
    ended: usize,
}

impl Signal {
    fn passed(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

impl Collector {
    pub(crate) fn new(interval: Duration, threads: usize) -> Self {
        Self {
            interval,
            threads,
            arrivals: Mutex::default(),
            desk: Mutex::default(),
            signal: Mutex::default(),
            work: Condvar::new(),
            settled: Condvar::new(),
            woken: AtomicBool::new(false),
        }
    }

    /// A thread has opened a queue.
    pub(crate) fn adopt(&self, lane: LaneEnd) {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(lane);
    }

    /// There is work. Never waits; a call that comes just before the desk falls asleep is made up for by the
    /// interval.
    pub(crate) fn wake(&self) {
        if !self.woken.swap(true, Ordering::Relaxed) {
            self.work.notify_one();
        }
    }

    fn signal(&self) -> MutexGuard<'_, Signal> {
        self.signal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch, when it is full, old enough or asked for; none when the tracer has closed and nothing
    /// is left. `used` is the caller's last one, whose memory the next batch gets; `room` bytes in front of the
    /// spans are left free.
    pub(crate) fn next_batch(
        &self,
        inner: &Inner,
        clock: impl Fn() -> Calibration,
        room: usize,
        used: Batch,
    ) -> Option<Batch> {
        let mut desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            self.woken.store(false, Ordering::Relaxed);
            let (asked, closing, passed) = {
                let signal = self.signal();
                (signal.asked, signal.deadline.is_some(), signal.passed())
            };
            self.take_arrivals(&mut desk);
            if passed {
                desk.discard(inner);
            } else {
                desk.fill(inner, &clock(), room);
            }
            let full = desk.batch.spans.len() >= BATCH_BYTES;
            let mut signal = self.signal();
            if !full && signal.emptied < asked {
                signal.emptied = asked;
                signal.after = signal.next + u64::from(desk.batch.count > 0);
                self.settled.notify_all();
            } else if !full && !closing && !desk.batch.is_old(self.interval) {
                drop(self.work.wait_timeout(signal, self.interval));
                continue;
            }
            if desk.batch.count > 0 {
                let number = signal.next;
                desk.batch.number = number;
                signal.sending.insert(number);
                signal.next += 1;
                return Some(std::mem::replace(&mut desk.batch, used.emptied()));
            }
            if closing {
                return None;
            }
        }
    }

    fn take_arrivals(&self, desk: &mut Desk) {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        desk.lanes.append(&mut arrivals);
    }

    /// A batch has been sent or given up.
    pub(crate) fn sent(&self, batch: &Batch) {
        self.signal().sending.remove(&batch.number);
        self.settled.notify_all();
    }

    /// An export thread has ended.
    pub(crate) fn thread_ended(&self) {
        self.signal().ended += 1;
        self.settled.notify_all();
    }

    /// Waits before another attempt; whether there may be one.
    pub(crate) fn may_retry_after(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        let mut signal = self.signal();
        loop {
            // What would come after the deadline of closing is not waited for.
            if signal.deadline.is_some_and(|deadline| until >= deadline) {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let waited = self.settled.wait_timeout(signal, left);
            signal = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether the deadline of closing has passed.
    pub(crate) fn is_over(&self) -> bool {
        self.signal().passed()
    }

    /// Whether closing has begun, within `wait`.
    pub(crate) fn closes_within(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        let mut signal = self.signal();
        while signal.deadline.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.settled.wait_timeout(signal, left);
            signal = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    pub(crate) fn flush(&self, within: Duration) -> Result<(), FlushError> {
        let deadline = Instant::now() + within;
        let asked = {
            let mut signal = self.signal();
            signal.asked += 1;
            signal.asked
        };
        self.work.notify_all();
        self.wait(deadline, |signal| {
            let emptied = signal.emptied >= asked;
            emptied && signal.sending.first().is_none_or(|first| *first >= signal.after)
        })
    }

    /// Ends the export threads when the queues are empty, at the latest after `within`.
    pub(crate) fn close(&self, within: Duration) -> Result<(), FlushError> {
        let deadline = Instant::now() + within;
        self.signal().deadline.get_or_insert(deadline);
        self.work.notify_all();
        self.settled.notify_all();
        self.wait(deadline, |signal| signal.ended == self.threads)
    }

    /// Waits until `done`. The desk is woken again and again: a single call could come before it falls asleep.
    fn wait(&self, deadline: Instant, done: impl Fn(&Signal) -> bool) -> Result<(), FlushError> {
        let mut signal = self.signal();
        while !done(&signal) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(FlushError { batches: signal.sending.len() });
            }
            self.work.notify_all();
            let waited = self.settled.wait_timeout(signal, left.min(Duration::from_millis(10)));
            signal = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Counts what came into the queues after the export threads had ended. Does not wait for the desk.
    pub(crate) fn sweep(&self, inner: &Inner) {
        if self.signal().ended < self.threads {
            return;
        }
        if let Ok(mut desk) = self.desk.try_lock() {
            self.take_arrivals(&mut desk);
            desk.discard(inner);
        }
    }
}

impl Desk {
    /// Takes from the queues, in turn, until the batch is full or they are empty.
    fn fill(&mut self, inner: &Inner, clock: &Calibration, room: usize) {
        self.lanes.retain(|lane| !(lane.parts.is_abandoned() && lane.parts.is_empty()));
        let lanes = self.lanes.len();
        for offset in 0..lanes {
            let place = (self.turn + offset) % lanes;
            while self.batch.spans.len() < BATCH_BYTES
                && let Ok(mut part) = self.lanes[place].parts.pop()
            {
                let bytes = part.bytes();
                if self.batch.spans.is_empty() {
                    self.batch.spans.resize(room, 0);
                }
                otlp::write_spans(&mut part, clock, &mut self.batch.spans);
                self.batch.count += part.records.len() as u64;
                self.batch.since.get_or_insert_with(Instant::now);
                inner.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
                part.clear();
                if part.capacity() <= SPARE_BYTES_MAX {
                    // With enough spare buffers there the buffer is freed.
                    let _ = self.lanes[place].used.push(part);
                }
            }
        }
        self.turn = self.turn.wrapping_add(1);
    }

    /// Counts and forgets everything that waits.
    fn discard(&mut self, inner: &Inner) {
        let mut spans = std::mem::take(&mut self.batch).count;
        for lane in &mut self.lanes {
            while let Ok(part) = lane.parts.pop() {
                inner.queued_bytes.fetch_sub(part.bytes(), Ordering::Relaxed);
                spans += part.records.len() as u64;
            }
        }
        inner.counters.drop_spans(Reason::Closed, spans);
    }
}

impl Batch {
    /// Without its spans, but with their memory, unless a long trace made that more than is usual.
    fn emptied(mut self) -> Self {
        self.spans.clear();
        self.spans.shrink_to(2 * BATCH_BYTES);
        Self { spans: self.spans, ..Self::default() }
    }

    fn is_old(&self, interval: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= interval)
    }
}
