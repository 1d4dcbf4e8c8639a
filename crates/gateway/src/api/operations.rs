//! What people need besides: services, logs, pauses, capabilities, and `GET /health`.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use domain::units::parse_duration;
use domain::{Permission, ServiceName, Snapshot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Answer, Asked, json, tagged};
use crate::deed::Deed;
use crate::endpoint::{Access, DURATION, Endpoint, Kind, Parameter, SERVICE};
use crate::problem::{Code, Listed, Problem};
use crate::serve::App;
use crate::shapes::{CapabilitiesShape, PauseShape, ServiceShape};

/// A snapshot older than this is stale: the loops take one every second, and one at least every 30 s.
pub(crate) const STALE_AFTER: Duration = Duration::from_secs(35);

/// A pause ends by itself; what is longer is a hands-off label in the Infrastructure.
const PAUSE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Where nothing is repaired or disturbed.
pub(crate) const PAUSES: &str = "/api/v3/self-healing/pauses";

const LOG_LINES_DEFAULT: usize = 200;
const LOG_LINES_MAX: usize = 5000;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let at = |path: &str| format!("/api/v3/self-healing/{path}");
    let service_name = || Parameter::text("name", "The name of a service");
    vec![
        Endpoint::get(Access::Open, "/health", "server.health", health)
            .says("Whether the loops turn; for health checks")
            .answers::<Health>("They do")
            .answers_with::<Health>(
                StatusCode::SERVICE_UNAVAILABLE,
                "They do not, or have only just started",
            ),
        Endpoint::get(Permission::StateRead, &at("services"), "services.list", services)
            .says("What runs, by name")
            .refuses([Code::NotKnownYet])
            .answers::<Vec<ServiceShape>>("Services with their instances and the links to them"),
        Endpoint::get(Permission::StateRead, &at("services/{name}"), "services.get", service)
            .says("One service")
            .placeholder(service_name())
            .refuses([Code::NotKnownYet])
            .answers::<ServiceShape>("The service"),
        Endpoint::get(Permission::TelemetryRead, &at("services/{name}/logs"), "services.logs", logs)
            .says("The last lines that a service wrote")
            .placeholder(service_name())
            .query([Parameter::new(
                "lines",
                Kind::Count { least: 1, most: LOG_LINES_MAX, default: LOG_LINES_DEFAULT },
                "At most this many lines of each instance",
            )])
            .refuses([Code::Conflict, Code::Unsupported, Code::Unavailable])
            .answers::<Vec<String>>("Lines"),
        Endpoint::get(Permission::StateRead, PAUSES, "pauses.list", pauses)
            .says("Where nothing is repaired or disturbed, and until when")
            .answers::<Vec<PauseShape>>("Pauses in force"),
        Endpoint::post(Permission::ServicesOperate, PAUSES, "pauses.create", pause)
            .says("Repairs and disturbs nothing at a service for a while")
            .overwrites(PAUSES, pauses)
            .refuses([Code::NotFound, Code::Conflict, Code::Unavailable])
            .takes::<PauseBody>()
            .answers::<Vec<PauseShape>>("Pauses in force"),
        Endpoint::delete(Permission::ServicesOperate, &at("pauses/{name}"), "pauses.delete", resume)
            .says("Ends a pause")
            .placeholder(service_name())
            .overwrites(PAUSES, pauses)
            .refuses([Code::NotFound, Code::Conflict, Code::Unavailable])
            .answers::<Vec<PauseShape>>("Pauses in force"),
        Endpoint::get(Permission::StateRead, &at("capabilities"), "capabilities.get", capabilities)
            .says("What the provider can do on this machine")
            .answers::<CapabilitiesShape>("Capabilities"),
    ]
}

/// How the control plane is.
#[derive(Serialize, JsonSchema)]
struct Health {
    /// `healthy`, `stale` or `starting`.
    status: &'static str,
    version: &'static str,
    /// Null before the first snapshot.
    snapshot_age_seconds: Option<f64>,
    /// What cannot be done now and is tried again, or needs a person, such as a certificate that ends.
    troubles: Vec<String>,
    timestamp: String,
}

/// A pause that is asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{"service": "cart", "for": "1h"}]))]
struct PauseBody {
    /// The name of a service.
    #[schemars(extend("pattern" = SERVICE))]
    service: String,
    /// How long, such as `1h`; at most 7 days.
    #[schemars(extend("pattern" = DURATION))]
    r#for: String,
}

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
    let body = Health {
        status: word,
        version: env!("CARGO_PKG_VERSION"),
        snapshot_age_seconds: age.map(|age| age.as_secs_f64()),
        troubles: asked.app.troubles(),
        timestamp: now.rfc3339(),
    };
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

pub(super) fn snapshot(app: &App) -> Result<Arc<Snapshot>, Problem> {
    app.control.snapshot().ok_or_else(|| {
        Problem::new(Code::NotKnownYet, "nothing was looked at yet; ask again in a few seconds")
    })
}

fn service_name(asked: &Asked<'_>) -> Result<ServiceName, Problem> {
    ServiceName::new(asked.name).map_err(|error| Problem::not_found(error.to_string()))
}

pub(super) fn unknown_service(name: &ServiceName) -> Problem {
    Problem::not_among(Listed::Services, format!("there is no service {name}"))
}

pub(crate) fn logs(asked: &Asked<'_>) -> Answer {
    let lines = asked.query.count("lines", 1, LOG_LINES_MAX)?.unwrap_or(LOG_LINES_DEFAULT);
    let name = service_name(asked)?;
    json(StatusCode::OK, &asked.app.control.logs(&name, lines)?)
}

pub(crate) fn pauses(asked: &Asked<'_>) -> Answer {
    let shapes = pause_shapes(asked.app)?;
    let told: Vec<String> = shapes.iter().map(PauseShape::told).collect();
    Ok(tagged(json(StatusCode::OK, &shapes)?, &told.join("\n")))
}

fn pause_shapes(app: &App) -> Result<Vec<PauseShape>, Problem> {
    let (now, switches) = (app.clock.now(), app.store.switches()?);
    let in_force = switches.pauses.iter().filter(|(service, _)| switches.is_paused(service, now));
    Ok(in_force.map(|(service, until)| PauseShape::new(service, *until, now)).collect())
}

pub(crate) fn pause(asked: &Asked<'_>) -> Answer {
    let body: PauseBody = asked.body()?;
    let name =
        ServiceName::new(body.service).map_err(|error| Problem::field("service", error.to_string()))?;
    let time = pause_time(&body.r#for).map_err(|why| Problem::field("for", why))?;
    asked.deed.tell(Deed::pause(&name, time));
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
    let name = service_name(asked)?;
    asked.deed.tell(Deed::resume(&name));
    asked.app.control.resume(&name, asked.who)?;
    json(StatusCode::OK, &pause_shapes(asked.app)?)
}

pub(crate) fn capabilities(asked: &Asked<'_>) -> Answer {
    json(StatusCode::OK, &CapabilitiesShape::from(&asked.app.control.capabilities()))
}
