//! Group commit: one thread writes what all receivers have, waits for the disk once, and answers them all.
//!
//! While it waits, the next round fills by itself: the busier it is, the more requests share one `fdatasync`. Order of
//! a round: encode, write, `fdatasync`, let queries see it, answer the senders. So nothing acknowledged can be lost by a
//! crash, and everything acknowledged can be found.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::block::Encoder;
use crate::cold;
use crate::intake::{Gathered, Refusal, Shared};
use crate::segment::{Outline, Segment};
use crate::tally::Place;
use crate::tiers::Tiers;

/// How long a sender is asked to wait when the disk did not take its request: space does not come back in milliseconds.
const DISK_RETRY: Duration = Duration::from_secs(1);

/// What a file system may need beside the bytes that are written.
const BESIDE_BYTES: u64 = 1 << 20;

/// When a segment is closed and the next one begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Roll {
    pub(crate) bytes: u64,
    pub(crate) age: Duration,
}

/// Sees every committed batch with its place, on the committer's thread, after its senders were answered.
pub(crate) type Observer = Box<dyn FnMut(&Batch, Place) + Send>;

pub(crate) struct Committer {
    shared: Arc<Shared>,
    tiers: Arc<Tiers>,
    dir: PathBuf,
    roll: Roll,
    /// The segment written to, and how much of it the disk has. None before the first write, and after a failure.
    current: Option<Current>,
    next_number: u64,
    encoder: Encoder,
    buffer: Vec<u8>,
    observe: Observer,
}

struct Current {
    segment: Arc<Segment>,
    durable: u64,
    since: Instant,
}

