//! Search for traces: a form, the durations over time, and the traces.

use axum::http::Uri;
use maud::{Markup, html};
use telemetry::{StatusFilter, Telemetry, TraceFilter, TraceSummary};

use super::range::Range;
use super::ranked::Ranked;
use super::{found, scatter, tags, units};
use crate::body::{Query, encode};
use crate::page::list::{Listed, Source, folded};
use crate::page::sentence::count;
use crate::page::view::View;
use crate::page::{Page, Section, Update};
use crate::problem::Problem;
use crate::serve::App;
use crate::span_time::show_time;

/// Traces shown where nothing else was chosen; each is read whole to be summed up.
const LIMIT: usize = 50;
const LIMITS: [usize; 3] = [20, 50, 200];

pub(in crate::page) fn search(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let title = "Traces".to_owned();
    let store = match super::store(app) {
        Ok(store) => store,
        Err(none) => return Ok(Page { title, sections: vec![Section::still("sentence", none)] }),
    };
    let range = Range::read(view, query)?;
    let filter = filter(query, &range)?;
    let (traces, cut_at) = found::find(store, &filter, query.text("text"))?;
    let with = query.text("with");
    let listed = found::listed(view.stamp, Source::Whole(traces.clone()), with.map(str::to_owned));
    let (order, exports) = (listed.list.order_field(query), listed.list.exports(query));
    let table = listed.rows(query, "found", Update::Never)?.body;
    let body = html! {
        @if traces.is_empty() {
            (nothing(app, store, &range))
        } @else {
            (scatter::draw(&traces))
            (table)
            @if super::nobody_sends(store) { (how_to_send(app)) }
        }
    };
    let failed = match traces.iter().filter(|trace| trace.errors > 0).count() {
        0 => "none".to_owned(),
        n if n == traces.len() && n > 1 => "all".to_owned(),
        n => n.to_string(),
    };
    let sentence = match traces.len() {
        0 => format!("No trace matches {}.", range.words()),
        n if n == filter.limit => {
            format!("The newest {n} of the traces {}; {failed} of them with errors.", range.words())
        }
        n => format!(
            "{} {} {}; {failed} with errors.",
            count(n, "trace", "traces"),
            if n == 1 { "matches" } else { "match" },
            range.words()
        ),
    };
    Ok(Page {
        title,
        sections: vec![
            Section::still(
                "sentence",
                html! {
                    h1 class="sentence" { (sentence) }
                    @if let Some(at) = cut_at {
                        p class="facts" { span { "So many traces logged this that those which did so only before " (show_time(at)) " were not looked at. Choose a time that ends there to see them." } }
                    }
                    @if let Some(id) = with {
                        p class="facts" { span { "Choose a trace to compare with " a href={ "/traces/" (id) } class="mono" { (id.get(..8).unwrap_or(id)) } "." } a href={ "/traces?" (query.changed(&[("with", "")])) } { "Stop comparing" } }
                    }
                },
            ),
            Section::still("form", form(store, query, &range, (&order, &exports))),
            Section::still("found", body),
        ],
    })
}

/// The traces that the address chooses, for a file: all of them, for `limit` says how many a page shows.
pub(in crate::page) fn listed<'a>(
    app: &'a App,
    view: &View,
    query: &Query,
) -> Result<Listed<'a, TraceSummary>, Problem> {
    let none = || Problem::field("format", "traces are not kept here; there are none to export");
    let store = super::store(app).map_err(|_| none())?;
    let filter = filter(query, &Range::read(view, query)?)?;
    let ranked = Ranked::new(store, filter, query.text("text"));
    let read = move |before: Option<&str>, limit: usize| ranked.read(before, limit);
    Ok(found::listed(view.stamp, Source::Stored(Box::new(read)), None))
}

/// Where the form that opens a trace by its id leads.
pub(in crate::page) fn opened_by_id(uri: &Uri) -> Option<String> {
    let query = (uri.path() == "/traces").then(|| Query::parse(uri.query()).ok())??;
    query.text("id").map(|id| format!("/traces/{}", encode(id.trim())))
}

fn filter(query: &Query, range: &Range) -> Result<TraceFilter, Problem> {
    let duration = |name| {
        query.read(name, units::parse_duration, || "a duration, such as 250us, 100ms or 1.5s".to_owned())
    };
    let tags = query.read("tags", tags::parse, || {
        "pairs such as http.request.method=GET db.statement=\"select 1\"".to_owned()
    })?;
    let (low, high) = (duration("min")?.unwrap_or(0), duration("max")?.unwrap_or(u64::MAX));
    if low > high {
        return Err(Problem::field("min", "`min` is longer than `max`; swap them"));
    }
    Ok(TraceFilter {
        service: query.text("service").map(str::to_owned),
        operation: query.text("operation").map(str::to_owned),
        kind: None,
        tags: tags.unwrap_or_default(),
        start: range.nano.clone(),
        duration: low..=high,
        status: if query.text("errors").is_some() { StatusFilter::Error } else { StatusFilter::Any },
        among: None,
        limit: query.count("limit", 1, 200)?.unwrap_or(LIMIT),
    })
}

