//! Errors of GraphQL: the same stable codes as REST, in `extensions.code`.
//!
//! In: [`Problem`]s of resolvers, and what the library itself refuses. Out: errors with `code`, with `field` where a
//! part of the request is at fault, `listedAt` where what there is is listed, and `remediationId` where a plan was refused.

use async_graphql::{Error, ErrorExtensionValues, ErrorExtensions, Response, ServerError, Value};

use crate::problem::{Code, Problem, Refusal};

const CODE: &str = "code";

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Error::new(problem.detail).extend_with(|_, extensions| {
            extensions.set(CODE, problem.code.name());
            if let Some(field) = problem.field {
                extensions.set("field", field);
            }
            if let Some(listed) = problem.listed {
                extensions.set("listedAt", listed.path());
            }
            if let Some(plan) = problem.plan {
                extensions.set("remediationId", plan.to_string());
            }
            if let Some(seconds) = problem.retry_after_seconds {
                extensions.set("retryAfterSeconds", seconds);
            }
        })
    }
}

/// A whole operation that is refused.
pub(super) fn refused(problem: Problem) -> Response {
    Response::from_errors(vec![error(problem)])
}

/// One error without a place in the document.
pub(super) fn error(problem: Problem) -> ServerError {
    let Error { message, extensions, .. } = problem.into();
    let mut error = ServerError::new(message, None);
    error.extensions = extensions;
    error
}

/// Whether an operation was refused as a whole, before anything of it was executed.
pub(super) fn is_refused(response: &Response) -> bool {
    response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.is_empty())
}

/// The first error of an operation, as REST would refuse it.
pub(super) fn refusal(response: &Response) -> Option<Refusal> {
    let error = response.errors.first()?;
    let name = match error.extensions.as_ref()?.get(CODE)? {
        Value::String(name) => name.as_str(),
        _ => return None,
    };
    let code = Code::ALL.iter().find(|code| code.name() == name)?;
    Some(Refusal { code: *code, detail: error.message.clone() })
}

/// Gives what the library refused by itself, a document that is not valid, the code it has here.
pub(super) fn coded(mut response: Response) -> Response {
    for error in &mut response.errors {
        let extensions = error.extensions.get_or_insert_with(ErrorExtensionValues::default);
        if extensions.get(CODE).is_none() {
            extensions.set(CODE, Code::InvalidQuery.name());
        }
    }
    response
}
