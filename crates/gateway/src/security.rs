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
//! Deliberately absent: users and roles; one token is one operator. Reads on loopback need no token.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Method, header};
use sha2::{Digest, Sha256};

use crate::problem::{Code, Problem};

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
}

/// By what a write was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    Bearer,
    Cookie,
}

impl Door {
    pub(crate) fn new(token: &str, port: u16) -> Self {
        Self {
            token: Sha256::digest(token.as_bytes()).into(),
            // The port is part of the name because cookies are shared by all ports of a host.
            cookie_name: format!("homeostat-{port}"),
            cookie_value: hex(&Sha256::digest(format!("homeostat page session\n{token}").as_bytes())),
            port,
        }
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

    /// Lets a write in, or says what is missing.
    pub(crate) fn check_write(&self, headers: &HeaderMap) -> Result<Via, Problem> {
        self.check_origin(headers)?;
        if let Some(given) = bearer(headers) {
            if self.token_matches(given) {
                return Ok(Via::Bearer);
            }
            return Err(Problem::new(
                Code::WrongToken,
                "the token is not the one of this server; it is in the file `token` in the data directory",
            ));
        }
        if !self.is_signed_in(headers) {
            return Err(Problem::new(
                Code::TokenMissing,
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
        let door = Door::new("secret", 4000);
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
        let door = Door::new("secret", 4000);
        let cookie = door.sign_in().to_str().unwrap().split(';').next().unwrap().to_owned();
        assert!(!cookie.contains("secret"));
        let ours = headers(&[("cookie", &cookie), ("origin", "http://localhost:4000")]);
        assert_eq!(door.check_write(&ours), Ok(Via::Cookie));
        assert_eq!(door.check_write(&headers(&[("cookie", &cookie)])).unwrap_err().code, Code::WrongOrigin);
        let (_, value) = cookie.split_once('=').unwrap();
        let as_bearer = headers(&[("authorization", &format!("Bearer {value}"))]);
        assert_eq!(door.check_write(&as_bearer).unwrap_err().code, Code::WrongToken);
        assert!(!Door::new("other", 4000).is_signed_in(&ours), "another token ends the session");
    }

    #[test]
    fn another_server_on_localhost_is_another_origin() {
        let door = Door::new("secret", 4000);
        for origin in ["http://localhost:3000", "https://localhost:4000", "null", "http://evil.example:4000"]
        {
            let asked = headers(&[("authorization", "Bearer secret"), ("origin", origin)]);
            assert_eq!(door.check_write(&asked).unwrap_err().code, Code::WrongOrigin, "{origin}");
        }
        assert_eq!(door.check_write(&headers(&[("authorization", "bearer secret")])), Ok(Via::Bearer));
    }
}
