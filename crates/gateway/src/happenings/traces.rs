//! Traces that stand for many: the failed and the slow ones of each service.
//!
//! They are the exemplars that the counting of spans keeps, one for each bucket of durations. Slow is what took at least
//! [`SLOW_MIN`] (detection's limit of latency) and [`SLOW_FACTOR`] times the service's median in the same range.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use decide::correlate::Span;
use domain::units::show_duration;
use domain::{Bearing, Happening, HappeningKind, HappeningLink, Sign};
use telemetry::{Exemplar, Histogram, SeriesFilter, SpanKind, Telemetry};

use super::nano;

const SLOW_MIN: Duration = Duration::from_millis(200);
const SLOW_FACTOR: u32 = 3;

/// Of each sort and service; more of the same say no more.
const EACH_MAX: usize = 3;

/// Services that are asked for theirs.
const SERVICES_MAX: usize = 100;

/// Of all services together.
const ALL_MAX: usize = 120;

/// The traces that stand out in a range; of one service, where one is named.
pub(super) fn standing_out(telemetry: &Telemetry, span: Span, service: Option<&str>) -> Vec<Happening> {
    let range = nano(span.from_us)..nano(span.to_us);
    if range.is_empty() {
        return Vec::new();
    }
    let filter = SeriesFilter {
        service: service.map(str::to_owned),
        operation: None,
        kinds: vec![SpanKind::Server, SpanKind::Consumer],
    };
    let mut services: BTreeMap<String, Histogram> = BTreeMap::new();
    for series in telemetry.series(&filter, range.clone()).unwrap_or_default() {
        // What the control plane does itself takes as long as a repair takes.
        if service.is_some() || series.service != crate::OWN_SERVICE {
            services.entry(series.service).or_default().merge(&series.calls);
        }
    }
    // Those with the most failures first: each is asked for its exemplars on its own.
    let mut services: Vec<(String, Histogram)> = services.into_iter().collect();
    services.sort_by(|a, b| b.1.errors().total_cmp(&a.1.errors()).then_with(|| a.0.cmp(&b.0)));
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (service, calls) in services.iter().take(SERVICES_MAX) {
        let median = calls.quantile(0.5).unwrap_or_default();
        let slow = SLOW_MIN.max(median * SLOW_FACTOR);
        let mut exemplars = telemetry.exemplars(&SeriesFilter::incoming(service), range.clone());
        exemplars.sort_by_key(|exemplar| std::cmp::Reverse((exemplar.duration, exemplar.trace_id.0)));
        let errors = exemplars.iter().filter(|exemplar| exemplar.error).take(EACH_MAX);
        let slow_ones =
            exemplars.iter().filter(|exemplar| !exemplar.error && exemplar.duration >= slow).take(EACH_MAX);
        for exemplar in errors.chain(slow_ones) {
            // A trace stands once, at the first service that shows it.
            if seen.insert(exemplar.trace_id.0) {
                found.push(of(service, exemplar, median, exemplar.duration >= slow));
            }
        }
    }
    found.sort_by_key(|event| std::cmp::Reverse((event.bearing, event.from_us)));
    found.truncate(ALL_MAX);
    found
}

fn of(service: &str, exemplar: &Exemplar, median: Duration, slow: bool) -> Happening {
    let from_us = i64::try_from(exemplar.start_unix_nano / 1000).unwrap_or(i64::MAX);
    let took = show_duration(exemplar.duration);
    let mut signs = BTreeSet::new();
    signs.extend(exemplar.error.then_some(Sign::Errors));
    signs.extend(slow.then_some(Sign::Slow));
    let what = if exemplar.error { "failed after" } else { "took" };
    Happening {
        id: exemplar.trace_id.to_string(),
        kind: HappeningKind::Trace,
        from_us,
        to_us: Some(from_us.saturating_add(i64::try_from(exemplar.duration.as_micros()).unwrap_or(0))),
        service: Some(service.to_owned()),
        caller: None,
        label: if exemplar.error { format!("{service} failed") } else { format!("{service} {took}") },
        title: format!(
            "a call of {service} {what} {took}; half of its calls took {} or less",
            show_duration(median)
        ),
        severity: None,
        bearing: if exemplar.error { Bearing::Bad } else { Bearing::Attention },
        signs,
        of: None,
        links: vec![HappeningLink {
            rel: "trace".to_owned(),
            href: format!("/traces/{}", exemplar.trace_id),
        }],
    }
}
