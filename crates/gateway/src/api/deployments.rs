//! Deployments: `POST self-healing/deploy/{service}` makes one, `observability/deployments` lists them and takes those
//! that others made.

use std::time::Duration;

use axum::http::StatusCode;
use domain::{CallCounts, Deployment, ServiceName, Time};
use serde::Serialize;

use super::{Answer, Asked, json, time};
use crate::control::{DeployRequest, RunMode};
use crate::problem::Problem;
use crate::shapes::RemediationShape;

/// A list goes back this far where the client does not say.
const LISTED: Duration = Duration::from_secs(24 * 3600);

/// A deployment on the wire.
#[derive(Serialize)]
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
    calls_before: Option<CallCounts>,
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

/// `POST self-healing/deploy/{service}`: lets it run something else.
pub(crate) fn deploy(asked: &Asked<'_>) -> Answer {
    asked.query.finish()?;
    let service = ServiceName::new(asked.name).map_err(|error| Problem::not_found(error.to_string()))?;
    let mut fields = asked.fields()?;
    let request = DeployRequest {
        version: fields.text("version", "the name of the version, such as 1.4.0")?,
        command: fields.texts_or("command")?,
        environment: fields.object("environment")?.into_texts()?,
    };
    let (mode, status) = match fields.boolean_or("dry_run")? {
        Some(true) => (RunMode::DryRun, StatusCode::OK),
        _ => (RunMode::Run, StatusCode::ACCEPTED),
    };
    fields.finish()?;
    let planned = asked.app.control.deploy(&service, request, mode, asked.who)?;
    json(status, &RemediationShape::planned(&planned))
}

/// `GET observability/deployments`: those of late, newest first.
pub(crate) fn deployments(asked: &Asked<'_>) -> Answer {
    asked.query.only(&["service", "since", "limit"])?;
    let limit = asked.limit()?;
    let name = |text: &str| ServiceName::new(text).ok();
    let service = asked.query.read("service", name, || "the name of a service".to_owned())?;
    let since = asked.since()?.unwrap_or_else(|| asked.app.clock.now().minus(LISTED));
    let mut found = asked.app.store.deployments(since)?;
    found.retain(|deployment| service.as_ref().is_none_or(|service| deployment.service == *service));
    let shapes: Vec<_> = found.iter().rev().take(limit).map(DeploymentShape::from).collect();
    json(StatusCode::OK, &shapes)
}

/// `POST observability/deployments`: somebody else made one.
pub(crate) fn post_deployment(asked: &Asked<'_>) -> Answer {
    asked.query.finish()?;
    let mut fields = asked.fields()?;
    let service = fields.text("service", "the name of a service")?;
    let service = ServiceName::new(service).map_err(|error| fields.wrong("service", error.to_string()))?;
    let version = fields.text("version", "the name of the version, such as 1.4.0")?;
    let at = match fields.text_or("at")? {
        None => None,
        Some(text) => {
            let expected = || format!("{text:?} is no RFC 3339 time, such as 2026-11-21T03:00:00Z");
            Some(time(&text).ok_or_else(|| fields.wrong("at", expected()))?)
        }
    };
    fields.finish()?;
    let stands = asked.app.control.post_deployment(&service, &version, at)?;
    json(StatusCode::CREATED, &DeploymentShape::from(&stands))
}
