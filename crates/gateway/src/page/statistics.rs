//! Statistics: how soon what was wrong was noticed and repaired, what worked, and what that is worth by the user's own
//! figures. Every number opens into its formula and what it was made of.
//!
//! In: counts of the store over a window, and two figures that only the user knows ([`Baseline`]). Out: the page. Without
//! those figures nothing is compared and nothing is saved: there is no number of ours to put in their place.

use std::time::Duration;

use axum::response::Response;
use domain::units::show_duration;
use maud::{Markup, html};
use store::{DETECTED_AFTER, Figures, KindFigures};

use super::actions::Submitted;
use super::changed::drawn_from;
use super::plan::words;
use super::sentence::count;
use super::view::View;
use super::{Page, Section, in_place};
use crate::api::back;
use crate::baseline::{Baseline, Times};
use crate::body::Query;
use crate::deed::Deed;
use crate::overwritten::{FIGURES, Standing};
use crate::problem::Problem;
use crate::routes::see_other;
use crate::serve::App;

/// Names in the address, words, seconds.
const WINDOWS: [(&str, &str, i64); 3] =
    [("24h", "24 h", 86_400), ("7d", "7 d", 7 * 86_400), ("30d", "30 d", 30 * 86_400)];

/// Outcomes by which a repair did what it was for.
const WELL: [&str; 2] = ["healed", "mitigated"];

/// Outcomes and states that say nothing of a strategy: it never ran, has not ended, or was not needed.
const UNTRIED: [&str; 6] =
    ["refused", "pending", "awaiting_approval", "in_progress", "verifying", "self_recovered"];

pub(super) fn page(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    query.only(&["window", "part"])?;
    let read = |text: &str| WINDOWS.into_iter().find(|(name, ..)| *name == text);
    let (name, word, seconds) =
        query.read("window", read, || "one of 24h, 7d, 30d".to_owned())?.unwrap_or(WINDOWS[0]);
    let (standing, baseline) = match baseline(app) {
        Ok((standing, baseline)) => (Some(standing), baseline),
        Err(problem) => (None, Err(problem)),
    };
    let header = |sentence: String| {
        html! {
            h1 class="sentence" { (sentence) }
            p class="windows" { @for (choice, word, _) in WINDOWS {
                a href={ "/statistics?window=" (choice) } aria-current=[(choice == name).then_some("true")] { (word) } " "
            } }
        }
    };
    let mut sections = match app.store.figures(back(view.stamp.now, seconds)) {
        Ok(figures) => {
            let all = Times::of(figures.by_kind.values().flat_map(|kind| kind.repaired.iter().copied()));
            vec![
                Section::live("header", header(sentence(&figures, &all, word))),
                Section::live("numbers", numbers(&figures, &all, baseline.as_ref().ok().copied())),
                Section::live("types", types(&figures)),
                Section::live("strategies", strategies(&figures)),
            ]
        }
        Err(error) => vec![
            Section::live(
                "header",
                header(format!("What happened in the last {word} cannot be counted now.")),
            ),
            Section::live("numbers", in_place(error.into())?),
        ],
    };
    sections.push(Section::still("baseline", form(standing.as_ref(), baseline)?));
    Ok(Page { title: "Statistics".to_owned(), sections })
}

fn shown(time: Option<Duration>) -> String {
    time.map_or("–".to_owned(), show_duration)
}

/// How many repairs did what they were for, and how many were tried.
fn tried(figures: &Figures) -> (u64, u64) {
    figures.by_strategy.values().map(tried_by).fold((0, 0), |(well, all), (w, a)| (well + w, all + a))
}

fn tried_by(outcomes: &std::collections::BTreeMap<String, u64>) -> (u64, u64) {
    let sum =
        |keep: &dyn Fn(&str) -> bool| outcomes.iter().filter(|(name, _)| keep(name)).map(|(_, n)| n).sum();
    (sum(&|name| WELL.contains(&name)), sum(&|name| !UNTRIED.contains(&name)))
}

fn sentence(figures: &Figures, all: &Times, window: &str) -> String {
    match (tried(figures), all.mean()) {
        ((_, 0), _) => format!("Nothing was repaired in the last {window}."),
        ((well, tried), None) => format!("{well} of {tried} repairs in the last {window} worked."),
        ((well, tried), Some(mean)) => format!(
            "{well} of {tried} repairs in the last {window} worked; from detection to healed it took {} on average.",
            show_duration(mean)
        ),
    }
}

