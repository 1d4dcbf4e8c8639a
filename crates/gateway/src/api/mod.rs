//! REST: one module for each group of the specification, handlers that are plain blocking functions from
//! [`Asked`] to an answer.

mod access;
mod archive;
mod audit;
mod chaos;
mod cmdb;
mod deployments;
mod drills;
pub(crate) mod experiment;
mod intake;
pub(crate) mod metrics;
pub(crate) mod observability;
mod operations;
mod own_account;
mod passkeys;
mod records;
mod self_healing;
mod slo;
pub(crate) mod timeline;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{Identity, PlanStatus, Time};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::IpAddr;
use std::str::FromStr;

use crate::auditing::about;
use crate::body::{Fields, Query};
use crate::conditional;
use crate::control::{ControlError, Planned, RunMode};
use crate::deed::Telling;
use crate::endpoint::Endpoint;
use crate::problem::{Code, Problem};
use crate::serve::App;
use crate::shapes::RemediationShape;

pub(crate) use access::USER;
pub(crate) use chaos::STOP;
pub(crate) use cmdb::{INFRASTRUCTURE, SIZE};
pub(crate) use drills::{kept_drill, kept_drills};
pub(crate) use own_account::ME;
pub(crate) use {metrics::Carried, metrics::Settled, operations::*, self_healing::*, slo::*};

/// Rows of a list where the client does not say.
const PAGE: usize = store::LIST_LIMIT_DEFAULT;

/// Rows of a list at most: one more is read, to know whether there is a next page.
const LIMIT_MAX: usize = store::LIST_LIMIT_MAX - 1;

/// How a plan may be refused that somebody asks for, or decides about.
const PLANS: [Code; 5] =
    [Code::NotFound, Code::Conflict, Code::Refused, Code::Unsupported, Code::Unavailable];

/// What lies below may answer with a secret that was just made.
pub(crate) const SECRETS: &str = "/api/v3/access/";

/// Every endpoint of our own.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let mut all = self_healing::endpoints();
    all.extend(operations::endpoints());
    all.extend(deployments::endpoints());
    all.extend(chaos::endpoints());
    all.extend(drills::endpoints());
    all.extend(observability::endpoints());
    all.extend(archive::endpoints());
    all.extend(timeline::endpoints());
    all.extend(slo::endpoints());
    all.extend(metrics::endpoints());
    all.extend(access::endpoints());
    all.extend(audit::endpoints());
    all.extend(cmdb::endpoints());
    all.extend(own_account::endpoints());
    all.extend(passkeys::endpoints());
    all.extend(records::endpoints());
    // The specification promises these without the version, too.
    let alias = |endpoint: Endpoint| match endpoint.path.strip_prefix("/api/v3/self-healing/") {
        Some(rest) => {
            let path = format!("/api/self-healing/{rest}");
            endpoint.alias(path)
        }
        None => endpoint,
    };
    all.into_iter().map(alias).collect()
}

/// One request, as handlers see it.
pub(crate) struct Asked<'a> {
    pub(crate) app: &'a App,
    /// What stands in the path's one placeholder.
    pub(crate) name: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Query,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
    /// Who is recorded to have asked.
    pub(crate) who: &'a str,
    /// Who it is, and what they may.
    pub(crate) identity: &'a Identity,
    /// Where it came from.
    pub(crate) peer: IpAddr,
    /// What the audit trail is told of it.
    pub(crate) deed: Telling,
}

/// What a handler gives.
pub(crate) type Answer = Result<Response, Problem>;

