//! What belongs together on the time line, and what changed before (SPEC O5).
//!
//! In: what happened in a window, who calls whom, and what each service did in steps (calls, errors, time). Out: the
//! same happenings in order, groups of troubles that belong together, patterns with their evidence, and the changes
//! before. The order of the input makes no difference, and nothing outside the window is used or named.
//!
//! Confidence is worked out from the evidence (0 to 100), by the formula of each pattern:
//!
//! | pattern | confidence |
//! |---|---|
//! | slow traces with errors | 100 · √(slowness · failure), see [`incident`] |
//! | deployment, then regression | 100 · (2A − 1) · (1 − p) ÷ changes that could explain it, see [`regression`] |
//! | shared dependency | 100 · F₁ · n ÷ (n + 1), see [`shared`] |
//!
//! Deliberately absent: I/O, a clock, and any say in a repair. The answer is for people: it may hold experiments, of
//! which the loop must not know.

mod graph;
pub mod groups;
pub mod incident;
pub mod regression;
pub mod shared;
pub mod shift;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use domain::{Bearing, Happening, HappeningKind, Percent};
use serde::Serialize;

pub use graph::Graph;
pub use shift::{Figure, Shift};

/// Troubles of neighbours that begin or end this far apart belong together, microseconds.
pub const TOGETHER_US: i64 = 60_000_000;

/// Most patterns of one answer; what would follow is surer of nothing.
pub const PATTERNS_MAX: usize = 20;

/// A range of time, both ends of which belong to it; microseconds of the wall clock since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Where it begins.
    pub from_us: i64,
    /// Where it ends.
    pub to_us: i64,
}

impl Span {
    /// Whether a happening lasted into it.
    pub fn holds(self, happening: &Happening) -> bool {
        happening.is_within(self.from_us, self.to_us)
    }
}

/// What a service was asked in one step of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The step; its end does not belong to it.
    pub span: Span,
    /// Calls that began in it.
    pub calls: f64,
    /// Of these, failed.
    pub errors: f64,
    /// 95th percentile of their time in milliseconds; `None` without calls.
    pub p95_ms: Option<f64>,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Nothing outside of it is looked at.
    pub window: Span,
    /// The time that is of interest: changes after it explain nothing.
    pub around_us: i64,
    /// Only what has to do with this service: it, whom it calls and who calls it, directly or through others.
    pub service: Option<&'a str>,
    /// What happened, in any order.
    pub happenings: &'a [Happening],
    /// Who calls whom.
    pub graph: &'a Graph,
    /// What each service was asked, in steps, in any order.
    pub steps: &'a BTreeMap<String, Vec<Step>>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Correlation {
    /// The window that was looked at.
    pub window: Span,
    /// What happened in it, by time.
    pub events: Vec<Happening>,
    /// Ids of troubles, and of what was done about them, that belong together; each at least two, by time.
    pub groups: Vec<groups::Group>,
    /// What they look like, the surest first.
    pub patterns: Vec<Pattern>,
    /// What changed before, the nearest first.
    pub changes: Vec<Change>,
}

/// What a pattern is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PatternName {
    /// Answers of a service, or of those around it, are slow and fail at once.
    SlowTracesWithErrors,
    /// A service is worse since it was deployed.
    DeploymentThenRegression,
    /// Several services fail within a minute that call the same one.
    SharedDependency,
}

/// Happenings that look like something known.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    /// Like what.
    pub name: PatternName,
    /// 0 to 100; the formula is the pattern's.
    pub confidence: Percent,
    /// The service that the evidence points to.
    pub service: String,
    /// When it began.
    pub from_us: i64,
    /// One plain sentence.
    pub sentence: String,
    /// What speaks for it, a clause with figures each.
    pub evidence: Vec<String>,
    /// The ids of what it is made of, by time.
    pub events: Vec<String>,
    /// That service and everybody whose requests reach it, directly or through others.
    pub affected_services: BTreeSet<String>,
}

/// Something that changed before.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The id of the happening.
    pub id: String,
    /// Microseconds from its beginning to the time that is of interest.
    pub before_us: i64,
    /// Calls from the nearest service in trouble (or the one asked about) to the one that changed: 0 for the same;
    /// `None` where there is no way, or it concerns no service.
    pub distance: Option<usize>,
}

