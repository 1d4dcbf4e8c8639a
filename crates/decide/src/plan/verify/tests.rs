//! Which sequences of looks heal, and which do not; what is known of the callers.

use domain::IssueKind;
use proptest::prelude::{prop, prop_assert_eq, proptest};

use super::super::fixture::*;
use super::*;

const BAD: Baseline = callers(0.2, 450.0);
const GOOD: Baseline = callers(0.0, 10.0);

/// Callers about whom there is no objective.
const fn callers(error_ratio: f64, p95_ms: f64) -> Baseline {
    let (error_ratio, p95_ms) = (Some(error_ratio), Some(p95_ms));
    Baseline { error_ratio, p95_ms, failures_burn: None, slowness_burn: None }
}

/// Deadline 60 s, hold 30 s.
fn signal() -> Signal {
    Signal {
        kind: IssueKind::PodCrash,
        resource: resource("instance/cart-0"),
        deadline: Duration::from_secs(60),
        hold: Duration::from_secs(30),
    }
}

/// Steps done at second 100.
fn follow(then: Baseline, looks: &[(f64, Seen, Baseline)]) -> Verification {
    let mut verifier = Verifier::new(signal(), at(100.0), then);
    for (seconds, seen, callers) in looks {
        verifier.observe(Observation { at: at(*seconds), seen: *seen, callers: *callers });
    }
    verifier.state().clone()
}

use Seen::{InBounds, OutOfBounds, Unknown};

#[test]
fn a_signal_that_comes_back_and_holds_is_healed_since_its_first_passing_look() {
    let looks = [(101.0, OutOfBounds, BAD), (105.0, InBounds, GOOD), (135.0, InBounds, GOOD)];
    assert_eq!(follow(BAD, &looks[..2]), Verification::Passing { since: at(105.0) });
    assert_eq!(follow(BAD, &looks), Verification::Healed { verified_at: at(105.0) });
}

#[test]
fn a_recurrence_in_the_hold_window_takes_the_credit_back_for_good() {
    let looks = [(105.0, InBounds, GOOD), (110.0, OutOfBounds, BAD), (140.0, InBounds, GOOD)];
    let why = Unverified::Recurred { at: at(110.0) };
    assert_eq!(follow(BAD, &looks), Verification::NotHealed { why });
}

#[test]
fn a_signal_that_stays_away_ends_at_the_deadline() {
    let deadline = Duration::from_secs(60);
    let looks = [(110.0, OutOfBounds, BAD), (159.0, OutOfBounds, BAD), (160.0, OutOfBounds, BAD)];
    assert_eq!(follow(BAD, &looks[..2]), Verification::Pending);
    let why = Unverified::StillOutOfBounds { deadline };
    assert_eq!(follow(BAD, &looks), Verification::NotHealed { why });
    let why = Unverified::NeverSeen { deadline };
    assert_eq!(follow(BAD, &[(160.0, Unknown, GOOD)]), Verification::NotHealed { why });
}

#[test]
fn what_is_not_measured_neither_heals_nor_recurs() {
    let looks = [(105.0, InBounds, GOOD), (140.0, Unknown, GOOD), (141.0, InBounds, GOOD)];
    assert_eq!(follow(BAD, &looks[..2]), Verification::Passing { since: at(105.0) });
    assert_eq!(follow(BAD, &looks), Verification::Healed { verified_at: at(105.0) });
    let lost = [(105.0, InBounds, GOOD), (195.0, Unknown, GOOD)];
    assert_eq!(follow(BAD, &lost), Verification::NotHealed { why: Unverified::LostSight });
}

#[test]
fn a_repair_that_hurts_callers_is_no_repair() {
    let looks = [(105.0, InBounds, BAD), (160.0, InBounds, BAD)];
    assert_eq!(follow(GOOD, &looks[..1]), Verification::Pending);
    let why = Unverified::CallersWorse { then: GOOD, now: BAD };
    assert_eq!(follow(GOOD, &looks), Verification::NotHealed { why });
}

#[test]
fn a_handful_of_requests_tells_nothing_of_callers() {
    let mut snapshot = shop();
    let window = &mut snapshot.links.get_mut(&link("front->cart")).unwrap().recent;
    (window.requests, window.errors, window.p95_ms) = (4, 4, Some(2000.0));
    let cart = resource("instance/cart-0");
    assert_eq!(Baseline::of(&cart, &snapshot), Baseline::default());
    let window = &mut snapshot.links.get_mut(&link("front->cart")).unwrap().recent;
    (window.requests, window.errors) = (5, 1);
    let seen = callers(0.2, 2000.0);
    assert_eq!(Baseline::of(&cart, &snapshot), seen);
    assert!(GOOD.got_worse(&seen) && !seen.got_worse(&Baseline::default()));
}

