//! `/api/v3/access/users` and `/api/v3/access/tokens`: who may sign in, and by which tokens programs ask.
//!
//! A secret is in the answer that makes it and in no other. A user is changed as it was read: `If-Match` takes the `ETag` of
//! the last read, and without it a change between read and write is refused all the same.

use std::time::Duration;

use axum::http::StatusCode;
use domain::access::Permissions;
use domain::{Permission, Role, Time, TokenId};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use store::UserRecord;

use super::{Answer, Asked, json, time};
use crate::access::{
    Access as Accounts, AccessError, Admission, EndedSessions, Factors, Secret, TokenRequest, UserRequest,
    UserUpdate,
};
use crate::auditing::ended_with;
use crate::deed::Deed;
use crate::endpoint::{Access, Endpoint, Parameter, choices};
use crate::problem::{Code, Problem};
use crate::shapes::{MadeTokenShape, RevokedTokenShape, TokenShape, UserShape, managed};

/// A user.
pub(crate) const USER: &str = "/api/v3/access/users/{name}";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let (users, user) = ("/api/v3/access/users", USER);
    let (tokens, token) = ("/api/v3/access/tokens", "/api/v3/access/tokens/{id}");
    let name = || Parameter::text("name", "The name of a user");
    vec![
        Endpoint::get(Permission::AccessManage, users, "users.list", list_users)
            .says("Users, by name")
            .answers::<Vec<UserShape>>("Users"),
        Endpoint::post(Permission::AccessManage, users, "users.create", create_user)
            .says("Makes a user")
            .takes::<NewUser>()
            .refuses([Code::NameTaken, Code::Busy])
            .answers_with::<UserShape>(StatusCode::CREATED, "The user"),
        Endpoint::get(Permission::AccessManage, user, "users.get", get_user)
            .says("One user; `ETag` goes with a change")
            .placeholder(name())
            .answers::<UserShape>("The user"),
        Endpoint::patch(Permission::AccessManage, user, "users.update", update_user)
            .says("Changes a user in all that is given, or in nothing; `If-Match` takes the `ETag` of what was read")
            .placeholder(name())
            .overwrites(user, get_user)
            .takes::<ChangedUser>()
            .refuses([Code::ChangedMeanwhile, Code::Conflict, Code::Busy])
            .answers::<UserShape>("The user as it is now"),
        Endpoint::delete(Permission::AccessManage, user, "users.delete", delete_user)
            .says(
                "Shuts a user out for good: sessions end, tokens are revoked, password, second factor and passkeys go. \
                 The name stays taken, because the audit trail tells of it",
            )
            .placeholder(name())
            .overwrites(user, get_user)
            .refuses([Code::ChangedMeanwhile, Code::Conflict])
            .answers::<UserShape>("What is left of it"),
        Endpoint::delete(
            Permission::AccessManage,
            "/api/v3/access/users/{name}/totp",
            "users.remove_totp",
            remove_totp,
        )
        .says("Takes the second factor from a user who lost it, with its recovery codes")
        .placeholder(name())
        .overwrites(user, get_user)
        .refuses([Code::ChangedMeanwhile, Code::Conflict])
        .answers::<UserShape>("The user as it is now"),
        Endpoint::get(Access::SignedIn, tokens, "tokens.list", list_tokens)
            .says("One's own tokens, newest first; all, for who manages access; one that may less than its owner sees itself")
            .refuses([Code::Forbidden])
            .answers::<Vec<TokenShape>>("Tokens, without their secrets"),
        Endpoint::post(Access::SignedIn, tokens, "tokens.create", create_token)
            .says("Makes a token that may no more than its owner and who makes it, and that ends with the token that makes it")
            .takes::<NewToken>()
            .refuses([Code::Forbidden, Code::BeyondOwner, Code::NameTaken, Code::NotFound, Code::Conflict])
            .answers_with::<MadeTokenShape>(StatusCode::CREATED, "The token, which is shown this once"),
        Endpoint::delete(Access::SignedIn, token, "tokens.revoke", revoke_token)
            .says("Ends a token of one's own, and all that it made; any, for who manages access")
            .placeholder(Parameter::id("id", "The id of a token"))
            .refuses([Code::Forbidden])
            .answers::<RevokedTokenShape>("The token, revoked, and which ended with it"),
    ]
}

