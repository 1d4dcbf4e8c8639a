//! `/api/v3/chaos/…` (specification §3), as far as there is an engine: no resilience score, no statistics,
//! no continuous mode yet, so these addresses do not exist.

use axum::http::StatusCode;
use domain::Permission;
use schemars::JsonSchema;
use serde::Serialize;
use store::ExperimentRecord;

use super::experiment::{self as request, ExperimentBody};
use super::{Answer, Asked, LIMIT_MAX, PAGE, PLANS, json};
use crate::deed::Deed;
use crate::endpoint::{Endpoint, Parameter};
use crate::problem::{Code, Listed, Problem};
use crate::shapes::{self, ExperimentShape, FaultShape};

/// The emergency stop.
pub(crate) const STOP: &str = "/api/v3/chaos/emergency-stop";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let id = || Parameter::id("id", "The id of an experiment");
    let (one, stop) = ("/api/v3/chaos/experiment/{id}", STOP);
    vec![
        Endpoint::post(
            Permission::ChaosRun,
            "/api/v3/chaos/experiment",
            "experiments.create",
            start_experiment,
        )
        .says("Starts an experiment: injects a fault, and takes it out when its time is over")
        .takes::<ExperimentBody>()
        .refuses(PLANS)
        .answers_with::<ExperimentShape>(StatusCode::ACCEPTED, "The experiment, on its way"),
        Endpoint::get(Permission::StateRead, "/api/v3/chaos/experiments", "experiments.list", experiments)
            .says("Experiments, newest first")
            .query([
                Parameter::limit(LIMIT_MAX, PAGE),
                Parameter::id("before", "Only older ones than this experiment; the Link header has it"),
            ])
            .answers::<Vec<ExperimentShape>>("Experiments"),
        Endpoint::get(Permission::StateRead, one, "experiments.get", experiment)
            .says("One experiment")
            .placeholder(id())
            .answers::<ExperimentShape>("The experiment"),
        Endpoint::delete(Permission::ChaosRun, one, "experiments.abort", abort_experiment)
            .says("Ends an experiment and takes its faults out")
            .placeholder(id())
            .overwrites(one, experiment)
            .refuses(PLANS)
            .answers::<ExperimentShape>("The experiment"),
        Endpoint::get(Permission::StateRead, "/api/v3/chaos/faults", "faults.list", running_faults)
            .says("Faults that are in effect now")
            .answers::<Vec<FaultShape>>("Faults"),
        Endpoint::get(Permission::StateRead, stop, "emergency_stop.get", emergency_stop_state)
            .says("Whether the emergency stop is engaged")
            .answers::<EmergencyStop>("Its state"),
        Endpoint::post(Permission::EmergencyStop, stop, "emergency_stop.engage", emergency_stop)
            .says("Takes every fault out, stops every plan, and lets none begin until it is cleared")
            .whatever_is()
            .refuses([Code::Unavailable])
            .answers::<Stopped>("What was taken out"),
        Endpoint::delete(Permission::PlansApprove, stop, "emergency_stop.clear", clear_emergency_stop)
            .says("Lets plans begin again; starts none")
            .overwrites(stop, emergency_stop_state)
            .refuses([Code::Conflict, Code::Unavailable])
            .answers::<EmergencyStop>("Its state"),
    ]
}

/// Whether everything is stopped.
#[derive(Serialize, JsonSchema)]
struct EmergencyStop {
    engaged: bool,
    since: Option<String>,
}

/// What the emergency stop did.
#[derive(Serialize, JsonSchema)]
struct Stopped {
    engaged: bool,
    faults_removed: u32,
}

pub(crate) fn start_experiment(asked: &Asked<'_>) -> Answer {
    let request = request::read(asked.fields()?, asked.who)?;
    asked.deed.tell(Deed::experiment(&request));
    let id = asked.app.control.inject(request)?;
    asked.deed.add(format!("experiment {id}"));
    answer_with(asked, id, StatusCode::ACCEPTED)
}

pub(crate) fn experiments(asked: &Asked<'_>) -> Answer {
    let limit = asked.limit()?;
    let before =
        asked.query.read("before", |text| text.parse().ok(), || "the id of an experiment".to_owned())?;
    let rows = asked.app.store.experiments(limit + 1, before)?;
    asked.list(rows, limit, |record: &ExperimentRecord| record.id.to_string(), shapes::experiment)
}

pub(crate) fn experiment(asked: &Asked<'_>) -> Answer {
    answer_with(asked, asked.id("experiment")?, StatusCode::OK)
}

pub(crate) fn abort_experiment(asked: &Asked<'_>) -> Answer {
    let id = asked.id("experiment")?;
    asked.deed.tell(Deed::of(format!("experiment/{id}")).and("aborted"));
    asked.app.control.abort(id, asked.who)?;
    answer_with(asked, id, StatusCode::OK)
}

fn answer_with(asked: &Asked<'_>, id: domain::ExperimentId, status: StatusCode) -> Answer {
    let record = asked.app.store.experiment(id)?;
    let record = record
        .ok_or_else(|| Problem::not_among(Listed::Experiments, format!("there is no experiment {id}")))?;
    json(status, &shapes::experiment(&record))
}

pub(crate) fn running_faults(asked: &Asked<'_>) -> Answer {
    let faults = asked.app.control.running_faults();
    json(StatusCode::OK, &faults.iter().map(FaultShape::from).collect::<Vec<_>>())
}

pub(crate) fn emergency_stop_state(asked: &Asked<'_>) -> Answer {
    let since = asked.app.store.switches()?.emergency_stop;
    json(StatusCode::OK, &EmergencyStop { engaged: since.is_some(), since: since.map(domain::Time::rfc3339) })
}

pub(crate) fn emergency_stop(asked: &Asked<'_>) -> Answer {
    asked.deed.tell(Deed::of("emergency stop").and("engaged"));
    let removed = asked.app.control.emergency_stop(asked.who)?;
    asked.deed.add(format!("faults taken out: {removed}"));
    json(StatusCode::OK, &Stopped { engaged: true, faults_removed: removed })
}

pub(crate) fn clear_emergency_stop(asked: &Asked<'_>) -> Answer {
    asked.deed.tell(Deed::of("emergency stop").and("cleared"));
    asked.app.control.clear_emergency_stop(asked.who)?;
    json(StatusCode::OK, &EmergencyStop { engaged: false, since: None })
}
