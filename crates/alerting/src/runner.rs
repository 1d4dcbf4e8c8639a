//! The thread that evaluates groups when they are due.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use domain::{AlertPhase, AlertSource, Alerts, Clock, RuleAlert};
use metrics::{Batch, Metrics, SourceName};
use promql::rules::{
    self, ALERT_NAME, Alert, Beginning, Evaluated, GroupState, Phase, Progress, RuleFiles, RuleGroup,
    RuleStates, World,
};
use promql::{Engine, Experimental, Labels, Limits, Options, Sample};

use crate::alertmanager::{self, Alertmanager, EndpointState, Notification};
use crate::barrier::barred;
use crate::counters::Counters;
use crate::files::{LoadError, load};
use crate::schedule::Schedule;
use crate::{Say, lock};

/// Who stores what rules record.
const SOURCE: &str = "rules";

/// How much one expression may read and hold; Prometheus' default for samples.
const SAMPLES_MAX: u64 = 50_000_000;
const POINTS_MAX: u64 = 10_000_000;

/// How long one rule may take: as Prometheus' queries.
const RULE_TIME: Duration = Duration::from_secs(120);

/// The longest sleep, so that a clock that was set is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(5);

/// How rules are evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Files, or patterns with `*` in the last part.
    pub files: Vec<PathBuf>,
    /// The time between two evaluations of a group that says none.
    pub interval: Duration,
    /// Labels that alerts get where they do not have them, and that templates know as `$externalLabels`.
    pub external_labels: BTreeMap<String, String>,
    /// Where this program is reached: what templates know as `$externalURL`, and where alerts lead.
    pub external_url: String,
    /// After so long a firing alert is told again. Prometheus: 1 min.
    pub resend: Duration,
    /// How long an outage may have been for alerts to go on where they were. Prometheus: 1 h.
    pub outage_tolerance: Duration,
    /// How long an alert that goes on after an outage waits at least before it fires. Prometheus: 10 min.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            interval: Duration::from_secs(60),
            external_labels: BTreeMap::new(),
            external_url: String::new(),
            resend: Duration::from_secs(60),
            outage_tolerance: Duration::from_secs(3600),
            grace: Duration::from_secs(600),
        }
    }
}

/// Rules that are evaluated. Dropping it stops them; what they recorded stays.
pub struct Rules {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    settings: Settings,
    external_labels: Labels,
    engine: Engine,
    store: Metrics,
    clock: Arc<dyn Clock>,
    alertmanager: Option<Alertmanager>,
    say: Box<Say>,
    counters: Counters,
    state: Mutex<State>,
    /// There is something to look at before the next group is due.
    news: Condvar,
    stopping: AtomicBool,
}

#[derive(Default)]
struct State {
    running: Vec<Running>,
    /// Alerts that the loop is not told of: place of the group, place of the rule.
    barred: BTreeSet<(usize, usize)>,
    /// Groups that were read, and are taken over before the next evaluation.
    next: Option<Vec<RuleGroup>>,
    /// Why the store last took nothing, which is said once.
    refused: Option<String>,
}

