//! Which seconds a sighting counts: all recent ones, or only those after a repair.

use domain::Environment;
use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};
use provider::sample::{BackendSample, Counts, Histogram, LinkSecond, Sample};

use super::*;

fn name() -> LinkName {
    "front->cart".parse().unwrap()
}

/// At `boot_us`: one link to one instance, with requests of so many milliseconds ending in these seconds.
fn look(boot_us: u64, requests: &[(u64, u64)]) -> Sighting {
    let mut link = LinkSample::default();
    link.backends.insert("cart-0".parse().unwrap(), BackendSample::default());
    for (second, ms) in requests {
        let mut latency = Histogram::default();
        latency.record(Duration::from_millis(*ms));
        let backend = Some("cart-0".parse().unwrap());
        let counts = vec![Counts { backend, requests: 1, latency, ..Counts::default() }];
        link.seconds.push_back(Arc::new(LinkSecond { second: *second, rejected: 0, counts }));
    }
    let sample = Sample { links: [(name(), link)].into(), ..empty(boot_us) };
    Sighting::of(sample, Said::default(), SLOW_MS, 1)
}

/// At `boot_us`: a fleet of nothing.
fn empty(boot_us: u64) -> Sample {
    Sample {
        taken: at(boot_us),
        fleet_age: Duration::from_secs(60),
        infrastructure: None,
        environment: Environment::Dev,
        services: BTreeMap::new(),
        links: BTreeMap::new(),
        unbound: Vec::new(),
    }
}

fn at(boot_us: u64) -> Time {
    Time { boot_us, wall_us: 0 }
}

/// A machine at a given time on which limits can be held, or not.
struct Machine {
    limits: std::sync::atomic::AtomicBool,
    boot_us: AtomicU64,
}

fn machine() -> Arc<Machine> {
    Arc::new(Machine { limits: false.into(), boot_us: 0.into() })
}

impl Look for Machine {
    fn capabilities(&self) -> Capabilities {
        let held = domain::Enforcement::Kernel("cgroup v2".to_owned());
        let cpu_limit = match self.limits.load(Ordering::Relaxed) {
            true => held.clone(),
            false => domain::Enforcement::Unavailable("the group cannot be made".to_owned()),
        };
        let (memory_limit, volumes, host_stress, links) = (held.clone(), held.clone(), held.clone(), held);
        Capabilities { provider: "test".to_owned(), cpu_limit, memory_limit, volumes, host_stress, links }
    }

    fn infrastructure(&self) -> Result<Option<domain::Infrastructure>, ProviderError> {
        Err(nothing())
    }

    fn sample(&self) -> Result<Sample, ProviderError> {
        Ok(empty(self.boot_us.load(Ordering::Relaxed)))
    }

    fn events(&self, _: u64, _: Duration) -> Result<Vec<Event>, ProviderError> {
        Err(nothing())
    }

    fn logs(&self, _: &domain::ServiceName, _: usize) -> Result<Vec<String>, ProviderError> {
        Err(nothing())
    }
}

fn nothing() -> ProviderError {
    ProviderError::Failed { what: "looking".to_owned(), why: "nothing is up".to_owned() }
}

#[test]
fn a_limit_that_can_be_held_again_is_one_that_can_be_raised_again() {
    let machine = machine();
    let observer = Observer::new(machine.clone());
    assert!(observer.capabilities().cpu_limit.unavailable().is_some());
    machine.limits.store(true, Ordering::Relaxed);
    assert!(observer.capabilities().cpu_limit.unavailable().is_none());
}

/// Spans that say how often they were asked for.
#[derive(Default)]
struct Spans(AtomicU64);

impl TraceSource for Spans {
    fn traces(&self, _: Time) -> Traces {
        let requests = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        let recent = domain::Window { requests, ..Default::default() };
        let calls = domain::TracedCalls { recent, ..Default::default() };
        Traces { links: [(name(), calls)].into(), ..Traces::default() }
    }
}

#[test]
fn looks_within_a_second_ask_the_spans_once() {
    let machine = machine();
    let observer = Observer::new(machine.clone()).with_traces(Arc::<Spans>::default());
    let asked = |boot_us| {
        machine.boot_us.store(boot_us, Ordering::Relaxed);
        let sighting = observer.look().unwrap();
        sighting.snapshot().traces.links[&name()].recent.requests
    };
    assert_eq!([5_000_000, 5_000_100, 5_999_999].map(asked), [1; 3]);
    assert_eq!([6_000_000, 6_900_000, 7_100_000].map(asked), [2, 2, 3]);
}

#[test]
fn slow_requests_from_before_a_repair_are_not_held_against_it() {
    let sighting = look(104_300_000, &[(101, 2000), (102, 2000), (103, 5)]);
    assert!(sighting.snapshot().links[&name()].recent.p95_ms.unwrap() > 1000.0);
    let cut = sighting.since(at(102_900_000)).links[&name()].clone();
    assert_eq!((cut.recent.requests, cut.recent.seconds), (1, 1));
    assert!(cut.recent.p95_ms.unwrap() < 10.0, "{cut:?}");
    let backend = &cut.backends[&"cart-0".parse().unwrap()];
    assert_eq!(backend.recent.requests, 1, "the instance behind the link is judged by the same seconds");
}

#[test]
fn until_a_second_is_complete_nothing_is_known() {
    let cut = look(104_300_000, &[(103, 5), (104, 5)]).since(at(103_000_001));
    let recent = cut.links[&name()].recent;
    assert_eq!((recent.requests, recent.seconds, recent.p95_ms), (0, 0, None));
}

#[test]
fn a_repair_long_ago_leaves_nothing_to_cut_off() {
    let sighting = look(104_300_000, &[(101, 9), (102, 8), (103, 5)]);
    assert_eq!(sighting.since(at(101_000_000)), *sighting.snapshot());
}

proptest! {
    /// Exactly the recent seconds that lie wholly after the time are counted; what is usual stays the same.
    #[test]
    fn only_seconds_wholly_after_the_time_are_counted(
        now_us in 0_u64..100_000_000,
        since_us in 0_u64..120_000_000,
        seconds in prop::collection::btree_set(0_u64..100, 0..60),
    ) {
        let requests: Vec<(u64, u64)> = seconds.iter().map(|second| (*second, 5)).collect();
        let sighting = look(now_us, &requests);
        let cut = sighting.since(at(since_us));
        let now = now_us / 1_000_000;
        let wanted = seconds
            .iter()
            .filter(|second| **second < now && **second + RECENT >= now && **second * 1_000_000 >= since_us)
            .count();
        let (cut, whole) = (&cut.links[&name()], &sighting.snapshot().links[&name()]);
        prop_assert_eq!(cut.recent.requests, wanted as u64);
        prop_assert_eq!(cut.before, whole.before);
        prop_assert!(cut.recent.requests <= whole.recent.requests);
    }
}
