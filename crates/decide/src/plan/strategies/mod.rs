//! The strategies, one file each and one list.
//!
//! In: a case (an issue, its cause, what that needs, what was seen, what can be done). Out: a draft of a
//! plan, or the reason why the strategy does not suit. Whether it suits and what it does are answered by one
//! function, so that they cannot disagree. Deliberately absent: order and rates ([`priors`](super::priors)),
//! earlier tries ([`repair`](super::repair)) and permission ([`guard`](mod@super::guard)).

mod circuit_break_dependency;
mod cleanup_temp_files;
mod clear_caches;
mod expand_volume;
mod graceful_restart;
mod increase_cpu_limit;
mod increase_memory_limit;
mod reroute_traffic;
mod reset_connection_pool;
mod restart_pod;
mod rollback_deployment;
mod rotate_logs;
mod scale_horizontally;
mod scale_replicas;

use std::fmt;
use std::time::Duration;

use domain::snapshot::InstanceState;
use domain::{
    Action, Bytes, Cause, InstanceName, Issue, IssueKind, LinkName, LinkState, Percent, Reason, ResourceId,
    ServiceName, ServiceState, Signal, Step, Strategy,
};

use super::check::touched;
use super::context::PlanContext;
use super::need::{self, Need};
use super::steps::step;

/// The most instances a service may be declared with; see `Infrastructure::check`.
const REPLICAS_MAX: u32 = 100;

/// What a strategy would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// The signal that verifies it.
    pub verify: Signal,
    /// What will be done and why, in one sentence.
    pub summary: String,
    /// What is expected to come of it, in one sentence.
    pub expected_effect: String,
    /// Every resource it may touch or take out of use.
    pub blast_radius: Vec<ResourceId>,
    /// After this long it is taken back by itself.
    pub lift_after: Option<Duration>,
}

/// Why a strategy does not suit a case.
#[derive(Debug, Clone, PartialEq)]
pub enum Unsuited {
    /// The provider cannot do it here.
    CapabilityMissing(String),
    /// It acts on another kind of resource.
    WrongPlace(ResourceId),
    /// The resource, or what has to be known of it, was not seen.
    Unknown {
        /// Of which resource.
        resource: ResourceId,
        /// What is not known.
        what: &'static str,
    },
    /// No limit is declared that could be raised.
    NoLimit(ServiceName),
    /// It is at its maximum already.
    AtMaximum(String),
    /// Its data lives in the one volume it has; another instance would begin empty.
    SingleStore(ServiceName),
    /// There is nothing of the kind to remove.
    NothingToFree(ResourceId),
    /// It would not free enough.
    TooLittle {
        /// Could be freed.
        frees: Bytes,
        /// Has to be freed.
        needed: Bytes,
    },
    /// No instance behind the link is worse than the others.
    NoBadBackend(LinkName),
    /// No other instance behind the link is well.
    NoOtherBackend(LinkName),
    /// The caller serves nobody who would be helped by a quick answer.
    CallerServesNobody(LinkName),
    /// Nothing calls it, so there is no link to act on.
    NoCaller(ResourceId),
    /// What ran before the deployment is not known here, so it cannot be put back.
    FormerUnknown(ServiceName),
    /// It was tried for this issue within the recurrence window.
    Tried {
        /// How often.
        times: u32,
    },
}

/// What a strategy has to judge by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) issue: &'a Issue,
    pub(super) cause: &'a Cause,
    pub(super) need: &'a Need,
    pub(super) ctx: &'a PlanContext<'a>,
}

/// What `strategy` would do about the case.
pub(super) fn propose(strategy: Strategy, case: &Case<'_>) -> Result<Draft, Unsuited> {
    match strategy {
        Strategy::RestartPod => restart_pod::propose(case),
        Strategy::ScaleReplicas => scale_replicas::propose(case),
        Strategy::ScaleHorizontally => scale_horizontally::propose(case),
        Strategy::IncreaseCpuLimit => increase_cpu_limit::propose(case),
        Strategy::IncreaseMemoryLimit => increase_memory_limit::propose(case),
        Strategy::GracefulRestart => graceful_restart::propose(case),
        Strategy::CleanupTempFiles => cleanup_temp_files::propose(case),
        Strategy::RotateLogs => rotate_logs::propose(case),
        Strategy::ClearCaches => clear_caches::propose(case),
        Strategy::ExpandVolume => expand_volume::propose(case),
        Strategy::RerouteTraffic => reroute_traffic::propose(case),
        Strategy::CircuitBreakDependency => circuit_break_dependency::propose(case),
        Strategy::ResetConnectionPool => reset_connection_pool::propose(case),
        Strategy::RollbackDeployment => rollback_deployment::propose(case),
    }
}

