//! Samples a provider and puts a [`Snapshot`] together, with what spans say where a [`TraceSource`] is given, and how
//! objectives stand where they are evaluated ([`objectives`]).
//!
//! In: [`provider::Sample`]s with per-second counts. Out: snapshots with windows over complete seconds, the
//! recent ones ([`RECENT`]) beside the usual ([`BEFORE`]). Windows end one second before the sample, so that
//! a second is never judged half counted.
//!
//! A [`Sighting`] keeps the counts, so that the same look can be asked what was seen since a given time:
//! whether a repair worked is not told by requests that ended before it.
//!
//! Deliberately absent: any knowledge of faults, and any judgement. A value that was not measured stays
//! `None`.

mod growth;
pub mod objectives;
mod recording;
mod window;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::snapshot::{BackendState, BreakerState, Lately, LinkState};
use domain::{
    AlertSource, Alerts, CallCounts, Capabilities, Deployment, DeploymentSource, Event, Infrastructure,
    LinkName, ObjectiveSource, ServiceName, ServiceState, Snapshot, Time, TraceSource, Traces,
};
use provider::sample::{LinkSample, Sample, UnboundLink};
use provider::{Look, ProviderError};

use growth::Accumulation;
pub use growth::Foresight;
use objectives::Objectives;
pub use recording::{FleetSeries, Recorder};
use window::{Ages, window};
pub use window::{BEFORE, RECENT};

/// What spans say is told again for so long: it is of whole seconds, and putting it together takes milliseconds that a
/// look at a crash need not wait for.
const TRACES_KEPT: Duration = Duration::from_secs(1);

/// Deployments that began this long ago are no longer told: what gets worse then has other causes.
const DEPLOYED_LATELY: Duration = Duration::from_secs(15 * 60);

/// From how many milliseconds on a request counts as slow, where nobody says otherwise.
const SLOW_MS: f64 = 200.0;

/// How far before a look the recent windows of [`TracedCalls`](domain::TracedCalls) begin at most: ten seconds, two in
/// which spans are on their way, and [`TRACES_KEPT`].
const TRACES_REACH_BACK: Duration = Duration::from_secs(13);

/// How far before a look the seconds begin that say how fast a budget burns lately.
const OBJECTIVES_REACH_BACK: Duration = Duration::from_secs(13);

/// Takes snapshots of one provider.
pub struct Observer {
    look: Arc<dyn Look>,
    traces: Option<Arc<dyn TraceSource>>,
    alerts: Option<Arc<dyn AlertSource>>,
    objectives: Option<Arc<Objectives>>,
    deployments: Option<Arc<dyn DeploymentSource>>,
    /// From how many milliseconds on a request counts as slow, where its service does not say.
    slow_ms: Mutex<f64>,
    /// What spans said last, and when.
    told: Mutex<Option<(Time, Traces)>>,
    accumulation: Option<Mutex<Accumulation>>,
    generation: AtomicU64,
}

impl Observer {
    /// An observer of `look`.
    pub fn new(look: Arc<dyn Look>) -> Self {
        Self {
            look,
            traces: None,
            alerts: None,
            objectives: None,
            deployments: None,
            slow_ms: Mutex::new(SLOW_MS),
            told: Mutex::default(),
            accumulation: None,
            generation: AtomicU64::new(0),
        }
    }

    /// The same, with what spans say as a second witness.
    #[must_use]
    pub fn with_traces(self, traces: Arc<dyn TraceSource>) -> Self {
        Self { traces: Some(traces), ..self }
    }

    /// The same, with what alerting rules say.
    #[must_use]
    pub fn with_alerts(self, alerts: Arc<dyn AlertSource>) -> Self {
        Self { alerts: Some(alerts), ..self }
    }

    /// The same, with how objectives stand; they are shown the links that every look sees.
    #[must_use]
    pub fn with_objectives(self, objectives: Arc<Objectives>) -> Self {
        Self { objectives: Some(objectives), ..self }
    }

    /// How objectives stand; none where they are not evaluated.
    pub fn objectives(&self) -> domain::Objectives {
        self.objectives.as_ref().map(|objectives| objectives.objectives()).unwrap_or_default()
    }

