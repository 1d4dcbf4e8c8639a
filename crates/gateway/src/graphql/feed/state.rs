//! How the Infrastructure is, and what detection finds.
//!
//! In: changes of issues as the store tells them, the loops' snapshot once a second. Out: the status where it changed, and
//! one event for each issue that was opened, changed or closed, with all that is asked of it read already: resolvers of
//! events run on the gateway's one thread, and must not wait for the store.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_graphql::ID;
use domain::{Issue, IssueId, Reason, Severity, Time};
use store::Topic;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::MissedTickBehavior;

use crate::graphql::scalars::DateTime;
use crate::graphql::types::anomaly::{AnomalyChange, AnomalyEvent};
use crate::graphql::types::infrastructure::InfrastructureStatus;
use crate::graphql::types::issue::Family;
use crate::live::stopped;
use crate::problem::Problem;
use crate::serve::{App, lock};

/// How often the loops' state is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Changes come in bursts: wait this long and tell them together.
const SETTLE: Duration = Duration::from_millis(50);

/// Events that may wait for a slow listener.
const WAITING_MAX: usize = 256;

/// What was last seen of the Infrastructure that is up; none before the first look.
pub(in crate::graphql) type Seen = Option<Up>;

/// The status of what is up, if something is.
pub(in crate::graphql) type Up = Option<Arc<InfrastructureStatus>>;

/// The channels, and whether the task runs that fills them.
pub(in crate::graphql) struct StateFeed {
    runs: Mutex<bool>,
    status: watch::Sender<Seen>,
    anomalies: broadcast::Sender<Arc<AnomalyEvent>>,
}

impl Default for StateFeed {
    fn default() -> Self {
        Self {
            runs: Mutex::new(false),
            status: watch::Sender::new(None),
            anomalies: broadcast::Sender::new(WAITING_MAX),
        }
    }
}

impl StateFeed {
    /// The status, whenever it changes.
    pub(in crate::graphql) fn status(&self, app: &Arc<App>) -> watch::Receiver<Seen> {
        let mut receiver = self.status.subscribe();
        self.begin(app);
        if receiver.borrow().is_some() {
            receiver.mark_changed();
        }
        receiver
    }

    /// What detection finds from now on.
    pub(in crate::graphql) fn anomalies(&self, app: &Arc<App>) -> broadcast::Receiver<Arc<AnomalyEvent>> {
        let receiver = self.anomalies.subscribe();
        self.begin(app);
        receiver
    }

    fn begin(&self, app: &Arc<App>) {
        let mut runs = lock(&self.runs);
        if !*runs {
            *runs = true;
            // Issues that are open already are no news.
            tokio::spawn(follow(Arc::clone(app), Changes::begin(app)));
        }
    }

    /// Ends where nobody listens any more; who comes later begins anew.
    fn is_over(&self) -> bool {
        let mut runs = lock(&self.runs);
        let over = self.status.receiver_count() == 0 && self.anomalies.receiver_count() == 0;
        if over {
            *runs = false;
            self.status.send_replace(None);
        }
        over
    }
}

/// Issues that changed since they were last looked at.
struct Changes {
    waiting: Arc<(Mutex<BTreeSet<IssueId>>, Notify)>,
    since: Time,
    _subscription: store::Subscription,
}

impl Changes {
    fn begin(app: &App) -> Self {
        let waiting = Arc::new((Mutex::new(BTreeSet::new()), Notify::new()));
        let told = Arc::clone(&waiting);
        let subscription = app.store.subscribe(move |changed| {
            if let (Topic::Issues, Ok(id)) = (changed.topic, changed.id.parse()) {
                lock(&told.0).insert(id);
                told.1.notify_one();
            }
        });
        Self { waiting, since: app.clock.now(), _subscription: subscription }
    }
}

