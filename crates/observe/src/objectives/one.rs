//! One objective: where its events come from, its tracker, and where in the fleet its bad events are.
//!
//! In: counts by the second since 1970, from spans, links, series, repairs or our own answers. Out: its [`ObjectiveState`], and
//! what is written down of it to go on after a restart. A second counts once, by one source.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use domain::{BadEvents, LinkName, ObjectiveState, ResourceId, ServiceName, Time};
use provider::sample::LinkSample;
use serde::{Deserialize, Serialize};
use slo::{Counts, Events, Exact, Good, Indicator, Metric, Objective, SpanRole, Standing, Tracker};
use telemetry::{Tallied, Watched, WatchedRole};

use super::Detail;
use super::links::{Wanted, second_counts};
use super::series::Counters;

/// Seconds that say how it is lately.
const LATELY: i64 = 10;

/// Seconds that events take to come in: link seconds are complete after one, spans are sent in batches.
const ON_THEIR_WAY: i64 = 2;

/// Events in these seconds that tell something.
const EVENTS_MIN: u64 = 5;

/// Events stamped further ahead than this are of a clock that is wrong; they are left out.
const AHEAD_S: i64 = 60;

/// Where an objective's events are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    /// Spans.
    Spans {
        /// Those that ended at this second since 1970 or later; what ended before is the links'. All where it is `None`.
        since: Option<i64>,
    },
    /// The keeper's links.
    Links,
    /// The keeper's links until the first span comes.
    LinksUntilSpans,
    /// The loop's own repairs.
    Remediations,
    /// Our own answers.
    Gateway,
    /// Stored series.
    Series,
}

/// One objective.
pub(super) struct Followed {
    pub(super) objective: Arc<Objective>,
    pub(super) tracker: Tracker,
    pub(super) source: Source,
    /// The spans it counts, where it does, and the number they are told by.
    pub(super) watched: Option<Watched>,
    pub(super) watch: Option<usize>,
    pub(super) counters: Counters,
    standing: Option<Standing>,
    /// What was counted lately, by second since 1970, oldest first.
    recent: VecDeque<(i64, Counts)>,
    /// Bad events by place, halved every minute.
    places: BTreeMap<ResourceId, f64>,
    places_minute: i64,
    resource: Option<ResourceId>,
    specific: bool,
    alerted: bool,
}

