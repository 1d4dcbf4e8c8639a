//! What people need besides: services, logs, pauses, capabilities, and `GET /health`.

use std::time::Duration;

use axum::http::StatusCode;
use domain::units::parse_duration;
use domain::{ServiceName, Snapshot};
use serde_json::json as value;
use std::sync::Arc;

use super::{Answer, Asked, json};
use crate::problem::Problem;
use crate::serve::App;
use crate::shapes::{PauseShape, ServiceShape};

/// A snapshot older than this is stale: the loops take one every second, and one at least every 30 s.
pub(crate) const STALE_AFTER: Duration = Duration::from_secs(35);

/// A pause ends by itself; what is longer is a hands-off label in the Infrastructure.
const PAUSE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

const LOG_LINES_DEFAULT: usize = 200;
const LOG_LINES_MAX: usize = 5000;

/// For container health checks: 200 while the loops give snapshots, 503 otherwise. What the loop cannot do and
/// tries again is in `troubles`; a restart would not mend a full disk.
pub(crate) fn health(asked: &Asked<'_>) -> Answer {
    let now = asked.app.clock.now();
    let age = asked.app.control.snapshot().map(|snapshot| now.since(snapshot.taken));
    let (status, word) = match age {
        Some(age) if age <= STALE_AFTER => (StatusCode::OK, "healthy"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "stale"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
    };
    let body = value!({
        "status": word,
        "version": env!("CARGO_PKG_VERSION"),
        "snapshot_age_seconds": age.map(|age| age.as_secs_f64()),
        "troubles": asked.app.control.troubles(),
        "timestamp": now.rfc3339(),
    });
    json(status, &body)
}

pub(crate) fn services(asked: &Asked<'_>) -> Answer {
    let snapshot = snapshot(asked.app)?;
    let pauses = asked.app.store.switches()?.pauses;
    let shapes = snapshot
        .services
        .iter()
        .map(|(name, state)| ServiceShape::new(&snapshot, name, state, pauses.get(name).copied()));
    json(StatusCode::OK, &shapes.collect::<Vec<_>>())
}

pub(crate) fn service(asked: &Asked<'_>) -> Answer {
    let snapshot = snapshot(asked.app)?;
    let name = service_name(asked)?;
    let state = snapshot.services.get(&name).ok_or_else(|| unknown_service(&name))?;
    let pauses = asked.app.store.switches()?.pauses;
    json(StatusCode::OK, &ServiceShape::new(&snapshot, &name, state, pauses.get(&name).copied()))
}

fn snapshot(app: &App) -> Result<Arc<Snapshot>, Problem> {
    app.control.snapshot().ok_or_else(|| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_known_yet",
            "nothing was looked at yet; ask again in a few seconds",
        )
    })
}

fn service_name(asked: &Asked<'_>) -> Result<ServiceName, Problem> {
    ServiceName::new(asked.name).map_err(|error| Problem::not_found(error.to_string()))
}

fn unknown_service(name: &ServiceName) -> Problem {
    Problem::not_found(format!("there is no service {name}; GET /api/v3/self-healing/services lists them"))
}

pub(crate) fn logs(asked: &Asked<'_>) -> Answer {
    let lines = asked.query.count("lines", 1, LOG_LINES_MAX)?.unwrap_or(LOG_LINES_DEFAULT);
    let name = service_name(asked)?;
    json(StatusCode::OK, &asked.app.control.logs(&name, lines)?)
}

pub(crate) fn pauses(asked: &Asked<'_>) -> Answer {
    json(StatusCode::OK, &pause_shapes(asked.app)?)
}

fn pause_shapes(app: &App) -> Result<Vec<PauseShape>, Problem> {
    let (now, switches) = (app.clock.now(), app.store.switches()?);
    let in_force = switches.pauses.iter().filter(|(service, _)| switches.is_paused(service, now));
    Ok(in_force.map(|(service, until)| PauseShape::new(service, *until, now)).collect())
}

pub(crate) fn pause(asked: &Asked<'_>) -> Answer {
    let mut fields = asked.fields()?;
    let name = fields.text("service", "the name of a service")?;
    let name = ServiceName::new(name).map_err(|error| fields.wrong("service", error.to_string()))?;
    let text = fields.text("for", "a duration, such as 1h")?;
    let time = pause_time(&text).map_err(|why| fields.wrong("for", why))?;
    fields.finish()?;
    asked.app.control.pause(&name, time, asked.who)?;
    json(StatusCode::OK, &pause_shapes(asked.app)?)
}

/// Reads how long a pause is to be.
pub(crate) fn pause_time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).map_err(|error| error.to_string())?;
    if time.is_zero() || time > PAUSE_MAX {
        return Err(
            "must be above 0 and up to 7d; for longer set `hands_off: true` in the Infrastructure".to_owned()
        );
    }
    Ok(time)
}

pub(crate) fn resume(asked: &Asked<'_>) -> Answer {
    asked.app.control.resume(&service_name(asked)?, asked.who)?;
    json(StatusCode::OK, &pause_shapes(asked.app)?)
}

pub(crate) fn capabilities(asked: &Asked<'_>) -> Answer {
    json(StatusCode::OK, &asked.app.control.capabilities())
}
