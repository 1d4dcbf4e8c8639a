//! The schema as it is documented.

use std::path::Path;

use super::support::scene;
use super::support::server::start;

/// Set, the test writes the document before it compares it.
const WRITE: &str = "UPDATE_GOLDEN";

#[test]
fn the_reference_holds_the_schema_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/schema.graphql");
    let text = gateway::graphql_schema();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let documented = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        documented == text,
        "docs/reference/schema.graphql is not the schema that is served; `{WRITE}=1 cargo test -p gateway --test graphql schema` writes it"
    );
    assert!(!text.to_lowercase().contains("prediction"), "there is no engine that predicts");
}

#[test]
fn every_query_in_the_documents_is_one_that_is_answered() {
    let guide = include_str!("../../../../docs/guides/graphql.md");
    let (server, mut tried) = (start(scene::busy), 0);
    for block in guide.split("```graphql\n").skip(1) {
        let query = block.split("```").next().unwrap();
        if query.starts_with("subscription") {
            continue;
        }
        let answer = server.graphql(query);
        assert_eq!(answer.get("errors"), None, "{query}: {answer}");
        tried += 1;
    }
    assert!(tried >= 2, "{tried}");
}
