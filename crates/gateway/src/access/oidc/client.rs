//! What is asked of the provider: its metadata, its keys, tokens for a code, claims of a person.
//!
//! Requests are bounded in time and size and follow no redirect. Addresses must be `https://`, or `http://` on loopback:
//! a secret goes with them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::Uri;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::Time;
use jsonwebtoken::jwk::JwkSet;
use outbound::{Trust, is_private};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::id_token::{self, Claims};
use super::{OidcConfig, OidcError};
use crate::access::Secret;
use crate::body::encode;
use crate::problem::chain;

/// How long one request may take.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// How long metadata and keys are good for.
const FRESH: Duration = Duration::from_secs(3600);

/// Keys are fetched before that where one is not among them, this often at most.
const KEYS_AGAIN: Duration = Duration::from_secs(60);

/// The longest answer, in bytes.
const ANSWER_MAX: u64 = 1 << 20;

/// What a provider says of itself (OpenID Connect Discovery 1.0, section 3).
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    pub(super) authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
}

/// What it gives for a code.
#[derive(Deserialize)]
pub(super) struct Answer {
    pub(super) id_token: Secret,
    access_token: Secret,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

/// A provider as it is asked.
pub(super) struct Client {
    config: OidcConfig,
    agent: ureq::Agent,
    metadata: Mutex<Option<(Metadata, Time)>>,
    keys: Mutex<Option<(Arc<JwkSet>, Time)>>,
}

impl Client {
    pub(super) fn new(config: &OidcConfig) -> Self {
        let agent = outbound::agent(Trust::machine())
            .timeout_global(Some(REQUEST_TIME))
            // Sign-ins are far apart: a connection kept from the last one is closed by the time it is asked again.
            .max_idle_connections(0)
            .build()
            .into();
        Self { config: config.clone(), agent, metadata: Mutex::default(), keys: Mutex::default() }
    }

    /// What the provider says of itself.
    pub(super) fn discover(&self, now: Time) -> Result<Metadata, OidcError> {
        let fresh = |kept: &Option<(Metadata, Time)>| {
            kept.as_ref().filter(|(_, since)| now.since(*since) < FRESH).map(|(metadata, _)| metadata.clone())
        };
        if let Some(metadata) = fresh(&self.metadata.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(metadata);
        }
        let issuer = self.config.issuer.trim_end_matches('/');
        let metadata: Metadata = self.get(&format!("{issuer}/.well-known/openid-configuration"), None)?;
        if metadata.issuer != self.config.issuer {
            return Err(self.unusable(format!("it calls itself {:?}; write it so", metadata.issuer)));
        }
        self.check_address(&metadata.authorization_endpoint)?;
        *self.metadata.lock().unwrap_or_else(PoisonError::into_inner) = Some((metadata.clone(), now));
        Ok(metadata)
    }

    /// Tokens for a code.
    pub(super) fn exchange(
        &self,
        code: &Secret,
        redirect_uri: &str,
        verifier: &Secret,
        now: Time,
    ) -> Result<Answer, OidcError> {
        let endpoint = self.discover(now)?.token_endpoint;
        self.check_address(&endpoint)?;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier.expose()),
        ];
        let mut request = self.agent.post(&endpoint).header("accept", "application/json");
        match &self.config.client_secret {
            // RFC 6749, section 2.3.1: both are encoded as in a form before they are joined.
            Some(secret) => {
                let pair = format!("{}:{}", encode(&self.config.client_id), encode(secret.expose()));
                request = request.header("authorization", format!("Basic {}", STANDARD.encode(pair)));
            }
            None => form.push(("client_id", &self.config.client_id)),
        }
        self.read(&endpoint, request.send_form(form))
    }

    /// What an ID token says, once it holds. Keys are fetched anew where its key is not known, for providers change them.
    pub(super) fn verify(&self, token: &Secret, nonce: &Secret, now: Time) -> Result<Claims, OidcError> {
        let expected = id_token::Expected {
            issuer: &self.config.issuer,
            client_id: &self.config.client_id,
            nonce: nonce.expose(),
            now,
        };
        let first = id_token::verify(token, &*self.keys(now, FRESH)?, &expected);
        match first {
            Err(id_token::Invalid::UnknownKey) => {
                id_token::verify(token, &*self.keys(now, KEYS_AGAIN)?, &expected)
            }
            judged => judged,
        }
        .map_err(|invalid| OidcError::Token(invalid.to_string()))
    }

    /// Adds what the provider tells of the person beside the ID token.
    pub(super) fn more_of(&self, claims: Claims, answer: &Answer, now: Time) -> Result<Claims, OidcError> {
        let Some(endpoint) = self.discover(now)?.userinfo_endpoint else { return Ok(claims) };
        let more: Claims = self.get(&endpoint, Some(&answer.access_token))?;
        if more.sub != claims.sub {
            return Err(OidcError::Token("its user information is of somebody else".to_owned()));
        }
        Ok(claims.with(more))
    }

    fn keys(&self, now: Time, fresh: Duration) -> Result<Arc<JwkSet>, OidcError> {
        if let Some((keys, since)) = &*self.keys.lock().unwrap_or_else(PoisonError::into_inner)
            && now.since(*since) < fresh
        {
            return Ok(Arc::clone(keys));
        }
        // Keys of kinds we do not read stand beside those we do.
        let all: serde_json::Value = self.get(&self.discover(now)?.jwks_uri, None)?;
        let all = all["keys"].as_array().cloned().unwrap_or_default();
        let keys = all.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
        let keys = Arc::new(JwkSet { keys });
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(&keys), now));
        Ok(keys)
    }

    fn get<T: DeserializeOwned>(&self, address: &str, bearer: Option<&Secret>) -> Result<T, OidcError> {
        self.check_address(address)?;
        let mut request = self.agent.get(address).header("accept", "application/json");
        if let Some(token) = bearer {
            request = request.header("authorization", format!("Bearer {}", token.expose()));
        }
        self.read(address, request.call())
    }

    fn read<T: DeserializeOwned>(
        &self,
        address: &str,
        answer: Result<axum::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, OidcError> {
        let mut answer = answer.map_err(|error| self.unusable(format!("{address}: {}", chain(&error))))?;
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(ANSWER_MAX).read_to_vec();
        let body = body.map_err(|error| self.unusable(format!("{address}: {}", chain(&error))))?;
        if status.is_success() {
            // What is wrong with it may quote it, and there are secrets in it.
            return serde_json::from_slice(&body).map_err(|error| {
                self.unusable(format!(
                    "{address} answers what cannot be read (line {}, column {})",
                    error.line(),
                    error.column()
                ))
            });
        }
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(Refusal { error, error_description }) => Err(OidcError::Refused(
                error_description.map_or(error.clone(), |more| format!("{error}: {more}")),
            )),
            Err(_) => Err(self.unusable(format!("{address} answers with status {status}"))),
        }
    }

    fn check_address(&self, address: &str) -> Result<(), OidcError> {
        if address.parse().is_ok_and(|uri: Uri| is_private(&uri)) {
            return Ok(());
        }
        Err(self.unusable(format!("{address:?} is neither https:// nor http:// on loopback")))
    }

    fn unusable(&self, why: String) -> OidcError {
        OidcError::Provider { issuer: self.config.issuer.clone(), why }
    }
}
