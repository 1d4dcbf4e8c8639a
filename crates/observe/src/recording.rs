//! What every look measures, kept as series.
//!
//! In: the samples that pass from a provider to whoever looks. Out: series of instances and links in the store of series,
//! at most one sample in the time that is set. The loop looks every second anyway: what it sees is kept, and nobody is
//! asked twice.
//!
//! A look never waits for the disk: a thread of its own stores what was seen. Counts of links are of whole seconds, each
//! counted once whenever it is seen first, so that a look that is not kept loses none of them; only more than a minute
//! without any does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::snapshot::Phase;
use domain::{Capabilities, Event, Infrastructure, LinkName, ServiceName, Time};
use metrics::wire::STALE_BITS;
use metrics::{Batch, Kind, Metadata, MetricSink, wait};
use promql::{Labels, Value};
use provider::sample::{LinkSample, Sample};
use provider::{Look, ProviderError};

/// Whom limits of the store are counted for.
const SOURCE: &str = "fleet";

/// The label `job` of these series.
const JOB: &str = "homeostat";

/// Samples that may wait for the disk; beyond that one is left out and counted.
const WAITING_MAX: usize = 16;

/// A provider, with what it says kept as series. Dropping it waits for what is under way.
pub struct Recorder {
    look: Arc<dyn Look>,
    every: Duration,
    state: Mutex<State>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    /// `None` at the end.
    queue: Option<SyncSender<(Sample, u64)>>,
    last: Option<Time>,
    missed: u64,
}

impl Recorder {
    /// Keeps what `look` says in `sink`, at most once in `every`. What cannot be stored is told to `complain`, once until
    /// it can be again.
    ///
    /// # Errors
    ///
    /// Where the machine gives no thread.
    pub fn start(
        look: Arc<dyn Look>,
        sink: Arc<dyn MetricSink>,
        every: Duration,
        complain: impl Fn(&str) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, waiting) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("fleet-series".to_owned())
            .spawn(move || store(&waiting, &*sink, complain))?;
        let state = State { queue: Some(queue), last: None, missed: 0 };
        Ok(Self { look, every, state: Mutex::new(state), thread: Some(thread) })
    }

    fn keep(&self, sample: &Sample) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A tenth less: looks come a little early or late.
        let due = state.last.is_none_or(|last| sample.taken.since(last) >= self.every.mul_f64(0.9));
        let Some(queue) = state.queue.as_ref().filter(|_| due) else { return };
        match queue.try_send((sample.clone(), state.missed)) {
            Ok(()) => state.last = Some(sample.taken),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => state.missed += 1,
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened; there is nothing left to store.
            let _ = thread.join();
        }
    }
}

impl Look for Recorder {
    fn capabilities(&self) -> Capabilities {
        self.look.capabilities()
    }

    fn infrastructure(&self) -> Result<Option<Infrastructure>, ProviderError> {
        self.look.infrastructure()
    }

    fn sample(&self) -> Result<Sample, ProviderError> {
        let sample = self.look.sample()?;
        self.keep(&sample);
        Ok(sample)
    }

    fn events(&self, after: u64, timeout: Duration) -> Result<Vec<Event>, ProviderError> {
        self.look.events(after, timeout)
    }

    fn logs(&self, service: &ServiceName, lines: usize) -> Result<Vec<String>, ProviderError> {
        self.look.logs(service, lines)
    }
}

/// Stores what comes until nobody sends any more.
fn store(waiting: &Receiver<(Sample, u64)>, sink: &dyn MetricSink, complain: impl Fn(&str)) {
    let mut series = FleetSeries::default();
    let mut trouble = false;
    while let Ok((sample, missed)) = waiting.recv() {
        let batch = series.batch(&sample, missed);
        match wait(sink.append(SOURCE, batch)) {
            Ok(admission) => {
                let reason = admission.reason.filter(|_| admission.refused.harmful() > 0);
                if let (false, Some(reason)) = (trouble, &reason) {
                    complain(&format!("some series of the fleet are not stored: {reason}"));
                }
                trouble = reason.is_some();
            }
            Err(refusal) => {
                if !trouble {
                    complain(&format!("the series of the fleet are not stored: {refusal}"));
                }
                trouble = true;
            }
        }
    }
}

/// What samples become: gauges of instances, counters of links.
#[derive(Debug, Default)]
pub struct FleetSeries {
    links: BTreeMap<LinkName, LinkCounts>,
    /// The series of the sample before, to end those that are gone.
    known: BTreeSet<Labels>,
    told: bool,
}

/// What was counted on a link since the process began.
#[derive(Debug, Default, Clone, Copy)]
struct LinkCounts {
    /// The last second that is in it.
    through: u64,
    requests: u64,
    errors: u64,
    rejected: u64,
}

