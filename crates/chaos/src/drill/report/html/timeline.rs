//! The time line of each run, the runs of a fault on one axis in seconds.
//!
//! A run is one line of marks that opens into its picture: a lane a moment, with its word and its time.

use maud::{Markup, html};

use super::super::super::score::RunScore;
use super::super::faults::FaultRuns;
use super::super::moments::{self, MOMENTS};
use super::super::{story, verdict, words};
use super::shapes::Shape;

/// The mark of each moment, in the order of [`MOMENTS`].
const MARKS: [(Shape, &str); 7] = [
    (Shape::Diamond, "disturbed"),
    (Shape::Ring, "disturbed"),
    (Shape::Triangle, "attention"),
    (Shape::Hexagon, "info"),
    (Shape::Chevron, "accent"),
    (Shape::Half, "good"),
    (Shape::Circle, "good"),
];

/// The order in which they are drawn over each other: the proof of the effect often comes right after the
/// injection and must not hide it.
const DRAWN: [usize; 7] = [1, 0, 2, 3, 4, 5, 6];

/// The height of a lane.
const LANE: f64 = 20.0;
/// The height of the line of marks.
const TRACK: f64 = 20.0;
/// More ticks than these would run into each other on a narrow page.
const TICKS_MAX: f64 = 5.0;

/// A label of a narrow page's axis takes about so many percent of it.
const LABEL_WIDTH: f64 = 12.0;

/// A linear axis from 0, ending on a tick.
struct Axis {
    end_ms: f64,
    step_ms: f64,
}

impl Axis {
    /// The shortest that holds `most_ms` with steps of 1, 2 or 5.
    fn up_to(most_ms: f64) -> Self {
        let most = most_ms.max(10.0);
        let decade = 10f64.powf((most / TICKS_MAX).log10().floor());
        let step_ms = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|factor| factor * decade)
            .find(|step| most / step <= TICKS_MAX)
            .unwrap_or(10.0 * decade);
        Self { end_ms: (most / step_ms).ceil() * step_ms, step_ms }
    }

    fn percent(&self, ms: f64) -> f64 {
        (ms / self.end_ms * 100.0).clamp(0.0, 100.0)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> + '_ {
        (0..=(self.end_ms / self.step_ms).round() as u32).map(|index| f64::from(index) * self.step_ms)
    }

    /// A tick in seconds, with as many places as the step has; on an axis shorter than a second in ms.
    fn label(&self, ms: f64) -> String {
        if ms > 0.0 && self.end_ms < 1e3 {
            return format!("{ms:.0} ms");
        }
        let places = match self.step_ms {
            _ if ms == 0.0 => 0,
            step if step >= 1e3 => 0,
            _ => 1,
        };
        format!("{:.places$} s", ms / 1e3)
    }
}

/// A bound of the specification that a fault's runs are judged by.
struct Limit {
    ms: f64,
    words: &'static str,
    short: &'static str,
}

fn limit(fault: &str) -> Limit {
    match fault {
        "pod_kill" | "pod_deletion" => Limit { ms: 1e3, words: "serving again < 1 s", short: "< 1 s" },
        "pause" => Limit { ms: 5e3, words: "verified ≤ 5 s", short: "≤ 5 s" },
        _ => Limit { ms: 60e3, words: "verified ≤ 60 s", short: "≤ 60 s" },
    }
}

/// What the marks mean.
pub(super) fn legend() -> Markup {
    html! {
        ul.legend {
            @for (moment, (shape, meaning)) in MOMENTS.iter().zip(MARKS) {
                li title=(moment.definition) { (shape.mark(meaning)) (moment.word) }
            }
            li { (Shape::Square.mark("bad")) "not as expected" }
        }
    }
}

/// The runs of one fault.
pub(super) fn group(group: &FaultRuns<'_>) -> Markup {
    let axis = Axis::up_to(group.runs.iter().map(|run| moments::end(run)).fold(0.0, f64::max));
    let limit = limit(group.fault);
    let shown = limit.ms <= axis.end_ms;
    let verified = group.quantiles(|run| run.verified_ms);
    html! {
        section.group {
            h3 {
                (group.fault)
                span.quiet {
                    (words::counted(group.runs.len() as u64, "run"))
                    @if verified.p50.is_some() {
                        ", verified p50 " (words::time(verified.p50)) ", p95 " (words::time(verified.p95))
                    }
                    ", judged by: " (limit.words)
                }
            }
            div.run.scale {
                span {}
                div.axis {
                    @for ms in axis.ticks().filter(|ms| !shown || (axis.percent(*ms) - axis.percent(limit.ms)).abs() > LABEL_WIDTH) {
                        span style=(format!("left:{:.2}%", axis.percent(ms))) { (axis.label(ms)) }
                    }
                    @if shown {
                        span.bound title=(limit.words) style=(format!("left:{:.2}%", axis.percent(limit.ms))) { (limit.short) }
                    }
                }
                span {}
            }
            @for run in &group.runs { (one(run, &axis, shown.then_some(&limit))) }
        }
    }
}

/// One run: its line, and what it opens into.
fn one(run: &RunScore, axis: &Axis, limit: Option<&Limit>) -> Markup {
    let unexpected = verdict::of_run(run);
    let (shape, meaning) =
        if unexpected.is_empty() { (Shape::Circle, "good") } else { (Shape::Square, "bad") };
    html! {
        details id=(format!("run-{}", run.number)) open[!unexpected.is_empty()] {
            summary.run {
                span.name { span.quiet { (run.number) } " " (run.target.split_once('/').map_or(run.target.as_str(), |(_, name)| name)) }
                span.plot { (track(run, axis, limit)) }
                span class=(format!("mark {meaning}")) { (shape.mark(meaning)) (words::outcome(run.outcome)) }
            }
            div.opened {
                p { (opening(run)) "." }
                @for unexpected in &unexpected { p.bad { (Shape::Square.mark("bad")) (unexpected.what) } }
                (lanes(run, axis, limit))
                (facts(run))
            }
        }
    }
}

