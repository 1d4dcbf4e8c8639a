//! What the provider discovers: instances with what they use.

use std::sync::Arc;

use async_graphql::{ID, InputObject, Object};
use domain::{InstanceName, InstanceState, ServiceName, Snapshot};

use crate::graphql::scalars::{DateTime, Phase};

/// Which compute resources to list; what is left out finds all.
#[derive(InputObject, Default)]
pub(in crate::graphql) struct ComputeFilter {
    /// Only those of this service.
    service: Option<String>,
    /// Only those in this phase.
    phase: Option<Phase>,
}

/// One instance, as the provider found it.
pub(in crate::graphql) struct Compute {
    snapshot: Arc<Snapshot>,
    service: ServiceName,
    name: InstanceName,
}

impl Compute {
    /// Every instance there is, by name.
    pub(in crate::graphql) fn all(snapshot: &Arc<Snapshot>, filter: &ComputeFilter) -> Vec<Self> {
        let services = snapshot
            .services
            .iter()
            .filter(|(name, _)| filter.service.as_ref().is_none_or(|service| name.as_str() == service));
        let all = services.flat_map(|(service, state)| {
            let in_phase = |instance: &&(&InstanceName, &InstanceState)| {
                filter.phase.is_none_or(|phase| Phase::from(instance.1.phase) == phase)
            };
            let found: Vec<_> = state.instances.iter().collect();
            let found: Vec<_> = found.iter().filter(in_phase).map(|(name, _)| (*name).clone()).collect();
            found.into_iter().map(|name| Self {
                snapshot: Arc::clone(snapshot),
                service: service.clone(),
                name,
            })
        });
        let mut all: Vec<Self> = all.collect();
        all.sort_by_cached_key(Self::key);
        all
    }

    /// What it is sorted and found by.
    pub(in crate::graphql) fn key(&self) -> String {
        self.name.to_string()
    }

    fn state(&self) -> Option<&InstanceState> {
        self.snapshot.services.get(&self.service)?.instances.get(&self.name)
    }
}

/// One instance of a service, as the provider found it. Sizes are bytes, processor shares are cores; what was not measured
/// is null.
#[Object]
impl Compute {
    /// Its id, such as `instance/cart-0`.
    async fn id(&self) -> ID {
        ID(format!("instance/{}", self.name))
    }

    /// Its name.
    async fn name(&self) -> String {
        self.name.to_string()
    }

    /// The service it is one of.
    async fn service(&self) -> &str {
        self.service.as_str()
    }

    /// Where its process is in its life.
    async fn phase(&self) -> Phase {
        self.state().map_or(Phase::Unknown, |state| state.phase.into())
    }

    /// Since when.
    async fn phase_since(&self) -> Option<DateTime> {
        self.state().map(|state| DateTime(state.phase_since))
    }

    /// When its process was started.
    async fn started_at(&self) -> Option<DateTime> {
        self.state()?.started_at.map(DateTime)
    }

    /// The id of its process.
    async fn pid(&self) -> Option<u32> {
        self.state()?.incarnation.as_ref().map(|incarnation| incarnation.pid)
    }

    /// The loopback port it listens on.
    async fn port(&self) -> Option<u16> {
        self.state()?.port
    }

    /// Processor use, in cores.
    async fn cpu_cores(&self) -> Option<f64> {
        Some(self.state()?.usage.cpu?.0)
    }

    /// The processor share it may use, in cores.
    async fn cpu_limit_cores(&self) -> Option<f64> {
        Some(self.snapshot.services.get(&self.service)?.limits.cpu?.0)
    }

    /// Resident memory.
    async fn memory_bytes(&self) -> Option<f64> {
        Some(self.state()?.usage.memory?.0 as f64)
    }

    /// The memory it may use.
    async fn memory_limit_bytes(&self) -> Option<f64> {
        Some(self.snapshot.services.get(&self.service)?.limits.memory?.0 as f64)
    }

    /// Used in its volume.
    async fn disk_used_bytes(&self) -> Option<f64> {
        Some(self.state()?.usage.disk_used?.0 as f64)
    }

    /// The size of its volume.
    async fn disk_size_bytes(&self) -> Option<f64> {
        Some(self.state()?.usage.disk_size?.0 as f64)
    }

    /// Open file descriptors.
    async fn descriptors(&self) -> Option<u32> {
        self.state()?.usage.descriptors
    }

    /// Ends of its processes that are remembered, at most 20.
    async fn exits(&self) -> usize {
        self.state().map_or(0, |state| state.exits.len())
    }

    /// Whether it ends before it settles, again and again.
    async fn crash_loop(&self) -> bool {
        self.state().is_some_and(|state| state.crash_loop)
    }

    /// Whether it still runs what the service ran before a deployment that is under way.
    async fn outdated(&self) -> bool {
        self.state().is_some_and(|state| state.outdated)
    }
}
