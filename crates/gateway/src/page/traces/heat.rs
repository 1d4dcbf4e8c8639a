//! Latencies over time as a heat map, a box in it, and what is different about the spans in the box.
//!
//! The map counts every span that was received. What is different is told from a bounded sample of whole spans, and says
//! how many they were.

use std::ops::RangeInclusive;
use std::time::Duration;

use maud::{Markup, html};
use telemetry::{
    HeatMap, Histogram, SeriesFilter, Span, SpanKind, Telemetry, TraceFilter, TraceId, TraceSummary, Window,
};

use super::range::Range;
use super::stand_out::{Difference, differences};
use super::{found, scatter, search, tags, units};
use crate::body::{Query, encode};
use crate::page::list::Source;
use crate::page::sentence::{count, isolated};
use crate::page::time::clock_face;
use crate::page::view::View;
use crate::page::{Page, Section, Update};
use crate::problem::Problem;
use crate::serve::App;

/// Columns and rows drawn at most; finer ones are put together.
const COLUMNS: u64 = 64;
const ROWS: usize = 28;
const CELL: (usize, usize) = (16, 8);

/// Traces read for the spans in the box, and for the others.
const INSIDE: usize = 60;
const OUTSIDE: usize = 120;
/// Traces of the box that are listed.
const LISTED: usize = 20;
/// Differences told.
const TOLD: usize = 12;

/// A box on the map.
struct Chosen {
    /// Nanoseconds since 1970.
    time: RangeInclusive<u64>,
    /// Nanoseconds.
    duration: RangeInclusive<u64>,
}

pub(in crate::page) fn latency(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let title = "Latency".to_owned();
    let store = match super::store(app) {
        Ok(store) => store,
        Err(none) => return Ok(Page { title, sections: vec![Section::still("sentence", none)] }),
    };
    let range = Range::read(view, query)?;
    let chosen = Chosen::read(query, &range)?;
    let filter = series(query);
    let (map, since) = map(store, &filter, &range)?;
    let whole = range_of(&range);
    let mut calls = Histogram::default();
    for one in store.series(&filter, whole).map_err(|error| Problem::field("from", error.to_string()))? {
        calls.merge(&one.calls);
    }
    let picture = html! {
        @if map.rows_nano.is_empty() {
            @if super::nobody_sends(store) { (search::how_to_send(app)) }
            @else { p class="empty" { "No span that is asked for began " (range.words()) ". Choose another service, or a longer time." } }
        } @else {
            (draw(&map, since, chosen.as_ref(), query))
        }
    };
    let mut sections = vec![
        Section::still(
            "sentence",
            html! {
                p class="crumb" { a href="/traces" { "Traces" } }
                h1 class="sentence" { (sentence(query, &calls, &range)) }
                @if map.estimated { p class="facts" { "A source sampled its spans: these figures are weighted estimates." } }
            },
        ),
        Section::still("form", form(store, query, &range)),
        Section::still("heat", picture),
    ];
    if let Some(chosen) = &chosen {
        let told = different(store, view, query, &range, chosen);
        sections.push(Section::tried("different", Update::Never, "What is different", told)?);
    }
    Ok(Page { title, sections })
}

impl Chosen {
    /// Reads `t0`, `t1`, `d0`, `d1`; none where no end of the box was given.
    fn read(query: &Query, range: &Range) -> Result<Option<Self>, Problem> {
        let time = |name| {
            let expected = || "an RFC 3339 time, such as 2026-11-21T03:00:00Z".to_owned();
            let read = query.read(name, crate::api::time, expected)?;
            Ok::<_, Problem>(read.map(|time| (time.wall_us.max(0) as u64).saturating_mul(1000)))
        };
        let duration = |name| {
            query.read(name, units::parse_duration, || "a duration, such as 250us, 100ms or 1.5s".to_owned())
        };
        let (t0, t1, d0, d1) = (time("t0")?, time("t1")?, duration("d0")?, duration("d1")?);
        if t0.is_none() && t1.is_none() && d0.is_none() && d1.is_none() {
            return Ok(None);
        }
        let time = t0.unwrap_or(*range.nano.start())..=t1.unwrap_or(*range.nano.end());
        let duration = d0.unwrap_or(0)..=d1.unwrap_or(u64::MAX);
        if time.is_empty() || duration.is_empty() {
            return Err(Problem::field("t0", "the box ends before it begins; swap its ends"));
        }
        Ok(Some(Self { time, duration }))
    }

