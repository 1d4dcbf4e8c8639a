//! The overview: one sentence, health, the time line, what needs a person, what happens, the services.

use domain::{Lane, Time};
use maud::{Markup, html};
use store::{PlanFilter, PlanPurpose, PlanRecord};

use super::figures::{bar, gauge, trend};
use super::history;
use super::marks::mark;
use super::rows::Rows;
use super::sentence::{capital, count, overall};
use super::timeline::{self, Axis, WINDOWS};
use super::view::View;
use super::{Page, Section, Update, experiments, services, slos};
use crate::api::back;
use crate::body::Query;
use crate::problem::Problem;
use crate::serve::App;

const DAY_SECONDS: i64 = 86_400;

/// Points of the trend: one for about 10 minutes.
const TREND_POINTS: usize = 144;

const HISTORY_ROWS: usize = 8;

/// Single traces say little of a whole fleet.
const LANES: [Lane; 5] = [Lane::Issues, Lane::Actions, Lane::Faults, Lane::Deployments, Lane::Alerts];

pub(super) fn page(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let window = window(query)?;
    let recent =
        PlanFilter { limit: HISTORY_ROWS, only: Some(PlanPurpose::Remediation), ..Default::default() };
    let recent = app.store.plans(&recent).map_err(Problem::from);
    let has_services = view.snapshot.as_deref().is_some_and(|snapshot| !snapshot.services.is_empty());
    let mut sections = vec![
        Section::live("sentence", html! { h1 class="sentence" { (overall(view)) } }),
        Section::tried(
            "health",
            Update::Live,
            "Health",
            trend_points(app, view.stamp.now).map(|points| health(view, &points)),
        )?,
        Section::tried("timeline", Update::Live, "Time line", time_line(app, view, query, window))?,
        Section::live("budgets", slos::line(app)),
        Section::rows("now", now(view)),
    ];
    let rows = Rows::of_overview(view);
    let update = match rows {
        Rows::All => Section::live,
        Rows::NotWell => Section::rows,
    };
    sections.push(update("services", services::table(view, rows)));
    sections.push(update("links", services::links(view, rows, |_| true)));
    let past = |recent: Vec<PlanRecord>| {
        html! {
            h2 { "Remediations" a class="more" href="/remediations" { "All remediations" } }
            @if recent.is_empty() {
                p class="empty" { "Nothing was repaired yet." @if has_services { " " (try_it()) } }
            } @else { (history::remediations(view.stamp, &recent)) }
        }
    };
    sections.push(Section::tried("history", Update::Rows, "Remediations", recent.map(past))?);
    Ok(Page { title: "Overview".to_owned(), sections })
}

fn try_it() -> Markup {
    html! { "Break something on purpose: " code { "homeostat chaos inject pod_kill --target instance/NAME-0 --for 5s" } }
}

fn window(query: &Query) -> Result<i64, Problem> {
    let read = |text: &str| {
        let seconds: i64 = text.parse().ok()?;
        WINDOWS.iter().any(|(_, known)| *known == seconds).then_some(seconds)
    };
    Ok(query
        .read("window", read, || "one of 900, 3600, 21600, 86400, 604800".to_owned())?
        .unwrap_or(WINDOWS[0].1))
}

fn trend_points(app: &App, now: Time) -> Result<Vec<(f64, u8)>, Problem> {
    let begin = back(now, DAY_SECONDS);
    let records = app.store.health_since(begin)?;
    let place = |at: Time| (at.wall_us - begin.wall_us) as f64 / (DAY_SECONDS as f64 * 1e6);
    let known: Vec<(f64, u8)> = records.iter().filter_map(|r| Some((place(r.at), r.overall?))).collect();
    // The worst of each chunk: a dip must not vanish in an average.
    let chunk = known.len().div_ceil(TREND_POINTS).max(1);
    let worst = |chunk: &[(f64, u8)]| chunk.iter().copied().min_by_key(|(_, score)| *score);
    Ok(known.chunks(chunk).filter_map(worst).collect())
}