impl<'a> Case<'a> {
    fn unknown(&self, what: &'static str) -> Unsuited {
        Unsuited::Unknown { resource: self.need.at.clone(), what }
    }

    /// The service the repair is in.
    fn service(&self) -> Result<(&'a ServiceName, &'a ServiceState), Unsuited> {
        let name = match &self.need.at {
            ResourceId::Link(_) | ResourceId::Node(_) | ResourceId::Infrastructure(_) => {
                return Err(Unsuited::WrongPlace(self.need.at.clone()));
            }
            other => other.service().ok_or_else(|| Unsuited::WrongPlace(other.clone()))?,
        };
        let state = self.ctx.snapshot.services.get(name).ok_or_else(|| self.unknown("the service"))?;
        Ok((name, state))
    }

    /// The instance the repair is in; of a service the one that needs it most.
    fn instance(&self) -> Result<(InstanceName, &'a InstanceState), Unsuited> {
        let name = match &self.need.at {
            ResourceId::Instance(name) | ResourceId::Volume(name) => Some(name.clone()),
            ResourceId::Service(service) => need::neediest(self.need.kind, service, self.ctx.snapshot),
            other => return Err(Unsuited::WrongPlace(other.clone())),
        };
        let name = name.ok_or_else(|| self.unknown("its instances"))?;
        let state = self.ctx.snapshot.instance(&name).ok_or_else(|| self.unknown("the instance"))?;
        Ok((name, state))
    }

    /// The links the repair acts on: the named one, or those into the service that are in trouble.
    fn links(&self) -> Result<Vec<(&'a LinkName, &'a LinkState)>, Unsuited> {
        if let Some(why) = self.ctx.capabilities.links.unavailable() {
            return Err(Unsuited::CapabilityMissing(why.to_owned()));
        }
        let snapshot = self.ctx.snapshot;
        if let ResourceId::Link(name) = &self.need.at {
            let found = snapshot.links.get_key_value(name).ok_or_else(|| self.unknown("the link"))?;
            return Ok(vec![found]);
        }
        let (service, _) = self.service()?;
        let links: Vec<_> = snapshot
            .links_to(service)
            .filter(|(name, state)| need::link_is_bad(name, state, snapshot, self.ctx.thresholds))
            .take(super::check::STEPS_MAX)
            .collect();
        if links.is_empty() { Err(Unsuited::NoCaller(self.need.at.clone())) } else { Ok(links) }
    }

    fn signal(&self, kind: IssueKind, resource: ResourceId) -> Signal {
        let times = self.ctx.policy.verification;
        Signal { kind, resource, deadline: times.deadline, hold: times.hold }
    }

    /// The issue's own signal.
    fn own_signal(&self) -> Signal {
        self.signal(self.issue.kind, self.issue.resource.clone())
    }

    /// The signal of the callers of `service`, where a repair takes it, or a part of it, out of use: the
    /// busiest link into it; the issue's own where nobody calls it.
    fn callers_signal(&self, service: &ServiceName, kind: IssueKind) -> Signal {
        let busiest = self.ctx.snapshot.links_to(service).max_by_key(|(_, link)| link.recent.requests);
        busiest
            .map_or_else(|| self.own_signal(), |(name, _)| self.signal(kind, ResourceId::Link(name.clone())))
    }

    /// A draft verified by the issue's own signal.
    fn draft(&self, actions: Vec<Action>, summary: String, expected_effect: String) -> Draft {
        let mut blast_radius: Vec<_> = actions.iter().flat_map(touched).collect();
        blast_radius.sort();
        blast_radius.dedup();
        Draft {
            steps: actions.into_iter().map(step).collect(),
            verify: self.own_signal(),
            summary,
            expected_effect,
            blast_radius,
            lift_after: None,
        }
    }

