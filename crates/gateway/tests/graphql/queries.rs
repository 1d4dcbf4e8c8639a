//! What can be read, by whom, and how often the store is asked for it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::SHOP;
use crate::support::graphql::code;
use crate::support::server::{Server, assert_problem, start, start_with_metrics};
use crate::support::{scene, series};

fn busy() -> Server {
    let server = start(scene::busy);
    let shop = provider::manifest::parse("shop", SHOP).unwrap();
    *server.fleet.infrastructure.lock().unwrap() = Some(shop);
    server
}

#[test]
fn an_infrastructure_is_found_by_its_id_and_shows_no_secret() {
    let server = busy();
    let asked = "{ infrastructure(id: \"shop\") { id name environment status { state services }
        services { name replicas ready } computeResources(first: 3) { nodes { id service } } }
        none: infrastructure(id: \"other\") { id } listInfrastructures { id } }";
    let data = server.graphql_data(asked);
    assert_eq!((&data["infrastructure"]["name"], &data["none"]), (&json!("shop"), &Value::Null));
    assert_eq!(data["listInfrastructures"], json!([{"id": "shop"}]));
    let resources = data["infrastructure"]["computeResources"]["nodes"].as_array().unwrap();
    assert_eq!(resources.len(), 3);
    assert!(!data.to_string().contains("canary"), "{data}");
}

#[test]
fn compute_resources_are_what_the_provider_discovers_page_by_page() {
    let server = busy();
    let (mut all, mut after) = (BTreeSet::new(), Value::Null);
    loop {
        let asked = "query ($after: String) { computeResources(first: 3, after: $after) {
            edges { cursor node { id phase cpuCores memoryBytes pid port } }
            pageInfo { hasNextPage hasPreviousPage endCursor } } }";
        let answer = server.graphql_with(asked, json!({"after": after}));
        let page = &answer["data"]["computeResources"];
        assert_eq!(page["pageInfo"]["hasPreviousPage"], json!(!after.is_null()), "{answer}");
        for edge in page["edges"].as_array().unwrap() {
            assert!(all.insert(edge["node"]["id"].as_str().unwrap().to_owned()), "{edge} came twice");
        }
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == json!(false) {
            break;
        }
    }
    let rest = server.get("/api/v3/self-healing/services").json();
    let of = |service: &Value| service["instances"].as_array().unwrap().clone();
    let names: BTreeSet<String> = rest
        .as_array()
        .unwrap()
        .iter()
        .flat_map(of)
        .map(|instance| format!("instance/{}", instance["instance"].as_str().unwrap()))
        .collect();
    assert_eq!(all, names);
    let one = server.graphql_data("{ computeResources(filter: {service: \"cart\"}) { nodes { service } } }");
    let one = one["computeResources"]["nodes"].as_array().unwrap();
    assert!(!one.is_empty() && one.iter().all(|node| node["service"] == "cart"), "{one:?}");
}

#[test]
fn issues_and_remediations_say_the_same_as_rest_and_lead_to_each_other() {
    let server = busy();
    let rest = server.get("/api/v3/self-healing/issues").json();
    let asked = "{ issues(first: 100) { nodes { id type severity resource closedAt evidence { name value }
        remediations { id status issue { id } steps { action undo } } } } }";
    let data = server.graphql_data(asked);
    let nodes = data["issues"]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), rest.as_array().unwrap().len());
    for (node, issue) in nodes.iter().zip(rest.as_array().unwrap()) {
        assert_eq!(node["id"], issue["id"]);
        assert_eq!(node["type"], issue["type"].as_str().unwrap().to_uppercase());
        for remediation in node["remediations"].as_array().unwrap() {
            assert_eq!(remediation["issue"]["id"], node["id"]);
        }
    }
    assert!(nodes.iter().any(|node| node["remediations"].as_array().is_some_and(|all| !all.is_empty())));
    let critical = server.graphql_data("{ issues(filter: {severity: CRITICAL}) { nodes { severity } } }");
    let critical = critical["issues"]["nodes"].as_array().unwrap();
    assert!(!critical.is_empty() && critical.iter().all(|node| node["severity"] == "CRITICAL"));
    let (first, second) = (nodes[0]["id"].as_str().unwrap(), &nodes[1]["id"]);
    let next = format!("{{ issues(first: 1, after: {first:?}) {{ nodes {{ id }} }} }}");
    assert_eq!(server.graphql_data(&next)["issues"]["nodes"][0]["id"], *second);
    let one = format!("{{ issue(id: {first:?}) {{ id }} none: issue(id: \"x\") {{ id }} }}");
    assert_eq!(server.graphql_data(&one), json!({"issue": {"id": first}, "none": null}));
}

#[test]
fn what_lies_beside_the_rows_of_a_list_is_read_once_for_all_of_them() {
    let server = busy();
    let reads = |first: u32, below: &str| {
        let before = server.fleet.store.reads();
        server.graphql_data(&format!("{{ issues(first: {first}) {{ nodes {{ id {below} }} }} }}"));
        server.fleet.store.reads() - before
    };
    assert_eq!(reads(8, ""), 1);
    let beside = "remediations { id issue { id remediations { id } } }";
    assert_eq!((reads(1, beside), reads(8, beside)), (2, 2));
    let before = server.fleet.store.reads();
    server.graphql_data("{ remediations { nodes { id issue { id remediations { id } } } } }");
    assert_eq!(server.fleet.store.reads() - before, 3);
}

