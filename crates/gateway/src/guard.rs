//! What every request passes before it reaches a handler, and every answer on its way out.
//!
//! From outside in: the count for our own availability; headers, the request's id and the form of errors; the time limit;
//! Host, and who asks. At the endpoint itself: whether that identity may. Endpoints, pages, Jaeger's and Prometheus' APIs
//! alike pass [`require`]; there is no other way to a handler.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{OriginalUri, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use domain::{AnonymousReads, EventId, Identity, Proof};

use crate::access::{AccessError, Secret};
use crate::auditing;
use crate::body::encode;
use crate::endpoint::{Access, Effect};
use crate::listen::Peer;
use crate::page;
use crate::problem::{Code, NotKept, Problem};
use crate::routes::blocking;
use crate::security::{self, BODY_LIMIT, Door, REQUEST_TIME};
use crate::serve::{App, lock};

/// Names a request in logs, in the audit trail and to whoever asked.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who came by no listener of ours is as far away as can be.
pub(crate) const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The longest id that is taken over from a client.
const REQUEST_ID_MAX: usize = 128;

/// Counts every answer for the objective of our own availability; those of status 500 and above failed, unless they say
/// that something is not kept here. What `/health` answers is a state, and says nothing of whether we answer.
pub(crate) async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let is_state = request.uri().path() == "/health";
    let response = next.run(request).await;
    if !is_state {
        let refused = response.extensions().get::<NotKept>().is_some();
        app.answers.count(response.status().is_server_error() && !refused);
    }
    response
}

/// Names the request, and gives errors that axum made itself (a body too large, a path that is no UTF-8) the form of
/// ours.
pub(crate) async fn finish(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let id = request_id(&app, request.headers());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let mut response = next.run(request).await;
    let status = response.status();
    let plain = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if plain && (status.is_client_error() || status.is_server_error()) {
        let problem = match status {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
                Code::BodyTooLarge,
                format!("the body has more than {BODY_LIMIT} bytes; send less"),
            ),
            _ => Problem::new(Code::BadRequest, "the request cannot be read; check its address and headers"),
        };
        response = problem.into_response();
    }
    security::harden(response.headers_mut());
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The client's own, where it is short and visible; else a new one.
fn request_id(app: &App, headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|value| {
        (1..=REQUEST_ID_MAX).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(|| {
        let id: EventId = lock(&app.ids).next(app.clock.now());
        HeaderValue::from_str(&id.to_string()).unwrap_or(HeaderValue::from_static("-"))
    })
}

/// An answer within the time that a request may take.
pub(crate) async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            Code::TooSlow,
            format!(
                "no answer within {} s; what was asked may still happen, look before asking again",
                REQUEST_TIME.as_secs()
            ),
        )
        .into_response(),
    }
}

/// What must be answered however much else is asked: whether we live, and that everything is to stop.
const NEVER_TOO_OFTEN: [&str; 3] = ["/health", "/emergency-stop", "/api/v3/chaos/emergency-stop"];

/// Checks Host, and finds out who asks, and whether that is too often. Who did not prove what they said is counted by where they
/// are, and what is refused for its number is not recorded: it would fill the audit trail.
pub(crate) async fn identify(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let identity = match app.door.check_host(request.headers()) {
        Ok(()) => identity_of(&app, request.headers(), peer).await,
        Err(problem) => Err(problem),
    };
    let (from, now) = (peer.map_or(NOWHERE, |Peer(from)| from), app.clock.now());
    let leave = match &identity {
        Err(_) => app.rates.take_from(from, now),
        Ok(_) if NEVER_TOO_OFTEN.contains(&request.uri().path()) => Ok(()),
        Ok(identity) => app.rates.take(identity, from, now),
    };
    if let Err(problem) = leave {
        return problem.into_response();
    }
    match identity {
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Err(problem) => {
            let (head, _) = request.into_parts();
            let from = peer.map(|Peer(from)| from);
            auditing::refused(&app, head.uri.path(), &head.headers, from, &problem).await;
            problem.into_response()
        }
    }
}

/// Tokens and sessions are looked up in the store, and their last use is written there: off the event thread.
fn identity_of(
    app: &Arc<App>,
    headers: &HeaderMap,
    peer: Option<Peer>,
) -> impl Future<Output = Result<Identity, Problem>> + Send + use<> {
    let (app, headers) = (Arc::clone(app), headers.clone());
    let peer = peer.map_or(NOWHERE, |Peer(peer)| peer);
    let shows_proof = headers.contains_key(header::AUTHORIZATION) || headers.contains_key(header::COOKIE);
    async move {
        if !shows_proof {
            return app.door.identify(&headers, peer);
        }
        let found = tokio::task::spawn_blocking(move || app.door.identify(&headers, peer)).await;
        found.unwrap_or_else(|_| Err(Problem::internal("who asks could not be looked up; the log says why")))
    }
}

