//! Fleets to look at, one for each state that a page has to show.
//!
//! `busy` is the built-in shop in the middle of a bad morning: a hang being repaired, a slow path, a full disk
//! that waits for approval, two faults of our own, and some history. The others are made from its parts.

mod asked;
mod items;
mod past;
mod shop;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use domain::snapshot::{BreakerState, Phase};
use domain::{
    Bearing, Bytes, Deployment, Happening, HappeningKind, IssueKind, LinkName, Reason, SeenBy, ServiceName,
    Severity, Sign, Snapshot, Time, Window,
};
use store::HealthRecord;

use super::Fleet;
pub(crate) use shop::snapshot;
use shop::window;

/// Brings a fleet into a state.
pub(crate) type Scene = fn(&Fleet);

/// The scenes by name.
pub(crate) const SCENES: [(&str, Scene); 15] = [
    ("asked", asked),
    ("busy", busy),
    ("calm", calm),
    ("crowded", crowded),
    ("empty", |_| {}),
    ("eventful", eventful),
    ("full", full),
    ("healing", healing),
    ("long", long_names),
    ("off", off),
    ("paused", paused),
    ("release", release),
    ("stale", stale),
    ("stopped", stopped),
    ("waiting", waiting),
];

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// All is well: the shop serves, health is full, nothing happened.
pub(crate) fn calm(fleet: &Fleet) {
    let now = fleet.clock.now();
    *fleet.snapshot.lock().unwrap() = Some(Arc::new(snapshot(now)));
    *fleet.health.lock().unwrap() = Some(health(now, [100, 100, 100, 100, 100]));
}

/// All is well, after 120 issues of cart, which are more than a page has.
pub(crate) fn eventful(fleet: &Fleet) {
    calm(fleet);
    past::issues(fleet, fleet.clock.now(), 120);
}

fn health(at: Time, [overall, compute, network, storage, database]: [u8; 5]) -> HealthRecord {
    HealthRecord {
        overall: Some(overall),
        compute: Some(compute),
        network: Some(network),
        storage: Some(storage),
        database: Some(database),
        security: None,
        coverage: 0.85,
        issues_detected: 3,
        auto_remediated: 2,
        at,
    }
}

/// Everything at once; see the module.
pub(crate) fn busy(fleet: &Fleet) {
    let now = fleet.clock.now();
    let mut seen = snapshot(now);
    hung(&mut seen);
    disturb(&mut seen);
    show(fleet, seen, health(now, [84, 78, 88, 85, 94]));
    past::past(fleet, now);
    trouble::hang(fleet, now);
    trouble::slow_path(fleet, now);
    trouble::full_disk(fleet, now);
}

/// `busy`, with deployments and configuration items: something of all that the store holds.
pub(crate) fn full(fleet: &Fleet) {
    busy(fleet);
    let now = fleet.clock.now();
    deployments(fleet, now.minus(seconds(super::traces::RELEASED_S)));
    items::items(fleet, now);
}

/// One fault in force, and the repair of what it did under way.
pub(crate) fn healing(fleet: &Fleet) {
    let now = fleet.clock.now();
    let mut seen = snapshot(now);
    hung(&mut seen);
    show(fleet, seen, health(now, [93, 89, 100, 100, 100]));
    past::past(fleet, now);
    trouble::hang(fleet, now);
}

/// A release of cart after which it fails, with what was said of it; the traces are in `traces::release`.
pub(crate) fn release(fleet: &Fleet) {
    let now = fleet.clock.now();
    let mut seen = snapshot(now);
    let link: LinkName = "front->cart".parse().unwrap();
    seen.links.get_mut(&link).unwrap().recent = Window { errors: 2, ..window(6, 0, 310.0, 540.0) };
    show(fleet, seen, health(now, [81, 100, 62, 100, 100]));
    past::past(fleet, now);
    let released = now.minus(seconds(super::traces::RELEASED_S));
    deployments(fleet, released);
    let text = "33 % of the requests from front to cart fail, limit 1 %";
    let at = released.plus(seconds(11));
    let failing =
        trouble::issue(fleet, at, IssueKind::ErrorRate, Reason::AllBackends, "link/front->cart", text);
    fleet.store.save_issue(&failing).unwrap();
    let text = "front waits 540 ms for cart (p95), limit 200 ms";
    let at = released.plus(seconds(14));
    let slow =
        trouble::issue(fleet, at, IssueKind::NetworkLatency, Reason::AllBackends, "link/front->cart", text);
    fleet.store.save_issue(&slow).unwrap();
    let at = released.plus(seconds(60));
    let alert = Happening {
        id: fleet.id::<domain::EventId>(at).to_string(),
        kind: HappeningKind::Alert,
        from_us: at.wall_us,
        to_us: None,
        service: Some("front".to_owned()),
        caller: None,
        label: "CheckoutErrors".to_owned(),
        title: "more than 5 % of the checkouts fail".to_owned(),
        severity: Some(Severity::Critical),
        bearing: Bearing::Bad,
        signs: [Sign::Errors].into(),
        of: None,
        links: Vec::new(),
    };
    fleet.store.post_event(&alert, None).unwrap();
}

