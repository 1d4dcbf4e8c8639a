//! Users, tokens, passkeys and sessions on the wire. No shape has a field for a secret but those of what was just made.

use domain::{Identity, Permission, Proof, Role, Time};
use schemars::JsonSchema;
use serde::Serialize;
use store::{PasskeyRecord, SessionHolder, SessionRecord, TokenOwner, TokenRecord, UserRecord};

use crate::access::{Enrolment, LOCAL_TOKEN, MadeToken, RecoveryCodes, Secret};

/// Who asks, and what they may.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct IdentityShape {
    name: String,
    roles: Vec<&'static str>,
    permissions: Vec<&'static str>,
    /// `token` or `session`.
    proof: &'static str,
    /// The user behind a token or a session; null for the token in the data directory.
    user: Option<String>,
}

impl IdentityShape {
    pub(crate) fn new(identity: &Identity, user: Option<&UserRecord>) -> Self {
        Self {
            name: identity.name.clone(),
            roles: names(&identity.roles),
            permissions: identity.permissions.iter().map(Permission::name).collect(),
            proof: match identity.proof {
                Proof::None => "none",
                Proof::Token => "token",
                Proof::Session => "session",
            },
            user: user.map(|user| user.name.clone()),
        }
    }
}

/// A user.
#[derive(Serialize, JsonSchema)]
pub(crate) struct UserShape {
    name: String,
    display_name: String,
    roles: Vec<&'static str>,
    disabled: bool,
    /// Whether it can sign in by password.
    has_password: bool,
    /// Whether a code of an authenticator is asked for beside the password.
    has_totp: bool,
    /// The OpenID provider it signs in by.
    oidc_issuer: Option<String>,
    created_at: String,
    signed_in_at: Option<String>,
}

impl From<&UserRecord> for UserShape {
    fn from(user: &UserRecord) -> Self {
        Self {
            name: user.name.clone(),
            display_name: user.display_name.clone(),
            roles: names(&user.roles),
            disabled: user.disabled,
            has_password: user.password_hash.is_some(),
            has_totp: user.totp.is_some(),
            oidc_issuer: user.oidc.as_ref().map(|oidc| oidc.issuer.clone()),
            created_at: user.created.rfc3339(),
            signed_in_at: user.signed_in.map(Time::rfc3339),
        }
    }
}

/// What people manage of a user, as a text that is another wherever it is: what an entity tag is made of.
pub(crate) fn managed(user: &UserRecord) -> String {
    let UserRecord { id, display_name, roles, disabled, password_hash, totp, .. } = user;
    let password = password_hash.as_ref().map(|hash| hash.0.as_str());
    format!("{:?}", (id, display_name, roles, disabled, password, totp.is_some()))
}

/// A token, without its secret.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TokenShape {
    id: String,
    name: String,
    /// A user's name, or `local token`.
    owner: String,
    /// The name of the token that made it, with which it ends; null where none did.
    made_by: Option<String>,
    roles: Vec<&'static str>,
    /// What of its roles' permissions it has; null for all.
    scope: Option<Vec<&'static str>>,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    used_at: Option<String>,
}

impl From<&TokenRecord> for TokenShape {
    fn from(token: &TokenRecord) -> Self {
        Self {
            id: token.id.to_string(),
            name: token.name.clone(),
            owner: match &token.owner {
                TokenOwner::LocalToken => LOCAL_TOKEN.to_owned(),
                TokenOwner::User(user) => user.name.clone(),
            },
            made_by: token.made_by.clone(),
            roles: names(&token.roles),
            scope: token.scope.map(|scope| scope.iter().map(Permission::name).collect()),
            created_at: token.created.rfc3339(),
            expires_at: token.expires.map(Time::rfc3339),
            revoked_at: token.revoked.map(Time::rfc3339),
            used_at: token.used.map(Time::rfc3339),
        }
    }
}

/// A token that was just revoked.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RevokedTokenShape {
    #[serde(flatten)]
    pub(crate) record: TokenShape,
    /// The names of the tokens that ended with it, because it made them, or one that it made did.
    pub(crate) ended_with_it: Vec<String>,
}

/// A token that was just made.
#[derive(Serialize, JsonSchema)]
pub(crate) struct MadeTokenShape {
    /// The token itself. It is shown now and never again.
    token: String,
    #[serde(flatten)]
    record: TokenShape,
}

impl From<&MadeToken> for MadeTokenShape {
    fn from(made: &MadeToken) -> Self {
        Self { token: made.secret.expose().to_owned(), record: (&made.record).into() }
    }
}

/// A browser that is signed in.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SessionShape {
    id: String,
    user: String,
    signed_in_by: &'static str,
    user_agent: String,
    created_at: String,
    used_at: String,
    expires_at: String,
}

impl From<&SessionRecord> for SessionShape {
    fn from(session: &SessionRecord) -> Self {
        Self {
            id: session.id.to_string(),
            user: match &session.holder {
                SessionHolder::LocalToken(_) => LOCAL_TOKEN.to_owned(),
                SessionHolder::User(user) => user.name.clone(),
            },
            signed_in_by: session.signed_in_by.name(),
            user_agent: session.user_agent.clone(),
            created_at: session.created.rfc3339(),
            used_at: session.used.rfc3339(),
            expires_at: session.expires.rfc3339(),
        }
    }
}

/// A passkey, without its key.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PasskeyShape {
    id: String,
    /// Whose it is.
    user: String,
    /// What its user calls it.
    name: String,
    /// The host that it signs in to.
    host: String,
    /// Whether its authenticator may copy it to other devices.
    backup_eligible: bool,
    created_at: String,
    /// When it last signed in.
    used_at: Option<String>,
}

impl PasskeyShape {
    pub(crate) fn new(passkey: &PasskeyRecord, user: &str) -> Self {
        Self {
            id: passkey.id.to_string(),
            user: user.to_owned(),
            name: passkey.name.clone(),
            host: passkey.rp_id.clone(),
            backup_eligible: passkey.backup_eligible,
            created_at: passkey.created.rfc3339(),
            used_at: passkey.used.map(Time::rfc3339),
        }
    }
}

/// What an authenticator needs to know. It is shown now and never again.
#[derive(Serialize, JsonSchema)]
pub(crate) struct EnrolmentShape {
    /// The `otpauth://` address.
    uri: String,
    /// The secret as people type it.
    secret: String,
    /// The address as a QR code in SVG.
    picture: String,
}

impl From<&Enrolment> for EnrolmentShape {
    fn from(enrolment: &Enrolment) -> Self {
        let text = |secret: &Secret| secret.expose().to_owned();
        Self { uri: text(&enrolment.uri), secret: text(&enrolment.typed), picture: text(&enrolment.picture) }
    }
}

/// Codes that sign in once each. They are shown now and never again.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RecoveryCodesShape {
    recovery_codes: Vec<String>,
}

impl From<&RecoveryCodes> for RecoveryCodesShape {
    fn from(RecoveryCodes(codes): &RecoveryCodes) -> Self {
        Self { recovery_codes: codes.iter().map(|code| code.expose().to_owned()).collect() }
    }
}

fn names(roles: &[Role]) -> Vec<&'static str> {
    roles.iter().map(|role| role.name()).collect()
}
