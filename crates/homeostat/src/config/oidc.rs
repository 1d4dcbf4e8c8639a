//! By whom people may sign in, beside their passwords.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use domain::Role;
use gateway::access::{OidcConfig, Secret};
use provider::secret::{self, SecretError};
use serde::{Deserialize, Serialize};

/// An OpenID provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// As it names itself: `https://…`, or `http://` on loopback.
    pub issuer: String,
    /// What it knows Homeostat by.
    pub client_id: String,
    /// What proves that: `${env:NAME}` for a variable of the environment, or `${file:PATH}` for the text of a file; none for
    /// a public client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// The same as `client_secret = "${file:PATH}"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret_file: Option<PathBuf>,
    /// The role of each group: `roles = { sre = "operator" }`. Who is in none of them is refused.
    pub roles: BTreeMap<String, Role>,
    /// What to ask for beside `openid` and `profile`: some providers tell groups for a scope of their own.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The claim that lists the groups.
    #[serde(default = "groups_claim")]
    pub groups_claim: String,
}

fn groups_claim() -> String {
    "groups".to_owned()
}

impl Oidc {
    /// The same as the gateway takes it, with the secret.
    ///
    /// # Errors
    ///
    /// Where the secret is not to be had.
    pub fn provider(&self) -> Result<OidcConfig, SecretError> {
        let secret = self.reference().map(|text| secret::reveal(&text)).transpose()?;
        Ok(OidcConfig {
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            client_secret: secret.map(|text| Secret::new(text.trim())),
            roles: self.roles.clone(),
            scopes: self.scopes.clone(),
            groups_claim: self.groups_claim.clone(),
        })
    }

    /// What the secret is named by.
    fn reference(&self) -> Option<String> {
        let of_file = |path: &PathBuf| format!("${{file:{}}}", path.display());
        self.client_secret.clone().or_else(|| self.client_secret_file.as_ref().map(of_file))
    }

    /// Paths are relative to the configuration that names them.
    pub(super) fn relative_to(&mut self, file: &Path) {
        let dir = file.parent().unwrap_or(Path::new(""));
        self.client_secret = self.client_secret.take().map(|text| secret::anchored(&text, dir));
        let whole = |path: PathBuf| std::path::absolute(dir.join(&path)).unwrap_or(path);
        self.client_secret_file = self.client_secret_file.take().map(whole);
    }

    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |field: &str, why: &str| Err((format!("oidc.{field}"), why.to_owned()));
        let loopback = ["http://localhost", "http://127.0.0.1", "http://[::1]"].iter().any(|host| {
            let rest = self.issuer.strip_prefix(host);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
        });
        if !self.issuer.starts_with("https://") && !loopback {
            return wrong("issuer", "must begin with https://, or with http:// on loopback");
        }
        if self.client_id.is_empty() {
            return wrong("client_id", "is empty; write what the provider knows Homeostat by");
        }
        if let Some(text) = &self.client_secret {
            if !secret::refers(text) {
                return wrong("client_secret", "must refer to the secret: ${env:NAME} or ${file:PATH}");
            }
            if self.client_secret_file.is_some() {
                return wrong("client_secret_file", "stands beside client_secret; name the secret once");
            }
        }
        if self.roles.is_empty() {
            return wrong("roles", "is empty, so that nobody could sign in; write { GROUP = \"viewer\" }");
        }
        Ok(())
    }
    /// Whether the secret is to be had.
    pub(super) fn check_secret(&self) -> Result<(), (String, String)> {
        let field = if self.client_secret.is_some() { "client_secret" } else { "client_secret_file" };
        let revealed = self.reference().map(|text| secret::reveal(&text)).transpose();
        revealed.map(drop).map_err(|error| (format!("oidc.{field}"), error.said()))
    }
}
