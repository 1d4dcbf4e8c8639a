//! Deployments: `POST self-healing/deploy/{service}` makes one, `observability/deployments` lists them and takes those
//! that others made.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use domain::{CallCounts, Deployment, Permission, Release, ServiceName, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::DeploymentFilter;

use super::operations::{snapshot, unknown_service};
use super::{Answer, Asked, LIMIT_MAX, PAGE, PLANS, json, mode, planned, tagged, time};
use crate::control::DeployRequest;
use crate::deed::Deed;
use crate::endpoint::{Endpoint, Parameter, SERVICE, VERSION};
use crate::problem::{Code, Problem};
use crate::shapes::RemediationShape;

/// A list goes back this far where the client does not say.
const LISTED: Duration = Duration::from_secs(24 * 3600);

/// A deployment on the wire.
#[derive(Serialize, JsonSchema)]
pub(crate) struct DeploymentShape {
    id: String,
    service: String,
    version: Option<String>,
    previous_version: Option<String>,
    at: String,
    finished_at: Option<String>,
    seen_by: &'static str,
    remediation_id: Option<String>,
    rolls_back: Option<String>,
    /// Whether what ran before is known, so that it could be put back.
    reversible: bool,
    #[schemars(with = "Option<CallCountsShape>")]
    calls_before: Option<CallCounts>,
}

/// What its callers counted in the minute before.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it describes what `CallCounts` writes")]
struct CallCountsShape {
    requests: u64,
    errors: u64,
    /// Of these, slower than the service's latency threshold.
    slow: u64,
}

impl From<&Deployment> for DeploymentShape {
    fn from(deployment: &Deployment) -> Self {
        Self {
            id: deployment.id.to_string(),
            service: deployment.service.to_string(),
            version: deployment.version.clone(),
            previous_version: deployment.previous_version.clone(),
            at: deployment.at.rfc3339(),
            finished_at: deployment.finished_at.map(Time::rfc3339),
            seen_by: deployment.seen_by.name(),
            remediation_id: deployment.plan.map(|plan| plan.to_string()),
            rolls_back: deployment.rolls_back.map(|id| id.to_string()),
            reversible: deployment.former.is_some(),
            calls_before: deployment.before,
        }
    }
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let (listed, one) = ("/api/v3/observability/deployments", "/api/v3/self-healing/deploy/{name}");
    let name = || Parameter::text("name", "The name of a service");
    vec![
        Endpoint::get(Permission::StateRead, one, "deployments.running", running)
            .says("What a process of a service runs that is started now; its environment by names alone")
            .placeholder(name())
            .refuses([Code::NotKnownYet])
            .answers::<ReleaseShape>("Version, command, and names of variables"),
        Endpoint::post(Permission::ServicesOperate, one, "deployments.create", deploy)
            .says("Lets a service run something else, one instance after another")
            .placeholder(name())
            .overwrites(one, running)
            .refuses(PLANS)
            .refuses([Code::NotKnownYet])
            .takes::<DeployBody>()
            .answers::<RemediationShape>("The plan, of a dry run")
            .answers_with::<RemediationShape>(StatusCode::ACCEPTED, "The plan, on its way"),
        Endpoint::get(Permission::StateRead, listed, "deployments.list", deployments)
            .says("Deployments of late, newest first, whoever made them")
            .query([
                Parameter::form("service", SERVICE, "cart", "Only those of this service"),
                Parameter::time("since", "Since when; a day ago where it is left out"),
                Parameter::id("before", "Only older ones than this deployment; the Link header has it"),
                Parameter::limit(LIMIT_MAX, PAGE),
            ])
            .answers::<Vec<DeploymentShape>>("Deployments"),
        Endpoint::post(Permission::TelemetryWrite, listed, "deployments.report", post_deployment)
            .says("Tells of a deployment that somebody else made")
            .takes::<ReportedDeployment>()
            .refuses(PLANS)
            .answers_with::<DeploymentShape>(StatusCode::CREATED, "The deployment that stands for it"),
    ]
}

/// What a service is to run; what is left out stays as it is.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{"version": "1.4.0", "environment": {"LOG_LEVEL": "debug"}, "dry_run": true}]))]
struct DeployBody {
    /// What it is called, such as `1.4.0`.
    #[schemars(extend("pattern" = VERSION))]
    version: String,
    /// Program and arguments.
    command: Option<Vec<String>>,
    /// Environment variables that are set; the others stay.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// Shows the plan; changes nothing.
    #[serde(default)]
    dry_run: bool,
}

