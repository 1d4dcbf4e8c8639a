//! Reports of drills: what was broken on purpose, and how fast and how well it was found and repaired.
//!
//! In: the reports that `homeostat drill` and `demo` kept in the data directory. Out: a list, and a page for each: the
//! sentence, what was not as expected, each figure beside its target, every run on the time line of its fault.

use std::collections::BTreeMap;

use chaos::drill::report::{Report, Standing};
use chaos::drill::{KeptDrill, KeptDrills, RunScore};
use domain::units::show_duration;
use maud::{Markup, html};
use serde_json::json;
use std::time::Duration;

use super::list::{Column, Filter, List, Listed, Source};
use super::marks::{Meaning, mark, shape_at};
use super::plan::words;
use super::sentence::{capital, count};
use super::view::View;
use super::{Page, Section};
use crate::api::{self, time};
use crate::body::Query;
use crate::problem::Problem;
use crate::serve::App;

pub(super) fn list(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let kept = api::kept_drills(app)?;
    let sentence = match kept.drills.first() {
        None => "No drill was kept here yet.".to_owned(),
        Some(newest) => {
            format!("{}. The newest: {}", count(kept.drills.len(), "drill", "drills"), newest.sentence)
        }
    };
    let unreadable = kept.unreadable.clone();
    let head = html! {
        h1 class="sentence" { (sentence) }
        @for why in &unreadable { p class="notice attention" { (why) } }
    };
    let [form, rows] = of_kept(view, kept).sections(query, "drills")?;
    Ok(Page { title: "Drills".to_owned(), sections: vec![Section::still("sentence", head), form, rows] })
}

pub(super) fn listed<'a>(app: &App, view: &'a View) -> Result<Listed<'a, KeptDrill>, Problem> {
    Ok(of_kept(view, api::kept_drills(app)?))
}

fn of_kept(view: &View, kept: KeptDrills) -> Listed<'_, KeptDrill> {
    let list = List {
        address: "/drills",
        nouns: ("drill", "drills"),
        columns: columns(view),
        filters: vec![
            Filter::choice("state", "State", STATES.map(|(_, word)| (word, word)))
                .keeping(|one: &KeptDrill, wanted| state(one.passed).1 == wanted),
        ],
        key: Box::new(|one| one.id.clone()),
        empty: html! { p class="empty" { "A drill injects known faults into the demo fleet and measures what comes of each. Make a short one, and its report is kept here: " code { "homeostat drill --short" } } },
    };
    Listed { list, source: Source::Whole(kept.drills) }
}

const STATES: [(Meaning, &str); 2] = [(Meaning::Good, "as expected"), (Meaning::Bad, "not as expected")];

fn state(passed: bool) -> (Meaning, &'static str) {
    STATES[usize::from(!passed)]
}

fn columns(view: &View) -> Vec<Column<'_, KeptDrill>> {
    let stamp = view.stamp;
    let share = |ratio: Option<f64>| ratio.map(|ratio| (ratio * 1000.0).round() / 10.0);
    let percent = move |ratio: Option<f64>| html! { (share(ratio).map_or("–".to_owned(), |share| format!("{share} %"))) };
    vec![
        Column::new("state", "State", |one: &KeptDrill| json!(state(one.passed).1))
            .shown(|one| mark(state(one.passed).0, state(one.passed).1))
            .sorted(),
        Column::new("started_at", "Begun", |one: &KeptDrill| json!(one.started_at))
            .class("name")
            .shown(move |one| {
                html! { a href={ "/drills/" (one.id) } { @match time(&one.started_at) { Some(at) => (stamp.ago(at)), None => (one.id) } } }
            })
            .sorted(),
        Column::new("runs", "Runs", |one: &KeptDrill| json!(one.runs)).class("number").sorted(),
        Column::new("healed_percent", "Healed", move |one: &KeptDrill| json!(share(one.healed_ratio)))
            .class("number")
            .shown(move |one| percent(one.healed_ratio))
            .sorted(),
        Column::new("cause_first_percent", "Cause first", move |one: &KeptDrill| {
            json!(share(one.cause_first_ratio))
        })
        .class("number")
        .shown(move |one| percent(one.cause_first_ratio))
        .sorted(),
        Column::new("detected_p95_ms", "Detected p95", |one: &KeptDrill| json!(one.detected_p95_ms))
            .class("number")
            .shown(|one| html! { (lasted(one.detected_p95_ms)) })
            .sorted(),
        Column::new("verified_p95_ms", "Verified p95", |one: &KeptDrill| json!(one.verified_p95_ms))
            .class("number")
            .shown(|one| html! { (lasted(one.verified_p95_ms)) })
            .sorted(),
        Column::new("false_alarms", "False alarms", |one: &KeptDrill| json!(one.false_alarms))
            .class("number")
            .sorted(),
        Column::new("seed", "Seed", |one: &KeptDrill| json!(one.seed)).class("number").sorted(),
        Column::new("homeostat", "Version", |one: &KeptDrill| json!(one.homeostat)).sorted(),
        Column::unseen("id", |one: &KeptDrill| json!(one.id)),
    ]
}

