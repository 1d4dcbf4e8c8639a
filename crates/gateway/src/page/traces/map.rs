//! The service map: who calls whom, how often, how fast and with how many failures.
//!
//! Figures come from all spans that were received, counted before any sampling. A service is told by what others ask of
//! it; a line by what its caller saw.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use maud::{Markup, html};
use telemetry::{Dependency, DependencyLink, Histogram, SeriesFilter, SpanKind, Telemetry, Window};

use super::layout::{self, Place};
use super::range::Range;
use super::units;
use crate::body::{Query, encode};
use crate::page::marks::{Meaning, mark, shape_at};
use crate::page::sentence::{count, isolated, shortened};
use crate::page::view::View;
use crate::page::{Page, Section};
use crate::problem::Problem;
use crate::serve::App;

const NODE: (usize, usize) = (168, 52);
const GAP: (usize, usize) = (152, 28);
const MARGIN: usize = 16;

/// More services than this make a picture nobody reads; the table has them all.
const DRAWN: usize = 60;

/// Of so many calls one that failed is a mark; the same share as the `error_rate` issue's default threshold.
const FAILED_RATIO: f64 = 0.05;

/// What a service is asked, or what of a peer is known from its callers.
struct Node<'a> {
    name: &'a str,
    calls: Histogram,
    /// It sends no spans itself.
    silent: bool,
}

pub(in crate::page) fn service_map(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let title = "Service map".to_owned();
    let store = match super::store(app) {
        Ok(store) => store,
        Err(none) => return Ok(Page { title, sections: vec![Section::still("sentence", none)] }),
    };
    let range = Range::read(view, query)?;
    let window = *range.nano.start()..range.nano.end().saturating_add(1);
    let edges =
        store.dependencies(window.clone()).map_err(|error| Problem::field("from", error.to_string()))?;
    let nodes = nodes(store, &edges, window.clone())?;
    let seconds = counted_seconds(store, &range, window)?;
    let picture = html! {
        @if nodes.is_empty() {
            @if super::nobody_sends(store) { (super::search::how_to_send(app)) }
            @else { p class="empty" { "No span of one service names another as what it called " (range.words()) ". Choose a longer time." } }
        } @else if nodes.len() > DRAWN {
            p class="empty" { (nodes.len()) " services are too many for one picture; the table below has them all." }
        } @else {
            div class="scroll" { (draw(&nodes, &edges, &range, seconds)) }
        }
    };
    Ok(Page {
        title,
        sections: vec![
            Section::still(
                "sentence",
                html! {
                    h1 class="sentence" { (sentence(&nodes, &edges, &range)) }
                    @if edges.iter().any(|edge| edge.caller_view.estimated()) {
                        p class="facts" { "A source sampled its spans: these figures are weighted estimates." }
                    }
                },
            ),
            Section::still(
                "form",
                html! {
                    form class="search" method="get" action="/service-map" { (range.fields()) button type="submit" { "Show" } }
                },
            ),
            Section::still("map", picture),
            Section::still(
                "tables",
                html! { (edge_table(&edges, &range, seconds)) (node_table(&nodes, &range, seconds)) },
            ),
        ],
    })
}

/// Steps in which the beginning of what was counted is looked for.
const STEPS: u64 = 128;

/// Over how long calls were counted, at least a second: rates of a service that began to send a minute ago are not
/// those of the hour that is looked at.
fn counted_seconds(store: &Telemetry, range: &Range, window: std::ops::Range<u64>) -> Result<f64, Problem> {
    let end = range.now_or_end();
    let mut first = window.start;
    // Coarse steps, then finer ones within what they leave: minutes for a day, seconds for the newest ten minutes.
    for _ in 0..3 {
        let step = (window.end.saturating_sub(first) / 1_000_000_000).div_ceil(STEPS).max(1);
        let steps = Window::new(first, window.end, Duration::from_secs(step))
            .map_err(|error| Problem::field("from", error.to_string()))?;
        let points = store.red(&SeriesFilter::default(), steps);
        let Some(point) = points.iter().find(|point| !point.calls.is_empty()) else { break };
        first = first.max(point.start_unix_nano);
    }
    Ok((end.saturating_sub(first) as f64 / 1e9).min(range.seconds()).max(1.0))
}

