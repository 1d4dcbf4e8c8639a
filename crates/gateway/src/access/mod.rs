//! Who asks, and what they may: users, tokens, sessions and signing in.
//!
//! In: what a request carries, and what people ask to be changed about each other. Out: a [`domain::Identity`], records
//! without secrets, or an [`AccessError`]. Everything that is kept is the store's; this module hashes, seals, compares and
//! bounds.
//!
//! - [`Access::identify`] turns headers into an identity, and is the only place that does.
//! - A secret is shown once, when it is made. What is kept is a hash of it; TOTP secrets, which have to be read again, are
//!   sealed under a key outside the database ([`SealingKey`]).
//! - Whoever has the token in the data directory is an admin, without a user: it makes the first one, and is the way in
//!   when everybody else is shut out.
//! - Every call may take the time of a hash or of a synced write: handlers make them on the pool for blocking calls.
//!
//! Deliberately absent: mail. Who forgets a password asks an admin for another.

mod attempts;
mod bearer;
mod cookie;
mod error;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fixture;
mod identify;
mod oidc;
mod passkey;
mod password;
mod picture;
mod seal;
mod second_factor;
mod secret;
mod sessions;
mod shown;
mod sign_in;
#[cfg(test)]
mod tests;
mod tokens;
mod totp;
mod users;

use std::fmt;
use std::sync::{Arc, Mutex};

pub use domain::access::LOCAL_TOKEN;
use domain::access::{Permissions, TOKEN_NAME};
use domain::{AnonymousReads, Clock, IdSource, Identity, Permission, Proof, Role, Time};
use store::{Hash, Store, Subscription, TokenOwner, Topic};
use tokio::sync::watch;

use attempts::Attempts;
use oidc::Oidc;
use passkey::Passkeys;
use password::Hashing;

pub(crate) use attempts::source_of;
pub use cookie::{SessionCookie, Transport};
pub use error::AccessError;
pub use oidc::{BegunOidc, OidcConfig, OidcError, OidcReturn};
pub use passkey::{PasskeyError, PasskeySignIn, RelyingParty};
pub use password::PASSWORD_LENGTH;
pub use seal::{KeyFileError, SealingKey};
pub use second_factor::{Enrolment, RecoveryCodes};
pub use secret::Secret;
pub use sessions::{SESSION_IDLE, SESSION_LENGTH};
pub(crate) use shown::Shown;
pub use sign_in::{SignIn, SignedIn};
pub use store::{EndedSessions, Factors};
pub use tokens::{MadeToken, TokenRequest};
pub(crate) use users::is_user_name;
pub use users::{Admission, UserRequest, UserUpdate};

/// What access depends on beside the store.
#[derive(Debug)]
pub struct AccessConfig {
    /// Seals TOTP secrets; `None`: nobody can enrol TOTP.
    pub key: Option<SealingKey>,
    /// Whether who proves nothing may read, from this machine.
    pub anonymous_reads: AnonymousReads,
    /// By whom people may sign in; `None`: by password alone.
    pub oidc: Option<OidcConfig>,
}

impl Default for AccessConfig {
    /// No TOTP; reads on loopback need no proof.
    fn default() -> Self {
        Self { key: None, anonymous_reads: AnonymousReads::Allowed, oidc: None }
    }
}

/// Users, tokens and sessions. Cheap to clone; all clones are one.
///
/// # Errors
///
/// Every method that returns a `Result` fails with [`AccessError::Store`] where the store does; what else is refused, its
/// [`AccessError`] says in a sentence for who asked.
#[derive(Clone)]
pub struct Access {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    clock: Arc<dyn Clock>,
    local_token: Hash,
    config: AccessConfig,
    hashing: Hashing,
    attempts: Mutex<Attempts>,
    ids: Mutex<IdSource>,
    oidc: Option<Oidc>,
    passkeys: Passkeys,
    /// Counts changes of users, tokens and sessions.
    changes: Arc<watch::Sender<u64>>,
    _subscription: Subscription,
}

impl fmt::Debug for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Access").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

impl Access {
    /// Over a store, with the token of the data directory.
    pub fn new(store: Store, clock: Arc<dyn Clock>, local_token: &str, config: AccessConfig) -> Self {
        let now = clock.now();
        let ids = IdSource::seeded(now.boot_us.rotate_left(17) ^ now.wall_us.unsigned_abs());
        let changes = Arc::new(watch::Sender::new(0));
        let subscription = store.subscribe({
            let changes = Arc::clone(&changes);
            move |changed| {
                if changed.topic == Topic::Access {
                    changes.send_modify(|count| *count += 1);
                }
            }
        });
        Self {
            inner: Arc::new(Inner {
                changes,
                _subscription: subscription,
                store,
                clock,
                local_token: secret::hash(local_token),
                oidc: config.oidc.clone().map(Oidc::new),
                config,
                hashing: Hashing::default(),
                attempts: Mutex::default(),
                ids: Mutex::new(ids),
                passkeys: Passkeys::default(),
            }),
        }
    }

    /// By whom people may sign in beside their passwords; `None` where nobody is configured.
    pub fn oidc_issuer(&self) -> Option<&str> {
        self.inner.config.oidc.as_ref().map(|oidc| oidc.issuer.as_str())
    }

    /// Whether second factors can be enrolled: they are sealed under a key.
    pub(crate) fn can_enrol(&self) -> bool {
        self.inner.config.key.is_some()
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }

    fn now(&self) -> Time {
        self.inner.clock.now()
    }

    fn id<T: From<uuid::Uuid>>(&self, now: Time) -> T {
        crate::serve::lock(&self.inner.ids).next(now)
    }

    /// Who stands behind an identity: what it makes is theirs.
    fn behind(&self, identity: &Identity) -> Result<TokenOwner, AccessError> {
        let gone = || AccessError::UnknownUser(identity.name.clone());
        if identity.proof == Proof::None {
            return Err(AccessError::TokenMissing { permission: Permission::AccessManage });
        }
        if identity.name == LOCAL_TOKEN {
            return Ok(TokenOwner::LocalToken);
        }
        if let Some(token) = identity.name.strip_prefix(TOKEN_NAME) {
            return Ok(self.store().token_of_name(token)?.ok_or_else(gone)?.owner);
        }
        Ok(TokenOwner::User(self.store().user(&identity.name)?.ok_or_else(gone)?))
    }

    /// The same, for what is not one token's to see or to end: a token that may less than its owner is not its owner.
    fn wholly_behind(&self, identity: &Identity, what: &'static str) -> Result<TokenOwner, AccessError> {
        let behind = self.behind(identity)?;
        if is_whole(identity, &behind) || identity.may(Permission::AccessManage) {
            return Ok(behind);
        }
        Err(AccessError::narrow(identity, what))
    }
}

/// Whether an identity may all that who stands behind it may: no scope narrows it, and no role was left out.
fn is_whole(identity: &Identity, behind: &TokenOwner) -> bool {
    let theirs = match behind {
        TokenOwner::LocalToken => Permissions::all(),
        TokenOwner::User(user) => Role::permissions_of(&user.roles),
    };
    theirs.within(identity.permissions) == theirs
}

/// Who holds the token in the data directory.
fn local(proof: Proof) -> Identity {
    Identity::proven(LOCAL_TOKEN, proof, vec![Role::Admin], None)
}
