//! The page of GraphiQL: everything it loads is here, and is packed where the client takes that.

use crate::support::scene;
use crate::support::server::{assert_problem, start};

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let server = start(scene::calm);
    let page = server.get("/graphiql");
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"), "{policy}");
    let attributes = page.body.split(['"']).filter(|text| text.starts_with("/assets/"));
    let names: Vec<&str> = attributes.collect();
    assert_eq!(names.len(), 7, "{names:?}");
    assert!(!page.body.contains("http:") && !page.body.contains("https:"), "{}", page.body);
    for name in names {
        let asset = server.get(name);
        assert_eq!((asset.status, asset.header("content-encoding")), (200, None), "{name}");
        assert!(!asset.body.is_empty());
    }
    assert_problem(&server.get("/assets/graphiql/nothing.js"), 404, "not_found");
    let other = server.get("/issues");
    assert!(other.header("content-security-policy").unwrap().contains("default-src 'self'"));
}
