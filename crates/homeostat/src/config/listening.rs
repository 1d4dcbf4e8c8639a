//! What of the configuration concerns listening: where the web page and the API are, and the certificate of everything
//! that listens.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use domain::AnonymousReads;
use gateway::{RequestRates, TlsFiles, is_loopback};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

const PORT: u16 = 4000;

/// The web page and the API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// 1 to 65535, on 127.0.0.1; `listen` says another address too.
    pub port: u16,
    /// Address and port, such as "127.0.0.1:4000", "0.0.0.0:4000" or `[::]:4000`. Beyond loopback that needs `[tls]`, and
    /// everybody has to sign in. 127.0.0.1 and `port` where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "address")]
    pub listen: Option<SocketAddr>,
    /// Whether who signs in nowhere may read, from this machine: as on loopback where nothing is said; never beyond it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous_reads: Option<bool>,
    /// Names it is called by beside those of the certificate, such as that of a proxy in front; `*.` stands for one label.
    pub hosts: Vec<String>,
    /// Requests a second of each who proves who they are, and of this machine without; twice as many at once. 0 to 1000000;
    /// 0: as many as they like. Neither `/health`, the emergency stop nor telemetry that comes in is counted.
    pub requests_per_second: u32,
    /// The same of each address beyond this machine, of who proves nothing there.
    pub anonymous_requests_per_second: u32,
}

/// Address and port in text; what is none is told with one that is.
fn address<'de, D: Deserializer<'de>>(read: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(read)?;
    text.parse().map(Some).map_err(|_| {
        D::Error::custom(format!(
            "{text:?} is no address with a port; write such as \"127.0.0.1:4000\", \"0.0.0.0:4000\" or \"[::]:4000\""
        ))
    })
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            port: PORT,
            listen: None,
            anonymous_reads: None,
            hosts: Vec::new(),
            requests_per_second: RequestRates::KNOWN,
            anonymous_requests_per_second: RequestRates::UNKNOWN,
        }
    }
}

impl Gateway {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port))
    }

    /// Whether who proves nothing may read.
    pub fn anonymous_reads(&self) -> AnonymousReads {
        match self.anonymous_reads.unwrap_or(is_loopback(self.address().ip())) {
            true => AnonymousReads::Allowed,
            false => AnonymousReads::Refused,
        }
    }

    /// Takes over what is live of another one.
    pub(crate) fn take_live(self, new: &Self) -> Self {
        Self {
            requests_per_second: new.requests_per_second,
            anonymous_requests_per_second: new.anonymous_requests_per_second,
            ..self
        }
    }

    pub(super) fn check(&self, tls: &Tls) -> Result<(), (String, String)> {
        if self.port == 0 {
            return Err(("gateway.port".to_owned(), "is 0, must be 1 to 65535".to_owned()));
        }
        for (field, rate) in [
            ("gateway.requests_per_second", self.requests_per_second),
            ("gateway.anonymous_requests_per_second", self.anonymous_requests_per_second),
        ] {
            if rate > RequestRates::MAX {
                return Err((field.to_owned(), format!("is {rate}, must be 0 to {}", RequestRates::MAX)));
            }
        }
        let address = self.address();
        let wrong = |why: String| Err(("gateway.listen".to_owned(), why));
        if address.port() == 0 {
            return wrong(format!("is {address}, its port must be 1 to 65535"));
        }
        if self.port != PORT && self.port != address.port() {
            return wrong(format!(
                "is {address}, and gateway.port is {}; leave the port out there",
                self.port
            ));
        }
        if !is_loopback(address.ip()) && tls.files().is_none() {
            return wrong(format!("is {address}, beyond loopback: that needs tls.certificate and tls.key"));
        }
        if self.anonymous_reads == Some(true) && !is_loopback(address.ip()) {
            let why = format!("is true, and gateway.listen is {address}: beyond loopback everybody signs in");
            return Err(("gateway.anonymous_reads".to_owned(), why));
        }
        if !self.hosts.is_empty() && tls.files().is_none() {
            let why = "are names for https: that needs tls.certificate and tls.key".to_owned();
            return Err(("gateway.hosts".to_owned(), why));
        }
        let bad = self.hosts.iter().find(|host| host.is_empty() || host.contains(['/', ':', ' ']));
        if let Some(host) = bad {
            return Err((
                "gateway.hosts".to_owned(),
                format!("has {host:?}, must be names without scheme and port"),
            ));
        }
        Ok(())
    }
}

/// The certificate with which everything listens that listens with TLS: the gateway always, the OTLP receivers beyond
/// loopback; nothing does without both keys. Read again when the files change. `homeostat tls self-signed` makes one for first
/// use.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// PEM: the server's certificate, then those that lead to its authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM: its private key, without a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

impl Tls {
    /// Both files; `None` where nothing listens with TLS.
    pub fn files(&self) -> Option<TlsFiles> {
        Some(TlsFiles { certificate: self.certificate.clone()?, key: self.key.clone()? })
    }

    /// Paths are relative to the configuration that names them.
    pub(super) fn relative_to(&mut self, file: &Path) {
        let dir = file.parent().unwrap_or(Path::new(""));
        for path in [&mut self.certificate, &mut self.key].into_iter().flatten() {
            *path = dir.join(&*path);
        }
    }

    pub(super) fn check(&self) -> Result<(), (String, String)> {
        match (&self.certificate, &self.key) {
            (Some(_), None) => Err(("tls.certificate".to_owned(), "needs tls.key beside it".to_owned())),
            (None, Some(_)) => Err(("tls.key".to_owned(), "needs tls.certificate beside it".to_owned())),
            _ => Ok(()),
        }
    }
}