    /// The same, with what was deployed lately. Requests to the services are counted as slow from `slow_ms` on, where
    /// they do not say otherwise.
    #[must_use]
    pub fn with_deployments(self, deployments: Arc<dyn DeploymentSource>, slow_ms: f64) -> Self {
        Self { deployments: Some(deployments), slow_ms: Mutex::new(slow_ms), ..self }
    }

    /// Counts requests as slow from `slow_ms` on, from the next look on.
    pub fn set_slow_ms(&self, slow_ms: f64) {
        *self.slow_ms.lock().unwrap_or_else(PoisonError::into_inner) = slow_ms;
    }

    /// The same, with how memory and volumes fill up.
    #[must_use]
    pub fn with_foresight(self, foresight: Foresight) -> Self {
        Self { accumulation: Some(Mutex::new(Accumulation::new(foresight))), ..self }
    }

    /// Looks at everything, now.
    ///
    /// # Errors
    ///
    /// The provider's, when it does not answer. Nothing is guessed then.
    pub fn look(&self) -> Result<Sighting, ProviderError> {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        let mut sample = self.look.sample()?;
        if let Some(accumulation) = &self.accumulation {
            accumulation.lock().unwrap_or_else(PoisonError::into_inner).tell(&mut sample);
        }
        let traces = self.traces.as_ref().map(|source| self.ask(&**source, sample.taken)).unwrap_or_default();
        if let Some(objectives) = &self.objectives {
            objectives.links(&sample);
        }
        let since = sample.taken.minus(DEPLOYED_LATELY);
        let deployments = self.deployments.as_ref().map(|source| source.deployments_since(since));
        let alerts = self.alerts.as_ref().map(|source| source.alerts()).unwrap_or_default();
        let said = Said {
            traces,
            alerts,
            objectives: self.objectives(),
            deployments: deployments.unwrap_or_default(),
        };
        let slow_ms = *self.slow_ms.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Sighting::of(sample, said, slow_ms, generation))
    }

    fn ask(&self, source: &dyn TraceSource, now: Time) -> Traces {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match &*told {
            Some((at, traces)) if now.since(*at) < TRACES_KEPT => traces.clone(),
            _ => {
                let traces = source.traces(now);
                *told = Some((now, traces.clone()));
                traces
            }
        }
    }

    /// [`Self::look`], without the counts.
    ///
    /// # Errors
    ///
    /// As for [`Self::look`].
    pub fn snapshot(&self) -> Result<Snapshot, ProviderError> {
        self.look().map(|sighting| Arc::unwrap_or_clone(sighting.snapshot))
    }

    /// What the provider can do now. It changes: with another keeper, with what is up, with a group that cannot be
    /// made any more or can again.
    pub fn capabilities(&self) -> Capabilities {
        self.look.capabilities()
    }

    /// What was declared and is being kept; `None` where nothing is up.
    ///
    /// # Errors
    ///
    /// The provider's, when it does not answer.
    pub fn infrastructure(&self) -> Result<Option<Infrastructure>, ProviderError> {
        self.look.infrastructure()
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

/// One look at the world, with the counts it was put together from.
#[derive(Debug, Clone)]
pub struct Sighting {
    snapshot: Arc<Snapshot>,
    counts: BTreeMap<LinkName, LinkSample>,
    unbound: Vec<UnboundLink>,
    slow_ms: f64,
}

/// What is said of a fleet beside what its provider measures.
#[derive(Debug, Default)]
struct Said {
    traces: Traces,
    alerts: Alerts,
    objectives: domain::Objectives,
    deployments: Vec<Deployment>,
}

impl Sighting {
    fn of(sample: Sample, said: Said, slow_ms: f64, generation: u64) -> Self {
        let Said { traces, alerts, objectives, deployments } = said;
        let windows = Windows::until(second_of(sample.taken));
        let counting = Counting { counts: &sample.links, services: &sample.services, slow_ms };
        let lately = |deployment: Deployment| Lately {
            since: counting.calls(&deployment.service, deployment.at, sample.taken).unwrap_or_default(),
            deployment,
        };
        let deployments = deployments.into_iter().map(lately).collect();
        let snapshot = Snapshot {
            taken: sample.taken,
            generation,
            infrastructure: sample.infrastructure,
            environment: sample.environment,
            services: sample.services,
            links: link_states(&sample.links, &windows),
            fleet_age: sample.fleet_age,
            traces,
            alerts,
            objectives,
            deployments,
        };
        Self { snapshot: Arc::new(snapshot), counts: sample.links, unbound: sample.unbound, slow_ms }
    }

    /// Links that should listen and cannot, which nothing else of a look shows.
    pub fn unbound(&self) -> &[UnboundLink] {
        &self.unbound
    }

    /// What was seen.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// What the callers of a service, all together, counted from `from` on until `until`: of whole seconds, and of the
    /// last minute at most. `None` where no link to it counted anything then.
    pub fn calls(&self, service: &ServiceName, from: Time, until: Time) -> Option<CallCounts> {
        let services = &self.snapshot.services;
        Counting { counts: &self.counts, services, slow_ms: self.slow_ms }.calls(service, from, until)
    }

    /// The same look, where the recent windows of the links hold only seconds that began at `since` or later:
    /// every request counted there ended after it. They hold nothing until such a second is complete. What is
    /// usual, and what is known of instances and health checks, is as in [`Self::snapshot`].
    pub fn since(&self, since: Time) -> Arc<Snapshot> {
        let mut windows = Windows::until(second_of(self.snapshot.taken));
        let first = since.boot_us.div_ceil(1_000_000);
        if first <= windows.recent.start {
            return Arc::clone(&self.snapshot);
        }
        windows.recent.start = first.min(windows.recent.end);
        let links = link_states(&self.counts, &windows);
        // Spans of the window may have started before: what they say of now is not known yet.
        let began = self.snapshot.taken.minus(TRACES_REACH_BACK);
        let traces = if began.reached(since) { self.snapshot.traces.clone() } else { Traces::default() };
        let began = self.snapshot.taken.minus(OBJECTIVES_REACH_BACK);
        let objectives =
            if began.reached(since) { self.snapshot.objectives.clone() } else { Default::default() };
        Arc::new(Snapshot { links, traces, objectives, ..Snapshot::clone(&self.snapshot) })
    }
}

/// Counts the requests to services.
#[derive(Clone, Copy)]
struct Counting<'a> {
    counts: &'a BTreeMap<LinkName, LinkSample>,
    services: &'a BTreeMap<ServiceName, ServiceState>,
    slow_ms: f64,
}

