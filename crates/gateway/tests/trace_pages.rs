//! The pages of traces over real HTTP: what they say, what they send, and that their script runs.

mod support;

use support::server::{Server, start, start_receiving, start_with_traces};
use support::traces::{self, LARGE, LARGE_SPANS, MISSING, SKEWED, trace_id};

fn sentence(page: &str) -> &str {
    let (_, rest) =
        page.split_once("<h1 class=\"sentence\">").unwrap_or_else(|| panic!("no sentence: {page}"));
    rest.split_once("</h1>").unwrap().0
}

fn ok(server: &Server, path: &str) -> String {
    let reply = server.get(path);
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    reply.body
}

/// Rows of the waterfall on a page.
fn rows(page: &str) -> usize {
    let (_, rest) = page.split_once("id=\"rows\"").unwrap();
    rest.split_once("</ol>").unwrap().0.matches("<li ").count()
}

/// The traces listed, in order.
fn listed(page: &str) -> Vec<String> {
    let (_, table) = page.split_once("<tbody>").unwrap_or(("", ""));
    table.split("href=\"/traces/").skip(1).filter_map(|rest| rest.get(..32).map(str::to_owned)).collect()
}

#[test]
fn without_a_store_and_without_spans_each_page_says_what_to_do() {
    let none = start(|_| {});
    for path in ["/traces", "/traces/compare", "/traces/1", "/service-map", "/latency"] {
        assert_eq!(sentence(&ok(&none, path)), "Traces are not kept here.", "{path}");
    }
    let empty = start_with_traces(|_, _| {});
    for path in ["/traces", "/service-map", "/latency"] {
        let page = ok(&empty, path);
        assert!(
            page.contains("4317") && page.contains("OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318"),
            "{path}"
        );
    }
    let compare = ok(&empty, "/traces/compare");
    assert!(sentence(&compare).starts_with("Two traces") && compare.contains("Compare with another"));
    let unknown = empty.get("/traces/abc");
    assert!(
        unknown.status == 404 && unknown.body.contains("<a href=\"/traces\">Traces</a>"),
        "{}",
        unknown.body
    );
}

#[test]
fn the_ports_that_are_named_are_those_that_listen() {
    let (server, receivers) = start_receiving();
    let (grpc, http) = (receivers.grpc_address().port(), receivers.http_address().port());
    let page = ok(&server, "/traces");
    assert!(
        page.contains(&format!("port {grpc} for gRPC or {http} for HTTP"))
            && page.contains(&format!("OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:{http} ")),
        "{page}"
    );
    receivers.shutdown();
}

#[test]
fn what_cannot_be_read_can_be_left_out_with_one_click_and_the_rest_stays() {
    let server = start_with_traces(|_, _| {});
    let refused = server.get("/traces?service=front&min=abc&errors=1");
    assert_eq!(refused.status, 422);
    assert!(
        refused
            .body
            .contains("<a href=\"/traces?service=front&amp;errors=1\">Leave out <code>min</code></a>"),
        "{}",
        refused.body
    );
    let (rail, _) = refused.body.split_once("</nav>").unwrap();
    assert!(rail.contains("href=\"/traces\" title=\"Traces\" aria-current=\"page\""), "{rail}");
}

#[test]
fn a_service_that_began_to_send_a_minute_ago_is_not_averaged_over_the_hour() {
    let server = start_with_traces(traces::fresh);
    for within in [900, 3600, 86_400] {
        let page = ok(&server, &format!("/service-map?within={within}"));
        let (_, row) = page.split_once("/latency?service=cart").unwrap();
        let (before, _) = page.split_at(page.len() - row.len());
        let (_, rate) = before.rsplit_once("title=\"100 calls\">").unwrap();
        let rate: f64 = rate.split_once("/s").unwrap().0.parse().unwrap();
        assert!((1.5..=2.1).contains(&rate), "100 calls in 50 s, within {within} s: {rate}/s");
    }
    let page = ok(&server, "/latency?service=cart");
    assert!(page.contains("There are none before "), "{page}");
    let (_, cells) = page.split_once("data-heat").unwrap();
    assert!(cells.matches("<title>").count() > 20, "seconds are told apart: {cells}");
}

