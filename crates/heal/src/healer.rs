//! The healer: what one control plane has to heal with, and what it remembers between two turns.
//!
//! Everything that must survive is in the store; what is here can be lost and is found again by the next
//! turn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use act::{Executor, Mode};
use decide::detect::Thresholds;
use decide::health::Health;
use decide::learn::rates::Rates;
use decide::plan::Policy;
use domain::{Clock, IdSource, Issue, IssueId, PlanId, ServiceName, Snapshot, Strategy, Time};
use observe::Observer;
use store::{HealthRecord, Retention, Store};

use crate::deployments::Running;
use crate::inventory::Known;
use crate::lesson::Lessons;
use crate::notice::Notice;
use crate::start::Execution;
use crate::telling::Tell;
use crate::trouble::Troubles;
use crate::turned_down::TurnedDown;
use crate::verify::Watch;
use crate::waiting::Waiting;

/// Statistics beside the health are those of a day.
const DAY: Duration = Duration::from_secs(86_400);

/// What a healer works with.
pub struct Parts {
    /// Where state survives.
    pub store: Store,
    /// Looks at the world.
    pub observer: Arc<Observer>,
    /// Changes it.
    pub executor: Arc<Executor>,
    /// Tells time.
    pub clock: Arc<dyn Clock>,
    /// Is told what needs a person. Must not block.
    pub notify: Box<dyn Fn(Notice) + Send + Sync>,
    /// Is told what the loop does.
    pub tell: Arc<dyn Tell>,
}

/// Whether outcomes change success rates (`LEARNING_MODE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Learning {
    /// They do.
    #[default]
    On,
    /// The priors and what was learned before stay.
    Off,
}

/// How a healer is set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// When something counts as wrong.
    pub thresholds: Thresholds,
    /// What is allowed.
    pub policy: Policy,
    /// Whether plans may change anything.
    pub mode: Mode,
    /// Whether outcomes teach.
    pub learning: Learning,
    /// Time between two full scans.
    pub scan_interval: Duration,
    /// Time between two stored health scores.
    pub health_interval: Duration,
    /// How long records are kept.
    pub retention: Retention,
    /// Where plans run.
    pub execution: Execution,
    /// Seeds the ids.
    pub seed: u64,
}

/// Heals. Shared by the loop's thread and by those who ask it something.
pub struct Healer {
    pub(crate) parts: Parts,
    settings: RwLock<Arc<Settings>>,
    /// Itself, for the threads it starts.
    pub(crate) this: Weak<Self>,
    state: Mutex<State>,
    wake: (Mutex<Wake>, Condvar),
}

/// What is remembered between two turns.
pub(crate) struct State {
    pub(crate) ids: IdSource,
    pub(crate) lessons: Lessons,
    /// The latest look.
    pub(crate) seen: Option<Seen>,
    /// The plans whose signal is being watched.
    pub(crate) watches: BTreeMap<PlanId, Watch>,
    /// Since when the path around a measure is well again.
    pub(crate) well_since: BTreeMap<PlanId, Time>,
    /// Why nothing is done about an issue now.
    pub(crate) waiting: BTreeMap<IssueId, Waiting>,
    /// What was cleared and could not begin.
    pub(crate) turned_down: BTreeMap<IssueId, TurnedDown>,
    /// What was refused already, so that it is written down once.
    pub(crate) refused: BTreeSet<(IssueId, Strategy)>,
    /// The issues that were found in the latest look.
    pub(crate) found: BTreeSet<IssueId>,
    /// The issues a person was called for.
    pub(crate) called: BTreeSet<IssueId>,
    /// The issues that closed lately; `None` until the store was asked.
    pub(crate) closed: Option<Vec<Issue>>,
    /// When a storm was last seen.
    pub(crate) storm_seen: Option<Time>,
    /// The issues whose first diagnosis is kept.
    pub(crate) diagnosed: BTreeSet<IssueId>,
    /// The remediations that run on a thread of their own now.
    pub(crate) executing: BTreeSet<PlanId>,
    /// Remediations that ended, and whose outcome could not be written yet.
    pub(crate) owed: BTreeSet<PlanId>,
    /// When a review was called for, as long as health is low.
    pub(crate) review_called: Option<Time>,
    /// When a health score was last stored.
    pub(crate) health_stored: Option<Time>,
    /// When it was last asked whether health is low.
    pub(crate) health_judged: Option<Time>,
    /// The failure rate was not judged after the latest outcome, because that failed.
    pub(crate) rate_unjudged: bool,
    /// What is known of configuration; `None` until the first look, and after one that failed.
    pub(crate) items: Option<Known>,
    /// What services run, as far as it is known; `None` until the first look.
    pub(crate) running: Option<Running>,
    /// The services whose last deployment is under way.
    pub(crate) rolling: BTreeSet<ServiceName>,
    /// What goes wrong now.
    pub(crate) troubles: Troubles,
    /// Counts what was done that is worth telling.
    pub(crate) deeds: u64,
}