    fn holds(&self, span: &Span) -> bool {
        self.time.contains(&span.start_unix_nano) && self.duration.contains(&span.duration_nano)
    }
}

/// What a service is asked by others; with an operation, all spans of that name.
fn series(query: &Query) -> SeriesFilter {
    let operation = query.text("operation").map(str::to_owned);
    SeriesFilter {
        service: query.text("service").map(str::to_owned),
        kinds: if operation.is_some() { Vec::new() } else { vec![SpanKind::Server, SpanKind::Consumer] },
        operation,
    }
}

fn range_of(range: &Range) -> std::ops::Range<u64> {
    *range.nano.start()..range.nano.end().saturating_add(1)
}

/// The map; and since when there are spans, where that is so late that only the time since then is shown.
fn map(store: &Telemetry, filter: &SeriesFilter, range: &Range) -> Result<(HeatMap, Option<u64>), Problem> {
    let (start, end) = (*range.nano.start(), range.now_or_end().saturating_add(1));
    let map = store.heat_map(filter, window(start, end)?);
    let columns = map.cells.iter().zip(&map.columns_unix_nano);
    let first =
        columns.filter(|(cells, _)| cells.iter().any(|cell| cell.calls > 0.0)).map(|(_, at)| *at).next();
    let late = first.filter(|first| range.is_last() && *first > start.midpoint(end) && *first < end);
    Ok(match late {
        Some(first) => (store.heat_map(filter, window(first, end)?), Some(first)),
        None => (map, None),
    })
}

fn window(start: u64, end: u64) -> Result<Window, Problem> {
    let seconds = end.saturating_sub(start) / 1_000_000_000;
    // Beyond the newest ten minutes whole minutes are kept: a step between them would be widened to two.
    let step = match seconds.div_ceil(COLUMNS) {
        step if seconds > 600 => step.next_multiple_of(60),
        step => step.max(1),
    };
    let step = Duration::from_secs(step);
    Window::new(start, end, step).map_err(|error| Problem::field("from", error.to_string()))
}

fn sentence(query: &Query, calls: &Histogram, range: &Range) -> String {
    let what = match (query.text("service").map(isolated), query.text("operation").map(isolated)) {
        (Some(service), Some(operation)) => format!("{service}: {operation}"),
        (Some(name), None) | (None, Some(name)) => name.into_owned(),
        (None, None) => "All services".to_owned(),
    };
    let quantile = |q| calls.quantile(q).map(|duration| units::duration(duration.as_nanos() as u64));
    match (quantile(0.5), quantile(0.95)) {
        (Some(half), Some(most)) => format!(
            "{what}: {} {}; half took up to {half}, 1 in 20 more than {most}; {} failed.",
            count_of(calls.calls()),
            range.words(),
            units::percent(calls.errors(), calls.calls())
        ),
        _ => format!("{what}: no calls {}.", range.words()),
    }
}

fn count_of(calls: f64) -> String {
    let n = calls.round() as usize;
    format!("{} {}", units::grouped(n), if n == 1 { "call" } else { "calls" })
}