#[test]
fn a_search_finds_what_is_asked_for_and_says_how_many() {
    let server = start_with_traces(traces::shop);
    let failed = ok(&server, "/traces?errors=1&limit=200");
    let slow = ok(&server, "/traces?tags=cloud.region%3Dwest&min=200ms&limit=200");
    let (n, m) = (listed(&failed).len(), listed(&slow).len());
    assert!(n > 10 && m > 20, "{n} {m}");
    assert!(sentence(&failed).starts_with(&format!("{n} traces match")), "{}", sentence(&failed));
    assert_eq!(failed.matches("class=\"item bad\"").count(), n, "a mark for each in the picture");
    assert!(!slow.contains("class=\"item plain\" href=\"/traces/undefined"));
    let logged = ok(&server, "/traces?text=THE%20BANK%20did%20not&limit=200");
    assert_eq!(listed(&logged), listed(&failed), "each that failed logs why");
    let none = ok(&server, "/traces?service=front&operation=nothing");
    assert!(none.contains("Look further back, or ask for less"), "{none}");
    for (query, field) in
        [("min=fast", "min"), ("min=2s&max=1s", "min"), ("tags=x", "tags"), ("from=now", "from")]
    {
        let refused = server.get(&format!("/traces?{query}"));
        assert!(
            refused.status == 422 && refused.body.contains(&format!("<code>{field}</code>")),
            "{query}: {}",
            refused.body
        );
    }
    let opened = server.get("/traces?id=abc");
    assert_eq!((opened.status, opened.header("location")), (303, Some("/traces/abc")));
}

#[test]
fn a_trace_opens_with_its_facts_and_a_span_with_all_that_is_known() {
    let server = start_with_traces(traces::shop);
    let id = listed(&ok(&server, "/traces?errors=1")).remove(0);
    let page = ok(&server, &format!("/traces/{id}"));
    let said = sentence(&page);
    assert!(said.starts_with("POST /checkout took 4"), "{said}");
    assert!(said.contains("payments → POST bank was 9") && said.ends_with("; 4 errors."), "{said}");
    assert_eq!(rows(&page), 10);
    let (before, _) = page.split_once("</i><b>payments</b> charge").unwrap();
    let (_, span) = before.rsplit_once("span=").unwrap();
    let span = &span[..16];
    let detail = ok(&server, &format!("/traces/{id}?span={span}&part=span"));
    assert!(detail.starts_with("<div id=\"span\""), "only the part: {detail}");
    for text in
        ["payment.provider", "bank-a", "exception.message", "host.name", "charging 41.90 EUR", "server"]
    {
        assert!(detail.contains(text), "{text}: {detail}");
    }
    let found = ok(&server, &format!("/traces/{id}?q=provider%3Dbank-a&part=waterfall"));
    assert!(found.contains("1 span has it") && rows(&found) == 3, "it and the way to it: {found}");
    let folded = ok(&server, &format!("/traces/{id}?levels=1&part=waterfall"));
    assert!(rows(&folded) == 1 && folded.contains("aria-expanded=\"false\""), "{folded}");
    let logs = ok(&server, &format!("/traces/{id}?tab=logs"));
    assert!(logs.contains("2 records") && logs.contains("the bank did not answer within 400 ms"), "{logs}");
    let flame = ok(&server, &format!("/traces/{id}?tab=flame"));
    assert!(
        flame.contains("payments: POST bank: 1 span, took 400 ms together, 400 ms itself, 1 error"),
        "{flame}"
    );
}

