//! `slo_burn`: an error budget burns too fast (SPEC H1, O4).
//!
//! In: what evaluation says of the objectives; it has waited for its windows, so nothing waits here. Out: one issue for
//! the resource an objective is about, whose worst alert it names. It is over when no alert fires there any more, which
//! is later than the failures end: windows have to empty first. What causes it is diagnosis' business.

use domain::{IssueKind, Reason, ResourceId, SloAlert, SloSeverity, Snapshot};

use super::severity::Urgency;
use super::{Measured, Verdict, View, metrics};

/// The excess reaches 1 where half of the events are bad, as for `error_rate`.
const HOPELESS: f64 = 0.5;

/// The resources where a budget burns, each once.
pub(super) fn burning(snapshot: &Snapshot) -> Vec<ResourceId> {
    let mut found: Vec<ResourceId> = Vec::new();
    for state in snapshot.objectives.values().filter(|state| state.alert.is_some()) {
        if let Some(resource) = state.resource.as_ref().filter(|resource| !found.contains(resource)) {
            found.push(resource.clone());
        }
    }
    found
}

pub(super) fn judge(resource: &ResourceId, view: View<'_>) -> Verdict {
    let objectives = &view.snapshot.objectives;
    if objectives.is_empty() {
        return Verdict::Unknown;
    }
    let worst = objectives
        .burning(resource)
        .max_by(|(_, _, a), (_, _, b)| (a.severity).cmp(&b.severity).then(a.beyond().total_cmp(&b.beyond())));
    let Some((id, state, alert)) = worst else { return Verdict::Healthy };
    let (rate, limit) = rate_and_limit(alert);
    let urgency = match alert.severity {
        SloSeverity::Page => Urgency::Now,
        SloSeverity::Ticket => Urgency::Soon,
    };
    let hopeless = (HOPELESS / state.budget).max(limit * 2.0);
    let windows: Vec<String> = alert
        .burns
        .iter()
        .map(|burn| format!("{:.1} times over {}", burn.rate, shown(burn.window_minutes)))
        .collect();
    let burns = if windows.is_empty() {
        "nothing was measured".to_owned()
    } else {
        format!("its error budget burns {} as fast as it lasts (limit {limit:.1})", windows.join(" and "))
    };
    let longest = alert.burns.iter().map(|burn| burn.window_minutes).max().unwrap_or(0);
    Measured {
        kind: IssueKind::SloBurn,
        reason: Reason::Unspecified,
        excess: (rate - limit) / (hopeless - limit),
        urgency,
        description: format!(
            "objective {id}: {burns}; {:.1} % of the budget is left",
            state.budget_remaining * 100.0
        ),
        metrics: metrics([
            ("threshold", limit),
            ("burn_rate", rate),
            ("budget_remaining_percent", state.budget_remaining * 100.0),
            ("window_minutes", f64::from(longest)),
        ]),
    }
    .unhealthy(resource, view.snapshot)
}

/// Of the windows that told, the one nearest to its limit.
fn rate_and_limit(alert: &SloAlert) -> (f64, f64) {
    let nearest = alert.burns.iter().min_by(|a, b| (a.rate / a.threshold).total_cmp(&(b.rate / b.threshold)));
    nearest.map_or((0.0, 0.0), |burn| (burn.rate, burn.threshold))
}

fn shown(minutes: u32) -> String {
    match minutes {
        minutes if minutes % 1440 == 0 => format!("{} d", minutes / 1440),
        minutes if minutes % 60 == 0 => format!("{} h", minutes / 60),
        minutes => format!("{minutes} min"),
    }
}

/// How much faster than its limit the budget of a resource's service burns: the worst page that fires there, 1 at its
/// limit; 0 where none does.
pub(super) fn beyond(resource: &ResourceId, snapshot: &Snapshot) -> f64 {
    let Some(service) = resource.service() else { return 0.0 };
    let alerts = snapshot.objectives.values().filter_map(|state| {
        let here = state.resource.as_ref()?.service() == Some(service);
        state.alert.as_ref().filter(|alert| here && alert.severity == SloSeverity::Page)
    });
    alerts.map(SloAlert::beyond).fold(0.0, f64::max)
}