fn form(store: &Telemetry, query: &Query, range: &Range) -> Markup {
    let text = |name: &str| query.text(name).unwrap_or("").to_owned();
    html! {
        form class="search" id="heat-form" method="get" action="/latency" {
            (search::choice(store, query))
            (range.fields())
            details open[query.text("t0").or(query.text("d0")).or(query.text("t1")).or(query.text("d1")).is_some()] {
                summary { "Box in figures" }
                div class="search" {
                    label class="time" { "Began from" input type="text" class="mono" name="t0" value=(text("t0")) placeholder="2026-11-21T03:00:00Z"; }
                    label class="time" { "to" input type="text" class="mono" name="t1" value=(text("t1")) placeholder="2026-11-21T03:05:00Z"; }
                    label class="short" { "Took from" (units::duration_field("d0", &text("d0"), "100ms")) }
                    label class="short" { "to" (units::duration_field("d1", &text("d1"), "2s")) }
                }
            }
            button class="primary" type="submit" { "Show" }
        }
    }
}

/// The map: time to the right, durations upwards on a logarithmic axis, the more calls the stronger the colour.
fn draw(map: &HeatMap, since: Option<u64>, chosen: Option<&Chosen>, query: &Query) -> Markup {
    let group = map.rows_nano.len().div_ceil(ROWS).max(1);
    let rows = map.rows_nano.len().div_ceil(group);
    let columns = map.columns_unix_nano.len();
    let (width, height) = (columns * CELL.0, rows * CELL.1);
    let cells: Vec<Vec<(f64, f64)>> = map
        .cells
        .iter()
        .map(|column| {
            let sum = |cells: &[telemetry::HeatCell]| {
                cells.iter().fold((0.0, 0.0), |sum, cell| (sum.0 + cell.calls, sum.1 + cell.errors))
            };
            column.chunks(group).map(sum).collect()
        })
        .collect();
    let most = cells.iter().flatten().map(|cell| cell.0).fold(1.0, f64::max);
    let (low, high) = (map.rows_nano[0].0.max(1.0), map.rows_nano[map.rows_nano.len() - 1].1);
    // The topmost group may reach beyond the last bucket.
    let high = (low.ln() + (high.ln() - low.ln()) * (rows * group) as f64 / map.rows_nano.len() as f64).exp();
    let start = map.columns_unix_nano.first().copied().unwrap_or(0);
    let end = start + columns as u64 * map.step.as_nanos() as u64;
    let scale =
        Scale { start, end, low: low.ln(), high: high.ln(), width: width as f64, height: height as f64 };
    let ticks = scatter::ticks(scale.low, scale.high);
    // Within minutes the seconds tell the ends apart.
    let seconds = map.step < Duration::from_secs(60);
    html! {
        figure class="heat" {
            figcaption class="quiet" {
                "Calls by the time they began and how long they took; the stronger the colour, the more, at most " (count_of(most)) " in a cell; a notch marks failed ones. Drag over some to see what is different about them."
                @if let Some(since) = since { " There are none before " (clock_face((since / 1000) as i64, true)) "." }
            }
            div class="plot" {
                svg class="scale" aria-hidden="true" {
                    @for nano in &ticks { text x="100%" y=(units::at(scale.y(*nano) / scale.height)) dy="4" { (units::duration(*nano)) } }
                }
                svg class="cells" viewBox={ "0 0 " (width) " " (height) } preserveAspectRatio="none" role="img"
                    aria-label="Heat map of durations over time; the form above chooses a box in it"
                    data-heat={ (start / 1_000_000) " " (end / 1_000_000) " " (low) " " (high) } {
                    @for nano in &ticks { @let y = format!("{:.1}", scale.y(*nano)); line class="grid" x1="0" x2=(width) y1=(y) y2=(y) {} }
                    @for (x, column) in cells.iter().enumerate() {
                        @for (y, (calls, errors)) in column.iter().enumerate() {
                            @if *calls > 0.0 {
                                @let top = (rows - 1 - y) * CELL.1;
                                rect class={ "h" (shade(*calls, most)) } x=(x * CELL.0) y=(top) width=(CELL.0) height=(CELL.1) { title { (count_of(*calls)) @if *errors > 0.0 { ", " (errors.round()) " failed" } } }
                                @if *errors > 0.0 { path class="failed" d={ "M" (x * CELL.0) " " (top) "h6l-6 6z" } {} }
                            }
                        }
                    }
                    @if let Some(chosen) = chosen { (scale.outline(chosen)) }
                }
            }
            div class="ends quiet" aria-hidden="true" { span { (clock_face((start / 1000) as i64, seconds)) } span { (clock_face((end / 1000) as i64, seconds)) " UTC" } }
            @if chosen.is_some() { p class="facts" { a href={ "/latency?" (query.changed(&[("t0", ""), ("t1", ""), ("d0", ""), ("d1", "")])) } { "Clear the box" } } }
        }
    }
}