#[test]
fn odd_traces_are_shown_whole_and_say_what_is_odd() {
    let server = start_with_traces(traces::shop);
    let page = ok(&server, &format!("/traces/{}", trace_id(MISSING)));
    assert!(page.contains("2 spans name parents that are not here") && rows(&page) == 3, "{page}");
    let page = ok(&server, &format!("/traces/{}", trace_id(SKEWED)));
    assert!(
        page.contains("this span runs outside of its parent&#39;s time")
            || page.contains("this span runs outside of its parent's time"),
        "{page}"
    );
    assert!(sentence(&page).contains("with all that followed"), "{}", sentence(&page));
}

#[test]
fn a_trace_of_50000_spans_sends_the_rows_in_sight() {
    let server = start_with_traces(traces::large);
    let address = format!("/traces/{}", trace_id(LARGE));
    let page = ok(&server, &address);
    assert!(page.contains("<dd>50,000</dd>"), "all of them are there");
    assert!(page.len() <= 200 * 1024, "{} bytes", page.len());
    assert!((50..=200).contains(&rows(&page)), "{} rows", rows(&page));
    let last = ok(&server, &format!("{address}?row={}&part=waterfall", LARGE_SPANS - 10));
    assert!(rows(&last) == 10 && last.contains("Rows 49,991–50,000 of 50,000"), "{last}");
    let folded = ok(&server, &format!("{address}?levels=2&part=waterfall"));
    assert!(folded.contains("data-total=\"509\""), "500 accounts, 8 audits and the root");
    for tab in ["flame", "logs"] {
        let bytes = ok(&server, &format!("{address}?tab={tab}")).len();
        assert!(bytes <= 200 * 1024, "{tab}: {bytes} bytes");
    }
}

#[test]
fn names_from_right_to_left_leave_our_words_where_they_are() {
    let server = start_with_traces(|telemetry, now| {
        let mut batch = traces::Batch::new();
        let span = |parent, name, nano| traces::Span {
            trace: 1,
            parent,
            service: "الخدمة",
            name,
            kind: 2,
            start: now - 1_000_000_000,
            nano,
            failed: None,
            more: Vec::new(),
        };
        let root = batch.add(span(0, "طلب", 9_000_000));
        batch.add(span(root, "GET /", 8_000_000));
        batch.send(telemetry);
    });
    let page = ok(&server, &format!("/traces/{}", trace_id(1)));
    let (service, root) = ("\u{2068}الخدمة\u{2069}", "\u{2068}طلب\u{2069}");
    assert_eq!(
        sentence(&page),
        format!("{root} took 9.0 ms; {service} → GET / was 89 % of its critical path; no error.")
    );
    assert!(page.contains(&format!("<b>{service}</b> {root}")), "{page}");
    assert!(ok(&server, "/traces").contains(&format!("{service}: {root}")));
}

#[test]
fn two_traces_are_compared_step_by_step() {
    let server = start_with_traces(traces::shop);
    let failed = listed(&ok(&server, "/traces?errors=1")).remove(0);
    let page = ok(&server, &format!("/traces/compare?a={failed}&b={}", trace_id(SKEWED)));
    assert!(sentence(&page).contains("10 steps are only in A; 3 steps are only in B"), "{}", sentence(&page));
    let fast = listed(&ok(&server, "/traces?operation=POST%20%2Fcheckout&max=80ms")).remove(0);
    let page = ok(&server, &format!("/traces/compare?a={fast}&b={failed}"));
    assert!(sentence(&page).contains("payments → POST bank itself took 3"), "{}", sentence(&page));
    assert!(page.contains("fails in B"), "{page}");
    let offered = ok(&server, &format!("/traces?with={failed}"));
    assert!(offered.contains(&format!("/traces/compare?a={failed}&amp;b=")), "{offered}");
}