/// A user to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    /// Lower-case letters, digits and `. _ @ + -`, beginning with a letter or digit.
    #[schemars(extend("pattern" = r"^[a-z0-9][a-z0-9._@+-]{0,63}$"))]
    name: String,
    /// What people call it; the name where it is left out.
    #[serde(default)]
    display_name: String,
    /// `viewer`, `operator`, `approver`, `admin`.
    #[schemars(schema_with = "some_roles")]
    roles: Vec<Role>,
    /// 12 characters or more; without one it signs in by an OpenID provider alone.
    #[schemars(with = "Option<String>")]
    password: Option<Secret>,
}

/// What is to change about a user; what is left out stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangedUser {
    /// What people call it; empty for its name.
    display_name: Option<String>,
    /// All roles it is to have.
    #[serde(default)]
    #[schemars(schema_with = "some_roles_or_none")]
    roles: Option<Vec<Role>>,
    /// Whether it is shut out.
    disabled: Option<bool>,
    /// Another password, which ends its sessions.
    #[schemars(with = "Option<String>")]
    password: Option<Secret>,
    /// What becomes of its second factor and its passkeys, whoever's they are by now.
    #[serde(default)]
    factors: FactorsBody,
}

/// What becomes of the other ways in.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum FactorsBody {
    /// They stay.
    #[default]
    Keep,
    /// TOTP, its recovery codes and every passkey go, and sessions end.
    Forget,
}

/// A token to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewToken {
    /// What it is recorded by; no other token has or had it.
    name: String,
    /// Whose it is to be; one's own where it is left out.
    owner: Option<String>,
    /// Its roles; one's own where they are left out.
    #[serde(default)]
    #[schemars(schema_with = "some_roles_or_none")]
    roles: Option<Vec<Role>>,
    /// What of these it may, such as `["telemetry:write"]`; all of it where it is left out.
    scope: Option<Vec<String>>,
    /// When it ends, as an RFC 3339 time; never where it is left out.
    #[schemars(extend("format" = "date-time"))]
    expires_at: Option<String>,
}

/// At least one role.
fn some_roles(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "minItems": 1, "items": choices(Role::ALL.map(Role::name))})
}

/// The same, where they may be left out.
fn some_roles_or_none(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["array", "null"], "minItems": 1, "items": choices(Role::ALL.map(Role::name))})
}

fn accounts<'a>(asked: &'a Asked<'_>) -> &'a Accounts {
    asked.app.door.access()
}

fn list_users(asked: &Asked<'_>) -> Answer {
    let users = accounts(asked).users()?;
    json(StatusCode::OK, &users.iter().map(UserShape::from).collect::<Vec<_>>())
}

fn create_user(asked: &Asked<'_>) -> Answer {
    let NewUser { name, display_name, roles, password } = asked.body()?;
    let request = UserRequest { name, display_name, roles, password };
    asked.deed.tell(Deed::new_user(&request));
    accounts(asked).bound_to(asked.identity, &request.roles)?;
    let made = accounts(asked).create_user(request)?;
    tagged(StatusCode::CREATED, &made)
}

fn get_user(asked: &Asked<'_>) -> Answer {
    tagged(StatusCode::OK, &accounts(asked).user(asked.name)?)
}

fn update_user(asked: &Asked<'_>) -> Answer {
    if asked.body.is_empty() {
        return Err(Problem::new(Code::BadRequest, "nothing is said of what to change; send a JSON object"));
    }
    let ChangedUser { display_name, roles, disabled, password, factors } = asked.body()?;
    let read = accounts(asked).user(asked.name)?;
    let update = UserUpdate {
        display_name,
        roles,
        admission: disabled.map(|disabled| if disabled { Admission::Disabled } else { Admission::Enabled }),
        password,
        factors: match factors {
            FactorsBody::Keep => Factors::Kept,
            FactorsBody::Forget => Factors::Forgotten,
        },
        sessions: EndedSessions::All,
    };
    asked.deed.tell(Deed::changed_user(&read.name, &update));
    accounts(asked).bound_to(asked.identity, &read.roles)?;
    accounts(asked).bound_to(asked.identity, update.roles.as_deref().unwrap_or_default())?;
    tagged(StatusCode::OK, &accounts(asked).update_user(&read, update)?)
}

