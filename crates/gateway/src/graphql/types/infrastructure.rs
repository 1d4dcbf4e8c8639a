//! The declared set of services, and how it is.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use domain::Snapshot;

use super::compute::{Compute, ComputeFilter};
use super::service::{Service, ready};
use crate::graphql::operation::Operation;
use crate::graphql::page::{Page, cost};
use crate::graphql::scalars::{DateTime, Environment};
use crate::overwritten::Standing;
use crate::problem::{Code, Problem};
use async_graphql::connection::Connection;

/// A declared set of services that a provider brings up and keeps.
pub(in crate::graphql) struct Infrastructure(pub(in crate::graphql) Arc<domain::Infrastructure>);

/// What the last look saw; none where nothing was looked at yet.
fn seen(context: &Context<'_>) -> Result<Option<Arc<Snapshot>>, Problem> {
    match Operation::of(context)?.snapshot() {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(problem) if problem.code == Code::NotKnownYet => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// A declared set of services that a provider brings up and keeps. Commands and environment variables are left out: they
/// may hold secrets.
#[Object]
impl Infrastructure {
    /// Its id: its name.
    async fn id(&self) -> ID {
        ID(self.0.name.to_string())
    }

    /// Its name.
    async fn name(&self) -> &str {
        self.0.name.as_str()
    }

    /// Another one wherever something else is declared; `ifMatch` takes it.
    async fn etag(&self) -> String {
        Standing::infrastructure(&self.0).version
    }

    /// How careful one has to be.
    async fn environment(&self) -> Environment {
        self.0.environment.into()
    }

    /// How it is; null before the first look.
    async fn status(&self, context: &Context<'_>) -> Result<Option<InfrastructureStatus>, Problem> {
        let snapshot = seen(context)?;
        Ok(snapshot.map(|snapshot| InfrastructureStatus::of(self.0.name.to_string(), &snapshot)))
    }

    /// Its services, by name.
    #[graphql(complexity = "1 + 20 * child_complexity")]
    async fn services(&self, context: &Context<'_>) -> Result<Vec<Service>, Problem> {
        Ok(seen(context)?.map(|snapshot| Service::all(&snapshot)).unwrap_or_default())
    }

    /// What runs, instance by instance.
    #[graphql(complexity = "cost(first, child_complexity)")]
    async fn compute_resources(
        &self,
        context: &Context<'_>,
        filter: Option<ComputeFilter>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<String, Compute>, Problem> {
        let page = Page::read(first, after)?;
        let filter = filter.unwrap_or_default();
        let all = seen(context)?.map(|snapshot| Compute::all(&snapshot, &filter)).unwrap_or_default();
        Ok(page.within(all, Compute::key, |compute| compute))
    }
}

/// How an Infrastructure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(in crate::graphql) enum InfrastructureState {
    /// Every service has as many instances ready as it should have.
    Healthy,
    /// Some instances are not ready.
    Degraded,
    /// No instance is ready.
    Down,
    /// It is not up.
    Absent,
}

/// How an Infrastructure is.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(in crate::graphql) struct InfrastructureStatus {
    /// Its id: its name.
    pub(in crate::graphql) id: ID,
    /// How it is.
    pub(in crate::graphql) state: InfrastructureState,
    /// Services that are declared.
    services: usize,
    /// Services that have as many instances ready as they should have.
    services_ready: usize,
    /// Instances that should be there.
    replicas: u32,
    /// Instances that are ready.
    ready: usize,
    /// When the last look was; null where it is not up.
    seen_at: Option<DateTime>,
}

impl InfrastructureStatus {
    pub(in crate::graphql) fn of(name: String, snapshot: &Snapshot) -> Self {
        let services = snapshot.services.values();
        let ready_instances: usize = services.clone().map(ready).sum();
        let whole = |state: &&domain::ServiceState| ready(state) >= state.replicas as usize;
        let services_ready = services.clone().filter(whole).count();
        let state = match (services_ready == snapshot.services.len(), ready_instances) {
            (true, _) => InfrastructureState::Healthy,
            (false, 0) => InfrastructureState::Down,
            (false, _) => InfrastructureState::Degraded,
        };
        Self {
            id: ID(name),
            state,
            services: snapshot.services.len(),
            services_ready,
            replicas: services.map(|state| state.replicas).sum(),
            ready: ready_instances,
            seen_at: Some(DateTime(snapshot.taken)),
        }
    }

    /// Of what is not up.
    pub(in crate::graphql) fn absent(name: &str) -> Self {
        Self {
            id: ID(name.to_owned()),
            state: InfrastructureState::Absent,
            services: 0,
            services_ready: 0,
            replicas: 0,
            ready: 0,
            seen_at: None,
        }
    }

    /// Whether it says the same, whenever it was seen.
    pub(in crate::graphql) fn says_as(&self, other: &Self) -> bool {
        Self { seen_at: None, ..self.clone() } == Self { seen_at: None, ..other.clone() }
    }
}
