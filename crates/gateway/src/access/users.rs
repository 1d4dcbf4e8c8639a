//! Users: made, given roles, shut out, given passwords.
//!
//! These functions do what they are asked: whether the asker may is `require`'s business, before they are called. What
//! goes beyond the asker's own rights is [`Access::bound_to`]'s.

use domain::{Identity, Permission, Role};
use store::{EndedSessions, Factors, UserChange, UserChanged, UserRecord, UserSaved};

use super::error::AccessError;
use super::secret::Secret;
use super::{Access, TokenOwner, password};

/// Names that stand for something else where it is recorded who asked.
const RESERVED: [&str; 4] = ["anonymous", "homeostat", "healing", "chaos"];

/// The longest name of a user or a token.
pub(super) const NAME_MAX: usize = 64;

/// A user to be made.
#[derive(Debug, Clone)]
pub struct UserRequest {
    /// What it signs in with: lower-case letters, digits and `. _ @ + -`, beginning with a letter or digit.
    pub name: String,
    /// What people call it; empty for the name.
    pub display_name: String,
    /// What it may do.
    pub roles: Vec<Role>,
    /// `None`: it signs in by an OpenID provider, or is given one later.
    pub password: Option<Secret>,
}

/// What is to change about a user; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct UserUpdate {
    /// What people call it; empty for the name.
    pub display_name: Option<String>,
    /// What it may do, from the next request on, and its tokens with it.
    pub roles: Option<Vec<Role>>,
    /// Whether it is let in.
    pub admission: Option<Admission>,
    /// Another password, which ends sessions.
    pub password: Option<Secret>,
    /// Whether second factor and passkeys go, which ends sessions.
    pub factors: Factors,
    /// Which sessions end, where any do.
    pub sessions: EndedSessions,
}

/// Whether a user is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may sign in, and its tokens work.
    Enabled,
    /// Neither, and its sessions ended.
    Disabled,
}

impl Access {
    /// Makes a user.
    pub fn create_user(&self, request: UserRequest) -> Result<UserRecord, AccessError> {
        check_name(&request.name)?;
        let roles = checked(request.roles)?;
        let display_name = shown(&request.display_name, &request.name)?;
        let password_hash = self.hashed(request.password.as_ref(), &request.name)?;
        let now = self.now();
        let user = UserRecord {
            id: self.id(now),
            name: request.name,
            display_name,
            roles,
            password_hash,
            totp: None,
            totp_pending: None,
            totp_step: None,
            oidc: None,
            disabled: false,
            created: now,
            signed_in: None,
        };
        match self.store().add_user(&user)? {
            UserSaved::Saved => Ok(user),
            UserSaved::NameTaken => Err(AccessError::NameTaken(user.name)),
        }
    }

    /// All users by name.
    pub fn users(&self) -> Result<Vec<UserRecord>, AccessError> {
        Ok(self.store().users()?)
    }

    /// One user.
    pub fn user(&self, name: &str) -> Result<UserRecord, AccessError> {
        self.store().user(name)?.ok_or_else(|| AccessError::UnknownUser(name.to_owned()))
    }

    /// Changes a user in everything that is asked, or in nothing; only as it was `read`.
    ///
    /// # Errors
    ///
    /// [`AccessError::Changed`] where somebody else changed it since it was read.
    pub fn update_user(&self, read: &UserRecord, update: UserUpdate) -> Result<UserRecord, AccessError> {
        let change = UserChange {
            display_name: update.display_name.map(|given| shown(&given, &read.name)).transpose()?,
            roles: update.roles.map(checked).transpose()?,
            disabled: update.admission.map(|admission| admission == Admission::Disabled),
            password_hash: self.hashed(update.password.as_ref(), &read.name)?,
            factors: update.factors,
            sessions: update.sessions,
        };
        match self.store().update_user(read, &change)? {
            UserChanged::Changed(user) => Ok(*user),
            UserChanged::Unknown => Err(AccessError::UnknownUser(read.name.clone())),
            UserChanged::Meanwhile => Err(AccessError::Changed("somebody else changed this user meanwhile")),
        }
    }

