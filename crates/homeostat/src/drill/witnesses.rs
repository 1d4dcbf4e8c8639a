//! The two witnesses of the load's requests: its root spans in the span store, and its request log.
//!
//! In: the time of a run. Out: what each says of the requests that ended in it. Spans are asked until they are complete,
//! or no more are to be expected; what is counted by them misses none. Deliberately absent: repairing one witness by the
//! other; a report says how far they agree.

use std::path::PathBuf;
use std::time::Duration;

use chaos::drill::{RequestCount, RequestWitnesses, Requests};
use domain::{Clock, Time};
use telemetry::{Telemetry, TraceFilter};

use crate::demo_load::spans::{self, Count, Incomplete};
use crate::demo_load::{LOG_LATE, read_log};

/// Until all spans of a run must have come: the longest request, two exports, and room for a busy machine.
const SPANS_LATE_MAX: Duration = Duration::from_secs(6);

/// Between two looks for them.
const POLL: Duration = Duration::from_millis(100);

/// Spans that began so long before a run are looked at: one of them ended just before it.
const BEFORE: Duration = Duration::from_secs(10);

/// Asks both.
pub(super) struct Witnesses<'a> {
    /// `None` where nothing is received.
    spans: Option<&'a Telemetry>,
    log: PathBuf,
    clock: &'a dyn Clock,
}

impl<'a> Witnesses<'a> {
    /// Of the load whose request log is `log`.
    pub(super) fn new(spans: Option<&'a Telemetry>, log: PathBuf, clock: &'a dyn Clock) -> Self {
        Self { spans, log, clock }
    }

    /// The requests that ended at or after `from` and before `to`. Waits until both can know of them.
    pub(super) fn requests(&self, from: Time, to: Time) -> Requests {
        let by_spans = match self.spans {
            Some(spans) => self.ask_spans(spans, from, to),
            None => Err("no spans are received, since `otlp.enabled` is false".to_owned()),
        };
        self.clock.wait(LOG_LATE.saturating_sub(self.clock.now().since(to)));
        let by_log = read_log(&self.log, from, to);
        let last_failure_at = match (&by_spans, &by_log) {
            (Ok(count), _) => count.last_failure_at.map(|nanos| on_both_clocks(nanos, to)),
            (Err(_), Ok(log)) => log.last_failure_at,
            (Err(_), Err(_)) => None,
        };
        let witnesses = RequestWitnesses {
            spans: by_spans
                .as_ref()
                .ok()
                .map(|count| RequestCount { total: count.requests, failed: count.failed }),
            no_spans: by_spans.err(),
            log: by_log.ok().map(|log| RequestCount { total: log.requests, failed: log.failed }),
        };
        Requests { witnesses, last_failure_at }
    }

    /// Counts by spans, as soon as all have come.
    fn ask_spans(&self, store: &Telemetry, from: Time, to: Time) -> Result<Count, String> {
        loop {
            match counted(store, from, to) {
                Ok(Err(incomplete))
                    if incomplete.is_final() || self.clock.now().since(to) >= SPANS_LATE_MAX =>
                {
                    return Err(incomplete.to_string());
                }
                Ok(Err(_)) => self.clock.wait(POLL),
                Ok(Ok(count)) => return Ok(count),
                Err(error) => return Err(format!("the span store cannot be read: {error}")),
            }
        }
    }
}

/// What the spans say that have come so far.
fn counted(
    store: &Telemetry,
    from: Time,
    to: Time,
) -> Result<Result<Count, Incomplete>, telemetry::ReadError> {
    let filter = TraceFilter {
        service: Some(spans::SERVICE.to_owned()),
        start: nanos(from.minus(BEFORE))..=u64::MAX,
        ..TraceFilter::default()
    };
    let mut ended = Vec::new();
    store.each_match(&filter, |span| ended.extend(spans::request(&span)))?;
    Ok(spans::count(ended, nanos(from)..nanos(to)))
}

/// The wall clock, in nanoseconds since 1970.
fn nanos(time: Time) -> u64 {
    u64::try_from(time.wall_us).unwrap_or(0).saturating_mul(1000)
}

/// A time of the wall clock as seen from `known`, which is later.
fn on_both_clocks(nanos_since_1970: u64, known: Time) -> Time {
    known.minus(Duration::from_nanos(nanos(known).saturating_sub(nanos_since_1970)))
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use homeostat_tracer::{Sampler, Tracer};

    use super::*;
    use crate::config::Config;
    use crate::control_plane::OccupiedPort;
    use crate::receiving::Receiving;

    /// Time passes where somebody waits.
    struct Waited(Mutex<Time>);

    impl Clock for Waited {
        fn now(&self) -> Time {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn wait(&self, duration: Duration) {
            let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *now = now.plus(duration);
        }
    }

    /// Asks for the last seconds after the load sent spans of requests with these numbers: why they count nothing, and
    /// how long that took.
    fn asked(numbers: &[i64]) -> (String, Duration) {
        let dir = tempfile::tempdir().unwrap();
        let receiving =
            Receiving::start(dir.path(), &Config::default(), OccupiedPort::TakeAnother, None, None)
                .unwrap()
                .unwrap();
        let load = Tracer::builder(spans::SERVICE)
            .sampler(Sampler::Always)
            .endpoint(format!("{}/v1/traces", receiving.endpoint()))
            .build()
            .unwrap();
        for number in numbers {
            let mut request = load.root("request").start();
            request.attribute("homeostat.load.request.number", *number);
            request.attribute("homeostat.load.request.outcome", "ok");
        }
        load.shutdown(Duration::from_secs(10)).unwrap();
        let to = provider::SystemClock.now();
        let clock = Waited(Mutex::new(to));
        let witnesses = Witnesses::new(Some(receiving.store()), dir.path().join("requests.log"), &clock);
        let said = witnesses.requests(to.minus(Duration::from_secs(5)), to).witnesses;
        receiving.stop();
        (said.no_spans.expect("they count nothing"), clock.now().since(to))
    }

    #[test]
    fn spans_that_may_still_come_are_waited_for_and_a_restart_is_not() {
        let (why, took) = asked(&[0, 1, 2]);
        assert!(why.contains("ended later") && took >= SPANS_LATE_MAX, "{why} after {took:?}");
        let (why, took) = asked(&[0, 1, 1, 2]);
        assert!(why.contains("counts anew") && took <= LOG_LATE, "{why} after {took:?}");
    }
}