fn form(store: &Telemetry, query: &Query, range: &Range, (order, exports): (&Markup, &Markup)) -> Markup {
    let text = |name: &str| query.text(name).unwrap_or("").to_owned();
    let limit = query.count("limit", 1, 200).ok().flatten().unwrap_or(LIMIT);
    let is_open =
        ["tags", "text", "min", "max", "from", "limit", "sort"].iter().any(|name| query.text(name).is_some());
    let fields = html! {
        label class="grow" { "Tags" input type="text" class="mono" name="tags" value=(text("tags")) placeholder="http.response.status_code=500" spellcheck="false" autocomplete="off"; }
        label class="grow" title="upper and lower case the same; a record of that time, of any service of the trace" { "A log record says" input type="text" name="text" value=(text("text")) placeholder="timed out" spellcheck="false" autocomplete="off"; }
        label class="short" { "At least" (units::duration_field("min", &text("min"), "100ms")) }
        label class="short" { "At most" (units::duration_field("max", &text("max"), "2s")) }
        (range.fields())
        label class="short" { "Show"
            select name="limit" {
                @for n in LIMITS { option value=(n) selected[n == limit] { (n) } }
                @if !LIMITS.contains(&limit) { option value=(limit) selected { (limit) } }
            }
        }
        (order)
    };
    html! {
        form class="search" method="get" action="/traces" {
            label class="grow" { "Search what is found" input type="search" name="q" value=(text("q")) placeholder="any words of the rows" spellcheck="false" autocomplete="off"; }
            (choice(store, query))
            (folded(is_open, &fields))
            label class="check" { input type="checkbox" name="errors" value="1" checked[query.text("errors").is_some()]; "Errors only" }
            @if let Some(with) = query.text("with") { input type="hidden" name="with" value=(with); }
            button class="primary" type="submit" { "Search" }
            a href="/latency" { "Latency over time" }
            (exports)
        }
        form class="search" method="get" action="/traces" {
            label class="grow" { "Or open a trace by its id" input type="text" class="mono" name="id" placeholder="32 hexadecimal digits" spellcheck="false" autocomplete="off" maxlength="32"; }
            button type="submit" { "Open" }
        }
    }
}

/// Service and operation, with what is known of them to choose from.
pub(super) fn choice(store: &Telemetry, query: &Query) -> Markup {
    let (service, operation) = (query.text("service"), query.text("operation"));
    let services = store.services();
    let mut operations: Vec<String> = service
        .map(|service| store.operations(service))
        .into_iter()
        .flatten()
        .map(|operation| operation.name)
        .collect();
    operations.dedup();
    html! {
        label { "Service"
            select name="service" {
                option value="" { "any" }
                @for name in &services { option value=(name) selected[service == Some(name.as_str())] { (name) } }
                @if let Some(name) = service.filter(|name| !services.iter().any(|known| known == name)) { option value=(name) selected { (name) } }
            }
        }
        label { "Operation"
            input type="text" name="operation" list="operations" value=(operation.unwrap_or("")) placeholder="any" spellcheck="false" autocomplete="off";
            datalist id="operations" { @for name in operations.iter().take(500) { option value=(name) {} } }
        }
    }
}

/// What to say where nothing was found: how to send traces where none ever came.
fn nothing(app: &App, store: &Telemetry, range: &Range) -> Markup {
    let services = store.services();
    html! {
        @if super::nobody_sends(store) {
            (how_to_send(app))
        } @else {
            p class="empty" {
                "Nothing that is asked for happened " (range.words()) ". Look further back, or ask for less: "
                (count(services.len(), "service has", "services have")) " sent spans."
            }
        }
    }
}

/// One command that fills the page.
pub(super) fn how_to_send(app: &App) -> Markup {
    // Without receivers of its own the store is filled by others, on the registered ports.
    let (grpc, http) =
        app.otlp.as_ref().map_or((4317, 4318), |running| (running.grpc_port, running.http_port));
    html! {
        p class="empty" {
            "A trace is the way of one request through services, told by the spans they send. None came yet but Homeostat's own. "
            "Point any OpenTelemetry exporter here, port " (grpc) " for gRPC or " (http) " for HTTP:"
        }
        pre tabindex="0" aria-label="Command" { "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:" (http) " OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf your-program" }
    }
}

/// The address of the traces of a service in a stretch of time; wall clock, microseconds since 1970.
pub(in crate::page) fn around(service: &str, start_us: i64, end_us: i64) -> String {
    let nano = |us: i64| u64::try_from(us).unwrap_or(0).saturating_mul(1000);
    let mut address = format!("/traces?service={}", encode(service));
    for (name, value) in Range::exact(nano(start_us), nano(end_us)) {
        address.push_str(&format!("&{name}={}", encode(&value)));
    }
    address
}
