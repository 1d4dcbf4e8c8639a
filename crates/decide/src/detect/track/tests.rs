//! The life of an issue: opened once, seen again, closed when it is well for good, and back as the same one.

use domain::snapshot::ExitCause;
use domain::{IdSource, Reason, Severity};
use proptest::prelude::*;

use super::*;
use crate::detect::detect;
use crate::fixture::{Fleet, Part};

const MOMENT: Duration = Duration::from_millis(600);

/// The loop in small: looks, and keeps what the looks say.
struct Watch {
    open: Vec<Issue>,
    history: Vec<Issue>,
    ids: IdSource,
}

impl Watch {
    fn new() -> Self {
        Self { open: Vec::new(), history: Vec::new(), ids: IdSource::seeded(3) }
    }

    /// One look; returns `what kind resource` of every change.
    fn look(&mut self, fleet: &Fleet) -> Vec<String> {
        let thresholds = Thresholds::default();
        let (now, ids) = (fleet.snapshot.taken, &mut self.ids);
        let findings = detect(&fleet.snapshot, &thresholds);
        let changes =
            track(&self.open, &findings, &fleet.snapshot, &thresholds, &self.history, &mut || ids.next(now));
        for change in &changes {
            let issue = change.issue().clone();
            self.open.retain(|known| known.id != issue.id);
            match change {
                IssueChange::Closed(_) => self.history.push(issue),
                _ => self.open.push(issue),
            }
        }
        let words = |change: &IssueChange| {
            let what = match change {
                IssueChange::Opened(_) => "opened",
                IssueChange::Seen(_) => "seen",
                IssueChange::Recovering(_) => "recovering",
                IssueChange::Closed(_) => "closed",
            };
            format!("{what} {} {}", change.issue().kind, change.issue().resource)
        };
        changes.iter().map(words).collect()
    }
}

/// The same fleet, some time later, with memory use at `share` on cart-0.
fn memory(fleet: &mut Fleet, share: f64, after: Duration) -> &Fleet {
    fleet.after(after).memory("cart-0", share);
    fleet
}

#[test]
fn an_issue_is_opened_once_seen_again_and_closed_after_two_well_looks_a_second_apart() {
    let (mut fleet, mut watch) = (Fleet::healthy(), Watch::new());
    assert_eq!(watch.look(memory(&mut fleet, 95.0, MOMENT)), ["opened high_memory instance/cart-0"]);
    assert_eq!(watch.look(memory(&mut fleet, 96.0, MOMENT)), ["seen high_memory instance/cart-0"]);
    assert_eq!(watch.look(memory(&mut fleet, 50.0, MOMENT)), ["recovering high_memory instance/cart-0"]);
    let well_since = fleet.snapshot.taken;
    assert!(watch.open[0].is_recovering());
    assert_eq!(watch.look(memory(&mut fleet, 50.0, MOMENT)), ["recovering high_memory instance/cart-0"]);
    assert_eq!(watch.look(memory(&mut fleet, 50.0, MOMENT)), ["closed high_memory instance/cart-0"]);
    assert_eq!(watch.history[0].closed_at, Some(well_since), "it was over when it was first well");
    assert_eq!(watch.look(memory(&mut fleet, 50.0, MOMENT)), Vec::<String>::new());
}

#[test]
fn load_that_stays_remains_the_reason_until_the_requests_fell() {
    let (mut fleet, mut watch) = (Fleet::healthy(), Watch::new());
    let mut reason_at = |ratio: f64| {
        let link = fleet.after(MOMENT).cpu("cart-0", 97.0, 5.0).link_mut("front->cart");
        let usual = link.before.rate() * f64::from(link.recent.seconds);
        link.recent.requests = (usual * ratio) as u64;
        watch.look(&fleet);
        watch.open.iter().find(|issue| issue.kind == IssueKind::HighCpu).map(|issue| issue.reason)
    };
    assert_eq!(reason_at(1.0), Some(Reason::Unexplained));
    assert_eq!(reason_at(3.0), Some(Reason::Load));
    assert_eq!(reason_at(1.0), Some(Reason::Load), "the load is the usual one by now");
    assert_eq!(reason_at(0.3), Some(Reason::Unexplained), "the load is over");
    assert_eq!(reason_at(1.0), Some(Reason::Unexplained));
}