async fn follow(app: Arc<App>, changes: Changes) {
    let mut stopping = app.stopping.clone();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known: Option<Known> = None;
    loop {
        tokio::select! {
            () = stopped(&mut stopping) => return,
            _ = ticks.tick() => {}
            () = changes.waiting.1.notified() => tokio::time::sleep(SETTLE).await,
        }
        let (waiting, since) = (Arc::clone(&changes.waiting), changes.since);
        let looking = Arc::clone(&app);
        let looked = tokio::task::spawn_blocking(move || {
            let mut known = match known {
                Some(known) => known,
                None => Known::before(&looking, since)?,
            };
            let ids = std::mem::take(&mut *lock(&waiting.0));
            let events = known.look(&looking, &ids).inspect_err(|_| {
                // The store was busy: they are looked at again with the next tick.
                lock(&waiting.0).extend(&ids);
            });
            Ok::<_, Problem>((known, events.unwrap_or_default(), seen(&looking)))
        });
        known = match looked.await {
            Ok(Ok((known, events, seen))) => {
                tell(&app, events, seen);
                Some(known)
            }
            _ => None,
        };
        if app.graphql.feeds.state.is_over() {
            return;
        }
    }
}

/// The status of what is up, as it was last seen.
fn seen(app: &App) -> Seen {
    let snapshot = app.control.snapshot()?;
    let name = snapshot.infrastructure.as_ref();
    Some(name.map(|name| Arc::new(InfrastructureStatus::of(name.to_string(), &snapshot))))
}

fn tell(app: &App, events: Vec<AnomalyEvent>, now: Seen) {
    let feed = &app.graphql.feeds.state;
    for event in events {
        // An error says that nobody listens.
        let _ = feed.anomalies.send(Arc::new(event));
    }
    let Some(up) = now else { return };
    feed.status.send_if_modified(|seen| {
        let says_same = match (&*seen, &up) {
            (Some(Some(old)), Some(new)) => old.says_as(new),
            (Some(None), None) => true,
            _ => false,
        };
        if !says_same {
            *seen = Some(up);
        }
        !says_same
    });
}

/// What is told of an issue; all else of it changes with every look.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Gist {
    severity: Severity,
    reason: Reason,
    recurrences: u32,
    foretold: bool,
}

impl From<&Issue> for Gist {
    fn from(issue: &Issue) -> Self {
        Self {
            severity: issue.severity,
            reason: issue.reason,
            recurrences: issue.recurrences,
            foretold: issue.is_foretold(),
        }
    }
}

/// The open issues, as they were last told, and how many events were told of each.
#[derive(Default)]
struct Known(HashMap<IssueId, (Gist, u32)>);

impl Known {
    /// Those that were open before a time.
    fn before(app: &App, since: Time) -> Result<Self, Problem> {
        let open = app.store.open_issues()?;
        let old = open.iter().filter(|issue| issue.detected_at.wall_us < since.wall_us);
        Ok(Self(old.map(|issue| (issue.id, (Gist::from(issue), 0))).collect()))
    }

    /// What became of these issues.
    fn look(&mut self, app: &App, ids: &BTreeSet<IssueId>) -> Result<Vec<AnomalyEvent>, Problem> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<IssueId> = ids.iter().copied().collect();
        let mut found = app.store.issues_by_id(&ids)?;
        found.reverse();
        let news: Vec<(AnomalyChange, Issue)> =
            found.into_iter().filter_map(|issue| self.change(&issue).map(|change| (change, issue))).collect();
        let (changes, issues): (Vec<_>, Vec<_>) = news.into_iter().unzip();
        let (family, issues) = Family::of(&app.store, issues);
        family.read_all()?;
        let at = DateTime(app.clock.now());
        Ok(changes.into_iter().zip(issues).map(|(change, issue)| self.told(change, at, issue)).collect())
    }

    fn change(&self, issue: &Issue) -> Option<AnomalyChange> {
        match (self.0.get(&issue.id), issue.closed_at) {
            (Some(_), Some(_)) => Some(AnomalyChange::Closed),
            (None, Some(_)) => None,
            (None, None) => Some(AnomalyChange::Opened),
            (Some((gist, _)), None) => (*gist != Gist::from(issue)).then_some(AnomalyChange::Changed),
        }
    }

    fn told(
        &mut self,
        change: AnomalyChange,
        at: DateTime,
        issue: crate::graphql::types::issue::Issue,
    ) -> AnomalyEvent {
        let id = issue.issue.id;
        let entry = self.0.entry(id).or_insert((Gist::from(&*issue.issue), 0));
        *entry = (Gist::from(&*issue.issue), entry.1 + 1);
        let number = entry.1;
        if change == AnomalyChange::Closed {
            self.0.remove(&id);
        }
        AnomalyEvent { id: ID(format!("{id}/{number}")), change, at, issue }
    }
}
