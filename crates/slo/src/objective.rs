//! What is promised of a service, whatever file it was written in.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::SloSeverity;

use crate::burn::{BurnTable, Factor, Pair};
use crate::indicator::{Events, Good, Indicator, Promql};
use crate::minutes::Minutes;
use crate::target::{Target, WHOLE};

/// A service level objective.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// Names it among all: of Sloth and OpenSLO `SERVICE-NAME`, of Pyrra `NAMESPACE-NAME`.
    pub id: String,
    /// Names it within its service.
    pub name: String,
    /// The service it is about.
    pub service: String,
    /// What it is for, in words; may be empty.
    pub description: String,
    /// Labels for its series and alerts.
    pub labels: BTreeMap<String, String>,
    /// What is counted.
    pub indicator: Indicator,
    /// The share of it that has to be good.
    pub target: Target,
    /// The rolling window over which that has to hold: [`PERIOD_MIN`] to [`PERIOD_MAX`].
    pub period: Minutes,
    /// What the error budget is a budget of.
    pub budgeting: Budgeting,
    /// When to tell whom.
    pub alerts: Vec<AlertRule>,
    /// The kind of file it is from.
    pub format: Format,
}

/// The shortest period: below it the windows that page would be shorter than the minutes that are counted.
pub const PERIOD_MIN: Minutes = Minutes::days(1);

/// The longest period, a quarter: what the counts of one objective may take in memory is bounded by it.
pub const PERIOD_MAX: Minutes = Minutes::days(90);

/// The longest time slice.
pub const SLICE_MAX: Minutes = Minutes::days(1);

/// The kind of file an objective is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// `apiVersion: openslo/v1`.
    OpenSlo,
    /// `version: prometheus/v1`.
    Sloth,
    /// `apiVersion: sloth.slok.dev/v1`.
    SlothKubernetes,
    /// `apiVersion: pyrra.dev/v1alpha1`.
    Pyrra,
}

/// What the error budget is a budget of, as OpenSLO names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budgeting {
    /// Events: every one counts the same.
    Occurrences,
    /// Time slices: one is bad where less than `least` of its events are good. A slice without events counts neither
    /// way.
    Timeslices {
        /// The length of a slice.
        slice: Minutes,
        /// The share of a slice's events that has to be good.
        least: SliceTarget,
    },
    /// The mean of the time slices' shares of good events. A slice without events counts neither way.
    RatioTimeslices {
        /// The length of a slice.
        slice: Minutes,
    },
}

/// A share from nothing to all, in parts of a billion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SliceTarget(u32);

impl SliceTarget {
    /// Of a share of 1. `None` outside 0 to 1; finer than a billionth is rounded.
    pub(crate) fn from_ratio(ratio: f64) -> Option<Self> {
        (0.0..=1.0).contains(&ratio).then(|| Self((ratio * f64::from(WHOLE)).round() as u32))
    }

    /// In parts of a billion.
    pub(crate) fn billionths(self) -> u32 {
        self.0
    }
}

impl Budgeting {
    /// The length of what is counted as one.
    pub fn cell(self) -> Minutes {
        match self {
            Self::Occurrences => Minutes::new(1),
            Self::Timeslices { slice, .. } | Self::RatioTimeslices { slice } => slice,
        }
    }
}

/// When to tell whom that an error budget burns too fast.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRule {
    /// The name of the alert.
    pub name: String,
    /// Whom it concerns.
    pub severity: SloSeverity,
    /// Labels of the alert beside the objective's.
    pub labels: BTreeMap<String, String>,
    /// Texts for people, by name.
    pub annotations: BTreeMap<String, String>,
    /// One of them is enough.
    pub when: Vec<Burning>,
    /// Tell as well where nothing was measured for so long (OpenSLO's `alertWhenNoData`).
    pub no_data: Option<Minutes>,
    /// How long it has to hold before it is told.
    pub hold: Duration,
    /// How long it is told on after it last held, so that it does not flap.
    pub keep_firing: Duration,
    /// Whether it is told when it is over.
    pub resolved: Resolved,
    /// Who is to be told, as the file names them.
    pub targets: Vec<String>,
}

