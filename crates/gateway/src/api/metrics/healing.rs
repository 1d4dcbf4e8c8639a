//! What the loop found and repaired, how long it took, and how sure it was.

use domain::Time;
use store::Repairs;

use super::{BEGINNING, Exposition, escaped};
use crate::problem::Problem;
use crate::serve::App;
use crate::shapes;

/// Seconds, from the answer to a crash to the longest that a repair is watched.
const BOUNDS: [f64; 11] = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// Writes it, counted since the beginning of the store.
pub(super) fn write(text: &mut Exposition<'_>, app: &App) -> Result<(), Problem> {
    const SINCE: Time = BEGINNING;
    let counts = app.store.statistics(SINCE)?;
    let ended = counts.successful + counts.failed;
    text.counter("self_healing_issues_detected_total", "issues detected", counts.issues_detected);
    text.counter("self_healing_remediations_total", "remediations planned", counts.remediations);
    text.counter("self_healing_attempts_total", "remediations that ran to an end", ended);
    text.counter("self_healing_successes_total", "remediations that ended well", counts.successful);
    if let Some(rate) = shapes::success_rate(&counts) {
        let help = "successful of ended remediations, 0 to 1";
        text.gauge("self_healing_remediation_success_rate", help, &[("", rate / 100.0)]);
    }
    repairs(text, &app.store.repairs(SINCE)?, counts.issues_detected);
    Ok(())
}

fn repairs(text: &mut Exposition<'_>, repairs: &Repairs, issues: u64) {
    let seconds = |times: &[std::time::Duration]| -> Vec<f64> {
        times.iter().map(std::time::Duration::as_secs_f64).collect()
    };
    text.histogram(
        "self_healing_remediation_duration_seconds",
        "start of a successful remediation to its first passing check",
        &BOUNDS,
        &seconds(&repairs.remediation),
    );
    let help = "detection of an issue to the first passing check of its repair";
    text.histogram("healing_duration_seconds", help, &BOUNDS, &seconds(&repairs.healing));
    let labels = |names: [&str; 2], (first, second, count): &(String, String, u64)| {
        let [one, two] = names;
        (format!("{one}=\"{}\",{two}=\"{}\"", escaped(first), escaped(second)), *count as f64)
    };
    let by_resource: Vec<_> =
        repairs.issues_by_resource.iter().map(|row| labels(["resource", "type"], row)).collect();
    let help = "issues detected, by resource and type";
    text.counters("self_healing_resource_issues_total", help, &by_resource);
    let open: Vec<_> = repairs.open_issues.iter().map(|row| labels(["type", "severity"], row)).collect();
    text.gauge("self_healing_open_issues", "issues that are open, by type and severity", &open);
    if issues > 0 {
        let rate = repairs.without_a_person as f64 / issues as f64;
        let help = "repairs that ended well and that no person decided, a detected issue, 0 to 1";
        text.gauge("auto_remediation_rate", help, &[("", rate)]);
    }
    let foretold = &repairs.foretold;
    let help = "issues raised before their bound was crossed";
    text.counter("predicted_failures_total", help, foretold.issues);
    let help = "of predicted failures, those repaired without their bound ever being crossed";
    text.counter("prevented_incidents_total", help, foretold.prevented);
    let help = "how long before its bound was crossed an issue was raised, where it was";
    text.histogram("prediction_lead_time_seconds", help, &BOUNDS, &seconds(&foretold.lead));
    if let Some(confidence) = repairs.mean_confidence {
        let help = "mean confidence of the cause ranked first, over first diagnoses, 0 to 1";
        text.gauge("rca_confidence_average", help, &[("", confidence / 100.0)]);
    }
}
