//! Group commit: one thread writes what all senders have, waits for the disk once, and answers them all.
//!
//! While it waits, the next round fills by itself: the busier it is, the more batches share one `fdatasync`. Order of a
//! round: encode, write, `fdatasync`, add to the head, answer. So nothing acknowledged can be lost by a crash, and
//! everything acknowledged can be found. Whether a sample is a duplicate or too old is judged after it is in the log, by
//! what the log said before: reading the log again judges the same.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::admission::Refusal;
use crate::intake::Job;
use crate::lock;
use crate::shared::Shared;
use crate::wal::{FrameWriter, Segment};

/// How long a sender is asked to wait when the disk did not take its batch: space does not come back in milliseconds.
const DISK_RETRY: Duration = Duration::from_secs(1);

/// A segment is closed at this size: one is read into memory as a whole when the store opens.
const SEGMENT_BYTES: u64 = 64 << 20;

pub(crate) struct Committer {
    shared: Arc<Shared>,
    dir: PathBuf,
    /// The segment written to. None before the first write, and after a failure.
    current: Option<Current>,
    next_number: u64,
    /// The number of the first segment of this generation; 0 where the next begins one.
    generation: u64,
    writer: FrameWriter,
    buffer: Vec<u8>,
}

struct Current {
    segment: Segment,
    durable: u64,
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>, dir: PathBuf, next_number: u64) -> Self {
        let (writer, buffer) = Default::default();
        Self { shared, dir, current: None, next_number, generation: 0, writer, buffer }
    }

    /// Runs on a thread of its own. Should it panic, which is a defect, everything is refused from then on: a sender
    /// that waited for a dead writer would wait for ever.
    pub(crate) fn start(self) -> io::Result<JoinHandle<()>> {
        let shared = Arc::clone(&self.shared);
        thread::Builder::new().name("metrics-commit".to_owned()).spawn(move || {
            // What the committer left half-done is never looked at again. That it panicked was printed.
            let _ = catch_unwind(AssertUnwindSafe(|| self.run()));
            shared.refuse_all();
        })
    }

    /// Runs until the store closes; then everything taken in is on disk, or refused.
    fn run(mut self) {
        loop {
            let mut work = self.shared.wait_for_work();
            if !work.jobs.is_empty() {
                self.round(&mut work.jobs);
            }
            if let Some(tell) = work.freeze {
                self.freeze();
                // The compactor waits for it, unless it ended.
                let _ = tell.send(self.next_number - 1);
            }
            if work.last {
                return;
            }
        }
    }

    fn round(&mut self, jobs: &mut [Job]) {
        let outcome = self.commit(jobs).map_err(|error| {
            self.shared.counters.disk_refused.add(jobs.len() as u64);
            Refusal::Disk { message: error.to_string(), retry_after: DISK_RETRY }
        });
        for job in jobs {
            self.shared.waiting.fetch_sub(job.weight, Ordering::Relaxed);
            let answer = match &outcome {
                Ok(()) => Ok(self.apply(job)),
                Err(refusal) => Err(refusal.clone()),
            };
            job.ticket.end(answer);
        }
        self.shared.head_grew();
    }

    fn commit(&mut self, jobs: &[Job]) -> io::Result<()> {
        if jobs.iter().all(is_empty) {
            return Ok(());
        }
        let current = match self.current.take() {
            Some(current) => current,
            None => self.begin()?,
        };
        self.buffer.clear();
        jobs.iter().for_each(|job| encode(&mut self.writer, self.generation, job));
        self.writer.finish(self.generation, &mut self.buffer);
        let written =
            current.segment.write(&self.buffer, current.durable).and_then(|()| current.segment.sync());
        if let Err(error) = written {
            // A full disk; or a failed sync, after which nobody knows what the disk has of the round, and a second sync
            // may claim too much (Rebello et al., "Can Applications Recover from fsync Failures?", 2020). What was
            // written of the round is cut off, and what it said of series is said again in another generation.
            current.segment.take_back(current.durable);
            self.generation = 0;
            return Err(error);
        }
        let durable = current.durable + self.buffer.len() as u64;
        self.shared.counters.commits.add(1);
        self.shared.counters.log_bytes.add(self.buffer.len() as u64);
        self.current = (durable < SEGMENT_BYTES).then_some(Current { durable, ..current });
        Ok(())
    }

    fn begin(&mut self) -> io::Result<Current> {
        let number = self.next_number;
        // Never again, whatever comes of it.
        self.next_number += 1;
        let segment = Segment::create(&self.dir, number)?;
        if self.generation == 0 {
            self.generation = number;
        }
        Ok(Current { segment, durable: 0 })
    }

    fn apply(&self, job: &mut Job) -> crate::Admission {
        let shared = &*self.shared;
        let mut admission = std::mem::take(&mut job.admission);
        job.source.refused.add(admission.refused.total());
        for (series, samples) in job.series.drain(..) {
            shared.apply(series, samples, &mut admission);
        }
        shared.counters.took(admission.accepted, &admission.refused);
        shared.learn(&mut job.metadata);
        if !job.exemplars.is_empty() {
            lock(&shared.exemplars).extend(job.exemplars.drain(..));
        }
        admission
    }

    /// Puts what is in the head apart, to be written to blocks; what comes from now on is in later segments.
    fn freeze(&mut self) {
        self.current = None;
        self.generation = 0;
        let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        for series in index.iter() {
            lock(&series.state).freeze();
        }
        self.shared.head_frozen();
    }
}

fn is_empty(job: &Job) -> bool {
    job.series.is_empty() && job.metadata.is_empty() && job.exemplars.is_empty()
}

fn encode(writer: &mut FrameWriter, generation: u64, job: &Job) {
    for (series, samples) in &job.series {
        if series.logged_in.swap(generation, Ordering::Relaxed) != generation {
            writer.series(series.id, series.source.name.as_str(), &series.labels);
        }
        writer.samples(series.id, samples);
    }
    for (name, metadata) in &job.metadata {
        writer.metadata(name, metadata);
    }
    for (series, exemplar) in &job.exemplars {
        writer.exemplar(series, exemplar);
    }
}
