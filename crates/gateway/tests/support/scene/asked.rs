//! What people asked for and what waits for another person's word.

use std::time::Duration;

use domain::{Action, Actor, Infrastructure, Intent, Plan, Release, Time};

use super::{name, seconds};
use crate::support::Fleet;

/// How long what is asked here waits.
const VALID: Duration = Duration::from_secs(3600);

/// A deployment and a scaling that ada asked for, and the end of the shop, which grace did.
pub(super) fn operations(fleet: &Fleet, now: Time) {
    let release = Release {
        version: Some("2.1.0".to_owned()),
        command: vec!["cart".to_owned(), "--port=8080".to_owned()],
        environment: std::collections::BTreeMap::new(),
    };
    let deploy = Action::Deploy { service: name("cart"), release: Box::new(release) };
    ask(fleet, now.minus(seconds(200)), deploy, "ada", "deploy cart 2.1.0");
    let shop = provider::manifest::parse("shop", "name: shop\nservices: { cart: { command: [cart] } }\n");
    let shop: Box<Infrastructure> = Box::new(shop.unwrap());
    let end = Action::TakeDown { infrastructure: shop };
    ask(fleet, now.minus(seconds(190)), end, "grace", "take shop down, with its volumes");
    scale(fleet, now.minus(seconds(5)), "orders", "ada");
}

/// Fewer instances of a service, asked for and waiting.
pub(super) fn scale(fleet: &Fleet, at: Time, service: &str, who: &str) {
    let action = Action::SetReplicas { service: name(service), replicas: 1 };
    ask(fleet, at, action, who, &format!("run 1 of {service} instead of 3"));
}

fn ask(fleet: &Fleet, at: Time, action: Action, who: &str, summary: &str) {
    let plan = Plan {
        id: fleet.id(at),
        intent: Intent::Operation { why: summary.to_owned() },
        requested_by: Actor::Operator(who.to_owned()),
        summary: summary.to_owned(),
        expected_effect: "what was asked for is in force".to_owned(),
        blast_radius: vec![action.resource()],
        steps: vec![decide::plan::step(action)],
        verify: None,
        lift_after: None,
        created_at: at,
    };
    let reasons = ["policy wants another person's word for it".to_owned()];
    fleet.store.add_plan_to_approve(&plan, &reasons, at.plus(VALID)).unwrap();
}
