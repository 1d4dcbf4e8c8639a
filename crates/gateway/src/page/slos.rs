//! Objectives: the list by what is left of their budgets, and one objective with what burned its budget.

mod listed;

use std::time::Duration;

use domain::units::show_duration;
use domain::{Deployment, IssueKind, SloStatus, Snapshot};
use maud::{Markup, html};
use observe::objectives::{Detail, Objectives};
use slo::{Forecast, Metric, Objective};

use super::figures::of_share;
use super::history;
use super::marks::{Meaning, mark};
use super::sentence::{count, grouped};
use super::time::clock_face;
use super::view::View;
use super::{Page, Section, Update, in_place};
use crate::api::{self, BudgetPoint, History};
use crate::body::{Query, encode};
use crate::problem::Problem;
use crate::serve::App;

pub(super) use listed::{listed, table};

/// Issues that are shown below a budget.
const ISSUES: usize = 20;

/// How far back one can look, in minutes, with its name; the whole period beside them.
const WINDOWS: [(&str, i64); 3] = [("1 h", 60), ("12 h", 720), ("7 d", 7 * 1440)];

const MINUTE_US: i64 = 60_000_000;

/// The height of the budget's picture in its own units, the top being a full budget.
const HEIGHT: f64 = 120.0;

pub(super) fn list(app: &App, query: &Query) -> Result<Page, Problem> {
    let sentence = sentence(&objectives(app)?.details());
    let [form, rows] = listed(app)?.sections(query, "objectives")?;
    Ok(Page {
        title: "Objectives".to_owned(),
        sections: vec![Section::live("sentence", html! { h1 class="sentence" { (sentence) } }), form, rows],
    })
}

fn objectives(app: &App) -> Result<&Objectives, Problem> {
    app.objectives.as_deref().ok_or_else(api::no_objectives)
}

/// What is left of the budget as a share; what was not measured stands below the rest.
fn left(detail: &Detail) -> f64 {
    measured(detail).unwrap_or(f64::INFINITY)
}

fn measured(detail: &Detail) -> Option<f64> {
    detail.standing.filter(|standing| standing.status.is_some()).map(|standing| standing.budget_remaining)
}

/// How many are not well, for the list and the overview.
pub(super) fn sentence(details: &[Detail]) -> String {
    let with = |wanted: fn(SloStatus) -> bool| {
        let status =
            |detail: &&Detail| detail.standing.and_then(|standing| standing.status).is_some_and(wanted);
        details.iter().filter(status).count()
    };
    let (missed, burning) = (
        with(|status| status == SloStatus::Breached),
        with(|status| status == SloStatus::Critical || status == SloStatus::Warning),
    );
    let known = details.iter().filter(|detail| measured(detail).is_some()).count();
    match (details.len(), missed, burning) {
        (0, ..) => "There is no objective.".to_owned(),
        (_, 0, 0) if known == 0 => "Nothing was measured of any objective yet.".to_owned(),
        (_, 0, 0) => format!("{} its error budget.", keeps(known)),
        (all, 0, burning) => {
            let verb = if burning == 1 { "needs" } else { "need" };
            format!("{burning} of {} {verb} attention.", count(all, "objective", "objectives"))
        }
        (all, missed, burning) => {
            let verb = if missed == 1 { "is" } else { "are" };
            let missed = format!("{missed} of {} {verb} missed", count(all, "objective", "objectives"));
            let more = if burning > 0 { format!("; {burning} more burn too fast") } else { String::new() };
            format!("{missed}{more}.")
        }
    }
}

fn keeps(known: usize) -> String {
    if known == 1 {
        "The 1 measured objective keeps within".to_owned()
    } else {
        format!("Each of {known} measured objectives keeps within")
    }
}

/// The burn of the window that pages first.
fn lately(detail: &Detail) -> Option<f64> {
    let window = slo::BurnTable::of(detail.objective.period).page[0].long;
    detail.burn_rates.iter().find(|burn| burn.window == window)?.rate
}