    /// Why it is done, as the second half of a summary: `pod crash (unresponsive) on cart-0`.
    fn why(&self) -> String {
        let Issue { kind, reason, resource, .. } = self.issue;
        let kind = kind.name().replace('_', " ");
        let reason = match reason {
            Reason::Unspecified => String::new(),
            reason => format!(" ({})", reason.name().replace('_', " ")),
        };
        let cause = self.cause;
        if need::overlap(&cause.resource, resource) {
            format!("{kind}{reason} on {}", place(resource))
        } else {
            let class = cause.class.name().replace('_', " ");
            format!("{kind}{reason} on {}, caused by {class} on {}", place(resource), place(&cause.resource))
        }
    }
}

/// A resource by its name, as a summary says it.
fn place(resource: &ResourceId) -> String {
    match resource {
        ResourceId::Service(name) => name.to_string(),
        ResourceId::Instance(name) => name.to_string(),
        ResourceId::Volume(name) => format!("the volume of {name}"),
        ResourceId::Link(link) => link.to_string(),
        ResourceId::Node(name) => format!("node {name}"),
        ResourceId::Infrastructure(name) => format!("infrastructure {name}"),
    }
}

/// How full a volume is, and how much has to go before it is under its threshold.
struct Volume {
    size: Bytes,
    used: Bytes,
    threshold: Percent,
}

impl Volume {
    fn of(case: &Case<'_>) -> Result<(InstanceName, InstanceState, Self), Unsuited> {
        let (name, state) = case.instance()?;
        let (_, service) = case.service()?;
        let declared = service.volume.as_ref().ok_or_else(|| case.unknown("a volume"))?;
        let used = state.usage.disk_used.ok_or_else(|| case.unknown("how full the volume is"))?;
        let size = state.usage.disk_size.unwrap_or(declared.size);
        let threshold = case.ctx.thresholds.with(&service.thresholds).disk;
        Ok((name, state.clone(), Self { size, used, threshold }))
    }

    fn needed(&self) -> Bytes {
        let allowed = (self.size.0 as f64 * self.threshold.ratio()) as u64;
        Bytes(self.used.0.saturating_sub(allowed))
    }

    /// Whether freeing `frees` is worth a plan. Where the issue's own reason names these files, anything is:
    /// they are what grew.
    fn worth(&self, frees: Bytes, is_the_reason: bool, at: &ResourceId) -> Result<(), Unsuited> {
        match frees {
            Bytes(0) => Err(Unsuited::NothingToFree(at.clone())),
            frees if !is_the_reason && frees < self.needed() => {
                Err(Unsuited::TooLittle { frees, needed: self.needed() })
            }
            _ => Ok(()),
        }
    }
}

/// Refuses to add an instance to a service whose data lives in the one volume it has.
fn can_scale(name: &ServiceName, service: &ServiceState) -> Result<(), Unsuited> {
    if service.volume.is_some() && service.replicas == 1 {
        return Err(Unsuited::SingleStore(name.clone()));
    }
    if service.replicas >= REPLICAS_MAX {
        return Err(Unsuited::AtMaximum(format!("{REPLICAS_MAX} instances of {name}")));
    }
    Ok(())
}

impl fmt::Display for Unsuited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CapabilityMissing(why) => write!(f, "cannot be done here: {why}"),
            Self::WrongPlace(at) => write!(f, "cannot be done to {at}"),
            Self::Unknown { resource, what } => write!(f, "{what} of {resource} is not known"),
            Self::NoLimit(service) => write!(f, "{service} declares no limit that could be raised"),
            Self::AtMaximum(what) => write!(f, "the maximum of {what} is reached"),
            Self::SingleStore(service) => {
                write!(
                    f,
                    "the data of {service} lives in the one volume it has; another instance would begin empty"
                )
            }
            Self::NothingToFree(at) => write!(f, "there is nothing of the kind to remove on {at}"),
            Self::TooLittle { frees, needed } => write!(f, "would free {frees}, {needed} are needed"),
            Self::NoBadBackend(link) => write!(f, "no instance behind {link} is worse than the others"),
            Self::NoOtherBackend(link) => write!(f, "no other instance behind {link} is well"),
            Self::CallerServesNobody(link) => {
                write!(f, "{} serves nobody who would be helped by a quick answer of {}", link.from, link.to)
            }
            Self::NoCaller(at) => write!(f, "no link to {at} is in trouble"),
            Self::FormerUnknown(service) => {
                write!(
                    f,
                    "what {service} ran before is not known: the deployment was not made through Homeostat"
                )
            }
            Self::Tried { times } => {
                write!(f, "was tried {times} times for this issue and it is still there")
            }
        }
    }
}