/// The line of marks.
fn track(run: &RunScore, axis: &Axis, limit: Option<&Limit>) -> Markup {
    let middle = TRACK / 2.0;
    html! {
        svg width="100%" height=(TRACK) role="img" aria-label=(story(run)) {
            (grid(axis, limit, TRACK))
            (phases(run, axis, middle))
            @for index in DRAWN {
                @let (moment, (shape, meaning)) = (&MOMENTS[index], MARKS[index]);
                @if let Some(ms) = (moment.at)(run) {
                    (shape.at(meaning, axis.percent(ms), middle, &format!("{} {}", moment.word, when(ms))))
                }
            }
        }
    }
}

/// What the loop was about between the marks: nothing yet, deciding, repairing.
fn phases(run: &RunScore, axis: &Axis, y: f64) -> Markup {
    let end = run.verified_ms.unwrap_or(axis.end_ms);
    let detected = run.detected_ms.unwrap_or(end);
    let action = run.first_action_ms.unwrap_or(detected).max(detected);
    let phase = |class: &str, from: f64, to: f64| {
        let (x1, x2) = (axis.percent(from), axis.percent(to));
        html! {
            @if x2 > x1 {
                line class=(format!("phase {class}")) x1=(format!("{x1:.2}%")) x2=(format!("{x2:.2}%")) y1=(y) y2=(y) {}
            }
        }
    };
    let last = if run.verified_ms.is_some() { "repairing" } else { "open" };
    html! {
        (phase(if run.detected_ms.is_some() { "unnoticed" } else { "unnoticed open" }, 0.0, detected))
        (phase("deciding", detected, action))
        (phase(last, action, end))
    }
}

/// The picture of one run: a lane a moment.
fn lanes(run: &RunScore, axis: &Axis, limit: Option<&Limit>) -> Markup {
    html! {
        figure.lanes {
            @for (moment, (shape, meaning)) in MOMENTS.iter().zip(MARKS) {
                @let at = (moment.at)(run);
                div.name title=(moment.definition) { (moment.word) }
                div.plot {
                    svg width="100%" height=(LANE) role="img" aria-label=(format!("{} {}", moment.word, at.map_or("not reached".to_owned(), when))) {
                        (grid(axis, limit, LANE))
                        @if let Some(ms) = at { (lane(axis.percent(ms), shape, meaning, &format!("{} {}", moment.word, when(ms)))) }
                    }
                }
                div.value { (super::time(at)) }
            }
            div.name {}
            div.axis {
                @for ms in axis.ticks() {
                    span style=(format!("left:{:.2}%", axis.percent(ms))) { (axis.label(ms)) }
                }
            }
            div.value {}
        }
    }
}

fn lane(x: f64, shape: Shape, meaning: &str, title: &str) -> Markup {
    let y = LANE / 2.0;
    html! {
        line.lead x1="0" x2=(format!("{x:.2}%")) y1=(y) y2=(y) {}
        (shape.at(meaning, x, y, title))
    }
}

fn grid(axis: &Axis, limit: Option<&Limit>, height: f64) -> Markup {
    html! {
        @for ms in axis.ticks() {
            @let x = format!("{:.2}%", axis.percent(ms));
            line.grid x1=(x) x2=(x) y1="0" y2=(height) {}
        }
        @if let Some(limit) = limit {
            @let x = format!("{:.2}%", axis.percent(limit.ms));
            line.limit x1=(x) x2=(x) y1="0" y2=(height) { title { (limit.words) } }
        }
    }
}

/// What is to be known of a run beside its times.
fn facts(run: &RunScore) -> Markup {
    let rank =
        run.cause_rank.map_or_else(|| "not among those named".to_owned(), |rank| format!("ranked {rank}"));
    html! {
        ul.facts {
            li { "row " (run.row) }
            li { "true cause " (run.true_cause.class) " on " (run.true_cause.resource) @if run.diagnosed_ms.is_some() { ", " (rank) } }
            @if let Some(confidence) = run.confidence {
                li {
                    "first cause stated with " (format!("{confidence:.1} %"))
                    @if let Some(pattern) = &run.pattern { ", by " code { (pattern) } }
                }
            }
            @if let Some(took) = run.diagnosis_took_ms { li { "cause computed in " (words::duration(took)) } }
            li { (words::verdict(run)) ", expected " (words::outcome(run.expected)) }
            li { @if run.rolled_back { "rolled back" } @else { "nothing rolled back" } }
            @if let Some(spent) = run.error_budget_spent { li { (format!("{spent:.1}")) " times the error budget of its time" } }
            @if run.left_behind.is_empty() { li { "nothing left behind" } }
        }
    }
}

/// A time after the injection.
fn when(ms: f64) -> String {
    if ms == 0.0 { "at 0 s".to_owned() } else { format!("after {}", words::duration(ms)) }
}

/// The story of a run with a capital in front, except where it begins with a name: names keep their spelling.
fn opening(run: &RunScore) -> String {
    let text = story(run);
    if text.starts_with(run.target.split_once('/').map_or(run.target.as_str(), |(_, name)| name)) {
        return text;
    }
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + chars.as_str())
}
