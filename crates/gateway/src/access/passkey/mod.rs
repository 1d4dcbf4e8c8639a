//! Passkeys (Web Authentication Level 3): registered by who is signed in and gave the password again, then a way in of their
//! own: the authenticator asked for a finger or its code, so that nothing is asked for beside it.
//!
//! In: the host by which the browser names this server, and what `navigator.credentials` gave there. Out: options for it, a
//! [`PasskeyRecord`], or a session.
//!
//! ```text
//! begin_passkey ─► options with a challenge ─► browser, authenticator ─► finish: data, ceremony, key ─► store
//! ```
//!
//! Passkeys are kept by their authenticator together with whose they are (discoverable), so that nobody has to be named to
//! sign in, and nothing tells who has one. Who signs in by an OpenID provider has none here: the provider alone says whether
//! they are still let in. Attestation is not asked for: any authenticator will do that verifies the person.

mod ceremony;
mod challenge;
mod data;
mod key;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Identity, PasskeyId};
use serde_json::{Value, json};
use store::{PasskeyRecord, PasskeySaved, UserRecord};

use super::error::AccessError;
use super::secret::Secret;
use super::sign_in::SignedIn;
use super::users::NAME_MAX;
use super::{Access, TokenOwner};
use challenge::{CHALLENGE_TIME, Challenges, Purpose};
use data::Given;

/// How many passkeys a user may have.
const PASSKEYS_MAX: usize = 20;

/// The host that passkeys are for, as the browser names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelyingParty {
    /// `https://HOST:PORT`, or `http://localhost:PORT`.
    origin: String,
    /// The host alone.
    id: String,
}

impl RelyingParty {
    /// Of an origin that was found to be ours. `None` where passkeys cannot be had there: an address is no name (section
    /// 5.1.3), and browsers offer them over TLS or on localhost alone.
    pub fn of_origin(origin: &str) -> Option<Self> {
        let origin = origin.to_ascii_lowercase();
        let (scheme, authority) = origin.split_once("://")?;
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|sign| sign.is_ascii_digit()) => host,
            _ => authority,
        };
        let is_name = !host.is_empty() && !host.starts_with('[') && host.parse::<std::net::IpAddr>().is_err();
        let is_secure = scheme == "https" || host == "localhost";
        (is_name && is_secure).then(|| Self { id: host.to_owned(), origin: origin.clone() })
    }

    /// The host alone.
    pub fn host(&self) -> &str {
        &self.id
    }
}

/// What somebody sent to sign in by a passkey.
#[derive(Debug, Clone)]
pub struct PasskeySignIn {
    /// What `navigator.credentials.get()` gave, as JSON.
    pub answer: String,
    /// Where it was asked for.
    pub party: RelyingParty,
    /// What the browser calls itself.
    pub user_agent: String,
    /// The values of the session cookie that came along: their sessions end.
    pub before: Vec<Secret>,
}

/// Why a passkey was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PasskeyError {
    /// It is not of the form that the standard has.
    #[error("what the browser sent cannot be read: {0}")]
    Malformed(&'static str),
    /// Another ceremony than the one that was asked for.
    #[error("it was made for something else than what it is used for")]
    Kind,
    /// Not given out for this, used before, or too old.
    #[error("it was asked for too long ago, or used before, or not asked for by this server; try again")]
    Challenge,
    /// A page of another origin asked for it.
    #[error("it was asked for by a page of {given}, and this is {ours}")]
    Origin {
        /// What the browser says.
        given: String,
        /// By which the browser should name us.
        ours: String,
    },
    /// A page within another one asked for it.
    #[error("it was asked for within a page of another site")]
    Framed,
    /// The authenticator signed for another host.
    #[error("the authenticator signed for another host than {ours}")]
    RpId {
        /// Ours.
        ours: String,
    },
    /// Nobody touched the authenticator, or it did not make sure of who did.
    #[error(
        "the authenticator did not verify who used it; set a PIN, a fingerprint or a screen lock up for it"
    )]
    NotVerified,
    /// An attestation that was not asked for.
    #[error("it comes with an attestation ({0:?}), which was not asked for")]
    Attestation(String),
    /// A kind of key that was not asked for.
    #[error("its key is of an algorithm that is not taken here ({0}); taken are EdDSA, ES256 and RS256")]
    Algorithm(i64),
    /// Registered already.
    #[error("it is registered already")]
    Registered,
    /// A user has as many as one may.
    #[error("you have {PASSKEYS_MAX} passkeys, which is the most; remove one you do not use")]
    TooMany,
    /// The user signs in by the OpenID provider.
    #[error("you sign in by the OpenID provider, which has passkeys of its own; none is kept here")]
    OfProvider,
    /// None of this server's.
    #[error("it is not known here; it may have been removed. Sign in otherwise, and register it again")]
    Unknown,
    /// It does not say whose it is.
    #[error("it does not say whose it is; register it again, in a place that keeps passkeys")]
    NoUserHandle,
    /// It is another user's than it says.
    #[error("it is registered for another user than it says")]
    OtherUser,
    /// It was registered under another name of this server.
    #[error("it was registered for {registered}; open this server by that name")]
    OtherHost {
        /// Under which.
        registered: String,
    },
    /// What it says of copies is impossible, or changed.
    #[error("what it says of whether it may be copied does not hold")]
    Backup,
    /// Not the key's.
    #[error("its signature is not right")]
    Signature,
    /// It was used meanwhile, elsewhere.
    #[error(
        "it counts {count} uses, and counted {last} before: there may be a copy of it. It is not taken; remove it, and register another"
    )]
    Counter {
        /// Now.
        count: u32,
        /// Before.
        last: u32,
    },
}

