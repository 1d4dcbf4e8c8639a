//! What planning promises whatever is wrong and whatever was seen.

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::plan::guard::{GuardContext, Objection, Switches, guard};

const CLASSES: [CauseClass; 10] = [
    CauseClass::ProcessEnded,
    CauseClass::ProcessHangs,
    CauseClass::CpuExhausted,
    CauseClass::MemoryExhausted,
    CauseClass::DiskExhausted,
    CauseClass::PathSlow,
    CauseClass::PathBroken,
    CauseClass::Throttled,
    CauseClass::ServiceSlow,
    CauseClass::ServiceFailing,
];
const REASONS: [Reason; 14] = [
    Reason::Unspecified,
    Reason::Exit,
    Reason::OutOfMemory,
    Reason::CrashLoop,
    Reason::Unresponsive,
    Reason::Load,
    Reason::Unexplained,
    Reason::TemporaryFiles,
    Reason::Logs,
    Reason::Cache,
    Reason::Data,
    Reason::OneBackend,
    Reason::AllBackends,
    Reason::StaleConnections,
];
const PLACES: [&str; 9] = [
    "instance/cart-0",
    "instance/database-0",
    "volume/cart-1",
    "volume/database-0",
    "service/cart",
    "link/front->cart",
    "link/load->front",
    "link/cart->database",
    "node/local",
];

fn any_world(rng: &mut fastrand::Rng) -> World {
    let mut world = world();
    for name in ["cart-0", "cart-1", "front-0", "database-0"] {
        let state = slot_mut(&mut world.snapshot, name);
        if rng.bool() {
            state.usage.disk_used = Some(Bytes::mib(rng.u64(80..101)));
            state.usage.disk_logs = Some(Bytes::mib(rng.u64(..90)));
            state.usage.cpu = Some(Cores(rng.f64()));
        }
        if rng.u8(..4) == 0 {
            state.usage = Default::default();
        }
        if rng.bool() {
            hangs(&mut world.snapshot, name);
        }
    }
    for (on, to) in [("front->cart", "cart-0"), ("front->cart", "cart-1"), ("cart->database", "database-0")] {
        if rng.bool() {
            slow_backend(&mut world.snapshot, on, to);
        }
    }
    world
}

proptest! {
    /// Whatever is asked and seen: planning twice gives one answer, the checker accepts every plan, and
    /// it names only what was seen.
    #[test]
    fn every_plan_is_well_made(seed in any::<u64>()) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let world = any_world(&mut rng);
        let kind = IssueKind::ALL[rng.usize(..IssueKind::ALL.len())];
        let issue = issue(kind, REASONS[rng.usize(..REASONS.len())], PLACES[rng.usize(..PLACES.len())]);
        let (class, at) = (CLASSES[rng.usize(..CLASSES.len())], PLACES[rng.usize(..PLACES.len())]);
        let planned = world.planned(&issue, class, at);
        prop_assert_eq!(&planned, &world.planned(&issue, class, at));
        match planned {
            Planned::Waiting(reasons) => prop_assert!(!reasons.is_empty()),
            Planned::NoStrategy(rejected) => prop_assert!(!rejected.is_empty()),
            Planned::Plan(plan) => {
                prop_assert_eq!(check::fatal(&plan), []);
                let switches = Switches::default();
                let ctx = GuardContext {
                    now: now(),
                    snapshot: &world.snapshot,
                    history: &world.history,
                    policy: &world.policy,
                    switches: &switches,
                    approved: None,
                    running: &[],
                };
                let ruling = guard(plan, &ctx);
                let unseen = |reason: &Objection| {
                    matches!(reason, Objection::UnknownResource(_) | Objection::NoBackendLeft(_))
                };
                prop_assert!(!ruling.reasons().iter().any(unseen), "{ruling:#?}");
            }
        }
    }
}