impl Counting<'_> {
    fn calls(self, service: &ServiceName, from: Time, until: Time) -> Option<CallCounts> {
        let seconds = from.boot_us.div_ceil(1_000_000)..second_of(until);
        let own = self.services.get(service).and_then(|state| state.thresholds.latency_ms);
        let slow_ms = own.unwrap_or(self.slow_ms);
        let mut sum = CallCounts::default();
        for (_, link) in self.counts.iter().filter(|(name, _)| name.to == *service) {
            let within = link.seconds.iter().filter(|second| seconds.contains(&second.second));
            for counts in within.flat_map(|second| &second.counts) {
                sum.requests += counts.requests;
                sum.errors += counts.errors;
                sum.slow += counts.latency.above_ms(slow_ms);
            }
        }
        (sum.requests > 0).then_some(sum)
    }
}

/// The second a time is in, counted since boot.
fn second_of(time: Time) -> u64 {
    time.boot_us / 1_000_000
}

/// The seconds that are judged, and those that say what is usual.
#[derive(Debug, Clone)]
struct Windows {
    recent: Range<u64>,
    before: Range<u64>,
}

impl Windows {
    /// The last complete ones before second `now`.
    fn until(now: u64) -> Self {
        let recent = now.saturating_sub(RECENT)..now;
        Self { before: recent.start.saturating_sub(BEFORE)..recent.start, recent }
    }
}

fn link_states(counts: &BTreeMap<LinkName, LinkSample>, windows: &Windows) -> BTreeMap<LinkName, LinkState> {
    counts.iter().map(|(name, link)| (name.clone(), link_state(link, windows))).collect()
}

/// What a link's counts say over these windows.
fn link_state(link: &LinkSample, Windows { recent, before }: &Windows) -> LinkState {
    LinkState {
        recent: window(link, recent, None, Ages::All),
        before: window(link, before, None, Ages::All),
        old_connections: window(link, recent, None, Ages::Old),
        new_connections: window(link, recent, None, Ages::New),
        backends: link
            .backends
            .iter()
            .map(|(name, backend)| {
                let state = BackendState {
                    recent: window(link, recent, Some(name), Ages::All),
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

#[cfg(test)]
mod tests;
