//! The lane of the error budget: what was left of it over the axis.
//!
//! There may be many objectives and there is one lane: it shows the one with the least left, of those about the service
//! where one is named.

use domain::Lane;
use maud::{Markup, html};
use observe::objectives::{Detail, Objectives};

use super::draw::{Axis, percent};
use super::lanes::title;
use crate::api::{BudgetPoint, History};
use crate::body::encode;
use crate::happenings::time;
use crate::serve::App;

const HEIGHT: u32 = 36;

const MINUTE_US: i64 = 60_000_000;

/// Points of the line at most.
const POINTS: i64 = 240;

/// The lane; nothing where no objective about it was measured.
pub(super) fn lane(app: &App, axis: Axis, service: Option<&str>) -> Markup {
    let Some(objectives) = app.objectives.as_deref() else { return html! {} };
    let Some(detail) = least(app, objectives, service) else { return html! {} };
    let from = axis.begin_us.div_euclid(MINUTE_US);
    let to = axis.end_us.min(axis.now_us).div_euclid(MINUTE_US) + 1;
    let step = ((to - from) / POINTS).max(1);
    let history = History::of(objectives, &detail.objective, (from, to, step), time(app.clock.now().wall_us));
    drawn(axis, &detail, &history.points, step)
}

/// The objective with the least left among those about a service.
pub(crate) fn about(app: &App, objectives: &Objectives, service: &str) -> Vec<Detail> {
    let states = app.control.snapshot().map(|snapshot| snapshot.objectives.clone()).unwrap_or_default();
    let mut details = objectives.details();
    details.retain(|detail| {
        let placed = states.get(&detail.objective.id).filter(|state| state.specific);
        let on = placed.and_then(|state| state.resource.as_ref()?.service());
        detail.objective.service == service || on.is_some_and(|on| on.as_str() == service)
    });
    details
}

fn least(app: &App, objectives: &Objectives, service: Option<&str>) -> Option<Detail> {
    let details = match service {
        Some(service) => about(app, objectives, service),
        None => objectives.details(),
    };
    let left = |detail: &Detail| {
        detail.standing.filter(|standing| standing.status.is_some()).map(|standing| standing.budget_remaining)
    };
    let measured = details.into_iter().filter_map(|detail| Some((left(&detail)?, detail)));
    let least =
        measured.min_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.objective.id.cmp(&b.1.objective.id)));
    least.map(|(_, detail)| detail)
}

fn drawn(axis: Axis, detail: &Detail, points: &[BudgetPoint], step: i64) -> Markup {
    let lowest = points.iter().map(|point| point.remaining_percent).fold(0.0_f64, f64::min);
    let highest = points.iter().map(|point| point.remaining_percent).fold(100.0_f64, f64::max);
    let y = |share: f64| (highest - share) / (highest - lowest) * f64::from(HEIGHT - 4) + 2.0;
    let place = |point: &BudgetPoint| axis.percent((point.minute + step) * MINUTE_US) * 10.0;
    let line: Vec<String> =
        points.iter().map(|point| format!("{:.1},{:.1}", place(point), y(point.remaining_percent))).collect();
    let now = points.last().map_or(100.0, |point| point.remaining_percent);
    let first = points.first().map_or(100.0, |point| point.remaining_percent);
    let words =
        format!("{}: {now:.1} % of its budget left, {first:.1} % at the beginning", detail.objective.id);
    let word = if now <= 0.0 {
        "bad"
    } else if now < 50.0 {
        "attention"
    } else {
        "quiet"
    };
    html! {
        div class="lane budget" {
            span { (title(Lane::Budget)) " " span class="figure" { (format!("{now:.0} %").replace('-', "−")) } span class="narrow-only" { " left of " (detail.objective.id) } }
            a href={ "/slos/" (encode(&detail.objective.id)) } title=(words) {
                svg class=(word) height=(HEIGHT) role="img" aria-label=(words) {
                    svg width="100%" height=(HEIGHT) viewBox={ "0 0 1000 " (HEIGHT) } preserveAspectRatio="none" aria-hidden="true" {
                        line class="limit" x1="0" x2="1000" y1=(format!("{:.1}", y(0.0))) y2=(format!("{:.1}", y(0.0))) {}
                        polyline points=(line.join(" ")) {}
                    }
                    @if axis.now_us < axis.end_us {
                        line class="now" x1=(percent(axis.percent(axis.now_us))) x2=(percent(axis.percent(axis.now_us))) y1="0" y2=(HEIGHT) {}
                    }
                    text class="wide-only" x="4" y=(HEIGHT - 6) { (detail.objective.id) }
                }
            }
        }
    }
}
