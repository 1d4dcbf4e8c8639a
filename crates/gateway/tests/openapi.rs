//! The OpenAPI document and what is answered agree: what `suites/openapi` found, so that it is found here first.

mod support;

use serde_json::{Value, json};
use support::scene;
use support::server::{HEALING, Server, assert_problem, start};

fn document(server: &Server) -> Value {
    server.get("/api/v3/openapi.json").json()
}

/// Every operation with its path and method.
fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
    })
}

#[test]
fn a_write_that_takes_nothing_refuses_a_body_that_says_something() {
    let server = start(scene::busy);
    for (method, path) in [
        ("DELETE", "/api/v3/chaos/emergency-stop".to_owned()),
        ("DELETE", format!("{HEALING}/pauses/cart")),
        ("POST", "/api/v3/chaos/emergency-stop".to_owned()),
        ("POST", format!("{HEALING}/dry-run/{}", server.first("issues"))),
    ] {
        for body in ["[null]", "\0"] {
            assert_problem(&server.write(method, &path, body), 400, "malformed_json");
        }
        let reply = server.write(method, &path, r#"{"force": true}"#);
        assert_problem(&reply, 422, "invalid_field");
        assert_eq!(reply.json()["field"], "force", "{method} {path}");
        for body in ["", "{}"] {
            assert_eq!(server.write(method, &path, body).status, 200, "{method} {path}");
        }
    }
}

#[test]
fn a_parameter_without_a_value_or_given_twice_is_refused() {
    let server = start(scene::busy);
    for (query, field) in [
        ("issues?since=", "since"),
        ("issues?before=", "before"),
        ("issues?resource=", "resource"),
        ("issues?limit=1&limit=2", "limit"),
        ("statistics?window=", "window"),
        ("health-score/trend?window=1h&window=6h", "window"),
    ] {
        let reply = server.get(&format!("{HEALING}/{query}"));
        assert_problem(&reply, 422, "invalid_field");
        assert_eq!(reply.json()["field"], field, "{query}");
    }
    // A filter by text that is empty filters nothing, as forms send it.
    assert_eq!(server.get("/api/v3/observability/timeline?service=").status, 200);
}

#[test]
fn where_anonymous_reads_are_allowed_the_document_says_that_no_token_is_needed() {
    let server = start(scene::busy);
    for (name, operation) in operations(&document(&server)) {
        if !name.starts_with("get ") || name.contains('{') {
            continue;
        }
        let reply = server.get(name.strip_prefix("get ").unwrap());
        let may = match operation.get("security") {
            None => false,
            Some(ways) => ways == &json!([]) || ways.as_array().unwrap().contains(&json!({})),
        };
        assert_eq!(reply.status != 401, may, "{name}: {}", reply.status);
    }
}

#[test]
fn every_answer_that_is_promised_says_its_headers() {
    let document = document(&start(scene::busy));
    let headers = |response: &Value| {
        let response = match response["$ref"].as_str() {
            Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
            None => response,
        };
        response["headers"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    for (name, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let found = headers(response);
            assert!(found.contains(&"X-Request-Id".to_owned()), "{name} {status}");
            let needed = match status.as_str() {
                "401" => "WWW-Authenticate",
                "429" => "Retry-After",
                _ => continue,
            };
            assert!(found.contains(&needed.to_owned()), "{name} {status}: {found:?}");
        }
    }
    let lists = &document["paths"]["/api/v3/self-healing/issues"]["get"]["responses"];
    assert!(headers(&lists["200"]).contains(&"Link".to_owned()), "{lists}");
}

/// Schemas that say nothing on purpose, by where they stand, with why.
const SAYS_NOTHING: [(&str, &str); 1] =
    [("/api/v3/openapi.json", "the document describes itself; its form is OpenAPI's")];

/// Every schema below this one that says nothing of what it describes.
fn untyped(schema: &Value, at: &str, found: &mut Vec<String>) {
    const SAYING: [&str; 8] = ["type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf", "not"];
    if schema.as_bool() == Some(false) {
        return;
    }
    let fields = schema.as_object().filter(|fields| SAYING.iter().any(|word| fields.contains_key(*word)));
    let Some(fields) = fields else { return found.push(at.to_owned()) };
    let is_object = fields.get("type").is_some_and(|kind| *kind == "object");
    if is_object && !fields.contains_key("properties") && !fields.contains_key("additionalProperties") {
        found.push(at.to_owned());
    }
    if fields.get("type").is_some_and(|kind| *kind == "array") && !fields.contains_key("items") {
        found.push(at.to_owned());
    }
    for (name, below) in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
        untyped(below, &format!("{at}.{name}"), found);
    }
    for word in ["items", "additionalProperties"] {
        fields.get(word).into_iter().for_each(|below| untyped(below, &format!("{at}[]"), found));
    }
    for word in ["anyOf", "oneOf", "allOf"] {
        let all = fields.get(word).and_then(Value::as_array);
        all.into_iter().flatten().for_each(|below| untyped(below, at, found));
    }
}

#[test]
fn no_body_and_no_answer_is_anything_at_all() {
    let document = document(&start(scene::calm));
    let mut found = Vec::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        untyped(schema, name, &mut found);
    }
    for (name, operation) in operations(&document) {
        let path = name.split(' ').nth(1).unwrap();
        if SAYS_NOTHING.iter().any(|(of, _)| *of == path) {
            continue;
        }
        let refused = |status: &str| status.starts_with('4') || status.starts_with('5');
        let answers = operation["responses"].as_object().unwrap().iter();
        let answers = answers.filter(|(status, _)| !refused(status)).map(|(_, answer)| answer);
        for said in answers.chain(operation.get("requestBody")) {
            for (media, content) in said.get("content").and_then(Value::as_object).into_iter().flatten() {
                untyped(&content["schema"], &format!("{name} {media}"), &mut found);
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_examples_of_bodies_are_taken() {
    let server = start(scene::busy);
    let document = document(&server);
    let mut taken = 0;
    for (name, operation) in operations(&document) {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let schema = match schema["$ref"].as_str() {
            Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
            None => schema,
        };
        let path = name.split(' ').nth(1).unwrap().replace("{name}", "cart");
        for example in schema["examples"].as_array().into_iter().flatten() {
            let reply = server.post(&path, example.clone());
            // What the machine at hand or the state of the fleet refuses was understood.
            assert!(![400, 415, 422].contains(&reply.status), "{name} {example}: {}", reply.body);
            taken += 1;
        }
    }
    assert!(taken >= 6, "{taken}");
}

#[test]
fn what_the_client_has_is_not_sent_again() {
    let server = start(scene::busy);
    let (host, path) = (server.host(), format!("{HEALING}/issues?limit=2"));
    let first = server.get(&path);
    let tag = first.header("etag").unwrap();
    let ask = |known: &str| server.raw("GET", &path, &[("host", &host), ("if-none-match", known)], "");
    for known in [tag.to_owned(), format!("\"other\", {tag}"), "*".to_owned()] {
        let again = ask(&known);
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{known}");
        assert_eq!(again.header("etag"), Some(tag));
        assert_eq!(again.header("link"), first.header("link"));
    }
    let changed = ask("W/\"other\"");
    assert_eq!((changed.status, changed.body), (200, first.body.clone()));
    // A refusal is no answer that could be had.
    let refused =
        server.raw("GET", &format!("{HEALING}/issues/x"), &[("host", &host), ("if-none-match", "*")], "");
    assert_problem(&refused, 404, "not_found");
    assert_eq!(refused.header("etag"), None);
}
