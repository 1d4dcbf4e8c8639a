//! REST: one module for each group of the specification, handlers that are plain blocking functions from
//! [`Asked`] to an answer.

mod chaos;
mod deployments;
pub(crate) mod experiment;
mod metrics;
pub(crate) mod observability;
mod operations;
mod self_healing;
mod slo;
pub(crate) mod timeline;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::Time;
use serde::Serialize;
use std::str::FromStr;

use crate::body::{Fields, Query};
use crate::control::ControlError;
use crate::problem::Problem;
use crate::serve::App;

pub(crate) use {chaos::*, deployments::*, metrics::*, operations::*, self_healing::*, slo::*};

/// Rows of a list where the client does not say.
const PAGE: usize = store::LIST_LIMIT_DEFAULT;

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
    pub(crate) who: &'static str,
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

    fn fields(&self) -> Result<Fields, Problem> {
        Fields::parse(self.headers, self.body)
    }

    /// For writes that take nothing: no body or `{}`, and no query. `?dry_run=true` where it means nothing would
    /// run what was only to be looked at.
    fn takes_nothing(&self) -> Result<(), Problem> {
        self.query.finish()?;
        self.fields()?.finish()
    }

    fn limit(&self) -> Result<usize, Problem> {
        Ok(self.query.count("limit", 1, store::LIST_LIMIT_MAX - 1)?.unwrap_or(PAGE))
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

fn names<T: Copy>(all: impl IntoIterator<Item = T>, name: impl Fn(T) -> &'static str) -> String {
    format!("one of {}", all.into_iter().map(name).collect::<Vec<_>>().join(", "))
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let detail = error.to_string();
        match error {
            ControlError::NotFound { .. } => Self::not_found(detail),
            ControlError::Conflict { .. } => Self::new(StatusCode::CONFLICT, "conflict", detail),
            ControlError::Refused { .. } => Self::new(StatusCode::CONFLICT, "refused", detail),
            ControlError::Unsupported { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unsupported", detail)
            }
            ControlError::Invalid { field, .. } => Self::field(field, detail),
            ControlError::Unavailable { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
            }
        }
    }
}
