//! Tables for each pattern, and what holds for everything that may happen.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Bearing, Happening, HappeningKind, Severity, Sign};
use proptest::prelude::*;

use super::*;
use crate::fixture::Fleet;

const S: i64 = 1_000_000;

/// Half an hour, in the middle of which something is asked about.
const WINDOW: Span = Span { from_us: 0, to_us: 1800 * S };

fn event(kind: HappeningKind, id: &str, service: &str, from_s: i64, to_s: Option<i64>) -> Happening {
    Happening {
        id: id.to_owned(),
        kind,
        from_us: from_s * S,
        to_us: to_s.map(|s| s * S),
        service: Some(service.to_owned()),
        caller: None,
        label: format!("{kind} {id}"),
        title: format!("{kind} {id} on {service}"),
        severity: None,
        bearing: Bearing::Change,
        signs: BTreeSet::new(),
        of: None,
        links: Vec::new(),
    }
}

fn trouble(id: &str, service: &str, from_s: i64, sign: Sign) -> Happening {
    Happening {
        signs: BTreeSet::from([sign]),
        severity: Some(Severity::High),
        bearing: Bearing::Bad,
        ..event(HappeningKind::Issue, id, service, from_s, Some(from_s + 30))
    }
}

fn on_path(id: &str, caller: &str, callee: &str, from_s: i64) -> Happening {
    Happening { caller: Some(caller.to_owned()), ..trouble(id, callee, from_s, Sign::Errors) }
}

fn trace(id: &str, service: &str, from_s: i64, sign: Sign) -> Happening {
    Happening { kind: HappeningKind::Trace, to_us: Some(from_s * S), ..trouble(id, service, from_s, sign) }
}

/// Steps of 10 s; `bad` says from when on which errors of 100 calls and which p95.
fn steps(bad_from_s: i64, bad_to_s: i64, (errors, p95_ms): (f64, f64)) -> Vec<Step> {
    let step = |n: i64| {
        let from_s = n * 10;
        let bad = (bad_from_s..bad_to_s).contains(&from_s);
        // Never exactly the same twice, as nothing real is.
        let jitter = (n * 7 % 5) as f64;
        Step {
            span: Span { from_us: from_s * S, to_us: (from_s + 10) * S },
            calls: 100.0,
            errors: if bad { errors } else { f64::from(n % 9 == 0) },
            p95_ms: Some(jitter + if bad { p95_ms } else { 40.0 }),
        }
    };
    (0..180).map(step).collect()
}

fn ask(happenings: &[Happening], steps: &BTreeMap<String, Vec<Step>>, around_s: i64) -> Correlation {
    correlate(&Question {
        window: WINDOW,
        around_us: around_s * S,
        service: None,
        happenings,
        graph: &Graph::of(&Fleet::healthy().snapshot),
        steps,
    })
}

fn named(answer: &Correlation, name: PatternName) -> Vec<&Pattern> {
    answer.patterns.iter().filter(|pattern| pattern.name == name).collect()
}

#[test]
fn a_deployment_after_which_errors_rise_is_a_regression() {
    let deployed = event(HappeningKind::Deployment, "d", "cart", 900, Some(900));
    let bad = BTreeMap::from([("cart".to_owned(), steps(900, 1800, (30.0, 45.0)))]);
    let answer = ask(&[deployed, trouble("i", "cart", 930, Sign::Errors)], &bad, 1000);
    let found = named(&answer, PatternName::DeploymentThenRegression);
    let [pattern] = found.as_slice() else { panic!("{:?}", answer.patterns) };
    assert_eq!(
        (pattern.service.as_str(), pattern.events.as_slice()),
        ("cart", &["d".to_owned(), "i".to_owned()][..])
    );
    assert!(pattern.confidence.0 > 95.0, "{}", pattern.confidence);
    assert!(
        pattern.evidence[0].contains("errors rose from 0.") && pattern.evidence[0].contains("to 30 %"),
        "{:?}",
        pattern.evidence
    );
    let affected: Vec<&str> = pattern.affected_services.iter().map(String::as_str).collect();
    assert_eq!(affected, ["cart", "front", "load"], "by the graph");
}

#[test]
fn a_deployment_after_which_answers_are_slow_is_a_regression() {
    let deployed = event(HappeningKind::Deployment, "d", "cart", 900, Some(900));
    let bad = BTreeMap::from([("cart".to_owned(), steps(900, 1800, (0.0, 160.0)))]);
    let answer = ask(&[deployed], &bad, 1000);
    let found = named(&answer, PatternName::DeploymentThenRegression);
    assert!(found[0].evidence[0].contains("p95 rose from 42 ms to 162 ms"), "{:?}", found[0].evidence);
}

