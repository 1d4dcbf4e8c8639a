//! `/graphql` over HTTP, as the GraphQL-over-HTTP specification has it.
//!
//! In: one operation, by `POST` as JSON or by `GET` in the query string. Out: its answer as
//! `application/graphql-response+json` where the client takes that, else as `application/json`. `GET` reads alone. What is
//! sent with the page's cookie by `POST` must come from our own page: that is seen to where identities are found, for every
//! method that may change something, whatever the operation turns out to be.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_graphql::parser::types::{ExecutableDocument, OperationType};
use async_graphql::{Name, Request, Response, Variables};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use domain::Identity;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::bounds::{self, Unfit};
use super::operation::{Leaving, Operation};
use super::refusal::{coded, is_refused, refusal, refused};
use crate::auditing;
use crate::body::Query;
use crate::problem::{Code, Problem};
use crate::serve::App;

/// The media type of answers for clients that know it.
const RESPONSE_TYPE: &str = "application/graphql-response+json";

/// One operation as it is sent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sent {
    query: String,
    operation_name: Option<String>,
    variables: Option<Map<String, Json>>,
}

/// An operation that was read, and is within bounds.
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) kind: OperationType,
}

impl Sent {
    /// Reads the document, and which of its operations is meant.
    pub(super) fn read(self) -> Result<Asked, Box<Response>> {
        let document = bounds::read(&self.query).map_err(|unfit| {
            Box::new(match unfit {
                Unfit::Malformed(error) => coded(Response::from_errors(vec![error])),
                Unfit::TooLarge(problem) => refused(problem),
            })
        })?;
        let kind =
            meant(&document, self.operation_name.as_deref()).map_err(|problem| Box::new(refused(problem)))?;
        let variables = self.variables.unwrap_or_default();
        let mut request = Request::new(self.query).variables(Variables::from_json(Json::Object(variables)));
        request.operation_name = self.operation_name;
        request.set_parsed_query(document);
        Ok(Asked { request, kind })
    }
}

/// What kind of operation the one of this name is, or the only one.
fn meant(document: &ExecutableDocument, name: Option<&str>) -> Result<OperationType, Problem> {
    let mut operations = document.operations.iter();
    let found = match name {
        Some(name) => operations.find(|(found, _)| found.map(Name::as_str) == Some(name)),
        None => operations.next().filter(|_| operations.next().is_none()),
    };
    found.map(|(_, operation)| operation.node.ty).ok_or_else(|| {
        let why = match name {
            Some(name) => format!("the document has no operation {name:?}; name one of its operations"),
            None => "the document has several operations; say which with `operationName`".to_owned(),
        };
        Problem { field: Some("operationName".to_owned()), ..Problem::new(Code::InvalidQuery, why) }
    })
}

/// `GET` and `POST /graphql`
pub(super) async fn answer(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Identity>,
    OriginalUri(uri): OriginalUri,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> HttpResponse {
    let sent = match method {
        Method::POST => posted(&headers, &body),
        _ => Query::parse(uri.query()).and_then(|query| in_address(&query)),
    };
    let takes_own_type = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains(RESPONSE_TYPE));
    let asked = match sent.map(Sent::read) {
        Ok(Ok(asked)) => asked,
        Ok(Err(response)) => return shown(&response, takes_own_type),
        Err(problem) => return problem.into_response(),
    };
    match (asked.kind, method) {
        (OperationType::Subscription, _) => {
            let why = "subscriptions are answered over a WebSocket, at /graphql/ws";
            shown(&refused(Problem::new(Code::InvalidQuery, why)), takes_own_type)
        }
        (OperationType::Mutation, Method::GET) => {
            let why = "a mutation is sent by POST; GET only reads";
            let mut response = Problem::new(Code::WrongMethod, why).into_response();
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            response
        }
        _ => match run(app, identity, auditing::request_id(&headers), asked.request).await {
            Ok(Ran { response, did }) => told(&response, did, shown(&response, takes_own_type)),
            Err(problem) => problem.into_response(),
        },
    }
}

fn posted(headers: &HeaderMap, body: &[u8]) -> Result<Sent, Problem> {
    if body.first() == Some(&b'[') {
        let why = "several operations in one request are not taken; send one at a time";
        return Err(Problem::new(Code::MalformedJson, why));
    }
    crate::body::read(headers, body)
}

fn in_address(query: &Query) -> Result<Sent, Problem> {
    query.only(&["query", "operationName", "variables", "extensions"])?;
    let variables =
        query.read("variables", |text| serde_json::from_str(text).ok(), || "a JSON object".to_owned())?;
    Ok(Sent {
        query: query
            .text("query")
            .ok_or_else(|| Problem::field("query", "`query` is missing; give a GraphQL document"))?
            .to_owned(),
        operation_name: query.text("operationName").map(str::to_owned),
        variables,
    })
}

/// Whether this is a mutation; not what cannot be read, which has no effect.
pub(crate) fn is_mutation(headers: &HeaderMap, body: &[u8]) -> bool {
    let read = posted(headers, body).map(Sent::read);
    matches!(read, Ok(Ok(Asked { kind: OperationType::Mutation, .. })))
}

/// An answer that says where nothing was done because of its first error: the same may be asked again then.
fn told(response: &Response, did: bool, mut answer: HttpResponse) -> HttpResponse {
    if let (false, Some(refusal)) = (did, refusal(response)) {
        answer.extensions_mut().insert(refusal);
    }
    answer
}

/// What an operation came to, and whether a mutation of it was done, whatever else failed.
pub(super) struct Ran {
    pub(super) response: Response,
    did: bool,
}

/// Runs a query or a mutation on the blocking pool, when it is its turn: resolvers call store and loops.
pub(super) async fn run(
    app: Arc<App>,
    identity: Identity,
    id: String,
    request: Request,
) -> Result<Ran, Problem> {
    let failed = || Problem::internal("the operation failed; the log of `homeostat serve` says why");
    let turn = Arc::clone(&app.graphql.turns).acquire_owned().await.map_err(|_| failed())?;
    let leaving = Leaving::default();
    let left = Arc::clone(&leaving.0);
    let runtime = tokio::runtime::Handle::current();
    let thread = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let schema = app.graphql.schema.clone();
        let operation = Operation::new(app, identity, id, left);
        let did = operation.did();
        let response = coded(runtime.block_on(schema.execute(operation.behind(request))));
        Ran { response, did: did.load(Ordering::Relaxed) }
    });
    thread.await.map_err(|_| failed())
}

/// The answer over HTTP: a document that was not executed is the request's fault, which the older media type has no status
/// for.
fn shown(response: &Response, takes_own_type: bool) -> HttpResponse {
    let (kind, status) = match (takes_own_type, is_refused(response)) {
        (false, _) => ("application/json", StatusCode::OK),
        (true, false) => (RESPONSE_TYPE, StatusCode::OK),
        (true, true) => (RESPONSE_TYPE, StatusCode::BAD_REQUEST),
    };
    match serde_json::to_vec(response) {
        Ok(body) => (status, [(header::CONTENT_TYPE, kind)], body).into_response(),
        Err(error) => Problem::internal(format!("the answer cannot be written: {error}")).into_response(),
    }
}
