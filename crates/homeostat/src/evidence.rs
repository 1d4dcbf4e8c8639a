//! Archives the traces that issues cite, so that an issue of last month still opens its traces.
//!
//! In: issues and plans as the store has them, every few seconds. Out: traces in the archive of the span store, as evidence:
//! they make room for newer ones. Each is archived once it is cited and once more when its issue is closed, because spans
//! come late; what a person removes meanwhile does not come back while this runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::{Clock, Issue, IssueId, Time};
use store::{Store, StoreError};
use telemetry::{ArchiveError, Keeping, Telemetry, TraceId};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);

/// More traces than this are not archived of an issue that is open: what it cites changes with every look.
const OPEN_MAX: usize = 16;

/// Issues that were closed so long before a start are looked at again: nobody may have been there to do so.
const CLOSED_BEFORE: Duration = Duration::from_secs(600);

/// Archives evidence until it is stopped.
pub(crate) struct EvidenceKeeper {
    running: Option<(Sender<()>, JoinHandle<()>)>,
}

impl EvidenceKeeper {
    /// Begins.
    pub(crate) fn start(store: Store, spans: Telemetry, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let mut looked = Looked::new(clock.now());
        let thread = std::thread::Builder::new().name("evidence".to_owned()).spawn(move || {
            let mut told = None;
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(EVERY) {
                let trouble = looked.again(&store, &spans, clock.now());
                // What goes on is said once until it changes or is over.
                if let Some(why) = trouble.as_ref().filter(|_| trouble != told) {
                    log::warn!("a trace that an issue cites is not archived: {why}");
                }
                told = trouble;
            }
        })?;
        Ok(Self { running: Some((stop, thread)) })
    }

