//! Lists on pages: search, filters, order and paging in the address, and what is chosen as a file.

mod support;

use support::scene;
use support::server::{Server, start};
use support::whole;

/// The cells of a column of a file, by its name.
fn column(server: &Server, address: &str, name: &str) -> Vec<String> {
    let reply = server.get(&format!("{address}{}format=json", if address.contains('?') { "&" } else { "?" }));
    assert_eq!(reply.status, 200, "{address}: {}", reply.body);
    let rows = reply.json();
    let text =
        |row: &serde_json::Value| row[name].as_str().map_or_else(|| row[name].to_string(), str::to_owned);
    rows.as_array().unwrap().iter().map(text).collect()
}

#[test]
fn every_list_is_a_file_of_what_is_chosen() {
    let server = start(scene::busy);
    for (address, name) in [
        ("/issues", "issues"),
        ("/remediations", "remediations"),
        ("/experiments", "experiments"),
        ("/services", "services"),
        ("/timeline", "events"),
    ] {
        let page = server.get(address).body;
        assert!(page.contains("type=\"search\" name=\"q\""), "{address} has no search");
        assert!(page.contains(&format!("{address}?format=csv")), "{address} has no file");
        let file = server.get(&format!("{address}?format=csv"));
        assert!(file.header("content-type").unwrap().starts_with("text/csv"), "{}", file.head);
        assert_eq!(
            file.header("content-disposition"),
            Some(format!("attachment; filename=\"homeostat-{name}.csv\"").as_str())
        );
        assert!(file.body.lines().count() > 3 && file.body.ends_with("\r\n"), "{address}: {}", file.body);
        assert_eq!(server.get(&format!("{address}?format=xml")).status, 422);
    }
    assert_eq!(server.get("/?format=csv").status, 422, "the overview is no list");
}

#[test]
fn words_and_filters_narrow_a_list_and_its_file_alike() {
    let server = start(scene::busy);
    assert_eq!(column(&server, "/issues?state=open", "severity"), ["critical", "medium", "high"]);
    assert_eq!(column(&server, "/issues?q=disk+full", "type"), ["disk_full"]);
    assert_eq!(column(&server, "/issues?q=disk+full&severity=low", "type"), Vec::<String>::new());
    let page = server.get("/issues?q=disk+full").body;
    assert!(
        page.contains("the volume of catalogue-0") && !page.contains("href=\"/issues/01\">cart-1 runs"),
        "{page}"
    );
    assert!(page.contains("value=\"disk full\"") && page.contains("q=disk%20full&amp;format=csv"), "{page}");
    let none = server.get("/issues?q=no+such+thing").body;
    assert!(none.contains("No issue matches.") && none.contains("Clear search and filters"), "{none}");
    assert_eq!(column(&server, "/services?state=disturbed", "service"), ["cart", "catalogue"]);
}

#[test]
fn a_list_is_ordered_by_what_its_columns_mean() {
    let server = start(scene::busy);
    let severities = column(&server, "/issues?state=open&sort=-severity", "severity");
    assert_eq!(severities, ["critical", "high", "medium"]);
    let names = column(&server, "/services?sort=-service", "service");
    assert!(names.is_sorted_by(|a, b| a >= b), "{names:?}");
    let page = server.get("/services?sort=-service").body;
    assert!(page.contains("aria-sort=\"descending\""), "{page}");
    let wrong = server.get("/services?sort=colour");
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("Leave out <code>sort</code>"), "{}", wrong.body);
}

#[test]
fn every_list_with_an_order_has_a_field_for_it_where_no_headings_are_shown() {
    let server = whole::full();
    for list in
        ["issues", "remediations", "experiments", "services", "slos", "drills", "cmdb", "timeline", "traces"]
    {
        let page = server.get(&format!("/{list}")).body;
        let (_, field) =
            page.split_once("<select name=\"sort\">").unwrap_or_else(|| panic!("/{list}: {page}"));
        let (field, _) = field.split_once("</select>").unwrap();
        let (_, order) = field.split_once("option value=\"-").unwrap_or_else(|| panic!("/{list}: {field}"));
        let order = order.split('"').next().unwrap();
        let page = server.get(&format!("/{list}?sort=-{order}")).body;
        assert!(page.contains(&format!("<option value=\"-{order}\" selected>")), "/{list}: {page}");
        assert!(page.contains("aria-sort=\"descending\""), "/{list}: {page}");
    }
}

#[test]
fn a_misspelt_filter_is_refused_and_named() {
    let server = start(scene::busy);
    let wrong = server.get("/issues?severty=high");
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("severty"), "{}", wrong.body);
}

#[test]
fn pages_follow_each_other_by_links_until_every_row_was_shown() {
    let server = start(scene::eventful);
    let (mut address, mut seen) = ("/issues?q=cart".to_owned(), Vec::new());
    loop {
        let page = server.get(&address).body;
        let rows = page.split("data-key=\"").skip(1).filter_map(|rest| rest.split('"').next());
        seen.extend(rows.filter(|key| key.len() == 36).map(str::to_owned));
        let Some((_, rest)) = page.split_once("rel=\"next\" href=\"") else { break };
        address = rest.split('"').next().unwrap().replace("&amp;", "&");
        assert!(address.contains("q=cart"), "{address}");
    }
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((all, seen.len()), (120, 120));
}
