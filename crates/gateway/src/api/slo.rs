//! `observability/slos`, `…/slo/{id}`, `…/slo/{id}/budget`: what is promised, how it stands, and what its error budget went
//! for.
//!
//! Shares are percent; a latency's threshold is in milliseconds; what was not measured is null.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use domain::{Permission, SloAlert, SloSeverity, Time};
use observe::objectives::{Detail, Objectives};
use schemars::JsonSchema;
use serde::Serialize;
use slo::{AlertRule, Forecast, Minutes, Objective, Standing};

use super::{Answer, Asked, json, time};
use crate::endpoint::{Endpoint, Parameter};
use crate::problem::{Code, Listed, Problem};

/// Points of a history at most: a day of minutes, or 60 days of hours.
const POINTS_MAX: i64 = 1440;

/// Ranges up to this many minutes are shown by the minute where nothing else is asked.
const BY_MINUTE_MAX: i64 = 12 * 60;

const MINUTE_US: i64 = 60_000_000;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let id = || Parameter::text("id", "The id of an objective");
    let read = Permission::StateRead;
    let at = |path: &str| format!("/api/v3/observability/{path}");
    vec![
        Endpoint::get(read, &at("slos"), "slos.list", slos)
            .says("Service level objectives, by id")
            .refuses([Code::Unavailable])
            .answers::<Vec<SloShape>>("Objectives with what is left of their error budgets"),
        Endpoint::get(read, &at("slo/{id}"), "slos.get", slo)
            .says("One objective, with its alerts and how long its budget lasts")
            .placeholder(id())
            .refuses([Code::Unavailable])
            .answers::<WholeSlo>("The objective"),
        Endpoint::get(read, &at("slo/{id}/budget"), "slos.budget", slo_budget)
            .says("How an error budget was spent, by minute or hour")
            .placeholder(id())
            .query([
                Parameter::time("from", "Where it begins; the window of the objective where it is left out"),
                Parameter::time("to", "Where it ends; now where it is left out"),
                Parameter::choice("step", ["minute", "hour"], "How long a point is"),
            ])
            .refuses([Code::Unavailable])
            .answers::<BudgetShape<'static>>("Points, oldest first"),
    ]
}

/// `GET …/slos`: every objective, by id.
pub(crate) fn slos(asked: &Asked<'_>) -> Answer {
    let shapes: Vec<SloShape> = objectives(asked)?.details().iter().map(SloShape::of).collect();
    json(StatusCode::OK, &shapes)
}

/// `GET …/slo/{id}`: one, with its alerts and when its budget will be used up.
pub(crate) fn slo(asked: &Asked<'_>) -> Answer {
    let objectives = objectives(asked)?;
    let detail = objectives.detail(asked.name).ok_or_else(|| unknown(asked.name))?;
    let forecast = objectives.forecast(asked.name).unwrap_or(Forecast::Unknown);
    json(StatusCode::OK, &WholeSlo::of(&detail, forecast))
}

/// `GET …/slo/{id}/budget?from=&to=&step=`: events and what was left of the budget, by minute or hour.
pub(crate) fn slo_budget(asked: &Asked<'_>) -> Answer {
    let objectives = objectives(asked)?;
    let detail = objectives.detail(asked.name).ok_or_else(|| unknown(asked.name))?;
    let expected = || "an RFC 3339 time, such as 2026-11-21T03:00:00Z".to_owned();
    let now = asked.app.clock.now();
    let to = asked.query.read("to", time, expected)?.unwrap_or(now);
    let begin = now.wall_us - i64::from(detail.objective.period.get()) * MINUTE_US;
    let from = asked.query.read("from", time, expected)?.unwrap_or(Time { boot_us: 0, wall_us: begin });
    let step = asked.query.read("step", step, || "minute or hour".to_owned())?;
    let (from, to) = (from.wall_us.div_euclid(MINUTE_US), to.wall_us.div_euclid(MINUTE_US) + 1);
    if from >= to {
        return Err(Problem::field("from", "is not before `to`; give an earlier time"));
    }
    let step = step.unwrap_or(if to - from <= BY_MINUTE_MAX { 1 } else { 60 });
    if (to - from) / step > POINTS_MAX {
        let why = format!(
            "makes more than {POINTS_MAX} points with this step; ask for a shorter time, or by the hour"
        );
        return Err(Problem::field("from", why));
    }
    let history = History::of(objectives, &detail.objective, (from, to, step), now);
    json(
        StatusCode::OK,
        &BudgetShape { id: &detail.objective.id, step_minutes: step, points: history.points },
    )
}

fn step(text: &str) -> Option<i64> {
    match text {
        "minute" => Some(1),
        "hour" => Some(60),
        _ => None,
    }
}

