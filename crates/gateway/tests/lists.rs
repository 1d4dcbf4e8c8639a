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
    let (server, asked) = (start(scene::busy), start(scene::asked));
    for (server, address, name) in [
        (&server, "/issues", "issues"),
        (&server, "/remediations", "remediations"),
        (&asked, "/approvals", "approvals"),
        (&server, "/experiments", "experiments"),
        (&server, "/services", "services"),
        (&server, "/timeline", "events"),
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
fn every_page_with_a_list_has_a_search_and_both_files_of_it() {
    const LISTS: [&str; 14] = [
        "/issues",
        "/remediations",
        "/approvals",
        "/experiments",
        "/drills",
        "/services",
        "/timeline",
        "/slos",
        "/traces",
        "/metrics-explorer",
        "/cmdb",
        "/audit",
        "/users",
        "/tokens",
    ];
    let server = whole::full();
    let ada = whole::ada(&server);
    let ask = |path: &str| server.raw("GET", path, &[("host", &server.host()), ("cookie", &ada)], "");
    let mut lists = Vec::new();
    for address in gateway::page_table().filter(|pattern| !pattern.contains('{')) {
        let page = ask(address).body;
        if !page.contains("class=\"exports\"") {
            continue;
        }
        lists.push(address);
        assert!(page.contains("type=\"search\" name=\"q\""), "{address} has no search");
        let rows = ask(&format!("{address}?format=json"));
        let csv = ask(&format!("{address}?format=csv"));
        assert_eq!((rows.status, csv.status), (200, 200), "{address}: {} {}", rows.body, csv.body);
        let rows = rows.json();
        let first = rows[0].as_object().unwrap_or_else(|| panic!("{address}: {rows}"));
        let names: Vec<&str> = csv.body.lines().next().unwrap().split(',').collect();
        assert!(first.keys().all(|name| names.contains(&name.as_str())), "{address}: {names:?}");
        assert!(!names.contains(&"revoke"), "a button is nothing to take away");
        let none = ask(&format!("{address}?q=no+such+thing+anywhere&format=json"));
        assert_eq!(none.json(), serde_json::json!([]), "{address}");
    }
    assert_eq!(lists, LISTS);
}

#[test]
fn the_history_of_an_item_is_a_list_of_it_also_when_search_and_filters_are_cleared() {
    let server = whole::full();
    let ada = whole::ada(&server);
    let ask = |path: &str| server.raw("GET", path, &[("host", &server.host()), ("cookie", &ada)], "");
    let address = "/cmdb/item?id=service%2Fcart";
    let page = ask(address).body;
    assert!(page.contains("type=\"search\" name=\"q\"") && !page.contains(">Clear<"), "{page}");
    let all = ask(&format!("{address}&format=json")).json();
    assert!(all.as_array().unwrap().len() > 1, "{all}");
    let appeared = ask(&format!("{address}&kind=appeared&format=json")).json();
    let [first] = &appeared.as_array().unwrap()[..] else { panic!("{appeared}") };
    assert_eq!((&first["version"], &first["who"]), (&1.into(), &"ada".into()), "{first}");
    let csv = ask(&format!("{address}&format=csv")).body;
    assert_eq!(csv.lines().next(), Some("kind,version,at,who,why,changed,remediation_id"), "{csv}");
    let none = ask(&format!("{address}&q=no+such+thing")).body;
    assert!(
        none.contains("No change matches") && none.contains(&format!("href=\"{address}\">Clear")),
        "{none}"
    );
    assert_eq!(ask("/cmdb/item?format=csv").status, 422);
    assert_eq!(ask(&format!("{address}&kind=other")).status, 422);
}

#[test]
fn what_an_address_chose_beyond_the_fields_is_kept_by_the_search() {
    let server = whole::full();
    let ada = whole::ada(&server);
    let address = "/audit?plan=01a20530-eef6-7361-a167-58e1e1b791fd&q=ada";
    let page = server.raw("GET", address, &[("host", &server.host()), ("cookie", &ada)], "").body;
    let (_, form) = page.split_once("role=\"search\"").unwrap_or_else(|| panic!("{page}"));
    let (form, _) = form.split_once("</form>").unwrap();
    let hidden = "type=\"hidden\" name=\"plan\" value=\"01a20530-eef6-7361-a167-58e1e1b791fd\"";
    assert!(form.contains(hidden) && form.contains("href=\"/audit\">Clear</a>"), "{form}");
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

/// What waits in `asked`, the longest waiting first.
const ASKED: [&str; 4] = ["catalogue", "cart", "shop", "orders"];

/// Which of [`ASKED`] a file of approvals is about, in its order.
fn asked(server: &Server, query: &str) -> Vec<&'static str> {
    let summaries = column(server, &format!("/approvals?{query}"), "summary");
    let about = |text: &String| ASKED.into_iter().find(|name| text.contains(name)).unwrap();
    summaries.iter().map(about).collect()
}

#[test]
fn what_waits_is_chosen_by_what_it_is_where_it_acts_and_who_asked() {
    let server = start(scene::asked);
    assert_eq!(asked(&server, ""), ASKED);
    for (query, wanted) in [
        ("type=remediation", vec!["catalogue"]),
        ("type=deployment", vec!["cart"]),
        ("type=infrastructure", vec!["shop"]),
        ("type=scaling", vec!["orders"]),
        ("type=other", vec![]),
        ("severity=high", vec!["catalogue"]),
        ("severity=low", vec![]),
        ("service=cart", vec!["cart"]),
        // A volume is a part of its service.
        ("service=catalogue", vec!["catalogue"]),
        ("resource=service%2Forders", vec!["orders"]),
        // Its first step acts on the instance; the volume is what it touches.
        ("resource=instance%2Fcatalogue-0", vec!["catalogue"]),
        ("resource=volume%2Fcatalogue-0", vec!["catalogue"]),
        ("requested_by=ada", vec!["cart", "orders"]),
        ("requested_by=ad", vec![]),
        ("requested_by=healing", vec!["catalogue"]),
        ("within=180", vec!["orders"]),
        // Words of what it repairs, of why it waits, of its steps.
        ("q=limit+95", vec!["catalogue"]),
        ("q=diagnosis+confidence", vec!["catalogue"]),
        ("q=one+instance+after+another", vec!["cart"]),
        ("requested_by=ada&q=orders", vec!["orders"]),
    ] {
        assert_eq!(asked(&server, query), wanted, "{query}");
        let page = server.get(&format!("/approvals?{query}")).body;
        assert_eq!(page.matches("<article class=\"approval\"").count(), wanted.len(), "{query}: {page}");
    }
    for (query, field) in [
        ("type=colour", "type"),
        ("resource=cart", "resource"),
        ("within=soon", "within"),
        ("requestedby=ada", "requestedby"),
    ] {
        let wrong = server.get(&format!("/approvals?{query}"));
        assert_eq!(wrong.status, 422, "{query}");
        assert!(wrong.body.contains(&format!("Leave out <code>{field}</code>")), "{query}: {}", wrong.body);
        assert_eq!(server.get(&format!("/approvals?{query}&format=csv")).status, 422, "{query}");
    }
}

#[test]
fn what_waits_is_ordered_in_the_form_as_it_has_no_headings() {
    let server = start(scene::asked);
    assert_eq!(asked(&server, "sort=-created_at"), ["orders", "shop", "cart", "catalogue"]);
    // What waits for ever comes last.
    assert_eq!(asked(&server, "sort=waits_until"), ["cart", "shop", "orders", "catalogue"]);
    assert_eq!(asked(&server, "sort=-severity")[0], "catalogue");
    let page = server.get("/approvals?sort=-created_at").body;
    let place = |name: &str| page.find(&format!(">{name}")).unwrap_or_else(|| panic!("{name}: {page}"));
    assert!(place("Run 1 of orders") < place("Deploy cart"));
    assert!(page.contains("<option value=\"-created_at\" selected>"), "{page}");
    assert!(!page.contains("narrow-only"), "on a wide screen the order is nowhere else: {page}");
}

#[test]
fn what_waits_has_as_many_pages_as_it_needs() {
    let server = start(|fleet| {
        scene::asked(fleet);
        scene::asked_again(fleet, "cart", 60);
    });
    let (mut address, mut seen) = ("/approvals?service=cart".to_owned(), Vec::new());
    loop {
        let page = server.get(&address).body;
        let keys = page.split("<article class=\"approval\" data-key=\"").skip(1);
        seen.extend(keys.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        assert!(seen.len() > 50 || page.contains("1–50 of 61 approvals"), "{page}");
        let Some((_, rest)) = page.split_once("rel=\"next\" href=\"") else { break };
        address = rest.split('"').next().unwrap().replace("&amp;", "&");
        assert!(address.contains("service=cart"), "{address}");
    }
    assert_eq!(seen, column(&server, "/approvals?service=cart", "id"));
    assert_eq!(seen.len(), 61);
}

#[test]
fn that_nothing_waits_is_told_from_that_nothing_matches() {
    let (server, none) = (start(scene::asked), start(scene::calm));
    let page = server.get("/approvals?q=no+such+thing").body;
    assert!(page.contains("4 plans wait for a person."), "{page}");
    assert!(page.contains("No approval matches.") && page.contains("Clear search and filters"), "{page}");
    for address in ["/approvals", "/approvals?q=no+such+thing&type=deployment"] {
        let page = none.get(address).body;
        assert!(page.contains("Nothing waits for a person."), "{page}");
        assert!(page.contains("is asked here") && !page.contains("matches"), "{address}: {page}");
    }
    assert_eq!(none.get("/approvals?format=json").json(), serde_json::json!([]));
}
