//! `/api/v3/chaos/…` (specification §3), as far as there is an engine: no resilience score, no statistics,
//! no continuous mode yet, so these addresses do not exist.

use axum::http::StatusCode;
use serde_json::json as value;
use store::ExperimentRecord;

use super::{Answer, Asked, experiment as request, json};
use crate::problem::Problem;
use crate::shapes::{self, FaultShape};

pub(crate) fn start_experiment(asked: &Asked<'_>) -> Answer {
    let id = asked.app.control.inject(request::read(asked.fields()?, asked.who)?)?;
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
    asked.app.control.abort(id, asked.who)?;
    answer_with(asked, id, StatusCode::OK)
}

fn answer_with(asked: &Asked<'_>, id: domain::ExperimentId, status: StatusCode) -> Answer {
    let record = asked.app.store.experiment(id)?;
    let record = record.ok_or_else(|| Problem::not_found(format!("there is no experiment {id}")))?;
    json(status, &shapes::experiment(&record))
}

pub(crate) fn running_faults(asked: &Asked<'_>) -> Answer {
    let faults = asked.app.control.running_faults();
    json(StatusCode::OK, &faults.iter().map(FaultShape::from).collect::<Vec<_>>())
}

pub(crate) fn emergency_stop_state(asked: &Asked<'_>) -> Answer {
    let since = asked.app.store.switches()?.emergency_stop;
    json(StatusCode::OK, &value!({"engaged": since.is_some(), "since": since.map(domain::Time::rfc3339)}))
}

pub(crate) fn emergency_stop(asked: &Asked<'_>) -> Answer {
    asked.takes_nothing()?;
    let removed = asked.app.control.emergency_stop(asked.who)?;
    json(StatusCode::OK, &value!({"engaged": true, "faults_removed": removed}))
}

pub(crate) fn clear_emergency_stop(asked: &Asked<'_>) -> Answer {
    asked.app.control.clear_emergency_stop(asked.who)?;
    json(StatusCode::OK, &value!({"engaged": false}))
}
