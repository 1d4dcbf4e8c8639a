//! How objectives stand, as gauges.

use domain::SloStatus;
use observe::objectives::{Detail, Objectives};

use super::Exposition;

/// Writes the gauges of every objective.
pub(super) fn write(text: &mut Exposition<'_>, objectives: &Objectives) {
    let details = objectives.details();
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&Detail) -> Option<f64>| {
        let samples: Vec<(String, f64)> =
            details.iter().filter_map(|detail| Some((labels(detail), value(detail)?))).collect();
        text.gauge(name, help, &samples);
    };
    gauge("homeostat_slo_objective_ratio", "share of events that has to be good", &|detail| {
        Some(detail.objective.target.ratio())
    });
    gauge(
        "homeostat_slo_error_budget_remaining_ratio",
        "share of the error budget that is left",
        &|detail| {
            detail
                .standing
                .filter(|standing| standing.status.is_some())
                .map(|standing| standing.budget_remaining)
        },
    );
    gauge("homeostat_slo_coverage_ratio", "share of the window that was measured", &|detail| {
        Some(detail.standing?.coverage)
    });
    gauge(
        "homeostat_slo_status",
        "0 healthy, 1 warning, 2 critical, 3 breached; absent where nothing was measured",
        &|detail| {
            Some(match detail.standing?.status? {
                SloStatus::Healthy => 0.0,
                SloStatus::Warning => 1.0,
                SloStatus::Critical => 2.0,
                SloStatus::Breached => 3.0,
            })
        },
    );
    let burns: Vec<(String, f64)> = details
        .iter()
        .flat_map(|detail| {
            let labels = labels(detail);
            detail
                .burn_rates
                .iter()
                .filter_map(move |burn| Some((format!("{labels},window=\"{}\"", burn.window), burn.rate?)))
        })
        .collect();
    let help = "times as fast as the error budget lasts, by window";
    text.gauge("homeostat_slo_burn_rate", help, &burns);
}

fn labels(detail: &Detail) -> String {
    let quoted = |value: &str| value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    format!("slo=\"{}\",slo_service=\"{}\"", quoted(&detail.objective.id), quoted(&detail.objective.service))
}
