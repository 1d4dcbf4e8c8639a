//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a write that is sent again has no second effect.
//!
//! In: a `POST` of ours or a mutation of GraphQL with that header, behind the check of who asks. Out: the answer; to the same request with the same
//! key of the same identity the same answer again, for a day. The key is claimed in the store before the handler runs, and
//! the answer is kept there, so that both survive a restart.
//!
//! Kept are answers of 2xx, and refusals of what was sent. What says nothing of the request itself (who asks, what was there
//! at the moment, what the guard let begin then, too many requests, our own failures) is not: nothing was done, and the key
//! is free again.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::{Identity, Proof};
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use store::{Claim, KeptAnswer};

use crate::guard::REQUEST_ID;
use crate::problem::{Code, Problem, Refusal};
use crate::security::BODY_LIMIT;
use crate::serve::{App, lock};

/// Names a write, so that it can be sent again.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest key.
pub(crate) const KEY_MAX: usize = 255;

/// Headers of an answer that are kept with it, and with them which request it was; the rest is of the moment.
const KEPT: [HeaderName; 2] = [header::CONTENT_TYPE, header::LOCATION];

/// Goes with an answer that was given before: the request it was made for, where that is known. Nothing was done.
#[derive(Debug, Clone)]
pub(crate) struct Replayed(pub(crate) Option<String>);

/// A key of somebody.
type Owned = (String, String);

/// A request whose body has come.
type Whole = (Parts, Bytes);

/// Tells a write by its headers and body.
pub(crate) type IsWrite = fn(&HeaderMap, &[u8]) -> bool;

/// The keys whose requests this process answers now.
pub(crate) type UnderWay = HashSet<Owned>;

/// Takes a key off the list, however its request ended.
struct Held {
    app: Arc<App>,
    key: Owned,
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.app.under_way).remove(&self.key);
    }
}

/// Answers a write once for each key; without a key, as often as it is sent.
pub(crate) async fn once(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let key = match key_of(request.headers()) {
        Ok(None) => return next.run(request).await,
        Ok(Some(key)) => key,
        Err(problem) => return problem.into_response(),
    };
    match whole(request).await {
        Ok(whole) => once_for(app, key, whole, next).await,
        Err(problem) => problem.into_response(),
    }
}

/// The same for what of a `POST` is known by its body to be a write: others are answered as often as they are sent, and so is who
/// proved nothing, to whom every write is refused.
pub(crate) async fn once_where(
    State((app, is_write)): State<(Arc<App>, IsWrite)>,
    request: Request,
    next: Next,
) -> Response {
    let proven = request.extensions().get::<Identity>().is_some_and(|who| who.proof != Proof::None);
    let key = match key_of(request.headers()) {
        Ok(Some(key)) if request.method() == Method::POST && proven => key,
        Err(problem) if request.method() == Method::POST => return problem.into_response(),
        _ => return next.run(request).await,
    };
    match whole(request).await {
        Ok((head, body)) if is_write(&head.headers, &body) => once_for(app, key, (head, body), next).await,
        Ok((head, body)) => next.run(Request::from_parts(head, Body::from(body))).await,
        Err(problem) => problem.into_response(),
    }
}

async fn whole(request: Request) -> Result<Whole, Problem> {
    let (head, body) = request.into_parts();
    match axum::body::to_bytes(body, BODY_LIMIT).await {
        Ok(body) => Ok((head, body)),
        Err(_) => {
            let why = format!("the body has more than {BODY_LIMIT} bytes, or did not come whole; send less");
            Err(Problem::new(Code::BodyTooLarge, why))
        }
    }
}

async fn once_for(app: Arc<App>, key: String, (head, body): Whole, next: Next) -> Response {
    let who = head.extensions.get::<Identity>().map(|identity| identity.name.clone());
    // One who hangs up, or does not wait any longer, must not leave a key without the answer that was made.
    let answer = tokio::spawn(held(app, (who.unwrap_or_default(), key), (head, body), next));
    answer.await.unwrap_or_else(|_| Problem::internal("the request could not be answered").into_response())
}

/// Refuses a key where the answer may hold a secret, which is kept nowhere: who sends one relies on no second effect.
pub(crate) async fn never(request: Request, next: Next) -> Response {
    if !request.headers().contains_key(IDEMPOTENCY_KEY) {
        return next.run(request).await;
    }
    let why = "this answers with what is shown once and kept nowhere, so that it cannot be answered again: leave `Idempotency-Key` out, and look whether it was done before you send it again";
    Problem::new(Code::BadRequest, why).into_response()
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let plain = (1..=KEY_MAX).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic);
    match value.to_str() {
        Ok(key) if plain && given.next().is_none() => Ok(Some(key.to_owned())),
        _ => Err(Problem::field(
            IDEMPOTENCY_KEY.as_str(),
            format!("give one `Idempotency-Key` of 1 to {KEY_MAX} visible ASCII characters, such as a UUID"),
        )),
    }
}