/// A time of a run; a dash where it was not reached.
fn lasted(ms: Option<f64>) -> String {
    ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok()).map_or("–".to_owned(), show_duration)
}

pub(super) fn detail(app: &App, view: &View, id: &str) -> Result<Page, Problem> {
    let report = api::kept_drill(app, id)?;
    let (meaning, word) = state(report.verdict().passed());
    let head = html! {
        p class="crumb" { a href="/drills" { "Drills" } }
        h1 class="sentence" { (report.sentence()) }
        p class="facts" {
            (mark(meaning, word))
            @if let Some(at) = time(&report.started_at) { span { "begun " (view.stamp.ago(at)) } }
            span { "seed " (report.seed) } span { "Homeostat " (report.homeostat) } a href={ "/api/v3/chaos/drills/" (id) } { "JSON" }
        }
    };
    Ok(Page {
        title: format!("Drill {id}"),
        sections: vec![
            Section::still("sentence", head),
            Section::still("unexpected", unexpected(&report)),
            Section::still("figures", figures(&report)),
            Section::still("timeline", time_lines(&report.runs)),
            Section::still("runs", runs(&report.runs)),
            Section::still("setting", setting(&report)),
        ],
    })
}

fn unexpected(report: &Report) -> Markup {
    let verdict = report.verdict();
    html! {
        h2 { "Not as expected" }
        @if verdict.passed() {
            p { (mark(Meaning::Good, "nothing")) }
        }
        @for (meaning, things) in [(Meaning::Bad, &verdict.unexpected), (Meaning::Attention, &verdict.notes)] {
            ul class="rows" {
                @for one in things {
                    li {
                        (mark(meaning, if meaning == Meaning::Bad { "unexpected" } else { "otherwise" }))
                        span class="what" { (one.what) }
                        span class="side" { @if let Some(run) = one.run { "run " (run) } }
                    }
                }
            }
        }
    }
}

fn figures(report: &Report) -> Markup {
    let standing = |standing: Standing| {
        let meaning = match standing {
            Standing::Met => Meaning::Good,
            Standing::Missed => Meaning::Attention,
            Standing::Unmeasured => Meaning::Unknown,
        };
        mark(meaning, standing.word())
    };
    html! {
        h2 { "Figures" span class="quiet" { "each beside its target" } }
        div class="scroll" tabindex="0" role="region" aria-label="Figures" { table class="stacks" {
            thead { tr { th { "Standing" } th { "Figure" } th class="number" { "Measured" } th { "Target" } th { "Over" } } }
            tbody { @for figure in report.figures() {
                tr {
                    td { (standing(figure.standing)) }
                    td class="name" { (figure.name) }
                    td class="number" data-label="Measured" { (figure.measured) }
                    td class="name" data-label="Target" { (figure.target) }
                    td class="two" data-label="Over" { (figure.over) }
                }
            } }
        } }
    }
}

