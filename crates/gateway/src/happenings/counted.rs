//! What services were asked: whole ranges, and step by step.
//!
//! Spans know most: calls, errors and times of the last day. Where a service sends none, the proxies on the links into
//! it were counted into series, without times; where no series are kept, the last look has half a minute of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use decide::correlate::{Span, Step};
use decide::service::Calls;
use promql::{MatchOp, Matcher, Select, Source as _, Value};
use telemetry::{RedPoint, SeriesFilter, Telemetry, Window};

use super::nano;
use crate::serve::App;

/// The minutes that tell how a service is now.
pub(crate) const RECENT_SECONDS: i64 = 300;

/// The time that availability is over.
pub(crate) const DAY_SECONDS: i64 = 86_400;

/// Seconds of spans are kept for ten minutes; a little less, so that all of them are there.
const FINE_US: i64 = 540_000_000;
/// A release that is taken back after a quarter of a minute has enough of them to be judged by.
const FINE_STEP_US: i64 = 2_000_000;
const MINUTE_US: i64 = 60_000_000;

/// Services of one question. Each is read step by step.
const SERVICES_MAX: usize = 200;

/// Who counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The service's own spans.
    Spans,
    /// The proxies on the links into it, kept as series.
    Links,
    /// The same, as the last look saw them.
    Look,
}

impl Source {
    /// The name in the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Links => "links",
            Self::Look => "last_look",
        }
    }
}

/// Calls of a service over the last `seconds`, and who counted them; `None` where nobody does.
pub(crate) fn calls_over(app: &App, service: &str, seconds: i64, now_us: i64) -> Option<(Calls, Source)> {
    let span = Span { from_us: now_us - seconds * 1_000_000, to_us: now_us };
    let of_spans = app.telemetry.as_ref().and_then(|telemetry| spans_over(telemetry, service, span));
    let of_spans = of_spans.map(|calls| (calls, Source::Spans));
    of_spans.or_else(|| Some((links_over(app, service, span)?, Source::Links))).or_else(|| {
        let calls = look(app, service)?;
        (seconds <= RECENT_SECONDS).then_some((calls, Source::Look))
    })
}

/// `None` where the service sent no spans in the range.
fn spans_over(telemetry: &Telemetry, service: &str, span: Span) -> Option<Calls> {
    let window = Window::whole(nano(span.from_us), nano(span.to_us)).ok()?;
    let points = telemetry.red(&SeriesFilter::incoming(service), window);
    let point = points.first().filter(|point| !point.calls.is_empty())?;
    Some(Calls {
        seconds: (span.to_us - span.from_us) as f64 / 1e6,
        calls: point.calls.calls(),
        errors: point.calls.errors(),
        mean_ms: point.calls.mean().map(|mean| mean.as_secs_f64() * 1e3),
    })
}

/// The sum over all links into it.
fn links_over(app: &App, service: &str, span: Span) -> Option<Calls> {
    let steps = link_steps(app, service, span, span.to_us - span.from_us)?;
    let (calls, errors) = steps.iter().fold((0.0, 0.0), |(c, e), step| (c + step.calls, e + step.errors));
    Some(Calls { seconds: (span.to_us - span.from_us) as f64 / 1e6, calls, errors, mean_ms: None })
}

fn look(app: &App, service: &str) -> Option<Calls> {
    let snapshot = app.control.snapshot()?;
    let mut found: Option<Calls> = None;
    for (_, link) in snapshot.links.iter().filter(|(name, _)| name.to.as_str() == service) {
        let (recent, before) = (&link.recent, &link.before);
        let sum = found.get_or_insert(Calls { seconds: 0.0, calls: 0.0, errors: 0.0, mean_ms: None });
        sum.seconds = sum.seconds.max(f64::from(recent.seconds + before.seconds));
        sum.calls += (recent.requests + before.requests) as f64;
        sum.errors += (recent.errors + before.errors) as f64;
    }
    found
}

/// What services were asked in a range, step by step: two seconds each in the newest nine minutes, else a minute.
pub(crate) fn steps<'a>(
    app: &App,
    services: impl IntoIterator<Item = &'a str>,
    span: Span,
) -> BTreeMap<String, Vec<Step>> {
    let services: BTreeSet<&str> = services.into_iter().collect();
    let now_us = app.clock.now().wall_us;
    let mut all = BTreeMap::new();
    for service in services.into_iter().take(SERVICES_MAX) {
        let of_spans = app.telemetry.as_ref().map(|telemetry| span_steps(telemetry, service, span, now_us));
        let found = of_spans
            .filter(|steps| steps.iter().any(|step| step.calls > 0.0))
            .or_else(|| link_steps(app, service, span, FINE_STEP_US))
            .unwrap_or_default();
        all.insert(service.to_owned(), found);
    }
    all
}

