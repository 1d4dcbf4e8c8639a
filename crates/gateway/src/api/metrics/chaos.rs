//! What was disturbed on purpose, whether it recovered, and how far what runs now reaches.

use std::collections::BTreeSet;

use domain::ServiceName;
use store::ExperimentRecord;

use super::distribution::Distribution;
use super::{Exposition, escaped};
use crate::problem::Problem;
use crate::serve::App;
use crate::shapes;

/// At most this many pages of experiments are counted: 10,000 experiments, a month of one every 4 min.
const PAGES: usize = 10;

/// Seconds; 300 is the bound of the alert that ships.
const BOUNDS: [f64; 9] = [0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];

/// Writes it.
pub(super) fn write(text: &mut Exposition<'_>, app: &App) -> Result<(), Problem> {
    let all = experiments(app)?;
    let verdicts: Vec<bool> =
        all.iter().filter_map(|record| shapes::document(record).get("passed")?.as_bool()).collect();
    let passed = verdicts.iter().filter(|passed| **passed).count();
    let recovery: Vec<f64> = all
        .iter()
        .filter_map(|record| shapes::document(record).get("recovery_time_seconds")?.as_f64())
        .collect();
    text.counter("chaos_experiments_total", "experiments recorded", all.len() as u64);
    text.counter("chaos_experiments_judged_total", "experiments with a verdict", verdicts.len() as u64);
    text.counter("chaos_experiments_success_total", "experiments that passed", passed as u64);
    let mut by_status = std::collections::BTreeMap::new();
    for record in &all {
        *by_status.entry(record.status.name()).or_insert(0.0) += 1.0;
    }
    let by_status: Vec<_> =
        by_status.into_iter().map(|(status, count)| (format!("status=\"{status}\""), count)).collect();
    let help = "experiments recorded, by how they stand";
    text.gauge("chaos_experiments", help, &by_status);
    let help = "end of the fault's effect to the steady state";
    text.histogram("chaos_recovery_time_seconds", help, &Distribution::of(&BOUNDS, recovery));
    running(text, app)
}

/// How far the faults reach that are in effect now.
fn running(text: &mut Exposition<'_>, app: &App) -> Result<(), Problem> {
    let faults = app.control.running_faults();
    text.gauge("chaos_active_faults", "faults in effect now", &[("", faults.len() as f64)]);
    let Some(snapshot) = app.control.snapshot() else { return Ok(()) };
    let open = if faults.is_empty() { Vec::new() } else { app.store.open_issues()? };
    let (mut depths, mut radii) = (Vec::new(), Vec::new());
    for fault in &faults {
        let Some(service) = fault.fault.target.service() else { continue };
        let since = open.iter().filter(|issue| issue.detected_at.wall_us >= fault.since.wall_us);
        let affected: BTreeSet<&ServiceName> = since.filter_map(|issue| issue.resource.service()).collect();
        let label = format!(
            "fault=\"{}\",target=\"{}\"",
            fault.fault.kind.name(),
            escaped(&fault.fault.target.to_string())
        );
        depths.push((label.clone(), snapshot.cascade_depth(service, &affected) as f64));
        radii.push((label, affected.len() as f64));
    }
    let help = "services in a row, from the disturbed one along its callers, with issues since a fault began";
    text.gauge("chaos_cascade_depth", help, &depths);
    let help = "services with issues that were detected since a fault began";
    text.gauge("chaos_blast_radius", help, &radii);
    Ok(())
}

fn experiments(app: &App) -> Result<Vec<ExperimentRecord>, Problem> {
    let mut all: Vec<ExperimentRecord> = Vec::new();
    for _ in 0..PAGES {
        let page = app.store.experiments(store::LIST_LIMIT_MAX, all.last().map(|record| record.id))?;
        let last = page.len() < store::LIST_LIMIT_MAX;
        all.extend(page);
        if last {
            break;
        }
    }
    Ok(all)
}