#[test]
fn the_map_shows_who_calls_whom_in_words_too() {
    let server = start_with_traces(traces::shop);
    let page = ok(&server, "/service-map");
    assert!(sentence(&page).starts_with("front → payments fails in "), "{}", sentence(&page));
    for text in [
        "front → cart: answers",
        "front → payments: failing",
        "front → catalogue",
        "<td class=\"two\" data-label=\"Kind\"><span class=\"quiet\">message",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert_eq!(page.matches("marker-end").count(), page.matches("class=\"edge").count());
    assert!(page.rfind("marker-end") < page.find("class=\"figure"), "no line is drawn over a figure");
}

#[test]
fn a_box_on_the_heat_map_tells_what_is_different_in_it() {
    let server = start_with_traces(traces::shop);
    let page = ok(&server, "/latency?service=front&operation=POST%20%2Fcheckout");
    assert!(
        sentence(&page).starts_with("front: POST /checkout: 400 calls in the last hour; half took up to "),
        "{}",
        sentence(&page)
    );
    assert!(!page.contains("What is different"));
    let page = ok(&server, "/latency?service=front&operation=POST%20%2Fcheckout&d0=150ms&d1=390ms");
    let (_, told) = page.split_once("What is different in here").unwrap();
    let (_, row) = told.split_once("<tbody><tr>").unwrap();
    let (row, _) = row.split_once("</tr>").unwrap();
    assert!(
        row.contains("cloud.region") && row.contains("west") && row.contains("100 %"),
        "the first told: {row}"
    );
    assert!(told.contains("Traces in the box") && page.contains("class=\"box\""));
}

#[test]
fn issues_and_services_lead_to_their_traces() {
    let server = start_with_traces(traces::shop);
    let page = ok(&server, "/services/cart");
    assert!(page.contains("/traces?service=cart") && page.contains("/latency?service=cart"), "{page}");
}

/// One trace of one span each, 1 ms apart; the newest has the highest number.
const MANY: u64 = 10_100;

fn many(telemetry: &telemetry::Telemetry, now: u64) {
    let mut batch = traces::Batch::new();
    for trace in 1..=MANY {
        let start = now - (MANY - trace + 60_000) * 1_000_000;
        let (service, name) = ("front", "GET /");
        let span = traces::Span {
            trace,
            parent: 0,
            service,
            name,
            kind: 2,
            start,
            nano: 1000,
            failed: None,
            more: vec![],
        };
        batch.add(span);
    }
    batch.send(telemetry);
}

#[test]
fn a_file_of_traces_holds_all_of_them_or_leads_to_the_rest() {
    let server = start_with_traces(many);
    let ids = |body: &serde_json::Value| -> Vec<String> {
        let rows = body.as_array().unwrap().iter();
        rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    // Every file but the last leads on, however many rows it had time for.
    let (mut next, mut files) = (Some("/traces?format=json&limit=20&service=front".to_owned()), 0);
    let mut all = Vec::new();
    while let Some(path) = next {
        let file = server.get(&path);
        assert_eq!(file.status, 200, "{path}: {}", file.body);
        let rows = ids(&file.json());
        assert!((1..=10_000).contains(&rows.len()), "{path}: {}", rows.len());
        all.extend(rows);
        let link = file.header("link").and_then(|link| link.strip_prefix('<')?.split_once('>'));
        next = link.map(|(path, _)| path.to_owned());
        files += 1;
    }
    assert!(files > 1, "there are more than one file holds");
    let expected: Vec<String> = (1..=MANY).rev().map(|trace| trace_id(trace).to_string()).collect();
    assert!(all == expected, "each once, newest first: {} of {}", all.len(), expected.len());
    let gone = format!("/traces?format=json&before={}", trace_id(MANY + 1));
    assert_eq!(server.get(&gone).status, 422, "no file begins at what is not there");
    // The page goes on showing so many, and links to all.
    let page = ok(&server, "/traces?limit=20&service=front");
    assert_eq!(listed(&page).len(), 20);
    assert!(page.contains("href=\"/traces?service=front&amp;format=csv\""), "{page}");
}