fn status(status: Option<SloStatus>) -> (Meaning, &'static str) {
    match status {
        None => (Meaning::Unknown, "unknown"),
        Some(SloStatus::Healthy) => (Meaning::Good, "healthy"),
        Some(SloStatus::Warning) => (Meaning::Attention, "warning"),
        Some(SloStatus::Critical) => (Meaning::Bad, "critical"),
        Some(SloStatus::Breached) => (Meaning::Bad, "breached"),
    }
}

/// A share in percent, with the digits that tell nines apart.
fn share(ratio: f64) -> String {
    let text = format!("{:.3}", ratio * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} %")
}

/// Events as they were counted, their thousands apart.
fn events(n: u128) -> String {
    usize::try_from(n).map_or_else(|_| n.to_string(), grouped)
}

/// A share in percent without its fractions; what is there is never shown as nothing.
fn whole_percent(share: f64) -> String {
    if share > 0.0 && share < 0.5 { "< 1 %".to_owned() } else { format!("{share:.0} %") }
}

fn percent_or(share: Option<f64>) -> String {
    share.map_or("–".to_owned(), |share| format!("{:.1} %", share * 100.0).replace('-', "−"))
}

fn rate(rate: f64) -> String {
    if rate >= 100.0 { format!("{rate:.0}×") } else { format!("{rate:.1}×") }
}

pub(super) fn detail(app: &App, view: &View, id: &str, query: &Query) -> Result<Page, Problem> {
    let objectives = objectives(app)?;
    let detail =
        objectives.detail(id).ok_or_else(|| Problem::not_found(format!("there is no objective {id}")))?;
    let forecast = objectives.forecast(id).unwrap_or(Forecast::Unknown);
    let period = i64::from(detail.objective.period.get());
    let read = |text: &str| {
        let minutes: i64 = text.parse().ok()?;
        (minutes == period || WINDOWS.iter().any(|(_, known)| *known == minutes)).then_some(minutes)
    };
    let expected = || "one of 60, 720, 10080, or the objective's period in minutes".to_owned();
    let window = query.read("window", read, expected)?.unwrap_or(period).min(period);
    let sections = vec![
        Section::live("header", header(&detail, forecast)),
        Section::live("numbers", numbers(&detail)),
        Section::tried("budget", Update::Live, "Error budget", budget(app, &detail, view, query, window))?,
        Section::live("burn", burns(&detail)),
        Section::tried(
            "issues",
            Update::Rows,
            "What was wrong meanwhile",
            issues(app, view, &detail, window),
        )?,
    ];
    Ok(Page { title: detail.objective.id.clone(), sections })
}

fn header(detail: &Detail, forecast: Forecast) -> Markup {
    let Detail { objective, standing, counted_from, .. } = detail;
    let (meaning, word) = status(standing.and_then(|standing| standing.status));
    html! {
        p class="crumb" { a href="/slos" { "Objectives" } }
        h1 class="sentence" { (promise(objective)) }
        div class="facts" {
            (mark(meaning, word))
            span { "over " (objective.period) }
            span { "service " (objective.service) }
            span { "counted from " (counted_from) }
            span { (lasts(forecast)) }
        }
        @if !objective.description.is_empty() { p class="doing quiet" { (objective.description) } }
    }
}

/// What is promised, as a sentence.
fn promise(objective: &Objective) -> String {
    let target = share(objective.target.ratio());
    let id = &objective.id;
    match (objective.metric(), objective.threshold()) {
        (Metric::Latency, Some(limit)) => {
            format!("{id}: {target} below {}.", show_duration(limit))
        }
        (Metric::SuccessRate, _) => format!("{id}: {target} succeed."),
        _ => format!("{id}: {target} good."),
    }
}

