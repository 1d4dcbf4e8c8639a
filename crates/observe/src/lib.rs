//! Samples a provider and puts a [`Snapshot`] together.
//!
//! In: [`provider::Sample`]s with per-second counts. Out: snapshots with windows over complete seconds, the
//! recent ones ([`RECENT`]) beside the usual ([`BEFORE`]). Windows end one second before the sample, so that
//! a second is never judged half counted.
//!
//! Deliberately absent: any knowledge of faults, and any judgement. A value that was not measured stays
//! `None`.

mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::snapshot::{BackendState, BreakerState, LinkState};
use domain::{Event, Snapshot};
use provider::sample::LinkSample;
use provider::{Look, ProviderError};

use window::{Ages, window};
pub use window::{BEFORE, RECENT};

/// Takes snapshots of one provider.
pub struct Observer {
    look: Arc<dyn Look>,
    generation: AtomicU64,
}

impl Observer {
    /// An observer of `look`.
    pub fn new(look: Arc<dyn Look>) -> Self {
        Self { look, generation: AtomicU64::new(0) }
    }

    /// Looks at everything, now.
    ///
    /// # Errors
    ///
    /// The provider's, when it does not answer. Nothing is guessed then.
    pub fn snapshot(&self) -> Result<Snapshot, ProviderError> {
        let sample = self.look.sample()?;
        let now = sample.taken.boot_us / 1_000_000;
        Ok(Snapshot {
            taken: sample.taken,
            generation: self.generation.fetch_add(1, Ordering::Relaxed) + 1,
            environment: sample.environment,
            services: sample.services,
            links: sample.links.iter().map(|(name, link)| (name.clone(), link_state(link, now))).collect(),
            fleet_age: sample.fleet_age,
        })
    }

    /// The events after `after`; waits up to `timeout` for the first.
    ///
    /// # Errors
    ///
    /// The provider's, when it does not answer.
    pub fn events(&self, after: u64, timeout: Duration) -> Result<Vec<Event>, ProviderError> {
        self.look.events(after, timeout)
    }
}

/// What a link's counts say at second `now`.
fn link_state(link: &LinkSample, now: u64) -> LinkState {
    let recent = now.saturating_sub(RECENT)..now;
    let before = recent.start.saturating_sub(BEFORE)..recent.start;
    LinkState {
        recent: window(link, &recent, None, Ages::All),
        before: window(link, &before, None, Ages::All),
        old_connections: window(link, &recent, None, Ages::Old),
        new_connections: window(link, &recent, None, Ages::New),
        backends: link
            .backends
            .iter()
            .map(|(name, backend)| {
                let state = BackendState {
                    recent: window(link, &recent, Some(name), Ages::All),
                    ejected: backend.ejected,
                    ejected_by_plan: backend.ejected_by_plan,
                    path_check: backend.path_check,
                    path_check_failures: backend.path_check_failures,
                    connection_floors_ms: backend.connection_floors_ms.clone(),
                };
                (name.clone(), state)
            })
            .collect(),
        breaker: link.breaker.unwrap_or(BreakerState::Closed),
    }
}
