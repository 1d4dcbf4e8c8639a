//! Requests: how many go through every link, where they go, how long they take and how they end.
//!
//! In: the world at one step of time. Out: per-second counts as a proxy keeps them. Visitors come at a
//! constant rate to every service nobody calls; each request a service gets makes it call about half of its
//! callees, so that trouble at a callee is felt by its callers and theirs. Nothing is random: the n-th
//! request of two equal worlds is the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::fault::{FaultKind, PathScope};
use domain::{
    Attribute, AttributeValue, Infrastructure, InstanceName, LinkName, ResourceId, ServiceName, Time,
};
use provider::sample::{BackendSample, Counts, LinkSample, LinkSecond};

use crate::world::World;

/// Seconds of counts that are kept: what an observer looks back at, and a little more.
const SECONDS_KEPT: u64 = 36;

/// Requests a second on each link of a service that nobody calls.
const VISITORS: f64 = 40.0;

/// Calls per callee and request.
const CALLS: f64 = 0.5;

/// What a service needs for a request by itself; what it needs while its processor is taken.
const WORK: Duration = Duration::from_millis(3);
const WORK_WITHOUT_CPU: Duration = Duration::from_millis(12);

/// How long a caller waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two health checks of a path, in steps of time.
const CHECK_EVERY: u64 = 2;

/// Requests without an answer in a row that take an instance out of the balancing, and for how long first
/// and at most: as the proxy does.
const EJECT_AFTER: u32 = 5;
const SPELL_FIRST: Duration = Duration::from_secs(1);
const SPELL_MAX: Duration = Duration::from_secs(30);

/// From this many seconds on a connection is old.
const OLD: Duration = Duration::from_secs(5);

/// A release with this variable fails so many requests of a hundred; with this one, each takes so much longer.
const FAILS_PERCENT: &str = "SIMULATED_FAILS_PERCENT";
const SLOWER_MS: &str = "SIMULATED_SLOWER_MS";

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Served,
    /// Answered by an open breaker: the caller goes on without the callee.
    Rejected,
    Failed,
    Throttled,
    Unanswered,
}

/// One request that was made.
#[derive(Debug, Clone, Copy)]
struct Exchange {
    took: Duration,
    end: End,
}

/// An instance that gets requests, in one step of time.
#[derive(Debug, Clone, Copy)]
struct Callee<'a> {
    instance: &'a InstanceName,
    silent: bool,
    /// What it needs for a request, and how it ends, by itself.
    work: Duration,
    end: End,
    /// Of a hundred requests, how many it fails by what it runs.
    fails: u64,
}

/// A fault on a link in one step of time.
struct LinkFault {
    kind: FaultKind,
    since: Time,
    /// What a throttle still lets pass in this step.
    budget: u32,
}

/// One link between two services.
#[derive(Debug, Default)]
pub(crate) struct Link {
    seconds: BTreeMap<u64, Arc<LinkSecond>>,
    pub(crate) backends: BTreeMap<InstanceName, Backend>,
    turn: usize,
    /// Requests that are owed: fractions of one from step to step.
    owed: f64,
    /// Requests that reached the callee in the last step, and in this one.
    delivered: u32,
    /// What was made in this step, for the callers.
    exchanges: Vec<Exchange>,
    /// Counts every request ever made.
    made: u64,
}

/// One instance seen through a link.
#[derive(Debug)]
pub(crate) struct Backend {
    /// Since when the connections to it are open.
    pub(crate) connected_at: Time,
    unanswered: u32,
    out_until: Option<Time>,
    spell: Duration,
    check: Option<Duration>,
    check_failures: u32,
}

impl Backend {
    pub(crate) fn new(connected_at: Time) -> Self {
        let spell = SPELL_FIRST;
        Self { connected_at, unanswered: 0, out_until: None, spell, check: None, check_failures: 0 }
    }
}

/// The links of a fleet, callees before their callers.
pub(crate) fn callees_first(infrastructure: &Infrastructure) -> Vec<LinkName> {
    fn visit<'a>(service: &'a ServiceName, of: &'a Infrastructure, order: &mut Vec<&'a ServiceName>) {
        if order.contains(&service) {
            return;
        }
        for callee in of.services.get(service).into_iter().flat_map(|spec| &spec.dependencies) {
            visit(callee, of, order);
        }
        order.push(service);
    }
    let mut order = Vec::new();
    for service in infrastructure.services.keys() {
        visit(service, infrastructure, &mut order);
    }
    let links = order.into_iter().flat_map(|from| {
        let callees = infrastructure.services.get(from).into_iter().flat_map(|spec| &spec.dependencies);
        callees.map(|to| LinkName { from: from.clone(), to: to.clone() })
    });
    links.collect()
}