/// A release of cart, and one of payments before it.
fn deployments(fleet: &Fleet, released: Time) {
    for (service, version, before, at) in
        [("payments", "1.9.0", "1.8.2", released.minus(seconds(800))), ("cart", "2.0.0", "1.4.2", released)]
    {
        let deployment = Deployment {
            id: fleet.id(at),
            service: name(service),
            version: Some(version.to_owned()),
            previous_version: Some(before.to_owned()),
            at,
            finished_at: Some(at.plus(seconds(9))),
            seen_by: SeenBy::Spans,
            plan: None,
            rolls_back: None,
            former: None,
            before: None,
        };
        fleet.store.record_deployment(&deployment).unwrap();
    }
}

/// A repair that waits for a person, and nothing else.
pub(crate) fn waiting(fleet: &Fleet) {
    let now = fleet.clock.now();
    show(fleet, snapshot(now), health(now, [94, 100, 100, 82, 100]));
    trouble::full_disk(fleet, now);
}

/// That repair, and what two people asked for: a deployment, the end of the shop, fewer instances.
pub(crate) fn asked(fleet: &Fleet) {
    waiting(fleet);
    asked::operations(fleet, fleet.clock.now());
}

/// So many plans more that wait, each for fewer instances of a service.
pub(crate) fn asked_again(fleet: &Fleet, service: &str, plans: u64) {
    let now = fleet.clock.now();
    for n in 0..plans {
        asked::scale(fleet, now.minus(seconds(plans - n)), service, "ada");
    }
}

/// The emergency stop was pulled in the middle of `busy`.
pub(crate) fn stopped(fleet: &Fleet) {
    busy(fleet);
    let now = fleet.clock.now();
    fleet.store.latch_emergency_stop(now.minus(seconds(75))).unwrap();
    fleet.faults.lock().unwrap().clear();
}

/// One service is paused, another is never touched.
pub(crate) fn paused(fleet: &Fleet) {
    let now = fleet.clock.now();
    let mut seen = snapshot(now);
    seen.services.get_mut(&name("database")).unwrap().hands_off = true;
    show(fleet, seen, health(now, [100; 5]));
    fleet.store.pause_service(&name("cart"), Some(now.plus(seconds(2800)))).unwrap();
}

/// Automatic repair is off while something is broken.
fn off(fleet: &Fleet) {
    waiting(fleet);
    fleet.store.set_automation(false).unwrap();
}

/// The loops stopped a while ago.
pub(crate) fn stale(fleet: &Fleet) {
    calm(fleet);
    let old = fleet.clock.now().minus(seconds(90));
    *fleet.snapshot.lock().unwrap() = Some(Arc::new(snapshot(old)));
}

/// A hundred services in a chain, the last of which hangs.
pub(crate) fn crowded(fleet: &Fleet) {
    let now = fleet.clock.now();
    let service = |n: u32| format!("service-{n:02}");
    let declared: Vec<shop::Declared> = (0..100)
        .map(|n| (service(n), 1 + n % 3, if n < 99 { vec![service(n + 1)] } else { Vec::new() }))
        .collect();
    let mut seen = shop::of(&declared, now);
    let last = name(&service(99));
    seen.services.get_mut(&last).unwrap().instances.get_mut(&last.instance(0)).unwrap().phase =
        Phase::NotReady;
    show(fleet, seen, health(now, [98, 96, 100, 100, 100]));
    let text = "service-99-0 runs but does not answer: 3 probes failed in a row, limit 3";
    let at = now.minus(seconds(8));
    let hang =
        trouble::issue(fleet, at, IssueKind::PodCrash, Reason::Unresponsive, "instance/service-99-0", text);
    fleet.store.save_issue(&hang).unwrap();
}

/// Two names as long as they may be.
pub(crate) const LONG_CALLER: &str = "recommendations-for-returning-customers";
pub(crate) const LONG_CALLEE: &str = "inventory-of-the-northern-warehouses-all";