fn delete_user(asked: &Asked<'_>) -> Answer {
    let read = accounts(asked).user(asked.name)?;
    asked.deed.tell(Deed::user(&read.name).and("shut out for good"));
    accounts(asked).bound_to(asked.identity, &read.roles)?;
    let ended = accounts(asked).retire_user(asked.name)?;
    Ok(ended_with(&ended, tagged(StatusCode::OK, &accounts(asked).user(asked.name)?)?))
}

fn remove_totp(asked: &Asked<'_>) -> Answer {
    let read = accounts(asked).user(asked.name)?;
    asked.deed.tell(Deed::user(&read.name).and("without second factor"));
    accounts(asked).bound_to(asked.identity, &read.roles)?;
    accounts(asked).remove_totp(asked.name)?;
    tagged(StatusCode::OK, &accounts(asked).user(asked.name)?)
}

/// A user with its entity tag: when it signed in changes by itself.
fn tagged(status: StatusCode, user: &UserRecord) -> Answer {
    Ok(super::tagged(json(status, &UserShape::from(user))?, &managed(user)))
}

fn list_tokens(asked: &Asked<'_>) -> Answer {
    let tokens = accounts(asked).tokens(asked.identity)?;
    json(StatusCode::OK, &tokens.iter().map(TokenShape::from).collect::<Vec<_>>())
}

fn create_token(asked: &Asked<'_>) -> Answer {
    let NewToken { name, owner, roles, scope, expires_at } = asked.body()?;
    let expires = expires_at.map(|text| end(asked, &text)).transpose()?;
    let scope = scope.map(|names| permissions(&names)).transpose()?;
    let roles = roles.unwrap_or_else(|| asked.identity.roles.clone());
    // Nobody hands on by a token more than their own scope leaves them.
    let scope = match scope {
        None if asked.identity.permissions != Role::permissions_of(&asked.identity.roles) => {
            Some(asked.identity.permissions.within(Role::permissions_of(&roles)))
        }
        scope => scope,
    };
    let request = TokenRequest { name, owner, roles, scope, expires };
    asked.deed.tell(Deed::new_token(&request));
    let made = accounts(asked).create_token(asked.identity, request)?;
    json(StatusCode::CREATED, &MadeTokenShape::from(&made))
}

/// A time to come, by both clocks: what people write is by the wall clock, and what has come is told by the other.
fn end(asked: &Asked<'_>, text: &str) -> Result<Time, Problem> {
    let written = time(text).ok_or_else(|| {
        Problem::field("expires_at", format!("{text:?} is no RFC 3339 time, such as 2026-11-21T03:00:00Z"))
    })?;
    let now = asked.app.clock.now();
    let ahead = u64::try_from(written.wall_us.saturating_sub(now.wall_us)).unwrap_or(0);
    Ok(now.plus(Duration::from_micros(ahead)))
}

fn permissions(names: &[String]) -> Result<Permissions, Problem> {
    let read = |name: &String| {
        name.parse::<Permission>().map_err(|error| Problem::field("scope", error.to_string()))
    };
    names.iter().map(read).collect()
}

fn revoke_token(asked: &Asked<'_>) -> Answer {
    let id: TokenId = asked.id("token")?;
    asked.deed.tell(Deed::revoke(&asked.app.store, id));
    let ended = accounts(asked).revoke_token(asked.identity, id)?;
    let gone = || AccessError::UnknownToken(id.to_string());
    let token = asked.app.store.token(id)?.ok_or_else(gone)?;
    let shape = RevokedTokenShape { record: TokenShape::from(&token), ended_with_it: ended };
    Ok(ended_with(&shape.ended_with_it, json(StatusCode::OK, &shape)?))
}