/// What is kept for passkeys beside the store.
#[derive(Default)]
pub(super) struct Passkeys {
    challenges: Challenges,
}

impl Access {
    /// What `navigator.credentials.get()` is to be asked, as JSON.
    pub fn begin_passkey_sign_in(&self, party: &RelyingParty) -> Result<Value, AccessError> {
        let challenge = self.challenges().issue(Purpose::SignIn, &party.id, self.now())?;
        Ok(json!({
            "challenge": URL_SAFE_NO_PAD.encode(challenge),
            "rpId": party.id,
            "timeout": CHALLENGE_TIME.as_millis() as u64,
            "userVerification": "required",
            "allowCredentials": [],
        }))
    }

    /// Signs in by a passkey.
    ///
    /// # Errors
    ///
    /// [`AccessError::Passkey`] where it does not hold, [`AccessError::SignInRefused`] where its user is shut out.
    pub fn sign_in_by_passkey(&self, sent: &PasskeySignIn) -> Result<SignedIn, AccessError> {
        let given = Given::read(&sent.answer)?;
        let found = self.store().passkey_of_credential(&given.raw_id.0)?;
        let (passkey, user) = found.ok_or(PasskeyError::Unknown)?;
        let (now, party) = (self.now(), &sent.party);
        let judge = |challenge: &[u8]| self.challenges().check(challenge, Purpose::SignIn, &party.id, now);
        let (count, fresh) = ceremony::asserted(&given, &passkey, party, judge)?;
        self.challenges().use_up(fresh, now)?;
        if user.disabled {
            return Err(AccessError::SignInRefused);
        }
        if !self.store().use_passkey(passkey.id, count, now)? {
            return Err(PasskeyError::Counter { count, last: count }.into());
        }
        self.begin_session_by_passkey(user, passkey.id, &sent.user_agent, &sent.before)
    }

    /// What `navigator.credentials.create()` is to be asked, as JSON, for a user who gave the password again
    /// ([`Access::confirm_password`]): with its challenge another passkey can be registered. What would be refused
    /// afterwards is refused now, before a device keeps a passkey of no use.
    ///
    /// # Errors
    ///
    /// [`AccessError::NameTaken`], [`PasskeyError::OfProvider`] and [`PasskeyError::TooMany`].
    pub fn begin_passkey(
        &self,
        user: &UserRecord,
        name: &str,
        party: &RelyingParty,
    ) -> Result<Value, AccessError> {
        let name = checked(name)?;
        if user.oidc.is_some() {
            return Err(PasskeyError::OfProvider.into());
        }
        let present = self.store().passkeys_of(user.id)?;
        if present.len() >= PASSKEYS_MAX {
            return Err(PasskeyError::TooMany.into());
        }
        if present.iter().any(|passkey| passkey.name == name) {
            return Err(AccessError::NameTaken(name));
        }
        let challenge = self.challenges().issue(Purpose::Register(user.id), &party.id, self.now())?;
        let known = present.iter().filter(|passkey| passkey.rp_id == party.id);
        let known: Vec<Value> = known
            .map(|one| json!({"type": "public-key", "id": URL_SAFE_NO_PAD.encode(&one.credential)}))
            .collect();
        Ok(json!({
            "rp": {"id": party.id, "name": "Homeostat"},
            "user": {
                "id": URL_SAFE_NO_PAD.encode(ceremony::user_handle(user.id)),
                "name": user.name,
                "displayName": user.display_name,
            },
            "challenge": URL_SAFE_NO_PAD.encode(challenge),
            "pubKeyCredParams": key::ALGORITHMS.map(|alg| json!({"type": "public-key", "alg": alg})),
            "timeout": CHALLENGE_TIME.as_millis() as u64,
            "excludeCredentials": known,
            "authenticatorSelection": {
                "residentKey": "required", "requireResidentKey": true, "userVerification": "required",
            },
            "attestation": "none",
        }))
    }