/// Every run as a lane, on the axis of its fault.
fn time_lines(runs: &[RunScore]) -> Markup {
    let mut faults: BTreeMap<&str, Vec<&RunScore>> = BTreeMap::new();
    for run in runs {
        faults.entry(&run.fault).or_default().push(run);
    }
    html! {
        @if !runs.is_empty() {
            section class="timeline" {
                h2 { "Time line" span class="quiet" { "from the injection of each fault: found at the triangle, acted on where the colour changes, verified at the end" } }
                @for (fault, runs) in &faults { (lanes(fault, runs)) }
            }
        }
    }
}

fn end_of(run: &RunScore) -> f64 {
    let times = [run.detected_ms, run.first_action_ms, run.serving_ms, run.verified_ms, run.effect_ms];
    times.into_iter().flatten().fold(0.0, f64::max)
}

fn lanes(fault: &str, runs: &[&RunScore]) -> Markup {
    let longest = runs.iter().map(|run| end_of(run)).fold(1.0, f64::max);
    // Room for the last mark.
    let place = |ms: f64| format!("{:.2}%", ms / longest * 97.0);
    html! {
        div class="lane axis" {
            span { strong { (capital(&words(fault))) } }
            svg height="20" aria-hidden="true" {
                @for share in [0.25, 0.5, 0.75, 1.0] { text x=(place(longest * share)) y="14" { (lasted(Some(longest * share))) } }
            }
        }
        @for run in runs {
            div class="lane" {
                span title=(run.row) { (run.number) " " (run.target.split_once('/').map_or(run.target.as_str(), |(_, name)| name)) }
                svg height="20" role="img" aria-label=(told(run)) {
                    title { (told(run)) }
                    @let end = end_of(run);
                    @let acted = run.first_action_ms.unwrap_or(end);
                    @let repaired = if run.ended_well_enough() { Meaning::Good } else { Meaning::Bad };
                    g class="item disturbed" { rect x="0" y="4" width=(place(acted)) height="12" {} }
                    g class={ "item " (repaired.class()) } { rect x=(place(acted)) y="4" width=(place(end - acted)) height="12" {} }
                    @if let Some(ms) = run.detected_ms { g class="item attention" { (shape_at(Meaning::Attention, &place(ms), 4)) } }
                }
            }
        }
    }
}

fn told(run: &RunScore) -> String {
    format!(
        "{} at {}: found after {}, acted on after {}, verified after {}; {}",
        words(&run.fault),
        run.target,
        lasted(run.detected_ms),
        lasted(run.first_action_ms),
        lasted(run.verified_ms),
        words(run.outcome.name())
    )
}

fn runs(runs: &[RunScore]) -> Markup {
    let number = |name: &str, value: String| html! { td class={ "number" @if value == "–" { " none" } } data-label=(name) { (value) } };
    html! {
        h2 { "Runs" span class="quiet" { (runs.len()) } }
        div class="scroll" tabindex="0" role="region" aria-label="Runs" { table class="stacks" {
            thead { tr {
                th { "Outcome" } th { "Fault" } th { "At" } th { "By" }
                @for name in ["Found", "Acted", "Serving", "Verified", "Cause", "Failed"] { th class="number" { (name) } }
            } }
            tbody { @for run in runs {
                tr {
                    td { (mark(if run.ended_well_enough() { Meaning::Good } else { Meaning::Bad }, &words(run.outcome.name()))) }
                    td class="name" { (run.number) " " (words(&run.fault)) }
                    td class="name two" data-label="At" { (run.target) }
                    td class="name two" data-label="By" { (run.strategy.as_deref().map_or("–".to_owned(), words)) }
                    (number("Found", lasted(run.detected_ms)))
                    (number("Acted", lasted(run.first_action_ms)))
                    (number("Serving", lasted(run.serving_ms)))
                    (number("Verified", lasted(run.verified_ms)))
                    (number("Cause", run.cause_rank.map_or("–".to_owned(), |rank| format!("{rank}."))))
                    (number("Failed", format!("{} of {}", run.requests_failed, run.requests)))
                }
            } }
        } }
    }
}

fn setting(report: &Report) -> Markup {
    html! {
        h2 { "How it was made" }
        ul class="reasons" {
            li { (report.machine.describe()) }
            li { (report.witness.sentence()) }
            @for note in &report.notes { li { (note) } }
        }
    }
}