fn nodes<'a>(
    store: &Telemetry,
    edges: &'a [Dependency],
    window: std::ops::Range<u64>,
) -> Result<Vec<Node<'a>>, Problem> {
    let filter =
        SeriesFilter { kinds: vec![SpanKind::Server, SpanKind::Consumer], ..SeriesFilter::default() };
    let series = store.series(&filter, window).map_err(|error| Problem::field("from", error.to_string()))?;
    let mut asked: BTreeMap<String, Histogram> = BTreeMap::new();
    for one in series {
        asked.entry(one.service).or_default().merge(&one.calls);
    }
    let mut nodes: BTreeMap<&'a str, Node<'a>> = BTreeMap::new();
    for edge in edges {
        nodes.entry(&edge.caller).or_insert(Node {
            name: &edge.caller,
            calls: Histogram::default(),
            silent: false,
        });
        let silent = edge.link == DependencyLink::Uninstrumented;
        let callee = nodes.entry(&edge.callee).or_insert(Node {
            name: &edge.callee,
            calls: Histogram::default(),
            silent,
        });
        if silent {
            callee.calls.merge(&edge.caller_view);
        }
    }
    for (name, node) in &mut nodes {
        if let Some(calls) = asked.remove(*name) {
            node.calls = calls;
            node.silent = false;
        }
    }
    Ok(nodes.into_values().collect())
}

/// How calls went, as a mark and a word.
fn health(calls: &Histogram) -> (Meaning, &'static str) {
    match calls.error_ratio() {
        None => (Meaning::Unknown, "not called"),
        Some(ratio) if ratio >= FAILED_RATIO => (Meaning::Bad, "failing"),
        Some(ratio) if ratio > 0.0 => (Meaning::Attention, "some fail"),
        Some(_) => (Meaning::Good, "answers"),
    }
}

