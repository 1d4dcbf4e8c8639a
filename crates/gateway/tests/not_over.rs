//! What is not over is found behind a thousand newer ones that are: over REST and GraphQL, and on pages.

mod support;

use std::collections::BTreeSet;

use domain::{Issue, Time};
use serde_json::Value;
use store::{ExperimentRecord, ExperimentStatus, LIST_LIMIT_MAX};
use support::scene;
use support::server::{Server, assert_problem, start, start_with_objectives};

const ISSUES: &str = "/api/v3/self-healing/issues";

/// Three issues are open, and a thousand newer ones are over.
fn behind_closed() -> Server {
    let server = start(scene::busy);
    let now = server.fleet.clock.now();
    let like = server.fleet.store.open_issues().unwrap().remove(0);
    let over = |_| Issue { id: server.fleet.id(now), detected_at: now, closed_at: Some(now), ..like.clone() };
    let over: Vec<Issue> = (0..LIST_LIMIT_MAX).map(over).collect();
    server.fleet.store.save_issues(&over.iter().collect::<Vec<_>>()).unwrap();
    server
}

fn open(server: &Server) -> Vec<String> {
    server.fleet.store.open_issues().unwrap().iter().map(|issue| issue.id.to_string()).collect()
}

fn ids(rows: &Value) -> Vec<String> {
    rows.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

/// Where the next page is.
fn next(link: Option<&str>) -> Option<String> {
    Some(link?.strip_prefix('<')?.split_once('>')?.0.to_owned())
}

#[test]
fn open_issues_are_asked_for_alone_and_the_next_page_is_of_open_ones_too() {
    let server = behind_closed();
    let newest = server.get(&format!("{ISSUES}?limit=999")).json();
    assert!(newest.as_array().unwrap().iter().all(|issue| !issue["closed_at"].is_null()), "none in sight");
    assert_eq!(ids(&server.get(&format!("{ISSUES}?state=open")).json()), open(&server));
    let first = server.get(&format!("{ISSUES}?state=open&limit=2"));
    let second = server.get(&next(first.header("link")).unwrap());
    assert_eq!([ids(&first.json()), ids(&second.json())].concat(), open(&server));
    assert_eq!(second.header("link"), None);
    let closed = server.get(&format!("{ISSUES}?state=closed&limit=999"));
    let older = server.get(&next(closed.header("link")).unwrap()).json();
    assert_eq!(older.as_array().unwrap().len(), 6);
    assert!(older.as_array().unwrap().iter().all(|issue| !issue["closed_at"].is_null()));
    let refused = server.get(&format!("{ISSUES}?state=itching"));
    assert_problem(&refused, 422, "invalid_field");
    assert_eq!(refused.json()["field"], "state");
}

#[test]
fn the_page_of_issues_lists_open_ones_or_closed_ones_to_the_last_page() {
    let server = behind_closed();
    let shown = server.get("/issues?state=open").body;
    assert!(open(&server).iter().all(|id| shown.contains(&format!("/issues/{id}"))), "{shown}");
    // A file holds the rows of all pages.
    let closed = server.get("/issues?state=closed&format=json").json();
    let closed: BTreeSet<String> = ids(&closed).into_iter().collect();
    assert_eq!(closed.len(), LIST_LIMIT_MAX + 5);
    assert!(open(&server).iter().all(|id| !closed.contains(id)));
    let page = server.get("/issues?state=closed").body;
    let older = page.split("rel=\"next\" href=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    assert!(older.contains("state=closed") && older.contains("before="), "{older}");
    assert_eq!(server.get("/issues?state=itching").status, 422);
}

#[test]
fn graphql_lists_open_issues_alone() {
    let server = behind_closed();
    let asked = "{ open: issues(filter: {state: OPEN}) { nodes { id closedAt } }
        closed: issues(filter: {state: CLOSED}) { nodes { closedAt } } }";
    let data = server.graphql_data(asked);
    assert_eq!(ids(&data["open"]["nodes"]), open(&server));
    let closed = data["closed"]["nodes"].as_array().unwrap();
    assert!(closed.len() == 20 && closed.iter().all(|node| !node["closedAt"].is_null()), "{closed:?}");
}

#[test]
fn graphql_lists_plans_of_another_purpose_where_it_is_asked_for_as_rest_does() {
    let server = start(scene::busy);
    let listed = |filter: &str| {
        let asked = format!("{{ remediations({filter} first: 100) {{ nodes {{ id }} }} }}");
        ids(&server.graphql_data(&asked)["remediations"]["nodes"])
    };
    for (filter, query) in [
        ("", ""),
        ("filter: {purpose: REMEDIATION},", "?purpose=remediation"),
        ("filter: {purpose: EXPERIMENT},", "?purpose=experiment"),
        ("filter: {purpose: OPERATION},", "?purpose=operation"),
        ("filter: {purpose: LIFT},", "?purpose=lift"),
        ("filter: {purpose: ANY},", "?purpose=any"),
    ] {
        let rest = server.get(&format!("/api/v3/self-healing/remediations{query}")).json();
        assert_eq!(listed(filter), ids(&rest), "{query}");
    }
    let [repairs, faults, all] =
        ["", "filter: {purpose: EXPERIMENT},", "filter: {purpose: ANY},"].map(listed);
    assert!(!repairs.is_empty() && !faults.is_empty() && all.len() >= repairs.len() + faults.len());
}

#[test]
fn the_time_line_holds_what_is_open_and_in_force_however_much_is_newer() {
    let server = behind_closed();
    let now = server.fleet.clock.now();
    for _ in 0..LIST_LIMIT_MAX {
        let refused = ExperimentRecord {
            id: server.fleet.id(now),
            status: ExperimentStatus::Refused,
            document: "{}".to_owned(),
            created_at: now,
        };
        server.fleet.store.save_experiment(&refused).unwrap();
    }
    let answer = server.get("/api/v3/observability/timeline?within=6h&lanes=issues,faults").json();
    let lasting = |lane: &str| -> BTreeSet<String> {
        let lane = answer["lanes"].as_array().unwrap().iter().find(|found| found["lane"] == lane).unwrap();
        let events = lane["events"].as_array().unwrap().iter().filter(|event| event["end"].is_null());
        events.map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(lasting("issues"), open(&server).into_iter().collect());
    let faults = server.fleet.faults.lock().unwrap();
    let in_force: BTreeSet<String> = faults.iter().map(|fault| fault.token.plan.to_string()).collect();
    assert_eq!((lasting("faults"), in_force.len()), (in_force.clone(), 2), "their experiments run");
}

#[test]
fn what_burns_a_budget_since_before_the_window_is_shown_first() {
    let (server, ..) = start_with_objectives(scene::busy, support::objectives::with_a_past);
    let now = server.fleet.clock.now();
    let store = &server.fleet.store;
    let like = store.open_issues().unwrap().remove(0);
    let began = Time { wall_us: now.wall_us - 7_200_000_000, ..now };
    let since_before = Issue {
        id: server.fleet.id(began),
        detected_at: began,
        resource: "instance/cart-1".parse().unwrap(),
        description: "slow since two hours".to_owned(),
        ..like
    };
    store.save_issue(&since_before).unwrap();
    let newer = |_| Issue {
        id: server.fleet.id(now),
        detected_at: now,
        closed_at: Some(now),
        description: "a short one".to_owned(),
        ..since_before.clone()
    };
    let newer: Vec<Issue> = (0..150).map(newer).collect();
    store.save_issues(&newer.iter().collect::<Vec<_>>()).unwrap();
    let page = server.get("/slos/cart-answers?window=60").body;
    assert!(page.contains("slow since two hours") && page.contains("a short one"), "{page}");
    assert!(!page.contains("at least"), "{page}");
}
