//! What every request passes before it reaches a handler, and every answer on its way out.
//!
//! From outside in: the count for our own availability; headers, the request's id and the form of errors; the time limit;
//! Host, and who asks. At the endpoint itself: whether that identity may. Endpoints, pages, Jaeger's and Prometheus' APIs
//! alike pass [`require`]; there is no other way to a handler.

use std::sync::Arc;

use axum::extract::{OriginalUri, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use domain::{AnonymousReads, EventId, Identity, Permission, Proof, Role};

use crate::body::encode;
use crate::endpoint::{Access, Effect};
use crate::page;
use crate::problem::{Code, NotKept, Problem};
use crate::security::{self, BODY_LIMIT, REQUEST_TIME, Via};
use crate::serve::{App, lock};

/// Names a request in logs, in the audit trail and to whoever asked.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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

/// Checks Host, and finds out who asks.
pub(crate) async fn identify(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let identity = app.door.check_host(request.headers()).and_then(|()| identity_of(&app, &request));
    match identity {
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn identity_of(app: &App, request: &Request) -> Result<Identity, Problem> {
    let headers = request.headers();
    let named = |name: &str, proof| Identity::proven(name, proof, vec![Role::Admin], None);
    if security::is_write(request.method()) && request.uri().path() != "/login" {
        let has_proof = headers.contains_key(header::AUTHORIZATION) || app.door.is_signed_in(headers);
        if has_proof {
            return Ok(match app.door.check_write(headers)? {
                Via::Bearer => named("api", Proof::Token),
                Via::Cookie => named("web page", Proof::Session),
            });
        }
    }
    app.door.check_origin(headers)?;
    Ok(match app.door.is_signed_in(headers) {
        true => named("web page", Proof::Session),
        false => Identity::anonymous(AnonymousReads::Allowed),
    })
}

/// Who holds this token.
pub(crate) fn identity_of_token(app: &App, token: &str) -> Result<Identity, Problem> {
    match app.door.token_matches(token) {
        true => Ok(Identity::proven("api", Proof::Token, vec![Role::Admin], None)),
        false => Err(security::wrong_token()),
    }
}

/// What an endpoint asks for, beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requirement {
    pub(crate) access: Access,
    pub(crate) effect: Effect,
}

/// Lets through who may; a person without proof is led to where it can be given.
pub(crate) async fn require(
    State(requirement): State<Requirement>,
    OriginalUri(uri): OriginalUri,
    request: Request,
    next: Next,
) -> Response {
    let identity = request.extensions().get::<Identity>().cloned();
    let identity = identity.unwrap_or_else(|| Identity::anonymous(AnonymousReads::Refused));
    match check(&identity, requirement) {
        Ok(()) => next.run(request).await,
        Err(problem) if problem.code == Code::TokenMissing && is_for_people(uri.path()) => {
            let back = match requirement.effect {
                Effect::Reads => uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
                Effect::Writes => page::page_of_action(uri.path()),
            };
            Redirect::to(&format!("/login?next={}", encode(&back))).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

/// Programs are told by status; only `/api/…` and what is scraped is for programs alone.
fn is_for_people(path: &str) -> bool {
    !path.starts_with("/api/") && !path.starts_with("/graphql") && path != "/metrics" && path != "/events"
}

fn check(identity: &Identity, requirement: Requirement) -> Result<(), Problem> {
    let needed = match requirement.access {
        Access::Open => return Ok(()),
        Access::SignedIn if identity.proof != Proof::None => return Ok(()),
        Access::SignedIn => return Err(token_missing()),
        Access::Needs(permission) => permission,
    };
    let proven = identity.proof != Proof::None;
    // Nobody changes anything without proof, whatever anonymous readers may see.
    if !proven && (requirement.effect == Effect::Writes || !identity.may(needed)) {
        return Err(token_missing());
    }
    if identity.may(needed) { Ok(()) } else { Err(forbidden(identity, needed)) }
}

/// Says that nothing said who asks.
pub(crate) fn token_missing() -> Problem {
    Problem::new(
        Code::TokenMissing,
        "this needs to know who asks: send `Authorization: Bearer TOKEN`; the first token is in the file `token` in the data directory",
    )
}

/// Says who one is, what is needed and which roles hold it.
pub(crate) fn forbidden(identity: &Identity, needed: Permission) -> Problem {
    let holders: Vec<&str> =
        Role::ALL.into_iter().filter(|role| role.permissions().allows(needed)).map(Role::name).collect();
    let own: Vec<&str> = identity.roles.iter().map(|role| role.name()).collect();
    let own = if own.is_empty() { "no role".to_owned() } else { own.join(", ") };
    let scope = match Role::permissions_of(&identity.roles).allows(needed) {
        true => "; the scope of this token leaves it out",
        false => "",
    };
    Problem::new(
        Code::Forbidden,
        format!(
            "{needed} is needed, which {} may do; {} holds {own}{scope}",
            holders.join(", "),
            identity.name
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(access: impl Into<Access>, effect: Effect) -> Requirement {
        Requirement { access: access.into(), effect }
    }

    #[test]
    fn each_role_may_what_it_holds_and_nothing_else() {
        for role in Role::ALL {
            let identity = Identity::proven("ada", Proof::Token, vec![role], None);
            for permission in Permission::ALL {
                let answer = check(&identity, requirement(permission, Effect::Writes));
                match role.permissions().allows(permission) {
                    true => assert_eq!(answer, Ok(()), "{role} {permission}"),
                    false => assert_eq!(answer.unwrap_err().code, Code::Forbidden, "{role} {permission}"),
                }
            }
        }
    }

    #[test]
    fn nobody_writes_without_proof() {
        let anybody = Identity::anonymous(AnonymousReads::Allowed);
        let reads = requirement(Permission::StateRead, Effect::Reads);
        assert_eq!(check(&anybody, reads), Ok(()));
        for permission in Permission::ALL {
            let writes = requirement(permission, Effect::Writes);
            assert_eq!(check(&anybody, writes).unwrap_err().code, Code::TokenMissing, "{permission}");
        }
        let nobody = Identity::anonymous(AnonymousReads::Refused);
        assert_eq!(check(&nobody, reads).unwrap_err().code, Code::TokenMissing);
    }

    #[test]
    fn who_is_refused_is_told_which_role_is_needed() {
        let viewer = Identity::proven("ada", Proof::Token, vec![Role::Viewer], None);
        assert_eq!(
            forbidden(&viewer, Permission::PlansApprove).detail,
            "plans:approve is needed, which approver, admin may do; ada holds viewer"
        );
    }
}