impl Link {
    /// Counts one request that began at `began`.
    fn count(&mut self, backend: Option<&InstanceName>, old: bool, began: Time, exchange: Exchange) {
        let second = began.plus(exchange.took).boot_us / 1_000_000;
        let entry = self.seconds.entry(second);
        let entry = entry.or_insert_with(|| Arc::new(LinkSecond { second, ..LinkSecond::default() }));
        let entry = Arc::make_mut(entry);
        if exchange.end == End::Rejected {
            entry.rejected += 1;
            return;
        }
        let same = |counts: &&mut Counts| counts.backend.as_ref() == backend && counts.old_connection == old;
        let counts = match entry.counts.iter_mut().find(same) {
            Some(counts) => counts,
            None => {
                entry.counts.push(Counts {
                    backend: backend.cloned(),
                    old_connection: old,
                    ..Counts::default()
                });
                entry.counts.last_mut().expect("it was pushed just now")
            }
        };
        counts.requests += 1;
        counts.errors += u64::from(exchange.end != End::Served);
        counts.throttled += u64::from(exchange.end == End::Throttled);
        counts.unanswered += u64::from(exchange.end == End::Unanswered);
        counts.latency.record(exchange.took);
    }

    /// A process behind the link ended with a request under way.
    pub(crate) fn lose_one(&mut self, backend: &InstanceName, now: Time) {
        let Some(known) = self.backends.get(backend) else { return };
        let old = now.since(known.connected_at) > OLD;
        self.count(Some(backend), old, now, Exchange { took: WORK, end: End::Unanswered });
    }

    pub(crate) fn sample(&self, breaker: domain::snapshot::BreakerState, now: Time) -> LinkSample {
        let complete = now.boot_us / 1_000_000;
        LinkSample {
            seconds: self.seconds.range(..complete).map(|(_, second)| Arc::clone(second)).collect(),
            backends: self
                .backends
                .iter()
                .map(|(name, backend)| {
                    let sample = BackendSample {
                        ejected: backend.out_until.is_some(),
                        ejected_by_plan: false,
                        connection_floors_ms: Vec::new(),
                        path_check: backend.check,
                        path_check_failures: backend.check_failures,
                    };
                    (name.clone(), sample)
                })
                .collect(),
            breaker: Some(breaker),
        }
    }
}

impl World {
    /// One step of traffic, beginning at `now`, `step` long.
    pub(crate) fn serve(&mut self, now: Time, step: Duration, count: u64) {
        let order = self.order.clone();
        let held_out = self.held_out();
        for name in order.iter() {
            let Some(mut link) = self.links.remove(name) else { continue };
            let mut faults = self.link_faults(name, now, step);
            if count.is_multiple_of(CHECK_EVERY) {
                self.check_paths(&mut link, &mut faults, now);
            }
            self.requests(name, &mut link, &mut faults, &held_out, now, step);
            let oldest = (now.boot_us / 1_000_000).saturating_sub(SECONDS_KEPT);
            while link.seconds.first_key_value().is_some_and(|(second, _)| *second < oldest) {
                link.seconds.pop_first();
            }
            self.links.insert(name.clone(), link);
        }
    }

    /// The faults on a link, with what their throttles let pass in this step.
    fn link_faults(&self, name: &LinkName, now: Time, step: Duration) -> Vec<LinkFault> {
        let here = self
            .faults
            .values()
            .filter(|active| matches!(&active.fault.target, ResourceId::Link(on) if on == name));
        here.map(|active| LinkFault {
            kind: active.fault.kind.clone(),
            since: active.since,
            budget: budget(&active.fault.kind, now, step),
        })
        .collect()
    }

