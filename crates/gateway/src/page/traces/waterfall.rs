//! The rows of a trace over its time, a slice of them at once.
//!
//! A trace may have more rows than a browser can lay out: [`ROWS`] are sent, the script fetches others as they come into
//! sight, and without it links lead to the next. Bars lie on percentages of the width.

use std::collections::HashMap;
use std::ops::Range;

use maud::{Markup, html};
use telemetry::{Oddity, Section as PathSection, Span, SpanId, StatusCode, Trace};

use super::visible::{Folding, Visible};
use super::{minimap, units};
use crate::body::Query;
use crate::page::marks::{Meaning, mark};
use crate::page::sentence::{count, isolated};

/// Rows sent at once: about three screens.
pub(super) const ROWS: usize = 120;

/// Levels that are indented further than those above; deeper ones say their number.
const INDENTED: usize = 16;

/// Stretches of the critical path drawn on one bar; nearer than this share of the width they are drawn as one.
const NEAR: f64 = 0.002;

/// What a waterfall is drawn from.
pub(super) struct Waterfall<'a> {
    pub(super) trace: &'a Trace,
    pub(super) colours: &'a Colours,
    pub(super) path: &'a [PathSection],
    pub(super) folding: &'a Folding,
    pub(super) visible: &'a Visible,
    pub(super) chosen: Option<SpanId>,
    /// The row whose time the bars lie in; the whole trace's where none is given.
    pub(super) zoom: Option<usize>,
    pub(super) query: &'a Query,
}

/// The colour of each service: six at most, the others are grey.
#[derive(Debug)]
pub(super) struct Colours(HashMap<String, usize>);

impl Colours {
    /// The services with the most spans get one.
    pub(super) fn of(services: &[telemetry::ServiceShare]) -> Self {
        let mut ranked: Vec<_> = services.iter().collect();
        ranked.sort_by_key(|share| (std::cmp::Reverse(share.spans), &share.service));
        let named = ranked.into_iter().take(6).enumerate();
        Self(named.map(|(place, share)| (share.service.clone(), place + 1)).collect())
    }

    /// The CSS class of a service.
    pub(super) fn class(&self, service: &str) -> String {
        format!("s{}", self.0.get(service).copied().unwrap_or(0))
    }
}

