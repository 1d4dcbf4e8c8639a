//! What the loop found and repaired, how long it took, and how sure it was.

use std::time::Duration;

use domain::Time;
use store::{Repairs, Statistics};

use super::distribution::Distribution;
use super::{BEGINNING, Exposition, escaped};
use crate::api::back;
use crate::problem::Problem;
use crate::serve::{App, lock};
use crate::shapes;

/// Seconds, from the answer to a crash to the longest that a repair is watched.
const BOUNDS: [f64; 11] = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// What is older than this changes rarely, and is counted anew once an hour; counters of it are so much behind at most.
const SETTLED_AFTER: i64 = 6 * 3600;

/// How often it is counted anew.
const COUNT_EVERY_US: i64 = 3600 * 1_000_000;

/// What was counted up to a time, so that a scrape costs what happened lately and not all that is kept.
pub(crate) struct Settled {
    until: Time,
    counted: Counted,
}

/// What is counted of a range.
#[derive(Clone)]
struct Counted {
    counts: Statistics,
    remediation: Distribution,
    healing: Distribution,
    lead: Distribution,
    /// Without the times, which are in the distributions.
    repairs: Repairs,
}

impl Counted {
    fn between(app: &App, since: Time, until: Option<Time>) -> Result<Self, Problem> {
        let mut repairs = app.store.repairs_between(since, until)?;
        let taken = |times: &mut Vec<Duration>| Distribution::of_seconds(&BOUNDS, &std::mem::take(times));
        Ok(Self {
            counts: app.store.statistics_between(since, until)?,
            remediation: taken(&mut repairs.remediation),
            healing: taken(&mut repairs.healing),
            lead: taken(&mut repairs.foretold.lead),
            repairs,
        })
    }

    fn with(self, other: Self) -> Self {
        Self {
            counts: self.counts.with(&other.counts),
            remediation: self.remediation.with(&other.remediation),
            healing: self.healing.with(&other.healing),
            lead: self.lead.with(&other.lead),
            repairs: self.repairs.with(other.repairs),
        }
    }
}

/// Everything since the beginning of the store.
fn counted(app: &App) -> Result<Counted, Problem> {
    let wall_us = back(app.clock.now(), SETTLED_AFTER).wall_us;
    let until = Time { boot_us: 0, wall_us: wall_us - wall_us.rem_euclid(COUNT_EVERY_US) };
    let mut settled = lock(&app.settled);
    let former = match settled.take().filter(|settled| settled.until == until) {
        Some(settled) => settled,
        None => Settled { until, counted: Counted::between(app, BEGINNING, Some(until))? },
    };
    let all = former.counted.clone().with(Counted::between(app, until, None)?);
    *settled = Some(former);
    Ok(all)
}

/// Writes it, counted since the beginning of the store.
pub(super) fn write(text: &mut Exposition<'_>, app: &App) -> Result<(), Problem> {
    let counted = counted(app)?;
    let counts = &counted.counts;
    let ended = counts.successful + counts.failed;
    text.counter("self_healing_issues_detected_total", "issues detected", counts.issues_detected);
    text.counter("self_healing_remediations_total", "remediations planned", counts.remediations);
    text.counter("self_healing_attempts_total", "remediations that ran to an end", ended);
    text.counter("self_healing_successes_total", "remediations that ended well", counts.successful);
    if let Some(rate) = shapes::success_rate(counts) {
        let help = "successful of ended remediations, 0 to 1";
        text.gauge("self_healing_remediation_success_rate", help, &[("", rate / 100.0)]);
    }
    repairs(text, &counted);
    Ok(())
}

fn repairs(text: &mut Exposition<'_>, counted: &Counted) {
    let (repairs, issues) = (&counted.repairs, counted.counts.issues_detected);
    let help = "start of a successful remediation to its first passing check";
    text.histogram("self_healing_remediation_duration_seconds", help, &counted.remediation);
    let help = "detection of an issue to the first passing check of its repair";
    text.histogram("healing_duration_seconds", help, &counted.healing);
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
    text.histogram("prediction_lead_time_seconds", help, &counted.lead);
    if let Some(confidence) = repairs.confidences.mean() {
        text.gauge(
            "rca_confidence_average",
            "mean confidence of the cause ranked first, over first diagnoses, 0 to 1",
            &[("", confidence / 100.0)],
        );
    }
}
