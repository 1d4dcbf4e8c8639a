//! The objectives as a list.

use std::collections::BTreeSet;

use maud::{Markup, html};
use observe::objectives::Detail;
use serde_json::json;

use super::{lately, left, measured, objectives, percent_or, rate, share, status};
use crate::body::encode;
use crate::page::figures::of_share;
use crate::page::list::{Column, Filter, List, Listed, Source};
use crate::page::marks::{Meaning, mark};
use crate::problem::Problem;
use crate::serve::App;

const STATUSES: [&str; 5] = ["breached", "critical", "warning", "healthy", "unknown"];

/// The objectives, that with the least left of its budget first.
pub(in crate::page) fn listed(app: &App) -> Result<Listed<'_, Detail>, Problem> {
    let mut details = objectives(app)?.details();
    details.sort_by(|a, b| left(a).total_cmp(&left(b)));
    Ok(Listed { list: list_of(&details), source: Source::Whole(details) })
}

/// Objectives on the page of something else.
pub(in crate::page) fn table(details: &[Detail]) -> Markup {
    list_of(details).plain(details)
}

fn list_of(details: &[Detail]) -> List<'static, Detail> {
    let services: BTreeSet<String> = details.iter().map(|detail| detail.objective.service.clone()).collect();
    List {
        address: "/slos",
        nouns: ("objective", "objectives"),
        columns: columns(),
        filters: vec![
            Filter::choice("status", "Status", STATUSES.map(|name| (name, name)))
                .keeping(|detail: &Detail, name| status_of(detail).1 == name),
            Filter::choice("service", "Service", services.into_iter().map(|name| (name.clone(), name)))
                .keeping(|detail: &Detail, name| detail.objective.service == name),
        ],
        key: Box::new(|detail| detail.objective.id.clone()),
        empty: html! {
            p class="empty" {
                "An objective says which share of events has to be good, such as 99.9 % of requests in 30 days. Name files of them in "
                code { "[slo] files" } "; " code { "homeostat slo check FILE" } " says whether they can be read."
            }
        },
    }
}

fn columns() -> Vec<Column<'static, Detail>> {
    let good = |detail: &Detail| detail.standing.and_then(|standing| standing.good);
    let coverage = |detail: &Detail| detail.standing.map(|standing| standing.coverage * 100.0);
    vec![
        Column::new("status", "Status", |detail: &Detail| json!(status_of(detail).1))
            .shown(|detail| {
                let (meaning, word) = status_of(detail);
                mark(meaning, word)
            })
            .ranked(|detail| f64::from(status_of(detail).0 as u8)),
        Column::new("objective", "Objective", |detail: &Detail| json!(detail.objective.id))
            .class("what")
            .shown(|Detail { objective, .. }| {
                html! {
                    a href={ "/slos/" (encode(&objective.id)) } { (objective.id) }
                    @if !objective.description.is_empty() { div class="quiet" { (objective.description) } }
                }
            })
            .sorted(),
        Column::new("budget_left_percent", "Budget left", |detail: &Detail| {
            json!(measured(detail).map(|left| left * 100.0))
        })
        .class("budget")
        .shown(|detail| {
            html! {
                @let left = measured(detail);
                span class=[left.filter(|left| *left < 0.0).map(|_| "over")] { (percent_or(left)) }
                (of_share(status_of(detail).0, left))
            }
        })
        .sorted(),
        Column::new("target_percent", "Target", |detail: &Detail| {
            json!(detail.objective.target.ratio() * 100.0)
        })
        .class("number")
        .shown(|detail| html! { (share(detail.objective.target.ratio())) })
        .sorted(),
        Column::new("current_percent", "Current", move |detail: &Detail| {
            json!(good(detail).map(|good| good * 100.0))
        })
        .class("number")
        .shown(move |detail| html! { (good(detail).map_or("–".to_owned(), share)) })
        .sorted(),
        Column::new("burn_rate", "Burn, 1 h", |detail: &Detail| json!(lately(detail)))
            .class("number")
            .shown(|detail| html! { (lately(detail).map_or("–".to_owned(), rate)) })
            .sorted(),
        Column::new("coverage_percent", "Coverage", move |detail: &Detail| json!(coverage(detail)))
            .class("number")
            .shown(move |detail| html! { (coverage(detail).map_or("–".to_owned(), super::whole_percent)) })
            .sorted(),
        Column::unseen("service", |detail: &Detail| json!(detail.objective.service)),
        Column::unseen("description", |detail: &Detail| json!(detail.objective.description)),
    ]
}

fn status_of(detail: &Detail) -> (Meaning, &'static str) {
    status(detail.standing.and_then(|standing| standing.status))
}
