//! Counts against the events themselves: from links, spans, repairs and counters, across restarts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{Environment, ResourceId, SloSeverity, SloStatus};
use proptest::prelude::*;
use provider::sample::{Counts as LinkCounts, Histogram, LinkSample, LinkSecond};
use slo::read;

use super::*;

const BOOT_S: u64 = 50_000;
const WALL_S: i64 = 1_700_000_040;

/// So many seconds into the story.
fn at(second: u64) -> Time {
    Time { boot_us: (BOOT_S + second) * 1_000_000, wall_us: (WALL_S + second as i64) * 1_000_000 }
}

/// An objective of requests, as OpenSLO.
fn requests(events: &str, target: f64) -> Objective {
    let text = format!(
        "apiVersion: openslo/v1\nkind: SLO\nmetadata: {{name: answers}}\nspec:\n  service: cart\n  budgetingMethod: Occurrences\n  \
         timeWindow: [{{duration: 30d, isRolling: true}}]\n  objectives: [{{target: {target}}}]\n  indicator:\n    spec:\n      \
         ratioMetric:\n        counter: true\n        bad: {{metricSource: {{type: Homeostat, spec: {{events: {events}, outcome: bad}}}}}}\n        \
         total: {{metricSource: {{type: Homeostat, spec: {{events: {events}}}}}}}\n"
    );
    read("slos.yaml", text.as_bytes()).unwrap().remove(0)
}

fn sources(store: &Store) -> Sources {
    Sources { store: store.clone(), spans: None, metrics: None, answers: Answers::default() }
}

fn open(objectives: &[Objective], store: &Store, now: Time) -> Objectives {
    let (objectives, said) =
        Objectives::open(objectives.to_vec(), sources(store), "boot".to_owned(), now).unwrap();
    assert!(said.is_empty(), "{said:?}");
    objectives
}

/// What the keeper says at a second, of requests that ended in the seconds before: how many, and how many failed.
fn sample(second: u64, ended: &[(u64, u64, u64)]) -> Sample {
    let mut link = LinkSample::default();
    for (second, requests, errors) in ended {
        let mut latency = Histogram::default();
        (0..*requests).for_each(|_| latency.record(Duration::from_millis(10)));
        let counts =
            vec![LinkCounts { requests: *requests, errors: *errors, latency, ..LinkCounts::default() }];
        link.seconds.push_back(Arc::new(LinkSecond { second: BOOT_S + second, rejected: 0, counts }));
    }
    Sample {
        taken: at(second),
        fleet_age: Duration::from_secs(600),
        infrastructure: None,
        environment: Environment::Dev,
        services: [("cart".parse().unwrap(), state())].into(),
        links: [("front->cart".parse().unwrap(), link)].into(),
        unbound: Vec::new(),
    }
}

fn state() -> domain::ServiceState {
    domain::ServiceState {
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
        instances: Default::default(),
    }
}

/// Bad and all events of an objective's window.
fn sums(objectives: &Objectives) -> (u128, u128) {
    let sums = objectives.details()[0].standing.unwrap().sums;
    (sums.bad, sums.total)
}

#[test]
fn a_full_outage_of_three_nines_pages_within_a_minute_and_names_the_service() {
    let objectives = open(&[requests("requests, to: cart", 0.999)], &Store::in_memory().unwrap(), at(0));
    let mut ended = Vec::new();
    let mut paged = None;
    // Half an hour well, then nothing is answered any more.
    for second in 1..3600_u64 {
        ended.push((second, 20, if second > 1800 { 20 } else { 0 }));
        let from = ended.len().saturating_sub(60);
        objectives.links(&sample(second + 1, &ended[from..]));
        objectives.tick(at(second + 1));
        let state = objectives.objectives()["cart-answers"].clone();
        if let Some(alert) = &state.alert {
            assert_eq!(alert.severity, SloSeverity::Page);
            assert_eq!(state.resource, Some("service/cart".parse::<ResourceId>().unwrap()));
            assert_eq!(state.status, Some(SloStatus::Breached), "the hour before was all there was");
            paged = Some(second - 1800);
            break;
        }
    }
    let paged = paged.expect("it pages");
    assert!(paged <= 60, "{paged} s");
}

