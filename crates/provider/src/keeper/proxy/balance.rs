//! Which instance gets the next exchange, and which get none for a while.
//!
//! In: the declared backends, and how exchanges and path checks went. Out: a lease on one of them: the one
//! with the fewest exchanges under way among those ready and not ejected, in turn where several have as few.
//!
//! # Invariants
//!
//! - Health ejection takes at most half of the available backends, rounded down; of one it takes none.
//! - Where only backends ejected for their health are left, they are used: a bad path is better than none.
//!   What a plan ejected stays out.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{InstanceName, Time};

use super::lock;
use super::pool::Pool;
use crate::sample::BackendSample;

/// Failed exchanges in a row that eject: Envoy's default. Under load they come within a second, and one lost
/// connection does not make them.
const FAILURES_MAX: u32 = 5;
/// The first time out; doubles each time to [`SPELL_MAX`].
const SPELL_FIRST: Duration = Duration::from_secs(1);
/// The longest time out. A backend that stayed in for as long starts again at [`SPELL_FIRST`].
const SPELL_MAX: Duration = Duration::from_secs(30);

/// One instance behind the link, as the keeper's table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Which.
    pub instance: InstanceName,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether its readiness probe passes.
    pub ready: bool,
    /// Taken out of the balancing by a plan.
    pub ejected: bool,
}

/// One instance behind the link, with what the link knows of it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) instance: InstanceName,
    pub(super) pool: Pool,
    under_way: AtomicU32,
    status: Mutex<Status>,
}

#[derive(Debug, Default)]
struct Status {
    ready: bool,
    ejected_by_plan: bool,
    health: Health,
    checking: bool,
    check: Option<Duration>,
    check_failures: u32,
}

/// A share of a slot's load; ends when dropped.
#[derive(Debug)]
pub(super) struct Lease(Arc<Slot>);

/// Whether an instance may be balanced to, judged by what happened on its path.
#[derive(Debug, Default)]
struct Health {
    failures: u32,
    out_until: Option<Time>,
    spell: Duration,
    returned: Option<Time>,
}

/// The instances behind one link.
#[derive(Debug, Default)]
pub(super) struct Balancer {
    slots: Vec<Arc<Slot>>,
    turn: usize,
}

impl Balancer {
    /// Takes over the declared backends. One that stays keeps its connections and its health; one at a new
    /// address, or that just became ready, begins afresh.
    pub(super) fn replace(&mut self, backends: Vec<Backend>) {
        let before = std::mem::take(&mut self.slots);
        self.slots = backends
            .into_iter()
            .map(|backend| {
                let same = |slot: &&Arc<Slot>| {
                    slot.instance == backend.instance && slot.pool.address() == backend.address
                };
                let slot = before.iter().find(same).cloned().unwrap_or_else(|| Slot::new(&backend));
                slot.declare(&backend);
                slot
            })
            .collect();
    }

    pub(super) fn slots(&self) -> &[Arc<Slot>] {
        &self.slots
    }

    /// The instance for the next exchange, `except` one that was just tried.
    pub(super) fn choose(&mut self, except: Option<&InstanceName>) -> Option<Lease> {
        let allowed = |slot: &Slot| slot.is_available() && Some(&slot.instance) != except;
        let at = self
            .least_busy(|slot| allowed(slot) && !slot.is_out())
            .or_else(|| self.least_busy(|slot| allowed(slot)))?;
        self.turn = at + 1;
        Some(Lease::new(&self.slots[at]))
    }

    fn least_busy(&self, allowed: impl Fn(&Slot) -> bool) -> Option<usize> {
        let count = self.slots.len();
        (0..count)
            .map(|step| (self.turn + step) % count)
            .filter(|at| allowed(&self.slots[*at]))
            .min_by_key(|at| self.slots[*at].load())
    }

    /// An exchange with `slot` got no connection or no answer.
    pub(super) fn failed(&mut self, slot: &Slot, now: Time) {
        lock(&slot.status).health.failures += 1;
        let available = self.slots.iter().filter(|other| other.is_available());
        let (count, out) =
            available.fold((0, 0), |(count, out), other| (count + 1, out + usize::from(other.is_out())));
        let mut status = lock(&slot.status);
        if status.health.is_due() && out < count / 2 {
            status.health.eject(now);
        }
    }
}

