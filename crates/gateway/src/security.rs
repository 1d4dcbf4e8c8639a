//! Who may ask: every request passes here before it reaches a handler.
//!
//! In: a request. Out: the request, or a [`Problem`]. Four rules, and they only tighten:
//!
//! - *Host* must name this machine with our port. A web site that rebinds its own name to 127.0.0.1 sends
//!   its own name, and is refused, also for reads.
//! - *Writes need the token*: programs send it as a bearer, the page holds a cookie derived from it. The
//!   cookie's value is a hash of the token, so it is no bearer and ends with the token.
//! - *Origin*: a write that carries one must carry ours; a write by cookie must carry one. Cookies do not
//!   know ports, so another server on localhost could otherwise make the browser write here.
//! - *Bodies* of at most [`BODY_LIMIT`], answers within [`REQUEST_TIME`].
//!
//! [`Door::identify`] and [`Door::require`] ask [`crate::access`], which knows users, tokens, sessions and roles.
//! [`Door::check_write`] knows the token of the data directory alone, which may do everything.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use domain::{Identity, Permission, Proof};
use sha2::{Digest, Sha256};

use crate::access::{Access, AccessError, SessionCookie};
use crate::problem::Problem;

/// A request body may have 1 MiB: the largest real one, an experiment, has under 4 KiB.
pub(crate) const BODY_LIMIT: usize = 1 << 20;

/// How long a request may take. The slowest real one, the logs of a service, takes well under a second.
pub(crate) const REQUEST_TIME: Duration = Duration::from_secs(10);

/// How long the page stays signed in without asking for the token again.
const COOKIE_SECONDS: u32 = 7 * 24 * 3600;

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
    token: [u8; 32],
    cookie_name: String,
    cookie_value: String,
    port: u16,
    access: Access,
    session_cookie: SessionCookie,
}

/// What a request says of itself, beside who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    /// What a form carries as `csrf_token`.
    pub(crate) form_token: Option<&'a str>,
}

/// By what a write was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    Bearer,
    Cookie,
}

impl Door {
    pub(crate) fn new(token: &str, port: u16, access: Access) -> Self {
        Self {
            access,
            session_cookie: SessionCookie::of_port(port),
            token: Sha256::digest(token.as_bytes()).into(),
            // The port is part of the name because cookies are shared by all ports of a host.
            cookie_name: format!("homeostat-{port}"),
            cookie_value: hex(&Sha256::digest(format!("homeostat page session\n{token}").as_bytes())),
            port,
        }
    }

