//! API tokens: made, listed, revoked.
//!
//! A token may never do more than its owner, nor than who makes it: when it is made that is refused, and when it is used it
//! has what its owner still has. What a token makes ends with it, and has no more than it still has.

use domain::access::Permissions;
use domain::{Identity, Permission, Role, Time, TokenId};
use store::{NewToken, TokenOwner, TokenRecord};

use super::error::AccessError;
use super::secret::Secret;
use super::users::{NAME_MAX, checked};
use super::{Access, LOCAL_TOKEN, TOKEN_NAME, bearer, is_whole};

/// So many tokens may have made each other in a row: all of them are looked at whenever the last is used.
const MAKERS_MAX: usize = 8;

/// A token to be made.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// What it is recorded by; no other token has or had it.
    pub name: String,
    /// Whose it is to be; `None` for the asker's.
    pub owner: Option<String>,
    /// Its roles.
    pub roles: Vec<Role>,
    /// What of these it may; `None` for all of it.
    pub scope: Option<Permissions>,
    /// When it ends; `None` for never.
    pub expires: Option<Time>,
}

/// A token that was made.
#[derive(Debug)]
pub struct MadeToken {
    /// The token itself. It is shown now and never again.
    pub secret: Secret,
    /// What is kept of it.
    pub record: TokenRecord,
}

impl Access {
    /// Makes a token.
    pub fn create_token(&self, asker: &Identity, request: TokenRequest) -> Result<MadeToken, AccessError> {
        let name = request.name.trim().to_owned();
        if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
            return Err(AccessError::field("name", "give 1 to 64 characters, no control characters"));
        }
        let now = self.now();
        if request.expires.is_some_and(|end| now.reached(end)) {
            return Err(AccessError::field("expires_at", "give a time that has not passed"));
        }
        let made_by = self.maker(asker, request.expires)?;
        let roles = checked(request.roles)?;
        let owner = self.owner_of_new(asker, request.owner.as_deref())?;
        let may = allowed(&roles, request.scope)?;
        let (who, theirs) = match &owner {
            TokenOwner::LocalToken => (LOCAL_TOKEN, Permissions::all()),
            TokenOwner::User(user) => (user.name.as_str(), Role::permissions_of(&user.roles)),
        };
        bounded(Role::permissions_of(&roles), who, theirs)?;
        bounded(may, &asker.name, asker.permissions)?;
        let secret = bearer::mint()?;
        let token = NewToken {
            id: self.id(now),
            name,
            secret: secret.hash(),
            owner: match &owner {
                TokenOwner::LocalToken => None,
                TokenOwner::User(user) => Some(user.id),
            },
            made_by,
            roles,
            scope: request.scope,
            created: now,
            expires: request.expires,
        };
        if !self.store().add_token(&token)? {
            return Err(AccessError::NameTaken(token.name));
        }
        let NewToken { id, name, roles, scope, created, expires, .. } = token;
        let made_by = made_by.and(asker.name.strip_prefix(TOKEN_NAME)).map(str::to_owned);
        let (revoked, used) = (None, None);
        let record = TokenRecord { id, name, owner, made_by, roles, scope, created, expires, revoked, used };
        Ok(MadeToken { secret, record })
    }

    /// The asker's tokens, newest first, or all where it manages access. A token that may less than its owner sees itself and
    /// what it made.
    pub fn tokens(&self, asker: &Identity) -> Result<Vec<TokenRecord>, AccessError> {
        let all = self.store().tokens()?;
        if asker.may(Permission::AccessManage) {
            return Ok(all);
        }
        let behind = self.behind(asker)?;
        let is_whole = is_whole(asker, &behind);
        let is_seen = |token: &TokenRecord| match is_whole {
            true => same(&token.owner, &behind),
            false => is_or_made(asker, token),
        };
        Ok(all.into_iter().filter(is_seen).collect())
    }

    /// Ends a token of the asker's, or any where it manages access, with all that it made. Returns the names of these others. A
    /// token that may less than its owner ends itself and what it made.
    pub fn revoke_token(&self, asker: &Identity, id: TokenId) -> Result<Vec<String>, AccessError> {
        let unknown = || AccessError::UnknownToken(id.to_string());
        let token = self.store().token(id)?.ok_or_else(unknown)?;
        if !asker.may(Permission::AccessManage) {
            let behind = self.behind(asker)?;
            if !same(&token.owner, &behind) {
                return Err(unknown());
            }
            if !is_whole(asker, &behind) && !is_or_made(asker, &token) {
                return Err(AccessError::narrow(asker, "ends no tokens but itself and those it made"));
            }
        }
        self.store().revoke_token(id, self.now())?.ok_or_else(unknown)
    }

    /// The token that asks for another, where one does and may.
    ///
    /// What it makes ends when it does, at the latest: else who holds it for an hour would hold it for good. One with a scope
    /// makes none, unless the scope is about access: who gave it a scope meant it for that alone.
    fn maker(&self, asker: &Identity, expires: Option<Time>) -> Result<Option<TokenId>, AccessError> {
        let Some(name) = asker.name.strip_prefix(TOKEN_NAME) else { return Ok(None) };
        let gone = || AccessError::UnknownToken(name.to_owned());
        let token = self.store().token_of_name(name)?.ok_or_else(gone)?;
        if token.scope.is_some() && !asker.may(Permission::AccessManage) {
            return Err(AccessError::narrow(asker, "with a scope it makes no tokens"));
        }
        if token.made_by.is_some() && self.store().makers_of_token(token.id)?.len() + 1 >= MAKERS_MAX {
            let why = format!("{} is the last of {MAKERS_MAX} tokens that made each other", asker.name);
            return Err(AccessError::field(
                "name",
                format!("{why}; make it by one of the first, or signed in"),
            ));
        }
        let Some(end) = token.expires else { return Ok(Some(token.id)) };
        // By the wall clock, as people write both.
        if expires.is_some_and(|expires| expires.wall_us <= end.wall_us) {
            return Ok(Some(token.id));
        }
        let why = format!("{} ends at {}; give that or an earlier time", asker.name, end.rfc3339());
        Err(AccessError::field("expires_at", why))
    }

    fn owner_of_new(&self, asker: &Identity, owner: Option<&str>) -> Result<TokenOwner, AccessError> {
        let behind = self.behind(asker)?;
        let Some(name) = owner else { return Ok(behind) };
        if matches!(&behind, TokenOwner::User(user) if user.name == name) {
            return Ok(behind);
        }
        if !asker.may(Permission::AccessManage) {
            return Err(AccessError::lacks(asker, Permission::AccessManage));
        }
        Ok(TokenOwner::User(self.user(name)?))
    }
}