impl Slot {
    fn new(backend: &Backend) -> Arc<Self> {
        Arc::new(Self {
            instance: backend.instance.clone(),
            pool: Pool::new(backend.address),
            under_way: AtomicU32::new(0),
            status: Mutex::default(),
        })
    }

    fn declare(&self, backend: &Backend) {
        let mut status = lock(&self.status);
        if status.ready != backend.ready {
            // Another process, or one that was away: what is known of the path is no longer true.
            *status = Status { ready: backend.ready, checking: status.checking, ..Status::default() };
        }
        status.ejected_by_plan = backend.ejected;
    }

    /// Exchanges under way.
    pub(super) fn load(&self) -> u32 {
        self.under_way.load(Ordering::Relaxed)
    }

    fn is_available(&self) -> bool {
        let status = lock(&self.status);
        status.ready && !status.ejected_by_plan
    }

    fn is_out(&self) -> bool {
        lock(&self.status).health.out_until.is_some()
    }

    /// An exchange was answered.
    pub(super) fn answered(&self) {
        lock(&self.status).health.failures = 0;
    }

    /// Whether a path check is to begin now: the instance is ready and none is running.
    pub(super) fn begin_check(&self) -> bool {
        let mut status = lock(&self.status);
        let begins = status.ready && !status.checking;
        status.checking |= begins;
        begins
    }

    /// A path check ended; `took` is `None` where it failed.
    pub(super) fn end_check(&self, took: Option<Duration>, now: Time) {
        let mut status = lock(&self.status);
        status.checking = false;
        if !status.ready {
            return;
        }
        status.check = took;
        status.check_failures = if took.is_some() { 0 } else { status.check_failures.saturating_add(1) };
        if took.is_some() {
            status.health.check_passed(now);
        }
    }

    pub(super) fn sample(&self, now: Time) -> BackendSample {
        let status = lock(&self.status);
        BackendSample {
            ejected: status.ejected_by_plan || status.health.out_until.is_some(),
            ejected_by_plan: status.ejected_by_plan,
            path_check: status.check,
            path_check_failures: status.check_failures,
            connection_floors_ms: self.pool.floors_ms(now),
        }
    }
}

