//! What spans say, as the loop takes it: rates, errors and times of the last seconds, per service and per call from
//! one to another.
//!
//! Spans are sent when they ended and batched, so the windows end two seconds before now.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use domain::Window as Counted;
use domain::traces::SeenVersion;
use domain::{LinkName, ServiceName, Time, TraceSource, TracedCalls, Traces};

use super::{Histogram, Link, SeriesFilter};
use crate::Telemetry;
use crate::model::SpanKind;

/// Spans of these last seconds may still be on their way.
const LATE_S: u64 = 2;

/// The seconds that are judged.
const RECENT_S: u64 = 10;

/// The seconds before them, which say what is usual.
const BEFORE_S: u64 = 60;

/// Traces named for a service or link.
const EXEMPLARS_MAX: usize = 3;

const NANOS: u64 = 1_000_000_000;

impl TraceSource for Telemetry {
    fn traces(&self, now: Time) -> Traces {
        let end = (u64::try_from(now.wall_us).unwrap_or(0) / 1_000_000).saturating_sub(LATE_S);
        let middle = end.saturating_sub(RECENT_S);
        let recent = middle * NANOS..end * NANOS;
        let before = middle.saturating_sub(BEFORE_S) * NANOS..middle * NANOS;
        let services = self.traced_services(&recent, &before);
        let links = self.traced_links(&recent, &before, &services);
        Traces { services, links, versions: self.versions(now) }
    }
}

/// What a service was asked, and what it asked of others.
#[derive(Default)]
struct InAndOut {
    asked: Histogram,
    asks: Histogram,
}

impl InAndOut {
    /// Milliseconds of each call spent in the service itself.
    fn own_ms(&self) -> Option<f64> {
        let own = self.asked.sum().saturating_sub(self.asks.sum());
        (!self.asked.is_empty()).then(|| own.as_secs_f64() * 1e3 / self.asked.calls())
    }
}

impl Telemetry {
    fn traced_services(
        &self,
        recent: &Range<u64>,
        before: &Range<u64>,
    ) -> BTreeMap<ServiceName, TracedCalls> {
        let mut usual = self.in_and_out(before);
        let mut services = BTreeMap::new();
        for (service, calls) in self.in_and_out(recent) {
            // What is no name of ours is no service of ours.
            let Ok(name) = ServiceName::try_from(service.clone()) else { continue };
            if calls.asked.is_empty() {
                continue;
            }
            let usual = usual.remove(&service).unwrap_or_default();
            let traced = TracedCalls {
                recent: counted(&calls.asked, recent),
                before: counted(&usual.asked, before),
                own_ms: calls.own_ms(),
                own_ms_before: usual.own_ms(),
                own_errors: (calls.asked.errors() - calls.asks.errors()).max(0.0).round() as u64,
                exemplars: self.traces_to_look_at(&service, recent),
                estimated: calls.asked.estimated(),
            };
            services.insert(name, traced);
        }
        services
    }

    /// The version of each service that its spans agree on.
    fn versions(&self, now: Time) -> BTreeMap<ServiceName, SeenVersion> {
        let now_s = u32::try_from(now.wall_us / 1_000_000).unwrap_or(0);
        let told = self.derived().ask(|state, _| state.versions.told(now_s));
        let seen = |since: u32, version| SeenVersion {
            version,
            since: now.minus(Duration::from_secs(now_s.saturating_sub(since).into())),
        };
        let named = told.into_iter().filter_map(|(service, version, since)| {
            Some((ServiceName::try_from(service).ok()?, seen(since, version)))
        });
        named.collect()
    }

    fn in_and_out(&self, range: &Range<u64>) -> BTreeMap<String, InAndOut> {
        let mut services: BTreeMap<String, InAndOut> = BTreeMap::new();
        for series in self.series(&SeriesFilter::default(), range.clone()).unwrap_or_default() {
            let service = services.entry(series.service).or_default();
            match series.kind {
                SpanKind::Server | SpanKind::Consumer => service.asked.merge(&series.calls),
                SpanKind::Client => service.asks.merge(&series.calls),
                SpanKind::Producer | SpanKind::Internal | SpanKind::Unspecified => {}
            }
        }
        services
    }

    fn traced_links(
        &self,
        recent: &Range<u64>,
        before: &Range<u64>,
        services: &BTreeMap<ServiceName, TracedCalls>,
    ) -> BTreeMap<LinkName, TracedCalls> {
        let mut usual = self.calls_between(before);
        let links = self.calls_between(recent).into_iter().map(|(link, calls)| {
            let usual = usual.remove(&link).unwrap_or_default();
            let traced = TracedCalls {
                recent: counted(&calls, recent),
                before: counted(&usual, before),
                exemplars: services.get(&link.to).map(|callee| callee.exemplars.clone()).unwrap_or_default(),
                estimated: calls.estimated(),
                ..TracedCalls::default()
            };
            (link, traced)
        });
        links.collect()
    }

    fn calls_between(&self, range: &Range<u64>) -> BTreeMap<LinkName, Histogram> {
        let mut links: BTreeMap<LinkName, Histogram> = BTreeMap::new();
        for dependency in self.dependencies(range.clone()).unwrap_or_default() {
            let names = (ServiceName::try_from(dependency.caller), ServiceName::try_from(dependency.callee));
            if let ((Ok(from), Ok(to)), Link::Call) = (names, dependency.link) {
                links.entry(LinkName { from, to }).or_default().merge(&dependency.caller_view);
            }
        }
        links
    }

    /// Failing ones first, then the slowest.
    fn traces_to_look_at(&self, service: &str, range: &Range<u64>) -> Vec<String> {
        let mut exemplars = self.exemplars(&SeriesFilter::incoming(service), range.clone());
        exemplars.sort_by_key(|exemplar| std::cmp::Reverse((exemplar.error, exemplar.duration)));
        exemplars.iter().take(EXEMPLARS_MAX).map(|exemplar| exemplar.trace_id.to_string()).collect()
    }
}

fn counted(calls: &Histogram, range: &Range<u64>) -> Counted {
    let ms = |quantile: Option<Duration>| quantile.map(|quantile| quantile.as_secs_f64() * 1e3);
    Counted {
        seconds: u32::try_from((range.end - range.start) / NANOS).unwrap_or(u32::MAX),
        requests: calls.calls().round() as u64,
        errors: calls.errors().round() as u64,
        p50_ms: ms(calls.quantile(0.5)),
        p95_ms: ms(calls.quantile(0.95)),
        ..Counted::default()
    }
}