impl Followed {
    /// An objective with what was counted of it before.
    pub(super) fn new(
        objective: Arc<Objective>,
        tracker: Tracker,
        source: Source,
        counters: Counters,
    ) -> Self {
        let watched = watched(&objective);
        Self {
            objective,
            tracker,
            source,
            watched,
            watch: None,
            counters,
            standing: None,
            recent: VecDeque::new(),
            places: BTreeMap::new(),
            places_minute: 0,
            resource: None,
            specific: false,
            alerted: false,
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.objective.id
    }

    /// Counts events that ended in a second since 1970-01-01 UTC.
    pub(super) fn count(&mut self, second: i64, counts: Counts, place: Option<ResourceId>) {
        self.tracker.count(second.div_euclid(60), counts);
        if counts.total() > 0 {
            match self.recent.iter_mut().rev().find(|(known, _)| *known <= second) {
                Some((known, sum)) if *known == second => *sum = sum.plus(counts),
                _ => {
                    let at = self.recent.partition_point(|(known, _)| *known < second);
                    self.recent.insert(at, (second, counts));
                }
            }
        }
        if let Some(place) = place.filter(|_| counts.bad() > 0) {
            *self.places.entry(place).or_default() += counts.bad() as f64;
        }
    }

    /// Counts spans that were told.
    pub(super) fn take_spans(&mut self, told: &Tallied, now: Time, services: &[ServiceName]) {
        let now_s = now.wall_us.div_euclid(1_000_000);
        if self.source == Source::LinksUntilSpans {
            self.source = Source::Spans { since: Some(now_s) };
        }
        let Source::Spans { since } = self.source else { return };
        if since.is_some_and(|since| told.second < since) || told.second > now_s + AHEAD_S {
            return;
        }
        let known = services.iter().find(|service| service.as_str() == &*told.service);
        let place = known.map(|service| ResourceId::Service(service.clone()));
        self.count(told.second, Counts::of_bad(told.bad, told.total), place);
    }

    /// The first second since 1970 that the links do not tell it of; `None` where they tell of none.
    fn links_end(&self) -> Option<i64> {
        match self.source {
            Source::Links | Source::LinksUntilSpans => Some(i64::MAX),
            Source::Spans { since } => since,
            Source::Remediations | Source::Gateway | Source::Series => None,
        }
    }

    /// Counts seconds of the links. `offset` leads from seconds since boot to those since 1970.
    pub(super) fn count_links(
        &mut self,
        links: &BTreeMap<LinkName, LinkSample>,
        seconds: Range<u64>,
        offset: i64,
    ) {
        let Some(end) = self.links_end().filter(|end| seconds.start as i64 + offset < *end) else { return };
        let objective = Arc::clone(&self.objective);
        let Some(wanted) = wanted(&objective) else { return };
        let Some(counted) = second_counts(links, &wanted, seconds.clone()) else { return };
        for second in seconds {
            let on_the_wall = second as i64 + offset;
            if on_the_wall >= end {
                return;
            }
            // The keeper answered: a second without requests is measured too.
            self.count(on_the_wall, Counts::NONE, None);
            for (name, counts) in counted.get(&second).into_iter().flatten() {
                self.count(on_the_wall, *counts, Some(ResourceId::Link((*name).clone())));
            }
        }
    }

    /// Finds where in the fleet its events are.
    pub(super) fn settle(&mut self, services: &[ServiceName]) {
        let own = own_resource(&self.objective, services);
        self.specific = own.is_some();
        if own.is_some() {
            self.resource = own;
        }
    }

    /// How it stands now.
    pub(super) fn evaluate(&mut self, now: Time) -> ObjectiveState {
        let standing = self.tracker.evaluate(now).standing;
        self.standing = Some(standing);
        let alert = self
            .tracker
            .firing()
            .max_by(|a, b| a.severity.cmp(&b.severity).then(a.beyond().total_cmp(&b.beyond())));
        let now_s = now.wall_us.div_euclid(1_000_000);
        if std::mem::replace(&mut self.places_minute, now_s.div_euclid(60)) != now_s.div_euclid(60) {
            self.places.values_mut().for_each(|bad| *bad /= 2.0);
            self.places.retain(|_, bad| *bad >= 0.5);
        }
        // Where it burns stays the same as long as it does, so that it is one issue.
        let begins = alert.is_some() && (!self.alerted || self.resource.is_none());
        self.alerted = alert.is_some();
        if !self.specific && (begins || !self.alerted) {
            let worst = self.places.iter().max_by(|a, b| a.1.total_cmp(b.1));
            self.resource = worst.filter(|_| begins).map(|(place, _)| place.clone());
        }
        let budget = f64::from(self.objective.target.budget_billionths()) / 1e9;
        ObjectiveState {
            service: self.objective.service.clone(),
            resource: self.resource.clone(),
            specific: self.specific,
            bad: if self.objective.metric() == Metric::Latency { BadEvents::Slow } else { BadEvents::Failed },
            status: standing.status,
            budget,
            budget_remaining: standing.budget_remaining,
            lately: self.lately(now_s).map(|bad| bad / budget),
            alert,
        }
    }

    /// The share of events of the last seconds that were bad; `None` with too few to tell.
    fn lately(&mut self, now_s: i64) -> Option<f64> {
        let end = now_s - ON_THEIR_WAY;
        self.recent.retain(|(second, _)| *second >= end - LATELY && *second <= now_s + AHEAD_S);
        let within = self.recent.iter().filter(|(second, _)| *second < end);
        let sum = within.fold(Counts::NONE, |sum, (_, counts)| sum.plus(*counts));
        (sum.total() >= EVENTS_MIN).then(|| sum.bad() as f64 / sum.total() as f64)
    }

    /// Everything about it.
    pub(super) fn detail(&self) -> Detail {
        Detail {
            objective: Arc::clone(&self.objective),
            standing: self.standing,
            burn_rates: self.tracker.burn_rates(),
            firing: self.tracker.firing().collect(),
            counted_from: match self.source {
                Source::Spans { .. } => "spans",
                Source::Links => "requests through the links",
                Source::LinksUntilSpans => {
                    "requests through the links, durations to 9 %; spans as soon as one matches"
                }
                Source::Remediations => "repairs that ended",
                Source::Gateway => "answers of Homeostat's gateway",
                Source::Series => "stored series",
            },
        }
    }
}

/// Where events are counted that nothing was counted of yet.
pub(super) fn source(objective: &Objective, spans_come: bool) -> Source {
    let Indicator::Exact(exact) = &objective.indicator else { return Source::Series };
    match &exact.events {
        Events::Spans { operation: None, role: None | Some(SpanRole::Server), .. } if spans_come => {
            Source::LinksUntilSpans
        }
        Events::Spans { operation: None, role: None | Some(SpanRole::Server), .. } => Source::Links,
        Events::Spans { .. } => Source::Spans { since: None },
        Events::Requests { .. } => Source::Links,
        Events::Remediations => Source::Remediations,
        Events::Gateway => Source::Gateway,
    }
}

/// The spans an objective counts.
fn watched(objective: &Objective) -> Option<Watched> {
    let Indicator::Exact(Exact { events: Events::Spans { service, operation, role }, good }) =
        &objective.indicator
    else {
        return None;
    };
    let nanos = |limit: Duration| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    Some(Watched {
        service: service.clone(),
        operation: operation.clone(),
        role: match role {
            None => WatchedRole::Any,
            Some(SpanRole::Server) => WatchedRole::Server,
            Some(SpanRole::Client) => WatchedRole::Client,
            Some(SpanRole::Database) => WatchedRole::Database,
        },
        slow_from_nano: match good {
            Good::Succeeded | Good::NotFailed => None,
            Good::Faster(limit) => Some(nanos(*limit)),
            Good::AtMost(limit) => Some(nanos(*limit).saturating_add(1)),
        },
    })
}

/// The requests through links that stand for an objective's events; `None` where none do.
fn wanted(objective: &Objective) -> Option<Wanted<'_>> {
    let Indicator::Exact(Exact { events, good }) = &objective.indicator else { return None };
    let (from, to) = match events {
        Events::Requests { from, to } => (from.as_deref(), to.as_deref()),
        Events::Spans { service, operation: None, role: None | Some(SpanRole::Server) } => {
            (None, service.as_deref())
        }
        _ => return None,
    };
    let slow_from = match good {
        Good::Succeeded | Good::NotFailed => None,
        Good::Faster(limit) | Good::AtMost(limit) => Some(*limit),
    };
    Some(Wanted { from, to, slow_from })
}

/// The service or link of the fleet an objective is about; `None` where it is about more, or about something else.
fn own_resource(objective: &Objective, services: &[ServiceName]) -> Option<ResourceId> {
    let known = |name: &str| services.iter().find(|service| service.as_str() == name).cloned();
    if let Indicator::Exact(Exact { events, .. }) = &objective.indicator {
        match events {
            Events::Requests { from: Some(from), to: Some(to) } => {
                let to = known(to)?;
                return match known(from) {
                    Some(from) => Some(ResourceId::Link(LinkName { from, to })),
                    None if from == LinkName::OUTSIDE => Some(ResourceId::Link(LinkName::from_outside(to))),
                    None => None,
                };
            }
            Events::Requests { to: Some(service), .. } | Events::Spans { service: Some(service), .. } => {
                return known(service).map(ResourceId::Service);
            }
            Events::Remediations | Events::Gateway => return None,
            Events::Requests { .. } | Events::Spans { .. } => {}
        }
    }
    known(&objective.service).map(ResourceId::Service)
}
