//! Requests that leave this machine: the one way here to make a client of HTTP.
//!
//! In: a [`Peer`], which is whose certificates are believed ([`Trust`]) and what we prove ourselves by ([`Credentials`]).
//! Out: an agent of `ureq` to be bounded in time by who uses it, the header that proves us, and for people why a request
//! failed. TLS is 1.3 and 1.2, by the provider of everything that speaks TLS here; a certificate that is not believed ends
//! a request, and nothing is sent in the clear instead.
//!
//! Deliberately absent: what is asked, how often, and what an answer means.

mod authorities;
mod credentials;
mod proxy;
mod trust;

pub use authorities::{Authorities, authorities};
pub use credentials::{Credentials, CredentialsError, Reference};
pub use proxy::proxy;
pub use trust::{Trust, TrustError};

use proxy::THIS_MACHINE;
use ureq::config::ConfigBuilder;
use ureq::http::{HeaderValue, Uri};
use ureq::tls::TlsConfig;
use ureq::typestate::AgentScope;

/// What there is to know of a server before it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peer {
    /// Whose certificates are believed.
    pub trust: Trust,
    /// What we prove ourselves by, if it asks for it.
    pub credentials: Option<Credentials>,
}

/// Credentials would go where others can read them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("would carry the credentials in the clear; use https://, or http:// to this machine")]
pub struct InTheClear;

impl Peer {
    /// A client of it, as [`agent`] makes them.
    ///
    /// # Errors
    /// Where the certificates that are to be believed cannot be read.
    pub fn agent(&self) -> Result<ConfigBuilder<AgentScope>, TrustError> {
        Ok(agent(self.trust.config()?))
    }

    /// What stands behind `authorization:` in the next request, looked up now.
    ///
    /// # Errors
    /// Where the secret is not to be had, or cannot stand in a header.
    pub fn authorization(&self) -> Result<Option<HeaderValue>, CredentialsError> {
        self.credentials.as_ref().map(Credentials::header).transpose()
    }

    /// Whether what is sent to this address may be: credentials go over TLS, or to this machine.
    ///
    /// # Errors
    /// Where others could read them.
    pub fn may_ask(&self, address: &Uri) -> Result<(), InTheClear> {
        if self.credentials.is_none() || is_private(address) { Ok(()) } else { Err(InTheClear) }
    }
}

/// A client that takes any status for an answer and follows no redirect: to be bounded in time by who makes it.
pub fn agent(tls: TlsConfig) -> ConfigBuilder<AgentScope> {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        // It could lead elsewhere what is meant for one server, and out of TLS.
        .max_redirects(0)
        .user_agent(concat!("homeostat/", env!("CARGO_PKG_VERSION")))
        .proxy(proxy())
        .tls_config(tls)
}

/// Whether nobody else reads what is sent there: by `https://`, or by `http://` to this machine.
pub fn is_private(address: &Uri) -> bool {
    match address.scheme_str() {
        Some("https") => address.host().is_some(),
        Some("http") => address.host().is_some_and(|host| THIS_MACHINE.contains(&host)),
        _ => false,
    }
}

/// Why a request failed, for people, without the address: that may be secret.
pub fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::BadUri(_) => "the address cannot be used".to_owned(),
        ureq::Error::RequireHttpsOnly(_) => {
            "it leads from https:// to http://, which is not followed".to_owned()
        }
        _ if is_untrusted(error) => untrusted(&said(error), authorities().nobody()),
        _ => said(error),
    }
}

/// Whether its certificate is not believed, so that asking again at once is of no use.
pub fn is_untrusted(error: &ureq::Error) -> bool {
    let of = |error: &rustls::Error| matches!(error, rustls::Error::InvalidCertificate(_));
    match error {
        ureq::Error::Rustls(error) => of(error),
        ureq::Error::Io(error) => {
            error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some_and(of)
        }
        _ => false,
    }
}

/// `nobody` is why no authority is believed where no file names one.
fn untrusted(said: &str, nobody: Option<String>) -> String {
    let hint = "where an authority of your own issued it, name that one's certificate in tls_config.ca_file, or put it into \
                this machine's store";
    let nobody = nobody.map(|why| format!("; {why}")).unwrap_or_default();
    format!("its certificate is not believed ({said}); {hint}{nobody}")
}

fn said(error: &ureq::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("io: ").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests;