/// What a token may by itself: its scope, which its roles must hold.
fn allowed(roles: &[Role], scope: Option<Permissions>) -> Result<Permissions, AccessError> {
    let all = Role::permissions_of(roles);
    let Some(scope) = scope else { return Ok(all) };
    if scope == Permissions::NONE {
        return Err(AccessError::field("scope", "name at least one permission, or leave the scope out"));
    }
    match scope.iter().find(|permission| !all.allows(*permission)) {
        None => Ok(scope),
        Some(permission) => Err(AccessError::field(
            "scope",
            format!("{permission} is in none of the token's roles; a scope narrows them"),
        )),
    }
}

fn bounded(asked: Permissions, who: &str, theirs: Permissions) -> Result<(), AccessError> {
    let lacks: Vec<&str> =
        asked.iter().filter(|permission| !theirs.allows(*permission)).map(Permission::name).collect();
    if lacks.is_empty() {
        return Ok(());
    }
    Err(AccessError::BeyondOwner { who: who.to_owned(), lacks: lacks.join(", ") })
}

/// Whether a token is the asker, or one that the asker made.
fn is_or_made(asker: &Identity, token: &TokenRecord) -> bool {
    asker
        .name
        .strip_prefix(TOKEN_NAME)
        .is_some_and(|name| token.name == name || token.made_by.as_deref() == Some(name))
}

fn same(one: &TokenOwner, other: &TokenOwner) -> bool {
    match (one, other) {
        (TokenOwner::LocalToken, TokenOwner::LocalToken) => true,
        (TokenOwner::User(one), TokenOwner::User(other)) => one.id == other.id,
        _ => false,
    }
}