fn span_steps(telemetry: &Telemetry, service: &str, span: Span, now_us: i64) -> Vec<Step> {
    let up =
        |us: i64, step: i64| us.div_euclid(step) * step + if us.rem_euclid(step) == 0 { 0 } else { step };
    let fine_from = up(now_us - FINE_US, MINUTE_US);
    let coarse = Span { from_us: up(span.from_us, MINUTE_US), to_us: span.to_us.min(fine_from) };
    let fine = Span { from_us: up(span.from_us.max(fine_from), FINE_STEP_US), to_us: span.to_us.min(now_us) };
    let of = |span: Span, step_us: i64| points(telemetry, service, span, step_us);
    of(coarse, MINUTE_US).iter().chain(&of(fine, FINE_STEP_US)).map(step).collect()
}

/// Whole steps alone: half a step is not to be compared with a whole one.
fn points(telemetry: &Telemetry, service: &str, span: Span, step_us: i64) -> Vec<RedPoint> {
    let end = span.from_us + (span.to_us - span.from_us).div_euclid(step_us) * step_us;
    if end <= span.from_us {
        return Vec::new();
    }
    let step = Duration::from_micros(step_us.unsigned_abs());
    let window = Window::new(nano(span.from_us), nano(end), step);
    window.map(|window| telemetry.red(&SeriesFilter::incoming(service), window)).unwrap_or_default()
}

/// What a service was asked in a range, minute by minute; the one that is not over is left out.
pub(crate) fn minutes(app: &App, service: &str, span: Span) -> Vec<Step> {
    let whole = Span { from_us: span.from_us.div_euclid(MINUTE_US) * MINUTE_US, ..span };
    let of_spans = app.telemetry.as_ref().map(|telemetry| points(telemetry, service, whole, MINUTE_US));
    of_spans
        .map(|points| points.iter().map(step).collect::<Vec<Step>>())
        .filter(|steps| steps.iter().any(|step| step.calls > 0.0))
        .or_else(|| link_steps(app, service, whole, MINUTE_US))
        .unwrap_or_default()
}

fn step(point: &RedPoint) -> Step {
    let from_us = i64::try_from(point.start_unix_nano / 1000).unwrap_or(i64::MAX);
    let length = i64::try_from(point.step.as_micros()).unwrap_or(i64::MAX);
    Step {
        span: Span { from_us, to_us: from_us.saturating_add(length) },
        calls: point.calls.calls(),
        errors: point.calls.errors(),
        p95_ms: point.calls.quantile(0.95).map(|time| time.as_secs_f64() * 1e3),
    }
}

/// From the counters of the links into a service; `None` where none are kept.
fn link_steps(app: &App, service: &str, span: Span, step_us: i64) -> Option<Vec<Step>> {
    let metrics = app.metrics.as_ref()?;
    let (from_ms, to_ms) = (span.from_us.div_euclid(1000), span.to_us.div_euclid(1000));
    let equal = |name: &str, value: &str| Matcher {
        name: Arc::from(name),
        op: MatchOp::Equal,
        value: Arc::from(value),
    };
    let counter = |metric: &str| -> Option<BTreeMap<i64, f64>> {
        let matchers = vec![equal("__name__", metric), equal("job", "homeostat"), equal("to", service)];
        let series = metrics.select(&Select { matchers, from_ms, to_ms, step_ms: 0 }).ok()?;
        if series.is_empty() {
            return None;
        }
        let mut grown: BTreeMap<i64, f64> = BTreeMap::new();
        for one in &series {
            let samples = one.samples.iter().filter(|sample| !sample.value.is_stale());
            let values: Vec<(i64, f64)> = samples
                .filter_map(|sample| match sample.value {
                    Value::Float(value) => Some((sample.at_ms, value)),
                    Value::Histogram(_) => None,
                })
                .collect();
            for pair in values.windows(2) {
                let [(_, before), (at_ms, after)] = [pair[0], pair[1]];
                // A counter that fell began anew.
                let more = if after >= before { after - before } else { after };
                *grown.entry((at_ms * 1000 - 1 - span.from_us).div_euclid(step_us)).or_default() += more;
            }
        }
        Some(grown)
    };
    let (calls, errors) =
        (counter("homeostat_link_requests_total")?, counter("homeostat_link_errors_total")?);
    let steps = calls.into_iter().map(|(n, calls)| Step {
        span: Span { from_us: span.from_us + n * step_us, to_us: span.from_us + (n + 1) * step_us },
        calls,
        errors: errors.get(&n).copied().unwrap_or(0.0),
        p95_ms: None,
    });
    Some(steps.collect())
}
