//! From what a request carries to who asks.
//!
//! In: headers, and the address they came from. Out: an identity. A bearer that is not right is an error, and no cookie is
//! looked at then; a cookie whose session is over is no proof, and the request is anonymous: a page asks to sign in again.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use domain::access::Permissions;
use domain::{AnonymousReads, Identity, Permission, Proof, Role, Time};
use store::{TokenOwner, TokenRecord};

use super::cookie::SessionCookie;
use super::error::AccessError;
use super::secret::{Secret, equal};
use super::sessions::{USED_EVERY, identity_of};
use super::{Access, TOKEN_NAME, bearer, local};

impl Access {
    /// Who asks.
    ///
    /// # Errors
    ///
    /// [`AccessError::WrongToken`], [`AccessError::TokenExpired`] and [`AccessError::TokenRevoked`], and what the store says.
    pub fn identify(
        &self,
        headers: &HeaderMap,
        cookie: &SessionCookie,
        peer: IpAddr,
    ) -> Result<Identity, AccessError> {
        if let Some(given) = sent_bearer(headers) {
            return self.of_bearer(&given);
        }
        for value in cookie.values(headers) {
            if let Some(identity) = self.of_session(&value)? {
                return Ok(identity);
            }
        }
        let is_here = peer.to_canonical().is_loopback();
        let reads = match self.inner.config.anonymous_reads {
            AnonymousReads::Allowed if is_here => AnonymousReads::Allowed,
            _ => AnonymousReads::Refused,
        };
        let mut nobody = Identity::anonymous(reads);
        if is_here {
            // Who scrapes on this machine needs no token (specification, section 9); our own scraper among them.
            let scrape = [Permission::MetricsScrape].into_iter().collect();
            nobody.permissions = nobody.permissions.with(scrape);
        }
        Ok(nobody)
    }

    /// Who sent a token along; programs alone do, so no cookie is looked at.
    ///
    /// # Errors
    ///
    /// As [`identify`](Self::identify); without any token, [`AccessError::NotSignedIn`].
    pub fn bearer(&self, headers: &HeaderMap) -> Result<Identity, AccessError> {
        self.of_bearer(&sent_bearer(headers).ok_or(AccessError::NotSignedIn)?)
    }

    /// What a form must bring to be taken for one of a session's pages: a hash of the cookie's value, so that it can be
    /// neither guessed nor turned back into the cookie. `None` where no session stands.
    pub(crate) fn csrf_token(
        &self,
        headers: &HeaderMap,
        cookie: &SessionCookie,
    ) -> Result<Option<Secret>, AccessError> {
        for value in cookie.values(headers) {
            if self.session(&value)?.is_some() {
                return Ok(Some(csrf_token_of(&value)));
            }
        }
        Ok(None)
    }

    /// Who holds a token that was sent otherwise than as bearer.
    ///
    /// # Errors
    ///
    /// As [`bearer`](Self::bearer).
    pub(crate) fn of_token(&self, given: &Secret) -> Result<Identity, AccessError> {
        self.of_bearer(given)
    }

    /// The record of a token; `None` for the one of the data directory.
    pub(super) fn token_of_bearer(&self, given: &Secret) -> Result<Option<TokenRecord>, AccessError> {
        let hash = given.hash();
        if equal(&hash, &self.inner.local_token) {
            return Ok(None);
        }
        if !bearer::is_whole(given.expose()) {
            return Err(AccessError::WrongToken);
        }
        Ok(Some(self.store().token_of_secret(&hash)?.ok_or(AccessError::WrongToken)?))
    }

    fn of_bearer(&self, given: &Secret) -> Result<Identity, AccessError> {
        let Some(token) = self.token_of_bearer(given)? else { return Ok(local(Proof::Token)) };
        let now = self.now();
        let identity = self.identity_of_token(&token, now)?;
        if token.used.is_none_or(|used| now.since(used) >= USED_EVERY) {
            // What cannot be noted, on a full disk, must not shut out who would make room.
            let _ = self.store().touch_token(token.id, now);
        }
        Ok(identity)
    }

    /// Who holds a token: it ends with the token that made it, and may no more than that one still may.
    pub(super) fn identity_of_token(&self, token: &TokenRecord, now: Time) -> Result<Identity, AccessError> {
        let mut identity = identity_of_token(token, now)?;
        if token.made_by.is_some() {
            for maker in self.store().makers_of_token(token.id)? {
                let theirs = identity_of_token(&maker, now).map_err(|why| AccessError::TokenRevoked {
                    name: token.name.clone(),
                    why: format!("it was made by another, and {why}"),
                })?;
                identity.permissions = identity.permissions.within(theirs.permissions);
            }
        }
        Ok(identity)
    }

    fn of_session(&self, value: &Secret) -> Result<Option<Identity>, AccessError> {
        let Some(session) = self.session(value)? else { return Ok(None) };
        let now = self.now();
        if now.since(session.used) >= USED_EVERY {
            // As with tokens.
            let _ = self.store().touch_session(session.id, now);
        }
        Ok(Some(identity_of(&session)))
    }
}

/// What a session's forms carry.
pub(crate) fn csrf_token_of(value: &Secret) -> Secret {
    let hash = super::secret::hash(&format!("homeostat form\n{}", value.expose()));
    Secret::new(hash.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn identity_of_token(token: &TokenRecord, now: Time) -> Result<Identity, AccessError> {
    let name = token.name.clone();
    let revoked = |why: String| Err(AccessError::TokenRevoked { name: token.name.clone(), why });
    if let Some(at) = token.revoked {
        return revoked(format!("at {}", at.rfc3339()));
    }
    let theirs = match &token.owner {
        TokenOwner::LocalToken => Permissions::all(),
        TokenOwner::User(user) if user.disabled => {
            return revoked(format!("its owner {} is disabled", user.name));
        }
        TokenOwner::User(user) => Role::permissions_of(&user.roles),
    };
    if let Some(end) = token.expires.filter(|end| now.reached(*end)) {
        return Err(AccessError::TokenExpired { name, at: end.rfc3339() });
    }
    let scope = token.scope.map_or(theirs, |scope| scope.within(theirs));
    Ok(Identity::proven(format!("{TOKEN_NAME}{name}"), Proof::Token, token.roles.clone(), Some(scope)))
}

/// The bearer of a request. A header that is there and is none is not the absence of one.
pub(super) fn sent_bearer(headers: &HeaderMap) -> Option<Secret> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().unwrap_or("");
    let token = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => "",
    };
    Some(Secret::new(token))
}