#[test]
fn two_looks_at_one_instant_count_once_and_one_bad_look_starts_the_count_again() {
    let (mut fleet, mut watch) = (Fleet::healthy(), Watch::new());
    watch.look(memory(&mut fleet, 95.0, MOMENT));
    memory(&mut fleet, 50.0, Duration::from_secs(5));
    watch.look(&fleet);
    assert_eq!(watch.look(&fleet), ["recovering high_memory instance/cart-0"]);
    assert_eq!(watch.look(memory(&mut fleet, 95.0, MOMENT)), ["seen high_memory instance/cart-0"]);
    assert!(!watch.open[0].is_recovering());
    assert_eq!(watch.look(memory(&mut fleet, 50.0, MOMENT)), ["recovering high_memory instance/cart-0"]);
    assert_eq!(watch.look(memory(&mut fleet, 50.0, MOMENT)), ["recovering high_memory instance/cart-0"]);
    assert_eq!(watch.look(memory(&mut fleet, 50.0, MOMENT)), ["closed high_memory instance/cart-0"]);
}

#[test]
fn what_cannot_be_seen_closes_nothing() {
    let (mut fleet, mut watch) = (Fleet::healthy(), Watch::new());
    watch.look(memory(&mut fleet, 95.0, MOMENT));
    let cart = "cart".parse().unwrap();
    fleet.instance_mut("cart-0").usage.memory = None;
    for _ in 0..20 {
        fleet.after(MOMENT);
        assert_eq!(watch.look(&fleet), Vec::<String>::new());
    }
    fleet.snapshot.services.remove(&cart);
    fleet.after(MOMENT);
    assert_eq!(watch.look(&fleet), Vec::<String>::new());
    assert_eq!(watch.open.len(), 1);
}

#[test]
fn an_instance_that_was_scaled_away_takes_its_issues_with_it() {
    let (mut fleet, mut watch) = (Fleet::healthy(), Watch::new());
    fleet.memory("cart-1", 95.0);
    watch.look(&fleet);
    let cart = fleet.snapshot.services.get_mut(&"cart".parse().unwrap()).unwrap();
    cart.instances.remove(&"cart-1".parse().unwrap()).unwrap();
    assert_eq!(watch.look(&fleet), Vec::<String>::new(), "it is wanted and absent: unknown");
    fleet.snapshot.services.get_mut(&"cart".parse().unwrap()).unwrap().replicas = 1;
    assert_eq!(watch.look(&fleet), ["closed high_memory instance/cart-1"]);
}

#[test]
fn an_issue_that_comes_back_within_a_minute_is_the_same_one() {
    let (mut fleet, mut watch) = (Fleet::healthy(), Watch::new());
    watch.look(memory(&mut fleet, 95.0, MOMENT));
    let id = watch.open[0].id;
    for _ in 0..3 {
        watch.look(memory(&mut fleet, 50.0, MOMENT));
    }
    assert_eq!(
        watch.look(memory(&mut fleet, 95.0, Duration::from_secs(50))),
        ["opened high_memory instance/cart-0"]
    );
    assert_eq!((watch.open[0].id, watch.open[0].recurrences), (id, 1));
    assert_eq!(watch.open[0].detected_at, fleet.snapshot.taken, "the occurrence begins now");
    for _ in 0..3 {
        watch.look(memory(&mut fleet, 50.0, MOMENT));
    }
    watch.look(memory(&mut fleet, 95.0, Duration::from_secs(70)));
    assert_ne!(watch.open[0].id, id);
    assert_eq!(watch.open[0].recurrences, 0);
}

#[test]
fn the_reason_follows_what_is_seen_and_the_severity_is_the_worst_of_the_occurrence() {
    let (mut fleet, mut watch) = (Fleet::healthy(), Watch::new());
    fleet.slow_path("front->cart", Part::All, 1500.0);
    watch.look(&fleet);
    let first = watch.open.iter().find(|i| i.resource.to_string() == "link/front->cart").unwrap().clone();
    assert_eq!((first.reason, first.severity), (Reason::AllBackends, Severity::Critical));
    let mut fleet = Fleet::healthy();
    fleet.after(MOMENT).slow_path("front->cart", Part::Backend("cart-0"), 300.0);
    watch.look(&fleet);
    fleet.after(Duration::from_secs(5));
    watch.look(&fleet);
    let then = watch.open.iter().find(|i| i.id == first.id).unwrap();
    assert_eq!((then.reason, then.severity), (Reason::OneBackend, Severity::Critical));
    assert!(then.metrics["latency_ms_p95"] < first.metrics["latency_ms_p95"]);
}