/// A group that is evaluated.
#[derive(Clone)]
struct Running {
    group: Arc<RuleGroup>,
    progress: Progress,
    schedule: Schedule,
    /// When alerts were last sent, by place of the rule and labels, milliseconds since 1970.
    sent: HashMap<(usize, Labels), i64>,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl Rules {
    /// Loads the files and starts evaluating them. What is worth a person's attention is told to `say`.
    ///
    /// # Errors
    /// Where the files are wrong; nothing runs then.
    pub fn start(
        settings: Settings,
        store: Metrics,
        clock: Arc<dyn Clock>,
        alertmanager: Option<Alertmanager>,
        say: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let engine = engine(settings.interval);
        let files = load(&settings.files, &engine)?;
        let external_labels = Labels::new(settings.external_labels.iter().map(|(k, v)| (&**k, &**v)));
        let shared = Shared {
            external_labels,
            engine,
            store,
            clock,
            alertmanager,
            say: Box::new(say),
            counters: Counters::default(),
            state: Mutex::default(),
            news: Condvar::new(),
            stopping: AtomicBool::new(false),
            settings,
        };
        shared.notes(&files);
        shared.take_over(files.groups, Beginning::Restart);
        let shared = Arc::new(shared);
        let running = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("rules".to_owned()).spawn(move || running.run());
        Ok(Self { shared, thread: Mutex::new(Some(thread.map_err(StartError::Thread)?)) })
    }

    /// Reads the files again. Rules that did not change go on as if nothing was; where anything is wrong, all of them do.
    ///
    /// # Errors
    /// What is wrong; the rules are as they were.
    pub fn reload(&self) -> Result<(), LoadError> {
        let shared = &self.shared;
        shared.counters.reloads.add(1);
        let files = load(&shared.settings.files, &shared.engine)
            .inspect_err(|_| shared.counters.reload_failures.add(1))?;
        shared.notes(&files);
        lock(&shared.state).next = Some(files.groups);
        shared.news.notify_all();
        Ok(())
    }

    /// What rules did since the start.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// How it goes with the Alertmanagers.
    pub fn alertmanagers(&self) -> Vec<EndpointState> {
        self.shared.alertmanager.as_ref().map(Alertmanager::states).unwrap_or_default()
    }
}

/// Rules were not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The files are wrong.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The machine gives no thread.
    #[error("cannot start the thread that evaluates rules")]
    Thread(#[source] io::Error),
}

impl RuleStates for Rules {
    fn groups(&self) -> Vec<GroupState> {
        let state = lock(&self.shared.state);
        let interval = self.shared.settings.interval;
        state.running.iter().map(|running| running.progress.state(&running.group, interval)).collect()
    }

    fn write_metrics(&self, out: &mut String) {
        self.shared.counters.write_to(out);
        alertmanager::write_to(&self.alertmanagers(), out);
    }
}

impl AlertSource for Rules {
    fn alerts(&self) -> Alerts {
        let state = lock(&self.shared.state);
        let mut alerts = Vec::new();
        for (group, running) in state.running.iter().enumerate() {
            let told = running.progress.alerts().filter(|(rule, _)| !state.barred.contains(&(group, *rule)));
            alerts.extend(told.filter_map(|(_, alert)| rule_alert(alert)));
        }
        match state.running.iter().all(|running| running.progress.was_evaluated()) {
            true => Alerts::known(alerts),
            false => Alerts::at_least(alerts),
        }
    }
}

fn rule_alert(alert: &Alert) -> Option<RuleAlert> {
    let phase = match alert.phase {
        Phase::Pending => AlertPhase::Pending,
        Phase::Firing => AlertPhase::Firing,
        Phase::Resolved { .. } => return None,
    };
    let others = alert.labels.iter().filter(|(name, _)| *name != ALERT_NAME);
    Some(RuleAlert {
        name: alert.labels.get(ALERT_NAME).to_owned(),
        phase,
        labels: others.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        annotations: alert.annotations.clone(),
        value: alert.value,
    })
}

impl Drop for Rules {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Rules {
    /// Evaluates nothing any more. How the rules stood can still be asked.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        // Behind the lock, so that it is not missed between a look and a wait.
        drop(lock(&self.shared.state));
        self.shared.news.notify_all();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn now_ms(&self) -> i64 {
        self.clock.now().wall_us.div_euclid(1000)
    }

    fn notes(&self, files: &RuleFiles) {
        for note in &files.notes {
            (self.say)(&note.to_string());
        }
    }

    fn run(&self) {
        while let Some(due) = self.next_due() {
            match due {
                Due::Files(groups) => self.take_over(groups, Beginning::Anew),
                Due::Group(place) => self.evaluate(place),
            }
        }
    }

