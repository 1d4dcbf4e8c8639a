//! `network_latency`: requests through a link take longer than the bound, as its caller sees it.
//!
//! The signal is the p95 of the last 3 s, of the link or of the part of it where most requests are slow: one
//! instance, or the connections that are open for a while. The balancing gives a slow instance so few
//! requests that the p95 of the whole link need not show it.
//!
//! Above the bound is not enough to raise an issue: with few requests the p95 is the slowest one, and a stall
//! of half a second moves it with many. It is an issue where a fault would show it:
//!
//! - most requests of some part of the link are slow, and the p95 is twice the usual one or the usual one is
//!   out of bounds too; or
//! - with many requests, the p95 was out of bounds over the last half minute as well.
//!
//! Between the two the verdict is unknown: nothing is raised, nothing is closed.

use domain::{IssueKind, LinkState, Reason, ResourceId};

use super::severity::Urgency;
use super::traffic::{self, REQUESTS_MIN};
use super::{Measured, Verdict, View, metrics, reason, traced};

/// From 40 requests on a p95 above the bound means at least three slow ones.
const REQUESTS_MANY: u64 = 40;

/// A jump is to at least this many times the usual.
const JUMP: f64 = 2.0;

/// The excess reaches 1 at this many times the bound: at one second for the bound of 200 ms users leave.
const HOPELESS: f64 = 5.0;

pub(super) fn judge(resource: &ResourceId, view: View<'_>) -> Verdict {
    let Some((name, link)) = traffic::judged(resource, view.snapshot) else {
        return traced::slow(resource, view);
    };
    let limit = view.thresholds.latency_ms;
    let (true, Some(of_all)) = (link.recent.requests >= REQUESTS_MIN, link.recent.p95_ms) else {
        let fast = link.recent.p95_ms.is_none_or(|p95| p95 <= limit);
        let quiet = fast && traffic::quiet_and_well(link, limit);
        return if quiet { Verdict::Healthy } else { Verdict::Unknown };
    };
    let part = slow_part(link, limit);
    let p95 = part.map_or(of_all, |part| part.max(of_all));
    if p95 <= limit {
        let doubted = traffic::in_use(link).any(|(_, backend)| {
            traffic::check_slow(backend, limit).unwrap_or(backend.path_check_failures > 0)
        });
        return if doubted { Verdict::Unknown } else { Verdict::Healthy };
    }
    let usual = (link.before.requests >= REQUESTS_MIN).then_some(link.before.p95_ms).flatten();
    if !raised(link, part, p95, usual, limit) {
        return Verdict::Unknown;
    }
    let (reason, evidence) =
        traffic::scope_with_evidence(IssueKind::NetworkLatency, name, view.snapshot, &view.thresholds);
    let mut values = metrics([
        ("threshold", limit),
        ("latency_ms_p95", p95),
        ("latency_ms_p50", link.recent.p50_ms.unwrap_or(p95)),
        ("requests", link.recent.requests as f64),
    ]);
    values.extend(usual.map(|usual| ("latency_ms_p95_before".to_owned(), usual)));
    values.insert("latency_ms_p95_all".to_owned(), of_all);
    let (key, value) = reason::stated_from(evidence);
    values.insert(key.to_owned(), value);
    let before = usual.map_or(String::new(), |usual| format!(", {usual:.0} ms before"));
    let bad = traffic::backends_in_trouble(IssueKind::NetworkLatency, name, view.snapshot, &view.thresholds);
    let bad = bad.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (of, part) = match reason {
        Reason::OneBackend => (format!(" to {bad}"), format!("; only {bad} is slow")),
        Reason::StaleConnections => (
            " over connections older than 5 s".to_owned(),
            "; only connections that were open for a while are slow".to_owned(),
        ),
        Reason::AllBackends => (String::new(), "; every instance behind it is slow".to_owned()),
        _ => (String::new(), String::new()),
    };
    // The figure is that of the part where the whole link does not show it.
    let of = if of_all < p95 { of } else { String::new() };
    Measured {
        kind: IssueKind::NetworkLatency,
        reason,
        excess: (p95 / limit - 1.0) / (HOPELESS - 1.0),
        urgency: Urgency::Soon,
        description: format!(
            "95 % of requests on {name}{of} take up to {p95:.0} ms{before} (limit {limit:.0} ms){part}"
        ),
        metrics: values,
    }
    .unhealthy(resource, view.snapshot)
}

/// The p95 of the slowest part of a link in which most requests are slow; `None` where there is none.
fn slow_part(link: &LinkState, limit: f64) -> Option<f64> {
    let wholes = [&link.recent, &link.old_connections, &link.new_connections];
    let wholes =
        wholes.into_iter().filter(|part| traffic::mostly_slow(part, limit, REQUESTS_MIN) == Some(true));
    let backends = traffic::in_use(link).map(|(_, backend)| backend);
    let backends = backends.filter(|backend| traffic::backend_slow(backend, limit));
    let apart = traffic::connections_apart(link, limit).then_some(&link.recent);
    let parts = wholes.chain(backends.map(|backend| &backend.recent)).chain(apart);
    let p95s = parts.filter_map(|part| part.p95_ms);
    p95s.max_by(f64::total_cmp)
}

/// Whether a p95 above the bound is an issue; see the module's text.
fn raised(link: &LinkState, slow_part: Option<f64>, p95: f64, usual: Option<f64>, limit: f64) -> bool {
    let jumped = usual.is_none_or(|usual| p95 >= JUMP * usual || usual > limit);
    let many = link.recent.requests >= REQUESTS_MANY && link.before.requests >= REQUESTS_MANY;
    let lasting = many && usual.is_some_and(|usual| usual > limit);
    (slow_part.is_some() && jumped) || lasting
}