#[test]
fn what_follows_a_deployment_in_time_alone_is_no_regression() {
    let deployed = event(HappeningKind::Deployment, "d", "cart", 900, Some(900));
    let happenings = [deployed, trouble("i", "cart", 930, Sign::Errors)];
    let well = BTreeMap::from([("cart".to_owned(), steps(0, 0, (0.0, 0.0)))]);
    assert_eq!(
        named(&ask(&happenings, &well, 1000), PatternName::DeploymentThenRegression),
        [] as [&Pattern; 0]
    );
    let bad_all_along = BTreeMap::from([("cart".to_owned(), steps(0, 1800, (30.0, 160.0)))]);
    assert!(named(&ask(&happenings, &bad_all_along, 1000), PatternName::DeploymentThenRegression).is_empty());
    let bad_elsewhere = BTreeMap::from([("payments".to_owned(), steps(900, 1800, (30.0, 160.0)))]);
    assert!(named(&ask(&happenings, &bad_elsewhere, 1000), PatternName::DeploymentThenRegression).is_empty());
    // 40 s of it, in steps of 10 s: too few to be told from chance.
    let short = BTreeMap::from([("cart".to_owned(), steps(900, 1800, (30.0, 160.0))[..94].to_vec())]);
    assert!(named(&ask(&happenings, &short, 1000), PatternName::DeploymentThenRegression).is_empty());
}

#[test]
fn another_change_at_that_time_halves_the_confidence() {
    let deployed = event(HappeningKind::Deployment, "d", "cart", 900, Some(900));
    let bad = BTreeMap::from([("cart".to_owned(), steps(900, 1800, (30.0, 45.0)))]);
    let alone = ask(std::slice::from_ref(&deployed), &bad, 1000).patterns[0].confidence.0;
    let fault = event(HappeningKind::Experiment, "f", "database", 890, Some(950));
    let both = ask(&[deployed.clone(), fault], &bad, 1000).patterns[0].confidence.0;
    assert!((both - alone / 2.0).abs() < 1e-9, "{alone} {both}");
    let back = Happening {
        of: Some("d".to_owned()),
        ..event(HappeningKind::Deployment, "back", "cart", 955, Some(955))
    };
    let repair = event(HappeningKind::Remediation, "r", "cart", 950, Some(956));
    let answered = ask(&[deployed.clone(), back, repair], &bad, 1000).patterns;
    let first = answered.iter().find(|pattern| pattern.events.contains(&"d".to_owned())).unwrap();
    assert!(first.confidence.0 > alone / 2.0, "what answers it explains nothing: {}", first.confidence);
    let elsewhere = event(HappeningKind::Experiment, "f", "payments", 890, Some(950));
    let unrelated = ask(&[deployed, elsewhere], &bad, 1000).patterns[0].confidence.0;
    assert_eq!(unrelated, alone, "cart does not call payments");
}

#[test]
fn slow_answers_and_errors_of_neighbours_are_one_incident() {
    let bad = BTreeMap::from([("cart".to_owned(), steps(600, 720, (40.0, 400.0)))]);
    let happenings = [
        trouble("i", "cart", 605, Sign::Errors),
        trace("t1", "cart", 610, Sign::Slow),
        trace("t2", "cart", 680, Sign::Slow),
        event(HappeningKind::Deployment, "d", "payments", 100, Some(100)),
    ];
    let answer = ask(&happenings, &bad, 900);
    assert_eq!(answer.groups.len(), 1);
    let [pattern] = answer.patterns.as_slice() else { panic!("{:?}", answer.patterns) };
    assert_eq!((pattern.name, pattern.service.as_str()), (PatternName::SlowTracesWithErrors, "cart"));
    // One report is worth 1/2; two traces 2/3 of a shift that is complete.
    assert!(
        (pattern.confidence.0 - 100.0 * (0.5_f64 * 2.0 / 3.0).sqrt()).abs() < 1.0,
        "{}",
        pattern.confidence
    );
    assert_eq!(pattern.events, ["i", "t1", "t2"]);
}

#[test]
fn a_slow_trace_and_a_failed_one_of_a_well_service_are_no_incident() {
    let well = BTreeMap::from([("cart".to_owned(), steps(0, 0, (0.0, 0.0)))]);
    let happenings = [trace("a", "cart", 610, Sign::Slow), trace("b", "cart", 640, Sign::Errors)];
    let answer = ask(&happenings, &well, 900);
    assert_eq!(answer.patterns, [], "of many calls some are always slow");
    assert_eq!(answer.groups.len(), 1, "they belong together all the same");
}

