//! Scrapes targets: asks for their pages in time, and hands on what stands in them.
//!
//! ```text
//! set_targets ─► schedule (due times) ─► a worker: fetch ─ decode ─► MetricSink
//!                      ▲                      │ up, scrape_duration_seconds, scrape_samples_scraped
//!                      └── next time ─────────┘ and markers for what ended
//! ```
//!
//! Each target has its own place within its interval, spread by what it is, so that a hundred targets are not asked at
//! once and each is asked at the same place after a restart. A bounded number of threads does the work; a target whose
//! time passes while all are busy is asked once, late, and not twice.
//!
//! A page that fails, whatever the reason, is a target that is down: `up` is 0, and what stood in the page before ended.
//!
//! A target at `https://` whose certificate is not believed, or whose credentials are not to be had, is such a failure: it is
//! not asked in the clear instead.
//!
//! Deliberately absent: relabelling, Prometheus' protobuf format, discovery: targets are set by whoever knows them.

mod fetch;
mod schedule;
mod target;

pub use target::{Health, Target, TargetError, TargetState};

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use domain::Clock;
use outbound::Trust;

use crate::MetricSink;
use crate::wire::Limits;
use schedule::{Entry, Schedule};

/// How a scraper works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Threads, 1 to 64: as many targets can be slow at a time without making others late. Default 8.
    pub threads: usize,
    /// What a page may hold; the limit of samples is each target's own.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self { threads: 8, limits: Limits::default() }
    }
}

/// A running scraper. Dropping it stops it; what is under way is waited for.
#[derive(Debug)]
pub struct Scraper {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What workers share.
pub(crate) struct Shared {
    schedule: Mutex<Schedule>,
    /// Something is due earlier than was known, or all is over.
    changed: Condvar,
    limits: Limits,
    sink: Arc<dyn MetricSink>,
    clock: Arc<dyn Clock>,
    /// Of all targets but those with a file of certificates of their own.
    agent: ureq::Agent,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("schedule", &self.schedule).finish_non_exhaustive()
    }
}

impl Scraper {
    /// Starts the threads. There are no targets yet.
    ///
    /// # Errors
    /// Where the machine gives no thread; nothing runs then.
    pub fn start(config: &Config, sink: Arc<dyn MetricSink>, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            schedule: Mutex::default(),
            changed: Condvar::new(),
            limits: config.limits,
            sink,
            clock,
            agent: fetch::agent(Trust::machine()),
        });
        // From here on a failure drops it, which ends the threads that run already.
        let mut scraper = Self { shared, threads: Vec::new() };
        for number in 0..config.threads.clamp(1, 64) {
            let shared = Arc::clone(&scraper.shared);
            let thread = std::thread::Builder::new().name(format!("scrape-{number}"));
            scraper.threads.push(thread.spawn(move || shared.work())?);
        }
        Ok(scraper)
    }

    /// Scrapes these targets from now on. Those that are scraped already go on as they are; those that are not among
    /// them any more end, with all their series.
    ///
    /// # Errors
    /// The first target that cannot be one; nothing is changed then.
    pub fn set_targets(&self, targets: Vec<Target>) -> Result<(), TargetError> {
        let entries = targets.into_iter().map(|target| Entry::new(target, &self.shared.limits));
        let entries: Vec<Entry> = entries.collect::<Result<_, _>>()?;
        let mut here = HashMap::new();
        for entry in &entries {
            if let Some(other) = here.insert(entry.labels(), entry.url()) {
                return Err(TargetError::Twice { url: entry.url().to_owned(), other: other.to_owned() });
            }
        }
        let now = (Instant::now(), self.shared.clock.now());
        self.shared.lock().set(entries, now);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// The targets with what is known of them, in the order of their jobs and addresses.
    pub fn targets(&self) -> Vec<TargetState> {
        self.shared.lock().states()
    }

    /// Stops, and waits for what is under way: at most the longest timeout. Series do not end by that, so that a restart
    /// leaves no gap in them.
    pub fn shutdown(mut self) {
        self.stop_and_join();
    }

    fn stop_and_join(&mut self) {
        self.shared.lock().stop();
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A panic of a thread was printed when it happened; there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.stop_and_join();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Schedule> {
        // Every change of a schedule is complete before something can panic.
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Scrapes what is due until all is over.
    fn work(&self) {
        while let Some(entry) = self.next() {
            entry.scrape(&self.agent, &*self.sink, &*self.clock);
            self.lock().done(entry, Instant::now());
            // Another worker may wait for something later.
            self.changed.notify_one();
        }
    }

    /// Waits for the next that is due; `None` when all is over.
    fn next(&self) -> Option<Arc<Entry>> {
        let mut schedule = self.lock();
        loop {
            if schedule.is_over() {
                return None;
            }
            let now = Instant::now();
            if let Some(entry) = schedule.take_due(now) {
                return Some(entry);
            }
            schedule = match schedule.next_due() {
                Some(due) => {
                    let wait = due.saturating_duration_since(now);
                    self.changed.wait_timeout(schedule, wait).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(schedule).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

#[cfg(test)]
mod tests;