#[test]
fn a_second_without_requests_is_measured_and_one_without_an_answer_is_not() {
    let objectives = open(&[requests("requests, to: cart", 0.9)], &Store::in_memory().unwrap(), at(0));
    objectives.links(&sample(120, &[]));
    objectives.tick(at(120));
    let measured = objectives.details()[0].standing.unwrap().sums.measured;
    // The keeper keeps a minute: of seconds 60 to 120.
    assert!((1..=2).contains(&measured), "{measured}");
    objectives.tick(at(600));
    assert_eq!(objectives.details()[0].standing.unwrap().sums.measured, measured, "nobody looked");
}

#[test]
fn an_objective_of_the_whole_fleet_names_where_it_burns_and_stays_there() {
    let objectives = open(&[requests("requests", 0.999)], &Store::in_memory().unwrap(), at(0));
    let ended: Vec<_> = (1..=55).map(|second| (second, 20, 20)).collect();
    objectives.links(&sample(56, &ended));
    objectives.tick(at(56));
    let state = objectives.objectives()["cart-answers"].clone();
    assert!(state.specific, "its file names a service of the fleet");
    let mut elsewhere = requests("requests", 0.999);
    elsewhere.service = "fleet".to_owned();
    let objectives = open(&[elsewhere], &Store::in_memory().unwrap(), at(0));
    objectives.links(&sample(56, &ended));
    objectives.tick(at(56));
    let state = objectives.objectives()["cart-answers"].clone();
    assert!(state.alert.is_some() && !state.specific);
    assert_eq!(state.resource, Some("link/front->cart".parse::<ResourceId>().unwrap()));
    assert!(state.lately.is_some_and(|lately| lately > 900.0), "{state:?}");
}

#[test]
fn what_counts_something_else_begins_anew_and_says_so() {
    let store = Store::in_memory().unwrap();
    let objectives = open(&[requests("requests, to: cart", 0.9)], &store, at(0));
    objectives.links(&sample(10, &[(5, 7, 1)]));
    objectives.tick(at(10));
    objectives.close(at(11)).unwrap();
    let other = requests("requests, from: front", 0.9);
    let (objectives, said) =
        Objectives::open(vec![other], sources(&store), "boot".to_owned(), at(12)).unwrap();
    assert_eq!(sums(&objectives), (0, 0));
    assert!(said[0].contains("counts something else"), "{said:?}");
}

#[test]
fn a_repair_counts_once_however_often_it_is_looked_at() {
    let store = Store::in_memory().unwrap();
    let objectives = open(&[requests("remediations", 0.85)], &store, at(0));
    for second in 1..4 {
        objectives.tick(at(second));
    }
    assert_eq!(sums(&objectives), (0, 0));
}

#[test]
fn our_own_answers_count_since_the_process_began() {
    let store = Store::in_memory().unwrap();
    let sources = sources(&store);
    let answers = sources.answers.clone();
    let (objectives, _) =
        Objectives::open(vec![requests("gateway", 0.9)], sources, "boot".to_owned(), at(0)).unwrap();
    [false, false, true].into_iter().for_each(|failed| answers.count(failed));
    objectives.tick(at(1));
    objectives.tick(at(2));
    assert_eq!(sums(&objectives), (1, 3));
}

/// Server spans, as OTLP: `count` of a service, ending at a second since 1970 after so many milliseconds.
fn spans(service: &str, end_s: i64, took_ms: u64, count: u64) -> Vec<u8> {
    fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
        let mut out = varint(number << 3 | 2);
        out.extend(varint(bytes.len() as u64));
        out.extend(bytes);
        out
    }
    fn varint(mut value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    }
    fn fixed(number: u64, value: u64) -> Vec<u8> {
        [varint(number << 3 | 1), value.to_le_bytes().to_vec()].concat()
    }
    let end = end_s as u64 * 1_000_000_000 + 500_000_000;
    let span = |id: u64| {
        [
            field(1, &u128::from(id).to_be_bytes()),
            field(2, &id.to_be_bytes()),
            field(5, b"GET /"),
            [varint(6 << 3), varint(2)].concat(),
            fixed(7, end - took_ms * 1_000_000),
            fixed(8, end),
        ]
        .concat()
    };
    let value = field(1, service.as_bytes());
    let name = [field(1, b"service.name"), field(2, &value)].concat();
    let resource = field(1, &field(1, &name));
    let scope: Vec<u8> = (1..=count).flat_map(|id| field(2, &span(id))).collect();
    field(1, &[resource, field(2, &scope)].concat())
}