async fn held(app: Arc<App>, key: Owned, request: Whole, next: Next) -> Response {
    if !lock(&app.under_way).insert(key.clone()) {
        let why = "a request with this idempotency key is being answered; send it again when it was";
        return Problem::new(Code::IdempotencyInUse, why).into_response();
    }
    let held = Held { app, key };
    match answered(&held, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn answered(held: &Held, (head, body): Whole, next: Next) -> Result<Response, Problem> {
    let id = head.headers.get(REQUEST_ID).cloned();
    let fingerprint = fingerprint(&head, &body);
    let claim = stored(held, move |app, (who, key)| {
        app.store.claim_key(who, key, &fingerprint, app.clock.now()).map_err(Problem::from)
    })
    .await?;
    match claim {
        Claim::New => {}
        Claim::Answered(answer) => return Ok(again(answer)),
        Claim::Mismatch => {
            let why = "this idempotency key was used for another request; give a new request a new key";
            return Err(Problem::new(Code::IdempotencyMismatch, why));
        }
        Claim::Unanswered => {
            let why = "this request was begun before, and its answer is not known: the server ended meanwhile, or the answer was too long to be kept; look whether it had its effect, and use a new key to ask again";
            return Err(Problem::new(Code::Conflict, why));
        }
    }
    let response = next.run(Request::from_parts(head, Body::from(body))).await;
    keep(held, id, response).await
}

/// What makes a request the same: its method, address, kind and body.
fn fingerprint(head: &Parts, body: &[u8]) -> [u8; 32] {
    let kind = head.headers.get(header::CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    let mut print = Sha256::new();
    for part in [head.method.as_str().as_bytes(), head.uri.to_string().as_bytes(), kind, body] {
        print.update((part.len() as u64).to_be_bytes());
        print.update(part);
    }
    print.finalize().into()
}

/// Keeps an answer that says something of the request; frees the key where it does not.
async fn keep(held: &Held, id: Option<HeaderValue>, response: Response) -> Result<Response, Problem> {
    let status = response.status();
    if !is_definite(&response) {
        stored(held, |app, (who, key)| Ok(app.store.release_key(who, key)?)).await?;
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let body: Bytes = body
        .collect()
        .await
        .map_err(|_| Problem::internal("the answer broke off before it was whole"))?
        .to_bytes();
    let text = |name: &HeaderName, value: Option<&HeaderValue>| {
        Some((name.as_str().to_owned(), value?.to_str().ok()?.to_owned()))
    };
    let kept = KEPT.iter().filter_map(|name| text(name, head.headers.get(name)));
    let answer = KeptAnswer {
        status: status.as_u16(),
        headers: kept.chain(text(&REQUEST_ID, id.as_ref())).collect(),
        body: body.to_vec(),
    };
    stored(held, move |app, (who, key)| Ok(app.store.answer_key(who, key, &answer)?)).await?;
    Ok(Response::from_parts(head, Body::from(body)))
}

/// Whether the same request would be answered the same at any other time.
fn is_definite(response: &Response) -> bool {
    match response.extensions().get::<Refusal>() {
        Some(refusal) => is_of_what_was_sent(refusal.code),
        None => response.status().is_success(),
    }
}

/// Whether a request is refused for how it is written, and not for how things are.
fn is_of_what_was_sent(code: Code) -> bool {
    matches!(
        code,
        Code::BadRequest
            | Code::MalformedJson
            | Code::InvalidQuery
            | Code::QueryTooComplex
            | Code::BodyTooLarge
            | Code::NotJson
            | Code::InvalidField
    )
}

fn again(answer: KeptAnswer) -> Response {
    let mut response = Body::from(answer.body).into_response();
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Its answer carries its own id.
    let (first, headers): (Vec<_>, Vec<_>) =
        answer.headers.into_iter().partition(|(name, _)| *name == REQUEST_ID.as_str());
    response.extensions_mut().insert(Replayed(first.into_iter().map(|(_, id)| id).next()));
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Asks the store, off the event thread.
async fn stored<T: Send + 'static>(
    held: &Held,
    ask: impl FnOnce(&App, &Owned) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let (app, key) = (Arc::clone(&held.app), held.key.clone());
    let asked = tokio::task::spawn_blocking(move || ask(&app, &key)).await;
    asked.unwrap_or_else(|_| Err(Problem::internal("the store did not answer")))
}
