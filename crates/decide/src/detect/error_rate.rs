//! `error_rate`: requests on a link fail, as its caller sees it (SPEC O4: below 1 %).
//!
//! At least five failed requests in the window, so that one broken connection is no issue. Fewer suffice
//! where the health checks through the path to an instance fail too while the instance runs and answers its
//! own probes: two independent observations of one broken path. Five failed checks in a row are enough by
//! themselves: the proxy tries elsewhere and soon ejects the instance, so that hardly a request fails.
//!
//! Once a plan has taken an instance out of the balancing the link is judged by the requests that are left;
//! the issue stays open until the path is well, see [`super::track`].

use domain::{IssueKind, LinkName, LinkState, Reason, ResourceId};

use super::severity::Urgency;
use super::traffic::{self, PATH_FAILURES_MIN, REQUESTS_MIN, in_use};
use super::{Measured, Verdict, View, metrics, reason, traced};

/// Failed requests in the window that are an issue by themselves.
const ERRORS_MIN: u64 = 5;

/// Failed path checks in a row that are an issue by themselves. So many that an instance that hangs has failed
/// a probe of its own before: then the path is not to blame.
const PATH_FAILURES_ALONE: u32 = 5;

/// The excess reaches 1 where half of the requests fail.
const HOPELESS: f64 = 0.5;

pub(super) fn judge(resource: &ResourceId, view: View<'_>) -> Verdict {
    let Some((name, link)) = traffic::judged(resource, view.snapshot) else {
        return traced::failing(resource, view);
    };
    let limit = view.thresholds.error_rate.ratio();
    let ratio = link.recent.error_ratio().unwrap_or(0.0);
    let many = link.recent.errors >= ERRORS_MIN && ratio > limit;
    if many || path_fails(link, limit, view) {
        return found(name, link, ratio, view).unhealthy(resource, view.snapshot);
    }
    let doubted = in_use(link).any(|(instance, backend)| {
        traffic::path_broken(instance, backend, view.snapshot, view.thresholds.latency_ms, PATH_FAILURES_MIN)
    });
    let served = link.recent.requests >= REQUESTS_MIN && ratio <= limit && !doubted;
    let quiet = link.recent.errors == 0 && traffic::quiet_and_well(link, view.thresholds.latency_ms);
    if served || quiet { Verdict::Healthy } else { Verdict::Unknown }
}

/// Whether the path to one instance is seen broken by its health checks, with failed requests or alone.
fn path_fails(link: &LinkState, limit: f64, view: View<'_>) -> bool {
    in_use(link).any(|(instance, backend)| {
        let fails = backend.recent.error_ratio().is_some_and(|ratio| ratio > limit);
        let enough = if fails { PATH_FAILURES_MIN } else { PATH_FAILURES_ALONE };
        traffic::path_broken(instance, backend, view.snapshot, view.thresholds.latency_ms, enough)
    })
}

fn found(name: &LinkName, link: &LinkState, ratio: f64, view: View<'_>) -> Measured {
    let kind = IssueKind::ErrorRate;
    let limit = view.thresholds.error_rate;
    let (reason, evidence) = traffic::scope_with_evidence(kind, name, view.snapshot, &view.thresholds);
    let window = &link.recent;
    let checks = link.backends.values().map(|backend| backend.path_check_failures).max().unwrap_or(0);
    let how = match (window.throttled * 2 > window.errors, window.unanswered * 2 > window.errors) {
        (true, _) => ", most turned away because of their rate (429)",
        (_, true) => ", most without an answer",
        _ => "",
    };
    let bad = traffic::backends_in_trouble(kind, name, view.snapshot, &view.thresholds);
    let part = match reason {
        Reason::OneBackend => {
            let bad: Vec<String> = bad.iter().map(ToString::to_string).collect();
            format!("; only {} fails", bad.join(", "))
        }
        Reason::StaleConnections => "; only connections that were open for a while fail".to_owned(),
        Reason::AllBackends => "; every instance behind it fails".to_owned(),
        _ => String::new(),
    };
    let checks_say = if checks >= PATH_FAILURES_MIN {
        format!("; {checks} health checks in a row failed")
    } else {
        String::new()
    };
    Measured {
        kind,
        reason,
        excess: (ratio - limit.ratio()) / (HOPELESS - limit.ratio()).max(0.01),
        urgency: Urgency::Now,
        description: format!(
            "{:.1} % of requests on {name} fail, {} of {}{how} (limit {:.1} %){part}{checks_say}",
            ratio * 100.0,
            window.errors,
            window.requests,
            limit.0,
        ),
        metrics: metrics([
            ("threshold", limit.0),
            ("error_percent", ratio * 100.0),
            ("requests", window.requests as f64),
            ("errors", window.errors as f64),
            ("throttled", window.throttled as f64),
            ("unanswered", window.unanswered as f64),
            ("path_check_failures", f64::from(checks)),
            reason::stated_from(evidence),
        ]),
    }
}