fn objectives<'a>(asked: &'a Asked<'_>) -> Result<&'a Arc<Objectives>, Problem> {
    asked.app.objectives.as_ref().ok_or_else(no_objectives)
}

/// None are evaluated here.
pub(crate) fn no_objectives() -> Problem {
    let why = "no objectives are evaluated by this process; run `homeostat serve`";
    Problem::new(Code::Unavailable, why)
}

pub(crate) fn unknown(id: &str) -> Problem {
    Problem::not_among(Listed::Objectives, format!("there is no objective {id:?}"))
}

/// An objective as the specification shows it (§4).
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SloShape {
    id: String,
    name: String,
    service: String,
    metric: &'static str,
    target: f64,
    /// Milliseconds; null where it is no latency.
    threshold: Option<f64>,
    window_days: f64,
    /// Percent that was good; null without events.
    current: Option<f64>,
    coverage: f64,
    error_budget: ErrorBudget,
    burn_rates: Vec<BurnShape>,
    status: &'static str,
    description: String,
    events: EventsShape,
    /// Where events are counted.
    counted_from: &'static str,
    alerts_firing: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ErrorBudget {
    total_minutes: f64,
    consumed_percent: f64,
    remaining_percent: f64,
}

/// Events of the window; of an objective of time slices, slices.
#[derive(Debug, Serialize, JsonSchema)]
struct EventsShape {
    bad: f64,
    total: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct BurnShape {
    window: String,
    window_minutes: u32,
    /// Null without events.
    rate: Option<f64>,
    /// Above it an alert begins, if the other window of its pair says so too; null where none looks at this window.
    threshold: Option<f64>,
    severity: Option<&'static str>,
}

impl SloShape {
    pub(crate) fn of(detail: &Detail) -> Self {
        let Detail { objective, standing, .. } = detail;
        let remaining = standing.map_or(1.0, |standing| standing.budget_remaining);
        let sums = standing.map(|standing| standing.sums).unwrap_or_default();
        Self {
            id: objective.id.clone(),
            name: objective.name.clone(),
            service: objective.service.clone(),
            metric: objective.metric().as_str(),
            target: objective.target.percent(),
            threshold: objective.threshold().map(|limit| limit.as_secs_f64() * 1e3),
            window_days: f64::from(objective.period.get()) / 1440.0,
            current: standing.and_then(|standing| standing.good).map(|good| good * 100.0),
            coverage: standing.map_or(0.0, |standing| standing.coverage) * 100.0,
            error_budget: ErrorBudget {
                total_minutes: Standing::budget_minutes(objective.target, objective.period),
                consumed_percent: (1.0 - remaining) * 100.0,
                remaining_percent: remaining * 100.0,
            },
            burn_rates: detail
                .burn_rates
                .iter()
                .map(|burn| {
                    let limit = limit(&objective.alerts, burn.window);
                    BurnShape {
                        window: burn.window.to_string(),
                        window_minutes: burn.window.get(),
                        rate: burn.rate,
                        threshold: limit.map(|(threshold, _)| threshold),
                        severity: limit.map(|(_, severity)| severity),
                    }
                })
                .collect(),
            status: status_word(standing.as_ref()),
            description: objective.description.clone(),
            events: EventsShape { bad: sums.bad as f64, total: sums.total as f64 },
            counted_from: detail.counted_from,
            alerts_firing: detail.firing.iter().map(|alert| alert.name.clone()).collect(),
        }
    }
}

/// The name of a status; what was not measured is unknown.
pub(crate) fn status_word(standing: Option<&Standing>) -> &'static str {
    standing.and_then(|standing| standing.status).map_or("unknown", |status| status.as_str())
}

/// From which rate on a window is too fast, by the alert that looks at it.
pub(crate) fn limit(alerts: &[AlertRule], window: Minutes) -> Option<(f64, &'static str)> {
    let looks = alerts.iter().flat_map(|alert| alert.when.iter().map(move |burning| (alert, burning)));
    let here = looks.filter(|(_, burning)| burning.long == window || burning.short == Some(window));
    here.map(|(alert, burning)| (burning.factor.value(), alert.severity.as_str()))
        .min_by(|a, b| a.0.total_cmp(&b.0))
}

/// An error budget that burns too fast.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SloAlert")]
struct AlertShape {
    /// The id of the objective.
    objective: String,
    service: String,
    name: String,
    /// Whom it concerns, such as `page`.
    #[schemars(with = "String")]
    severity: SloSeverity,
    started_at: String,
    ended_at: Option<String>,
    /// The windows that told, the shortest first.
    burns: Vec<BurnedShape>,
    /// The share of the error budget that is left: 1 all of it, below 0 overdrawn.
    budget_remaining: f64,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    /// Who is to be told, as the file names them.
    targets: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SloBurn")]
struct BurnedShape {
    window_minutes: u32,
    rate: f64,
    threshold: f64,
}

impl From<&SloAlert> for AlertShape {
    fn from(alert: &SloAlert) -> Self {
        let burned = |burn: &domain::Burn| BurnedShape {
            window_minutes: burn.window_minutes,
            rate: burn.rate,
            threshold: burn.threshold,
        };
        Self {
            objective: alert.objective.clone(),
            service: alert.service.clone(),
            name: alert.name.clone(),
            severity: alert.severity,
            started_at: alert.started_at.rfc3339(),
            ended_at: alert.ended_at.map(Time::rfc3339),
            burns: alert.burns.iter().map(burned).collect(),
            budget_remaining: alert.budget_remaining,
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            targets: alert.targets.clone(),
        }
    }
}

/// An objective with everything about it.
#[derive(Serialize, JsonSchema)]
struct WholeSlo {
    #[serde(flatten)]
    slo: SloShape,
    alerts: Vec<AlertShape>,
    /// `unknown`, `never`, `exhausted`, or `in`.
    budget_lasts: &'static str,
    /// Where it is `in`: minutes until the budget is used up if what comes is as lately.
    budget_lasts_minutes: Option<u32>,
}

impl WholeSlo {
    fn of(detail: &Detail, forecast: Forecast) -> Self {
        let (budget_lasts, budget_lasts_minutes) = match forecast {
            Forecast::Unknown => ("unknown", None),
            Forecast::Exhausted => ("exhausted", None),
            Forecast::In(minutes) => ("in", Some(minutes.get())),
            Forecast::Never => ("never", None),
        };
        Self {
            slo: SloShape::of(detail),
            alerts: detail.firing.iter().map(AlertShape::from).collect(),
            budget_lasts,
            budget_lasts_minutes,
        }
    }
}

#[derive(Serialize, JsonSchema)]
struct BudgetShape<'a> {
    id: &'a str,
    step_minutes: i64,
    points: Vec<BudgetPoint>,
}

/// What was counted in a step, and what was left at its end.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct BudgetPoint {
    /// Where the step begins.
    pub(crate) time: String,
    /// The same in minutes since 1970.
    #[serde(skip)]
    pub(crate) minute: i64,
    /// Bad ones in the step; null where nothing was measured.
    pub(crate) bad: Option<f64>,
    /// All in the step; null where nothing was measured.
    pub(crate) total: Option<f64>,
    /// Percent of the budget of the whole window that was not spent yet by its events up to here.
    pub(crate) remaining_percent: f64,
}

