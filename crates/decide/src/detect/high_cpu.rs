//! `high_cpu`: an instance uses more than its share of its CPU limit.
//!
//! The reading is an average over about 3 s already, so one look at it is a sustained value. An instance
//! without a limit cannot be judged: 100 % of what?

use std::time::Duration;

use domain::{Cores, IssueKind, Percent, Reason, ResourceId, ServiceName, Snapshot};

use super::severity::Urgency;
use super::{Finding, Measured, Verdict, View, metrics, share_excess, traffic};

/// Starting costs CPU. Judged once the 3 s average holds nothing of the first second.
const SETTLE: Duration = Duration::from_secs(4);

/// The request rate explains the load when it rose to this many times the usual one.
const RATE_RISE: f64 = 1.5;

/// The metric that says how many times the usual request rate there is.
const RATE_RATIO: &str = "request_rate_ratio";

pub(super) fn judge(resource: &ResourceId, view: View<'_>) -> Verdict {
    let Some((name, state)) = traffic::running(resource, view.snapshot) else { return Verdict::Unknown };
    let settled = state.started_at.is_some_and(|at| view.snapshot.taken.since(at) >= SETTLE);
    let limit = view.snapshot.services.get(&name.service).and_then(|service| service.limits.cpu);
    let (true, Some(Cores(used)), Some(Cores(limit))) = (settled, state.usage.cpu, limit) else {
        return Verdict::Unknown;
    };
    let Some(Percent(share)) = Percent::of(used, limit) else { return Verdict::Unknown };
    let threshold = view.thresholds.cpu.0;
    if share <= threshold {
        return Verdict::Healthy;
    }
    let rise = rate_rise(&name.service, view.snapshot);
    let reason = reason(rise);
    let requests = match rise {
        Some(rise) => format!("requests come at {rise:.1} times the usual rate"),
        None => "no usual request rate is known".to_owned(),
    };
    let mut values = metrics([("threshold", threshold), ("cpu_percent", share), ("cpu_cores", used)]);
    values.extend(rise.map(|rise| (RATE_RATIO.to_owned(), rise)));
    Measured {
        kind: IssueKind::HighCpu,
        reason,
        excess: share_excess(share, threshold),
        urgency: Urgency::Soon,
        description: format!(
            "{name} uses {share:.0} % of its CPU limit of {limit:.2} cores (limit {threshold:.0} %); {requests}"
        ),
        metrics: values,
    }
    .unhealthy(resource, view.snapshot)
}

/// What makes a service use much, given how many times the usual request rate it gets.
pub(crate) fn reason(rise: Option<f64>) -> Reason {
    if rise.is_some_and(|rise| rise > RATE_RISE) { Reason::Load } else { Reason::Unexplained }
}

/// The reason of an issue that was `before` and is seen again as `now`. Load that stays becomes the usual load
/// within half a minute, and explains no less for it: it is over when the requests fell by as much as they had
/// risen.
pub(super) fn again(before: Reason, now: &Finding) -> Reason {
    let fell = now.metrics.get(RATE_RATIO).is_some_and(|ratio| *ratio < 1.0 / RATE_RISE);
    if before == Reason::Load && now.reason == Reason::Unexplained && !fell { before } else { now.reason }
}

/// How many times the usual request rate goes into a service now, over all links; `None` without enough
/// requests to know the usual rate.
pub(crate) fn rate_rise(service: &ServiceName, snapshot: &Snapshot) -> Option<f64> {
    let (mut now, mut usual, mut counted) = (0.0, 0.0, 0);
    for (_, link) in snapshot.links_to(service) {
        now += link.recent.rate();
        usual += link.before.rate();
        counted += link.before.requests;
    }
    (counted >= traffic::REQUESTS_MIN && usual > 0.0).then(|| now / usual)
}
