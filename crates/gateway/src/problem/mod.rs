//! Errors on the wire: problem details (RFC 9457) with a stable `code`.
//!
//! In: what went wrong, from any handler. Out: `application/problem+json` for programs, and for pages the
//! same sentence in the frame (see [`crate::page`]). Every `detail` says what to do; `field` names the
//! part of the request at fault, where one is; `listed_at` where what there is is listed.

mod code;
mod listed;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::PlanId;
use serde::Serialize;

pub(crate) use code::Code;
pub use listed::Listed;

use crate::auditing::{TriedAs, about};

/// One refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Stable; clients match on it. The status is the code's.
    pub(crate) code: Code,
    /// What was wrong and what to do.
    pub(crate) detail: String,
    /// The part of the request at fault.
    pub(crate) field: Option<String>,
    /// Where what there is is listed, where something is not there.
    pub(crate) listed: Option<Listed>,
    /// The plan that was refused, where one is kept: the audit trail names it.
    pub(crate) plan: Option<PlanId>,
    /// The name by which somebody tried to sign in: for the audit trail.
    pub(crate) tried_as: Option<String>,
    /// When to try again, in whole seconds; `None`: the same request would be refused again.
    pub(crate) retry_after_seconds: Option<u64>,
}

#[derive(Serialize)]
struct Wire<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listed_at: Option<&'a str>,
}

/// How the sentence begins that answers an address which nothing answers: a client by which nobody types addresses was made
/// for another version of the server.
pub const NOTHING_AT: &str = "there is nothing at ";

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            field: None,
            listed: None,
            plan: None,
            tried_as: None,
            retry_after_seconds: None,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// A field of the body or a query parameter that cannot be read or is out of range.
    pub(crate) fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..Self::new(Code::InvalidField, detail) }
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::new(Code::NotFound, what)
    }

    /// The same, where a list says what there is.
    pub(crate) fn not_among(listed: Listed, what: impl Into<String>) -> Self {
        Self { listed: Some(listed), ..Self::not_found(what) }
    }

    /// The store or a loop failed; the request itself was fine.
    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Self::new(Code::Internal, detail)
    }

    /// What goes with its answer.
    pub(crate) fn refusal(&self) -> Refusal {
        Refusal { code: self.code, detail: self.detail.clone() }
    }

    /// The sentence, with a capital letter, as pages show it.
    pub(crate) fn title(&self) -> &'static str {
        self.status().canonical_reason().unwrap_or("Error")
    }
}

/// Goes with every refusal, so that the audit trail can say what was refused.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) detail: String,
}

/// Goes with an answer that is a refusal by configuration, no failure of ours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NotKept;

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let wire = Wire {
            r#type: &format!("/docs/errors/{}", self.code.name()),
            title: self.title(),
            status: self.status().as_u16(),
            code: self.code.name(),
            detail: &self.detail,
            field: self.field.as_deref(),
            listed_at: self.listed.map(Listed::path),
        };
        // A struct of strings and a number always serialises.
        let body = serde_json::to_vec(&wire).unwrap_or_default();
        let mut response = (self.status(), body).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self.refusal());
        if let Some(plan) = self.plan {
            response = about(plan, response);
        }
        if let Some(name) = &self.tried_as {
            response.extensions_mut().insert(TriedAs(name.clone()));
        }
        if self.code == Code::NoTelemetry {
            response.extensions_mut().insert(NotKept);
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<store::StoreError> for Problem {
    fn from(error: store::StoreError) -> Self {
        Self::internal(format!(
            "the store did not answer: {}; the log of `homeostat serve` says more",
            chain(&error)
        ))
    }
}

/// An error with its causes, outermost first: printed once, here at the edge.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
