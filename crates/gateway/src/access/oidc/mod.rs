//! Signing in by an OpenID provider: authorisation code with PKCE (RFC 7636), `state` and `nonce`.
//!
//! In: the configuration of one provider, and what the browser brings back. Out: where to send the browser, then a session.
//!
//! Who it is is the pair of issuer and `sub`, never a name: the first sign-in makes a user of that pair, named by what the
//! provider calls it, and a name that somebody else has here is refused. Roles come from groups by the configuration alone,
//! at every sign-in; who is in none of them is refused.
//!
//! Between the two halves the browser holds a cookie of its own, `SameSite=Lax` since it comes back from another site; a
//! `state` is good once, for ten minutes, for that browser. Answer the second half with a page that leads on, not with a
//! redirect: the session's cookie is `SameSite=Strict`, which a redirect that began elsewhere would not carry.

mod client;
mod id_token;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Role, Time};
use sha2::{Digest, Sha256};
use store::{Hash, OidcSubject, SessionHolder, SignedInBy, UserRecord, UserSaved};

use super::error::AccessError;
use super::secret::{Secret, equal};
use super::sign_in::SignedIn;
use super::{Access, users};
use crate::body::encode;
use client::Client;
use id_token::Claims;

/// How long somebody may take at the provider.
const PENDING_TIME: Duration = Duration::from_secs(600);

/// More than this that were begun and not finished are not kept: the oldest are forgotten.
const PENDING_MAX: usize = 1000;

/// One OpenID provider.
#[derive(Debug, Clone)]
pub struct OidcConfig {
    /// Its issuer, as it names itself: `https://`, or `http://` on loopback.
    pub issuer: String,
    /// What it knows us by.
    pub client_id: String,
    /// By what we prove it; `None` for a public client.
    pub client_secret: Option<Secret>,
    /// The roles of its groups. Who is in none is refused.
    pub roles: BTreeMap<String, Role>,
    /// The scopes to ask for beside `openid` and `profile`; where groups need one, it stands here.
    pub scopes: Vec<String>,
    /// The claim that lists groups.
    pub groups_claim: String,
}

/// Why nobody signed in by the provider.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// None is configured.
    #[error("no OpenID provider is configured; set [oidc] issuer, client_id and roles")]
    NotConfigured,
    /// What is configured cannot be used.
    #[error("the OpenID provider {issuer:?} cannot be used: {why}")]
    Provider {
        /// Which.
        issuer: String,
        /// What is wrong with it.
        why: String,
    },
    /// The browser came back with something we did not begin.
    #[error("this sign-in was not begun by this browser, or too long ago; begin it again")]
    NotBegun,
    /// The provider said no.
    #[error("the OpenID provider refused the sign-in: {0}")]
    Refused(String),
    /// What it said of the person does not hold.
    #[error("what the OpenID provider says of the person does not hold: {0}")]
    Token(String),
    /// Nobody of the groups with roles.
    #[error(
        "{who} is in no group that has a role here (groups: {groups}); ask an admin to add one to [oidc] roles"
    )]
    NoRole {
        /// Who.
        who: String,
        /// In which groups.
        groups: String,
    },
}

/// The first half of a sign-in.
#[derive(Debug)]
pub struct BegunOidc {
    /// Where to send the browser.
    pub location: String,
    /// What the browser keeps until it comes back.
    pub browser: Secret,
}

/// What the browser brought back.
#[derive(Debug, Clone)]
pub struct OidcReturn {
    /// The parameter `state`.
    pub state: String,
    /// The parameter `code`, or why there is none (`error`).
    pub code: Result<Secret, String>,
    /// What the browser kept.
    pub browser: Secret,
    /// What it calls itself.
    pub user_agent: String,
    /// The values of the session cookie that came along: their sessions end.
    pub before: Vec<Secret>,
}

struct Pending {
    browser: Hash,
    nonce: Secret,
    verifier: Secret,
    redirect_uri: String,
    until: Time,
}

/// The provider, and who is there now.
pub(super) struct Oidc {
    config: OidcConfig,
    client: Client,
    pending: Mutex<HashMap<[u8; 32], Pending>>,
}

impl Oidc {
    pub(super) fn new(config: OidcConfig) -> Self {
        Self { client: Client::new(&config), config, pending: Mutex::default() }
    }

