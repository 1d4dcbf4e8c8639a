//! A group of rules evaluated once: from how it stood and the time to what is recorded, which alerts changed, and how it
//! stands then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::alert::{ALERT_NAME, Alert, Alerts, Phase, Turn, Turned, ms};
use super::file::{Purpose, Rule, RuleGroup, written};
use super::overlay::Overlay;
use super::restore::{Restoring, restore};
use super::state::{GroupState, Health, RuleKind, RuleState};
use super::template::Given;
use crate::{Answered, Engine, Labels, Limits, METRIC_NAME, Point, STALE_BITS, Sample, Source, Value};

/// What rules are evaluated with.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// Evaluates the expressions.
    pub engine: &'a Engine,
    /// The series they ask for.
    pub source: &'a dyn Source,
    /// How much one expression may take.
    pub limits: Limits<'a>,
    /// What templates know as `$externalLabels`.
    pub external_labels: &'a Labels,
    /// What templates know as `$externalURL`.
    pub external_url: &'a str,
    /// The time between two evaluations of a group that says none.
    pub interval: Duration,
    /// How far in the past a group is evaluated that does not say.
    pub query_offset: Duration,
    /// How long an outage may have been for alerts to go on where they were.
    pub outage_tolerance: Duration,
    /// How long an alert that goes on after an outage waits at least before it fires; rules that hold for less begin anew.
    pub grace: Duration,
    /// Reads a clock that only rises, to tell how long rules take.
    pub stopwatch: &'a dyn Fn() -> Duration,
}

impl std::fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// How a group stands between two evaluations.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Progress {
    rules: Vec<RuleProgress>,
    /// Evaluations so far.
    evaluations: u64,
    last_evaluation_ms: Option<i64>,
    took: Duration,
    /// Series of rules that are no more, to be ended with the next evaluation.
    ending: BTreeSet<Labels>,
}

/// How a rule stands between two evaluations.
#[derive(Debug, Clone, PartialEq)]
struct RuleProgress {
    health: Health,
    last_evaluation_ms: Option<i64>,
    took: Duration,
    /// Series of the last evaluation that had a value.
    recorded: BTreeSet<Labels>,
    alerts: Alerts,
    /// Its alerts go on where they were before the restart, or need not.
    restored: bool,
}

/// Whether alerts may have been active before this process began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// They may: the second evaluation takes up where they were, and until then they are not recorded.
    Restart,
    /// They were not: the rules are new.
    Anew,
}

/// What an evaluation brings.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// How the group stands now.
    pub progress: Progress,
    /// What is to be stored: recorded series, those of alerts, and the ends of series that are no more.
    pub samples: Vec<(Labels, Sample)>,
    /// Alerts that began, fired or were resolved, each with the place of its rule in the group.
    pub changed: Vec<(usize, Alert)>,
    /// Rules that had no value, each with the place of the rule in the group and why.
    pub failed: Vec<(usize, String)>,
}

impl Progress {
    /// Of a group that was never evaluated.
    pub fn new(group: &RuleGroup, beginning: Beginning) -> Self {
        let rule = |_: &Rule| RuleProgress {
            health: Health::Unknown,
            last_evaluation_ms: None,
            took: Duration::ZERO,
            recorded: BTreeSet::new(),
            alerts: Alerts::new(),
            restored: beginning == Beginning::Anew,
        };
        Self { rules: group.rules.iter().map(rule).collect(), ..Self::default() }
    }

    /// Of a group whose rules were read anew: rules that have the name and labels they had go on where they are, of the
    /// others the series end.
    pub fn carried(mut self, from: &RuleGroup, to: &RuleGroup) -> Self {
        let mut carried = Self { ending: std::mem::take(&mut self.ending), ..Self::new(to, Beginning::Anew) };
        carried.evaluations = self.evaluations;
        let mut left: Vec<Option<(&Rule, RuleProgress)>> =
            from.rules.iter().zip(self.rules).map(Some).collect();
        for (rule, progress) in to.rules.iter().zip(&mut carried.rules) {
            let same = left.iter_mut().find(|known| {
                known.as_ref().is_some_and(|(known, _)| {
                    known.name == rule.name && known.written_labels() == rule.written_labels()
                })
            });
            if let Some((_, known)) = same.and_then(Option::take) {
                *progress = known;
            }
        }
        for (_, progress) in left.into_iter().flatten() {
            carried.ending.extend(progress.recorded);
        }
        carried
    }

    /// The ends of all series of a group that is no more.
    pub fn ended(&self, at_ms: i64) -> Vec<(Labels, Sample)> {
        let all = self.rules.iter().flat_map(|rule| &rule.recorded).chain(&self.ending);
        all.map(|labels| (labels.clone(), stale(at_ms))).collect()
    }

    /// Whether there was an evaluation.
    pub fn was_evaluated(&self) -> bool {
        self.evaluations > 0
    }