/// How strong a cell's colour is, 1 to 6, by the logarithm of its calls.
fn shade(calls: f64, most: f64) -> usize {
    if most <= 1.0 {
        return 4;
    }
    let share = (calls.max(1.0)).ln() / most.ln();
    1 + (share * 5.0).round() as usize
}

/// Where times and durations lie on the picture.
struct Scale {
    start: u64,
    end: u64,
    /// Logarithms of durations in nanoseconds.
    low: f64,
    high: f64,
    width: f64,
    height: f64,
}

impl Scale {
    fn y(&self, nano: u64) -> f64 {
        let share = ((nano.max(1) as f64).ln() - self.low) / (self.high - self.low).max(1e-9);
        (1.0 - share.clamp(0.0, 1.0)) * self.height
    }

    fn outline(&self, chosen: &Chosen) -> Markup {
        let x = |nano: u64| {
            let share = nano.saturating_sub(self.start) as f64 / (self.end - self.start).max(1) as f64;
            share.clamp(0.0, 1.0) * self.width
        };
        let (left, right) = (x(*chosen.time.start()), x(*chosen.time.end()));
        let (top, bottom) = (self.y(*chosen.duration.end()), self.y(*chosen.duration.start()));
        html! {
            rect class="box" x=(format!("{left:.1}")) y=(format!("{top:.1}")) width=(format!("{:.1}", (right - left).max(2.0))) height=(format!("{:.1}", (bottom - top).max(2.0))) {}
        }
    }
}

/// Spans of the sample, and whether there are more.
struct Sample {
    spans: Vec<Span>,
    traces: Vec<TraceId>,
}

fn sample(
    store: &Telemetry,
    query: &Query,
    (time, duration): (RangeInclusive<u64>, RangeInclusive<u64>),
    limit: usize,
    keep: impl Fn(&Span) -> bool,
) -> Result<Sample, Problem> {
    let series = series(query);
    let filter = TraceFilter {
        service: series.service.clone(),
        operation: series.operation.clone(),
        start: time.clone(),
        duration: duration.clone(),
        limit,
        ..TraceFilter::default()
    };
    let found = store.search(&filter)?;
    let mut sample = Sample { spans: Vec::new(), traces: Vec::new() };
    for (id, _) in found {
        let before = sample.spans.len();
        let spans = store.trace(id)?;
        sample.spans.extend(spans.into_iter().filter(|span| {
            series.service.as_deref().is_none_or(|service| service == span.service())
                && series.operation.as_deref().is_none_or(|operation| operation == span.name)
                && (series.kinds.is_empty() || series.kinds.contains(&span.kind))
                && time.contains(&span.start_unix_nano)
                && duration.contains(&span.duration_nano)
                && keep(span)
        }));
        if sample.spans.len() > before {
            sample.traces.push(id);
        }
    }
    Ok(sample)
}

