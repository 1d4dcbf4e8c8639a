//! Archives the traces that issues cite, so that an issue of last month still opens its traces.
//!
//! In: issues and plans as the store has them, every few seconds. Out: traces in the archive of the span store, as evidence:
//! they make room for newer ones. Each is archived once it is cited and once more when its issue is closed, because spans
//! come late; what a person removes meanwhile does not come back while this runs.
//!
//! What cannot be archived or read holds up nothing else: it is tried again, after pauses that grow.

mod later;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender, TryRecvError};
use std::thread::JoinHandle;
use std::time::Duration;

use act::in_full;
use domain::{Clock, Issue, IssueId, Time};
use store::Store;
use telemetry::{ArchiveError, Keeping, Telemetry, TraceId};

use later::Later;

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
            let is_stopped = || stopped.try_recv() != Err(TryRecvError::Empty);
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(EVERY) {
                for why in looked.again(&store, &spans, clock.now(), &is_stopped) {
                    log::warn!("traces that issues cite are not archived, and are tried again: {why}");
                }
            }
        })?;
        Ok(Self { running: Some((stop, thread)) })
    }

    /// Ends, after the trace that is being archived.
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
    failing: Failing,
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
        let failing = Failing { traces: Later::new(), issues: Later::new(), told: BTreeSet::new() };
        Self { since: now.minus(CLOSED_BEFORE), done: BTreeMap::new(), failing }
    }

    /// Archives what is cited since the last look, and tries again what failed. What goes wrong for a reason that is new.
    fn again(
        &mut self,
        store: &Store,
        spans: &Telemetry,
        now: Time,
        is_stopped: &dyn Fn() -> bool,
    ) -> Vec<String> {
        let mut unlisted = None;
        match store.issues_within(self.since, now) {
            Err(error) => unlisted = Some(in_full(&error)),
            Ok(issues) => {
                for issue in &issues {
                    if is_stopped() {
                        return Vec::new();
                    }
                    // What failed before has its own time.
                    if self.failing.issues.why(issue.id).is_none() {
                        self.one(store, spans, issue, now, is_stopped);
                    }
                }
                let failing = &self.failing.issues;
                let is_wanted = |id| failing.why(id).is_some() || issues.iter().any(|issue| issue.id == id);
                self.done.retain(|id, _| is_wanted(*id));
                // One that is closed in this moment may be written a little later.
                self.since = self.since.max(now.minus(2 * EVERY));
            }
        }
        for id in self.failing.issues.due(now) {
            match store.issue(id) {
                Ok(Some(issue)) => self.one(store, spans, &issue, now, is_stopped),
                Ok(None) => self.failing.issues.over(id),
                Err(error) => self.failing.issues.failed(id, in_full(&error), now),
            }
        }
        self.failing.again(spans, now, is_stopped);
        self.failing.news(unlisted)
    }

    fn one(
        &mut self,
        store: &Store,
        spans: &Telemetry,
        issue: &Issue,
        now: Time,
        is_stopped: &dyn Fn() -> bool,
    ) {
        let cited = match store.plans_of_issue(issue.id) {
            Ok(plans) => gateway::cited_traces(issue, &plans),
            Err(error) => return self.failing.issues.failed(issue.id, in_full(&error), now),
        };
        self.failing.issues.over(issue.id);
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
            if is_stopped() {
                return;
            }
            // What failed before has its own time.
            if self.failing.traces.why(id).is_none() {
                self.failing.archive(spans, id, now);
            }
            if !done.traces.contains(&id) {
                done.traces.push(id);
            }
        }
        done.is_closed = is_closed;
    }
}

/// What failed and is tried again.
struct Failing {
    traces: Later<TraceId, NotArchived>,
    /// Those that could not be read, or their plans, with why.
    issues: Later<IssueId, String>,
    /// What was said, and is not over.
    told: BTreeSet<Reason>,
}

/// A trace that could not be archived.
struct NotArchived {
    reason: Reason,
    why: String,
    /// Whether spans were to be added to what is archived of it.
    is_added_to: bool,
}

/// Each is said once, until nothing fails for it any more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    Store,
    Full,
    Unreadable,
    Disk,
}

impl Failing {
    fn archive(&mut self, spans: &Telemetry, id: TraceId, now: Time) {
        let is_added_to = spans.archived_trace(id).is_some();
        let (error, reason) = match spans.archive_trace(id, Keeping::Evidence) {
            // It was sampled before it came here, or never sent to us.
            Ok(_) | Err(ArchiveError::NotFound(_)) => return self.traces.over(id),
            Err(error @ ArchiveError::Full { .. }) => (error, Reason::Full),
            Err(error @ ArchiveError::Read(_)) => (error, Reason::Unreadable),
            Err(error @ (ArchiveError::Disk { .. } | ArchiveError::Unconfirmed { .. })) => {
                (error, Reason::Disk)
            }
        };
        let why = format!("trace {id}: {}", in_full(&error));
        self.traces.failed(id, NotArchived { reason, why, is_added_to }, now);
    }

