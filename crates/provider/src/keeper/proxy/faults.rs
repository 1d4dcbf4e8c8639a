//! The bad network of one link: what the faults in force do to one path to one instance.
//!
//! In: the faults, and for each exchange the instance and when its connection was opened. Out: a verdict.
//! Pure but for its seeded generator; sleeping and cutting are done by the caller.
//!
//! The layer lies between the proxy's measuring point and the instance. The proxy's latencies, errors,
//! health ejection and path checks therefore see a fault exactly as they would see a bad network.

use std::time::Duration;

use domain::{FaultKind, InstanceName, PathScope, StepToken, Time};

/// One fault on a link.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkFault {
    /// The step that put it there.
    pub token: StepToken,
    /// What; only the three network kinds do anything here.
    pub kind: FaultKind,
    /// When it began: [`PathScope::EstablishedConnections`] means connections opened before.
    pub since: Time,
}

/// One connection, there or about to be opened, to one instance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    pub(super) instance: &'a InstanceName,
    pub(super) opened: Time,
}

/// What happens to an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It passes after this long.
    Pass(Duration),
    /// No connection: the path is cut.
    Cut,
    /// It is answered with 429 in the instance's place.
    Throttled,
}

/// The faults in force.
#[derive(Debug)]
pub(super) struct FaultLayer {
    active: Vec<Active>,
    random: fastrand::Rng,
}

#[derive(Debug)]
struct Active {
    fault: LinkFault,
    effect: Effect,
}

#[derive(Debug)]
enum Effect {
    Delay { delay: Duration, jitter: Duration },
    Cut,
    Throttle(TokenBucket),
}

impl FaultLayer {
    /// No faults yet; the seed makes the jitter repeatable.
    pub(super) fn seeded(seed: u64) -> Self {
        Self { active: Vec::new(), random: fastrand::Rng::with_seed(seed) }
    }

    /// Puts these faults in force and no others. A throttle that stays goes on with the bucket it has.
    pub(super) fn replace(&mut self, faults: Vec<LinkFault>, now: Time) {
        let mut before = std::mem::take(&mut self.active);
        self.active = faults
            .into_iter()
            .filter_map(|fault| match before.iter().position(|active| active.fault == fault) {
                Some(kept) => Some(before.swap_remove(kept)),
                None => Active::begin(fault, now),
            })
            .collect();
    }

    /// What happens to an exchange that begins now on this path. Takes from the token buckets.
    pub(super) fn exchange(&mut self, path: Path<'_>, now: Time) -> Verdict {
        if self.cuts(path) {
            return Verdict::Cut;
        }
        let throttled = self.active.iter_mut().filter(|active| active.covers(path)).any(|active| {
            match &mut active.effect {
                Effect::Throttle(bucket) => !bucket.take(now),
                Effect::Delay { .. } | Effect::Cut => false,
            }
        });
        if throttled { Verdict::Throttled } else { Verdict::Pass(self.delay(path)) }
    }

    /// Whether the path is cut.
    pub(super) fn cuts(&self, path: Path<'_>) -> bool {
        self.active.iter().any(|active| matches!(active.effect, Effect::Cut) && active.covers(path))
    }

    /// How much later something on this path arrives.
    pub(super) fn delay(&mut self, path: Path<'_>) -> Duration {
        let random = &mut self.random;
        self.active
            .iter()
            .filter(|active| active.covers(path))
            .filter_map(|active| match active.effect {
                Effect::Delay { delay, jitter } => {
                    let seconds = delay.as_secs_f64() + jitter.as_secs_f64() * (random.f64() * 2.0 - 1.0);
                    Some(Duration::from_secs_f64(seconds.max(0.0)))
                }
                Effect::Cut | Effect::Throttle(_) => None,
            })
            .sum()
    }
}

impl Active {
    /// `None` for a fault that is not of the network.
    fn begin(fault: LinkFault, now: Time) -> Option<Self> {
        let effect = match &fault.kind {
            FaultKind::NetworkLatency { delay, jitter, .. } => {
                Effect::Delay { delay: *delay, jitter: *jitter }
            }
            FaultKind::NetworkPartition { .. } => Effect::Cut,
            FaultKind::ApiThrottling { requests_per_second, .. } => {
                Effect::Throttle(TokenBucket::full(*requests_per_second, now))
            }
            _ => return None,
        };
        Some(Self { fault, effect })
    }

    fn covers(&self, path: Path<'_>) -> bool {
        match &self.fault.kind {
            FaultKind::NetworkLatency { scope, .. }
            | FaultKind::NetworkPartition { scope }
            | FaultKind::ApiThrottling { scope, .. } => match scope {
                PathScope::All => true,
                PathScope::Backend(instance) => instance == path.instance,
                PathScope::EstablishedConnections => path.opened < self.fault.since,
            },
            _ => false,
        }
    }
}

