//! Two traces side by side: which ways from the root both have, how often, how long, and what only one has.

use std::collections::BTreeMap;

use maud::{Markup, html};
use telemetry::{Trace, TraceSummary};

use super::flame::Tree;
use super::units;
use crate::body::Query;
use crate::page::marks::{Meaning, mark};
use crate::page::sentence::{count, isolated};
use crate::page::view::View;
use crate::page::{Page, Section};
use crate::problem::Problem;
use crate::serve::App;

/// Ways shown; those that differ most.
const ROWS: usize = 200;

/// What one trace has on one way.
#[derive(Debug, Clone, Copy, Default)]
struct Side {
    spans: usize,
    errors: usize,
    total: u64,
    own: u64,
}

/// A way from the root: service and operation at each step.
type Way = Vec<(String, String)>;

pub(in crate::page) fn compare(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let title = "Compare".to_owned();
    let store = match super::store(app) {
        Ok(store) => store,
        Err(none) => return Ok(Page { title, sections: vec![Section::still("sentence", none)] }),
    };
    let (Some(a), Some(b)) = (query.text("a"), query.text("b")) else {
        let header = html! {
            p class="crumb" { a href="/traces" { "Traces" } }
            h1 class="sentence" { "Two traces, compared step by step." }
            p class="facts" { "Give the ids of both; or open a trace, choose “Compare with another”, and pick the other from a list." }
        };
        return Ok(Page {
            title,
            sections: vec![Section::still("header", header), Section::still("form", form(query))],
        });
    };
    let (a, b) = (super::load(store, a)?, super::load(store, b)?);
    let ways = merge(&a, &b);
    let header = html! {
        p class="crumb" { a href="/traces" { "Traces" } }
        h1 class="sentence" { (sentence(&a, &b, &ways)) }
        div class="facts" {
            @for (letter, trace) in [("A", &a), ("B", &b)] { (one(view, letter, trace)) }
            a href={ "/traces/compare?a=" (b.id()) "&b=" (a.id()) } { "Swap" }
        }
    };
    Ok(Page {
        title,
        sections: vec![
            Section::still("header", header),
            Section::still("ways", table(&ways)),
            Section::still("form", form(query)),
        ],
    })
}

fn one(view: &View, letter: &str, trace: &Trace) -> Markup {
    let TraceSummary { root_service, root_operation, .. } = trace.summary();
    html! {
        p { strong { (letter) } " " a href={ "/traces/" (trace.id()) } { (isolated(&root_service)) ": " (isolated(&root_operation)) }
            ", " (units::duration(trace.duration_nano())) ", " (count(trace.spans().len(), "span", "spans")) ", " (view.stamp.ago(units::time(trace.start_unix_nano()))) }
    }
}

fn form(query: &Query) -> Markup {
    html! {
        @if query.text("a").is_some() && query.text("b").is_some() { h2 { "Compare other traces" } }
        form class="search" method="get" action="/traces/compare" {
            label class="grow" { "A" input type="text" class="mono" name="a" value=(query.text("a").unwrap_or("")) placeholder="id of a trace" spellcheck="false"; }
            label class="grow" { "B" input type="text" class="mono" name="b" value=(query.text("b").unwrap_or("")) placeholder="id of a trace" spellcheck="false"; }
            button type="submit" { "Compare" }
        }
    }
}

/// The ways of both traces.
fn merge(a: &Trace, b: &Trace) -> BTreeMap<Way, [Side; 2]> {
    let mut ways: BTreeMap<Way, [Side; 2]> = BTreeMap::new();
    for (side, trace) in [a, b].into_iter().enumerate() {
        let tree = Tree::of(trace);
        let mut waiting: Vec<(usize, Way)> = vec![(0, Way::new())];
        while let Some((index, way)) = waiting.pop() {
            let node = &tree.0[index];
            for (name, child) in &node.children {
                let mut below = way.clone();
                below.push(name.clone());
                waiting.push((*child, below));
            }
            if index != 0 {
                ways.entry(way).or_default()[side] =
                    Side { spans: node.spans, errors: node.errors, total: node.total, own: node.own };
            }
        }
    }
    ways
}