/// An issue of the path between them.
pub(crate) fn issue_of(
    fleet: &Fleet,
    at: Time,
    kind: IssueKind,
    reason: Reason,
    text: &str,
) -> domain::Issue {
    trouble::issue(fleet, at, kind, reason, &format!("link/{LONG_CALLER}->{LONG_CALLEE}"), text)
}

/// Puts a hundred services more beside those that are there, and so many issues that are over.
pub(crate) fn strain(fleet: &Fleet, now: Time, issues: u64) {
    let service = |n: u32| format!("service-{n:02}");
    let mut declared: Vec<shop::Declared> = (0..100)
        .map(|n| (service(n), 1 + n % 3, if n < 99 { vec![service(n + 1)] } else { Vec::new() }))
        .collect();
    declared.push((LONG_CALLER.to_owned(), 30, vec![LONG_CALLEE.to_owned()]));
    declared.push((LONG_CALLEE.to_owned(), 2, Vec::new()));
    let mut more = shop::of(&declared, now);
    let busy = more.links.values_mut().next().unwrap();
    busy.recent = window(9_876_543_210_123, 1, 0.000_4, 8_640_000.0);
    let mut seen = fleet.snapshot.lock().unwrap();
    let all = Arc::make_mut(seen.as_mut().unwrap());
    all.services.append(&mut more.services);
    all.links.append(&mut more.links);
    drop(seen);
    past::issues(fleet, now, issues);
}

/// Names as long as they may be.
fn long_names(fleet: &Fleet) {
    let now = fleet.clock.now();
    let (caller, callee) = (LONG_CALLER, LONG_CALLEE);
    let declared = [(caller.to_owned(), 3, vec![callee.to_owned()]), (callee.to_owned(), 2, Vec::new())];
    show(fleet, shop::of(&declared, now), health(now, [88, 80, 90, 100, 100]));
    let at = now.minus(seconds(3700));
    let text =
        format!("{caller} waits 1.4 s for {callee} (p95), limit 200 ms; only the path to {callee}-1 is slow");
    let link = format!("link/{caller}->{callee}");
    let slow = trouble::issue(fleet, at, IssueKind::NetworkLatency, Reason::OneBackend, &link, &text);
    fleet.store.save_issue(&slow).unwrap();
    let text = format!("{caller}-2 runs but does not answer: 3 probes failed in a row, limit 3");
    let resource = format!("instance/{caller}-2");
    let at = now.minus(seconds(14));
    let hang = trouble::issue(fleet, at, IssueKind::PodCrash, Reason::Unresponsive, &resource, &text);
    fleet.store.save_issue(&hang).unwrap();
    trouble::restart(fleet, &hang, at.plus(seconds(1)));
}

/// Shows a snapshot with its scores, after a day of other scores.
fn show(fleet: &Fleet, seen: Snapshot, scores: HealthRecord) {
    let now = seen.taken;
    *fleet.snapshot.lock().unwrap() = Some(Arc::new(seen));
    *fleet.health.lock().unwrap() = Some(scores);
    for step in 0..288_u64 {
        let at = now.minus(seconds((288 - step) * 300));
        let dip = [0, 0, 0, 18, 9, 0, 0, 0, 4, 0, 31, 12][(step as usize / 7) % 12];
        fleet.store.add_health(&health(at, [100 - dip, 100, 100, 100, 100])).unwrap();
    }
    fleet.store.add_health(&scores).unwrap();
}

fn hung(snapshot: &mut Snapshot) {
    let cart = snapshot.services.get_mut(&name("cart")).unwrap();
    cart.instances.get_mut(&name("cart").instance(1)).unwrap().phase = Phase::NotReady;
}

fn disturb(snapshot: &mut Snapshot) {
    let catalogue = snapshot.services.get_mut(&name("catalogue")).unwrap();
    catalogue.instances.get_mut(&name("catalogue").instance(0)).unwrap().usage.disk_used =
        Some(Bytes::mib(62));
    let slow: LinkName = "front->catalogue".parse().unwrap();
    let link = snapshot.links.get_mut(&slow).unwrap();
    link.recent = window(38, 0, 6.0, 412.0);
    let failing: LinkName = "orders->payments".parse().unwrap();
    let link = snapshot.links.get_mut(&failing).unwrap();
    link.recent = window(44, 3, 4.0, 31.0);
    link.recent.rejected = 12;
    link.breaker = BreakerState::HalfOpen;
    link.backends.get_mut(&name("payments").instance(0)).unwrap().ejected = true;
}
