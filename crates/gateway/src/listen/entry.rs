//! What every request passes before the router: by which name it came, and how fast its body comes.
//!
//! The door behind knows one name, `localhost` with the port of the first listener (see [`crate::security`]). A name
//! that was found to be ours becomes that one here, and so does an Origin; any other Origin becomes `null`.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::ConnectionLimits;
use super::hosts::Hosts;
use super::rated::{Activity, Answered, Rated};
use crate::problem::{Code, Problem};

/// A year, for this host alone: others of its domain may have no TLS (RFC 6797).
const STRICT: (HeaderName, HeaderValue) =
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// How the browser names this server: scheme and authority, checked by who listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedAs(pub(crate) String);

/// Whether what is said can be read on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Plain,
    Encrypted,
}

/// The rules of one listener.
pub(super) struct Entry {
    /// `None`: the door behind knows the names of this listener.
    pub(super) hosts: Option<Hosts>,
    /// The port the door behind expects.
    pub(super) port: u16,
    pub(super) wire: Wire,
}

impl Entry {
    /// Answers one request of a connection.
    pub(super) async fn answer(
        &self,
        (mut request, peer): (Request<Incoming>, Peer),
        limits: &ConnectionLimits,
        router: TowerToHyperService<Router>,
        activity: &Arc<Activity>,
    ) -> Response<Answered> {
        let busy = activity.begin();
        request.extensions_mut().insert(peer);
        let response = match self.admit(&mut request) {
            Ok(()) => {
                let given_up = Arc::default();
                let request = request.map(|body| Rated::new(body, limits, Arc::clone(&given_up)));
                let Ok(response) = router.call(request).await;
                if given_up.load(Ordering::Relaxed) { too_slow().into_response() } else { response }
            }
            Err(problem) => problem.into_response(),
        };
        let mut response = response.map(|body| Answered::new(body, busy));
        if self.wire == Wire::Encrypted {
            harden(response.headers_mut());
        }
        response
    }

    fn admit(&self, request: &mut Request<Incoming>) -> Result<(), Problem> {
        // Who stands between may have believed another of them (RFC 9112, 3.2).
        if request.headers().get_all(header::HOST).iter().count() > 1 {
            return Err(Problem::new(Code::BadRequest, "`Host` is given more than once; give it once"));
        }
        let Some(hosts) = &self.hosts else { return Ok(()) };
        // HTTP/2 has it in the address (RFC 9113, 8.3.1).
        let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
        let headers = request.headers_mut();
        let said = headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
        let host = said.or(authority).unwrap_or_default();
        if !hosts.allows(&host) {
            return Err(Problem::new(
                Code::WrongHost,
                format!("this server is not called so; open {}", hosts.example()),
            ));
        }
        let scheme = if self.wire == Wire::Encrypted { "https" } else { "http" };
        let named = NamedAs(format!("{scheme}://{host}"));
        let own = format!("localhost:{}", self.port);
        if let Some(origin) = headers.get(header::ORIGIN) {
            let ours = origin.to_str().is_ok_and(|origin| hosts.allows_origin(origin));
            let origin = if ours { format!("http://{own}") } else { "null".to_owned() };
            headers.insert(header::ORIGIN, value(&origin));
        }
        headers.insert(header::HOST, value(&own));
        request.extensions_mut().insert(named);
        Ok(())
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("a host and a port are visible characters")
}

fn too_slow() -> Problem {
    Problem::new(Code::BodyTooSlow, "the body came too slowly; send it again")
}

/// Browsers come back by https alone, and send our cookies by nothing else.
fn harden(headers: &mut HeaderMap) {
    let (name, strict) = STRICT;
    headers.insert(name, strict);
    let cookies: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    headers.remove(header::SET_COOKIE);
    for cookie in cookies {
        let secure = [cookie.as_bytes(), b"; Secure"].concat();
        headers.append(header::SET_COOKIE, HeaderValue::from_bytes(&secure).unwrap_or(cookie));
    }
}
