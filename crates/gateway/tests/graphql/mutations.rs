//! What can be changed: by the same calls as over REST, in the name of whoever asked.

use domain::PlanStatus;
use serde_json::{Value, json};

use crate::SHOP;
use crate::support::graphql::code;
use crate::support::scene;
use crate::support::server::{Reply, Server, TOKEN, assert_problem, start};

#[test]
fn an_infrastructure_is_brought_up_and_taken_down_by_plans() {
    let server = start(scene::calm);
    let create =
        "mutation ($definition: String!) { createInfrastructure(definition: $definition, dryRun: true) {
        status description requestedBy steps { action } } }";
    let answer = server.graphql_with(create, json!({"definition": SHOP}));
    let plan = &answer["data"]["createInfrastructure"];
    assert_eq!(
        (&plan["status"], &plan["steps"][0]["action"]),
        (&json!("PENDING"), &json!("bring shop up")),
        "{answer}"
    );
    let wrong = server.graphql_with(create, json!({"definition": "services: ["}));
    assert_eq!(
        (code(&wrong), &wrong["errors"][0]["extensions"]["field"]),
        ("invalid_field", &json!("definition"))
    );

    let delete = "mutation { deleteInfrastructure(id: \"shop\") { status blastRadius } }";
    assert_eq!(code(&server.graphql(delete)), "not_found");
    *server.fleet.infrastructure.lock().unwrap() = Some(provider::manifest::parse("shop", SHOP).unwrap());
    assert_eq!(server.graphql_data(delete)["deleteInfrastructure"]["status"], "AWAITING_APPROVAL");
    assert_eq!(code(&server.graphql_with(create, json!({"definition": SHOP}))), "refused");
}

#[test]
fn a_deployment_is_scaled_where_there_is_one() {
    let server = start(scene::calm);
    let scale = |service: &str, replicas: &str| {
        server.graphql(&format!(
            "mutation {{ scaleDeployment(service: {service:?}, replicas: {replicas}) {{
            description steps {{ action resource }} }} }}"
        ))
    };
    let answer = scale("cart", "3");
    assert_eq!(answer["data"]["scaleDeployment"]["steps"][0]["action"], "run 3 of cart", "{answer}");
    // What is not there is told with where what there is is listed, as over REST.
    let unknown = scale("nothing", "3");
    assert_eq!(code(&unknown), "not_found");
    let listed_at = |answer: &Value| answer["errors"][0]["extensions"]["listedAt"].clone();
    assert_eq!(listed_at(&unknown), "/api/v3/self-healing/services", "{unknown}");
    let unknown = server.graphql("mutation { approve(remediationId: \"nothing\") { status } }");
    assert_eq!(listed_at(&unknown), "/api/v3/self-healing/remediations", "{unknown}");
    let wrong = scale("no name!", "3");
    assert_eq!((code(&wrong), listed_at(&wrong)), ("invalid_field", Value::Null));
    assert_eq!(code(&scale("cart", "-1")), "invalid_query");
    // What the guard does not let begin is a refusal, as over REST.
    server.fleet.store.latch_emergency_stop(domain::Clock::now(server.fleet.clock.as_ref())).unwrap();
    assert_eq!(code(&scale("cart", "3")), "refused");
}

#[test]
fn a_plan_that_waits_is_decided_once() {
    let server = start(scene::waiting);
    let data = server.graphql_data("{ remediations(filter: {status: AWAITING_APPROVAL}) { nodes { id } } }");
    let id = data["remediations"]["nodes"][0]["id"].as_str().unwrap().to_owned();
    let approve =
        format!("mutation {{ approve(remediationId: {id:?}) {{ id status decision {{ who approved }} }} }}");
    let decided = &server.graphql_data(&approve)["approve"];
    assert_eq!(decided["decision"], json!({"who": "local token", "approved": true}));
    let again = server.graphql(&approve);
    assert_eq!((code(&again), &again["errors"][0]["path"]), ("conflict", &json!(["approve"])));
    let plan = server.fleet.store.plan(id.parse().unwrap()).unwrap().unwrap();
    assert_ne!(plan.status, PlanStatus::AwaitingApproval);
}