/// One look at the world.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) health: Health,
}

/// Whether the loop was asked to turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    Asleep,
    Asked,
}

impl Healer {
    /// A healer that remembers what its store remembers.
    ///
    /// # Errors
    ///
    /// The store's, also where lessons in it cannot be read.
    pub fn new(parts: Parts, settings: Settings) -> store::Result<Arc<Self>> {
        let state = State {
            ids: IdSource::seeded(settings.seed),
            lessons: Lessons::load(&parts.store)?,
            seen: None,
            watches: BTreeMap::new(),
            well_since: BTreeMap::new(),
            waiting: BTreeMap::new(),
            turned_down: BTreeMap::new(),
            refused: BTreeSet::new(),
            found: BTreeSet::new(),
            called: BTreeSet::new(),
            closed: None,
            storm_seen: None,
            diagnosed: BTreeSet::new(),
            executing: BTreeSet::new(),
            owed: BTreeSet::new(),
            review_called: None,
            health_stored: None,
            health_judged: None,
            rate_unjudged: false,
            running: None,
            items: None,
            rolling: BTreeSet::new(),
            troubles: Troubles::default(),
            deeds: 0,
        };
        let wake = (Mutex::new(Wake::Asleep), Condvar::new());
        Ok(Arc::new_cyclic(|this| Self {
            parts,
            settings: RwLock::new(Arc::new(settings)),
            this: Weak::clone(this),
            state: Mutex::new(state),
            wake,
        }))
    }

    /// The latest snapshot; `None` before the first.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.state().seen.as_ref().map(|seen| Arc::clone(&seen.snapshot))
    }

    /// The latest health; `None` before the first snapshot.
    pub fn health(&self) -> Option<Health> {
        self.state().seen.as_ref().map(|seen| seen.health.clone())
    }

    /// The latest health with the counts that are shown beside it; `None` before the first snapshot.
    pub fn health_record(&self) -> Option<HealthRecord> {
        let seen = self.state().seen.clone()?;
        self.record_of(&seen.health, seen.snapshot.taken).ok()
    }

    /// The health as it is stored and shown.
    pub(crate) fn record_of(&self, health: &Health, at: Time) -> store::Result<HealthRecord> {
        let store = &self.parts.store;
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let statistics = store.statistics(at.minus(DAY))?;
        Ok(HealthRecord {
            overall: health.overall,
            compute: health.compute,
            network: health.network,
            storage: health.storage,
            database: health.database,
            security: health.security,
            coverage: health.coverage,
            issues_detected: count(store.open_issues()?.len() as u64),
            auto_remediated: count(statistics.successful),
            at,
        })
    }

    /// The success rates as they are now.
    pub fn rates(&self) -> Rates {
        self.state().lessons.rates.clone()
    }

    /// Why nothing is done about an issue now; `None` where nobody waits.
    pub fn waiting(&self, issue: IssueId) -> Option<String> {
        self.state().waiting.get(&issue).map(|waiting| waiting.why.clone())
    }

    /// How it is set now.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets it otherwise: what is decided from now on is decided by `settings`. What runs goes on as it was cleared. Where
    /// plans run and the seed stay as they were at start.
    pub fn set(&self, settings: Settings) {
        let mut now = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        let (execution, seed) = (now.execution, now.seed);
        *now = Arc::new(Settings { execution, seed, ..settings });
        drop(now);
        self.wake();
    }

    /// Asks for a turn soon.
    pub fn wake(&self) {
        *self.wake.0.lock().unwrap_or_else(PoisonError::into_inner) = Wake::Asked;
        self.wake.1.notify_all();
    }

    /// Waits until a turn is asked for, or `timeout`.
    pub(crate) fn sleep(&self, timeout: Duration) {
        let asked = self.wake.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut asked, _) = self
            .wake
            .1
            .wait_timeout_while(asked, timeout, |asked| *asked == Wake::Asleep)
            .unwrap_or_else(PoisonError::into_inner);
        *asked = Wake::Asleep;
    }

    /// The state between two turns. A turn that panicked leaves nothing half done here that the next one
    /// would not find again, so a poisoned lock is taken all the same.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Time {
        self.parts.clock.now()
    }
}