#[test]
fn a_latency_of_server_spans_is_exact_and_goes_over_from_the_links_without_counting_twice() {
    let dir = tempfile::tempdir().unwrap();
    let telemetry = Telemetry::open(telemetry::Config::new(dir.path())).unwrap();
    let store = Store::in_memory().unwrap();
    let text = include_str!("../../../../drills/slos.yaml");
    let mut objectives = read("slos.yaml", text.as_bytes()).unwrap();
    objectives.retain(|objective| objective.id == "api-requests");
    let sources = Sources { spans: Some(telemetry.clone()), ..sources(&store) };
    let (objectives, _) = Objectives::open(objectives, sources, "boot".to_owned(), at(0)).unwrap();
    objectives.links(&sample(5, &[(3, 6, 0)]));
    objectives.tick(at(5));
    assert_eq!(sums(&objectives), (0, 6), "no span came yet");
    let send = |request: &[u8]| telemetry.intake().traces(request).unwrap().durable.wait().unwrap();
    // The same six requests as spans, late; then two of its own, one at the limit and one below.
    send(&spans("front", WALL_S + 3, 10, 6));
    wait_until(&objectives, 6, |objectives| objectives.details()[0].counted_from == "spans");
    send(&spans("front", WALL_S + 7, 500, 1));
    send(&spans("front", WALL_S + 7, 499, 1));
    objectives.links(&sample(9, &[(7, 2, 0)]));
    wait_until(&objectives, 9, |objectives| sums(objectives).1 >= 8);
    assert_eq!(sums(&objectives), (1, 8));
}

fn wait_until(objectives: &Objectives, second: u64, done: impl Fn(&Objectives) -> bool) {
    let began = Instant::now();
    while !done(objectives) && began.elapsed() < Duration::from_secs(20) {
        objectives.tick(at(second));
        std::thread::yield_now();
    }
    assert!(done(objectives), "it was waited for 20 s");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whenever a process ends, with a word or without, and whenever looks come, every request counts once as long as the
    /// keeper still has it.
    #[test]
    fn budgets_equal_a_recount_across_restarts(
        steps in prop::collection::vec((1_u64..20, 0_u64..50, 0_u64..5, 0_u8..4), 1..40),
    ) {
        let store = Store::in_memory().unwrap();
        let all = [requests("requests, to: cart", 0.99)];
        let mut objectives = open(&all, &store, at(0));
        let (mut now, mut ended): (u64, Vec<(u64, u64, u64)>) = (0, Vec::new());
        for (passed, requests, errors, what) in steps {
            ended.push((now, requests, errors.min(requests)));
            now += passed;
            let from = ended.partition_point(|(second, ..)| second + 60 < now);
            match what {
                // It is killed, and what it did not keep is counted again.
                0 => objectives = open(&all, &store, at(now)),
                // It is stopped.
                1 => {
                    objectives.close(at(now)).unwrap();
                    objectives = open(&all, &store, at(now));
                }
                _ => objectives.links(&sample(now, &ended[from..])),
            }
            objectives.tick(at(now));
            // Killed ones lose nothing only while the keeper has it: at most a minute may pass unkept.
            if what != 0 && now % 2 == 0 {
                objectives.close(at(now)).unwrap();
            }
        }
        let from = ended.partition_point(|(second, ..)| second + 60 < now + 1);
        objectives.links(&sample(now + 1, &ended[from..]));
        objectives.tick(at(now + 1));
        let recount = ended.iter().fold((0, 0), |sum: (u64, u64), (_, all, bad)| (sum.0 + bad, sum.1 + all));
        let counted = sums(&objectives);
        prop_assert!(counted.1 <= u128::from(recount.1) && counted.0 <= u128::from(recount.0), "nothing counts twice");
        if now < 60 {
            prop_assert_eq!(counted, (u128::from(recount.0), u128::from(recount.1)));
        }
    }
}