    fn requests(
        &self,
        name: &LinkName,
        link: &mut Link,
        faults: &mut [LinkFault],
        held_out: &[(LinkName, InstanceName)],
        now: Time,
        step: Duration,
    ) {
        let inflow = if self.is_called(&name.from) {
            let into = self.links.iter().filter(|(other, _)| other.to == name.from);
            into.map(|(_, other)| f64::from(other.delivered)).sum::<f64>() * CALLS
        } else {
            VISITORS * step.as_secs_f64()
        };
        link.owed += inflow;
        let requests = link.owed.floor() as u32;
        link.owed -= f64::from(requests);
        link.delivered = 0;
        link.exchanges.clear();
        let open = self.value(&Attribute::BreakerHeldOpen(name.clone())) == Some(AttributeValue::Flag(true));
        let usable: Vec<Callee<'_>> = self
            .usable(name, link, held_out, now)
            .into_iter()
            .map(|instance| self.callee(instance))
            .collect();
        for _ in 0..requests {
            link.made += 1;
            let (backend, exchange) = if open {
                (None, Exchange { took: Duration::ZERO, end: End::Rejected })
            } else if usable.is_empty() {
                (None, Exchange { took: Duration::from_millis(1), end: End::Unanswered })
            } else {
                link.turn += 1;
                let to = usable[link.turn % usable.len()];
                let exchange = self.exchange(name, link, to, faults);
                (Some(to.instance), exchange)
            };
            let old = backend
                .and_then(|backend| link.backends.get(backend))
                .is_some_and(|backend| now.since(backend.connected_at) > OLD);
            link.count(backend, old, now, exchange);
            link.exchanges.push(exchange);
            if let Some(backend) = backend {
                self.note_health(link, backend, exchange.end, usable.len(), now);
            }
        }
    }