    /// Who asks: by bearer, by the cookie of a session, or nobody in particular.
    #[cfg_attr(
        not(any(test, feature = "fuzz")),
        expect(dead_code, reason = "the table of endpoints asks by it, once it is there")
    )]
    pub(crate) fn identify(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Identity, Problem> {
        Ok(self.access.identify(headers, &self.session_cookie, peer)?)
    }

    /// Lets a request pass, or says what it lacks.
    ///
    /// A write of a browser must be one of our own pages': it names our Origin, where it names one, and by cookie it must.
    /// Beside that, a write by cookie says `Sec-Fetch-Site: same-origin`, which no script can set and every browser since
    /// 2023 sends to localhost and over TLS; one that says nothing of its site brings the session's own token, as
    /// `X-CSRF-Token` or in the form.
    #[cfg_attr(
        not(any(test, feature = "fuzz")),
        expect(dead_code, reason = "the table of endpoints asks by it, once it is there")
    )]
    pub(crate) fn require(
        &self,
        identity: &Identity,
        permission: Permission,
        asking: &Asking<'_>,
    ) -> Result<(), Problem> {
        if is_write(asking.method) {
            self.check_origin(asking.headers)?;
            if identity.proof == Proof::Session {
                self.check_forgery(asking)?;
            }
        }
        if identity.may(permission) {
            return Ok(());
        }
        Err(AccessError::lacks(identity, permission).into())
    }

    fn check_forgery(&self, asking: &Asking<'_>) -> Result<(), Problem> {
        if asking.headers.get(header::ORIGIN).is_none() {
            return Err(wrong_origin(self.port));
        }
        let forged = || {
            Problem::new(
                StatusCode::FORBIDDEN,
                "forged_request",
                "this was not sent by a page of this server; open the page again and repeat it there",
            )
        };
        if let Some(site) = asking.headers.get("sec-fetch-site") {
            return if site == "same-origin" { Ok(()) } else { Err(forged()) };
        }
        let header = asking.headers.get("x-csrf-token").and_then(|value| value.to_str().ok());
        let given = header.or(asking.form_token).unwrap_or("");
        let ours = self.access.csrf_token(asking.headers, &self.session_cookie)?;
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
            StatusCode::MISDIRECTED_REQUEST,
            "wrong_host",
            format!("this server answers only to localhost; open http://localhost:{}/", self.port),
        ))
    }

    /// Lets a write in, or says what is missing.
    pub(crate) fn check_write(&self, headers: &HeaderMap) -> Result<Via, Problem> {
        self.check_origin(headers)?;
        if let Some(given) = bearer(headers) {
            if self.token_matches(given) {
                return Ok(Via::Bearer);
            }
            return Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "wrong_token",
                "the token is not the one of this server; it is in the file `token` in the data directory",
            ));
        }
        if !self.is_signed_in(headers) {
            return Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "token_missing",
                "writing needs the token: send `Authorization: Bearer TOKEN`; it is in the file `token` in the data directory",
            ));
        }
        if headers.get(header::ORIGIN).is_none() {
            return Err(wrong_origin(self.port));
        }
        Ok(Via::Cookie)
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

    /// Whether the page's cookie is there.
    pub(crate) fn is_signed_in(&self, headers: &HeaderMap) -> bool {
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .any(|(name, value)| {
                name == self.cookie_name && equal(value.as_bytes(), self.cookie_value.as_bytes())
            })
    }

    /// Compares digests, so that neither length nor content of the token shows in the time it takes.
    pub(crate) fn token_matches(&self, given: &str) -> bool {
        equal(&Sha256::digest(given.as_bytes()), &self.token)
    }

    /// The `Set-Cookie` that signs the page in.
    pub(crate) fn sign_in(&self) -> HeaderValue {
        let text = format!(
            "{}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age={COOKIE_SECONDS}",
            self.cookie_name, self.cookie_value
        );
        HeaderValue::from_str(&text).expect("a hash in hex and a port are visible characters")
    }

    fn is_ours(&self, host: &str) -> bool {
        let Some((name, port)) = host.rsplit_once(':') else { return false };
        matches!(name, "localhost" | "127.0.0.1" | "[::1]") && port.parse() == Ok(self.port)
    }
}

/// Adds the headers that every answer carries.
pub(crate) fn harden(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// Whether a method may change something.
pub(crate) fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn wrong_origin(port: u16) -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "wrong_origin",
        format!("a write from a web page must come from this server's own page, http://localhost:{port}/"),
    )
}

