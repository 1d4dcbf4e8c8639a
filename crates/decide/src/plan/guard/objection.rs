//! Everything the guard can object to, one variant a rule, each with the limit and the value seen.

use std::fmt;
use std::time::Duration;

use domain::units::show_duration;
use domain::{
    InstanceName, IssueKind, LinkName, Percent, PlanId, ResourceId, ServiceName, Severity, Strategy, Time,
};

use crate::plan::check::Note;
use crate::plan::guard::Activity;
use crate::plan::policy::Rung;

/// Why a plan may not run now.
#[derive(Debug, Clone, PartialEq)]
pub enum Objection {
    /// The plan checker found something that must not run.
    Flawed(Note),
    /// The emergency stop is latched.
    EmergencyStop,
    /// The service is labelled hands-off.
    HandsOff(ServiceName),
    /// A resource was not seen in the snapshot: unknown, and so not touched.
    UnknownResource(ResourceId),
    /// What was seen is too old to act on.
    StaleSnapshot {
        /// Oldest allowed.
        limit: Duration,
        /// Its age.
        seen: Duration,
    },
    /// Dry run: the plan is shown, nothing is changed.
    DryRun,
    /// An operator paused the service.
    Paused {
        /// Which.
        service: ServiceName,
        /// Until when; `None`: until somebody resumes it.
        until: Option<Time>,
    },
    /// A change of version or replicas is under way.
    RollingOut(ServiceName),
    /// The service began to run something else after the plan that changes what it runs was made.
    DeployedSince {
        /// Which service.
        service: ServiceName,
        /// What it runs since then, where that has a name.
        version: Option<String>,
    },
    /// Another plan works on the same resource.
    Busy {
        /// On what.
        resource: ResourceId,
        /// Which plan.
        plan: PlanId,
        /// What it does there.
        activity: Activity,
    },
    /// Too many instances of a service would be disturbed or repaired at a time.
    InstanceSlots {
        /// Of which service.
        service: ServiceName,
        /// Most at a time.
        limit: u32,
        /// With this plan.
        seen: u32,
    },
    /// No backend would be left behind a link.
    NoBackendLeft(LinkName),
    /// The only ready instance of a service that has several would be stopped.
    LastReady(InstanceName),
    /// Many instances would be deleted.
    BulkDeletion {
        /// From this many a person decides.
        limit: u32,
        /// Would be deleted.
        seen: u32,
    },
    /// A whole Infrastructure would be taken down: every instance of every service, with its volume.
    WholeDeletion {
        /// Which.
        infrastructure: ServiceName,
        /// How many instances.
        seen: u32,
    },
    /// A whole Infrastructure that is declared as production would be brought up or taken down.
    ProductionInfrastructure(ServiceName),
    /// Something is up already, and one Infrastructure is kept at a time.
    SomethingIsUp(ServiceName),
    /// A step cannot be taken back, and policy does not name it.
    Irreversible(usize),
    /// AUTO_REMEDIATION_ENABLED is off.
    AutomationOff,
    /// The rung of the strategy on the service is below auto.
    Ladder {
        /// Which service.
        service: ServiceName,
        /// Which strategy.
        strategy: Strategy,
        /// Its rung.
        rung: Rung,
    },
    /// The strategy failed too often on the service and is no longer automatic there.
    Demoted {
        /// Which service.
        service: ServiceName,
        /// Which strategy.
        strategy: Strategy,
        /// From this many failures.
        limit: u32,
        /// Failures.
        seen: u32,
    },
    /// The diagnosis is not sure enough.
    Confidence {
        /// Least.
        limit: Percent,
        /// Stated.
        seen: Percent,
    },
    /// The issue is of a severity that is left to people.
    Severity {
        /// Least.
        limit: Severity,
        /// Of the issue.
        seen: Severity,
    },
    /// Too many remediations failed.
    FailureRate {
        /// Most.
        limit: Percent,
        /// Seen.
        seen: Percent,
        /// Over how many.
        runs: u32,
    },
    /// The same type of issue came back on the same resource again and again.
    Repeats {
        /// Where.
        resource: ResourceId,
        /// Which type.
        kind: IssueKind,
        /// From this many.
        limit: u32,
        /// Remediations in the window.
        seen: u32,
        /// The window.
        window: Duration,
    },
    /// Too many remediations of one resource.
    PerResource {
        /// Which.
        resource: ResourceId,
        /// Most.
        limit: u32,
        /// In the window.
        seen: u32,
        /// The window.
        window: Duration,
    },
    /// Too many remediations.
    InAll {
        /// Most.
        limit: u32,
        /// In the window.
        seen: u32,
        /// The window.
        window: Duration,
    },
    /// Too many remediations at a time.
    AtATime {
        /// Most.
        limit: u32,
        /// Running.
        seen: u32,
    },
    /// The same strategy was tried on the same resource a moment ago.
    Cooldown {
        /// Which resource.
        resource: ResourceId,
        /// Which strategy.
        strategy: Strategy,
        /// Least time between two starts.
        limit: Duration,
        /// Since the last start.
        seen: Duration,
    },
    /// Much of the fleet is unwell: only plain restarts go on, and a person is called.
    Storm {
        /// More than this share.
        limit: Percent,
        /// Instances that are unwell.
        unwell: u32,
        /// Of how many.
        of: u32,
    },
    /// In a storm restarts are paced.
    StormPace {
        /// Least time between two starts.
        limit: Duration,
        /// Since the last start.
        seen: Duration,
    },
    /// The service is never a target of a fault.
    Protected(ServiceName),
    /// A fault on the machine itself would cut our own control path.
    ControlPath(ResourceId),
    /// Faults in production need an approval.
    ProductionFault,
    /// Too many faults at a time.
    FaultsAtATime {
        /// Most.
        limit: u32,
        /// With this plan.
        seen: u32,
    },
    /// Too many instances would be disturbed at a time.
    BlastRadius {
        /// Most instances.
        limit: u32,
        /// With this plan.
        seen: u32,
    },
    /// The fleet is not well enough to be disturbed.
    UnhealthyFleet {
        /// Least share of healthy services.
        limit: Percent,
        /// Seen.
        seen: Percent,
    },
}