impl Asked<'_> {
    /// The id in the path.
    fn id<T: FromStr>(&self, what: &str) -> Result<T, Problem> {
        self.name
            .parse()
            .map_err(|_| Problem::not_found(format!("there is no {what} {:?}; ids are UUIDs", self.name)))
    }

    /// The body, as JSON of this shape. An empty one is an empty object.
    fn body<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        crate::body::read(self.headers, self.body)
    }

    pub(crate) fn fields(&self) -> Result<Fields, Problem> {
        Fields::parse(self.headers, self.body)
    }

    fn limit(&self) -> Result<usize, Problem> {
        Ok(self.query.count("limit", 1, LIMIT_MAX)?.unwrap_or(PAGE))
    }

    fn since(&self) -> Result<Option<Time>, Problem> {
        self.query.read("since", time, || "an RFC 3339 time, such as 2026-11-21T03:00:00Z".to_owned())
    }

    /// A list of at most `limit` rows out of up to one more, with the next page in `Link`.
    fn list<T, S: Serialize>(
        &self,
        mut rows: Vec<T>,
        limit: usize,
        id: impl Fn(&T) -> String,
        shape: impl Fn(&T) -> S,
    ) -> Answer {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let shapes: Vec<S> = rows.iter().map(shape).collect();
        let mut response = json(StatusCode::OK, &shapes)?;
        if let (true, Some(last)) = (more, rows.last()) {
            let link = format!("<{}?{}>; rel=\"next\"", self.path, self.query.with("before", &id(last)));
            let value = HeaderValue::from_str(&link)
                .map_err(|_| Problem::internal("the address of the next page is no header"))?;
            response.headers_mut().insert(header::LINK, value);
        }
        Ok(response)
    }
}

/// Reads an RFC 3339 time; only its wall clock is known.
pub(crate) fn time(text: &str) -> Option<Time> {
    let stamp: jiff::Timestamp = text.parse().ok()?;
    Some(Time { boot_us: 0, wall_us: stamp.as_microsecond() })
}

/// `now` moved back on the wall clock, without stopping at the boot.
pub(crate) fn back(now: Time, seconds: i64) -> Time {
    Time { boot_us: 0, wall_us: now.wall_us - seconds * 1_000_000 }
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value)
        .map_err(|error| Problem::internal(format!("the answer cannot be written as JSON: {error}")))?;
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// An answer with a tag of its own: over `told`, which leaves out of it what changes by itself.
fn tagged(mut response: Response, told: &str) -> Response {
    response.headers_mut().insert(header::ETAG, conditional::tag_of(told.as_bytes()));
    response
}

fn names<T: Copy>(all: impl IntoIterator<Item = T>, name: impl Fn(T) -> &'static str) -> String {
    format!("one of {}", all.into_iter().map(name).collect::<Vec<_>>().join(", "))
}

/// Whether a plan is to run, or only to be shown.
pub(crate) fn mode(dry_run: bool) -> RunMode {
    if dry_run { RunMode::DryRun } else { RunMode::Run }
}

/// Why a plan that was to run does not, where the guard lets it not even wait. It is kept all the same.
pub(crate) fn refused_plan(mode: RunMode, planned: &Planned) -> Option<Problem> {
    (mode == RunMode::Run && planned.status == PlanStatus::Refused).then(|| {
        let (reasons, id) = (planned.reasons.join("; "), planned.plan.id);
        let detail = format!("{reasons}; remediation {id} says what was to be done");
        Problem { plan: Some(id), ..Problem::new(Code::Refused, detail) }
    })
}

/// The answer to who asked for a plan.
fn planned(asked: &Asked<'_>, mode: RunMode, planned: &Planned) -> Answer {
    asked.deed.planned(mode, planned);
    let status = match mode {
        RunMode::Run => StatusCode::ACCEPTED,
        RunMode::DryRun => StatusCode::OK,
    };
    let answer = match refused_plan(mode, planned) {
        Some(problem) => problem.into_response(),
        None => json(status, &RemediationShape::planned(planned))?,
    };
    Ok(about(planned.plan.id, answer))
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let detail = error.to_string();
        match error {
            ControlError::NotFound { listed, .. } => Self { listed, ..Self::not_found(detail) },
            ControlError::Conflict { .. } => Self::new(Code::Conflict, detail),
            ControlError::Refused { .. } => Self::new(Code::Refused, detail),
            ControlError::Unsupported { .. } => Self::new(Code::Unsupported, detail),
            ControlError::Invalid { field, .. } => Self::field(field, detail),
            ControlError::Unavailable { .. } => Self::new(Code::Unavailable, detail),
        }
    }
}
