//! Why access was refused, and how it is said on the wire.

use axum::http::StatusCode;
use domain::{Identity, Permission, Role};
use store::StoreError;

use super::oidc::OidcError;
use crate::problem::{Problem, chain};

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
    #[error("there is no user {0:?}; the list of users has their names")]
    UnknownUser(String),
    /// There is no such token.
    #[error("there is no token {0:?} that could be revoked; the list of tokens has their ids")]
    UnknownToken(String),
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
        "the TOTP secret of {user} cannot be read: the file `access.key` of the data directory is not the one it was sealed with. Restore it, or remove the user's TOTP and enrol it anew"
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

    /// The stable code on the wire.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TokenMissing { .. } => "token_missing",
            Self::WrongToken => "wrong_token",
            Self::TokenExpired { .. } => "token_expired",
            Self::TokenRevoked { .. } => "token_revoked",
            Self::Forbidden { .. } => "forbidden",
            Self::SignInRefused => "sign_in_refused",
            Self::CodeNeeded => "code_needed",
            Self::TooManyAttempts { .. } => "too_many_attempts",
            Self::Busy => "busy",
            Self::UnknownUser(_) | Self::UnknownToken(_) => "not_found",
            Self::NameTaken(_) => "name_taken",
            Self::Field { .. } => "invalid_field",
            Self::BeyondOwner { .. } => "beyond_owner",
            Self::Changed(_) => "changed_meanwhile",
            Self::NoKey => "no_sealing_key",
            Self::Unsealable { .. } => "unsealable",
            Self::Oidc(OidcError::NotConfigured) => "oidc_not_configured",
            Self::Oidc(OidcError::Provider { .. }) => "oidc_provider",
            Self::Oidc(OidcError::NoRole { .. }) => "oidc_no_role",
            Self::Oidc(_) => "oidc_refused",
            Self::Randomness | Self::Hashing(_) | Self::Store(_) => "internal",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::TokenMissing { .. }
            | Self::WrongToken
            | Self::TokenExpired { .. }
            | Self::TokenRevoked { .. }
            | Self::SignInRefused
            | Self::CodeNeeded => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } | Self::BeyondOwner { .. } => StatusCode::FORBIDDEN,
            Self::TooManyAttempts { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Oidc(OidcError::NotConfigured) => StatusCode::NOT_FOUND,
            Self::Oidc(OidcError::Provider { .. }) => StatusCode::BAD_GATEWAY,
            Self::Oidc(OidcError::NoRole { .. }) => StatusCode::FORBIDDEN,
            Self::Oidc(_) => StatusCode::UNAUTHORIZED,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::UnknownUser(_) | Self::UnknownToken(_) => StatusCode::NOT_FOUND,
            Self::NameTaken(_) | Self::Changed(_) | Self::NoKey => StatusCode::CONFLICT,
            Self::Field { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unsealable { .. } | Self::Randomness | Self::Hashing(_) | Self::Store(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        let mut problem = Self::new(error.status(), error.code(), chain(&error));
        match error {
            AccessError::Store(error) => return error.into(),
            AccessError::Field { field, .. } => problem.field = Some(field.to_owned()),
            AccessError::TooManyAttempts { seconds } => problem.retry_after_seconds = Some(seconds),
            AccessError::Busy => problem.retry_after_seconds = Some(1),
            _ => {}
        }
        problem
    }
}