/// What an objection comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Not now.
    Wait,
    /// Not as it is.
    Refuse,
}

/// Whose word makes an objection void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiftedBy {
    /// Nobody's.
    Nobody,
    /// An approval of this very plan.
    Approval,
    /// An approval, or that an operator asked for the plan.
    AnyPerson,
}

impl Objection {
    /// Whether it makes the plan wait or refuses it.
    pub fn weight(&self) -> Weight {
        match self {
            Self::Flawed(_)
            | Self::EmergencyStop
            | Self::HandsOff(_)
            | Self::UnknownResource(_)
            | Self::NoBackendLeft(_)
            | Self::Protected(_)
            | Self::SomethingIsUp(_)
            | Self::ControlPath(_)
            | Self::DeployedSince { .. }
            | Self::Ladder { rung: Rung::Observe, .. } => Weight::Refuse,
            _ => Weight::Wait,
        }
    }

    /// Whose word makes it void.
    pub fn lifted_by(&self) -> LiftedBy {
        match self {
            Self::Ladder { rung: Rung::Observe, .. } => LiftedBy::Nobody,
            Self::LastReady(_)
            | Self::Irreversible(_)
            | Self::AutomationOff
            | Self::Ladder { .. }
            | Self::Demoted { .. }
            | Self::Confidence { .. }
            | Self::Severity { .. }
            | Self::FailureRate { .. }
            | Self::Repeats { .. } => LiftedBy::AnyPerson,
            Self::BulkDeletion { .. }
            | Self::WholeDeletion { .. }
            | Self::ProductionInfrastructure(_)
            | Self::ProductionFault => LiftedBy::Approval,
            _ => LiftedBy::Nobody,
        }
    }

    /// When it ends by itself, where that is known beforehand. What ends with another plan, or by a person, has
    /// no time, nor has a rate: its window opens bit by bit.
    pub fn ends_at(&self, now: Time) -> Option<Time> {
        match self {
            Self::Cooldown { limit, seen, .. } | Self::StormPace { limit, seen } => {
                Some(now.plus(limit.saturating_sub(*seen)))
            }
            Self::Paused { until, .. } => *until,
            _ => None,
        }
    }

    /// Whether somebody has to be called, not only shown something.
    pub fn calls_a_person(&self) -> bool {
        matches!(self, Self::Storm { .. } | Self::FailureRate { .. } | Self::Repeats { .. })
    }
}

