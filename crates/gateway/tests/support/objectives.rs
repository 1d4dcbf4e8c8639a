//! Objectives with a past: requests of thirty days, with a bad hour last week and a bad quarter of an hour just now.

use std::sync::Arc;
use std::time::Duration;

use domain::{Environment, Time};
use observe::objectives::{Answers, Objectives, Sources};
use provider::sample::{Counts, Histogram, LinkSample, LinkSecond, Sample};
use store::Store;

/// Two objectives beside the built-in ones: one that is burning and one of nothing that is measured.
const MORE: &str = r#"
apiVersion: openslo/v1
kind: SLO
metadata: {name: answers}
spec:
  service: cart
  description: Every request to the cart is answered without an error.
  budgetingMethod: Occurrences
  timeWindow: [{duration: 30d, isRolling: true}]
  objectives: [{target: 0.999}]
  indicator:
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: Homeostat, spec: {events: requests, to: cart, outcome: bad}}}
        total: {metricSource: {type: Homeostat, spec: {events: requests, to: cart}}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: charges}
spec:
  service: payments
  budgetingMethod: Occurrences
  timeWindow: [{duration: 7d, isRolling: true}]
  objectives: [{target: 0.99}]
  indicator:
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: Homeostat, spec: {events: requests, to: payments, outcome: bad}}}
        total: {metricSource: {type: Homeostat, spec: {events: requests, to: payments}}}
"#;

/// None counted anything yet.
pub(crate) fn empty(store: &Store, now: Time, answers: Answers) -> Arc<Objectives> {
    let built_in = include_str!("../../../../drills/slos.yaml");
    let objectives =
        slo::read_all(&[("slos.yaml", built_in.as_bytes()), ("more.yaml", MORE.as_bytes())]).unwrap();
    let sources = Sources { store: store.clone(), spans: None, metrics: None, answers };
    let (objectives, said) = Objectives::open(objectives, sources, "boot".to_owned(), now).unwrap();
    assert!(said.is_empty(), "{said:?}");
    Arc::new(objectives)
}

/// With a past of thirty days.
pub(crate) fn with_a_past(store: &Store, now: Time, answers: Answers) -> Arc<Objectives> {
    let objectives = empty(store, now, answers);
    let last = now.wall_us / 60_000_000;
    for minute in last - 30 * 1440..last {
        let ago = last - minute;
        // Nobody looked for two days.
        if (12 * 1440..14 * 1440).contains(&ago) {
            continue;
        }
        let bad = match ago {
            1..15 => 9,
            10_000..10_060 => 2,
            _ => u64::from(minute % 977 == 0),
        };
        objectives.links(&sample(minute * 60, bad));
    }
    objectives.tick(now);
    objectives
}

/// What a keeper says at a second whose boot clock is the wall's: a minute of forty requests to the cart.
fn sample(second: i64, bad: u64) -> Sample {
    let mut latency = Histogram::default();
    (0..40).for_each(|_| latency.record(Duration::from_millis(20)));
    let counts = vec![Counts { requests: 40, errors: bad, latency, ..Counts::default() }];
    let second = second.unsigned_abs();
    let mut link = LinkSample::default();
    link.seconds.push_back(Arc::new(LinkSecond { second: second - 30, rejected: 0, counts }));
    Sample {
        taken: Time { boot_us: second * 1_000_000, wall_us: second as i64 * 1_000_000 },
        fleet_age: Duration::from_secs(600),
        infrastructure: None,
        environment: Environment::Dev,
        services: Default::default(),
        links: [("front->cart".parse().unwrap(), link)].into(),
        unbound: Vec::new(),
    }
}