    /// Tries the traces that are due.
    fn again(&mut self, spans: &Telemetry, now: Time, is_stopped: &dyn Fn() -> bool) {
        for id in self.traces.due(now) {
            if is_stopped() {
                return;
            }
            let is_added_to = self.traces.why(id).is_some_and(|failed| failed.is_added_to);
            match is_added_to && spans.archived_trace(id).is_none() {
                // It was removed meanwhile, or had to make room.
                true => self.traces.over(id),
                false => self.archive(spans, id, now),
            }
        }
    }

    /// A sentence for each reason for which something fails now and did not at the last look.
    fn news(&mut self, unlisted: Option<String>) -> Vec<String> {
        let mut failing: BTreeMap<Reason, String> = BTreeMap::new();
        for failed in self.traces.reasons() {
            failing.entry(failed.reason).or_insert_with(|| failed.why.clone());
        }
        failing.extend(self.issues.reasons().cloned().chain(unlisted).map(|why| (Reason::Store, why)));
        let told = std::mem::replace(&mut self.told, failing.keys().copied().collect());
        failing.into_iter().filter(|(reason, _)| !told.contains(reason)).map(|(_, why)| why).collect()
    }
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

    /// No news.
    fn quiet() -> Vec<String> {
        Vec::new()
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
        let mut look = || looked.again(&store, &spans, SystemClock.now(), &|| false);
        assert_eq!((look(), archived(&spans)), (quiet(), Vec::new()), "nothing is cited yet");
        let evidence = |trace: u8| (TraceId([trace; 16]), Keeping::Evidence);
        store.save_issue(&issue(1, false)).expect("saved");
        assert_eq!((look(), archived(&spans)), (quiet(), vec![evidence(1)]));
        store.save_issue(&issue(2, false)).expect("saved");
        assert_eq!((look(), archived(&spans)), (quiet(), vec![evidence(1), evidence(2)]));
        assert!(spans.remove_archived(TraceId([2; 16])).expect("removed"));
        store.save_issue(&issue(2, true)).expect("saved");
        assert_eq!((look(), archived(&spans)), (quiet(), vec![evidence(1)]), "somebody removed it");
        // Sampled before it came here.
        store.save_issue(&issue(9, true)).expect("saved");
        assert_eq!((look(), archived(&spans)), (quiet(), vec![evidence(1)]));
    }

    #[test]
    fn an_issue_that_was_closed_while_nobody_looked_has_its_evidence_all_the_same() {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, spans) = stores(dir.path(), &[3]);
        store.save_issue(&issue(3, true)).expect("saved");
        let mut looked = Looked::new(SystemClock.now());
        assert_eq!(looked.again(&store, &spans, SystemClock.now(), &|| false), quiet());
        assert_eq!(archived(&spans), [(TraceId([3; 16]), Keeping::Evidence)]);
    }

    #[test]
    fn a_trace_that_cannot_be_archived_holds_up_no_other_and_is_tried_again_with_growing_pauses() {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, spans) = stores(dir.path(), &[1, 2]);
        spans.archive_trace(TraceId([1; 16]), Keeping::Asked).expect("archived");
        let archive = dir.path().join("telemetry/archive");
        let file = archive.read_dir().expect("listed").next().expect("a file").expect("an entry").path();
        let away = dir.path().join("away");
        std::fs::rename(&file, &away).expect("it cannot be read any more");
        let mut closed = issue(1, true);
        closed.description.push_str(&format!(" and {}", TraceId([2; 16])));
        store.save_issue(&closed).expect("saved");
        let start = SystemClock.now();
        let mut looked = Looked::new(start);
        let mut look =
            |seconds| looked.again(&store, &spans, start.plus(Duration::from_secs(seconds)), &|| false);
        let said = look(0);
        assert!(matches!(&said[..], [why] if why.contains(&TraceId([1; 16]).to_string())), "{said:?}");
        let both = [(TraceId([1; 16]), Keeping::Asked), (TraceId([2; 16]), Keeping::Evidence)];
        assert_eq!(archived(&spans), both, "the other one is archived");
        let tries = || spans.counters().archive_refused.get();
        for (seconds, expected) in [(5, 1), (10, 2), (15, 2), (25, 2), (30, 3), (65, 3), (70, 4)] {
            assert_eq!((look(seconds), tries()), (quiet(), expected), "after {seconds} s; said once");
        }
        std::fs::rename(&away, &file).expect("back");
        assert_eq!((look(150), look(10_000), tries()), (quiet(), quiet(), 4), "it is over");
        assert!(
            looked.since.reached(start.plus(Duration::from_secs(9_000))),
            "issues of long ago are not read again"
        );
        assert!(looked.done.is_empty());
    }

    #[test]
    fn a_stop_waits_for_the_trace_at_hand_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, spans) = stores(dir.path(), &[1, 2, 3]);
        let mut closed = issue(1, true);
        closed.description.push_str(&format!(" and {} and {}", TraceId([2; 16]), TraceId([3; 16])));
        store.save_issue(&closed).expect("saved");
        let mut looked = Looked::new(SystemClock.now());
        let is_stopped = || !spans.archived_traces().is_empty();
        assert_eq!(looked.again(&store, &spans, SystemClock.now(), &is_stopped), quiet());
        assert_eq!(archived(&spans).len(), 1);
        assert_eq!(looked.again(&store, &spans, SystemClock.now(), &|| false), quiet());
        assert_eq!(archived(&spans).len(), 3, "what was left is not forgotten");
    }
}