#[test]
fn services_that_fail_together_point_to_what_they_share() {
    let happenings = [
        on_path("a", "catalogue", "database", 600),
        on_path("b", "cart", "database", 612),
        on_path("c", "orders", "database", 640),
        trouble("d", "database", 605, Sign::Slow),
    ];
    let answer = ask(&happenings, &BTreeMap::new(), 700);
    let found = named(&answer, PatternName::SharedDependency);
    let [pattern] = found.as_slice() else { panic!("{:?}", answer.patterns) };
    assert_eq!(pattern.service, "database");
    assert!((pattern.confidence.0 - 80.0).abs() < 1e-9, "all three, nobody else, and it itself: 4/5");
    assert_eq!(pattern.events, ["a", "d", "b", "c"], "by time");
    assert!(pattern.affected_services.contains("front"), "through others");
}

#[test]
fn fewer_of_its_callers_or_others_beside_them_make_it_less_sure() {
    let confidence = |happenings: &[Happening]| {
        let answer = ask(happenings, &BTreeMap::new(), 700);
        let of_database = answer.patterns.iter().find(|pattern| pattern.service == "database");
        of_database.map_or(0.0, |pattern| pattern.confidence.0)
    };
    let (a, b) = (on_path("a", "catalogue", "database", 600), on_path("b", "cart", "database", 612));
    let (c, p) = (on_path("c", "orders", "database", 640), trouble("p", "payments", 620, Sign::Errors));
    let two = confidence(&[a.clone(), b.clone()]);
    let three = confidence(&[a.clone(), b.clone(), c.clone()]);
    let with_another = confidence(&[a.clone(), b.clone(), c, p]);
    assert!(0.0 < two && two < three && with_another < three, "{two} {three} {with_another}");
    assert_eq!(confidence(std::slice::from_ref(&a)), 0.0, "one is no pattern");
    let late = on_path("b", "cart", "database", 671);
    assert_eq!(confidence(&[a, late]), 0.0, "more than a minute apart");
    assert_eq!(
        confidence(&[on_path("a", "orders", "payments", 600), b]),
        0.0,
        "trouble on the way to somebody else does not point here"
    );
}

#[test]
fn changes_before_are_told_the_nearest_first() {
    let happenings = [
        event(HappeningKind::Deployment, "far", "payments", 850, Some(850)),
        event(HappeningKind::Deployment, "callee", "database", 300, Some(300)),
        event(HappeningKind::Deployment, "same", "cart", 200, Some(200)),
        event(HappeningKind::Deployment, "after", "cart", 1000, Some(1000)),
        trouble("i", "cart", 880, Sign::Errors),
    ];
    let answer = ask(&happenings, &BTreeMap::new(), 900);
    let told: Vec<_> = answer.changes.iter().map(|change| (change.id.as_str(), change.distance)).collect();
    assert_eq!(told, [("same", Some(0)), ("callee", Some(1)), ("far", None)], "nothing that came after");
    assert_eq!(answer.changes[0].before_us, 700 * S);
}

#[test]
fn a_service_is_told_of_those_it_needs_and_those_that_need_it() {
    let happenings = [
        trouble("own", "cart", 600, Sign::Errors),
        trouble("needed", "database", 600, Sign::Errors),
        trouble("needs", "front", 600, Sign::Errors),
        trouble("beside", "payments", 600, Sign::Errors),
        Happening { service: None, ..trouble("everywhere", "cart", 600, Sign::Errors) },
    ];
    let answer = correlate(&Question {
        window: WINDOW,
        around_us: 900 * S,
        service: Some("cart"),
        happenings: &happenings,
        graph: &Graph::of(&Fleet::healthy().snapshot),
        steps: &BTreeMap::new(),
    });
    let mut told: Vec<&str> = answer.events.iter().map(|event| event.id.as_str()).collect();
    told.sort_unstable();
    assert_eq!(told, ["everywhere", "needed", "needs", "own"]);
}

#[test]
fn a_repair_belongs_to_its_issue() {
    let repair = Happening {
        of: Some("i".to_owned()),
        ..event(HappeningKind::Remediation, "r", "database", 1200, Some(1210))
    };
    let answer = ask(&[trouble("i", "front", 600, Sign::Errors), repair], &BTreeMap::new(), 1300);
    assert_eq!(answer.groups.len(), 1);
    assert_eq!(answer.groups[0].events.len(), 2);
}

#[test]
fn names_are_those_that_are_serialised() {
    for kind in HappeningKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
    }
    for lane in domain::Lane::ALL {
        assert_eq!(serde_json::to_value(lane).unwrap(), lane.name());
    }
}

