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
    // Each with the bound that it breaks, as it is named.
    for (name, bound, query) in [
        ("depth", "19 fields within each other, at most 12", deep(8)),
        ("nesting", "braces within each other, at most 40", format!("{{ a{} }}", "{a".repeat(5_000))),
        (
            "aliases",
            "60 aliases, at most 50",
            format!("{{ issues {{ {} }} }}", many(60, |n| format!("a{n}: totalCount "))),
        ),
        (
            "root fields",
            "30 fields at its root, at most 20",
            many(30, |_| "healthScore { overall } ".to_owned()),
        ),
        ("doubling fragments", "fields, at most 1000", doubling()),
        ("lists of lists", "at most 10000 is taken", format!("{{ {lists} }}")),
        (
            "introspection",
            "3 lists of introspection within each other, at most 2",
            "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }".to_owned(),
        ),
        (
            "1 MiB",
            "bytes, at most 16384",
            format!("{{ issues(after: \"{}\") {{ nodes {{ id }} }} }}", "x".repeat((1 << 20) - 200)),
        ),
        (
            "directives",
            "100 directives of one field, at most 4",
            format!("{{ healthScore {{ overall {} }} }}", "@skip(if: false) ".repeat(100)),
        ),
    ] {
        let query = if query.starts_with('{') { query } else { format!("{{ {query} }}") };
        let began = Instant::now();
        let answer = server.graphql(&query);
        assert!(began.elapsed() < QUICKLY, "{name} took {:?}", began.elapsed());
        assert_eq!(answer["data"], Value::Null, "{name}");
        assert_eq!(code(&answer), "query_too_complex", "{name}: {answer}");
        let said = answer["errors"][0]["message"].as_str().unwrap();
        assert!(said.contains(bound), "{name}: {said}");
    }
    let circle = server.graphql("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }");
    assert_eq!(code(&circle), "invalid_query", "it is no document at all: {circle}");
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
