//! What a request must be before it is asked who sent it: for this server, and of one of its own pages.
//!
//! In: headers. Out: an identity, nothing, or a [`Problem`].
//!
//! - *Host* must name this machine with our port. A web site that rebinds its own name to 127.0.0.1 sends its own name, and
//!   is refused, also for reads. Names beyond loopback are checked before, by who listens ([`crate::listen`]).
//! - *Origin*: a write that carries one must carry ours; a write by cookie must carry one. Cookies do not know ports, so
//!   another server on localhost could otherwise make the browser write here.
//! - *Forgery*: a write by cookie says that it came from one of our own pages.
//! - *Bodies* of at most [`BODY_LIMIT`], answers within [`REQUEST_TIME`].
//!
//! Who may do what is [`crate::guard`]'s and [`crate::access`]'s.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use domain::{Identity, Proof};

use crate::access::{Access, SessionCookie};
use crate::problem::{Code, Problem};

/// A request body may have 1 MiB: the largest real one, an experiment, has under 4 KiB.
pub(crate) const BODY_LIMIT: usize = 1 << 20;

/// How long a request may take. The slowest real one, the logs of a service, takes well under a second.
pub(crate) const REQUEST_TIME: Duration = Duration::from_secs(10);

const NOSNIFF: (&str, &str) = ("x-content-type-options", "nosniff");