/// `B took 1.2 s, 800 ms longer than A; most of it is payments → charge; 2 ways are only in B.`
fn sentence(a: &Trace, b: &Trace, ways: &BTreeMap<Way, [Side; 2]>) -> String {
    let (long_a, long_b) = (a.duration_nano(), b.duration_nano());
    let mut text = match long_b.cmp(&long_a) {
        std::cmp::Ordering::Equal => format!("Both took {}", units::duration(long_a)),
        std::cmp::Ordering::Greater => {
            format!("B took {}, {} longer than A", units::duration(long_b), units::duration(long_b - long_a))
        }
        std::cmp::Ordering::Less => {
            format!("B took {}, {} less than A", units::duration(long_b), units::duration(long_a - long_b))
        }
    };
    let sign: i128 = if long_b >= long_a { 1 } else { -1 };
    let changed = ways.iter().max_by_key(|(_, [a, b])| sign * (i128::from(b.own) - i128::from(a.own)));
    if let Some(((service, operation), [a, b])) = changed.and_then(|(way, sides)| Some((way.last()?, sides)))
        && sign * (i128::from(b.own) - i128::from(a.own)) > 0
    {
        let step = units::duration(a.own.abs_diff(b.own));
        let (service, operation) = (isolated(service), isolated(operation));
        text.push_str(&format!(
            "; {service} → {operation} itself took {step} {}",
            if sign > 0 { "more" } else { "less" }
        ));
    }
    let only = |side: usize| ways.values().filter(|sides| sides[1 - side].spans == 0).count();
    for (side, letter) in [(0, "A"), (1, "B")] {
        match only(side) {
            0 => {}
            n => text.push_str(&format!("; {} only in {letter}", count(n, "step is", "steps are"))),
        }
    }
    if only(0) + only(1) == 0 {
        text.push_str("; both went the same way");
    }
    let both = || ways.values().filter(|[a, b]| a.spans > 0 && b.spans > 0);
    for (side, letter) in [(0, "A"), (1, "B")] {
        match both().filter(|sides| sides[side].errors > 0 && sides[1 - side].errors == 0).count() {
            0 => {}
            n => text.push_str(&format!("; {} only in {letter}", count(n, "step fails", "steps fail"))),
        }
    }
    text + "."
}

fn table(ways: &BTreeMap<Way, [Side; 2]>) -> Markup {
    // In the order of the tree, so that what belongs together stands together; what differs least is left out first.
    let mut kept: Vec<(&Way, &[Side; 2])> = ways.iter().collect();
    let left_out = kept.len().saturating_sub(ROWS);
    if left_out > 0 {
        kept.sort_by_key(|(way, [a, b])| (std::cmp::Reverse(a.own.abs_diff(b.own)), *way));
        kept.truncate(ROWS);
        kept.sort_by_key(|(way, _)| *way);
    }
    let most = kept.iter().map(|(_, [a, b])| a.own.abs_diff(b.own)).max().unwrap_or(1).max(1);
    html! {
        h2 { "Step by step" span class="quiet" { "by way from the root; durations are of all spans on the way together" } }
        div class="scroll" tabindex="0" role="region" aria-label="Step by step" { table class="stacks compare" {
            thead { tr {
                th { "Difference" } th { "Step" } th class="number" { "Spans A" } th class="number" { "Spans B" }
                th class="number" { "Took A" } th class="number" { "Took B" } th class="number" { "Itself" } th { "More or less of its own" }
            } }
            tbody { @for (way, [a, b]) in kept { (row(way, *a, *b, most)) } }
        } }
        @if left_out > 0 { p class="quiet" { (count(left_out, "step that differs", "steps that differ")) " least left out." } }
    }
}

fn row(way: &Way, a: Side, b: Side, most: u64) -> Markup {
    let Some((service, operation)) = way.last() else { return html! {} };
    let word = match (a.spans, b.spans) {
        (0, _) => mark(Meaning::Attention, "only in B"),
        (_, 0) => mark(Meaning::Attention, "only in A"),
        (x, y) if x != y => mark(Meaning::Info, "other count"),
        _ if (a.errors == 0) != (b.errors == 0) => {
            mark(Meaning::Bad, if b.errors > 0 { "fails in B" } else { "fails in A" })
        }
        _ => html! { span class="quiet" { "in both" } },
    };
    let took = |side: Side| if side.spans == 0 { "–".to_owned() } else { units::duration(side.total) };
    let spans = |side: Side| if side.spans == 0 { "–".to_owned() } else { units::grouped(side.spans) };
    let share = a.own.abs_diff(b.own) as f64 / most as f64 / 2.0;
    let more = b.own >= a.own;
    let one_each = if (a.spans, b.spans) == (1, 1) { "number none" } else { "number" };
    html! {
        tr {
            td { (word) }
            td class={ "name d" (way.len().saturating_sub(1).min(12)) } title=(way.iter().map(|(service, operation)| format!("{service}: {operation}")).collect::<Vec<_>>().join(" → ")) { b { (isolated(service)) } " " (isolated(operation)) }
            td class=(one_each) data-label="Spans A" { (spans(a)) }
            td class=(one_each) data-label="Spans B" { (spans(b)) }
            td class="number" data-label="Took A" { (took(a)) }
            td class="number" data-label="Took B" { (took(b)) }
            td class="number" data-label="Itself" { @if a.own == b.own { "same" } @else { (if more { "+" } else { "−" }) (units::duration(a.own.abs_diff(b.own))) } }
            td class="fold" {
                svg class="delta" height="12" aria-hidden="true" {
                    line x1="50%" x2="50%" y1="0" y2="12" {}
                    rect class=(if more { "more" } else { "less" }) x=(units::at(if more { 0.5 } else { 0.5 - share })) width=(units::at(share)) y="2" height="8" {}
                }
            }
        }
    }
}
