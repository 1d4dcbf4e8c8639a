//! Bombs: what is too large is refused before it costs anything, and nothing is answered with a failure of ours.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::graphql::code;
use crate::support::scene;
use crate::support::server::{assert_problem, start};

/// Long enough for a busy machine, short beside what any of these would take to answer.
const QUICKLY: Duration = Duration::from_secs(20);

fn many(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect()
}

fn doubling() -> String {
    let level = |n: usize| format!(" fragment F{n} on Query {{ ...F{m} ...F{m} }}", m = n + 1);
    format!("{{ ...F0 }} {} fragment F50 on Query {{ healthScore {{ overall }} }}", many(50, level))
}

fn deep(levels: usize) -> String {
    let (open, close) = ("remediations { issue { ".repeat(levels), "} }".repeat(levels));
    format!("{{ issues {{ nodes {{ {open} id {close} }} }} }}")
}

#[test]
fn bombs_are_refused_quickly_with_a_code() {
    let server = start(scene::busy);
    let lists = "issues(first: 100) { nodes { remediations { issue { remediations { issue { id } } } } } }";
    for (name, query) in [
        ("depth", deep(8)),
        ("nesting", format!("{{ a{} }}", "{a".repeat(5_000))),
        ("aliases", many(200, |n| format!("a{n}: healthScore {{ overall }} ")).split_at(0).1.to_owned()),
        ("root fields", many(30, |_| "healthScore { overall } ".to_owned())),
        ("doubling fragments", doubling()),
        (
            "circular fragments",
            "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }".to_owned(),
        ),
        ("lists of lists", format!("{{ {lists} }}")),
        (
            "introspection",
            "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }".to_owned(),
        ),
        ("1 MiB", format!("{{ issues(after: \"{}\") {{ nodes {{ id }} }} }}", "x".repeat((1 << 20) - 200))),
        ("directives", format!("{{ healthScore {{ overall {} }} }}", "@skip(if: false) ".repeat(100))),
    ] {
        let query = if query.starts_with('{') { query } else { format!("{{ {query} }}") };
        let began = Instant::now();
        let answer = server.graphql(&query);
        assert!(began.elapsed() < QUICKLY, "{name} took {:?}", began.elapsed());
        assert_eq!(answer["data"], Value::Null, "{name}");
        let refused = code(&answer);
        assert!(["query_too_complex", "invalid_query"].contains(&refused), "{name}: {answer}");
    }
    assert_eq!(server.graphql_data("{ healthScore { overall } }")["healthScore"]["overall"], 84);
}

#[test]
fn a_list_is_bounded_by_what_is_asked_for_and_says_so() {
    let server = start(scene::busy);
    for first in [0, -1, 101, 1_000_000] {
        let answer = server.graphql(&format!("{{ issues(first: {first}) {{ nodes {{ id }} }} }}"));
        assert_eq!(
            (code(&answer), &answer["errors"][0]["extensions"]["field"]),
            ("invalid_field", &json!("first"))
        );
    }
    let answer = server.graphql("{ issues(after: \"not a cursor\") { nodes { id } } }");
    assert_eq!(answer["errors"][0]["extensions"]["field"], "after");
}

#[test]
fn what_is_no_operation_is_refused_as_such() {
    let server = start(scene::calm);
    let batch = json!([{"query": "{ healthScore { overall } }"}]);
    assert_problem(&server.post("/graphql", batch), 400, "malformed_json");
    assert_problem(&server.write("POST", "/graphql", "{"), 400, "malformed_json");
    assert_problem(&server.post("/graphql", json!({})), 422, "invalid_field");
    assert_problem(&server.post("/graphql", json!({"query": 1})), 422, "invalid_field");
    let host = server.host();
    let headers = [("host", host.as_str()), ("content-type", "text/plain")];
    assert_problem(
        &server.raw("POST", "/graphql", &headers, "{\"query\": \"{ slos { id } }\"}"),
        415,
        "not_json",
    );
    let large = json!({"query": "{ slos { id } }", "variables": {"a": "x".repeat(1 << 20)}});
    assert_problem(&server.post("/graphql", large), 413, "body_too_large");
    let several = server.graphql("query A { slos { id } } query B { slos { id } }");
    assert_eq!(several["errors"][0]["extensions"]["field"], "operationName");
    assert_eq!(code(&server.graphql("subscription { anomalyAlerts { id } }")), "invalid_query");
}

#[test]
fn nothing_that_is_sent_is_answered_with_a_failure_of_ours() {
    let server = start(scene::busy);
    for query in [
        "",
        "{",
        "}",
        "{ a",
        "\u{0}",
        "{ issues(first: 99999999999999999999) { nodes { id } } }",
        "query ($a: Int = \"x\") { issues(first: $a) { nodes { id } } }",
        "{ issues(filter: {since: \"never\"}) { nodes { id } } }",
        "{ issue(id: {a: 1}) { id } }",
        "{ ... on Nothing { id } }",
        "fragment A on Query { slos { id } }",
        "{ serviceHealth(service: \"../../etc/passwd\") { status } }",
        "mutation { approve(remediationId: \"x\") { id } }",
        "{ __type(name: \"\u{1F4A5}\") { name } }",
        "\"\"\"",
        "{ a(b: \"\\u12\") }",
        "query A { ...A }",
    ] {
        let reply = server.post("/graphql", json!({"query": query}));
        assert!(reply.status < 500, "{query:?}: {}", reply.body);
        let answer = reply.json();
        if answer.get("errors").is_some() {
            assert!(!["internal", ""].contains(&code(&answer)), "{query:?}: {answer}");
        }
    }
}