#[test]
fn deployments_are_services_with_the_history_of_their_versions() {
    let server = busy();
    for version in ["1.4.0", "1.4.1"] {
        let body = json!({"service": "cart", "version": version});
        assert_eq!(server.post("/api/v3/observability/deployments", body).status, 201);
    }
    let asked = "{ deployments(service: \"cart\") { nodes { service replicas ready
        history { version previousVersion seenBy at } } } }";
    let data = server.graphql_data(asked);
    let cart = &data["deployments"]["nodes"][0];
    assert_eq!(
        (&cart["service"], &cart["history"][0]["version"]),
        (&json!("cart"), &json!("1.4.1")),
        "{cart}"
    );
    assert_eq!(cart["history"][0]["seenBy"], "POSTED");
    assert!(cart["replicas"].as_u64().unwrap() > 0);
}

#[test]
fn metrics_are_what_promql_answers_within_bounds() {
    let now = crate::support::MachineClock::start();
    let batch = series::shop(domain::Clock::now(&now).wall_us / 1000);
    let server = start_with_metrics(batch, Default::default());
    let data = server.graphql_data("{ metrics(query: \"1 / 0\") { nodes { points { value text } } } }");
    assert_eq!(data["metrics"]["nodes"], json!([{"points": [{"value": null, "text": "+Inf"}]}]));
    let data = server.graphql_data(
        "{ metrics(query: \"{__name__=~'.+'}\", first: 2) { nodes { id name
        labels { name value } points { at value } } pageInfo { hasNextPage endCursor } } }",
    );
    let page = &data["metrics"];
    assert_eq!(page["nodes"].as_array().unwrap().len(), 2, "{data}");
    assert_eq!(page["pageInfo"], json!({"hasNextPage": true, "endCursor": "2"}));
    for (arguments, field) in [
        ("query: \"sum(\"", "query"),
        ("query: \"up\", first: 1000", "first"),
        (
            "query: \"up\", range: {from: \"2026-01-01T00:00:00Z\", to: \"2026-02-01T00:00:00Z\", stepSeconds: 1}",
            "range.stepSeconds",
        ),
        (
            "query: \"up\", range: {from: \"2026-01-02T00:00:00Z\", to: \"2026-01-01T00:00:00Z\", stepSeconds: 1}",
            "range.to",
        ),
    ] {
        let answer = server.graphql(&format!("{{ metrics({arguments}) {{ nodes {{ id }} }} }}"));
        assert_eq!(code(&answer), "invalid_field", "{answer}");
        assert_eq!(answer["errors"][0]["extensions"]["field"], field, "{answer}");
        assert_eq!(answer["errors"][0]["path"], json!(["metrics"]));
    }
    let none = start(scene::calm).graphql("{ metrics(query: \"up\") { nodes { id } } }");
    assert_eq!(code(&none), "no_telemetry");
}

#[test]
fn the_state_that_is_not_known_yet_has_the_same_code_as_over_rest() {
    let server = start(|_| {});
    assert_eq!(code(&server.graphql("{ healthScore { overall } }")), "not_known_yet");
    assert_eq!(code(&server.graphql("{ computeResources { nodes { id } } }")), "not_known_yet");
    assert_eq!(code(&server.graphql("{ slos { id } }")), "unavailable");
}

#[test]
fn get_reads_and_a_post_by_cookie_needs_our_origin() {
    let server = busy();
    let host = server.host();
    let get = |query: &str| server.raw("GET", &format!("/graphql?query={query}"), &[("host", &host)], "");
    let read = get("%7BhealthScore%7Boverall%7D%7D");
    assert_eq!((read.status, read.json()["data"]["healthScore"]["overall"].is_u64()), (200, true));
    let changed = get("mutation%7BsetAutomation(enabled:false)%7D");
    assert_problem(&changed, 405, "wrong_method");
    assert_eq!(changed.header("allow"), Some("POST"));

    let cookie = server.cookie();
    let query = "{ healthScore { overall } }";
    let foreign = [("cookie", cookie.as_str()), ("origin", "http://localhost:1")];
    assert_problem(&server.graphql_as(&foreign, query), 403, "wrong_origin");
    assert_problem(&server.graphql_as(&foreign[..1], query), 403, "wrong_origin");
    let origin = server.origin();
    let ours = server
        .graphql_as(&[("cookie", &cookie), ("origin", &origin), ("sec-fetch-site", "same-origin")], query);
    assert_eq!(ours.status, 200, "{}", ours.body);
    assert_problem(
        &server.graphql_as(&[("authorization", "Bearer guessed-guessed-guessed")], query),
        401,
        "wrong_token",
    );
    // Without proof it reads as a viewer does on loopback.
    assert_eq!(server.graphql_as(&[], query).status, 200);
}

#[test]
fn the_newer_media_type_has_a_status_for_what_is_wrong_with_a_document() {
    let server = start(scene::calm);
    let newer = ("accept", "application/graphql-response+json");
    for (query, status) in
        [("{ nothing }", 400), ("{", 400), ("{ healthScore { overall } }", 200), ("{ slos { id } }", 200)]
    {
        let reply = server.graphql_as(&[newer], query);
        assert_eq!(reply.status, status, "{query}: {}", reply.body);
        assert_eq!(reply.header("content-type"), Some("application/graphql-response+json"));
    }
    let older = server.graphql_as(&[], "{ nothing }");
    assert_eq!((older.status, code(&older.json())), (200, "invalid_query"));
}
