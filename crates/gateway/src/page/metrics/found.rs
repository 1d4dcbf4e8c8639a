//! What an expression came to: lines for the picture, rows for the table.

use maud::{Markup, html};
use metrics::Exemplar;
use promql::{Labels, METRIC_NAME, Series, Value};

use super::scale::short;
use super::{Window, chart, seconds, time};
use crate::page::sentence::count;
use crate::page::view::View;
use crate::prometheus::shown;

/// Series drawn; what is beyond is listed only.
const DRAWN: usize = 50;

/// Series listed.
const LISTED: usize = 200;

/// What an expression came to.
pub(super) struct Found {
    /// With numbers, those whose last value is greatest first.
    lines: Vec<Line>,
    /// Series that have histograms, which are no lines.
    histograms: Vec<(Labels, String)>,
    exemplars: Vec<Exemplar>,
    notes: Vec<String>,
}

/// A series of numbers.
pub(super) struct Line {
    labels: Labels,
    pub(super) name: String,
    /// Milliseconds since 1970, and the value then.
    pub(super) points: Vec<(i64, f64)>,
}

impl Line {
    fn last(&self) -> f64 {
        self.points.last().map_or(f64::NAN, |(_, value)| *value)
    }

    fn least(&self) -> f64 {
        self.points.iter().map(|(_, value)| *value).fold(f64::NAN, f64::min)
    }

    fn greatest(&self) -> f64 {
        self.points.iter().map(|(_, value)| *value).fold(f64::NAN, f64::max)
    }
}

impl Found {
    pub(super) fn new(series: Vec<Series>, mut exemplars: Vec<Exemplar>, notes: Vec<String>) -> Self {
        let (mut lines, mut histograms) = (Vec::new(), Vec::new());
        for Series { labels, samples } in series {
            let mut points = Vec::with_capacity(samples.len());
            let mut histogram = None;
            for sample in samples {
                match sample.value {
                    Value::Float(value) => points.push((sample.at_ms, value)),
                    Value::Histogram(value) => histogram = Some(value),
                }
            }
            if let Some(histogram) = histogram {
                histograms.push((labels.clone(), histogram.to_string()));
            }
            if !points.is_empty() {
                lines.push(Line { name: format!("{labels:?}"), labels, points });
            }
        }
        let rank = |line: &Line| if line.last().is_nan() { f64::NEG_INFINITY } else { line.last() };
        lines.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
        exemplars.sort_by_key(|exemplar| exemplar.at_ms);
        exemplars.dedup();
        Self { lines, histograms, exemplars, notes }
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.histograms.is_empty()
    }

    /// `3 series in the last hour.`
    pub(super) fn sentence(&self, words: &str) -> String {
        match self.lines.len() + self.histograms.len() {
            0 => format!("No series has a value {words}."),
            n => format!(
                "{} {} {words}.",
                count(n, "series", "series"),
                if n == 1 { "has values" } else { "have values" }
            ),
        }
    }

    pub(super) fn show(&self, view: &View, window: &Window) -> Markup {
        let drawn = &self.lines[..self.lines.len().min(DRAWN)];
        html! {
            @for note in &self.notes {
                div class="notice info" { span { (note) } }
            }
            @if self.is_empty() {
                p class="empty" { "Nothing that the expression asks for was measured then. Look further back, or leave out a label." }
            }
            @if !drawn.is_empty() {
                (chart::draw(drawn, &self.exemplars, window))
                p class="quiet legend" {
                    "A value every " (seconds(window.step_ms)) "; times are UTC."
                    @if drawn.len() > chart::COLOURS { " The first " (chart::COLOURS) " have colours." }
                    @if self.lines.len() > drawn.len() { " Drawn are the " (drawn.len()) " whose last value is greatest." }
                    @if !self.exemplars.is_empty() { " A diamond leads to a trace." }
                }
                (self.table(view))
            }
            @if !self.histograms.is_empty() { (histograms(&self.histograms)) }
        }
    }

