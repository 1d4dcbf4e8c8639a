//! What of looks is kept, and that a second of a link is counted once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use domain::snapshot::Usage;
use domain::{Bytes, Cores, Environment, InstanceState, ServiceState};
use metrics::{Admission, Appending, Refusal};
use provider::sample::{Counts, LinkSecond};

use super::*;

fn sample(second: u64, services: &[(&str, f64)], link_seconds: &[(u64, u64)]) -> Sample {
    let mut link = LinkSample::default();
    for (second, requests) in link_seconds {
        let counts = Counts { requests: *requests, errors: requests / 2, ..Counts::default() };
        link.seconds.push_back(Arc::new(LinkSecond { second: *second, rejected: 1, counts: vec![counts] }));
    }
    let taken = Time { boot_us: second * 1_000_000, wall_us: second as i64 * 1_000_000 };
    let services = services.iter().map(|(name, cpu)| {
        let usage = Usage { cpu: Some(Cores(*cpu)), memory: Some(Bytes(1024)), ..Usage::default() };
        let instance = InstanceState {
            incarnation: None,
            phase: Phase::Ready,
            phase_since: taken,
            started_at: None,
            readiness: None,
            liveness: None,
            usage,
            exits: Vec::new(),
            unsettled_exits: 0,
            crash_loop: false,
            never_ready: false,
            outdated: false,
            port: None,
        };
        let state = ServiceState {
            replicas: 1,
            limits: Default::default(),
            volume: None,
            thresholds: Default::default(),
            dependencies: Vec::new(),
            hands_off: false,
            protected: false,
            can_drain: false,
            can_clear_caches: false,
            rolling_out: false,
            release: Default::default(),
            instances: [(format!("{name}-0").parse().unwrap(), instance)].into(),
        };
        (name.parse().unwrap(), state)
    });
    Sample {
        taken,
        fleet_age: Duration::from_secs(60),
        infrastructure: None,
        environment: Environment::Dev,
        services: services.collect(),
        links: [("front->cart".parse().unwrap(), link)].into(),
        unbound: Vec::new(),
    }
}

/// The one value of a series in a batch.
fn value(batch: &Batch, metric: &str) -> Option<f64> {
    let (_, samples) = batch.series.iter().find(|(labels, _)| labels.get("__name__") == metric)?;
    match samples[0].value {
        Value::Float(value) => Some(value),
        Value::Histogram(_) => None,
    }
}

#[test]
fn seconds_of_a_link_are_counted_once_however_often_they_are_seen() {
    let mut series = FleetSeries::default();
    let batch = series.batch(&sample(10, &[], &[(8, 4), (9, 2)]), 0);
    assert_eq!(value(&batch, "homeostat_link_requests_total"), Some(6.0));
    let batch = series.batch(&sample(11, &[], &[(8, 4), (9, 2)]), 0);
    assert_eq!(value(&batch, "homeostat_link_requests_total"), Some(6.0));
    let batch = series.batch(&sample(14, &[], &[(9, 2), (12, 10)]), 3);
    assert_eq!(value(&batch, "homeostat_link_requests_total"), Some(16.0));
    assert_eq!(value(&batch, "homeostat_link_errors_total"), Some(8.0));
    assert_eq!(value(&batch, "homeostat_link_rejected_total"), Some(3.0));
    assert_eq!(value(&batch, "homeostat_fleet_looks_missed_total"), Some(3.0));
}

#[test]
fn series_of_an_instance_that_is_gone_end_once() {
    let mut series = FleetSeries::default();
    let batch = series.batch(&sample(1, &[("cart", 0.5)], &[]), 0);
    assert_eq!(value(&batch, "homeostat_instance_cpu_cores"), Some(0.5));
    assert_eq!(value(&batch, "homeostat_instance_memory_bytes"), Some(1024.0));
    assert_eq!(value(&batch, "homeostat_instance_ready"), Some(1.0));
    assert_eq!(
        value(&batch, "homeostat_instance_disk_used_bytes"),
        None,
        "what is not measured is no series"
    );
    let batch = series.batch(&sample(2, &[], &[]), 0);
    let ended = value(&batch, "homeostat_instance_cpu_cores").expect("a marker");
    assert_eq!(ended.to_bits(), STALE_BITS);
    let batch = series.batch(&sample(3, &[], &[]), 0);
    assert_eq!(value(&batch, "homeostat_instance_cpu_cores"), None);
}

/// A provider whose clock a test sets.
struct Clocked(AtomicU64);

impl Look for Clocked {
    fn capabilities(&self) -> Capabilities {
        unreachable!("nobody asks")
    }

    fn infrastructure(&self) -> Result<Option<Infrastructure>, ProviderError> {
        unreachable!("nobody asks")
    }

    fn sample(&self) -> Result<Sample, ProviderError> {
        Ok(sample(self.0.load(Ordering::Relaxed), &[("cart", 0.5)], &[]))
    }

    fn events(&self, _: u64, _: Duration) -> Result<Vec<Event>, ProviderError> {
        unreachable!("nobody asks")
    }

    fn logs(&self, _: &ServiceName, _: usize) -> Result<Vec<String>, ProviderError> {
        unreachable!("nobody asks")
    }
}

/// Sends on what it is handed, and refuses every batch of an odd second.
struct Sink(mpsc::Sender<i64>);

impl MetricSink for Sink {
    fn append(&self, source: &str, batch: Batch) -> Appending {
        assert_eq!(source, "fleet");
        let second = batch.series[0].1[0].at_ms / 1000;
        self.0.send(second).unwrap();
        let outcome = if second % 2 == 0 { Ok(Admission::default()) } else { Err(Refusal::Closing) };
        Box::pin(std::future::ready(outcome))
    }
}

#[test]
fn looks_are_kept_at_most_as_often_as_is_set_and_trouble_is_told_once() {
    let (kept, seen) = mpsc::channel();
    let (complaints, complained) = mpsc::channel();
    let look = Arc::new(Clocked(AtomicU64::new(0)));
    let complain = move |why: &str| complaints.send(why.to_owned()).unwrap();
    let every = Duration::from_secs(1);
    let recorder = Recorder::start(look.clone(), Arc::new(Sink(kept)), every, complain).unwrap();
    for second in [2, 2, 3, 5, 6, 7] {
        look.0.store(second, Ordering::Relaxed);
        recorder.sample().unwrap();
    }
    drop(recorder);
    assert_eq!(seen.iter().collect::<Vec<_>>(), [2, 3, 5, 6, 7]);
    let complained: Vec<String> = complained.iter().collect();
    assert_eq!(complained.len(), 2, "two and one that follow each other: {complained:?}");
    assert!(complained[0].contains("the series of the fleet are not stored"), "{complained:?}");
}