    /// Shuts a user out for good: sessions end, tokens are revoked with those they made, password, second factor and passkeys
    /// go. The name stays taken. Returns the names of the tokens that ended.
    pub fn retire_user(&self, name: &str) -> Result<Vec<String>, AccessError> {
        let ended = self.store().retire_user(name, self.now())?;
        ended.ok_or_else(|| AccessError::UnknownUser(name.to_owned()))
    }

    /// Refuses roles that hold what the asker lacks: a token with a scope must not make, or become by a password, somebody
    /// who may more.
    pub(crate) fn bound_to(&self, asker: &Identity, roles: &[Role]) -> Result<(), AccessError> {
        let lacks = Role::permissions_of(roles).iter().filter(|permission| !asker.may(*permission));
        let lacks: Vec<&str> = lacks.map(Permission::name).collect();
        if lacks.is_empty() {
            return Ok(());
        }
        Err(AccessError::BeyondAsker { who: asker.name.clone(), lacks: lacks.join(", ") })
    }

    /// The user behind who asks.
    ///
    /// # Errors
    ///
    /// [`AccessError::NoUser`] where the token of the data directory asks.
    pub(crate) fn own_user(&self, asker: &Identity) -> Result<UserRecord, AccessError> {
        match self.behind(asker)? {
            TokenOwner::User(user) => Ok(user),
            TokenOwner::LocalToken => Err(AccessError::NoUser),
        }
    }

    fn hashed(
        &self,
        password: Option<&Secret>,
        name: &str,
    ) -> Result<Option<store::PasswordHash>, AccessError> {
        let Some(given) = password else { return Ok(None) };
        password::check(given, name)?;
        Ok(Some(self.inner.hashing.hash(given)?))
    }

    /// Gives a user other roles, which hold from the next request on, for its tokens too.
    pub fn set_roles(&self, name: &str, roles: Vec<Role>) -> Result<(), AccessError> {
        let roles = checked(roles)?;
        self.known(name, self.store().set_user_roles(name, &roles)?)
    }

    /// Shuts a user out, with its sessions and tokens, or lets it in again.
    pub fn set_admission(&self, name: &str, admission: Admission) -> Result<(), AccessError> {
        self.known(name, self.store().set_user_disabled(name, admission == Admission::Disabled)?)
    }

    pub(super) fn known(&self, name: &str, found: bool) -> Result<(), AccessError> {
        if found { Ok(()) } else { Err(AccessError::UnknownUser(name.to_owned())) }
    }
}

/// What people call a user.
fn shown(given: &str, name: &str) -> Result<String, AccessError> {
    match given.trim() {
        "" => Ok(name.to_owned()),
        given if given.chars().count() > NAME_MAX || given.chars().any(char::is_control) => {
            Err(AccessError::field("display_name", "give at most 64 characters, no control characters"))
        }
        given => Ok(given.to_owned()),
    }
}

/// Whether a user may be called so.
pub(crate) fn is_user_name(name: &str) -> bool {
    check_name(name).is_ok()
}

pub(super) fn check_name(name: &str) -> Result<(), AccessError> {
    let refused = |why: &str| Err(AccessError::field("name", why.to_owned()));
    let signs =
        name.bytes().all(|sign| matches!(sign, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'@' | b'+' | b'-'));
    if !signs || !name.starts_with(|sign: char| sign.is_ascii_alphanumeric()) || name.len() > NAME_MAX {
        return refused(
            "give 1 to 64 of lower-case letters, digits and . _ @ + -, beginning with a letter or digit",
        );
    }
    if RESERVED.contains(&name) {
        return refused("this name stands for something else in the records; choose another");
    }
    Ok(())
}

/// Each role once, in the order of the table.
pub(super) fn checked(roles: Vec<Role>) -> Result<Vec<Role>, AccessError> {
    let each: Vec<Role> = Role::ALL.into_iter().filter(|role| roles.contains(role)).collect();
    if each.is_empty() {
        return Err(AccessError::field("roles", "give at least one of viewer, operator, approver, admin"));
    }
    Ok(each)
}
