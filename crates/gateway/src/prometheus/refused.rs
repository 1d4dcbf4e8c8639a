//! Errors as Prometheus has them: `{"status":"error","errorType":…,"error":…}`, and which status goes with which type.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use promql::{ErrorKind, QueryError, SourceError};
use serde_json::json;

use crate::problem::Problem;

/// A request that is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    kind: Kind,
    message: String,
}

/// Prometheus' types of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    BadData,
    Execution,
    Canceled,
    Timeout,
    Internal,
    Unavailable,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            // Nobody reads it: the client is gone. 499 is what it is called for all that.
            Self::Canceled => StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT),
            Self::Timeout | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Refused {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(super) fn bad_data(message: impl Into<String>) -> Self {
        Self::new(Kind::BadData, message)
    }

    /// A parameter that cannot be read.
    pub(super) fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter {name:?}: {why}"))
    }

    /// An expression that is none.
    pub(super) fn expression(name: &str, error: &QueryError) -> Self {
        Self::parameter(name, format_args!("{}: parse error: {}", error.position, error.message))
    }

    pub(super) fn timeout(message: &str) -> Self {
        Self::new(Kind::Timeout, message)
    }

    pub(super) fn internal(message: &str) -> Self {
        Self::new(Kind::Internal, message)
    }

    pub(super) fn unavailable(message: &str) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    /// A query that was understood, and has no answer. `left`: its client went away.
    pub(super) fn evaluation(error: &QueryError, left: bool) -> Self {
        match error.kind {
            ErrorKind::Syntax => Self::bad_data(format!("{}: {}", error.position, error.message)),
            ErrorKind::Execution | ErrorKind::TooMuch => Self::new(Kind::Execution, error.to_string()),
            ErrorKind::Cancelled if left => {
                Self::new(Kind::Canceled, "query was canceled in expression evaluation")
            }
            ErrorKind::Cancelled => Self::timeout("query timed out in expression evaluation"),
            ErrorKind::Source => Self::new(Kind::Internal, error.message.clone()),
        }
    }
}

impl From<SourceError> for Refused {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::TooMuch { .. } => Self::new(Kind::Execution, error.to_string()),
            SourceError::Unreadable(_) => Self::new(Kind::Internal, error.to_string()),
        }
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        let kind = if problem.status().is_client_error() { Kind::BadData } else { Kind::Internal };
        Self::new(kind, problem.detail)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = json!({"status": "error", "errorType": self.kind.word(), "error": self.message});
        (self.kind.status(), Json(body)).into_response()
    }
}