/// Equality in a time that depends on the lengths alone.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0u8, |difference, (a, b)| difference | (a ^ b)) == 0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> Door {
        door_with("secret")
    }

    fn door_with(token: &str) -> Door {
        Door::new(token, 4000, crate::access::fixture::access(token).0)
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
    fn the_cookie_is_not_the_token_and_needs_an_origin() {
        let door = door();
        let cookie = door.sign_in().to_str().unwrap().split(';').next().unwrap().to_owned();
        assert!(!cookie.contains("secret"));
        let ours = headers(&[("cookie", &cookie), ("origin", "http://localhost:4000")]);
        assert_eq!(door.check_write(&ours), Ok(Via::Cookie));
        assert_eq!(door.check_write(&headers(&[("cookie", &cookie)])).unwrap_err().code, "wrong_origin");
        let (_, value) = cookie.split_once('=').unwrap();
        let as_bearer = headers(&[("authorization", &format!("Bearer {value}"))]);
        assert_eq!(door.check_write(&as_bearer).unwrap_err().code, "wrong_token");
        assert!(!door_with("other").is_signed_in(&ours), "another token ends the session");
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const WRITE: Permission = Permission::ServicesOperate;

    fn write<'a>(headers: &'a HeaderMap, form_token: Option<&'a str>) -> Asking<'a> {
        Asking { method: &Method::POST, headers, form_token }
    }

    #[test]
    fn a_write_by_cookie_comes_from_our_own_page() {
        let (access, _) = crate::access::fixture::access("secret");
        let door = Door::new("secret", 4000, access.clone());
        let signed_in =
            access.sign_in_by_local_token(&crate::access::Secret::new("secret"), "", &[]).unwrap();
        let cookie = format!("homeostat-4000={}", signed_in.cookie.expose());
        let ours = ("origin", "http://localhost:4000");
        let try_to = |pairs: &[(&str, &str)], form: Option<&str>| {
            let headers = headers(&[&[("cookie", cookie.as_str())], pairs].concat());
            let identity = door.identify(&headers, HERE).unwrap();
            assert_eq!(identity.name, "local token");
            door.require(&identity, WRITE, &write(&headers, form)).map_err(|problem| problem.code)
        };
        assert_eq!(try_to(&[ours, ("sec-fetch-site", "same-origin")], None), Ok(()));
        for site in ["same-site", "cross-site", "none"] {
            assert_eq!(try_to(&[ours, ("sec-fetch-site", site)], None), Err("forged_request"), "{site}");
        }
        assert_eq!(try_to(&[("sec-fetch-site", "same-origin")], None), Err("wrong_origin"));
        let other = ("origin", "http://localhost:3000");
        assert_eq!(try_to(&[other, ("sec-fetch-site", "same-origin")], None), Err("wrong_origin"));
        // A browser that says nothing of its site.
        let sent = headers(&[("cookie", &cookie)]);
        let token = access.csrf_token(&sent, &SessionCookie::of_port(4000)).unwrap().unwrap();
        assert_eq!(try_to(&[ours], None), Err("forged_request"));
        assert_eq!(try_to(&[ours], Some("guessed")), Err("forged_request"));
        assert_eq!(try_to(&[ours], Some(token.expose())), Ok(()));
        assert_eq!(try_to(&[ours, ("x-csrf-token", token.expose())], None), Ok(()));
        let again = access.sign_in_by_local_token(&crate::access::Secret::new("secret"), "", &[]).unwrap();
        let another = headers(&[("cookie", &format!("homeostat-4000={}", again.cookie.expose()))]);
        let another = access.csrf_token(&another, &SessionCookie::of_port(4000)).unwrap().unwrap();
        assert_eq!(try_to(&[ours], Some(another.expose())), Err("forged_request"), "of another session");
    }

    #[test]
    fn who_proves_nothing_reads_from_this_machine_alone_and_writes_nowhere() {
        let door = door();
        let nobody = HeaderMap::new();
        let read = Asking { method: &Method::GET, headers: &nobody, form_token: None };
        let here = door.identify(&nobody, HERE).unwrap();
        assert_eq!(door.require(&here, Permission::StateRead, &read), Ok(()));
        assert_eq!(door.require(&here, WRITE, &write(&nobody, None)).unwrap_err().code, "token_missing");
        let there = door.identify(&nobody, "192.0.2.1".parse().unwrap()).unwrap();
        let refused = door.require(&there, Permission::StateRead, &read).unwrap_err();
        assert_eq!((refused.status, refused.code), (StatusCode::UNAUTHORIZED, "token_missing"));
    }

    #[test]
    fn another_server_on_localhost_is_another_origin() {
        let door = door();
        for origin in ["http://localhost:3000", "https://localhost:4000", "null", "http://evil.example:4000"]
        {
            let asked = headers(&[("authorization", "Bearer secret"), ("origin", origin)]);
            assert_eq!(door.check_write(&asked).unwrap_err().code, "wrong_origin", "{origin}");
        }
        assert_eq!(door.check_write(&headers(&[("authorization", "bearer secret")])), Ok(Via::Bearer));
    }
}