impl fmt::Display for Objection {
    #[expect(clippy::too_many_lines, reason = "a sentence for each objection, and nothing else")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |duration: &Duration| show_duration(*duration);
        match self {
            Self::Flawed(note) => note.fmt(f),
            Self::EmergencyStop => f.write_str("the emergency stop is latched; clear it first"),
            Self::HandsOff(service) => write!(f, "{service} is labelled hands-off"),
            Self::UnknownResource(resource) => write!(f, "{resource} was not seen, so it is not touched"),
            Self::StaleSnapshot { limit, seen } => {
                write!(f, "what was seen is {} old, at most {} are allowed", span(seen), span(limit))
            }
            Self::DryRun => f.write_str("dry run: the plan is shown and nothing is changed"),
            Self::Paused { service, until: Some(until) } => {
                write!(f, "{service} is paused until {}", until.rfc3339())
            }
            Self::Paused { service, until: None } => write!(f, "{service} is paused until it is resumed"),
            Self::RollingOut(service) => write!(f, "{service} is being rolled out"),
            Self::DeployedSince { service, version } => {
                let version = version.as_deref().unwrap_or("another release");
                write!(
                    f,
                    "{service} was given {version} since this was planned; what it would replace is gone"
                )
            }
            Self::Busy { resource, plan, activity: Activity::Fault } => {
                write!(
                    f,
                    "a fault is in effect on {resource} (plan {plan}); it ends by itself, or is aborted"
                )
            }
            Self::Busy { resource, plan, activity: Activity::Remediation } => {
                write!(f, "plan {plan} repairs {resource}; try again when it has ended")
            }
            Self::Busy { resource, plan, activity: Activity::Operation } => {
                write!(f, "plan {plan} changes {resource}; try again when it has ended")
            }
            Self::InstanceSlots { service, limit, seen } => {
                write!(
                    f,
                    "{seen} instances of {service} would be disturbed or repaired at a time, at most {limit} may be"
                )
            }
            Self::NoBackendLeft(link) => write!(f, "no instance would be left behind {link}"),
            Self::LastReady(instance) => write!(f, "{instance} is the only ready instance of its service"),
            Self::BulkDeletion { limit, seen } => {
                write!(f, "{seen} instances would be deleted; from {limit} on it needs an approval")
            }
            Self::WholeDeletion { infrastructure, seen } => write!(
                f,
                "all {seen} instances of {infrastructure} would be ended and their volumes removed, which needs an approval"
            ),
            Self::ProductionInfrastructure(name) => {
                write!(f, "{name} is declared as production, so this needs an approval")
            }
            Self::SomethingIsUp(name) => {
                write!(f, "{name} is up already and one Infrastructure is kept at a time; take it down first")
            }
            Self::Irreversible(step) => {
                write!(
                    f,
                    "steps[{step}] cannot be taken back and policy does not name it, so it needs an approval"
                )
            }
            Self::AutomationOff => f.write_str("automatic remediation is switched off"),
            Self::Ladder { service, strategy, rung } => {
                write!(f, "{strategy} is on {} for {service}, not on auto", rung.name())
            }
            Self::Demoted { service, strategy, limit, seen } => {
                write!(f, "{strategy} failed {seen} times on {service}; from {limit} on it needs an approval")
            }
            Self::Confidence { limit, seen } => {
                write!(f, "the diagnosis is {seen} sure; below {limit} it needs an approval")
            }
            Self::Severity { limit, seen } => {
                write!(f, "the issue is {seen}; below {limit} it is left to people")
            }
            Self::FailureRate { limit, seen, runs } => {
                write!(f, "{seen} of {runs} remediations failed; above {limit} automation stops")
            }
            Self::Repeats { resource, kind, limit, seen, window } => write!(
                f,
                "{kind} on {resource} was repaired {seen} times in {}; from {limit} on its root cause needs work by a person",
                span(window)
            ),
            Self::PerResource { resource, limit, seen, window } => {
                write!(f, "{resource} was repaired {seen} times in {}, the limit is {limit}", span(window))
            }
            Self::InAll { limit, seen, window } => {
                write!(f, "{seen} remediations in {}, the limit is {limit}", span(window))
            }
            Self::AtATime { limit, seen } => write!(f, "{seen} remediations run, the limit is {limit}"),
            Self::Cooldown { resource, strategy, limit, seen } => {
                write!(
                    f,
                    "{strategy} was tried on {resource} {} ago, the next try is after {}",
                    span(seen),
                    span(limit)
                )
            }
            Self::Storm { limit, unwell, of } => write!(
                f,
                "{unwell} of {of} instances are unwell, more than {limit}: only plain restarts go on and a person is needed"
            ),
            Self::StormPace { limit, seen } => {
                write!(
                    f,
                    "the last repair began {} ago; in a storm the next is after {}",
                    span(seen),
                    span(limit)
                )
            }
            Self::Protected(service) => write!(f, "{service} is protected from faults"),
            Self::ControlPath(resource) => write!(f, "a fault on {resource} would cut our own control path"),
            Self::ProductionFault => f.write_str("a fault in production needs an approval"),
            Self::FaultsAtATime { limit, seen } => {
                write!(f, "{seen} faults would be active at a time, the limit is {limit}")
            }
            Self::BlastRadius { limit, seen } => {
                write!(f, "{seen} instances would be disturbed at a time, the limit is {limit}")
            }
            Self::UnhealthyFleet { limit, seen } => {
                write!(f, "{seen} of the services are healthy, below {limit} nothing is disturbed")
            }
        }
    }
}