#[test]
fn an_end_that_was_over_before_anybody_looked_is_noted_once() {
    let (mut fleet, mut watch) = (Fleet::healthy(), Watch::new());
    fleet.exited("cart-0", ExitCause::Signal(9), Duration::from_secs(20));
    fleet.recovered("cart-0", Duration::from_secs(19));
    assert_eq!(watch.look(&fleet), ["opened pod_crash instance/cart-0"]);
    assert_eq!(watch.look(fleet.after(MOMENT)), ["recovering pod_crash instance/cart-0"]);
    watch.look(fleet.after(MOMENT));
    assert_eq!(watch.look(fleet.after(MOMENT)), ["closed pod_crash instance/cart-0"]);
    for _ in 0..80 {
        assert_eq!(watch.look(fleet.after(MOMENT)), Vec::<String>::new());
    }
}

#[test]
fn an_old_end_is_no_news() {
    let (mut fleet, mut watch) = (Fleet::healthy(), Watch::new());
    fleet.exited("cart-0", ExitCause::Signal(9), Duration::from_secs(120));
    fleet.recovered("cart-0", Duration::from_secs(119));
    assert_eq!(watch.look(&fleet), Vec::<String>::new());
}

#[test]
fn a_link_stays_open_while_the_instance_taken_out_of_it_cannot_be_reached_well() {
    let (mut fleet, mut watch) = (Fleet::healthy(), Watch::new());
    let cart_1 = "cart-1".parse().unwrap();
    fleet.slow_path("front->cart", Part::Backend("cart-1"), 400.0);
    watch.look(&fleet);
    let slow = fleet.link_mut("front->cart").backends[&cart_1].path_check;

    // Rerouted: what is left is fast, the check of the path is not.
    let mut fleet = Fleet::healthy();
    let backend = fleet.link_mut("front->cart").backends.get_mut(&cart_1).unwrap();
    (backend.ejected, backend.ejected_by_plan, backend.path_check) = (true, true, slow);
    for _ in 0..10 {
        watch.look(fleet.after(MOMENT));
    }
    let open: Vec<String> = watch.open.iter().map(|issue| issue.resource.to_string()).collect();
    assert_eq!(open, ["link/front->cart"], "the users' link is well");

    fleet.link_mut("front->cart").backends.get_mut(&cart_1).unwrap().path_check = Some(MOMENT / 100);
    for _ in 0..3 {
        watch.look(fleet.after(MOMENT));
    }
    assert!(watch.open.is_empty());
}

#[test]
fn a_count_noted_before_a_reboot_starts_again() {
    let (mut fleet, mut watch) = (Fleet::healthy(), Watch::new());
    watch.look(memory(&mut fleet, 95.0, MOMENT));
    watch.look(memory(&mut fleet, 50.0, MOMENT));
    fleet.snapshot.taken.boot_us = 30_000_000;
    assert_eq!(watch.look(&fleet), ["recovering high_memory instance/cart-0"]);
    assert_eq!(watch.look(fleet.after(MOMENT * 2)), ["closed high_memory instance/cart-0"]);
}

proptest! {
    #[test]
    fn never_two_open_issues_of_a_type_on_a_resource_and_never_a_close_without_well_looks(
        looks in prop::collection::vec((prop::option::of(40.0..120.0f64), 1u64..3000), 1..60),
    ) {
        let (mut fleet, mut watch) = (Fleet::healthy(), Watch::new());
        let mut well: Option<domain::Time> = None;
        for (share, ms) in looks {
            fleet.after(Duration::from_millis(ms));
            match share {
                Some(share) => {
                    fleet.memory("cart-0", share);
                }
                None => fleet.instance_mut("cart-0").usage.memory = None,
            }
            let now = fleet.snapshot.taken;
            match share {
                Some(share) if share > 90.0 => well = None,
                Some(_) => well = well.or(Some(now)),
                None => {}
            }
            let closed = watch.look(&fleet).iter().any(|change| change.starts_with("closed"));
            prop_assert!(watch.open.len() <= 1);
            if closed {
                prop_assert!(well.is_some_and(|since| now.since(since) >= Duration::from_secs(1)));
            }
            let bad = share.is_some_and(|share| share > 90.0);
            prop_assert!(!bad || watch.open.len() == 1);
        }
    }
}
