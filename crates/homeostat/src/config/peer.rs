//! What of the configuration concerns servers that are asked: whom to believe, and what we prove ourselves by. The same
//! three tables stand wherever one is named, with Prometheus' names.

use std::path::{Path, PathBuf};

use outbound::{Credentials, Peer, Reference, Trust};
use provider::secret;
use serde::{Deserialize, Serialize};

/// Whom to believe at `https://`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// Certificates of authorities, in PEM, relative to this file: those alone are believed. Without it those of this
    /// machine are.
    pub ca_file: Option<PathBuf>,
}

/// A token to prove ourselves by: `authorization: Bearer …`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorization {
    /// The token: `${env:NAME}` for a variable of the environment, or `${file:PATH}` for the text of a file. It is looked up
    /// for each request.
    pub credentials: String,
}

/// A name and a password to prove ourselves by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// The name, without a colon.
    pub username: String,
    /// The password: `${env:NAME}` for a variable of the environment, or `${file:PATH}` for the text of a file. It is looked
    /// up for each request.
    pub password: String,
}

/// The tables of one server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables<'a> {
    /// Where they stand: `notify`.
    pub(super) within: &'static str,
    pub(super) tls_config: Option<&'a TlsConfig>,
    pub(super) authorization: Option<&'a Authorization>,
    pub(super) basic_auth: Option<&'a BasicAuth>,
}

impl Tables<'_> {
    /// The same as clients take it.
    pub(super) fn peer(self) -> Peer {
        let ca_file = self.tls_config.and_then(|tls| tls.ca_file.clone());
        let trust = ca_file.map_or(Trust::Authorities, Trust::File);
        let basic = self.basic_auth.map(|BasicAuth { username, password }| Credentials::Basic {
            username: username.clone(),
            password: reference(password),
        });
        let bearer = self.authorization.map(|token| Credentials::Bearer(reference(&token.credentials)));
        Peer { trust, credentials: bearer.or(basic) }
    }

    /// The name of a table that is there: without an address it would be for nobody.
    pub(super) fn first(self) -> Option<&'static str> {
        [
            ("tls_config", self.tls_config.is_some()),
            ("authorization", self.authorization.is_some()),
            ("basic_auth", self.basic_auth.is_some()),
        ]
        .into_iter()
        .find_map(|(name, is_there)| is_there.then_some(name))
    }

    /// What is written, without looking for what it refers to.
    pub(super) fn check(self) -> Result<(), (String, String)> {
        let wrong = |key: &str, why: &str| Err((format!("{}.{key}", self.within), why.to_owned()));
        const REFER: &str = "must refer to the secret: ${env:NAME} or ${file:PATH}";
        if self.tls_config.is_some_and(|tls| tls.ca_file.is_none()) {
            return wrong(
                "tls_config",
                "has no ca_file; write ca_file = \"PATH\" in it, or leave it out to believe the authorities of this machine",
            );
        }
        if self.authorization.is_some_and(|token| !secret::refers(&token.credentials)) {
            return wrong("authorization.credentials", REFER);
        }
        let Some(BasicAuth { username, password }) = self.basic_auth else { return Ok(()) };
        if self.authorization.is_some() {
            return wrong(
                "basic_auth.username",
                "stands beside authorization; one of them proves who we are",
            );
        }
        if username.is_empty() || username.contains(':') {
            return wrong("basic_auth.username", "is empty or has a colon, which ends the name");
        }
        if secret::refers(password) { Ok(()) } else { wrong("basic_auth.password", REFER) }
    }

    /// Whether what it refers to is to be had: certificates and secrets.
    pub(super) fn check_files(self) -> Result<(), (String, String)> {
        let peer = self.peer();
        let wrong = |key: &str, why: String| (format!("{}.{key}", self.within), why);
        peer.trust.config().map_err(|error| wrong("tls_config.ca_file", error.to_string()))?;
        let key =
            if self.authorization.is_some() { "authorization.credentials" } else { "basic_auth.password" };
        peer.authorization().map(drop).map_err(|error| wrong(key, error.to_string()))
    }
}

/// Paths are relative to the configuration in `dir` that names them.
pub(super) fn anchor(
    dir: &Path,
    tls_config: &mut Option<TlsConfig>,
    authorization: &mut Option<Authorization>,
    basic_auth: &mut Option<BasicAuth>,
) {
    if let Some(TlsConfig { ca_file: Some(path) }) = tls_config {
        let whole = dir.join(&*path);
        *path = std::path::absolute(&whole).unwrap_or(whole);
    }
    if let Some(Authorization { credentials }) = authorization {
        *credentials = secret::anchored(credentials, dir);
    }
    if let Some(BasicAuth { password, .. }) = basic_auth {
        *password = secret::anchored(password, dir);
    }
}

fn reference(text: &str) -> Reference {
    Reference::new(text, |text| secret::reveal(text).map_err(|error| error.said()))
}