fn different(
    store: &Telemetry,
    view: &View,
    query: &Query,
    range: &Range,
    chosen: &Chosen,
) -> Result<Markup, Problem> {
    let inside = sample(store, query, (chosen.time.clone(), chosen.duration.clone()), INSIDE, |_| true)?;
    let all = (range.nano.clone(), 0..=u64::MAX);
    let outside = sample(store, query, all, OUTSIDE, |span| !chosen.holds(span))?;
    let (within, without): (Vec<&Span>, Vec<&Span>) =
        (inside.spans.iter().collect(), outside.spans.iter().collect());
    let told = differences(&within, &without);
    let mut summaries = Vec::new();
    for id in inside.traces.iter().take(LISTED) {
        let spans = store.trace(*id)?;
        summaries.extend(TraceSummary::of(&spans));
    }
    Ok(html! {
        h2 { "What is different in here"
            span class="quiet" { "share among " (count(within.len(), "span", "spans")) " in the box, less that among " (count(without.len(), "span", "spans")) " outside it" }
        }
        @if told.is_empty() {
            p class="empty" {
                @if within.is_empty() { "No span lies in the box." }
                @else if without.is_empty() { "All spans lie in the box; there is nothing to compare them with." }
                @else { "No attribute's share differs by more than chance: twice the standard error, and 5 % of the spans." }
            }
        } @else {
            (table(&told, (within.len(), without.len()), query, range))
            p class="quiet" { "From the newest " (INSIDE) " traces in the box and " (OUTSIDE) " of the whole time. Told is what differs by more than twice the standard error of the two shares, in five spans or more; it need not be a cause." }
        }
        @if !summaries.is_empty() {
            h2 { "Traces in the box" span class="quiet" { "the newest " (summaries.len()) } }
            (found::listed(view.stamp, Source::Whole(Vec::new()), None).list.plain(&summaries))
        }
    })
}

fn table(told: &[Difference], (inside, outside): (usize, usize), query: &Query, range: &Range) -> Markup {
    let link = |difference: &Difference| -> Option<String> {
        (difference.key != "operation").then(|| {
            let service =
                query.text("service").map_or(String::new(), |name| format!("service={}&", encode(name)));
            let tag = encode(&tags::write(&difference.key, &difference.value));
            format!("/traces?{service}tags={tag}&{}", range.address())
        })
    };
    html! {
        div class="scroll" { table class="stacks compare" {
            thead { tr { th { "Attribute" } th { "Value" } th class="number" { "In the box" } th class="number" { "Outside" } th class="number" { "Difference" } th { "Less or more" } } }
            tbody {
                @for one in told.iter().take(TOLD) {
                    tr {
                        td class="mono" { (one.key) }
                        td class="mono" { @match link(one) { Some(address) => a href=(address) { (one.value) }, None => (one.value) } }
                        td class="number" data-label="In the box" title={ (one.inside) " of " (inside) } { (units::percent(one.inside as f64, inside as f64)) " " span class="quiet" { (one.inside) "/" (inside) } }
                        td class="number" data-label="Outside" title={ (one.outside) " of " (outside) } { (units::percent(one.outside as f64, outside as f64)) " " span class="quiet" { (one.outside) "/" (outside) } }
                        td class="number" data-label="Difference" { (format!("{}{:.0}", if one.step > 0.0 { "+" } else { "−" }, one.step.abs() * 100.0)) " points" }
                        td class="fold" {
                            svg class="delta" height="12" aria-hidden="true" {
                                line x1="50%" x2="50%" y1="0" y2="12" {}
                                rect class=(if one.step > 0.0 { "more" } else { "less" }) x=(units::at(0.5 + one.step.min(0.0) / 2.0)) width=(units::at(one.step.abs() / 2.0)) y="2" height="8" {}
                            }
                        }
                    }
                }
            }
        } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_calls_have_a_stronger_colour_and_there_are_six() {
        let shades: Vec<usize> = [1.0, 10.0, 100.0, 1000.0].map(|calls| shade(calls, 1000.0)).to_vec();
        assert!(shades.is_sorted() && shades[0] == 1 && shades[3] == 6, "{shades:?}");
    }
}
