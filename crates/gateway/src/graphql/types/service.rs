//! A declared service with what was seen of it, and how it is as its callers see it.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use decide::service::ServiceStatus as Status;
use domain::snapshot::Phase;
use domain::{ServiceName, ServiceState, Snapshot};

use super::issue::{Family, Issue};
use crate::graphql::operation::Operation;
use crate::happenings::service::KnownService;
use crate::problem::Problem;

/// A service that runs.
pub(in crate::graphql) struct Service {
    snapshot: Arc<Snapshot>,
    name: ServiceName,
}

impl Service {
    /// Every service there is, by name.
    pub(in crate::graphql) fn all(snapshot: &Arc<Snapshot>) -> Vec<Self> {
        let names = snapshot.services.keys().cloned();
        names.map(|name| Self { snapshot: Arc::clone(snapshot), name }).collect()
    }

    fn state(&self) -> Option<&ServiceState> {
        self.snapshot.services.get(&self.name)
    }
}

/// How many instances of a service are ready.
pub(in crate::graphql) fn ready(state: &ServiceState) -> usize {
    state.instances.values().filter(|instance| instance.phase == Phase::Ready).count()
}

/// A declared service with what was seen of it.
#[Object]
impl Service {
    /// Its id, such as `service/cart`.
    async fn id(&self) -> ID {
        ID(format!("service/{}", self.name))
    }

    /// Its name.
    async fn name(&self) -> &str {
        self.name.as_str()
    }

    /// What runs there; null where it has no name.
    async fn version(&self) -> Option<&str> {
        self.state()?.release.version.as_deref()
    }

    /// How many instances should be there.
    async fn replicas(&self) -> u32 {
        self.state().map_or(0, |state| state.replicas)
    }

    /// How many are ready.
    async fn ready(&self) -> usize {
        self.state().map_or(0, ready)
    }

    /// The services it calls.
    async fn dependencies(&self) -> Vec<&str> {
        let dependencies = self.state().into_iter().flat_map(|state| &state.dependencies);
        dependencies.map(ServiceName::as_str).collect()
    }

    /// Nothing is repaired or disturbed here.
    async fn hands_off(&self) -> bool {
        self.state().is_some_and(|state| state.hands_off)
    }

    /// A change of version or replicas is under way.
    async fn rolling_out(&self) -> bool {
        self.state().is_some_and(|state| state.rolling_out)
    }

    /// What is wrong with it now.
    #[graphql(complexity = "1 + 10 * child_complexity")]
    async fn open_issues(&self, context: &Context<'_>) -> Result<Vec<Issue>, Problem> {
        let operation = Operation::of(context)?;
        let open = operation.open_issues()?;
        let own = open.iter().filter(|issue| issue.resource.service() == Some(&self.name));
        Ok(Family::of(&operation.app().store, own.cloned().collect()).1)
    }
}

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Status")]
pub(in crate::graphql) enum ServiceStatus {
    /// It does its work.
    Healthy,
    /// It does its work, but something is wrong.
    Degraded,
    /// It does not do its work.
    Down,
}

/// How a service is, as its callers see it; what was not measured is null.
#[derive(SimpleObject)]
pub(in crate::graphql) struct ServiceHealth {
    /// Its name.
    service: String,
    /// How it is; null where nothing says so.
    status: Option<ServiceStatus>,
    /// Why that is said, in one sentence.
    reason: String,
    /// Requests of the last day that were answered well, in percent.
    availability_percent: Option<f64>,
    /// The mean time of an answer lately, in milliseconds.
    average_latency_ms: Option<f64>,
    /// Requests of late that failed, in percent.
    error_rate_percent: Option<f64>,
    /// Requests of late.
    requests_per_minute: Option<f64>,
}

impl From<KnownService> for ServiceHealth {
    fn from(known: KnownService) -> Self {
        Self {
            service: known.name,
            status: known.health.status.map(ServiceStatus::from),
            reason: known.health.reason,
            availability_percent: known.health.availability_percent,
            average_latency_ms: known.health.average_latency_ms,
            error_rate_percent: known.health.error_rate_percent,
            requests_per_minute: known.health.requests_per_minute,
        }
    }
}