prop_compose! {
    fn any_event()(
        number in 0..40_u32,
        kind in prop::sample::select(HappeningKind::ALL.to_vec()),
        service in prop::option::of(prop::sample::select(vec!["front", "cart", "catalogue", "orders", "database", "payments", "elsewhere"])),
        caller in prop::option::of(prop::sample::select(vec!["front", "cart", "orders"])),
        from_s in -600..2400_i64,
        lasts in prop::option::of(0..600_i64),
        signs in prop::collection::btree_set(prop::sample::select(vec![Sign::Slow, Sign::Errors]), 0..3),
        of in prop::option::of(0..40_u32),
    ) -> Happening {
        Happening {
            service: service.map(str::to_owned),
            caller: caller.filter(|_| service.is_some()).map(str::to_owned),
            signs,
            of: of.map(|n| format!("{n}")),
            ..event(kind, &number.to_string(), "", from_s, lasts.map(|s| from_s + s))
        }
    }
}

prop_compose! {
    fn any_steps()(
        by_service in prop::collection::btree_map(
            prop::sample::select(vec!["front", "cart", "database", "payments"]),
            (-60..180_i64, 0..240_i64, 0.0..100.0_f64, 0.0..500.0_f64), 0..4),
    ) -> BTreeMap<String, Vec<Step>> {
        by_service.into_iter().map(|(service, (from, lasts, errors, ms))| {
            (service.to_owned(), steps(from * 10, (from + lasts) * 10, (errors, ms)))
        }).collect()
    }
}

/// One of each kind and id: what is given twice counts once, whichever it is.
fn distinct(mut events: Vec<Happening>) -> Vec<Happening> {
    let mut seen = BTreeSet::new();
    events.retain(|event| seen.insert((event.kind, event.id.clone())));
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_order_of_what_is_given_makes_no_difference(
        (events, shuffled) in prop::collection::vec(any_event(), 0..40).prop_map(distinct)
            .prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle())),
        steps in any_steps(),
        around_s in 0..1800_i64,
    ) {
        let mut reversed = steps.clone();
        reversed.values_mut().for_each(|steps| steps.reverse());
        prop_assert_eq!(ask(&events, &steps, around_s), ask(&shuffled, &reversed, around_s));
    }

    #[test]
    fn nothing_outside_the_window_is_named_or_used(
        events in prop::collection::vec(any_event(), 0..40).prop_map(distinct),
        steps in any_steps(),
        around_s in 0..1800_i64,
        window in (0..900_i64, 900..1800_i64),
    ) {
        let window = Span { from_us: window.0 * S, to_us: window.1 * S };
        let graph = Graph::of(&Fleet::healthy().snapshot);
        let ask = |happenings: &[Happening], steps: &BTreeMap<String, Vec<Step>>| {
            let (around_us, graph) = (around_s * S, &graph);
            correlate(&Question { window, around_us, service: None, happenings, graph, steps })
        };
        let answer = ask(&events, &steps);
        let inside: Vec<Happening> = events.into_iter().filter(|event| window.holds(event)).collect();
        let mut clipped = steps.clone();
        for steps in clipped.values_mut() {
            steps.retain(|step| step.span.from_us >= window.from_us && step.span.to_us <= window.to_us);
        }
        prop_assert_eq!(&answer, &ask(&inside, &clipped), "what is outside makes no difference");
        let known: BTreeSet<&str> = inside.iter().map(|event| event.id.as_str()).collect();
        let named = answer.patterns.iter().flat_map(|pattern| pattern.events.iter().map(String::as_str));
        let named = named.chain(answer.changes.iter().map(|change| change.id.as_str()));
        let named = named.chain(answer.groups.iter().flat_map(|group| group.events.iter().map(|(_, id)| id.as_str())));
        for id in named.chain(answer.events.iter().map(|event| event.id.as_str())) {
            prop_assert!(known.contains(id), "{}", id);
        }
        for change in &answer.changes {
            prop_assert!(change.before_us >= 0);
        }
    }

    #[test]
    fn confidence_is_a_percentage_and_every_pattern_has_evidence(
        events in prop::collection::vec(any_event(), 0..60),
        steps in any_steps(),
    ) {
        let answer = ask(&events, &steps, 900);
        for pattern in &answer.patterns {
            prop_assert!((0.0..=100.0).contains(&pattern.confidence.0), "{:?}", pattern);
            prop_assert!(!pattern.evidence.is_empty() && !pattern.events.is_empty(), "{:?}", pattern);
            prop_assert!(pattern.affected_services.contains(&pattern.service));
        }
        for pair in answer.patterns.windows(2) {
            prop_assert!(pair[0].confidence.0 >= pair[1].confidence.0, "the surest first");
        }
        for group in &answer.groups {
            prop_assert!(group.events.len() > 1);
        }
    }
}