fn lasts(forecast: Forecast) -> String {
    match forecast {
        Forecast::Unknown => "nothing was measured lately".to_owned(),
        Forecast::Exhausted => "the budget is used up".to_owned(),
        Forecast::In(minutes) => {
            let left = Duration::from_secs(u64::from(minutes.get()) * 60);
            format!("used up in {} if it goes on like this", show_duration(left))
        }
        Forecast::Never => "the budget lasts".to_owned(),
    }
}

fn numbers(detail: &Detail) -> Markup {
    let Detail { objective, standing, .. } = detail;
    let remaining = measured(detail);
    let (meaning, _) = status(standing.and_then(|standing| standing.status));
    let sums = standing.map(|standing| standing.sums).unwrap_or_default();
    html! {
        dl class="numbers" {
            div { dt { "Objective" } dd { (share(objective.target.ratio())) } dd class="quiet" { "in " (objective.period) } }
            div {
                dt { "Good" }
                dd { (standing.and_then(|standing| standing.good).map_or("–".to_owned(), share)) }
                dd class="quiet" { (events(sums.bad)) " of " (events(sums.total)) " bad; " (whole_percent(standing.map_or(0.0, |standing| standing.coverage * 100.0))) " measured" }
            }
            div class=(meaning.class()) {
                dt { "Error budget left" }
                dd { (percent_or(remaining)) }
                dd class="quiet" { (format!("{:.1} min", slo::Standing::budget_minutes(objective.target, objective.period))) " in all" }
            }
        }
    }
}

fn budget(app: &App, detail: &Detail, view: &View, query: &Query, window: i64) -> Result<Markup, Problem> {
    let objectives = objectives(app)?;
    let period = i64::from(detail.objective.period.get());
    let now = view.stamp.now.wall_us.div_euclid(MINUTE_US);
    let step = if window <= 720 { 1 } else { 60 };
    let history =
        History::of(objectives, &detail.objective, (now - window + 1, now + 1, step), view.stamp.now);
    let (deployed, without) = match deployments(app, view, detail, window) {
        Ok(deployed) => (deployed, html! {}),
        Err(problem) => {
            let notice = in_place(problem)?;
            (Vec::new(), html! { h3 { "Deployments" } (notice) })
        }
    };
    let id = &detail.objective.id;
    let choices = WINDOWS.into_iter().filter(|(_, minutes)| *minutes < period);
    let choices: Vec<(String, i64)> = choices
        .map(|(name, minutes)| (name.to_owned(), minutes))
        .chain([(detail.objective.period.to_string(), period)])
        .collect();
    Ok(html! {
        h2 {
            "Error budget"
            span class="windows more" {
                @for (name, minutes) in choices {
                    a href={ "/slos/" (encode(id)) "?" (query.with("window", &minutes.to_string())) }
                        aria-current=[(minutes == window).then_some("true")] { (name) }
                }
            }
        }
        @if history.points.iter().any(|point| point.total.is_some()) { (chart(&history.points, &deployed)) }
        @else { p class="empty" { "Nothing was measured in this time." } }
        (without)
    })
}

/// The deployments of the window: of the objective's service, or of all where that is no service of the fleet.
fn deployments(app: &App, view: &View, detail: &Detail, window: i64) -> Result<Vec<Deployment>, Problem> {
    let mut deployed = app.store.deployments(api::back(view.stamp.now, window * 60))?;
    if of_the_fleet(view, detail) {
        deployed.retain(|deployment| deployment.service.as_str() == detail.objective.service);
    }
    Ok(deployed)
}

/// Whether an objective is about a service of the fleet.
fn of_the_fleet(view: &View, detail: &Detail) -> bool {
    let named =
        |snapshot: &Snapshot| snapshot.services.keys().any(|name| name.as_str() == detail.objective.service);
    view.snapshot.as_deref().is_some_and(named)
}