    /// Ends.
    pub(crate) fn stop(mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

/// What was done for each issue, and since when issues were looked at.
struct Looked {
    since: Time,
    done: BTreeMap<IssueId, Done>,
}

/// What was done for one issue.
#[derive(Default)]
struct Done {
    /// The traces it cited so far.
    traces: Vec<TraceId>,
    /// Whether that was after it was closed.
    is_closed: bool,
}

impl Looked {
    fn new(now: Time) -> Self {
        Self { since: now.minus(CLOSED_BEFORE), done: BTreeMap::new() }
    }

    /// Archives what is cited since the last look; what went wrong, if anything did.
    fn again(&mut self, store: &Store, spans: &Telemetry, now: Time) -> Option<String> {
        let issues = match store.issues_within(self.since, now) {
            Ok(issues) => issues,
            Err(error) => return Some(error.to_string()),
        };
        let mut trouble = None;
        for issue in &issues {
            if let Err(why) = self.one(store, spans, issue) {
                trouble = Some(why);
            }
        }
        if trouble.is_none() {
            self.done.retain(|id, _| issues.iter().any(|issue| issue.id == *id));
            // One that is closed in this moment may be written a little later.
            self.since = self.since.max(now.minus(2 * EVERY));
        }
        trouble
    }

    fn one(&mut self, store: &Store, spans: &Telemetry, issue: &Issue) -> Result<(), String> {
        let cited = cited(store, issue).map_err(|error| error.to_string())?;
        let is_closed = issue.closed_at.is_some();
        let done = self.done.entry(issue.id).or_default();
        let is_last_look = is_closed && !done.is_closed;
        let is_due = |id: &&TraceId| match done.traces.contains(id) {
            // One that is gone by now was removed, or had to make room.
            true => is_last_look && spans.archived_trace(**id).is_some(),
            false => is_closed || done.traces.len() < OPEN_MAX,
        };
        let due: Vec<TraceId> = cited.iter().filter(is_due).copied().collect();
        for id in due {
            match spans.archive_trace(id, Keeping::Evidence).map(drop) {
                // It was sampled before it came here, or never sent to us.
                Ok(()) | Err(ArchiveError::NotFound(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
            if !done.traces.contains(&id) {
                done.traces.push(id);
            }
        }
        done.is_closed = is_closed;
        Ok(())
    }
}

fn cited(store: &Store, issue: &Issue) -> Result<Vec<TraceId>, StoreError> {
    Ok(gateway::cited_traces(issue, &store.plans_of_issue(issue.id)?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::{IssueKind, Reason, Severity};
    use provider::clock::SystemClock;

    use super::*;

    /// A store of each kind, and a trace of one span for each of `traces`.
    fn stores(dir: &std::path::Path, traces: &[u8]) -> (Store, Telemetry) {
        let store = Store::take_over(dir, &SystemClock).expect("a store");
        let spans = Telemetry::open(telemetry::Config::new(dir.join("telemetry"))).expect("a span store");
        let intake = spans.intake();
        for &trace in traces {
            // Span: trace_id, span_id, name, start, end.
            let mut span = vec![0x0a, 16];
            span.extend([trace; 16]);
            span.extend([0x12, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0x2a, 1, b'x', 0x39]);
            span.extend(1_000_000_000u64.to_le_bytes());
            span.push(0x41);
            span.extend(2_000_000_000u64.to_le_bytes());
            let field = |tag: u8, of: Vec<u8>| [vec![tag, of.len() as u8], of].concat();
            let request = field(0x0a, field(0x12, field(0x12, span)));
            intake.traces(&request).expect("taken in").durable.wait().expect("on disk");
        }
        (store, spans)
    }

    fn issue(cites: u8, closed: bool) -> Issue {
        let now = SystemClock.now();
        Issue {
            id: "018f3c2e-7b1a-7000-8000-0000000000ab".parse().expect("an id"),
            kind: IssueKind::ErrorRate,
            reason: Reason::Unspecified,
            resource: "service/cart".parse().expect("a resource"),
            severity: Severity::High,
            description: format!("spans say: 9 of 10 calls of cart fail; see trace {}", TraceId([cites; 16])),
            detected_at: now,
            last_seen: now,
            closed_at: closed.then_some(now),
            metrics: BTreeMap::new(),
            recurrences: 0,
        }
    }

    fn archived(spans: &Telemetry) -> Vec<(TraceId, Keeping)> {
        let mut all: Vec<_> =
            spans.archived_traces().into_iter().map(|told| (told.trace_id, told.keeping)).collect();
        all.sort();
        all
    }

    #[test]
    fn what_an_issue_cites_is_archived_and_what_is_removed_does_not_come_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, spans) = stores(dir.path(), &[1, 2, 3]);
        let mut looked = Looked::new(SystemClock.now());
        let mut look = || looked.again(&store, &spans, SystemClock.now());
        assert_eq!((look(), archived(&spans)), (None, Vec::new()), "nothing is cited yet");
        let evidence = |trace: u8| (TraceId([trace; 16]), Keeping::Evidence);
        store.save_issue(&issue(1, false)).expect("saved");
        assert_eq!((look(), archived(&spans)), (None, vec![evidence(1)]));
        store.save_issue(&issue(2, false)).expect("saved");
        assert_eq!((look(), archived(&spans)), (None, vec![evidence(1), evidence(2)]));
        assert!(spans.remove_archived(TraceId([2; 16])).expect("removed"));
        store.save_issue(&issue(2, true)).expect("saved");
        assert_eq!((look(), archived(&spans)), (None, vec![evidence(1)]), "somebody removed it");
        // Sampled before it came here.
        store.save_issue(&issue(9, true)).expect("saved");
        assert_eq!((look(), archived(&spans)), (None, vec![evidence(1)]));
    }

    #[test]
    fn an_issue_that_was_closed_while_nobody_looked_has_its_evidence_all_the_same() {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, spans) = stores(dir.path(), &[3]);
        store.save_issue(&issue(3, true)).expect("saved");
        let mut looked = Looked::new(SystemClock.now());
        assert_eq!(looked.again(&store, &spans, SystemClock.now()), None);
        assert_eq!(archived(&spans), [(TraceId([3; 16]), Keeping::Evidence)]);
    }
}
