//! Series over time as a picture, drawn on the server, with the same values for a script that draws them.

use std::fmt::Write;

use maud::{Markup, html};
use metrics::Exemplar;
use serde_json::{Value as Json, json};

use super::found::Line;
use super::scale::{Axis, short};
use super::{Window, time};
use crate::page::time::{absolute, clock_face};

const HEIGHT: f64 = 240.0;

/// Exemplars shown; the newest.
const MARKS: usize = 100;

/// Series that have a colour of their own.
pub(super) const COLOURS: usize = 6;

/// The picture of these lines; the first of them are coloured, and drawn last so that nothing hides them.
pub(super) fn draw(lines: &[Line], exemplars: &[Exemplar], window: &Window) -> Markup {
    let axis = Axis::over(lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value)));
    let marks: Vec<(&Exemplar, &str)> = marks(exemplars);
    let long = window.to_ms - window.from_ms > 86_400_000;
    let end = |at_ms: i64| match long {
        true => absolute(time(at_ms)),
        false => clock_face(at_ms.saturating_mul(1000), true),
    };
    html! {
        figure class="series-chart" data-plot=(data(lines, &marks, window)) {
            div class="plot" {
                svg class="scale" height=(HEIGHT) aria-hidden="true" {
                    @for tick in &axis.ticks { text x="100%" y=(format!("{:.1}", y(&axis, *tick) + 4.0)) { (short(*tick)) } }
                }
                div class="drawn" {
                    svg class="lines" height=(HEIGHT) viewBox=(format!("0 0 1000 {HEIGHT}")) preserveAspectRatio="none" role="img" aria-label={ (lines.len()) " series over time" } {
                        @for tick in &axis.ticks { @let y = format!("{:.1}", y(&axis, *tick)); line class="grid" x1="0" x2="1000" y1=(y) y2=(y) {} }
                        @for (at, line) in lines.iter().enumerate().rev() {
                            path class={ "line c" (colour(at)) } d=(path(line, &axis, window)) {}
                        }
                    }
                    svg class="marks" height=(HEIGHT) role="group" aria-label={ (marks.len()) " exemplars" } {
                        @for (exemplar, trace) in &marks {
                            @let title = format!("{} at {}, trace {}", short(exemplar.value), clock_face(exemplar.at_ms.saturating_mul(1000), true), trace.get(..8).unwrap_or(trace));
                            a href={ "/traces/" (crate::body::encode(trace)) } class="exemplar" aria-label=(title) {
                                title { (title) }
                                svg x=(format!("{:.2}%", across(exemplar.at_ms, window) * 100.0)) y=(format!("{:.1}", y(&axis, exemplar.value))) { path d="M0-6L6 0L0 6L-6 0z" {} }
                            }
                        }
                    }
                }
            }
            div class="ends quiet" aria-hidden="true" { span { (end(window.from_ms)) } span { (end(window.to_ms)) " UTC" } }
        }
    }
}

/// 1 to 6 for those that have a colour, 0 for the others.
pub(super) fn colour(at: usize) -> usize {
    if at < COLOURS { at + 1 } else { 0 }
}

/// Exemplars with the trace they lead to.
fn marks(exemplars: &[Exemplar]) -> Vec<(&Exemplar, &str)> {
    let trace = |exemplar: &'_ Exemplar| -> Option<usize> {
        ["trace_id", "traceID", "traceId"].iter().position(|name| !exemplar.labels.get(name).is_empty())
    };
    let named = exemplars.iter().rev().filter_map(|exemplar| {
        let name = ["trace_id", "traceID", "traceId"][trace(exemplar)?];
        Some((exemplar, exemplar.labels.get(name)))
    });
    named.take(MARKS).collect()
}

fn y(axis: &Axis, value: f64) -> f64 {
    // Half a line's width above and below stays inside.
    HEIGHT - 2.0 - axis.share(value) * (HEIGHT - 4.0)
}

fn across(at_ms: i64, window: &Window) -> f64 {
    let length = (window.to_ms - window.from_ms).max(1) as f64;
    ((at_ms - window.from_ms) as f64 / length).clamp(0.0, 1.0)
}

/// A line that is broken where there is no value; a value alone is a dot.
fn path(line: &Line, axis: &Axis, window: &Window) -> String {
    let mut text = String::new();
    let mut before: Option<i64> = None;
    for (at_ms, value) in &line.points {
        if !value.is_finite() {
            before = None;
            continue;
        }
        let joined = before.is_some_and(|before| at_ms - before <= window.step_ms);
        let (x, y) = (across(*at_ms, window) * 1000.0, y(axis, *value));
        // Writing to a string does not fail. A line of no length has round ends, which makes a dot.
        let _ = if joined { write!(text, "L{x:.1} {y:.1}") } else { write!(text, "M{x:.1} {y:.1}h0") };
        before = Some(*at_ms);
    }
    text
}

/// The values for the script: times in seconds, a column for each line with a hole where there is no value.
fn data(lines: &[Line], marks: &[(&Exemplar, &str)], window: &Window) -> Json {
    let steps = (window.to_ms - window.from_ms) / window.step_ms + 1;
    let times: Vec<i64> = (0..steps).map(|at| window.from_ms + at * window.step_ms).collect();
    let column = |line: &Line| {
        let mut column = vec![Json::Null; times.len()];
        for (at_ms, value) in line.points.iter().filter(|(_, value)| value.is_finite()) {
            let at = usize::try_from((at_ms - window.from_ms) / window.step_ms).ok();
            if let Some(cell) = at.and_then(|at| column.get_mut(at)) {
                *cell = json!(value);
            }
        }
        column
    };
    let seconds = |at_ms: i64| at_ms as f64 / 1000.0;
    json!({
        "times": times.iter().map(|at_ms| seconds(*at_ms)).collect::<Vec<f64>>(),
        "columns": lines.iter().map(column).collect::<Vec<_>>(),
        "names": lines.iter().map(|line| line.name.as_str()).collect::<Vec<_>>(),
        "marks": marks.iter().map(|(exemplar, trace)| json!([seconds(exemplar.at_ms), exemplar.value, trace])).collect::<Vec<_>>(),
    })
}