#[test]
fn an_issue_is_repaired_and_a_dry_run_is_kept_nowhere() {
    let server = start(scene::busy);
    let data = server.graphql_data("{ issues(filter: {severity: CRITICAL}, first: 1) { nodes { id } } }");
    let id = data["issues"]["nodes"][0]["id"].as_str().unwrap();
    let remediate = |dry_run: bool| {
        let data = server.graphql_data(&format!(
            "mutation {{ remediate(issueId: {id:?}, dryRun: {dry_run}) {{ id requestedBy issue {{ id }} }} }}"
        ));
        assert_eq!(data["remediate"]["issue"]["id"], id, "{data}");
        data["remediate"]["id"].as_str().unwrap().to_owned()
    };
    let (shown, run) = (remediate(true), remediate(false));
    let kept = |id: &str| server.fleet.store.plan(id.parse().unwrap()).unwrap().is_some();
    assert_eq!((kept(&shown), kept(&run)), (false, true));
}

#[test]
fn automatic_repair_is_switched_in_the_order_that_is_asked() {
    let server = start(scene::calm);
    let data =
        server.graphql_data("mutation { setAutomation(enabled: true) last: setAutomation(enabled: false) }");
    assert_eq!(data, json!({"setAutomation": true, "last": false}));
    assert!(!server.fleet.store.switches().unwrap().automation);
}

#[test]
fn who_proves_nothing_changes_nothing() {
    let server = start(scene::calm);
    let reply = server.graphql_as(&[], "mutation { setAutomation(enabled: false) }");
    assert_eq!((reply.status, code(&reply.json())), (200, "token_missing"));
    assert!(server.fleet.store.switches().unwrap().automation);
}

/// A mutation as a program sends it that may send it again.
fn keyed(server: &Server, key: &str, query: &str) -> Reply {
    let bearer = format!("Bearer {TOKEN}");
    server.graphql_as(&[("authorization", &bearer), ("idempotency-key", key)], query)
}

#[test]
fn the_same_mutation_with_the_same_key_has_one_effect_and_the_same_answer() {
    let server = start(scene::calm);
    let off = "mutation { setAutomation(enabled: false) }";
    let first = keyed(&server, "one", off);
    assert_eq!((first.status, first.json()), (200, json!({"data": {"setAutomation": false}})));
    server.graphql_data("mutation { setAutomation(enabled: true) }");
    let second = keyed(&server, "one", off);
    assert_eq!((second.status, &second.body), (200, &first.body));
    assert!(server.fleet.store.switches().unwrap().automation, "it was switched on since, and not off again");
    let other = keyed(&server, "one", "mutation { setAutomation(enabled: true) }");
    assert_problem(&other, 422, "idempotency_mismatch");
    assert_problem(&keyed(&server, "no key", off), 422, "invalid_field");
}

#[test]
fn a_query_is_answered_anew_with_any_key_and_what_did_nothing_may_be_sent_again() {
    let server = start(scene::calm);
    let enabled = |key: &str| {
        keyed(&server, key, "{ automation { enabled } }").json()["data"]["automation"]["enabled"].clone()
    };
    assert_eq!(enabled("asks"), json!(true));
    server.graphql_data("mutation { setAutomation(enabled: false) }");
    assert_eq!(enabled("asks"), json!(false));

    let scale = "mutation { scaleDeployment(service: \"cart\", replicas: 3) { id } }";
    let now = domain::Clock::now(server.fleet.clock.as_ref());
    server.fleet.store.latch_emergency_stop(now).unwrap();
    assert_eq!(code(&keyed(&server, "two", scale).json()), "refused");
    server.fleet.store.clear_emergency_stop().unwrap();
    let done = keyed(&server, "two", scale);
    assert_eq!(done.json().get("errors"), None, "{}", done.body);
    assert_eq!(keyed(&server, "two", scale).body, done.body);

    // What was done in part is not done again.
    let partly = "mutation { setAutomation(enabled: true) deleteInfrastructure(id: \"shop\") { id } }";
    let first = keyed(&server, "three", partly);
    assert_eq!(code(&first.json()), "not_found");
    server.graphql_data("mutation { setAutomation(enabled: false) }");
    assert_eq!(keyed(&server, "three", partly).body, first.body);
    assert!(!server.fleet.store.switches().unwrap().automation);
}
