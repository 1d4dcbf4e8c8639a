//! Errors in the form that Jaeger's clients read: a list beside empty data, or one object in version 3.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use telemetry::{ArchiveError, ReadError};

use super::NoTelemetry;
use super::query::Malformed;
use crate::problem::{Problem, chain};

/// A request of `/api/…` that is not answered with data.
pub(crate) struct RefusedV1 {
    status: StatusCode,
    message: String,
}

/// A request of `/api/v3/…` that is not answered with data.
pub(crate) struct RefusedV3(RefusedV1);

impl RefusedV1 {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl RefusedV3 {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self(RefusedV1::new(status, message))
    }
}

impl From<NoTelemetry> for RefusedV1 {
    fn from(_: NoTelemetry) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, NoTelemetry::SENTENCE)
    }
}

impl From<Malformed> for RefusedV1 {
    fn from(malformed: Malformed) -> Self {
        Self::new(StatusCode::BAD_REQUEST, malformed.0)
    }
}

impl From<ReadError> for RefusedV1 {
    fn from(error: ReadError) -> Self {
        let status = match error {
            ReadError::Away { .. } => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, chain(&error))
    }
}

impl From<ArchiveError> for RefusedV1 {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "trace not found"),
            error => Problem::from(error).into(),
        }
    }
}

/// From the surface every request passes: a query string that cannot be read, a handler that ended early.
impl From<Problem> for RefusedV1 {
    fn from(problem: Problem) -> Self {
        let status = match problem.status() {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            status => status,
        };
        Self::new(status, problem.detail)
    }
}

impl<E> From<E> for RefusedV3
where
    RefusedV1: From<E>,
{
    fn from(error: E) -> Self {
        Self(RefusedV1::from(error))
    }
}

impl IntoResponse for RefusedV1 {
    fn into_response(self) -> Response {
        let error = json!({"code": self.status.as_u16(), "msg": self.message});
        respond(self.status, &json!({"data": null, "total": 0, "limit": 0, "offset": 0, "errors": [error]}))
    }
}

impl IntoResponse for RefusedV3 {
    fn into_response(self) -> Response {
        let Self(RefusedV1 { status, message }) = self;
        respond(status, &json!({"error": {"httpCode": status.as_u16(), "message": message}}))
    }
}

/// JSON with a status.
pub(super) fn respond(status: StatusCode, body: &Value) -> Response {
    let mut response = (status, body.to_string()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