#[test]
fn where_there_is_an_objective_its_budget_says_whether_callers_got_worse() {
    let mut snapshot = shop();
    let state = |bad, lately| domain::ObjectiveState {
        service: "cart".to_owned(),
        resource: Some(resource("service/cart")),
        specific: true,
        bad,
        status: None,
        budget: 0.05,
        budget_remaining: 1.0,
        lately,
        alert: None,
    };
    let cart = resource("instance/cart-0");
    let mut look = |lately: Option<f64>, errors: u64| {
        let window = &mut snapshot.links.get_mut(&link("front->cart")).unwrap().recent;
        (window.requests, window.errors) = (100, errors);
        let states = [("a".to_owned(), state(BadEvents::Failed, lately))];
        snapshot.objectives = std::collections::BTreeMap::from(states).into();
        Baseline::of(&cart, &snapshot)
    };
    let (well, affordable, burning) = (look(Some(0.0), 0), look(Some(0.9), 4), look(Some(3.0), 15));
    assert!(!well.got_worse(&affordable), "4 % failed is within the 5 % that may fail");
    assert!(well.got_worse(&burning) && !burning.got_worse(&affordable));
    assert!(
        look(None, 0).got_worse(&look(None, 4)),
        "nothing known of the objective: the callers' side tells"
    );
}

#[test]
fn a_look_from_before_the_end_of_the_steps_says_nothing() {
    assert_eq!(follow(BAD, &[(99.0, InBounds, GOOD)]), Verification::Pending);
}

#[test]
fn a_repair_nobody_watched_until_after_the_deadline_is_not_taken_back() {
    let looks = [(500.0, InBounds, GOOD), (530.0, InBounds, GOOD)];
    assert_eq!(follow(BAD, &looks), Verification::Healed { verified_at: at(500.0) });
}

#[test]
fn a_hold_window_goes_on_where_nobody_watched_for_a_while() {
    // It passed at 105, the last look was before the hold window ended, the next one is at 500.
    let go_on = |looks: &[(f64, Seen, Baseline)]| {
        let mut verifier = Verifier::resumed(signal(), at(100.0), GOOD, at(105.0), at(500.0));
        for (seconds, seen, callers) in looks {
            verifier.observe(Observation { at: at(*seconds), seen: *seen, callers: *callers });
        }
        verifier.state().clone()
    };
    let healed = Verification::Healed { verified_at: at(105.0) };
    assert_eq!(go_on(&[(500.0, InBounds, GOOD)]), healed);
    assert_eq!(go_on(&[(500.0, Unknown, GOOD), (559.0, InBounds, GOOD)]), healed);
    let why = Unverified::LostSight;
    assert_eq!(go_on(&[(500.0, Unknown, GOOD), (560.0, Unknown, GOOD)]), Verification::NotHealed { why });
    let why = Unverified::Recurred { at: at(500.0) };
    assert_eq!(go_on(&[(500.0, OutOfBounds, GOOD)]), Verification::NotHealed { why });
}

#[test]
fn a_measure_may_be_lifted_when_every_instance_it_took_out_answers_well() {
    use domain::{Action, Strategy};
    let mut snapshot = shop();
    let open = Action::OpenBreaker { link: link("front->cart") };
    let plan = remediation(plan_id(1), Strategy::CircuitBreakDependency, vec![open]);
    assert_eq!(well_again(&plan, &snapshot, &Thresholds::default()), InBounds);
    slow_backend(&mut snapshot, "front->cart", "cart-0");
    assert_eq!(well_again(&plan, &snapshot, &Thresholds::default()), OutOfBounds);
    let eject = Action::EjectBackend { link: link("front->cart"), instance: instance("cart-1") };
    let other = remediation(plan_id(2), Strategy::RerouteTraffic, vec![eject]);
    assert_eq!(well_again(&other, &snapshot, &Thresholds::default()), InBounds);
    assert_eq!(well_again(&restart(plan_id(3), "cart-0"), &snapshot, &Thresholds::default()), Unknown);
}

proptest! {
    /// Whatever is seen: healed means that the signal was in bounds at both ends of a window of at least
    /// `hold` and never seen out of bounds between.
    #[test]
    fn healed_means_held(looks in prop::collection::vec((0_u32..20, 0_u8..3), 1..60)) {
        let mut time = 100.0;
        let looks: Vec<_> = looks
            .into_iter()
            .map(|(gap, seen)| {
                time += f64::from(gap);
                (time, [InBounds, OutOfBounds, Unknown][usize::from(seen)], GOOD)
            })
            .collect();
        if let Verification::Healed { verified_at } = follow(BAD, &looks) {
            let end = looks.iter().find(|(t, seen, _)| {
                *seen == InBounds && at(*t).since(verified_at) >= Duration::from_secs(30)
            });
            let (end, ..) = end.expect("a passing look after the hold window");
            let within = looks.iter().filter(|(t, ..)| at(*t) >= verified_at && t <= end);
            // Looks at the very instant of the first passing one came before it.
            let broken = within.filter(|(t, seen, _)| *seen == OutOfBounds && at(*t) > verified_at && t < end);
            prop_assert_eq!(broken.count(), 0);
        }
    }
}