    /// Registers a passkey of a user, by what `navigator.credentials.create()` gave.
    ///
    /// # Errors
    ///
    /// [`AccessError::Passkey`] where it does not hold, [`AccessError::NameTaken`] where the user has one of this name.
    pub fn add_passkey(
        &self,
        user: &UserRecord,
        name: &str,
        party: &RelyingParty,
        answer: &str,
    ) -> Result<PasskeyRecord, AccessError> {
        let name = checked(name)?;
        if user.oidc.is_some() {
            return Err(PasskeyError::OfProvider.into());
        }
        let (now, purpose) = (self.now(), Purpose::Register(user.id));
        let judge = |challenge: &[u8]| self.challenges().check(challenge, purpose, &party.id, now);
        let (made, fresh) = ceremony::registered(&Given::read(answer)?, party, judge)?;
        self.challenges().use_up(fresh, now)?;
        let passkey = PasskeyRecord {
            id: self.id(now),
            user: user.id,
            credential: made.credential,
            public_key: made.public_key,
            sign_count: made.sign_count,
            backup_eligible: made.backup_eligible,
            rp_id: party.id.clone(),
            name,
            created: now,
            used: None,
        };
        match self.store().add_passkey(&passkey, PASSKEYS_MAX)? {
            PasskeySaved::Saved => Ok(passkey),
            PasskeySaved::NameTaken => Err(AccessError::NameTaken(passkey.name)),
            PasskeySaved::CredentialTaken => Err(PasskeyError::Registered.into()),
            PasskeySaved::TooMany => Err(PasskeyError::TooMany.into()),
            PasskeySaved::UserGone => Err(AccessError::SessionEnded),
        }
    }

    /// The passkeys of whoever asks, oldest first.
    pub fn passkeys(&self, asker: &Identity) -> Result<Vec<PasskeyRecord>, AccessError> {
        match self.behind(asker)? {
            TokenOwner::User(user) => Ok(self.store().passkeys_of(user.id)?),
            TokenOwner::LocalToken => Ok(Vec::new()),
        }
    }

    /// The passkeys of a user, oldest first: for who manages access.
    pub fn passkeys_of(&self, user: &str) -> Result<Vec<PasskeyRecord>, AccessError> {
        Ok(self.store().passkeys_of(self.user(user)?.id)?)
    }

    /// A passkey with its user.
    ///
    /// # Errors
    ///
    /// [`AccessError::UnknownPasskey`] where there is none of this id.
    pub fn passkey(&self, id: PasskeyId) -> Result<(PasskeyRecord, UserRecord), AccessError> {
        self.store().passkey(id)?.ok_or(AccessError::UnknownPasskey(id))
    }

    /// Removes a passkey of a user: it signs in no more. Sessions that it began go on.
    ///
    /// # Errors
    ///
    /// [`AccessError::UnknownPasskey`] where the user has none of this id.
    pub fn remove_passkey(&self, user: &UserRecord, id: PasskeyId) -> Result<(), AccessError> {
        match self.store().remove_passkey(user.id, id)? {
            true => Ok(()),
            false => Err(AccessError::UnknownPasskey(id)),
        }
    }

    fn challenges(&self) -> &Challenges {
        &self.inner.passkeys.challenges
    }
}

/// What a user calls a passkey.
fn checked(name: &str) -> Result<String, AccessError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        let why = "give 1 to 64 characters, no control characters: what you know the passkey by";
        return Err(AccessError::field("name", why));
    }
    Ok(name.to_owned())
}