/// Who asks, as [`identify`] found; somebody who may nothing where it was not asked.
pub(crate) fn who_asks(request: &Request) -> Identity {
    let identity = request.extensions().get::<Identity>().cloned();
    identity.unwrap_or_else(|| Identity::anonymous(AnonymousReads::Refused))
}

/// Who holds this token.
pub(crate) fn identity_of_token(app: &App, token: &str) -> Result<Identity, Problem> {
    Ok(app.door.access().of_token(&Secret::new(token))?)
}

/// What an endpoint asks for, beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requirement {
    pub(crate) access: Access,
    pub(crate) effect: Effect,
    /// What it is called in the audit trail.
    pub(crate) action: &'static str,
}

/// Lets through who may; a person without proof is led to where it can be given.
pub(crate) async fn require(
    State((app, requirement)): State<(Arc<App>, Requirement)>,
    OriginalUri(uri): OriginalUri,
    request: Request,
    next: Next,
) -> Response {
    let identity = who_asks(&request);
    let checked =
        forgery(&app.door, &identity, requirement, &request).and_then(|()| check(&identity, requirement));
    match checked {
        Ok(()) => next.run(request).await,
        Err(problem) if problem.code == Code::TokenMissing && is_for_people(uri.path()) => {
            let back = match requirement.effect {
                Effect::Reads | Effect::Asks => {
                    uri.path_and_query().map_or("/", |path| path.as_str()).to_owned()
                }
                Effect::Writes => page::page_of_action(uri.path()),
            };
            let mut response = Redirect::to(&format!("/login?next={}", encode(&back))).into_response();
            response.extensions_mut().insert(problem.refusal());
            response
        }
        Err(problem) if is_for_people(uri.path()) => {
            blocking(move || Ok::<_, Problem>(page::error(&app, &uri, &problem))).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Programs are told by status; only `/api/…` and what is scraped is for programs alone.
fn is_for_people(path: &str) -> bool {
    !path.starts_with("/api/") && !path.starts_with("/graphql") && path != "/metrics" && path != "/events"
}

/// Signing in is a write without proof: the page it comes from is looked at all the same.
fn forgery(
    door: &Door,
    identity: &Identity,
    requirement: Requirement,
    request: &Request,
) -> Result<(), Problem> {
    match requirement.effect == Effect::Reads || request.method().is_safe() {
        true => Ok(()),
        false => door.check_forgery(identity, request.headers()),
    }
}

fn check(identity: &Identity, requirement: Requirement) -> Result<(), Problem> {
    match requirement.access {
        Access::Open => Ok(()),
        Access::SignedIn if identity.proof != Proof::None => Ok(()),
        Access::SignedIn => Err(AccessError::NotSignedIn.into()),
        // Nobody changes anything without proof, whatever anonymous readers may see.
        Access::Needs(needed) if identity.proof == Proof::None && requirement.effect == Effect::Writes => {
            Err(AccessError::lacks(identity, needed).into())
        }
        Access::Needs(needed) if identity.may(needed) => Ok(()),
        Access::Needs(needed) => Err(AccessError::lacks(identity, needed).into()),
    }
}

#[cfg(test)]
mod tests {
    use domain::{Permission, Role};

    use super::*;

    fn requirement(access: impl Into<Access>, effect: Effect) -> Requirement {
        Requirement { access: access.into(), effect, action: "tried" }
    }

    fn answer(identity: &Identity, requirement: Requirement) -> Result<(), Code> {
        check(identity, requirement).map_err(|problem| problem.code)
    }

    #[test]
    fn each_role_may_what_it_holds_and_nothing_else() {
        for role in Role::ALL {
            let identity = Identity::proven("ada", Proof::Token, vec![role], None);
            for permission in Permission::ALL {
                let expected =
                    if role.permissions().allows(permission) { Ok(()) } else { Err(Code::Forbidden) };
                let answer = answer(&identity, requirement(permission, Effect::Writes));
                assert_eq!(answer, expected, "{role} {permission}");
            }
        }
    }

    #[test]
    fn nobody_writes_without_proof() {
        let anybody = Identity::anonymous(AnonymousReads::Allowed);
        let reads = requirement(Permission::StateRead, Effect::Reads);
        assert_eq!(answer(&anybody, reads), Ok(()));
        for permission in Permission::ALL {
            let writes = requirement(permission, Effect::Writes);
            assert_eq!(answer(&anybody, writes), Err(Code::TokenMissing), "{permission}");
        }
        let own = requirement(Access::SignedIn, Effect::Reads);
        assert_eq!(answer(&anybody, own), Err(Code::TokenMissing));
        let nobody = Identity::anonymous(AnonymousReads::Refused);
        assert_eq!(answer(&nobody, reads), Err(Code::TokenMissing));
    }
}
