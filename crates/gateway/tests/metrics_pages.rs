//! The metrics explorer over real HTTP: what it says without a script.

mod support;

use std::sync::Arc;

use domain::Clock;
use metrics::Batch;
use support::MachineClock;
use support::scene;
use support::series;
use support::server::{Kept, Server, start, start_with_metrics};

fn with(scene: fn(i64) -> Batch) -> Server {
    let now_ms = Arc::new(MachineClock::start()).now().wall_us / 1000;
    start_with_metrics(scene(now_ms), Kept::default())
}

fn ok(server: &Server, path: &str) -> String {
    let reply = server.get(path);
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    reply.body
}

fn sentence(page: &str) -> &str {
    let (_, rest) =
        page.split_once("<h1 class=\"sentence\">").unwrap_or_else(|| panic!("no sentence: {page}"));
    rest.split_once("</h1>").unwrap().0
}

/// What stands between two texts, each time.
fn between<'p>(page: &'p str, before: &str, after: &str) -> Vec<&'p str> {
    page.split(before).skip(1).filter_map(|rest| rest.split_once(after).map(|(text, _)| text)).collect()
}

#[test]
fn without_a_store_without_series_and_without_a_question_the_page_says_what_to_do() {
    let none = start(scene::calm);
    assert_eq!(sentence(&ok(&none, "/metrics-explorer?query=up")), "Series are not kept here.");
    let empty = ok(&with(|_| Batch::default()), "/metrics-explorer");
    assert_eq!(sentence(&empty), "No series came yet.");
    assert!(empty.contains("http://localhost:4318/api/v1/write"), "{empty}");
    let full = ok(&with(series::shop), "/metrics-explorer");
    assert_eq!(sentence(&full), "30 series are active from 1 source.");
    let names = between(&full, "<a href=\"/metrics-explorer?query=", "&amp;");
    assert_eq!(names, ["http_requests_total", "process_memory_bytes", "took_seconds_bucket"]);
    assert!(full.contains("Resident memory.") && full.contains("How long requests took."), "{full}");
}