/// A page is over five minutes after it last held, the short window of the pair that pages first; a ticket after half an
/// hour. Both are longer than a minute, at whose turn a rate near its limit may go either way.
const KEEP_FIRING: [(SloSeverity, Duration); 2] =
    [(SloSeverity::Page, Duration::from_secs(5 * 60)), (SloSeverity::Ticket, Duration::from_secs(30 * 60))];

impl AlertRule {
    /// The multi-window, multi-burn-rate alert of a period: it begins at once, for its windows are what waits.
    pub(crate) fn by_burn_table(name: &str, severity: SloSeverity, period: Minutes) -> Self {
        let table = BurnTable::of(period);
        let pairs = match severity {
            SloSeverity::Page => table.page,
            SloSeverity::Ticket => table.ticket,
        };
        let burning = |pair: Pair| Burning {
            short: Some(pair.short),
            long: pair.long,
            factor: pair.factor(period),
            bound: Bound::Above,
        };
        let keep = KEEP_FIRING.iter().find(|(known, _)| *known == severity);
        Self {
            name: name.to_owned(),
            severity,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            when: pairs.map(burning).into(),
            no_data: None,
            hold: Duration::ZERO,
            keep_firing: keep.map_or(Duration::ZERO, |(_, keep)| *keep),
            resolved: Resolved::Told,
            targets: Vec::new(),
        }
    }
}

/// Whether the end of an alert is told (OpenSLO's `alertWhenResolved`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolved {
    /// It is.
    Told,
    /// It is not.
    Silent,
}

/// A rate of burning that is too fast: over the long window, and over the short one as well where there is one, so that
/// what is over stops being told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burning {
    /// Says whether it still burns.
    pub short: Option<Minutes>,
    /// Says whether it matters.
    pub long: Minutes,
    /// How many times as fast as is affordable.
    pub factor: Factor,
    /// From where on it is too fast.
    pub bound: Bound,
}

/// Whether a limit itself is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Only more than the limit is.
    Above,
    /// The limit is.
    AtLeast,
}

/// What an objective is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// The share of events that are good.
    Availability,
    /// The share of events that are fast enough.
    Latency,
    /// The share of events that fail.
    ErrorRate,
    /// The share of attempts that succeed.
    SuccessRate,
}

impl Metric {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Availability => "availability",
            Self::Latency => "latency",
            Self::ErrorRate => "error_rate",
            Self::SuccessRate => "success_rate",
        }
    }
}

impl Objective {
    /// What it is about, told from what it counts. PromQL does not tell a latency from other good events, so of those
    /// only Pyrra's indicators of latency are known as such.
    pub fn metric(&self) -> Metric {
        match &self.indicator {
            Indicator::Exact(exact) => match (exact.good, &exact.events) {
                (Good::Faster(_) | Good::AtMost(_), _) => Metric::Latency,
                (_, Events::Remediations) => Metric::SuccessRate,
                (Good::Succeeded, _) => Metric::Availability,
                (Good::NotFailed, _) => Metric::ErrorRate,
            },
            Indicator::Promql(Promql::Good { latency: Some(_), .. }) => Metric::Latency,
            Indicator::Promql(Promql::Good { .. }) => Metric::Availability,
            Indicator::Promql(Promql::Bad { .. } | Promql::ErrorRatio { .. }) => Metric::ErrorRate,
        }
    }

    /// The limit of a latency; `None` where it is about something else.
    pub fn threshold(&self) -> Option<Duration> {
        match &self.indicator {
            Indicator::Exact(exact) => match exact.good {
                Good::Faster(limit) | Good::AtMost(limit) => Some(limit),
                Good::Succeeded | Good::NotFailed => None,
            },
            Indicator::Promql(Promql::Good { latency, .. }) => *latency,
            Indicator::Promql(_) => None,
        }
    }

    /// Every window its alerts look at, and its period; sorted, each once.
    pub fn windows(&self) -> Vec<Minutes> {
        let burning = self.alerts.iter().flat_map(|alert| &alert.when);
        let burning = burning.flat_map(|burning| burning.short.into_iter().chain([burning.long]));
        let silent = self.alerts.iter().filter_map(|alert| alert.no_data);
        let table = BurnTable::of(self.period);
        let mut windows: Vec<Minutes> =
            table.windows().into_iter().chain(burning).chain(silent).chain([self.period]).collect();
        windows.sort_unstable();
        windows.dedup();
        windows
    }
}
