//! The metrics explorer: an expression of PromQL, drawn over time and listed by series.
//!
//! In: a query string, series from [`metrics::Metrics`]. Out: a page. Picture and table are made on the server; a script
//! draws the same values so that they can be pointed at, and completes names while an expression is typed.
//!
//! Deliberately absent: what is asked by programs, which is Prometheus' API's (`crate::prometheus`); several expressions
//! in one picture.

mod chart;
mod found;
mod names;
mod scale;

use std::time::{Duration, Instant};

use domain::Time;
use maud::{Markup, html};
use metrics::Metrics;
use promql::{Answered, Engine, ErrorKind, Limits, QueryError};
use serde_json::json;

use super::sentence::count;
use super::traces::range::Range;
use super::view::View;
use super::{Page, Section, Update};
use crate::body::Query;
use crate::problem::Problem;
use crate::prometheus::{self, POINTS_MAX};
use crate::security::REQUEST_TIME;
use crate::serve::App;
use found::Found;
pub(super) use names::listed;
pub(super) use scale::short;

/// Times in a picture where no step was chosen: more than a narrow screen shows, fewer than take long.
const TIMES: i64 = 240;

/// Samples read, and values held, for a page: as many as the store reads in about a second.
const SAMPLES_MAX: u64 = 20_000_000;

pub(super) fn explorer(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let title = "Metrics".to_owned();
    let Some(metrics) = &app.metrics else {
        return Ok(Page { title, sections: vec![Section::still("sentence", no_store())] });
    };
    let range = Range::read(view, query)?;
    let window = Window::read(query, &range)?;
    let Some(text) = query.text("query").map(str::trim).filter(|text| !text.is_empty()) else {
        let mut sections = vec![
            Section::still("sentence", html! { h1 class="sentence" { (overview(metrics)) } }),
            Section::still("form", form(query, &range)),
        ];
        sections.extend(names(app, metrics, query, &window, &range)?);
        return Ok(Page { title, sections });
    };
    let answer = ask(metrics, text, &window);
    let (sentence, body) = match &answer {
        Ok(found) => (found.sentence(&range.words()), found.show(view, &window)),
        Err(error) => ("The expression has no answer.".to_owned(), wrong(text, error)),
    };
    Ok(Page {
        title,
        sections: vec![
            Section::still("sentence", html! { h1 class="sentence" { (sentence) } }),
            Section::still("form", form(query, &range)),
            Section::still("answer", body),
        ],
    })
}

/// The times that are looked at, milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Window {
    from_ms: i64,
    to_ms: i64,
    step_ms: i64,
}

impl Window {
    /// The range in steps of what was chosen, or of what makes a picture.
    fn read(query: &Query, range: &Range) -> Result<Self, Problem> {
        let ms = |nano: u64| i64::try_from(nano / 1_000_000).unwrap_or(i64::MAX);
        let (from_ms, to_ms) = (ms(*range.nano.start()), ms(range.now_or_end()));
        let length = (to_ms - from_ms).max(0);
        let least = length / POINTS_MAX + 1;
        let read = |text: &str| {
            let seconds = text.trim().parse::<f64>().ok().map(|seconds| (seconds * 1000.0) as i64);
            promql::parse_duration_ms(text.trim()).or(seconds).filter(|step| *step >= least)
        };
        let expected = || format!("seconds or a span such as 15s or 5m, at least {}", seconds(least));
        let step_ms = query.read("step", read, expected)?.unwrap_or_else(|| nice(length / TIMES));
        // At multiples of the step, so that the same times are asked for again, and a minute begins where minutes do.
        let to_ms = to_ms.div_euclid(step_ms).saturating_mul(step_ms);
        Ok(Self { from_ms: from_ms.div_euclid(step_ms).saturating_mul(step_ms), to_ms, step_ms })
    }
}

/// The least round span that is not shorter.
fn nice(ms: i64) -> i64 {
    const SECOND: i64 = 1000;
    const STEPS: [i64; 15] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600];
    STEPS
        .into_iter()
        .map(|step| step * SECOND)
        .find(|step| *step >= ms)
        .unwrap_or(86_400 * SECOND * (1 + ms / 86_400_000))
}

/// A time of a sample as the pages' time.
fn time(at_ms: i64) -> Time {
    Time { boot_us: 0, wall_us: at_ms.saturating_mul(1000) }
}

/// `15 s`, or `0.5 s`.
fn seconds(ms: i64) -> String {
    domain::units::show_duration(Duration::from_millis(ms.unsigned_abs()))
}