    /// Its alerts, pending, firing and resolved not long ago, each with the place of its rule in the group.
    pub fn alerts(&self) -> impl Iterator<Item = (usize, &Alert)> {
        self.rules
            .iter()
            .enumerate()
            .flat_map(|(at, rule)| rule.alerts.values().map(move |alert| (at, alert)))
    }

    /// How the group stands, to be shown.
    pub fn state(&self, group: &RuleGroup, interval: Duration) -> GroupState {
        let rules = group.rules.iter().zip(&self.rules);
        GroupState {
            name: group.name.clone(),
            file: group.file.clone(),
            interval: group.interval.unwrap_or(interval),
            limit: group.limit,
            rules: rules.map(|(rule, progress)| progress.state(rule)).collect(),
            last_evaluation_ms: self.last_evaluation_ms,
            evaluation_time: self.took,
        }
    }
}

impl RuleProgress {
    fn state(&self, rule: &Rule) -> RuleState {
        let kind = match &rule.kind {
            Purpose::Record { .. } => RuleKind::Recording,
            Purpose::Alert { hold, keep_firing, annotations, .. } => RuleKind::Alerting {
                hold: *hold,
                keep_firing: *keep_firing,
                annotations: written(annotations),
                alerts: self.alerts.values().filter_map(Alert::shown).collect(),
            },
        };
        RuleState {
            name: rule.name.clone(),
            query: rule.expression.text().to_owned(),
            labels: rule.written_labels(),
            health: self.health.clone(),
            last_evaluation_ms: self.last_evaluation_ms,
            evaluation_time: self.took,
            kind,
        }
    }
}

/// Evaluates a group at a time (milliseconds since 1970), its rules one after the other: each finds what those before it
/// recorded.
pub fn evaluate(group: &RuleGroup, progress: Progress, at_ms: i64, world: &World<'_>) -> Evaluated {
    let begun = (world.stopwatch)();
    let offset = group.query_offset.unwrap_or(world.query_offset);
    let stamped_ms = at_ms.saturating_sub(ms(offset));
    let mut overlay = Overlay::new(world.source);
    let mut out = Evaluated { progress, samples: Vec::new(), changed: Vec::new(), failed: Vec::new() };
    let evaluation = |overlay: &Overlay<'_>, rule, progress: &RuleProgress| {
        Evaluation { rule, group, world, source: overlay, at_ms, stamped_ms }.value(progress)
    };
    for (place, rule) in group.rules.iter().enumerate() {
        let Some(own) = out.progress.rules.get_mut(place) else { continue };
        let begun = (world.stopwatch)();
        own.last_evaluation_ms = Some(at_ms);
        match evaluation(&overlay, rule, own) {
            Ok(Valued { samples, alerts, changed }) => {
                own.health = Health::Good;
                own.alerts = alerts;
                out.changed.extend(changed.into_iter().map(|alert| (place, alert)));
                let returned: BTreeSet<Labels> = samples.iter().map(|(labels, _)| labels.clone()).collect();
                let over =
                    own.recorded.difference(&returned).map(|labels| (labels.clone(), stale(stamped_ms)));
                let samples: Vec<_> = samples.into_iter().chain(over).collect();
                own.recorded = returned;
                overlay.extend(&samples);
                out.samples.extend(samples);
            }
            Err(failure) => {
                own.health = Health::Bad(failure.message.clone());
                if failure.clears {
                    own.alerts.clear();
                }
                out.failed.push((place, failure.message));
            }
        }
        own.took = (world.stopwatch)().saturating_sub(begun);
    }
    let progress = &mut out.progress;
    let ending = std::mem::take(&mut progress.ending);
    let recorded: BTreeSet<&Labels> = progress.rules.iter().flat_map(|rule| &rule.recorded).collect();
    let over = ending.into_iter().filter(|labels| !recorded.contains(labels));
    out.samples.extend(over.map(|labels| (labels, stale(stamped_ms))));
    progress.evaluations += 1;
    progress.last_evaluation_ms = Some(at_ms);
    if progress.evaluations >= 2 {
        take_up(group, progress, at_ms, world);
    }
    out.progress.took = (world.stopwatch)().saturating_sub(begun);
    out
}

/// Lets alerts go on where they were before a restart.
fn take_up(group: &RuleGroup, progress: &mut Progress, at_ms: i64, world: &World<'_>) {
    for (rule, own) in group.rules.iter().zip(&mut progress.rules) {
        let Purpose::Alert { hold, .. } = &rule.kind else { continue };
        if own.restored {
            continue;
        }
        let restoring = Restoring { name: &rule.name, hold: *hold, at_ms, world };
        // Where the store does not answer, the next evaluation asks again.
        own.restored = restore(&restoring, &mut own.alerts).is_ok();
    }
}

fn stale(at_ms: i64) -> Sample {
    Sample { at_ms, value: Value::Float(f64::from_bits(STALE_BITS)) }
}

