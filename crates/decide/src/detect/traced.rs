//! What spans alone tell: of links without a proxy, and of services that nobody's link leads to.
//!
//! Where a proxy stands on a link it is the witness, and nothing here is asked: it sees calls that never became spans,
//! at once and unsampled (decision record 7). Spans name no instance, so the reason stays open.
//!
//! The bounds are those of the proxied links. A window holds ten seconds of spans; a stall of half a second moves the
//! p95 and not the median, so both must be out of bounds.

use std::time::Duration;

use domain::{IssueKind, Reason, ResourceId, TracedCalls};

use super::severity::Urgency;
use super::traffic::{self, REQUESTS_MIN};
use super::{Measured, Verdict, View, metrics};

/// Failed calls in the window that are an issue.
const ERRORS_MIN: u64 = 5;

/// A jump is to at least this many times the usual.
const JUMP: f64 = 2.0;

/// The excess of a latency reaches 1 at this many times the bound.
const LATENCY_HOPELESS: f64 = 5.0;

/// The excess of an error rate reaches 1 where half of the calls fail.
const ERRORS_HOPELESS: f64 = 0.5;

/// The window of spans, and the time they take to arrive: what was replaced on purpose within it is still in it.
const WINDOW: Duration = Duration::from_secs(13);

/// What spans say of a resource that they alone tell of; `None` where it is not one, or cannot be judged now.
fn judged<'a>(resource: &ResourceId, view: View<'a>) -> Option<&'a TracedCalls> {
    let calls = view.snapshot.traced_alone(resource)?;
    traffic::undisturbed(resource.service()?, view.snapshot, WINDOW).then_some(calls)
}

/// Whether calls take too long.
pub(super) fn slow(resource: &ResourceId, view: View<'_>) -> Verdict {
    let Some(calls) = judged(resource, view) else { return Verdict::Unknown };
    let limit = view.thresholds.latency_ms;
    let recent = &calls.recent;
    let (true, Some(p50), Some(p95)) = (recent.requests >= REQUESTS_MIN, recent.p50_ms, recent.p95_ms) else {
        return Verdict::Unknown;
    };
    if p95 <= limit {
        return Verdict::Healthy;
    }
    let usual = (calls.before.requests >= REQUESTS_MIN).then_some(calls.before.p95_ms).flatten();
    if p50 <= limit || usual.is_some_and(|usual| usual <= limit && p95 < JUMP * usual) {
        return Verdict::Unknown;
    }
    let before = usual.map_or(String::new(), |usual| format!(", {usual:.0} ms before"));
    let mut values = metrics([
        ("threshold", limit),
        ("latency_ms_p95", p95),
        ("latency_ms_p50", p50),
        ("requests", recent.requests as f64),
    ]);
    values.extend(usual.map(|usual| ("latency_ms_p95_before".to_owned(), usual)));
    Measured {
        kind: IssueKind::NetworkLatency,
        reason: Reason::Unspecified,
        excess: (p95 / limit - 1.0) / (LATENCY_HOPELESS - 1.0),
        urgency: Urgency::Soon,
        description: format!(
            "spans say: 95 % of calls on {resource} take up to {p95:.0} ms{before} (limit {limit:.0} ms){}",
            look_at(calls)
        ),
        metrics: values,
    }
    .unhealthy(resource, view.snapshot)
}

/// Whether calls fail.
pub(super) fn failing(resource: &ResourceId, view: View<'_>) -> Verdict {
    let Some(calls) = judged(resource, view) else { return Verdict::Unknown };
    let limit = view.thresholds.error_rate;
    let recent = &calls.recent;
    let Some(ratio) = recent.error_ratio().filter(|_| recent.requests >= REQUESTS_MIN) else {
        return Verdict::Unknown;
    };
    if ratio <= limit.ratio() {
        return Verdict::Healthy;
    }
    if recent.errors < ERRORS_MIN {
        return Verdict::Unknown;
    }
    Measured {
        kind: IssueKind::ErrorRate,
        reason: Reason::Unspecified,
        excess: (ratio - limit.ratio()) / (ERRORS_HOPELESS - limit.ratio()).max(0.01),
        urgency: Urgency::Now,
        description: format!(
            "spans say: {:.1} % of calls on {resource} fail, {} of {} (limit {:.1} %){}",
            ratio * 100.0,
            recent.errors,
            recent.requests,
            limit.0,
            look_at(calls)
        ),
        metrics: metrics([
            ("threshold", limit.0),
            ("error_percent", ratio * 100.0),
            ("requests", recent.requests as f64),
            ("errors", recent.errors as f64),
        ]),
    }
    .unhealthy(resource, view.snapshot)
}

/// Which trace shows it.
fn look_at(calls: &TracedCalls) -> String {
    let estimated = if calls.estimated { "; estimated, since the source sampled" } else { "" };
    let trace = calls.exemplars.first().map_or(String::new(), |trace| format!("; see trace {trace}"));
    format!("{estimated}{trace}")
}