/// A number that opens into what it was made of.
fn number(title: &str, value: &str, under: &str, formula: &Markup) -> Markup {
    html! {
        div {
            dt { (title) }
            dd { (value) }
            dd class="quiet" { (under) }
            dd class="quiet" { details { summary { "How" span class="hidden-text" { " " (title) " is worked out" } } div class="formula" { (formula) } } }
        }
    }
}

fn numbers(figures: &Figures, all: &Times, baseline: Option<Baseline>) -> Markup {
    let (well, tried) = tried(figures);
    let noticed = Times::of(figures.by_kind.values().flat_map(|kind| kind.noticed.iter().copied()));
    let rate = (tried > 0).then(|| well as f64 * 100.0 / tried as f64);
    let repairs = all.each.len();
    html! {
        dl class="numbers" {
            (number("Time to repair", &shown(all.mean()), &format!("mean of {}, median {}", count(repairs, "repair", "repairs"), shown(all.median())), &html! {
                "Sum of the times from the detection of an issue to the first passing check of its repair ÷ repairs that healed or mitigated: "
                (show_duration(all.sum())) " ÷ " (repairs) "."
            }))
            (number("Time to detect", &shown(noticed.mean()), &format!("mean of {} noticed of {}", noticed.each.len(), count(usize::try_from(figures.faults).unwrap_or(usize::MAX), "fault of our own", "faults of our own")), &html! {
                "When trouble truly began is known only of faults that were injected: from the beginning of one to the first issue on its target or the service of that, while it was in force or at most "
                (show_duration(DETECTED_AFTER)) " after. Each issue counts once. " (show_duration(noticed.sum())) " ÷ " (noticed.each.len()) "."
            }))
            (number("Repairs that worked", &rate.map_or("–".to_owned(), |rate| format!("{rate:.0} %")), &format!("{well} of {tried}"), &html! {
                "Healed or mitigated ÷ repairs that ran to a verdict: " (well) " ÷ " (tried) ". What was refused, still runs, or recovered by itself is not counted."
            }))
            @match baseline {
                Some(baseline) => { (compared(all, baseline)) (saved(all, baseline)) },
                None => {
                    (number("Against your own", "–", "your figures cannot be read", &unread()))
                    (number("Saved", "–", "your figures cannot be read", &unread()))
                },
            }
        }
    }
}

/// Our mean beside the user's.
fn compared(all: &Times, baseline: Baseline) -> Markup {
    let Some(against) = baseline.against(all.mean()) else {
        return number("Against your own", "–", "needs your time to repair", &needs(baseline, all));
    };
    number(
        "Against your own",
        &format!("{:.1}×", against.times_faster()),
        &format!(
            "your {} min, now {}: {}",
            against.minutes,
            show_duration(against.measured),
            against.reduction()
        ),
        &html! {
            "Your time to repair ÷ the mean time to repair: " (against.minutes) " min ÷ "
            (format!("{:.2}", against.measured_minutes())) " min. Above 1 it is faster than before."
        },
    )
}

/// What the difference is worth, by the user's figures alone.
fn saved(all: &Times, baseline: Baseline) -> Markup {
    let (Some(minutes), Some(cost), Some(mean)) =
        (baseline.mttr_minutes, baseline.outage_cost_per_hour, all.mean())
    else {
        return number("Saved", "–", "needs both of your figures", &needs(baseline, all));
    };
    let hours = (minutes / 60.0 - mean.as_secs_f64() / 3600.0) * all.each.len() as f64;
    number(
        "Saved",
        &format!("{:.0}", hours * cost),
        &format!("{hours:.1} h, in your currency"),
        &html! {
            "(your time to repair − the mean time to repair) × repairs × your cost of an hour: ("
            (minutes) " min − " (show_duration(mean)) ") × " (all.each.len()) " × " (cost) "."
        },
    )
}

/// Why nothing is compared where the user's figures cannot be read.
fn unread() -> Markup {
    html! { "Not worked out. What is wrong with " a href="#baseline" { "your figures" } " stands below." }
}

fn needs(baseline: Baseline, all: &Times) -> Markup {
    html! {
        "Not worked out: "
        @if baseline.mttr_minutes.is_none() { "your own time to repair is not known. " }
        @if baseline.outage_cost_per_hour.is_none() { "Your cost of an hour of outage is not known. " }
        @if all.each.is_empty() { "No repair healed anything in this window. " }
        a href="#baseline" { "Your figures" } " stand below; none is assumed."
    }
}