impl Committer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        tiers: Arc<Tiers>,
        dir: PathBuf,
        next_number: u64,
        roll: Roll,
        observe: Observer,
    ) -> Self {
        let (encoder, buffer) = Default::default();
        Self { shared, tiers, dir, roll, current: None, next_number, encoder, buffer, observe }
    }

    /// Runs on a thread of its own. Should it panic, which is a defect, everything is refused from then on: a sender
    /// that waited for a dead writer would wait for ever.
    pub(crate) fn start(self) -> io::Result<JoinHandle<()>> {
        let shared = Arc::clone(&self.shared);
        thread::Builder::new().name("telemetry-commit".to_owned()).spawn(move || {
            // What the committer left half-done is never looked at again.
            if catch_unwind(AssertUnwindSafe(|| self.run())).is_err() {
                shared.refuse_all();
            }
            shared.ended();
        })
    }

    /// Runs until the store closes; then everything taken in is on disk, or refused.
    fn run(mut self) {
        loop {
            if self.shared.awaits_seal() {
                self.seal();
                self.shared.sealed();
            }
            let closing = self.shared.closing.load(Ordering::Acquire);
            if self.shared.take_work() || closing {
                let gathered = self.shared.gather();
                if !gathered.is_empty() {
                    self.round(gathered);
                    continue;
                }
                if closing {
                    return self.seal();
                }
            }
            self.roll_by_age();
            thread::park_timeout(self.roll.age);
        }
    }

    fn round(&mut self, gathered: Vec<Gathered>) {
        let committed = self.commit(&gathered).map_err(|error| {
            self.shared.counters.disk_refused.add(gathered.len() as u64);
            if cold::is_full(&error) {
                self.shared.want_room(self.buffer.len() as u64 + BESIDE_BYTES);
            }
            Refusal::Disk { message: error.to_string(), retry_after: DISK_RETRY }
        });
        let outcome = committed.as_ref().map(drop).map_err(Clone::clone);
        for part in &gathered {
            self.shared.waiting.fetch_sub(part.bytes, Ordering::Relaxed);
            part.round.end(outcome.clone());
        }
        let mut places = committed.into_iter().flatten();
        for batch in gathered.into_iter().flat_map(|mut part| std::mem::take(&mut part.batches)) {
            if let Some(place) = places.next() {
                (self.observe)(&batch, place);
            }
            self.shared.recycle(batch);
        }
        self.roll_by_size();
    }

    /// Answers where each batch begins.
    fn commit(&mut self, gathered: &[Gathered]) -> io::Result<Vec<Place>> {
        let current = match self.current.take() {
            Some(current) => current,
            None => self.begin()?,
        };
        self.buffer.clear();
        let mut outlines = Vec::new();
        for batch in gathered.iter().flat_map(|part| &part.batches) {
            let offset = current.durable + self.buffer.len() as u64;
            let header = self.encoder.encode(batch, &mut self.buffer);
            outlines.push(Arc::new(Outline::new(offset, header, batch)));
        }
        if let Err(error) = current.segment.write(&self.buffer, current.durable) {
            // A full disk: what was written of the round is cut off, and the segment goes on when there is room again.
            match current.segment.truncate(current.durable) {
                Ok(()) => self.current = Some(current),
                Err(_) => self.tiers.seal(&current.segment),
            }
            return Err(error);
        }
        if let Err(error) = current.segment.sync() {
            // After a failed sync nobody knows what the disk has of the round, and a second sync may claim too much
            // (Rebello et al., "Can Applications Recover from fsync Failures?", 2020): the rest is cut off and the
            // segment not written to any more. If cutting fails too, recovery finds blocks that nobody was told are
            // safe: harmless.
            let _ = current.segment.truncate(current.durable);
            self.tiers.seal(&current.segment);
            return Err(error);
        }
        let counters = &self.shared.counters;
        counters.commits.add(1);
        counters.bytes_written.add(self.buffer.len() as u64);
        let segment = current.segment.number;
        let places = outlines.iter().map(|outline| Place { segment, offset: outline.offset }).collect();
        current.segment.publish(outlines);
        self.current = Some(Current { durable: current.durable + self.buffer.len() as u64, ..current });
        Ok(places)
    }

    fn begin(&mut self) -> io::Result<Current> {
        let number = self.next_number;
        self.next_number += 1;
        let segment = Arc::new(Segment::create(&self.dir, number)?);
        self.tiers.begin(Arc::clone(&segment));
        Ok(Current { segment, durable: 0, since: Instant::now() })
    }

    fn roll_by_size(&mut self) {
        if self.current.as_ref().is_some_and(|current| current.durable >= self.roll.bytes) {
            self.seal();
        }
    }

    fn roll_by_age(&mut self) {
        if self.current.as_ref().is_some_and(|current| current.since.elapsed() >= self.roll.age) {
            self.seal();
        }
    }

    fn seal(&mut self) {
        if let Some(current) = self.current.take() {
            self.tiers.seal(&current.segment);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use crate::intake::Intake;
    use crate::otlp::Limits;

    #[test]
    fn a_writer_that_died_leaves_nobody_waiting() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let tiers: Arc<Tiers> = Arc::default();
        let shared = Arc::new(Shared::new(Limits::default(), 1 << 20, Arc::clone(&tiers)));
        let roll = Roll { bytes: 1 << 20, age: Duration::from_secs(60) };
        let observe: Observer = Box::new(|_, _| panic!("a defect of what observes, made for a test"));
        let dir = dir.path().to_owned();
        let committer = Committer::new(Arc::clone(&shared), tiers, dir, 1, roll, observe);
        let intake = Intake::new(Arc::clone(&shared));
        let request = fixture::traces("cart", [fixture::span(1, 1, 1)]);
        let first = intake.traces(&request).expect("taken in");
        let thread = committer.start().expect("a thread");
        shared.attach(thread.thread().clone());
        assert_eq!(first.durable.wait(), Ok(()), "it was on disk before the defect");
        thread.join().expect("the panic was caught");
        assert_eq!(intake.traces(&request).map(|_| ()), Err(Refusal::Closing));
        shared.seal();
    }
}