/// What was left of the budget as a line, bad events as bars under it, deployments as upright lines, and where nothing was
/// measured as a band.
fn chart(points: &[BudgetPoint], deployed: &[Deployment]) -> Markup {
    let width = points.len() as f64;
    let lowest = points.iter().map(|point| point.remaining_percent).fold(0.0, f64::min).max(-100.0);
    let y = |percent: f64| (100.0 - percent.clamp(lowest, 100.0)) / (100.0 - lowest) * HEIGHT;
    let line: Vec<String> = points
        .iter()
        .enumerate()
        .map(|(at, point)| format!("{},{:.2}", at as f64 + 0.5, y(point.remaining_percent)))
        .collect();
    let most = points.iter().filter_map(|point| point.bad).fold(0.0, f64::max);
    let bars =
        points.iter().enumerate().filter_map(|(at, point)| Some((at, point.bad.filter(|bad| *bad > 0.0)?)));
    let (first, last) = (points.first(), points.last());
    let ends = first.zip(last).map(|(first, last)| (first.remaining_percent, last.remaining_percent));
    let words = ends.map_or(String::new(), |(first, last)| {
        format!("Error budget: {first:.1} % left at the beginning, {last:.1} % now")
    });
    html! {
        figure class="spent" {
            svg viewBox={ "0 -2 " (width) " " (HEIGHT + 4.0) } preserveAspectRatio="none" role="img" aria-label=(words) {
                @for (from, to) in gaps(points) { rect class="gap" x=(from) y="0" width=(to - from) height=(HEIGHT) { title { "not measured" } } }
                line class="none" x1="0" x2=(width) y1=(y(0.0)) y2=(y(0.0)) { title { "nothing left" } }
                @for (at, bad) in bars {
                    @let height = (bad / most * HEIGHT * 0.4).max(1.0);
                    rect class="bad" x=(at) width="1" y=(format!("{:.2}", HEIGHT - height)) height=(format!("{height:.2}")) {
                        title { (points[at].time) ": " (bad) " bad of " (points[at].total.unwrap_or(0.0)) }
                    }
                }
                @for deployment in deployed {
                    @let x = place(points, deployment.at.wall_us.div_euclid(MINUTE_US));
                    line class="deployed" x1=(format!("{x:.2}")) x2=(format!("{x:.2}")) y1="0" y2=(HEIGHT) {
                        title { (deployment.service) " " (deployment.version.as_deref().unwrap_or("another version")) ", " (at(deployment.at.wall_us.div_euclid(MINUTE_US))) " UTC" }
                    }
                }
                polyline points=(line.join(" ")) {}
            }
            figcaption {
                span { (first.map_or(String::new(), |point| at(point.minute))) }
                span { "budget left (line), bad events (bars, at most " (most) " at once), deployments (upright), not measured (grey)" }
                span { (last.map_or(String::new(), |point| at(point.minute) + " UTC")) }
            }
        }
    }
}

/// Where a minute is among points, counted in points.
fn place(points: &[BudgetPoint], minute: i64) -> f64 {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return 0.0 };
    let step = (last.minute - first.minute) as f64 / (points.len() - 1).max(1) as f64;
    ((minute - first.minute) as f64 / step.max(1.0) + 0.5).clamp(0.0, points.len() as f64)
}

fn at(minute: i64) -> String {
    let text = domain::Time { boot_us: 0, wall_us: minute * MINUTE_US }.rfc3339();
    format!("{} {}", text.get(5..10).unwrap_or(""), clock_face(minute * MINUTE_US, false))
}

/// The runs of points without a measurement.
fn gaps(points: &[BudgetPoint]) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (at, _) in points.iter().enumerate().filter(|(_, point)| point.total.is_none()) {
        match found.last_mut() {
            Some((_, to)) if *to == at => *to = at + 1,
            _ => found.push((at, at + 1)),
        }
    }
    found
}