/// How an error budget was spent within its window.
pub(crate) struct History {
    pub(crate) points: Vec<BudgetPoint>,
}

impl History {
    /// Of minutes `from` to `to` (exclusive) in steps. What is left is the budget of all events of the present window, less
    /// the bad ones up to the end of each step: it ends at what is left now.
    pub(crate) fn of(
        objectives: &Objectives,
        objective: &Objective,
        (from, to, step): (i64, i64, i64),
        now: Time,
    ) -> Self {
        let last = now.wall_us.div_euclid(MINUTE_US);
        let first = last - i64::from(objective.period.get()) + 1;
        let counts = objectives.counts(&objective.id, first..last + 1).unwrap_or_default();
        let weighed: Vec<(i64, f64, f64)> = counts
            .into_iter()
            .map(|(minute, counts)| {
                let sums = objective.budgeting.weigh(Some(counts));
                (minute, sums.bad as f64, sums.total as f64)
            })
            .collect();
        let all: f64 = weighed.iter().map(|(_, _, total)| total).sum();
        let budget = all * f64::from(objective.target.budget_billionths()) / 1e9;
        let (mut spent, mut at) = (0.0, 0);
        let mut points = Vec::new();
        let begin = from.div_euclid(step) * step;
        for minute in (begin..to).step_by(step as usize) {
            let mut here: Option<(f64, f64)> = None;
            while let Some((when, bad, total)) = weighed.get(at).filter(|(when, ..)| *when < minute + step) {
                spent += bad;
                if *when >= minute {
                    let sums = here.get_or_insert((0.0, 0.0));
                    *sums = (sums.0 + bad, sums.1 + total);
                }
                at += 1;
            }
            let left = if budget > 0.0 { 1.0 - spent / budget } else { 1.0 };
            points.push(BudgetPoint {
                time: Time { boot_us: 0, wall_us: minute * MINUTE_US }.rfc3339(),
                minute,
                bad: here.map(|(bad, _)| bad),
                total: here.map(|(_, total)| total),
                remaining_percent: left * 100.0,
            });
        }
        Self { points }
    }
}
