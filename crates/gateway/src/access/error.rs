//! Why access was refused, and how it is said on the wire.

use domain::{Identity, PasskeyId, Permission, Role};
use store::StoreError;

use super::oidc::OidcError;
use super::passkey::PasskeyError;
use crate::problem::{Code, Listed, Problem, chain};

/// Why access was refused, or a change to it.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Nothing was proven where something has to be.
    #[error(
        "this needs the permission {permission}: sign in, or send `Authorization: Bearer TOKEN`; the first token is in the file `token` in the data directory"
    )]
    TokenMissing {
        /// What was asked for.
        permission: Permission,
    },
    /// Nothing was proven where one's own is asked for.
    #[error("this is for whoever proved who they are: sign in, or send `Authorization: Bearer TOKEN`")]
    NotSignedIn,
    /// The session a connection was opened by is over.
    #[error("the session is over; sign in again")]
    SessionEnded,
    /// Roles or scope a connection was opened with were taken away.
    #[error("what may be seen by this connection was changed; open it again")]
    Narrowed,
    /// No such token.
    #[error(
        "the token is none of this server's; copy it whole, or have one made. The first is in the file `token` in the data directory"
    )]
    WrongToken,
    /// Its time is over.
    #[error("the token {name} expired at {at}; have another made")]
    TokenExpired {
        /// Its name.
        name: String,
        /// When, RFC 3339.
        at: String,
    },
    /// It was revoked, or its owner was shut out.
    #[error("the token {name} is revoked: {why}")]
    TokenRevoked {
        /// Its name.
        name: String,
        /// By what.
        why: String,
    },
    /// Proven, but not allowed.
    #[error("{who} may not {}: that needs the permission {permission}, which {holders} hold; {who} has {has}", permission.meaning())]
    Forbidden {
        /// Who one is.
        who: String,
        /// What it takes.
        permission: Permission,
        /// The roles that hold it.
        holders: String,
        /// What one has.
        has: String,
    },
    /// A token was asked for what is its owner's.
    #[error(
        "{who} may less than its owner, and {what}; sign in as the owner, or have it done by who holds the permission {permission}"
    )]
    Narrow {
        /// Who asks.
        who: String,
        /// What it may not therefore.
        what: &'static str,
        /// What it takes.
        permission: Permission,
    },
    /// No such user, not this password, not this code, or shut out: which of them is not told.
    #[error("the name, the password or the code is wrong, or the user is disabled; nothing says which")]
    SignInRefused,
    /// The password was right, and TOTP is enrolled.
    #[error("send the code of the authenticator too, or a recovery code")]
    CodeNeeded,
    /// Too many were wrong.
    #[error(
        "too many attempts; try again in {seconds} s. The token in the file `token` of the data directory signs in at any time"
    )]
    TooManyAttempts {
        /// How long to wait.
        seconds: u64,
    },
    /// All hashing is taken.
    #[error("too many are signing in at once; try again in a second")]
    Busy,
    /// There is no such user.
    #[error("there is no user {0:?}")]
    UnknownUser(String),
    /// There is no such token.
    #[error("there is no token {0:?} that could be revoked")]
    UnknownToken(String),
    /// There is no such passkey.
    #[error("there is no passkey {0} of this user; the list of passkeys has their ids")]
    UnknownPasskey(PasskeyId),
    /// Somebody else is called so.
    #[error("{0:?} is taken; choose another name")]
    NameTaken(String),
    /// A field is not as it has to be.
    #[error("{why}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it has to be.
        why: String,
    },
    /// A token would be able to do what its owner, or who makes it, cannot.
    #[error("a token may do no more than {who}, who lacks {lacks}; leave that out, or let an admin make it")]
    BeyondOwner {
        /// Whose rights bound it.
        who: String,
        /// What they lack.
        lacks: String,
    },
    /// Somebody would be given, or lose, what the asker does not hold.
    #[error("{who} lacks {lacks}, and so can neither give that nor change who holds it; an admin can")]
    BeyondAsker {
        /// Who asks.
        who: String,
        /// What they lack.
        lacks: String,
    },
    /// One's own account was asked for by who has none.
    #[error("the token in the data directory is no user's; sign in as the user whose account it is about")]
    NoUser,
    /// Something else was changed meanwhile.
    #[error("{0}; look again, and repeat what still holds")]
    Changed(&'static str),
    /// TOTP cannot be kept without a key.
    #[error(
        "this server has no key to seal TOTP secrets with; start it with a data directory it can write to"
    )]
    NoKey,
    /// What was sealed does not open.
    #[error(
        "the TOTP secret of {user} cannot be read: the file `access.key` of the data directory is not the one it was sealed with. Sign in with a recovery code, restore that file, or remove the user's TOTP and enrol it anew"
    )]
    Unsealable {
        /// Whose.
        user: String,
    },
    /// The machine gave no random bytes.
    #[error("the machine gives no random numbers; nothing was made")]
    Randomness,
    /// A password could not be hashed.
    #[error("the password could not be hashed: {0}")]
    Hashing(String),
    /// Signing in by an OpenID provider came to nothing.
    #[error(transparent)]
    Oidc(#[from] OidcError),
    /// A passkey does not hold.
    #[error("the passkey was not taken: {0}")]
    Passkey(PasskeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AccessError {
    pub(super) fn field(field: &'static str, why: impl Into<String>) -> Self {
        Self::Field { field, why: why.into() }
    }

    /// The refusal of a permission, by whether anything was proven.
    pub(crate) fn lacks(identity: &Identity, permission: Permission) -> Self {
        if identity.proof == domain::Proof::None {
            return Self::TokenMissing { permission };
        }
        let names =
            |roles: &mut dyn Iterator<Item = Role>| roles.map(Role::name).collect::<Vec<_>>().join(", ");
        let has = match names(&mut identity.roles.iter().copied()) {
            none if none.is_empty() => "no role".to_owned(),
            roles if Role::permissions_of(&identity.roles).allows(permission) => {
                format!("{roles}, but a scope without it")
            }
            roles => roles,
        };
        Self::Forbidden {
            who: identity.name.clone(),
            permission,
            holders: names(&mut Role::ALL.into_iter().filter(|role| role.permissions().allows(permission))),
            has,
        }
    }

    /// The refusal of what is the owner's to a token that may less.
    pub(super) fn narrow(identity: &Identity, what: &'static str) -> Self {
        Self::Narrow { who: identity.name.clone(), what, permission: Permission::AccessManage }
    }

    /// The stable code on the wire, as its name.
    pub fn code(&self) -> &'static str {
        self.problem_code().name()
    }

    /// The stable code on the wire.
    pub(crate) fn problem_code(&self) -> Code {
        match self {
            Self::TokenMissing { .. } | Self::NotSignedIn => Code::TokenMissing,
            Self::SessionEnded => Code::SessionEnded,
            Self::Narrowed => Code::Forbidden,
            Self::WrongToken => Code::WrongToken,
            Self::TokenExpired { .. } => Code::TokenExpired,
            Self::TokenRevoked { .. } => Code::TokenRevoked,
            Self::Forbidden { .. } | Self::Narrow { .. } => Code::Forbidden,
            Self::SignInRefused => Code::SignInRefused,
            Self::CodeNeeded => Code::SecondFactorNeeded,
            Self::TooManyAttempts { .. } => Code::TooManyAttempts,
            Self::Busy => Code::Busy,
            Self::UnknownUser(_) | Self::UnknownToken(_) | Self::UnknownPasskey(_) => Code::NotFound,
            Self::NameTaken(_) => Code::NameTaken,
            Self::Field { .. } => Code::InvalidField,
            Self::BeyondOwner { .. } => Code::BeyondOwner,
            Self::BeyondAsker { .. } => Code::Forbidden,
            Self::NoUser => Code::Conflict,
            Self::Changed(_) => Code::ChangedMeanwhile,
            Self::NoKey => Code::NoSealingKey,
            Self::Unsealable { .. } => Code::Unsealable,
            Self::Oidc(OidcError::NotConfigured) => Code::OidcNotConfigured,
            Self::Oidc(OidcError::Provider { .. }) => Code::OidcProvider,
            Self::Oidc(OidcError::NoRole { .. }) => Code::OidcNoRole,
            Self::Oidc(_) => Code::OidcRefused,
            Self::Passkey(_) => Code::PasskeyRefused,
            Self::Randomness | Self::Hashing(_) | Self::Store(_) => Code::Internal,
        }
    }
}

/// Not as a cause: the message says it already.
impl From<PasskeyError> for AccessError {
    fn from(error: PasskeyError) -> Self {
        Self::Passkey(error)
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        let mut problem = Self::new(error.problem_code(), chain(&error));
        match error {
            AccessError::Store(error) => return error.into(),
            AccessError::UnknownUser(_) => problem.listed = Some(Listed::Users),
            AccessError::UnknownToken(_) => problem.listed = Some(Listed::Tokens),
            AccessError::Field { field, .. } => problem.field = Some(field.to_owned()),
            AccessError::Forbidden { permission, .. } | AccessError::Narrow { permission, .. } => {
                problem.field = Some(permission.name().to_owned());
            }
            AccessError::TooManyAttempts { seconds } => problem.retry_after_seconds = Some(seconds),
            AccessError::Busy => problem.retry_after_seconds = Some(1),
            _ => {}
        }
        problem
    }
}
