//! What belongs together and what changed before, in words.

use std::collections::BTreeMap;

use decide::correlate::{Correlation, Pattern, PatternName};
use domain::Happening;
use domain::units::show_duration;
use maud::{Markup, html};
use std::time::Duration;

use super::lanes;
use crate::happenings::time;
use crate::page::marks::{Meaning, mark, of_bearing};
use crate::page::sentence::capital;
use crate::page::time::Stamp;

/// Changes that are told; the rest is older or further away.
const CHANGES: usize = 8;

/// The patterns, the surest first, each with its evidence and its events.
pub(crate) fn patterns<'a>(
    stamp: Stamp,
    answer: &Correlation,
    chosen: impl IntoIterator<Item = &'a Pattern>,
) -> Markup {
    let events: BTreeMap<&str, &Happening> =
        answer.events.iter().map(|event| (event.id.as_str(), event)).collect();
    html! {
        ul class="patterns" {
            @for pattern in chosen {
                li data-key={ (pattern.from_us) (pattern.service) (word(pattern.name)) } {
                    p class="facts" {
                        (mark(meaning(pattern.name), word(pattern.name)))
                        span title="worked out from the evidence below; the formula of each pattern is in the documentation of decide::correlate" {
                            (format!("{:.0} %", pattern.confidence.0)) " sure"
                        }
                        span { (stamp.ago(time(pattern.from_us))) }
                    }
                    p class="what" { (capital(&pattern.sentence)) "." }
                    ul class="evidence" { @for text in &pattern.evidence { li { (text) } } }
                    p class="facts" {
                        span { "affects " (links(&pattern.affected_services.iter().map(String::as_str).collect::<Vec<_>>())) }
                    }
                    ul class="members" {
                        @for event in pattern.events.iter().filter_map(|id| events.get(id.as_str())) {
                            li { (mark(of_bearing(event.bearing), event.kind.name())) " " a href=(lanes::href(event)) { (event.title) } }
                        }
                    }
                }
            }
        }
    }
}

fn meaning(name: PatternName) -> Meaning {
    match name {
        PatternName::SlowTracesWithErrors | PatternName::SharedDependency => Meaning::Bad,
        PatternName::DeploymentThenRegression => Meaning::Attention,
    }
}

fn word(name: PatternName) -> &'static str {
    match name {
        PatternName::SlowTracesWithErrors => "slow and failing",
        PatternName::DeploymentThenRegression => "worse since a deployment",
        PatternName::SharedDependency => "shared dependency",
    }
}

fn links(services: &[&str]) -> Markup {
    html! {
        @for (place, service) in services.iter().enumerate() {
            @if place > 0 { ", " } a href={ "/services/" (service) } { (service) }
        }
    }
}

/// The changes before a time, the nearest service first.
pub(crate) fn changed_before(answer: &Correlation) -> Markup {
    let events: BTreeMap<&str, &Happening> =
        answer.events.iter().map(|event| (event.id.as_str(), event)).collect();
    let known = answer.changes.iter().filter_map(|change| Some((change, *events.get(change.id.as_str())?)));
    let shown: Vec<_> = known.take(CHANGES).collect();
    html! {
        @if shown.is_empty() {
            p class="empty" { "Nothing that is known of: no deployment, no repair, no fault of our own." }
        } @else {
            ul class="rows changes" {
                @for (change, event) in shown {
                    li data-key=(event.id) {
                        (mark(of_bearing(event.bearing), event.kind.name()))
                        span class="what" { a href=(lanes::href(event)) { (event.title) } }
                        span class="side" {
                            (show_duration(Duration::from_micros(change.before_us.unsigned_abs()))) " before"
                            @match change.distance {
                                Some(0) => ", here",
                                Some(1) => ", one call away",
                                Some(calls) => { ", " (calls) " calls away" },
                                None => {},
                            }
                        }
                    }
                }
            }
        }
    }
}
