//! The documents over real HTTP: every link on every page leads somewhere, errors lead to their page, search works without a
//! script.

mod support;

use std::collections::BTreeSet;

use support::scene;
use support::server::start;

/// Addresses below `/docs` that a page links to, without what follows the number sign.
fn links(page: &str) -> BTreeSet<String> {
    let targets = page.split("href=\"/docs").skip(1).filter_map(|rest| rest.split(['"', '#']).next());
    targets.map(|rest| format!("/docs{rest}")).collect()
}

#[test]
fn every_page_of_the_documents_is_found_from_the_first_one() {
    let server = start(scene::calm);
    let (mut seen, mut waiting) = (BTreeSet::new(), vec!["/docs".to_owned()]);
    while let Some(address) = waiting.pop() {
        if !seen.insert(address.clone()) {
            continue;
        }
        let reply = server.get(&address);
        assert_eq!(reply.status, 200, "{address}: {}", reply.body);
        // Each is there for programs and plain readers, too.
        if address.ends_with(".md") {
            assert_eq!(reply.header("content-type"), Some("text/markdown; charset=utf-8"), "{address}");
            assert!(
                reply.body.starts_with("# ") || reply.body.starts_with("<!--"),
                "{address}: {}",
                reply.body
            );
            continue;
        }
        assert!(reply.body.contains("class=\"rail\"") && reply.body.contains("<h1"), "{address}");
        waiting.extend(links(&reply.body));
    }
    for address in [
        "/docs/api",
        "/docs/guides/first-hour",
        "/docs/concepts/the-loop",
        "/docs/reference/metrics",
        "/docs/README.md",
        "/docs/guides/first-hour.md",
    ] {
        assert!(seen.contains(address), "{address} is not linked: {seen:?}");
    }
}

#[test]
fn the_type_of_an_error_is_the_address_of_its_page() {
    let server = start(scene::calm);
    let problem = server.get("/api/v3/self-healing/issues?limit=many").json();
    let reply = server.get(problem["type"].as_str().unwrap());
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(
        reply.body.contains("<code>invalid_field</code>") && reply.body.contains("What to do"),
        "{}",
        reply.body
    );
    assert_eq!(server.get("/docs/errors/no_such_code").status, 404);
    assert_eq!(server.get("/docs/guides/no-such-guide").status, 404);
    assert_eq!(server.get("/docs/../../etc/passwd").status, 404);
}

#[test]
fn what_is_searched_is_found_marked_and_never_taken_as_html() {
    let server = start(scene::calm);
    let found = server.get("/docs?q=emergency+stop").body;
    assert!(found.contains("/docs/guides/write-an-experiment#how-to-stop-everything"), "{found}");
    assert!(found.contains("<mark>"), "{found}");
    let nothing = server.get("/docs?q=%3Cscript%3Ealert(1)%3C/script%3E").body;
    assert!(nothing.contains("Nothing found") && !nothing.contains("<script>alert"), "{nothing}");
    assert_eq!(server.get(&format!("/docs?q={}", "a".repeat(300))).status, 422);
    assert_eq!(server.get("/docs?query=loop").status, 422);
}