    fn keep(&self, state: &Secret, pending: Pending, now: Time) {
        let mut all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, pending| !now.reached(pending.until));
        if all.len() >= PENDING_MAX
            && let Some(oldest) = all.iter().min_by_key(|(_, pending)| pending.until).map(|(key, _)| *key)
        {
            all.remove(&oldest);
        }
        all.insert(state.hash().0, pending);
    }

    /// What was begun, which is good once, whoever asks.
    fn take(&self, state: &str, browser: &Secret, now: Time) -> Result<Pending, OidcError> {
        let mut all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&super::secret::hash(state).0)
            .filter(|pending| !now.reached(pending.until) && equal(&pending.browser, &browser.hash()))
            .ok_or(OidcError::NotBegun)
    }

    fn roles_of(&self, claims: &Claims) -> Result<Vec<Role>, OidcError> {
        let groups = claims.groups(&self.config.groups_claim);
        let roles: Vec<Role> = Role::ALL
            .into_iter()
            .filter(|role| groups.iter().any(|group| self.config.roles.get(group) == Some(role)))
            .collect();
        if roles.is_empty() {
            let groups = if groups.is_empty() { "none".to_owned() } else { groups.join(", ") };
            return Err(OidcError::NoRole { who: claims.called().to_owned(), groups });
        }
        Ok(roles)
    }
}

impl Access {
    /// Begins a sign-in by the provider, which sends the browser back to `redirect_uri`.
    pub fn begin_oidc(&self, redirect_uri: &str) -> Result<BegunOidc, AccessError> {
        let oidc = self.oidc()?;
        let endpoint = oidc.client.discover(self.now())?.authorization_endpoint;
        let (state, browser) = (Secret::random()?, Secret::random()?);
        let (nonce, verifier) = (Secret::random()?, Secret::random()?);
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose().as_bytes()));
        let scope = ["openid", "profile"].into_iter().chain(oidc.config.scopes.iter().map(String::as_str));
        let scope = scope.collect::<Vec<_>>().join(" ");
        let separator = if endpoint.contains('?') { '&' } else { '?' };
        let location = format!(
            "{endpoint}{separator}response_type=code&client_id={}&redirect_uri={}&scope={}&state={}&nonce={}\
             &code_challenge={challenge}&code_challenge_method=S256",
            encode(&oidc.config.client_id),
            encode(redirect_uri),
            encode(&scope),
            state.expose(),
            nonce.expose(),
        );
        let now = self.now();
        let pending = Pending {
            browser: browser.hash(),
            nonce,
            verifier,
            redirect_uri: redirect_uri.to_owned(),
            until: now.plus(PENDING_TIME),
        };
        oidc.keep(&state, pending, now);
        Ok(BegunOidc { location, browser })
    }

    /// Finishes it: makes or renews the user, and begins its session.
    pub fn finish_oidc(&self, back: &OidcReturn) -> Result<SignedIn, AccessError> {
        let oidc = self.oidc()?;
        let pending = oidc.take(&back.state, &back.browser, self.now())?;
        let code = back.code.as_ref().map_err(|error| OidcError::Refused(error.clone()))?;
        let answer = oidc.client.exchange(code, &pending.redirect_uri, &pending.verifier, self.now())?;
        let mut claims = oidc.client.verify(&answer.id_token, &pending.nonce, self.now())?;
        if !claims.has(&oidc.config.groups_claim) {
            claims = oidc.client.more_of(claims, &answer, self.now())?;
        }
        let roles = oidc.roles_of(&claims)?;
        let user = self.user_of_claims(&oidc.config.issuer, &claims, roles)?;
        self.begin_session(SessionHolder::User(user), SignedInBy::Oidc, &back.user_agent, &back.before)
    }

    fn oidc(&self) -> Result<&Oidc, AccessError> {
        Ok(self.inner.oidc.as_ref().ok_or(OidcError::NotConfigured)?)
    }

    fn user_of_claims(
        &self,
        issuer: &str,
        claims: &Claims,
        roles: Vec<Role>,
    ) -> Result<UserRecord, AccessError> {
        let who = OidcSubject { issuer: issuer.to_owned(), subject: claims.sub.clone() };
        if let Some(user) = self.store().user_of_oidc(&who)? {
            if user.roles != roles {
                self.store().set_user_roles(&user.name, &roles)?;
            }
            return Ok(UserRecord { roles, ..user });
        }
        let name = claims.called().to_lowercase();
        users::check_name(&name)?;
        let now = self.now();
        let user = UserRecord {
            id: self.id(now),
            display_name: claims.display_name().to_owned(),
            name,
            roles,
            password_hash: None,
            totp: None,
            totp_pending: None,
            totp_step: None,
            oidc: Some(who),
            disabled: false,
            created: now,
            signed_in: None,
        };
        match self.store().add_user(&user)? {
            UserSaved::Saved => Ok(user),
            UserSaved::NameTaken => Err(AccessError::NameTaken(user.name)),
        }
    }
}
