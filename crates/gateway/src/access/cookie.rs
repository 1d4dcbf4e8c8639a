//! The cookie of a session.
//!
//! Over TLS it is `__Host-homeostat`: browsers take that name with `Secure`, for the whole host and without `Domain` alone,
//! so that no other host or port of plain HTTP can plant one. Plain HTTP is served on loopback only; there the port is part
//! of the name, because cookies are shared by all ports of a host.

use axum::http::{HeaderMap, HeaderValue, header};

use super::secret::Secret;

const OVER_TLS: &str = "__Host-homeostat";

/// What carries a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// HTTP on loopback.
    Plain,
    /// HTTPS.
    Tls,
}

/// How the cookie of a server is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCookie {
    plain: String,
}

impl SessionCookie {
    /// Of the server whose plain HTTP has this port.
    pub fn of_port(port: u16) -> Self {
        Self { plain: format!("homeostat-{port}") }
    }

    /// The `Set-Cookie` that signs in, for as long as a session lasts at most.
    pub fn set(&self, value: &Secret, transport: Transport) -> HeaderValue {
        self.header(value.expose(), super::sessions::SESSION_LENGTH.as_secs(), transport)
    }

    /// The `Set-Cookie` that signs out.
    pub fn clear(&self, transport: Transport) -> HeaderValue {
        self.header("", 0, transport)
    }

    /// The values a request carries; several where somebody planted one beside ours.
    pub fn values(&self, headers: &HeaderMap) -> Vec<Secret> {
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == OVER_TLS || *name == self.plain)
            .take(VALUES_MAX)
            .map(|(_, value)| Secret::new(value))
            .collect()
    }

    fn header(&self, value: &str, seconds: u64, transport: Transport) -> HeaderValue {
        let (name, secure) = match transport {
            Transport::Plain => (self.plain.as_str(), ""),
            Transport::Tls => (OVER_TLS, "; Secure"),
        };
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
        // A value is made by us, of visible characters; what is none is not set.
        let mut header =
            HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("homeostat=; Max-Age=0"));
        header.set_sensitive(true);
        header
    }
}

/// Each is looked up; nobody has more than a few.
const VALUES_MAX: usize = 4;