    /// Waits for what is to be done next; `None` where it is over.
    fn next_due(&self) -> Option<Due> {
        let mut state = lock(&self.state);
        loop {
            if self.stopping.load(Ordering::Acquire) {
                return None;
            }
            if let Some(groups) = state.next.take() {
                return Some(Due::Files(groups));
            }
            let now_ms = self.now_ms();
            state.running.iter_mut().for_each(|running| running.schedule.follow(now_ms));
            let first = state.running.iter().enumerate().min_by_key(|(_, running)| running.schedule.due_ms);
            let wait = match first {
                Some((place, running)) if running.schedule.due_ms <= now_ms => {
                    return Some(Due::Group(place));
                }
                Some((_, running)) => {
                    let left = u64::try_from(running.schedule.due_ms - now_ms).unwrap_or(0);
                    Duration::from_millis(left).min(SLEEP_MAX)
                }
                None => Duration::MAX,
            };
            state = if wait == Duration::MAX {
                self.news.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.news.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    /// Goes on with groups that are known, begins the others, and ends the series of those that are no more.
    fn take_over(&self, groups: Vec<RuleGroup>, beginning: Beginning) {
        let now_ms = self.now_ms();
        let mut ended = Vec::new();
        {
            let mut state = lock(&self.state);
            let mut known = std::mem::take(&mut state.running);
            for group in groups {
                let same = known
                    .iter()
                    .position(|running| running.group.name == group.name && running.group.file == group.file);
                state.running.push(match same.map(|at| known.swap_remove(at)) {
                    Some(running) if *running.group == group => running,
                    Some(running) => self.changed(running, group, now_ms),
                    None => self.begun(group, beginning, now_ms),
                });
            }
            state.barred = barred(state.running.iter().map(|running| &*running.group));
            for gone in known {
                ended.extend(gone.progress.ended(now_ms));
            }
        }
        self.store(ended);
    }

    fn interval(&self, group: &RuleGroup) -> Duration {
        group.interval.unwrap_or(self.settings.interval)
    }

    fn begun(&self, group: RuleGroup, beginning: Beginning, now_ms: i64) -> Running {
        Running {
            progress: Progress::new(&group, beginning),
            schedule: Schedule::new(&group, self.interval(&group), now_ms),
            group: Arc::new(group),
            sent: HashMap::new(),
        }
    }

    fn changed(&self, before: Running, group: RuleGroup, now_ms: i64) -> Running {
        Running {
            progress: before.progress.carried(&before.group, &group),
            schedule: Schedule::new(&group, self.interval(&group), now_ms),
            group: Arc::new(group),
            // Places of rules may be others now: what fires is told again, which does no harm.
            sent: HashMap::new(),
        }
    }

    fn evaluate(&self, place: usize) {
        let Some(running) = lock(&self.state).running.get(place).cloned() else { return };
        let Running { group, progress, mut schedule, mut sent } = running;
        let at_ms = schedule.due_ms;
        let begun = Instant::now();
        let cancelled = || self.stopping.load(Ordering::Acquire) || begun.elapsed() > RULE_TIME;
        let world = World {
            engine: &self.engine,
            source: &self.store,
            limits: Limits { samples: SAMPLES_MAX, points: POINTS_MAX, cancelled: &cancelled },
            external_labels: &self.external_labels,
            external_url: &self.settings.external_url,
            interval: self.settings.interval,
            query_offset: Duration::ZERO,
            outage_tolerance: self.settings.outage_tolerance,
            grace: self.settings.grace,
            stopwatch: &|| begun.elapsed(),
        };
        let Evaluated { progress, samples, failed, .. } = rules::evaluate(&group, progress, at_ms, &world);
        if self.stopping.load(Ordering::Acquire) {
            // What was given up half-way is not how the rules stand.
            return;
        }
        self.counters.iterations.add(1);
        self.counters.evaluations.add(group.rules.len() as u64);
        self.counters.failures.add(failed.len() as u64);
        self.store(samples);
        self.tell(&group, &progress, at_ms, &mut sent);
        self.counters.missed.add(schedule.advance(self.now_ms()));
        let mut state = lock(&self.state);
        if let Some(running) = state.running.get_mut(place) {
            *running = Running { group, progress, schedule, sent };
        }
    }

    fn store(&self, samples: Vec<(Labels, Sample)>) {
        if samples.is_empty() {
            return;
        }
        let count = samples.len() as u64;
        let series = samples.into_iter().map(|(labels, sample)| (labels, vec![sample])).collect();
        let outcome = self.store.append(&SourceName::new(SOURCE), Batch { series, ..Batch::default() });
        let (taken, reason) = match outcome {
            Ok(admission) => (admission.accepted, admission.reason),
            Err(refusal) => (0, Some(refusal.to_string())),
        };
        self.counters.samples.add(taken);
        self.counters.samples_refused.add(count.saturating_sub(taken));
        let news = {
            let mut state = lock(&self.state);
            let news = reason.is_some() && state.refused.is_none();
            state.refused.clone_from(&reason);
            news
        };
        if let Some(reason) = reason.filter(|_| news) {
            (self.say)(&format!("what rules record is not stored: {reason}"));
        }
    }

    /// Sends what fires and was not told of lately, and what was resolved since.
    fn tell(
        &self,
        group: &RuleGroup,
        progress: &Progress,
        at_ms: i64,
        sent: &mut HashMap<(usize, Labels), i64>,
    ) {
        let Some(alertmanager) = &self.alertmanager else { return };
        let valid_ms = ms(self.settings.resend.max(self.interval(group))).saturating_mul(4);
        let mut kept = HashMap::new();
        let mut notifications = Vec::new();
        for (place, alert) in progress.alerts() {
            let key = (place, alert.labels.clone());
            let last = sent.get(&key).copied();
            let due = match alert.phase {
                Phase::Pending => false,
                Phase::Firing => {
                    last.is_none_or(|last| at_ms.saturating_sub(last) >= ms(self.settings.resend))
                }
                // Told once, and again for those that missed it.
                Phase::Resolved { at_ms: resolved } => last.is_none_or(|last| {
                    resolved > last || at_ms.saturating_sub(last) >= ms(self.settings.resend)
                }),
            };
            if due {
                notifications.push(self.notification(group, place, alert, at_ms.saturating_add(valid_ms)));
            }
            if let Some(last) = if due { Some(at_ms) } else { last } {
                kept.insert(key, last);
            }
        }
        *sent = kept;
        alertmanager.send(&notifications);
    }

    fn notification(
        &self,
        group: &RuleGroup,
        place: usize,
        alert: &Alert,
        valid_until_ms: i64,
    ) -> Notification {
        let expression = group.rules.get(place).map_or("", |rule| rule.expression.text());
        let own = alert.labels.iter();
        let external = self.external_labels.iter().filter(|(name, _)| alert.labels.get(name).is_empty());
        Notification {
            labels: Labels::new(own.chain(external)),
            annotations: alert.annotations.clone(),
            starts_at_ms: alert.fired_at_ms.unwrap_or(alert.active_at_ms),
            ends_at_ms: match alert.phase {
                Phase::Resolved { at_ms } => at_ms,
                Phase::Pending | Phase::Firing => valid_until_ms,
            },
            generator_url: format!("{}{}", self.settings.external_url, rules::table_link(expression)).into(),
        }
    }
}

/// How expressions of rules are understood: as Prometheus does, with what it calls experimental. A subquery that names no
/// step has the `interval` of evaluation.
pub fn engine(interval: Duration) -> Engine {
    Engine::new(Options {
        experimental: Experimental::Known,
        subquery_step_ms: ms(interval),
        ..Options::default()
    })
}

/// What is to be done next.
enum Due {
    Files(Vec<RuleGroup>),
    Group(usize),
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
