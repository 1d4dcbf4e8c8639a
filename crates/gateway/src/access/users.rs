//! Users: made, given roles, shut out, given passwords.
//!
//! These functions do what they are asked: whether the asker may is `require`'s business, before they are called.

use domain::Role;
use store::{UserRecord, UserSaved};

use super::error::AccessError;
use super::secret::Secret;
use super::{Access, password};

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
        let display_name = match request.display_name.trim() {
            "" => request.name.clone(),
            name if name.chars().count() > NAME_MAX || name.chars().any(char::is_control) => {
                return Err(AccessError::field(
                    "display_name",
                    "give at most 64 characters, no control characters",
                ));
            }
            name => name.to_owned(),
        };
        let password_hash = match &request.password {
            Some(given) => {
                password::check(given, &request.name)?;
                Some(self.inner.hashing.hash(given)?)
            }
            None => None,
        };
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

    /// Gives a user other roles, which hold from the next request on, for its tokens too.
    pub fn set_roles(&self, name: &str, roles: Vec<Role>) -> Result<(), AccessError> {
        let roles = checked(roles)?;
        self.known(name, self.store().set_user_roles(name, &roles)?)
    }

    /// Shuts a user out, with its sessions and tokens, or lets it in again.
    pub fn set_admission(&self, name: &str, admission: Admission) -> Result<(), AccessError> {
        self.known(name, self.store().set_user_disabled(name, admission == Admission::Disabled)?)
    }

    /// Gives a user another password, which ends all its sessions. Where it is the user who asks, ask for
    /// the present one first ([`Access::confirm_password`]).
    pub fn set_password(&self, name: &str, new: &Secret) -> Result<(), AccessError> {
        let user = self.user(name)?;
        password::check(new, &user.name)?;
        let hash = self.inner.hashing.hash(new)?;
        self.known(name, self.store().set_user_password(name, &hash)?)
    }

    pub(super) fn known(&self, name: &str, found: bool) -> Result<(), AccessError> {
        if found { Ok(()) } else { Err(AccessError::UnknownUser(name.to_owned())) }
    }
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