/// Lets `rate` a second pass, and after a pause a quarter of that (at least one) at once: a common
/// setting of API gateways, and short enough that the rate shows within a second.
#[derive(Debug)]
struct TokenBucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    filled: Time,
}

impl TokenBucket {
    fn full(rate: u32, now: Time) -> Self {
        let rate = f64::from(rate);
        let burst = (rate / 4.0).floor().max(1.0);
        Self { rate, burst, tokens: burst, filled: now }
    }

    fn take(&mut self, now: Time) -> bool {
        self.tokens = (self.tokens + now.since(self.filled).as_secs_f64() * self.rate).min(self.burst);
        self.filled = now;
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use domain::IdSource;
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Time {
        Time { boot_us: ms * 1000, wall_us: 0 }
    }

    fn instance(ordinal: u32) -> InstanceName {
        domain::ServiceName::new("cart").unwrap().instance(ordinal)
    }

    fn fault(kind: FaultKind, since: Time) -> LinkFault {
        let token = StepToken { plan: IdSource::seeded(1).next(since), index: 0 };
        LinkFault { token, kind, since }
    }

    fn layer(kind: FaultKind, since: Time) -> FaultLayer {
        let mut layer = FaultLayer::seeded(7);
        layer.replace(vec![fault(kind, since)], since);
        layer
    }

    #[test]
    fn each_scope_covers_its_part() {
        let (first, second) = (instance(0), instance(1));
        let old = Path { instance: &first, opened: at(10) };
        let new = Path { instance: &first, opened: at(30) };
        let other = Path { instance: &second, opened: at(10) };
        for (scope, covered) in [
            (PathScope::All, [true, true, true]),
            (PathScope::Backend(first.clone()), [true, true, false]),
            (PathScope::EstablishedConnections, [true, false, true]),
        ] {
            let layer = layer(FaultKind::NetworkPartition { scope }, at(20));
            assert_eq!([old, new, other].map(|path| layer.cuts(path)), covered);
        }
    }

    #[test]
    fn a_fault_that_is_gone_does_nothing() {
        let first = instance(0);
        let path = Path { instance: &first, opened: at(10) };
        let mut layer = layer(FaultKind::NetworkPartition { scope: PathScope::All }, at(20));
        assert_eq!(layer.exchange(path, at(21)), Verdict::Cut);
        layer.replace(Vec::new(), at(22));
        assert_eq!(layer.exchange(path, at(22)), Verdict::Pass(Duration::ZERO));
    }

    #[test]
    fn a_throttle_goes_on_with_its_bucket_when_other_things_change() {
        let first = instance(0);
        let path = Path { instance: &first, opened: at(10) };
        let kind = FaultKind::ApiThrottling { requests_per_second: 1, scope: PathScope::All };
        let mut layer = layer(kind.clone(), at(20));
        assert_eq!(layer.exchange(path, at(20)), Verdict::Pass(Duration::ZERO));
        layer.replace(vec![fault(kind, at(20))], at(21));
        assert_eq!(layer.exchange(path, at(21)), Verdict::Throttled);
    }

    proptest! {
        #[test]
        fn delays_stay_within_the_jitter(delay in 1u64..5000, share in 0.0f64..=1.0) {
            let delay = Duration::from_millis(delay);
            let jitter = delay.mul_f64(share);
            let first = instance(0);
            let mut layer = layer(FaultKind::NetworkLatency { delay, jitter, scope: PathScope::All }, at(0));
            let slack = Duration::from_nanos(10);
            for _ in 0..20 {
                let seen = layer.delay(Path { instance: &first, opened: at(1) });
                prop_assert!(seen + slack >= delay - jitter && seen <= delay + jitter + slack, "{seen:?}");
            }
        }

        #[test]
        fn a_throttle_lets_the_rate_and_one_burst_pass(rate in 1u32..=100, seconds in 1u64..10) {
            let first = instance(0);
            let kind = FaultKind::ApiThrottling { requests_per_second: rate, scope: PathScope::All };
            let mut layer = layer(kind, at(0));
            let path = Path { instance: &first, opened: at(0) };
            let passed = (0..seconds * 1000)
                .filter(|ms| layer.exchange(path, at(*ms)) == Verdict::Pass(Duration::ZERO))
                .count() as f64;
            let expected = f64::from(rate) * seconds as f64;
            prop_assert!(passed >= expected - 1.0 && passed <= expected + f64::from(rate) / 4.0 + 1.0);
        }
    }
}