    /// A row for each line; labels that all have with the same value stand above it once.
    fn table(&self, view: &View) -> Markup {
        let listed = &self.lines[..self.lines.len().min(LISTED)];
        let first = &listed[0].labels;
        let same = |name: &str, value: &str| listed.iter().all(|line| line.labels.get(name) == value);
        let shared: Vec<(&str, &str)> = match listed.len() {
            1 => Vec::new(),
            _ => first.iter().filter(|(name, value)| same(name, value)).collect(),
        };
        let at = listed.iter().filter_map(|line| line.points.last()).map(|(at_ms, _)| *at_ms).max();
        html! {
            h2 { "Series"
                span class="quiet" {
                    @if self.lines.len() > listed.len() { "the first " (listed.len()) " of " (self.lines.len()) }
                    @if !shared.is_empty() {
                        @if self.lines.len() > listed.len() { "; " }
                        "all with " code { @for (at, (name, value)) in shared.iter().enumerate() { @if at > 0 { ", " } (name) "=" (format!("{value:?}")) } }
                    }
                }
            }
            div class="scroll" tabindex="0" role="region" aria-label="Series" { table class="stacks series" {
                thead { tr {
                    th scope="col" { "Labels" }
                    th scope="col" class="number" title="the last value, or the one at the cursor" { "Value" }
                    th scope="col" class="number" { "Least" }
                    th scope="col" class="number" { "Greatest" }
                    th scope="col" class="fold" { "Last" }
                } }
                tbody {
                    @for (index, line) in listed.iter().enumerate() {
                        tr data-line=[(index < DRAWN).then_some(index)] {
                            td class="labels mono" {
                                @if index < DRAWN { span class={ "swatch s" (chart::colour(index)) } {} }
                                (labels(&line.labels, &shared))
                            }
                            td class="number value" data-label="Value" title=(shown(line.last())) { (short(line.last())) }
                            td class="number" data-label="Least" { (short(line.least())) }
                            td class="number" data-label="Greatest" { (short(line.greatest())) }
                            td class="fold" {
                                @if let Some((at_ms, _)) = line.points.last() {
                                    @if at == Some(*at_ms) { span class="quiet" { "at the end" } } @else { (view.stamp.ago(time(*at_ms))) }
                                }
                            }
                        }
                    }
                }
            } }
        }
    }
}

fn labels(labels: &Labels, shared: &[(&str, &str)]) -> Markup {
    let own: Vec<(&str, &str)> = labels
        .iter()
        .filter(|(name, _)| *name != METRIC_NAME && !shared.iter().any(|(known, _)| known == name))
        .collect();
    let name = labels.get(METRIC_NAME);
    let named = !name.is_empty() && !shared.iter().any(|(known, _)| *known == METRIC_NAME);
    html! {
        @if named { b { (name) } }
        @for (at, (name, value)) in own.iter().enumerate() {
            @if at > 0 || named { " " }
            span class="label" { span class="quiet" { (name) "=" } (value) }
        }
        @if !named && own.is_empty() { @if labels.is_empty() { span class="quiet" { "no labels" } } @else { b { (labels.get(METRIC_NAME)) } } }
    }
}

fn histograms(histograms: &[(Labels, String)]) -> Markup {
    html! {
        h2 { "Histograms" span class="quiet" { "the last of each; " code { "histogram_quantile(0.95, …)" } " makes lines of them" } }
        div class="scroll" tabindex="0" role="region" aria-label="Histograms" { table class="series" {
            thead { tr { th scope="col" { "Labels" } th scope="col" { "Histogram" } } }
            tbody {
                @for (of, text) in histograms.iter().take(LISTED) {
                    tr { td class="labels mono" { (labels(of, &[])) } td class="wide mono" { (text) } }
                }
            }
        } }
    }
}