fn ask(metrics: &Metrics, text: &str, window: &Window) -> Result<Found, QueryError> {
    // The page is to be answered in time even where the query is not.
    let deadline = Instant::now() + REQUEST_TIME * 3 / 4;
    let cancelled = || Instant::now() >= deadline;
    let limits = Limits { samples: SAMPLES_MAX, points: SAMPLES_MAX, cancelled: &cancelled };
    let engine = Engine::new(prometheus::options());
    let expression = engine.parse(text)?;
    let Window { from_ms, to_ms, step_ms } = *window;
    let answer = engine.range(&expression, from_ms, to_ms, step_ms, metrics, &limits)?;
    let series = match answer.value {
        Answered::Matrix(series) => series,
        _ => Vec::new(),
    };
    let mut exemplars = Vec::new();
    for matchers in expression.selectors() {
        // What cannot be understood was refused above.
        let found = metrics.exemplars(matchers, from_ms, to_ms).unwrap_or_default();
        exemplars.extend(found.into_iter().flat_map(|(_, exemplars)| exemplars));
    }
    Ok(Found::new(series, exemplars, [answer.warnings, answer.infos].concat()))
}

/// What is wrong with an expression, and where: the line of it, with a mark below.
fn wrong(text: &str, error: &QueryError) -> Markup {
    let line = text.lines().nth(error.position.line as usize - 1).unwrap_or_default();
    let before = line.get(..(error.position.column as usize - 1).min(line.len())).unwrap_or(line);
    let caret = format!("{}^", " ".repeat(before.chars().count()));
    let message = match error.kind {
        ErrorKind::Cancelled => format!(
            "it took longer than {} s; ask for fewer series, a shorter time or a longer step",
            (REQUEST_TIME * 3 / 4).as_secs()
        ),
        _ => error.message.clone(),
    };
    html! {
        div class="notice bad" role="alert" {
            strong { "Line " (error.position.line) ", column " (error.position.column) }
            span { (super::sentence::capital(&message)) "." }
        }
        pre class="query-error" tabindex="0" aria-label="Where it is" { (line) "\n" span class="caret" { (caret) } }
    }
}

fn form(query: &Query, range: &Range) -> Markup {
    let text = query.text("query").unwrap_or_default();
    let names: Vec<&str> = promql::callable_names().collect();
    html! {
        form class="search explorer" method="get" action="/metrics-explorer" data-names=(json!(names)) {
            div class="expression" {
                label for="query" { "Expression" }
                textarea id="query" name="query" class="mono" rows="2" spellcheck="false" autocomplete="off" autocapitalize="off"
                    placeholder="sum by (service) (rate(http_requests_total[5m]))" { (text) }
            }
            (range.fields())
            label class="short" { "Step" input type="text" name="step" value=(query.text("step").unwrap_or_default()) placeholder="by itself" title="seconds, or a span such as 15s or 5m" autocomplete="off"; }
            button class="primary" type="submit" { "Show" }
            @if !range.is_last() { a href={ "/metrics-explorer?" (query.changed(&[("from", ""), ("to", ""), ("step", "")])) } { "The last hour" } }
        }
    }
}

fn overview(metrics: &Metrics) -> String {
    let status = metrics.status();
    match status.series {
        0 => "No series came yet.".to_owned(),
        n => format!(
            "{} from {}.",
            count(n as usize, "series is active", "series are active"),
            count(status.sources.len(), "source", "sources")
        ),
    }
}

/// What there is to ask for, with a search of its own; how to send series where there is nothing.
fn names(
    app: &App,
    metrics: &Metrics,
    query: &Query,
    window: &Window,
    range: &Range,
) -> Result<Vec<Section>, Problem> {
    let listed = match names::found(app, metrics, window, range) {
        Ok(listed) => listed,
        Err(problem) => return Ok(vec![Section::tried("names", Update::Never, "Names", Err(problem))?]),
    };
    if listed.is_bare() {
        return Ok(vec![Section::still("names", listed.list.empty)]);
    }
    let form = html! { h2 { "Names" } (listed.list.search_form(query)) };
    Ok(vec![Section::still("filters", form), listed.rows(query, "names", Update::Never)?])
}

/// One command that fills the page.
fn how_to_send(app: &App) -> Markup {
    let http = app.otlp.as_ref().map_or(4318, |running| running.http_port);
    html! {
        p class="empty" {
            "A series is a number over time with labels that say of what. None came yet. "
            "Point any OpenTelemetry exporter here, or a Prometheus by remote write:"
        }
        pre tabindex="0" aria-label="Commands" {
            "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:" (http) " OTEL_METRICS_EXPORTER=otlp your-program\n"
            "remote_write: [{url: http://localhost:" (http) "/api/v1/write}]"
        }
    }
}

fn no_store() -> Markup {
    html! {
        h1 class="sentence" { "Series are not kept here." }
        p class="empty" { (super::sentence::capital(prometheus::NO_METRICS)) "." }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        assert_eq!([nice(0), nice(15_000), nice(15_001), nice(90_000)], [1_000, 15_000, 30_000, 120_000]);
        assert_eq!(nice(100_000_000), 172_800_000);
    }
}