/// Answers.
pub fn correlate(question: &Question<'_>) -> Correlation {
    let related = question.service.map(|service| question.graph.related(service));
    let concerns = |happening: &Happening| {
        let mut services = happening.services().peekable();
        related
            .as_ref()
            .is_none_or(|related| services.peek().is_none() || services.any(|name| related.contains(name)))
    };
    let mut events: Vec<Happening> = question
        .happenings
        .iter()
        .filter(|happening| question.window.holds(happening) && concerns(happening))
        .cloned()
        .collect();
    sort(&mut events);
    let steps = within(question.steps, question.window);
    let seen = Seen { window: question.window, events: &events, graph: question.graph, steps: &steps };
    let groups = groups::groups(&seen);
    let mut patterns = incident::find(&seen, &groups);
    patterns.extend(regression::find(&seen));
    patterns.extend(shared::find(&seen));
    patterns.sort_by(|a, b| {
        b.confidence.0.total_cmp(&a.confidence.0).then_with(|| {
            (a.name, a.from_us, &a.service, &a.events).cmp(&(b.name, b.from_us, &b.service, &b.events))
        })
    });
    patterns.truncate(PATTERNS_MAX);
    let changes = changes(&seen, question);
    Correlation { window: question.window, groups, patterns, changes, events }
}

/// What a pattern is looked for in: all of it within the window, in order.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub(crate) window: Span,
    pub(crate) events: &'a [Happening],
    pub(crate) graph: &'a Graph,
    pub(crate) steps: &'a BTreeMap<&'a str, Vec<Step>>,
}

impl Seen<'_> {
    fn steps_of(&self, service: &str) -> &[Step] {
        self.steps.get(service).map_or(&[], Vec::as_slice)
    }
}

/// By time, then by kind and id, so that the order of the input makes no difference; what was given twice counts
/// once.
fn sort(events: &mut Vec<Happening>) {
    events.sort_by(|a, b| {
        let key =
            |h: &Happening| (h.from_us, h.kind, h.id.clone(), h.to_us.unwrap_or(i64::MAX), h.title.clone());
        key(a).cmp(&key(b))
    });
    events.dedup_by(|b, a| (a.kind, &a.id) == (b.kind, &b.id));
}

fn within(all: &BTreeMap<String, Vec<Step>>, window: Span) -> BTreeMap<&str, Vec<Step>> {
    let clip = |steps: &Vec<Step>| {
        let inside = |step: &&Step| {
            step.span.from_us >= window.from_us && step.span.to_us <= window.to_us && step.calls > 0.0
        };
        let mut steps: Vec<Step> = steps.iter().filter(inside).copied().collect();
        steps.sort_by(|a, b| {
            let figures = a.calls.total_cmp(&b.calls).then(a.errors.total_cmp(&b.errors));
            (a.span.from_us, a.span.to_us).cmp(&(b.span.from_us, b.span.to_us)).then(figures)
        });
        steps
    };
    all.iter().map(|(service, steps)| (service.as_str(), clip(steps))).collect()
}

/// The changes that began by the time that is of interest. Those of services that the troubled ones need come first.
fn changes(seen: &Seen<'_>, question: &Question<'_>) -> Vec<Change> {
    let troubled: BTreeSet<&str> = match question.service {
        Some(service) => BTreeSet::from([service]),
        None => seen
            .events
            .iter()
            .filter(|event| is_trouble(event) && event.from_us <= question.around_us)
            .flat_map(Happening::services)
            .collect(),
    };
    let distances = question.graph.distances(&troubled);
    let before = seen.events.iter().filter(|event| is_change(event) && event.from_us <= question.around_us);
    let mut changes: Vec<Change> = before
        .map(|event| Change {
            id: event.id.clone(),
            before_us: question.around_us - event.from_us,
            distance: event.service.as_deref().and_then(|service| distances.get(service).copied()),
        })
        .collect();
    changes.sort_by(|a, b| {
        let key =
            |change: &Change| (change.distance.unwrap_or(usize::MAX), change.before_us, change.id.clone());
        key(a).cmp(&key(b))
    });
    changes
}

/// Whether the world was changed by it: what never took effect, such as a plan that waits for somebody, changed nothing.
pub(crate) fn is_change(event: &Happening) -> bool {
    event.kind.is_change() && event.bearing != Bearing::Unclear
}

/// Whether something is wrong there.
pub(crate) fn is_trouble(event: &Happening) -> bool {
    match event.kind {
        HappeningKind::Issue | HappeningKind::Incident | HappeningKind::Anomaly | HappeningKind::Alert => {
            true
        }
        HappeningKind::Trace => !event.signs.is_empty(),
        HappeningKind::Deployment | HappeningKind::Experiment | HappeningKind::Remediation => false,
    }
}

/// `3 of 4 services`, `1 deployment`.
pub(crate) fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