/// One rule at one time.
struct Evaluation<'a> {
    rule: &'a Rule,
    group: &'a RuleGroup,
    world: &'a World<'a>,
    source: &'a dyn Source,
    at_ms: i64,
    /// The time it is evaluated at, and its samples have.
    stamped_ms: i64,
}

/// The value of a rule.
struct Valued {
    samples: Vec<(Labels, Sample)>,
    alerts: Alerts,
    changed: Vec<Alert>,
}

/// A rule has no value.
struct Failure {
    message: String,
    /// Its alerts are no more.
    clears: bool,
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self { message, clears: false }
    }
}

impl Evaluation<'_> {
    fn value(&self, progress: &RuleProgress) -> Result<Valued, Failure> {
        let points = self.points(&self.rule.expression, self.stamped_ms)?;
        match &self.rule.kind {
            Purpose::Record { labels } => {
                let samples = self.recorded(points, labels)?;
                Ok(Valued { samples, alerts: Alerts::new(), changed: Vec::new() })
            }
            Purpose::Alert { .. } => self.alerted(points, progress),
        }
    }

    /// The value of an expression as a vector; a number is one without labels.
    fn points(&self, expression: &crate::Expression, at_ms: i64) -> Result<Vec<Point>, String> {
        let answer = self.world.engine.instant(expression, at_ms, self.source, &self.world.limits);
        match answer.map_err(|error| error.to_string())?.value {
            Answered::Vector(points) => Ok(points),
            Answered::Scalar(value) => {
                Ok(vec![Point { labels: Labels::default(), value: Value::Float(value) }])
            }
            Answered::String(_) | Answered::Matrix(_) => {
                Err("rule result is not a vector or scalar".to_owned())
            }
        }
    }

    fn recorded(
        &self,
        points: Vec<Point>,
        added: &BTreeMap<String, String>,
    ) -> Result<Vec<(Labels, Sample)>, String> {
        let mut recorded = BTreeMap::new();
        for point in points {
            let named = point.labels.with(METRIC_NAME, &self.rule.name);
            let labels = added.iter().fold(named, |labels, (name, value)| labels.with(name, value));
            let sample = Sample { at_ms: self.stamped_ms, value: point.value };
            if recorded.insert(labels, sample).is_some() {
                return Err(
                    "vector contains metrics with the same labelset after applying rule labels".to_owned()
                );
            }
        }
        let limit = self.group.limit;
        if limit > 0 && recorded.len() as u64 > limit {
            return Err(format!("exceeded limit of {limit} with {} series", recorded.len()));
        }
        Ok(recorded.into_iter().collect())
    }

    fn alerted(&self, points: Vec<Point>, progress: &RuleProgress) -> Result<Valued, Failure> {
        let Purpose::Alert { hold, keep_firing, .. } = &self.rule.kind else {
            return Err("is no alert".to_owned().into());
        };
        let mut holding = BTreeMap::new();
        for point in points {
            let alert = self.alert(&point);
            if holding.insert(alert.labels.clone(), alert).is_some() {
                let message = "vector contains metrics with the same labelset after applying alert labels";
                return Err(message.to_owned().into());
            }
        }
        let mut changed = Vec::new();
        let turn = Turn {
            at_ms: self.at_ms,
            hold: *hold,
            keep_firing: *keep_firing,
            limit: self.group.limit,
            holding,
            changed: &mut changed,
        };
        let Turned { alerts, samples } = turn
            .go_on(progress.alerts.clone(), self.stamped_ms)
            .map_err(|message| Failure { message, clears: true })?;
        // Recorded before they are restored, they would hide since when they are active.
        let samples = if progress.restored { samples } else { Vec::new() };
        Ok(Valued { samples, alerts, changed })
    }

    fn alert(&self, point: &Point) -> Alert {
        let ask = |query: &str| {
            let expression = self.world.engine.parse(query).map_err(|error| error.to_string())?;
            self.points(&expression, self.at_ms)
        };
        let given = Given {
            labels: &point.labels,
            value: &point.value,
            external_labels: self.world.external_labels,
            external_url: self.world.external_url,
            at_ms: self.at_ms,
            ask: &ask,
        };
        let (mut labels, mut said) = (point.labels.with(METRIC_NAME, ""), BTreeMap::new());
        if let Purpose::Alert { labels: added, annotations, .. } = &self.rule.kind {
            for (name, template) in added {
                labels = labels.with(name, &template.expand(&given));
            }
            for (name, template) in annotations {
                said.insert(name.clone(), template.expand(&given));
            }
        }
        let value = match &point.value {
            Value::Float(value) => *value,
            // As Prometheus: what is alarmed about is a number.
            Value::Histogram(_) => 0.0,
        };
        Alert {
            labels: labels.with(ALERT_NAME, &self.rule.name),
            annotations: said,
            value,
            phase: Phase::Pending,
            active_at_ms: self.at_ms,
            fired_at_ms: None,
            keep_firing_since_ms: None,
        }
    }
}