impl LinkCounts {
    /// Adds the seconds it does not hold yet.
    fn add(&mut self, link: &LinkSample) {
        for second in link.seconds.iter().filter(|second| second.second > self.through) {
            self.rejected += second.rejected;
            for counts in &second.counts {
                self.requests += counts.requests;
                self.errors += counts.errors;
            }
        }
        self.through = link.seconds.back().map_or(self.through, |last| last.second.max(self.through));
    }
}

impl FleetSeries {
    /// The series of one look. `missed` looks before it were left out.
    pub fn batch(&mut self, sample: &Sample, missed: u64) -> Batch {
        let at_ms = sample.taken.wall_us.div_euclid(1000);
        let mut said: Vec<(Labels, f64)> = vec![(
            Labels::new([("__name__", "homeostat_fleet_looks_missed_total"), ("job", JOB)]),
            missed as f64,
        )];
        instances(sample, &mut said);
        self.links(sample, &mut said);
        let known: BTreeSet<Labels> = said.iter().map(|(labels, _)| labels.clone()).collect();
        let gone: Vec<Labels> = self.known.difference(&known).cloned().collect();
        said.extend(gone.into_iter().map(|labels| (labels, f64::from_bits(STALE_BITS))));
        self.known = known;
        let series = said
            .into_iter()
            .map(|(labels, value)| (labels, vec![promql::Sample { at_ms, value: Value::Float(value) }]))
            .collect();
        let metadata = if std::mem::replace(&mut self.told, true) { Vec::new() } else { metadata() };
        Batch { series, exemplars: Vec::new(), metadata }
    }

    fn links(&mut self, sample: &Sample, said: &mut Vec<(Labels, f64)>) {
        self.links.retain(|name, _| sample.links.contains_key(name));
        for (name, link) in &sample.links {
            let counts = self.links.entry(name.clone()).or_default();
            counts.add(link);
            let LinkCounts { requests, errors, rejected, .. } = *counts;
            let (from, to) = (name.from.as_str(), name.to.as_str());
            for (metric, value) in [
                ("homeostat_link_requests_total", requests),
                ("homeostat_link_errors_total", errors),
                ("homeostat_link_rejected_total", rejected),
            ] {
                let labels = Labels::new([("__name__", metric), ("job", JOB), ("from", from), ("to", to)]);
                said.push((labels, value as f64));
            }
        }
    }
}

fn instances(sample: &Sample, said: &mut Vec<(Labels, f64)>) {
    for (service, state) in &sample.services {
        let of_service =
            |metric: &str| Labels::new([("__name__", metric), ("job", JOB), ("service", service.as_str())]);
        said.push((of_service("homeostat_service_replicas"), f64::from(state.replicas)));
        for (name, instance) in &state.instances {
            let name = name.to_string();
            let usage = &instance.usage;
            for (metric, value) in [
                ("homeostat_instance_cpu_cores", usage.cpu.map(|cores| cores.0)),
                ("homeostat_instance_memory_bytes", usage.memory.map(|bytes| bytes.0 as f64)),
                ("homeostat_instance_descriptors", usage.descriptors.map(f64::from)),
                ("homeostat_instance_disk_used_bytes", usage.disk_used.map(|bytes| bytes.0 as f64)),
                ("homeostat_instance_disk_size_bytes", usage.disk_size.map(|bytes| bytes.0 as f64)),
                ("homeostat_instance_ready", Some(f64::from(u8::from(instance.phase == Phase::Ready)))),
            ] {
                let Some(value) = value else { continue };
                let labels = Labels::new([
                    ("__name__", metric),
                    ("job", JOB),
                    ("service", service.as_str()),
                    ("instance", &name),
                ]);
                said.push((labels, value));
            }
        }
    }
}

/// What these metrics are.
fn metadata() -> Vec<(String, Metadata)> {
    let of = |name: &str, kind, help: &str, unit: &str| {
        (name.to_owned(), Metadata { kind, help: help.to_owned(), unit: unit.to_owned() })
    };
    let (counter, gauge) = (Kind::Counter, Kind::Gauge);
    vec![
        of(
            "homeostat_fleet_looks_missed_total",
            counter,
            "looks that are no series: the disk was behind",
            "",
        ),
        of("homeostat_service_replicas", gauge, "instances that should be there", ""),
        of("homeostat_instance_cpu_cores", gauge, "processor over about 3 s", "cores"),
        of("homeostat_instance_memory_bytes", gauge, "resident memory", "bytes"),
        of("homeostat_instance_descriptors", gauge, "open file descriptors", ""),
        of("homeostat_instance_disk_used_bytes", gauge, "used in the volume", "bytes"),
        of("homeostat_instance_disk_size_bytes", gauge, "size of the volume", "bytes"),
        of("homeostat_instance_ready", gauge, "1 while it runs and is ready", ""),
        of(
            "homeostat_link_requests_total",
            counter,
            "requests that ended, as the caller's side saw them",
            "",
        ),
        of("homeostat_link_errors_total", counter, "of these, failed: no answer, 5xx or 429", ""),
        of("homeostat_link_rejected_total", counter, "requests answered by an open breaker", ""),
    ]
}

#[cfg(test)]
mod tests;