fn sentence(nodes: &[Node<'_>], edges: &[Dependency], range: &Range) -> String {
    if nodes.is_empty() {
        return format!("No service called another {}.", range.words());
    }
    let failing: Vec<&Dependency> =
        edges.iter().filter(|edge| health(&edge.caller_view).0 == Meaning::Bad).collect();
    let worst = failing.iter().max_by(|a, b| {
        a.caller_view.error_ratio().unwrap_or(0.0).total_cmp(&b.caller_view.error_ratio().unwrap_or(0.0))
    });
    let many = format!(
        "{} and {} {}",
        count(nodes.len(), "service", "services"),
        count(edges.len(), "way between them", "ways between them"),
        range.words()
    );
    match worst {
        None => format!("{many}; none fails in {} % of its calls or more.", FAILED_RATIO * 100.0),
        Some(edge) => {
            let calls = &edge.caller_view;
            format!(
                "{} → {} fails in {} of its calls; {many}.",
                isolated(&edge.caller),
                isolated(&edge.callee),
                units::percent(calls.errors(), calls.calls())
            )
        }
    }
}

fn draw(nodes: &[Node<'_>], edges: &[Dependency], range: &Range, seconds: f64) -> Markup {
    let names: BTreeSet<&str> = nodes.iter().map(|node| node.name).collect();
    let calls: Vec<(&str, &str)> = edges.iter().map(|edge| (&*edge.caller, &*edge.callee)).collect();
    let places = layout::place(&names, &calls);
    let layers = places.values().map(|place| place.layer).max().unwrap_or(0) + 1;
    let mut sizes = vec![0; layers];
    places.values().for_each(|place| sizes[place.layer] = sizes[place.layer].max(place.slot + 1));
    let tallest = sizes.iter().copied().max().unwrap_or(1);
    let width = layers * NODE.0 + (layers - 1) * GAP.0 + 2 * MARGIN;
    let height = tallest * NODE.1 + (tallest - 1) * GAP.1 + 2 * MARGIN;
    // Each layer stands in the middle of the height.
    let corner = |place: &Place| {
        let spare = (tallest - sizes[place.layer]) * (NODE.1 + GAP.1) / 2;
        (MARGIN + place.layer * (NODE.0 + GAP.0), MARGIN + spare + place.slot * (NODE.1 + GAP.1))
    };
    let corners: BTreeMap<&str, (usize, usize)> =
        places.iter().map(|(name, place)| (*name, corner(place))).collect();
    html! {
        svg class="service-map" width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } role="group" aria-label="Service map; the table below says the same" {
            defs { marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse" { path d="M0 0L8 4L0 8z" {} } }
            @for edge in edges { (draw_edge(edge, &corners, range, seconds)) }
            // After all lines, so that none crosses a figure.
            @for edge in edges { (draw_figure(edge, &corners, range, seconds)) }
            @for node in nodes { @if let Some(corner) = corners.get(node.name) { (draw_node(node, *corner, range, seconds)) } }
        }
    }
}

fn draw_edge(
    edge: &Dependency,
    corners: &BTreeMap<&str, (usize, usize)>,
    range: &Range,
    seconds: f64,
) -> Markup {
    let Some((path, _)) = way(edge, corners) else { return html! {} };
    let calls = &edge.caller_view;
    let (meaning, word) = health(calls);
    let title = format!("{} → {}: {word}; {}", edge.caller, edge.callee, in_words(calls, seconds));
    let class = format!(
        "edge {}{}",
        meaning.class(),
        if edge.link == DependencyLink::Message { " message" } else { "" }
    );
    html! {
        a class=(class) href=(address(edge, range)) {
            title { (title) }
            path class="line" d=(path) marker-end="url(#arrow)" {}
        }
    }
}

/// What stands at the line of a way; its line leads to the same place, and says the same to who does not see.
fn draw_figure(
    edge: &Dependency,
    corners: &BTreeMap<&str, (usize, usize)>,
    range: &Range,
    seconds: f64,
) -> Markup {
    let Some((_, (x, y))) = way(edge, corners) else { return html! {} };
    let calls = &edge.caller_view;
    let (meaning, _) = health(calls);
    html! {
        a class={ "figure " (meaning.class()) } href=(address(edge, range)) tabindex="-1" aria-hidden="true" {
            text x=(x) y=(y.saturating_sub(4)) {
                @match meaning { Meaning::Bad => tspan class="sign" { "■ " }, Meaning::Attention => tspan class="sign" { "▲ " }, _ => {} }
                (units::rate(calls.calls(), seconds)) @if calls.errors() > 0.0 { ", " (units::percent(calls.errors(), calls.calls())) " fail" }
            }
        }
    }
}

/// The line of a way as a path, and where its figure stands.
fn way(edge: &Dependency, corners: &BTreeMap<&str, (usize, usize)>) -> Option<(String, (usize, usize))> {
    let (&(x1, y1), &(x2, y2)) = (corners.get(&*edge.caller)?, corners.get(&*edge.callee)?);
    let middle = NODE.1 / 2;
    // To the right from side to side; back, or within a layer, in a bow below the boxes.
    Some(if x2 > x1 {
        let (sx, ex) = (x1 + NODE.0, x2);
        let bend = (ex - sx) / 2;
        let path = format!(
            "M{sx} {}C{} {} {} {} {} {}",
            y1 + middle,
            sx + bend,
            y1 + middle,
            ex - bend,
            y2 + middle,
            ex - 1,
            y2 + middle
        );
        // Nearer to the caller's side of the gap: lines spread there, and meet at the callee.
        (path, (ex - GAP.0 / 2, (y1 + 2 * y2) / 3 + middle))
    } else {
        let (sx, sy, ex, ey) = (x1 + NODE.0 / 2, y1 + NODE.1, x2 + NODE.0 / 2, y2 + NODE.1);
        let low = sy.max(ey) + GAP.1;
        (format!("M{sx} {sy}C{sx} {low} {ex} {low} {ex} {ey}"), (sx.midpoint(ex), low - 4))
    })
}

fn draw_node(node: &Node<'_>, (x, y): (usize, usize), range: &Range, seconds: f64) -> Markup {
    let (meaning, word) = health(&node.calls);
    let title = format!("{}: {word}; {}", node.name, in_words(&node.calls, seconds));
    let name = shortened(node.name, 19);
    html! {
        a class={ "node " (meaning.class()) @if node.silent { " silent" } } href=(address_of(node, range)) {
            title { (title) }
            rect x=(x) y=(y) width=(NODE.0) height=(NODE.1) rx="6" {}
            (shape_at(meaning, &(x + 10).to_string(), y + 10))
            text class="name" x=(x + 28) y=(y + 21) { (name) }
            text x=(x + 28) y=(y + 40) {
                @if node.calls.is_empty() { (word) } @else {
                    (units::rate(node.calls.calls(), seconds)) @if let Some(p95) = node.calls.quantile(0.95) { " · p95 " (units::duration(p95.as_nanos() as u64)) }
                }
            }
        }
    }
}

fn in_words(calls: &Histogram, seconds: f64) -> String {
    match calls.quantile(0.95) {
        None => "no calls".to_owned(),
        Some(p95) => format!(
            "{}, {} of {:.0} failed, p95 {}",
            units::rate(calls.calls(), seconds),
            calls.errors(),
            calls.calls(),
            units::duration(p95.as_nanos() as u64)
        ),
    }
}

/// Traces in which the caller's spans failed, where some did; otherwise those of the callee.
fn address(edge: &Dependency, range: &Range) -> String {
    let service = if edge.link == DependencyLink::Uninstrumented { &edge.caller } else { &edge.callee };
    traces(service, edge.caller_view.errors() > 0.0, range)
}

fn address_of(node: &Node<'_>, range: &Range) -> String {
    if node.silent {
        return format!(
            "/traces?tags={}&{}",
            encode(&super::tags::write("peer.service", node.name)),
            range.address()
        );
    }
    traces(node.name, false, range)
}

fn traces(service: &str, failed: bool, range: &Range) -> String {
    format!(
        "/traces?service={}&{}{}",
        encode(service),
        range.address(),
        if failed { "&errors=1" } else { "" }
    )
}

fn figures(calls: &Histogram, seconds: f64) -> Markup {
    let quantile = |q| calls.quantile(q).map_or("–".to_owned(), |d| units::duration(d.as_nanos() as u64));
    html! {
        td class="number" data-label="Calls" title={ (format!("{:.0}", calls.calls())) " calls" } { (units::rate(calls.calls(), seconds)) }
        td class="number" data-label="Failed" title={ (calls.errors()) " of " (format!("{:.0}", calls.calls())) } { @if calls.is_empty() { "–" } @else { (units::percent(calls.errors(), calls.calls())) } }
        td class="number" data-label="p50" { (quantile(0.5)) }
        td class="number" data-label="p95" { (quantile(0.95)) }
    }
}

fn edge_table(edges: &[Dependency], range: &Range, seconds: f64) -> Markup {
    html! {
        @if !edges.is_empty() {
            h2 { "Calls" span class="quiet" { "caller → callee, as the caller saw them" } }
            div class="scroll" { table class="stacks" {
                thead { tr { th { "State" } th { "Way" } th { "Kind" } th class="number" { "Calls" } th class="number" { "Failed" } th class="number" { "p50" } th class="number" { "p95" } } }
                tbody {
                    @for edge in edges {
                        @let (meaning, word) = health(&edge.caller_view);
                        tr {
                            td { (mark(meaning, word)) }
                            td class="name" { a href=(address(edge, range)) { (isolated(&edge.caller)) " → " (isolated(&edge.callee)) } }
                            td class=(if edge.link == DependencyLink::Call { "none" } else { "two" }) data-label="Kind" { span class="quiet" { (match edge.link { DependencyLink::Call => "call", DependencyLink::Message => "message", DependencyLink::Uninstrumented => "sends no spans" }) } }
                            (figures(&edge.caller_view, seconds))
                        }
                    }
                }
            } }
        }
    }
}

fn node_table(nodes: &[Node<'_>], range: &Range, seconds: f64) -> Markup {
    html! {
        @if !nodes.is_empty() {
            h2 { "Services" span class="quiet" { "what others ask of them" } }
            div class="scroll" { table class="stacks" {
                thead { tr { th { "State" } th { "Service" } th class="number" { "Calls" } th class="number" { "Failed" } th class="number" { "p50" } th class="number" { "p95" } th { "Latency" } } }
                tbody {
                    @for node in nodes {
                        @let (meaning, word) = health(&node.calls);
                        tr {
                            td { (mark(meaning, word)) }
                            td class="name" { a href=(address_of(node, range)) { (node.name) } }
                            (figures(&node.calls, seconds))
                            td class={ "two" @if node.silent || node.calls.is_empty() { " none" } } { @if !node.silent && !node.calls.is_empty() { a href={ "/latency?service=" (encode(node.name)) "&" (range.address()) } { span class="narrow-only" { "latency " } "over time" } } }
                        }
                    }
                }
            } }
        }
    }
}