fn health(view: &View, points: &[(f64, u8)]) -> Markup {
    // What is old is not known: a green gauge over a dead fleet would be a lie.
    let scores = view.scores.as_ref().filter(|_| view.stale().is_none());
    let components = [
        ("compute", scores.and_then(|s| s.compute), "0.30"),
        ("network", scores.and_then(|s| s.network), "0.20"),
        ("storage", scores.and_then(|s| s.storage), "0.15"),
        ("database", scores.and_then(|s| s.database), "0.20"),
        ("security", scores.and_then(|s| s.security), "0.15"),
    ];
    let coverage = scores.map(|s| format!("{:.0} % of the weight is known. ", s.coverage * 100.0));
    let rule = format!(
        "{}A resource loses 60, 35, 15 or 5 points for its worst open critical, high, medium or low issue; \
         a component is the mean over its resources, weighted by dependents; health is the weighted mean of the known components.",
        coverage.unwrap_or_default()
    );
    html! {
        section class="health" aria-label="Health" {
            div title=(rule) { (gauge(scores.and_then(|s| s.overall))) }
            dl class="components" {
                @for (name, score, weight) in components {
                    div title={ "weight " (weight) @if score.is_none() { ": nothing here is watched, so it is not known" } } {
                        dt {
                            span { (name) }
                            b { @match score { Some(score) => (score), None => span class="quiet" { "–" } } }
                        }
                        dd { (bar(score)) }
                    }
                }
            }
            figure class="trend" {
                figcaption { span { "24 h" } @if let Some(low) = points.iter().map(|(_, score)| score).min().filter(|_| points.len() > 1) { span { "lowest " (low) ", limit 70" } } }
                @if points.len() > 1 { (trend(points)) } @else { p class="quiet" { "No records yet." } }
            }
        }
    }
}

fn time_line(app: &App, view: &View, query: &Query, window: i64) -> Result<Markup, Problem> {
    let axis = Axis::last(window, view.stamp.now.wall_us);
    let lanes = timeline::shared(app, axis, None, &LANES)?;
    Ok(html! {
        section class="timeline" aria-label="Time line" {
            h2 {
                "Time line"
                span class="windows more" {
                    a href="/timeline" { "All" }
                    @for (name, seconds) in WINDOWS {
                        a href={ "/?" (query.with("window", &seconds.to_string())) }
                            aria-current=[(seconds == window).then_some("true")] { (name) }
                    }
                }
            }
            (lanes)
        }
    })
}

fn now(view: &View) -> Markup {
    let waiting: Vec<_> = view.waiting().collect();
    html! {
        div class="columns" {
            section {
                h2 { "Needs you" @if !waiting.is_empty() { span class="quiet" { (waiting.len()) } } }
                @if waiting.is_empty() { p class="empty" { "Nothing waits for a person." } }
                ul class="rows" {
                    @for record in waiting {
                        li data-key=(record.plan.id) {
                            (mark(super::marks::Meaning::Attention, "approval"))
                            span class="what" {
                                a href={ "/remediations/" (record.plan.id) } { (record.plan.summary) }
                            }
                            span class="side" { (view.stamp.lasting(record.plan.created_at)) }
                            @if let Some(reason) = record.reasons.first() { div class="doing" { (capital(reason)) } }
                        }
                    }
                }
                @if !view.faults.is_empty() {
                    h2 { "Injected on purpose" span class="quiet" { (count(view.faults.len(), "fault", "faults")) } }
                    (experiments::faults(view))
                }
            }
            section {
                h2 { "Happening now" @if !view.issues.is_empty() { span class="quiet" { (count(view.issues.len(), "open issue", "open issues")) } } }
                @if view.issues.is_empty() {
                    p class="empty" { "No issue is open." }
                } @else { (history::issues(view, &view.issues)) }
            }
        }
    }
}