impl Waterfall<'_> {
    /// Which of the visible rows are sent: from the one asked for, or around the chosen span.
    pub(super) fn slice(&self, asked: Option<usize>) -> Range<usize> {
        let rows = &self.visible.rows;
        let chosen =
            self.chosen.and_then(|id| rows.iter().position(|row| self.trace.spans()[*row].span_id == id));
        let start = asked.or(chosen.map(|place| place.saturating_sub(ROWS / 4))).unwrap_or(0);
        // A chosen span within the first slice leaves it where it is.
        let start = if asked.is_none() && chosen.is_some_and(|place| place < ROWS) { 0 } else { start };
        let start = start.min(rows.len().saturating_sub(1));
        start..(start + ROWS).min(rows.len())
    }

    pub(super) fn draw(&self, slice: Range<usize>) -> Markup {
        let on_path = self.by_row();
        let path_rows = on_path.keys().copied().collect();
        let total = self.visible.rows.len();
        html! {
            (self.tools())
            @if total == 0 {
                p class="empty" { "No span of this trace has that text in its name, service, status or attributes." }
            } @else {
                (minimap::draw(self.trace, &self.visible.rows, &slice, &path_rows, self.query))
                (self.axis())
                ol class="spans" id="rows" data-total=(total) data-first=(slice.start) start=(slice.start + 1) {
                    @for place in slice.clone() { (self.row(self.visible.rows[place], &on_path)) }
                }
                (self.paging(&slice))
            }
        }
    }

    /// The critical path's stretches by row.
    fn by_row(&self) -> HashMap<usize, Vec<&PathSection>> {
        let mut by_row: HashMap<usize, Vec<&PathSection>> = HashMap::new();
        for section in self.path {
            by_row.entry(section.row).or_default().push(section);
        }
        by_row
    }

    fn address(&self, changes: &[(&str, &str)]) -> String {
        format!("?{}", self.query.changed(changes))
    }

    fn tools(&self) -> Markup {
        let query = self.query;
        let text = query.text("q").unwrap_or("");
        let levels = query.text("levels");
        html! {
            div class="tools" {
                form method="get" role="search" data-part="waterfall" {
                    @if let Some(levels) = levels { input type="hidden" name="levels" value=(levels); }
                    label { span class="hidden-text" { "Search within this trace" } input type="search" name="q" value=(text) placeholder="Search within this trace" spellcheck="false" autocomplete="off"; }
                    button type="submit" { "Search" }
                    @if let Some(found) = &self.visible.found {
                        span class="quiet" { (count(found.len(), "span has", "spans have")) " it" }
                        a href=(self.address(&[("q", ""), ("row", "")])) data-part="waterfall" { "Show all" }
                    }
                }
                @if self.visible.found.is_none() && self.trace.spans().len() > 1 {
                    p class="windows" { "Levels "
                        @for n in ["1", "2", "3"] {
                            a href=(self.address(&[("levels", n), ("flip", ""), ("row", "")])) data-part="waterfall" aria-current=[(levels == Some(n)).then_some("true")] { (n) } " "
                        }
                        a href=(self.address(&[("levels", ""), ("flip", ""), ("row", "")])) data-part="waterfall" aria-current=[levels.is_none().then_some("true")] { "all" }
                    }
                }
            }
        }
    }

    fn axis(&self) -> Markup {
        const PARTS: u64 = 4;
        let (begin, whole) = self.time();
        let after = begin - self.trace.start_unix_nano();
        html! {
            @if let Some(row) = self.zoom {
                p class="facts" { span { "The bars show the time of " (self.trace.spans()[row].name) " only." } a href=(self.address(&[("zoom", "")])) data-part="waterfall" { "Show the whole time" } }
            }
            div class="span-axis" aria-hidden="true" {
                span { "Service and operation" }
                svg height="20" {
                    @for part in 0..=PARTS {
                        @let anchor = match part { 0 => "start", PARTS => "end", _ => "middle" };
                        @let nano = after + (u128::from(whole) * u128::from(part) / u128::from(PARTS)) as u64;
                        text x=(units::at(part as f64 / PARTS as f64)) y="14" text-anchor=(anchor) { @if nano == 0 { "0" } @else { (units::duration(nano)) } }
                    }
                }
                span class="number" { "Duration" }
            }
        }
    }

    fn row(&self, row: usize, on_path: &HashMap<usize, Vec<&PathSection>>) -> Markup {
        let (span, place) = (&self.trace.spans()[row], self.trace.rows()[row]);
        let path = on_path.get(&row).map_or(&[][..], Vec::as_slice);
        let id = span.span_id.to_string();
        let failed = span.status == StatusCode::Error;
        let found = self.visible.found.as_ref().is_some_and(|found| found.contains(&row));
        let chosen = self.chosen == Some(span.span_id);
        let mut class = format!("d{}", place.depth.min(INDENTED));
        for (is, word) in [(!path.is_empty(), " path"), (found, " found"), (chosen, " chosen")] {
            class.push_str(if is { word } else { "" });
        }
        html! {
            li class=(class) data-key=(id) {
                span class="step" {
                    (self.toggle(row))
                    a href=(self.address(&[("span", &id)])) data-part="waterfall span" aria-current=[chosen.then_some("true")] {
                        i class={ "swatch " (self.colours.class(span.service())) } {}
                        b { (isolated(span.service())) } " " (isolated(&span.name))
                    }
                    @if place.depth > INDENTED { " " span class="quiet" { "level " (place.depth + 1) } }
                    @if failed { " " (mark(Meaning::Bad, "error")) }
                    @if let Some(oddity) = place.oddity { " " span title=(oddity.sentence()) { (mark(Meaning::Attention, oddity_word(oddity))) } }
                }
                (self.bar(span, path))
                span class="number" { (units::duration(span.duration_nano)) }
            }
        }
    }

    fn toggle(&self, row: usize) -> Markup {
        let below = self.trace.rows()[row].subtree - 1;
        if below == 0 || self.visible.found.is_some() {
            return html! { i class="leaf" {} };
        }
        let id = self.trace.spans()[row].span_id;
        let folded = self.folding.is_folded(self.trace, row);
        html! {
            a class="fold-toggle" href=(self.address(&[("flip", &self.folding.flipped(id))])) data-part="waterfall"
                aria-expanded=(!folded) aria-label={ (count(below, "span", "spans")) " below" } {
                svg viewBox="0 0 10 10" aria-hidden="true" { path d=(if folded { "M3 1l4 4-4 4" } else { "M1 3l4 4 4-4" }) {} }
                @if folded { (units::grouped(below)) }
            }
        }
    }

    fn bar(&self, span: &Span, path: &[&PathSection]) -> Markup {
        let (begin, whole) = self.time();
        let share = |nano: u64| (nano.saturating_sub(begin) as f64 / whole as f64).min(1.0);
        let (start, end) = (share(span.start_unix_nano), share(span.end_unix_nano()));
        // What lies wholly before or after the time that is shown has no bar.
        let outside = span.end_unix_nano() < begin || span.start_unix_nano > begin + whole;
        let path = path.iter().map(|section| (share(section.start_unix_nano), share(section.end_unix_nano)));
        html! {
            svg class="bar-row" height="16" aria-hidden="true" {
                @if !outside {
                    rect class=(self.colours.class(span.service())) x=(units::at(start.min(0.998))) width=(units::at((end - start).max(0.002))) y="3" height="8" {}
                    @for (from, to) in merged(path.filter(|(from, to)| to > from)) {
                        rect class="crit" x=(units::at(from.min(0.998))) width=(units::at((to - from).max(0.001))) y="12" height="3" {}
                    }
                }
            }
        }
    }

    /// Where the time that is shown begins, and how long it is; never 0.
    fn time(&self) -> (u64, u64) {
        match self.zoom.map(|row| &self.trace.spans()[row]) {
            Some(span) => (span.start_unix_nano, span.duration_nano.max(1)),
            None => (self.trace.start_unix_nano(), self.trace.duration_nano().max(1)),
        }
    }

    fn paging(&self, slice: &Range<usize>) -> Markup {
        let total = self.visible.rows.len();
        html! {
            nav class="paging" aria-label="Rows" {
                span class="quiet" { "Rows " (units::grouped(slice.start + 1)) "–" (units::grouped(slice.end)) " of " (units::grouped(total)) }
                @if slice.start > 0 {
                    a href=(self.address(&[("row", &slice.start.saturating_sub(ROWS).to_string())])) data-part="waterfall" { "Previous" }
                }
                @if slice.end < total {
                    a href=(self.address(&[("row", &slice.end.to_string())])) data-part="waterfall" { "Next" }
                    a href=(self.address(&[("row", &(total - ROWS.min(total)).to_string())])) data-part="waterfall" { "Last" }
                }
            }
        }
    }
}

fn oddity_word(oddity: Oddity) -> &'static str {
    match oddity {
        Oddity::MissingParent => "parent missing",
        Oddity::Circle => "circle",
        Oddity::SharedId => "id shared",
        Oddity::OutsideParent => "outside parent",
    }
}

/// Stretches in order, those too near to be told apart as one.
fn merged(stretches: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut merged: Vec<(f64, f64)> = Vec::new();
    for (from, to) in stretches {
        match merged.last_mut() {
            Some(last) if from - last.1 < NEAR => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_that_cannot_be_told_apart_are_drawn_as_one() {
        let stretches = [(0.0, 0.1), (0.101, 0.2), (0.3, 0.4)];
        assert_eq!(merged(stretches.into_iter()), [(0.0, 0.2), (0.3, 0.4)]);
    }
}
