//! `/api/v3/chaos/drills`: the reports of drills that are kept in the data directory.

use axum::http::StatusCode;
use chaos::drill::report::Report;
use chaos::drill::{Archive, KeptDrill, KeptDrills, RunScore};
use domain::Permission;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Answer, Asked, json};
use crate::endpoint::{Endpoint, Parameter};
use crate::problem::{Listed, Problem};
use crate::serve::App;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(Permission::StateRead, "/api/v3/chaos/drills", "drills.list", list)
            .says("Drills whose reports are kept here, newest first")
            .answers::<Vec<DrillShape>>("Drills"),
        Endpoint::get(Permission::StateRead, "/api/v3/chaos/drills/{id}", "drills.get", get)
            .says("The report of one drill")
            .placeholder(Parameter::text("id", "The id of a drill"))
            .answers::<DrillReportShape>("The report"),
    ]
}

/// What is kept; nothing where nobody keeps reports.
pub(crate) fn kept_drills(app: &App) -> Result<KeptDrills, Problem> {
    let list = |archive: &Archive| {
        archive
            .list()
            .map_err(|error| Problem::internal(format!("the reports of drills cannot be read: {error}")))
    };
    app.drills.as_ref().map_or_else(|| Ok(KeptDrills::default()), list)
}

/// One report.
pub(crate) fn kept_drill(app: &App, id: &str) -> Result<Report, Problem> {
    let unknown = || Problem::not_among(Listed::Drills, format!("there is no drill {id}"));
    let broken = |error| Problem::internal(format!("the report of drill {id} cannot be read: {error}"));
    app.drills.as_ref().ok_or_else(unknown)?.read(id).map_err(broken)?.ok_or_else(unknown)
}

/// A drill in a list.
#[derive(Serialize, JsonSchema)]
struct DrillShape {
    id: String,
    /// When its first part began.
    started_at: String,
    /// The version of Homeostat that was drilled.
    homeostat: String,
    /// Of the order of runs and of the load.
    seed: u64,
    runs: usize,
    /// Whether every run came out as it should, nothing was left behind and there was no false alarm.
    passed: bool,
    /// How it came out, in one sentence.
    sentence: String,
}

impl From<&KeptDrill> for DrillShape {
    fn from(kept: &KeptDrill) -> Self {
        Self {
            id: kept.id.clone(),
            started_at: kept.started_at.clone(),
            homeostat: kept.homeostat.clone(),
            seed: kept.seed,
            runs: kept.runs,
            passed: kept.passed,
            sentence: kept.sentence.clone(),
        }
    }
}

/// The report of a drill.
#[derive(Serialize, JsonSchema)]
struct DrillReportShape {
    #[serde(flatten)]
    drill: DrillShape,
    /// On what it ran.
    machine: String,
    /// Settings that differ from the defaults.
    notes: Vec<String>,
    /// What was not as expected, one sentence each.
    unexpected: Vec<String>,
    /// Every figure that has a target.
    figures: Vec<FigureShape>,
    /// Seconds in which nothing was injected.
    quiet_seconds: f64,
    /// The issues that were opened in them.
    false_alarms: Vec<String>,
    runs_made: Vec<RunShape>,
}

#[derive(Serialize, JsonSchema)]
struct FigureShape {
    name: &'static str,
    measured: String,
    target: &'static str,
    /// `met`, `not met` or `not measured`.
    standing: &'static str,
    /// Over what.
    over: String,
}

/// One fault and what came of it. Times are milliseconds since its step began, null where they were not reached.
#[derive(Serialize, JsonSchema)]
struct RunShape {
    number: u32,
    row: String,
    fault: String,
    target: String,
    outcome: &'static str,
    expected: &'static str,
    strategy: Option<String>,
    detected_ms: Option<f64>,
    first_action_ms: Option<f64>,
    serving_ms: Option<f64>,
    verified_ms: Option<f64>,
    /// The place of the true cause in the first diagnosis, from 1.
    cause_rank: Option<u32>,
    /// Stated for the first cause, in percent.
    confidence: Option<f64>,
    requests: u64,
    requests_failed: u64,
}

impl From<&RunScore> for RunShape {
    fn from(run: &RunScore) -> Self {
        Self {
            number: run.number,
            row: run.row.clone(),
            fault: run.fault.clone(),
            target: run.target.clone(),
            outcome: run.outcome.name(),
            expected: run.expected.name(),
            strategy: run.strategy.clone(),
            detected_ms: run.detected_ms,
            first_action_ms: run.first_action_ms,
            serving_ms: run.serving_ms,
            verified_ms: run.verified_ms,
            cause_rank: run.cause_rank,
            confidence: run.confidence,
            requests: run.requests,
            requests_failed: run.requests_failed,
        }
    }
}

fn list(asked: &Asked<'_>) -> Answer {
    let kept = kept_drills(asked.app)?;
    let shapes: Vec<_> = kept.drills.iter().map(DrillShape::from).collect();
    json(StatusCode::OK, &shapes)
}

fn get(asked: &Asked<'_>) -> Answer {
    let report = kept_drill(asked.app, asked.name)?;
    let figure = |figure: chaos::drill::report::Figure| FigureShape {
        name: figure.name,
        measured: figure.measured,
        target: figure.target,
        standing: figure.standing.word(),
        over: figure.over,
    };
    let shape = DrillReportShape {
        drill: DrillShape::from(&KeptDrill::of(asked.name, &report)),
        machine: report.machine.describe(),
        notes: report.notes.clone(),
        unexpected: report.verdict().unexpected.iter().map(ToString::to_string).collect(),
        figures: report.figures().into_iter().map(figure).collect(),
        quiet_seconds: report.quiet.seconds,
        false_alarms: report.quiet.false_alarms.clone(),
        runs_made: report.runs.iter().map(RunShape::from).collect(),
    };
    json(StatusCode::OK, &shape)
}