#[test]
fn names_of_metrics_are_searched_paged_and_taken_away() {
    let server = with(|now_ms| {
        let mut batch = series::shop(now_ms);
        for n in 0..70 {
            let labels = promql::Labels::new([("__name__", format!("depth_{n:02}").as_str())]);
            let sample = promql::Sample { at_ms: now_ms - 1000, value: promql::Value::Float(1.0) };
            batch.series.push((labels, vec![sample]));
        }
        batch
    });
    let names = |page: &str| {
        between(page, "<a href=\"/metrics-explorer?query=", "&amp;")
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let page = ok(&server, "/metrics-explorer");
    assert!(page.contains("1–50 of 73 metrics"), "{page}");
    assert_eq!(names(&ok(&server, "/metrics-explorer?page=2")).len(), 23);
    let found = ok(&server, "/metrics-explorer?q=resident+memory&within=900");
    assert_eq!(names(&found), ["process_memory_bytes"]);
    // The search keeps the time that was chosen for expressions, and a name leads on with it.
    assert!(found.contains("type=\"hidden\" name=\"within\" value=\"900\""), "{found}");
    assert!(found.contains("query=process_memory_bytes&amp;within=900\""), "{found}");
    assert_eq!(names(&ok(&server, "/metrics-explorer?kind=histogram")), ["took_seconds_bucket"]);
    let none = ok(&server, "/metrics-explorer?q=no+such+thing");
    assert!(none.contains("No metric matches.") && !none.contains("None came yet"), "{none}");
    let file = server.get("/metrics-explorer?kind=counter&format=csv");
    assert!(file.body.starts_with("metric,kind,help,unit\r\nhttp_requests_total,counter,"), "{}", file.body);
    assert_eq!(file.body.lines().count(), 2);
    // Values are no names.
    assert_eq!(server.get("/metrics-explorer?query=up&format=csv").status, 422);
    assert_eq!(start(scene::calm).get("/metrics-explorer?format=csv").status, 422);
}

#[test]
fn an_expression_is_drawn_and_listed_with_the_greatest_first() {
    let server = with(series::shop);
    let page = ok(&server, "/metrics-explorer?query=process_memory_bytes&within=3600");
    assert_eq!(sentence(&page), "8 series have values in the last hour.");
    assert_eq!(between(&page, "<path class=\"line ", "\"").len(), 8);
    let rows = between(&page, "<td class=\"labels mono\">", "</td>");
    assert!(rows.len() == 8 && rows[0].contains("users") && rows[7].contains("cart"), "{rows:?}");
    assert!(!rows[0].contains("shop") && page.contains("job=&quot;shop&quot;"), "what all share stands once");
    // The gap in one of them: its line begins anew.
    let broken = between(&page, "<path class=\"line ", "</path>")
        .into_iter()
        .filter(|path| path.matches('M').count() == 2);
    assert_eq!(broken.count(), 1);
    assert!(page.contains("data-plot=") && page.contains("/assets/uplot.js"), "{page}");
    let none = ok(&server, "/metrics-explorer?query=process_memory_bytes%7Bjob%3D%22x%22%7D");
    assert_eq!(sentence(&none), "No series has a value in the last hour.");
}

#[test]
fn exemplars_lead_to_their_traces() {
    let server = with(series::shop);
    let query = "histogram_quantile(0.95,rate(took_seconds_bucket%5B5m%5D))";
    let page = ok(&server, &format!("/metrics-explorer?query={query}"));
    let trace = support::traces::trace_id(support::traces::MISSING).to_string();
    let marks = between(&page, "<a href=\"/traces/", "\" class=\"exemplar\"");
    assert_eq!(marks, [trace.as_str(); 5]);
    let without = ok(&server, "/metrics-explorer?query=http_requests_total");
    assert!(!without.contains("class=\"exemplar\""));
}

#[test]
fn what_is_wrong_is_shown_where_it_is() {
    let server = with(series::shop);
    let page = ok(&server, "/metrics-explorer?query=sum(up)%0A%2B+rate(up)");
    assert!(page.contains("Line 2, column 8"), "{page}");
    assert!(page.contains("+ rate(up)\n<span class=\"caret\">       ^</span>"), "{page}");
    assert!(page.contains(">sum(up)\n+ rate(up)</textarea>"), "what was typed is still there: {page}");
    let matrix = ok(&server, "/metrics-explorer?query=up%5B5m%5D");
    assert!(
        matrix.contains("invalid expression type") || matrix.contains("Invalid expression type"),
        "{matrix}"
    );
    let script = ok(&server, "/metrics-explorer?query=%22%3C%2Ftextarea%3E%3Cscript%3E");
    assert!(!script.contains("<script>"), "{script}");
    let info = ok(&server, "/metrics-explorer?query=rate(process_memory_bytes%5B5m%5D)");
    assert!(info.contains("metric might not be a counter"), "{info}");
    for (query, field) in [
        ("step=soon", "step"),
        ("step=1ms&within=86400", "step"),
        ("within=x", "within"),
        ("from=noon", "from"),
    ] {
        let reply = server.get(&format!("/metrics-explorer?query=up&{query}"));
        assert_eq!(reply.status, 422, "{query}");
        assert!(reply.body.contains(&format!("<code>{field}</code>")), "{query}: {}", reply.body);
    }
}

#[test]
fn times_are_those_that_were_chosen() {
    let server = with(series::shop);
    let chosen = ok(
        &server,
        "/metrics-explorer?query=vector(1)&from=2026-11-20T10:00:30Z&to=2026-11-20T11:00:00Z&step=5m",
    );
    assert!(chosen.contains("<a href=\"/metrics-explorer?query=vector%281%29\">"), "the way back: {chosen}");
    let plot = between(&chosen, "&quot;times&quot;:[", "]")[0];
    let begin = "2026-11-20T10:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second() as f64;
    let times: Vec<f64> = plot.split(',').map(|time| time.parse().unwrap()).collect();
    assert_eq!((times.len(), times[0], times[1] - times[0]), (13, begin, 300.0));
}
