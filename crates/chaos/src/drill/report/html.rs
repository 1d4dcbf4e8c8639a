//! The report as one HTML page: no script, nothing to fetch; wide, narrow, light, dark, and on paper.
//!
//! Read from the top: the sentence, what was not as expected, the figures beside their targets, the picture of
//! all runs, each run on the axis of its fault, then tables and definitions.

mod overview;
mod shapes;
mod tables;
mod timeline;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::figures::{self, Standing};
use super::{Report, Unexpected, faults, markdown, witnesses, words};
use shapes::Shape;

const STYLE: &str = concat!(include_str!("../../../../../assets/tokens.css"), include_str!("html/style.css"));

/// The page.
pub(super) fn page(report: &Report) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Drill report, seed " (report.seed) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (head(report))
                    (unexpected(report))
                    (targets(report))
                    @if !report.runs.is_empty() {
                        (overview::picture(&report.runs))
                        section {
                            h2 { "Runs by fault" span.quiet { "each on the axis of its fault; open one for its times" } }
                            (timeline::legend())
                            @for group in faults::by_fault(&report.runs) { (timeline::group(&group)) }
                        }
                        (tables::by_fault(&report.runs))
                    }
                    (tables::calibration(&report.calibration()))
                    (tables::by_run(&report.runs))
                    (method())
                }
            }
        }
    }
}

fn head(report: &Report) -> Markup {
    html! {
        header {
            p.crumb { "Homeostat " (report.homeostat) " · drill report" }
            h1 { (markdown::sentence(report)) }
            ul.facts {
                li { "begun " time datetime=(report.started_at) { (words::moment(&report.started_at)) } }
                li { "seed " (report.seed) }
                li { (report.machine.describe()) }
                @for note in witnesses::sentences(report).iter().chain(&report.notes) { li { (note) } }
            }
        }
    }
}

fn unexpected(report: &Report) -> Markup {
    let verdict = report.verdict();
    html! {
        section {
            h2 { "Not as expected" }
            @if verdict.passed() {
                p.quiet { (Shape::Circle.mark("good")) "Nothing. Every fault was detected, every run came out as it should, nothing was left behind, and there was no false alarm." }
            }
            @if !verdict.passed() { (listed(&verdict.unexpected, Shape::Square.mark("bad"))) }
            @if !verdict.notes.is_empty() {
                p { "Came out well, in another way than expected:" }
                (listed(&verdict.notes, Shape::Triangle.mark("attention")))
            }
        }
    }
}

/// One line each, with its run.
fn listed(things: &[Unexpected], mark: Markup) -> Markup {
    html! {
        ul.unexpected {
            @for thing in things {
                li {
                    (mark)
                    @if let Some(run) = thing.run { a href=(format!("#run-{run}")) { "run " (run) } ": " }
                    (thing.what)
                }
            }
        }
    }
}

fn targets(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Figures and targets" }
            div.scroll {
                table.figures {
                    thead { tr { th { "figure" } th.r { "measured" } th { "target" } th { "standing" } th { "over" } } }
                    tbody {
                        @for figure in figures::of(report) {
                            tr {
                                td { (figure.name) }
                                td.r.strong { (figure.measured) }
                                td.target.nowrap { (figure.target) }
                                td { (standing(figure.standing)) }
                                td.over.quiet { (figure.over) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn standing(standing: Standing) -> Markup {
    let (shape, meaning) = match standing {
        Standing::Met => (Shape::Circle, "good"),
        Standing::Missed => (Shape::Triangle, "attention"),
        Standing::Unmeasured => (Shape::Ring, "unknown"),
    };
    html! { span class=(format!("mark {meaning}")) { (shape.mark(meaning)) (standing.word()) } }
}

fn method() -> Markup {
    html! {
        section {
            h2 { "How it was measured" }
            dl {
                @for moment in &super::moments::MOMENTS {
                    dt { (moment.word) @if let Some(key) = moment.key { " " code { (key) } } }
                    dd { (moment.definition) "." }
                }
                @for (word, definition) in markdown::definitions() {
                    dt { (word) }
                    dd { (definition) "." }
                }
            }
        }
    }
}

/// A time in a cell, with its full precision on hover.
fn time(ms: Option<f64>) -> Markup {
    match ms {
        Some(ms) => html! { span title=(format!("{ms:.3} ms")) { (words::duration(ms)) } },
        None => html! { span.quiet title="not reached" { (words::NONE) } },
    }
}