fn burns(detail: &Detail) -> Markup {
    html! {
        h2 { "How fast it burns" span class="quiet" { "1× lasts exactly as long as the period; time before the first measurement counts as well" } }
        div class="scroll" { table {
            thead { tr { th { "Window" } th class="number" { "Burn" } th class="number" { "Too fast above" } th { "Then" } } }
            tbody {
                @for burn in &detail.burn_rates {
                    @let limit = api::limit(&detail.objective.alerts, burn.window);
                    @let over = limit.zip(burn.rate).is_some_and(|((limit, _), rate)| rate > limit);
                    tr {
                        td { (burn.window) }
                        td class="number" { @match burn.rate {
                            Some(now) => span class=[over.then_some("over")] { (rate(now)) },
                            None => "–",
                        } }
                        td class="number" { (limit.map_or("–".to_owned(), |(limit, _)| rate(limit))) }
                        td { (limit.map_or("", |(_, severity)| severity)) }
                    }
                }
            }
        } }
        @for alert in &detail.firing {
            p class="facts" { (mark(if alert.severity == domain::SloSeverity::Page { Meaning::Bad } else { Meaning::Attention }, alert.severity.as_str()))
                span { (alert.name) " fires since " (super::time::absolute(alert.started_at)) } }
        }
    }
}

/// What was wrong in the window, which is what burned the budget: issues of the service, or of all where the objective is
/// about no service of the fleet.
fn issues(app: &App, view: &View, detail: &Detail, window: i64) -> Result<Markup, Problem> {
    let since = api::back(view.stamp.now, window * 60);
    let mut rows = app.store.issues_within(since, view.stamp.now)?;
    let at_least = if rows.len() < store::LIST_LIMIT_MAX { "" } else { "at least " };
    let service = &detail.objective.service;
    let known = of_the_fleet(view, detail);
    rows.retain(|issue| {
        issue.kind != IssueKind::SloBurn
            && (!known || issue.resource.service().is_some_and(|name| name.as_str() == service))
    });
    let all = rows.len();
    // What still burns it comes first.
    rows.sort_by_key(|issue| issue.closed_at.is_some());
    rows.truncate(ISSUES);
    Ok(html! {
        h2 { "What was wrong meanwhile" @if all > 0 { a class="more" href="/issues" { "All issues" } } }
        @if rows.is_empty() { p class="empty" { "No issue was found in this time." } }
        @else { (history::issues(view, &rows)) }
        @if all > rows.len() { p class="empty" { (at_least) (all - rows.len()) " more." } }
    })
}

/// One line for the overview; nothing where no objective is evaluated.
pub(super) fn line(app: &App) -> Markup {
    let Some(objectives) = &app.objectives else { return html! {} };
    let mut details = objectives.details();
    details.retain(|detail| measured(detail).is_some());
    details.sort_by(|a, b| left(a).total_cmp(&left(b)));
    html! {
        section class="budgets" aria-label="Error budgets" {
            h2 { "Error budgets" a class="more" href="/slos" { "All objectives" } }
            @if details.is_empty() { p class="empty" { "Nothing was measured of any objective yet." } }
            @else {
                ul class="budgets" {
                    @for detail in details.iter().take(5) {
                        @let (meaning, word) = status(detail.standing.and_then(|standing| standing.status));
                        li title=(word) {
                            a href={ "/slos/" (encode(&detail.objective.id)) } { (detail.objective.id) }
                            (of_share(meaning, measured(detail)))
                            @let left = percent_or(measured(detail));
                            @if meaning >= Meaning::Attention { (mark(meaning, &left)) } @else { span { (left) } }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nines_are_told_apart() {
        assert_eq!([share(0.9), share(0.999), share(0.99999)], ["90 %", "99.9 %", "99.999 %"]);
        assert_eq!([rate(14.4), rate(1000.0)], ["14.4×", "1000×"]);
    }

    #[test]
    fn what_was_not_measured_is_one_band() {
        let point = |total: Option<f64>| BudgetPoint {
            time: String::new(),
            minute: 0,
            bad: total.map(|_| 0.0),
            total,
            remaining_percent: 100.0,
        };
        let points = [None, None, Some(1.0), None].map(point);
        assert_eq!(gaps(&points), [(0, 2), (3, 4)]);
    }
}
