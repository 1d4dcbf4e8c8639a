//! All runs at a glance: a row a fault, a mark a run, on one logarithmic axis of time.

use maud::{Markup, html};

use super::super::super::score::RunScore;
use super::super::{faults, verdict, words};
use super::shapes::Shape;

/// Marks of one fault are spread over at most so many lines, so that equal times stay apart.
const LINES: usize = 3;
/// Their distance.
const LINE_HEIGHT: f64 = 9.0;

/// Decades of milliseconds.
struct Axis {
    from: i32,
    to: i32,
}

impl Axis {
    /// Wide enough for every time that is shown.
    fn over(runs: &[RunScore]) -> Self {
        let times = || runs.iter().flat_map(|run| [run.detected_ms, run.verified_ms]).flatten();
        let least = times().fold(f64::INFINITY, f64::min).clamp(1.0, 100.0);
        let most = times().fold(0.0, f64::max).max(1000.0);
        Self { from: least.log10().floor() as i32, to: most.log10().ceil() as i32 }
    }

    fn percent(&self, ms: f64) -> f64 {
        let place =
            (ms.max(f64::MIN_POSITIVE).log10() - f64::from(self.from)) / f64::from(self.to - self.from);
        place.clamp(0.0, 1.0) * 100.0
    }
}

/// The picture.
pub(super) fn picture(runs: &[RunScore]) -> Markup {
    let axis = Axis::over(runs);
    html! {
        section {
            h2 { "All runs" span.quiet { "from the injection; logarithmic" } }
            ul.legend {
                li { (Shape::Triangle.mark("attention")) "detected" }
                li { (Shape::Circle.mark("good")) "verified" }
                li { (Shape::Square.mark("bad")) "not as expected" }
            }
            figure.overview aria-label="Detected and verified times of all runs by fault" {
                div.name {}
                div.axis { (scale(&axis)) }
                @for group in faults::by_fault(runs) {
                    @let lines = group.runs.len().min(LINES);
                    @let height = LINE_HEIGHT * lines as f64 + 8.0;
                    div.name { (group.fault) " " span.quiet { (group.runs.len()) } }
                    div.plot {
                        svg width="100%" height=(height) role="img" aria-label=(group.fault) {
                            @for decade in axis.from..=axis.to {
                                @let x = format!("{:.2}%", axis.percent(10f64.powi(decade)));
                                line.grid x1=(x) x2=(x) y1="0" y2=(height) {}
                            }
                            @for (index, run) in group.runs.iter().enumerate() {
                                (one(run, &axis, 4.0 + LINE_HEIGHT * ((index % lines) as f64 + 0.5)))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn scale(axis: &Axis) -> Markup {
    html! {
        @for decade in axis.from..=axis.to {
            @let ms = 10f64.powi(decade);
            span style=(format!("left:{:.2}%", axis.percent(ms))) { (round(ms)) }
        }
    }
}

/// A decade in its unit.
fn round(ms: f64) -> String {
    if ms < 1e3 { format!("{ms:.0} ms") } else { format!("{:.0} s", ms / 1e3) }
}

/// A run: from detected to verified; where it was not verified, to the right end.
fn one(run: &RunScore, axis: &Axis, y: f64) -> Markup {
    let unexpected = verdict::of_run(run);
    let detected = run.detected_ms.map(|ms| axis.percent(ms));
    let end = run.verified_ms.map_or(100.0, |ms| axis.percent(ms));
    let (shape, meaning) =
        if unexpected.is_empty() { (Shape::Circle, "good") } else { (Shape::Square, "bad") };
    let title = match unexpected.first() {
        None => format!(
            "run {}, {}: detected {}, verified {}",
            run.number,
            run.row,
            words::time(run.detected_ms),
            words::time(run.verified_ms)
        ),
        Some(unexpected) => unexpected.to_string(),
    };
    html! {
        a href=(format!("#run-{}", run.number)) {
            @if let Some(from) = detected {
                line.span x1=(format!("{from:.2}%")) x2=(format!("{end:.2}%")) y1=(y) y2=(y) {}
                (Shape::Triangle.at("attention small", from, y, &title))
            }
            (shape.at(&format!("{meaning} small"), end, y, &title))
        }
    }
}