/// What every answer carries. `same-origin` rather than `no-referrer`: under the latter browsers send
/// `Origin: null` with our own forms, and the Origin rule could not hold; to other sites both send nothing.
const HEADERS: [(&str, &str); 6] = [
    NOSNIFF,
    (
        "content-security-policy",
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    ("referrer-policy", "same-origin"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// The rules with what they compare against.
#[derive(Debug)]
pub(crate) struct Door {
    port: u16,
    access: Access,
    session_cookie: SessionCookie,
}

impl Door {
    pub(crate) fn new(port: u16, access: Access) -> Self {
        Self { access, session_cookie: SessionCookie::of_port(port), port }
    }

    /// The port that pages are served on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Users, tokens and sessions.
    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    /// The cookie by which pages are signed in.
    pub(crate) fn cookie(&self) -> &SessionCookie {
        &self.session_cookie
    }

    /// Who asks: by bearer, by the cookie of a session, or nobody in particular.
    pub(crate) fn identify(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Identity, Problem> {
        Ok(self.access.identify(headers, &self.session_cookie, peer)?)
    }

    /// Lets a write pass that nobody else made a browser send.
    ///
    /// It names our Origin, where it names one, and by cookie it must. Beside that, a write by cookie says
    /// `Sec-Fetch-Site: same-origin`, which no script can set and every browser since 2023 sends to localhost and over TLS;
    /// one that says nothing of its site brings the session's own token as `X-CSRF-Token`.
    pub(crate) fn check_forgery(&self, identity: &Identity, headers: &HeaderMap) -> Result<(), Problem> {
        self.check_origin(headers)?;
        if identity.proof != Proof::Session {
            return Ok(());
        }
        if headers.get(header::ORIGIN).is_none() {
            return Err(wrong_origin(self.port));
        }
        let forged = || {
            Problem::new(
                Code::ForgedRequest,
                "this was not sent by a page of this server; open the page again and repeat it there",
            )
        };
        if let Some(site) = headers.get("sec-fetch-site") {
            return if site == "same-origin" { Ok(()) } else { Err(forged()) };
        }
        let given = headers.get("x-csrf-token").and_then(|value| value.to_str().ok()).unwrap_or("");
        let ours = self.access.csrf_token(headers, &self.session_cookie)?;
        if ours.is_some_and(|ours| equal(ours.expose().as_bytes(), given.as_bytes())) {
            return Ok(());
        }
        Err(forged())
    }

    /// Refuses every name but this machine's own with our port.
    pub(crate) fn check_host(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or("");
        if self.is_ours(host) {
            return Ok(());
        }
        Err(Problem::new(
            Code::WrongHost,
            format!("this server answers only to localhost; open http://localhost:{}/", self.port),
        ))
    }

    /// An Origin, where the browser sent one, must be this server.
    pub(crate) fn check_origin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let ours = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.strip_prefix("http://"))
            .is_some_and(|host| self.is_ours(host));
        if ours { Ok(()) } else { Err(wrong_origin(self.port)) }
    }

    fn is_ours(&self, host: &str) -> bool {
        let Some((name, port)) = host.rsplit_once(':') else { return false };
        matches!(name, "localhost" | "127.0.0.1" | "[::1]") && port.parse() == Ok(self.port)
    }
}

/// Adds the headers that every answer carries.
pub(crate) fn harden(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        // A page may have a policy of its own; all else is the same for everything.
        if name != header::CONTENT_SECURITY_POLICY.as_str() || !headers.contains_key(name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

fn wrong_origin(port: u16) -> Problem {
    Problem::new(
        Code::WrongOrigin,
        format!("a write from a web page must come from this server's own page, http://localhost:{port}/"),
    )
}

/// Equality in a time that depends on the lengths alone.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0u8, |difference, (a, b)| difference | (a ^ b)) == 0
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Secret;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn door() -> Door {
        Door::new(4000, crate::access::fixture::access("secret").0)
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn only_this_machine_by_name_and_port_is_a_host() {
        let door = door();
        for host in ["localhost:4000", "127.0.0.1:4000", "[::1]:4000"] {
            assert_eq!(door.check_host(&headers(&[("host", host)])), Ok(()), "{host}");
        }
        for host in ["localhost", "localhost:4001", "evil.example:4000", "127.0.0.1.evil.example:4000", ""] {
            assert!(door.check_host(&headers(&[("host", host)])).is_err(), "{host}");
        }
        assert!(door.check_host(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_write_by_cookie_comes_from_our_own_page() {
        let door = door();
        let access = door.access().clone();
        let signed_in = access.sign_in_by_local_token(&Secret::new("secret"), "", &[]).unwrap();
        let cookie = format!("homeostat-4000={}", signed_in.cookie.expose());
        let ours = ("origin", "http://localhost:4000");
        let try_to = |pairs: &[(&str, &str)]| {
            let headers = headers(&[&[("cookie", cookie.as_str())], pairs].concat());
            let identity = door.identify(&headers, HERE).unwrap();
            assert_eq!(identity.name, "local token");
            door.check_forgery(&identity, &headers).map_err(|problem| problem.code)
        };
        assert_eq!(try_to(&[ours, ("sec-fetch-site", "same-origin")]), Ok(()));
        for site in ["same-site", "cross-site", "none"] {
            assert_eq!(try_to(&[ours, ("sec-fetch-site", site)]), Err(Code::ForgedRequest), "{site}");
        }
        assert_eq!(try_to(&[("sec-fetch-site", "same-origin")]), Err(Code::WrongOrigin));
        let other = ("origin", "http://localhost:3000");
        assert_eq!(try_to(&[other, ("sec-fetch-site", "same-origin")]), Err(Code::WrongOrigin));
        // A browser that says nothing of its site.
        let token = access.csrf_token(&headers(&[("cookie", &cookie)]), door.cookie()).unwrap().unwrap();
        assert_eq!(try_to(&[ours]), Err(Code::ForgedRequest));
        assert_eq!(try_to(&[ours, ("x-csrf-token", "guessed")]), Err(Code::ForgedRequest));
        assert_eq!(try_to(&[ours, ("x-csrf-token", token.expose())]), Ok(()));
        let again = access.sign_in_by_local_token(&Secret::new("secret"), "", &[]).unwrap();
        let another = headers(&[("cookie", &format!("homeostat-4000={}", again.cookie.expose()))]);
        let another = access.csrf_token(&another, door.cookie()).unwrap().unwrap();
        assert_eq!(
            try_to(&[ours, ("x-csrf-token", another.expose())]),
            Err(Code::ForgedRequest),
            "of another session"
        );
    }

    #[test]
    fn another_server_on_localhost_is_another_origin() {
        let door = door();
        for origin in ["http://localhost:3000", "https://localhost:4000", "null", "http://evil.example:4000"]
        {
            let asked = headers(&[("authorization", "Bearer secret"), ("origin", origin)]);
            let identity = door.identify(&asked, HERE).unwrap();
            let refused = door.check_forgery(&identity, &asked).unwrap_err();
            assert_eq!(refused.code, Code::WrongOrigin, "{origin}");
        }
    }
}