fn types(figures: &Figures) -> Markup {
    let row = |name: &str, kind: &KindFigures| {
        let (repaired, noticed) =
            (Times::of(kind.repaired.iter().copied()), Times::of(kind.noticed.iter().copied()));
        html! {
            tr data-key=(name) {
                td class="name" { a href={ "/issues?type=" (name) } { (words(name)) } }
                td class="number" data-label="Detected" { (kind.detected) }
                td class="number" data-label="Repaired" { (repaired.each.len()) }
                td class="number" data-label="To repair" title="mean" { (shown(repaired.mean())) }
                td class="number" data-label="Median" { (shown(repaired.median())) }
                td class="number" data-label="Longest" { (shown(repaired.each.last().copied())) }
                td class="number" data-label="To detect" title={ "mean of " (noticed.each.len()) } { (shown(noticed.mean())) }
            }
        }
    };
    html! {
        h2 { "By type of issue" }
        @if figures.by_kind.is_empty() { p class="empty" { "No issue was detected in this window." } } @else {
            div class="scroll" { table class="stacks" {
                thead { tr {
                    th { "Type" } th class="number" { "Detected" } th class="number" { "Repaired" } th class="number" { "To repair" }
                    th class="number" { "Median" } th class="number" { "Longest" } th class="number" { "To detect" }
                } }
                tbody { @for (name, kind) in &figures.by_kind { (row(name, kind)) } }
            } }
        }
    }
}

fn strategies(figures: &Figures) -> Markup {
    html! {
        h2 { "By strategy" }
        @if figures.by_strategy.is_empty() { p class="empty" { "No repair was planned in this window." } } @else {
            div class="scroll" { table class="stacks" {
                thead { tr { th { "Strategy" } th class="number" { "Worked" } th { "Outcomes" } } }
                tbody { @for (name, outcomes) in &figures.by_strategy {
                    @let (well, tried) = tried_by(outcomes);
                    tr data-key=(name) {
                        td class="name" { a href={ "/remediations?strategy=" (name) } { (words(name)) } }
                        td class="number" title={ (well) " of " (tried) } {
                            @if tried > 0 { (format!("{:.0} %", well as f64 * 100.0 / tried as f64)) ", " (well) " of " (tried) } @else { "–" }
                        }
                        td class="wide" {
                            @for (place, (outcome, n)) in outcomes.iter().enumerate() { @if place > 0 { ", " } (n) " " (words(outcome)) }
                        }
                    }
                } }
            } }
        }
    }
}

/// The form of the user's figures: where they cannot be read it says so, and takes them anew.
fn form(standing: Option<&Standing>, baseline: Result<Baseline, Problem>) -> Result<Markup, Problem> {
    let value = |figure: Option<f64>| figure.map(|figure| figure.to_string());
    let (baseline, failed) = match baseline {
        Ok(baseline) => (baseline, html! {}),
        Err(problem) => (Baseline::default(), in_place(problem)?),
    };
    Ok(html! {
        h2 { "Your figures" span class="quiet" { "what it was like before; leave a field empty to forget it" } }
        (failed)
        form class="fill-in" method="post" action="/statistics/baseline" {
            @if let Some(standing) = standing { (drawn_from(standing)) }
            fieldset {
                legend { "Before Homeostat" }
                label { "Mean time to repair, minutes" input type="number" name="mttr_minutes" min="0" step="any" value=[value(baseline.mttr_minutes)]; }
                label { "An hour of outage costs" input type="number" name="outage_cost_per_hour" min="0" step="any" value=[value(baseline.outage_cost_per_hour)]; }
                button type="submit" { "Keep" }
            }
        }
    })
}

/// The user's figures as they are kept, and what they say where that can be read.
fn baseline(app: &App) -> Result<(Standing, Result<Baseline, Problem>), Problem> {
    let text = app.store.document(FIGURES)?;
    let baseline = Baseline::read(text.as_deref());
    Ok((Standing::figures(text.as_deref()), baseline))
}

/// Keeps the user's figures.
pub(super) fn keep(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let figure = |name| {
        let read = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        asked.form.read(name, read, || "a number that is not below 0, such as 45".to_owned())
    };
    let baseline = Baseline {
        mttr_minutes: figure("mttr_minutes")?,
        outage_cost_per_hour: figure("outage_cost_per_hour")?,
    };
    let told = |name: &str, value: Option<f64>| match value {
        Some(value) => format!("{name} {value}"),
        None => format!("no {name}"),
    };
    let outages = told("outage_cost_per_hour", baseline.outage_cost_per_hour);
    asked.deed.tell(Deed::of("figures").and(told("mttr_minutes", baseline.mttr_minutes)).and(outages));
    let text = serde_json::to_string(&baseline)
        .map_err(|error| Problem::internal(format!("the figures cannot be written: {error}")))?;
    asked.app.store.put_document(FIGURES, &text)?;
    Ok(see_other("/statistics#baseline"))
}