impl DeployBody {
    /// What no machine could run, by the field at fault.
    fn check(&self) -> Result<(), Problem> {
        if let Some(fault) = Release::version_fault(&self.version) {
            return Err(Problem::field("version", fault));
        }
        if let Some(fault) = self.command.as_deref().and_then(Release::command_fault) {
            return Err(Problem::field("command", format!("`command` {fault}")));
        }
        for (name, value) in &self.environment {
            if let Some(fault) = Release::variable_fault(name, value) {
                let field = format!("environment.{}", name.replace('\0', "\\0"));
                return Err(Problem::field(field.clone(), format!("`{field}` {fault}")));
            }
        }
        Ok(())
    }
}

/// A deployment that somebody else made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{"service": "cart", "version": "1.4.0"}]))]
struct ReportedDeployment {
    /// The name of a service.
    #[schemars(extend("pattern" = SERVICE))]
    service: String,
    /// The version that runs since then.
    #[schemars(extend("pattern" = VERSION))]
    version: String,
    /// When, as an RFC 3339 time; now where it is left out.
    #[schemars(extend("format" = "date-time"))]
    at: Option<String>,
}

/// What a service runs.
#[derive(Serialize, JsonSchema)]
struct ReleaseShape {
    /// Null where nobody gave it a name.
    version: Option<String>,
    /// Program and arguments, as declared.
    command: Vec<String>,
    /// Names of variables; their values are often secrets.
    environment: Vec<String>,
    /// Whether some instances still run what was there before.
    rolling_out: bool,
}

/// `GET self-healing/deploy/{service}`. Its tag is over the values of variables, too.
fn running(asked: &Asked<'_>) -> Answer {
    let service = ServiceName::new(asked.name).map_err(|error| Problem::not_found(error.to_string()))?;
    let snapshot = snapshot(asked.app)?;
    let state = snapshot.services.get(&service).ok_or_else(|| unknown_service(&service))?;
    let shape = ReleaseShape {
        version: state.release.version.clone(),
        command: state.release.command.clone(),
        environment: state.release.environment.keys().cloned().collect(),
        rolling_out: state.rolling_out,
    };
    Ok(tagged(json(StatusCode::OK, &shape)?, &format!("{:?} {}", state.release, state.rolling_out)))
}

/// `POST self-healing/deploy/{service}`: lets it run something else.
pub(crate) fn deploy(asked: &Asked<'_>) -> Answer {
    let service = ServiceName::new(asked.name).map_err(|error| Problem::not_found(error.to_string()))?;
    let body: DeployBody = asked.body()?;
    body.check()?;
    let DeployBody { version, command, environment, dry_run } = body;
    let request = DeployRequest { version, command, environment };
    let mode = mode(dry_run);
    asked.deed.tell(Deed::deploy(&service, &request));
    planned(asked, mode, &asked.app.control.deploy(&service, request, mode, asked.who)?)
}

/// `GET observability/deployments`: those of late, newest first.
pub(crate) fn deployments(asked: &Asked<'_>) -> Answer {
    let limit = asked.limit()?;
    let name = |text: &str| ServiceName::new(text).ok();
    let filter = DeploymentFilter {
        since: asked.since()?.unwrap_or_else(|| asked.app.clock.now().minus(LISTED)),
        service: asked.query.read("service", name, || "the name of a service".to_owned())?,
        before: asked.query.read(
            "before",
            |text| text.parse().ok(),
            || "the id of a deployment".to_owned(),
        )?,
        limit: limit + 1,
    };
    let rows = asked.app.store.list_deployments(&filter)?;
    asked.list(
        rows,
        limit,
        |one: &Deployment| one.id.to_string(),
        |one: &Deployment| DeploymentShape::from(one),
    )
}

/// `POST observability/deployments`: somebody else made one.
pub(crate) fn post_deployment(asked: &Asked<'_>) -> Answer {
    let body: ReportedDeployment = asked.body()?;
    let service =
        ServiceName::new(body.service).map_err(|error| Problem::field("service", error.to_string()))?;
    let expected = |text: &str| format!("{text:?} is no RFC 3339 time, such as 2026-11-21T03:00:00Z");
    let read = |text: String| time(&text).ok_or_else(|| Problem::field("at", expected(&text)));
    let at = body.at.map(read).transpose()?;
    if let Some(fault) = Release::version_fault(&body.version) {
        return Err(Problem::field("version", fault));
    }
    asked.deed.tell(Deed::version(&service, &body.version));
    let stands = asked.app.control.post_deployment(&service, &body.version, at)?;
    json(StatusCode::CREATED, &DeploymentShape::from(&stands))
}