    /// The instances that requests go to: ready, not taken out by a plan, and not out for their health as
    /// long as others are left.
    fn usable<'a>(
        &'a self,
        name: &LinkName,
        link: &Link,
        held_out: &[(LinkName, InstanceName)],
        now: Time,
    ) -> Vec<&'a InstanceName> {
        let is_held_out =
            |instance: &InstanceName| held_out.iter().any(|(on, one)| on == name && one == instance);
        let callee = self.slots.range(name.to.instance(0)..=name.to.instance(u32::MAX));
        let available: Vec<&InstanceName> = callee
            .filter(|(instance, slot)| slot.is_ready() && !is_held_out(instance))
            .map(|(instance, _)| instance)
            .collect();
        let is_in = |instance: &&&InstanceName| {
            link.backends
                .get(**instance)
                .is_none_or(|backend| backend.out_until.is_none_or(|until| now.reached(until)))
        };
        let well: Vec<&InstanceName> = available.iter().filter(is_in).copied().collect();
        if well.is_empty() { available } else { well }
    }

    fn exchange(
        &self,
        name: &LinkName,
        link: &mut Link,
        to: Callee<'_>,
        faults: &mut [LinkFault],
    ) -> Exchange {
        let connected_at = link.backends.get(to.instance).map_or(self.begun, |backend| backend.connected_at);
        let mut took = Duration::ZERO;
        for LinkFault { kind, since, budget } in faults {
            let meets = |scope: &PathScope| touches(scope, to.instance, connected_at, *since);
            match kind {
                FaultKind::NetworkPartition { scope } if meets(scope) => {
                    return Exchange { took: Duration::from_millis(1), end: End::Unanswered };
                }
                FaultKind::ApiThrottling { scope, .. } if meets(scope) => {
                    if *budget == 0 {
                        return Exchange { took: Duration::from_millis(1), end: End::Throttled };
                    }
                    *budget -= 1;
                }
                FaultKind::NetworkLatency { delay, jitter, scope } if meets(scope) => {
                    // Five values between minus and plus the jitter, in turn.
                    took += *delay - *jitter + *jitter * (link.made % 5) as u32 / 2;
                }
                _ => {}
            }
        }
        if to.silent {
            return Exchange { took: PATIENCE, end: End::Unanswered };
        }
        link.delivered += 1;
        // In no step with the balancing, nor with which callees are called.
        let mut end = if mix(link.made ^ 0xdef_ec7) % 100 < to.fails { End::Failed } else { to.end };
        took += to.work;
        for (index, call) in self.calls_of(&name.to).enumerate() {
            // About every second request calls this callee, as many as are counted on its link, in no step with
            // the balancing.
            let mixed = mix(link.made * 8 + index as u64);
            if mixed.is_multiple_of(2) || call.exchanges.is_empty() {
                continue;
            }
            let called = call.exchanges[(mixed >> 1) as usize % call.exchanges.len()];
            took += called.took;
            if !matches!(called.end, End::Served | End::Rejected) {
                end = End::Failed;
            }
        }
        if took > PATIENCE {
            return Exchange { took: PATIENCE, end: End::Unanswered };
        }
        Exchange { took, end }
    }

    fn note_health(&self, link: &mut Link, to: &InstanceName, end: End, usable: usize, now: Time) {
        let out = link.backends.values().filter(|backend| backend.out_until.is_some()).count();
        let all = out + usable;
        let Some(backend) = link.backends.get_mut(to) else { return };
        if end != End::Unanswered {
            backend.unanswered = 0;
            return;
        }
        backend.unanswered += 1;
        if backend.unanswered >= EJECT_AFTER && backend.out_until.is_none() && out < all / 2 {
            backend.out_until = Some(now.plus(backend.spell));
            backend.spell = (backend.spell * 2).min(SPELL_MAX);
        }
    }

    /// What an instance does for a request by itself. It is the same within a step of time.
    fn callee<'a>(&self, instance: &'a InstanceName) -> Callee<'a> {
        let work = if self.is_short_of_cpu(instance) { WORK_WITHOUT_CPU } else { WORK };
        let end = if self.is_full(instance) { End::Failed } else { End::Served };
        let release = self.slots.get(instance).and_then(|slot| slot.release.as_deref());
        let behind = self.behind.get(&instance.service);
        let defect = |name| {
            let said = |variables: &BTreeMap<String, String>| variables.get(name)?.parse::<u64>().ok();
            behind.and_then(said).or_else(|| said(&release?.environment))
        };
        let work = work + Duration::from_millis(defect(SLOWER_MS).unwrap_or(0));
        let fails = defect(FAILS_PERCENT).unwrap_or(0);
        Callee { instance, silent: self.is_silent(instance), work, end, fails }
    }

    fn check_paths(&self, link: &mut Link, faults: &mut [LinkFault], now: Time) {
        for (instance, backend) in &mut link.backends {
            // Instances that are not ready are not asked.
            if !self.slots.get(instance).is_some_and(|slot| slot.is_ready()) {
                continue;
            }
            let mut took = Some(Duration::from_millis(1)).filter(|_| !self.is_silent(instance));
            for LinkFault { kind, since, budget } in faults.iter_mut() {
                // A check makes a connection of its own.
                let meets = |scope: &PathScope| touches(scope, instance, now, *since);
                match kind {
                    FaultKind::NetworkLatency { delay, scope, .. } if meets(scope) => {
                        took = took.map(|took| took + *delay);
                    }
                    FaultKind::NetworkPartition { scope } if meets(scope) => took = None,
                    FaultKind::ApiThrottling { scope, .. } if meets(scope) => {
                        took = took.filter(|_| *budget > 0);
                        *budget = budget.saturating_sub(1);
                    }
                    _ => {}
                }
            }
            backend.check = took.filter(|took| *took <= PATIENCE);
            if backend.check.is_none() {
                backend.check_failures += 1;
                continue;
            }
            backend.check_failures = 0;
            if backend.out_until.is_some_and(|until| now.reached(until)) {
                backend.out_until = None;
                backend.unanswered = 0;
            }
        }
    }

    fn calls_of<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = &'a Link> + 'a {
        self.links.iter().filter(move |(name, _)| name.from == *service).map(|(_, link)| link)
    }

    fn is_called(&self, service: &ServiceName) -> bool {
        self.order.iter().any(|link| link.to == *service)
    }

    /// The instances that plans took out of the balancing, and of which link.
    fn held_out(&self) -> Vec<(LinkName, InstanceName)> {
        let out = self.attributes.iter().filter_map(|(attribute, layered)| match attribute {
            Attribute::Ejected(link, instance) if layered.value() == AttributeValue::Flag(true) => {
                Some((link.clone(), instance.clone()))
            }
            _ => None,
        });
        out.collect()
    }
}

/// Spreads neighbouring numbers (the finaliser of SplitMix64): the same for the same request, and without a
/// rhythm.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Requests a throttle lets pass in one step: what its rate adds up to at the end of the step, less what it
/// did at its beginning.
fn budget(kind: &FaultKind, now: Time, step: Duration) -> u32 {
    let FaultKind::ApiThrottling { requests_per_second, .. } = kind else { return 0 };
    let until = |at: Time| (at.boot_us as f64 / 1e6 * f64::from(*requests_per_second)).floor();
    (until(now.plus(step)) - until(now)) as u32
}

/// Whether a connection to an instance, open since `connected_at`, meets a fault that began at `since`.
fn touches(scope: &PathScope, instance: &InstanceName, connected_at: Time, since: Time) -> bool {
    match scope {
        PathScope::All => true,
        PathScope::Backend(one) => one == instance,
        PathScope::EstablishedConnections => !connected_at.reached(since),
    }
}
