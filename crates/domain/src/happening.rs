//! What lies on the time line: deployments, alerts, issues, incidents, anomalies, experiments, repairs, traces.
//!
//! In: nothing. Out: one value for all of them, so that they can be shown on one axis and looked at together.
//!
//! Times are those of the wall clock alone, in microseconds since 1970: much of this comes from outside or from before
//! a reboot, where no boot clock says anything. Services are text: spans and posted events name what is no service
//! of ours.
//!
//! Deliberately absent: whether two of them have to do with each other; that is `decide::correlate`. The loop is not
//! shown experiments here either (see [`crate::snapshot`]): this is for people.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::issue::{IssueKind, Severity};

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HappeningKind {
    /// Another version of a service began to run.
    Deployment,
    /// A rule or an objective said that somebody has to look.
    Alert,
    /// Detection found something out of its bounds.
    Issue,
    /// People took something for one event.
    Incident,
    /// A series left its usual course.
    Anomaly,
    /// A fault was injected on purpose.
    Experiment,
    /// A plan repaired, or tried to.
    Remediation,
    /// A trace that stands for many: slow, or failed.
    Trace,
}

/// A row of the time line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// What is left of error budgets: a line, with no happenings of its own.
    Budget,
    /// Issues, incidents, anomalies.
    Issues,
    /// Repairs.
    Actions,
    /// What was injected on purpose.
    Faults,
    /// Other versions.
    Deployments,
    /// Alerts.
    Alerts,
    /// Slow and failed traces.
    Traces,
}

/// What can be seen of a trouble from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// Answers come late.
    Slow,
    /// Answers are errors, or do not come.
    Errors,
}

/// How it is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bearing {
    /// It ended well.
    Well,
    /// Something was changed; neither well nor bad.
    Change,
    /// Somebody has to look, today.
    Attention,
    /// Users are hurt, or may be.
    Bad,
    /// We did it ourselves, on purpose.
    Disturbance,
    /// It has not taken effect, and may never.
    Unclear,
}

/// Where more of it is to be found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HappeningLink {
    /// What is there: `page`, `trace`, `logs`, `metrics`, `source`.
    pub rel: String,
    /// The address: a path of the gateway, or of somebody else's with its scheme.
    pub href: String,
}

/// One thing on the time line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Happening {
    /// Names it for good, and apart from those of other kinds.
    pub id: String,
    /// What kind of thing.
    pub kind: HappeningKind,
    /// When it began, microseconds of the wall clock since 1970.
    pub from_us: i64,
    /// When it ended, not before it began; `None` while it goes on. What has no length ends when it begins.
    pub to_us: Option<i64>,
    /// The service it lies on; for what was seen on a path, the callee. `None`: it concerns no service alone.
    pub service: Option<String>,
    /// For what was seen on a path, who called.
    pub caller: Option<String>,
    /// A few words, to stand beside its mark.
    pub label: String,
    /// One plain sentence with figures.
    pub title: String,
    /// How bad it was; `None` for what is no trouble.
    pub severity: Option<Severity>,
    /// How it is to be read.
    pub bearing: Bearing,
    /// What can be seen of it from outside; empty for what is no trouble, or of which that is not known.
    pub signs: BTreeSet<Sign>,
    /// The id of what brought it about: of the issue that a repair is for.
    pub of: Option<String>,
    /// Where more of it is to be found, the best first.
    pub links: Vec<HappeningLink>,
}

impl HappeningKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Deployment,
        Self::Alert,
        Self::Issue,
        Self::Incident,
        Self::Anomaly,
        Self::Experiment,
        Self::Remediation,
        Self::Trace,
    ];

    /// The name in the API, the CLI and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::Alert => "alert",
            Self::Issue => "issue",
            Self::Incident => "incident",
            Self::Anomaly => "anomaly",
            Self::Experiment => "experiment",
            Self::Remediation => "remediation",
            Self::Trace => "trace",
        }
    }

    /// Whether the world was changed by it, by people or by us.
    pub fn is_change(self) -> bool {
        matches!(self, Self::Deployment | Self::Experiment | Self::Remediation)
    }

    /// The row it stands in.
    pub fn lane(self) -> Lane {
        match self {
            Self::Issue | Self::Incident | Self::Anomaly => Lane::Issues,
            Self::Remediation => Lane::Actions,
            Self::Experiment => Lane::Faults,
            Self::Deployment => Lane::Deployments,
            Self::Alert => Lane::Alerts,
            Self::Trace => Lane::Traces,
        }
    }
}

impl Lane {
    /// Every lane, from top to bottom.
    pub const ALL: [Self; 7] = [
        Self::Budget,
        Self::Issues,
        Self::Actions,
        Self::Faults,
        Self::Deployments,
        Self::Alerts,
        Self::Traces,
    ];

    /// The name in the API and the CLI.
    pub fn name(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Issues => "issues",
            Self::Actions => "actions",
            Self::Faults => "faults",
            Self::Deployments => "deployments",
            Self::Alerts => "alerts",
            Self::Traces => "traces",
        }
    }
}

impl Sign {
    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Errors => "errors",
        }
    }

    /// What an issue of a type shows from outside; `None` where that is not known.
    pub fn of_issue(kind: IssueKind) -> Option<Self> {
        match kind {
            IssueKind::NetworkLatency | IssueKind::DatabaseSlow => Some(Self::Slow),
            IssueKind::PodCrash | IssueKind::ErrorRate => Some(Self::Errors),
            IssueKind::HighCpu
            | IssueKind::HighMemory
            | IssueKind::DiskFull
            | IssueKind::CertificateExpiry
            | IssueKind::SecurityVulnerability
            | IssueKind::ConfigurationDrift
            | IssueKind::SloBurn
            | IssueKind::Alert => None,
        }
    }
}

impl Bearing {
    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Change => "change",
            Self::Attention => "attention",
            Self::Bad => "bad",
            Self::Disturbance => "disturbance",
            Self::Unclear => "unclear",
        }
    }

    /// Of a trouble of a severity.
    pub fn of_severity(severity: Severity) -> Self {
        match severity {
            Severity::Critical | Severity::High => Self::Bad,
            Severity::Medium | Severity::Low => Self::Attention,
        }
    }
}

impl Happening {
    /// Whether it lasted into a range of time, both ends of which belong to it.
    pub fn is_within(&self, from_us: i64, to_us: i64) -> bool {
        self.from_us <= to_us && self.to_us.is_none_or(|end| end >= from_us)
    }

    /// The services it concerns: where it lies, and who called.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.service.as_deref().into_iter().chain(self.caller.as_deref())
    }
}

macro_rules! display_name {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    )*};
}
display_name!(HappeningKind, Lane, Sign, Bearing);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_within_every_later_range() {
        let mut happening = Happening {
            id: "a".to_owned(),
            kind: HappeningKind::Issue,
            from_us: 100,
            to_us: None,
            service: Some("cart".to_owned()),
            caller: Some("front".to_owned()),
            label: String::new(),
            title: String::new(),
            severity: None,
            bearing: Bearing::Bad,
            signs: BTreeSet::new(),
            of: None,
            links: Vec::new(),
        };
        assert!(happening.is_within(500, 600));
        assert!(happening.is_within(0, 100), "an end belongs to the range");
        assert!(!happening.is_within(0, 99));
        happening.to_us = Some(200);
        assert!(happening.is_within(200, 300));
        assert!(!happening.is_within(201, 300));
        assert_eq!(happening.services().collect::<Vec<_>>(), ["cart", "front"]);
    }
}