impl Lease {
    fn new(slot: &Arc<Slot>) -> Self {
        slot.under_way.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(slot))
    }

    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Health {
    fn is_due(&self) -> bool {
        self.failures >= FAILURES_MAX && self.out_until.is_none()
    }

    fn eject(&mut self, now: Time) {
        self.spell = match self.returned {
            Some(returned) if now.since(returned) < SPELL_MAX => (self.spell * 2).min(SPELL_MAX),
            _ => SPELL_FIRST,
        };
        self.out_until = Some(now.plus(self.spell));
    }

    /// Ends the time out, if it is over.
    fn check_passed(&mut self, now: Time) {
        if self.out_until.is_some_and(|until| now.reached(until)) {
            self.out_until = None;
            self.failures = 0;
            self.returned = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Time {
        Time { boot_us: ms * 1000, wall_us: 0 }
    }

    fn backend(ordinal: u32) -> Backend {
        Backend {
            instance: domain::ServiceName::new("cart").unwrap().instance(ordinal),
            address: SocketAddr::from(([127, 0, 0, 1], 40_000 + ordinal as u16)),
            ready: true,
            ejected: false,
        }
    }

    fn balancer(backends: impl IntoIterator<Item = Backend>) -> Balancer {
        let mut balancer = Balancer::default();
        balancer.replace(backends.into_iter().collect());
        balancer
    }

    fn fail(balancer: &mut Balancer, slot: usize, times: u32, now: Time) {
        let slot = Arc::clone(&balancer.slots[slot]);
        for _ in 0..times {
            balancer.failed(&slot, now);
        }
    }

    fn out(balancer: &Balancer) -> Vec<bool> {
        balancer.slots.iter().map(|slot| slot.sample(Time { boot_us: 0, wall_us: 0 }).ejected).collect()
    }

    #[test]
    fn the_least_busy_is_chosen_and_equals_take_turns() {
        let mut balancer = balancer((0..3).map(backend));
        let held: Vec<_> = (0..3).map(|_| balancer.choose(None).unwrap()).collect();
        let order: Vec<_> = held.iter().map(|lease| lease.slot().instance.ordinal).collect();
        assert_eq!(order, [0, 1, 2]);
        let mut held = held;
        drop(held.remove(1));
        assert_eq!(balancer.choose(None).unwrap().slot().instance.ordinal, 1);
    }

    #[test]
    fn a_backend_that_is_not_ready_or_ejected_by_plan_gets_nothing() {
        let mut balancer =
            balancer([Backend { ready: false, ..backend(0) }, Backend { ejected: true, ..backend(1) }]);
        assert!(balancer.choose(None).is_none());
        balancer.replace(vec![backend(0), Backend { ejected: true, ..backend(1) }]);
        assert_eq!(balancer.choose(None).unwrap().slot().instance.ordinal, 0);
        assert!(balancer.choose(Some(&backend(0).instance)).is_none());
    }

    #[test]
    fn a_single_backend_is_never_ejected() {
        let mut balancer = balancer([backend(0)]);
        fail(&mut balancer, 0, 100, at(0));
        assert_eq!(out(&balancer), [false]);
    }

    #[test]
    fn it_returns_after_its_time_when_a_check_passes_and_the_time_doubles() {
        let mut balancer = balancer((0..2).map(backend));
        let slot = Arc::clone(&balancer.slots[0]);
        fail(&mut balancer, 0, 5, at(0));
        assert_eq!(out(&balancer), [true, false]);
        slot.end_check(Some(Duration::ZERO), at(900));
        assert_eq!(out(&balancer), [true, false], "too early");
        slot.end_check(None, at(1500));
        assert_eq!(out(&balancer), [true, false], "not well");
        slot.end_check(Some(Duration::ZERO), at(1600));
        assert_eq!(out(&balancer), [false, false]);

        fail(&mut balancer, 0, 5, at(1700));
        slot.end_check(Some(Duration::ZERO), at(3600));
        assert_eq!(out(&balancer), [true, false], "the second time is 2 s");
        slot.end_check(Some(Duration::ZERO), at(3700));
        assert_eq!(out(&balancer), [false, false]);

        fail(&mut balancer, 0, 5, at(40_000));
        slot.end_check(Some(Duration::ZERO), at(41_000));
        assert_eq!(out(&balancer), [false, false], "after 30 s without trouble it is 1 s again");
    }

    #[test]
    fn an_answer_in_between_clears_the_count() {
        let mut balancer = balancer((0..2).map(backend));
        fail(&mut balancer, 0, 4, at(0));
        balancer.slots[0].answered();
        fail(&mut balancer, 0, 4, at(0));
        assert_eq!(out(&balancer), [false, false]);
    }

    #[test]
    fn the_next_process_begins_with_a_clean_slate() {
        let mut balancer = balancer((0..2).map(backend));
        fail(&mut balancer, 0, 5, at(0));
        balancer.replace(vec![Backend { ready: false, ..backend(0) }, backend(1)]);
        balancer.replace(vec![backend(0), backend(1)]);
        assert_eq!(out(&balancer), [false, false]);
    }

    #[test]
    fn ejected_backends_are_used_where_nothing_else_is_left() {
        let mut balancer = balancer((0..2).map(backend));
        fail(&mut balancer, 0, 5, at(0));
        balancer.replace(vec![backend(0), Backend { ready: false, ..backend(1) }]);
        assert_eq!(balancer.choose(None).unwrap().slot().instance.ordinal, 0);
    }

    proptest! {
        #[test]
        fn never_more_than_half_are_ejected(count in 1u32..9, failing in prop::collection::vec(0usize..9, 0..200)) {
            let mut balancer = balancer((0..count).map(backend));
            for (step, slot) in failing.into_iter().enumerate() {
                fail(&mut balancer, slot % count as usize, 3, at(step as u64));
                let ejected = out(&balancer).into_iter().filter(|out| *out).count();
                prop_assert!(ejected <= count as usize / 2);
                prop_assert!(balancer.choose(None).is_some());
            }
        }
    }
}
