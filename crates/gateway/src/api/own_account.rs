//! `/api/v3/access/me`, `/api/v3/access/sessions`, `/api/v3/access/sign-in`: what is one's own.
//!
//! A password, and whether a second factor is asked for, change only for who gives the present password again: a token or a
//! browser left alone is not enough.

use std::time::Duration;

use axum::http::{StatusCode, header};
use domain::SessionId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::UserRecord;

use super::{Answer, Asked, json, tagged};
use crate::access::{
    Access as Accounts, AccessError, EndedSessions, Secret, SignIn, TokenRequest, UserUpdate,
};
use crate::auditing::SignedInAs;
use crate::deed::Deed;
use crate::endpoint::{Access, Endpoint, Parameter};
use crate::problem::{Code, Problem};
use crate::shapes::{
    EnrolmentShape, IdentityShape, MadeTokenShape, RecoveryCodesShape, SessionShape, managed,
};

/// How long a token lasts that was made by signing in.
const SIGNED_IN_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// How a password or a code may be refused.
const PROVING: [Code; 6] = [
    Code::Forbidden,
    Code::SignInRefused,
    Code::SecondFactorNeeded,
    Code::TooManyAttempts,
    Code::Busy,
    Code::Unsealable,
];

/// Who asks.
pub(crate) const ME: &str = "/api/v3/access/me";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let me_path = ME;
    let (totp, sessions) = ("/api/v3/access/me/totp", "/api/v3/access/sessions");
    vec![
        Endpoint::post(Access::Open, "/api/v3/access/sign-in", "tokens.sign_in", sign_in)
            .says("Makes a token for a program by name, password, and code where a second factor is enrolled")
            .takes::<SignInBody>()
            .refuses(PROVING)
            .refuses([Code::NameTaken, Code::BeyondOwner])
            .answers_with::<MadeTokenShape>(
                StatusCode::CREATED,
                "The token, which is shown this once and lasts 30 days",
            ),
        Endpoint::get(Access::SignedIn, me_path, "access.me", me)
            .says("Who one is, and what one may")
            .refuses([Code::Conflict])
            .answers::<IdentityShape>("Name, roles, permissions, and by what it was proven"),
        Endpoint::post(Access::SignedIn, "/api/v3/access/me/password", "access.set_password", set_password)
            .says("Changes one's own password; one's sessions end unless they are to be kept, tokens go on")
            .overwrites(me_path, me)
            .refuses(PROVING)
            .refuses([Code::Conflict, Code::ChangedMeanwhile, Code::NoSealingKey])
            .takes::<NewPassword>()
            .answers::<IdentityShape>("Who one is"),
        Endpoint::post(Access::SignedIn, totp, "access.enrol_totp", enrol)
            .says("Makes a secret for an authenticator; in force once a code of it was given back")
            .overwrites(me_path, me)
            .refuses(PROVING)
            .refuses([Code::Conflict, Code::ChangedMeanwhile, Code::NoSealingKey])
            .takes::<PasswordBody>()
            .answers::<EnrolmentShape>("What the authenticator needs, which is shown this once"),
        Endpoint::post(Access::SignedIn, "/api/v3/access/me/totp/confirm", "access.confirm_totp", confirm)
            .says("Puts the secret that was made last in force")
            .overwrites(me_path, me)
            .refuses(PROVING)
            .refuses([Code::Conflict, Code::ChangedMeanwhile, Code::NoSealingKey])
            .takes::<CodeBody>()
            .answers::<RecoveryCodesShape>("Recovery codes, which are shown this once"),
        Endpoint::delete(Access::SignedIn, totp, "access.remove_totp", remove)
            .says("Takes one's own second factor away")
            .overwrites(me_path, me)
            .refuses(PROVING)
            .refuses([Code::Conflict, Code::ChangedMeanwhile, Code::NoSealingKey])
            .takes::<PasswordBody>()
            .answers::<IdentityShape>("Who one is"),
        Endpoint::get(Access::SignedIn, sessions, "sessions.list", list)
            .says("One's own sessions that stand, newest first")
            .refuses([Code::Forbidden, Code::Conflict])
            .answers::<Vec<SessionShape>>("Sessions"),
        Endpoint::delete(Access::SignedIn, sessions, "sessions.delete_all", end_all)
            .says("Signs out everywhere")
            .refuses([Code::Forbidden, Code::Conflict])
            .answers::<Ended>("How many sessions ended"),
        Endpoint::delete(Access::SignedIn, "/api/v3/access/sessions/{id}", "sessions.delete", end_one)
            .says("Ends one session")
            .placeholder(Parameter::id("id", "The id of a session"))
            .refuses([Code::Forbidden, Code::Conflict])
            .answers::<Vec<SessionShape>>("One's own sessions that still stand"),
    ]
}

/// Who signs in.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SignInBody {
    /// The user's name.
    name: String,
    /// Its password.
    #[schemars(with = "String")]
    password: Secret,
    /// A code of the authenticator, or a recovery code, where one is enrolled.
    #[schemars(with = "Option<String>")]
    code: Option<Secret>,
    /// What the token is recorded by; no other token has or had it.
    token_name: String,
}

/// Another password of one's own.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    /// The present one.
    #[schemars(with = "String")]
    present: Secret,
    /// The one from now on: 12 characters or more.
    #[schemars(with = "String")]
    new: Secret,
    /// What becomes of one's sessions.
    #[serde(default)]
    sessions: OwnSessions,
}

/// What becomes of the browsers that are signed in.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OwnSessions {
    /// They sign in again.
    #[default]
    End,
    /// They go on.
    Keep,
}

/// One's own password, once more.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PasswordBody {
    #[schemars(with = "String")]
    password: Secret,
}

/// What the authenticator shows.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CodeBody {
    #[schemars(with = "String")]
    code: Secret,
}

/// What signing out everywhere did.
#[derive(Serialize, JsonSchema)]
struct Ended {
    sessions: usize,
}

fn accounts<'a>(asked: &'a Asked<'_>) -> &'a Accounts {
    asked.app.door.access()
}

/// The session that signing in begins ends before the answer: a program keeps a token, and no cookie.
fn sign_in(asked: &Asked<'_>) -> Answer {
    let SignInBody { name, password, code, token_name } = asked.body()?;
    let agent = asked.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let tried_as = name.clone();
    let signed_in = accounts(asked).sign_in(&SignIn {
        name,
        password,
        code,
        address: asked.peer,
        user_agent: agent.unwrap_or_default().to_owned(),
        before: Vec::new(),
    });
    let signed_in =
        signed_in.map_err(|error| Problem { tried_as: Some(tried_as), ..Problem::from(error) })?;
    let identity = &signed_in.identity;
    let request = TokenRequest {
        name: token_name,
        owner: None,
        roles: identity.roles.clone(),
        scope: None,
        expires: Some(asked.app.clock.now().plus(SIGNED_IN_FOR)),
    };
    // Of who did not sign in nothing is told: what was sent as a name may be a password.
    asked.deed.tell(Deed::new_token(&request).and(format!("of {}", identity.name)));
    let made = accounts(asked).create_token(identity, request);
    accounts(asked).sign_out(&signed_in.cookie)?;
    let mut response = json(StatusCode::CREATED, &MadeTokenShape::from(&made?))?;
    response.extensions_mut().insert(SignedInAs(identity.name.clone()));
    Ok(response)
}

fn me(asked: &Asked<'_>) -> Answer {
    let user = match accounts(asked).own_user(asked.identity) {
        Ok(user) => Some(user),
        Err(AccessError::NoUser) => None,
        Err(error) => return Err(error.into()),
    };
    let shape = IdentityShape::new(asked.identity, user.as_ref());
    // Password and second factor are not told, and yet overwritten.
    let told = format!("{shape:?} {}", user.as_ref().map(managed).unwrap_or_default());
    Ok(tagged(json(StatusCode::OK, &shape)?, &told))
}

/// One's own user, with its password given again.
fn confirmed(asked: &Asked<'_>, password: &Secret) -> Result<UserRecord, Problem> {
    let user = whole(asked)?;
    accounts(asked).confirm_password(&user.name, password, asked.peer)?;
    Ok(user)
}

/// One's own user, for whom no scope narrows: a token for telemetry is not to change who signs in.
pub(super) fn whole(asked: &Asked<'_>) -> Result<UserRecord, Problem> {
    let user = accounts(asked).own_user(asked.identity)?;
    asked.deed.tell(Deed::user(&user.name));
    accounts(asked).bound_to(asked.identity, &user.roles)?;
    Ok(user)
}

fn set_password(asked: &Asked<'_>) -> Answer {
    let NewPassword { present, new, sessions } = asked.body()?;
    let user = confirmed(asked, &present)?;
    let sessions = match sessions {
        OwnSessions::End => EndedSessions::All,
        OwnSessions::Keep => EndedSessions::None,
    };
    let update = UserUpdate { password: Some(new), sessions, ..UserUpdate::default() };
    asked.deed.tell(Deed::changed_user(&user.name, &update));
    let user = accounts(asked).update_user(&user, update)?;
    json(StatusCode::OK, &IdentityShape::new(asked.identity, Some(&user)))
}

fn enrol(asked: &Asked<'_>) -> Answer {
    let PasswordBody { password } = asked.body()?;
    let user = confirmed(asked, &password)?;
    asked.deed.add("second factor made, not yet in force");
    json(StatusCode::OK, &EnrolmentShape::from(&accounts(asked).enrol_totp(&user.name)?))
}

fn confirm(asked: &Asked<'_>) -> Answer {
    let CodeBody { code } = asked.body()?;
    let user = whole(asked)?;
    asked.deed.add("second factor in force");
    json(StatusCode::OK, &RecoveryCodesShape::from(&accounts(asked).confirm_totp(&user.name, &code)?))
}

fn remove(asked: &Asked<'_>) -> Answer {
    let PasswordBody { password } = asked.body()?;
    let user = confirmed(asked, &password)?;
    asked.deed.add("without second factor");
    accounts(asked).remove_totp(&user.name)?;
    json(StatusCode::OK, &IdentityShape::new(asked.identity, Some(&user)))
}

fn list(asked: &Asked<'_>) -> Answer {
    let sessions = accounts(asked).sessions(asked.identity)?;
    json(StatusCode::OK, &sessions.iter().map(SessionShape::from).collect::<Vec<_>>())
}

fn end_one(asked: &Asked<'_>) -> Answer {
    let id: SessionId = asked.id("session")?;
    asked.deed.tell(Deed::of(format!("session/{id}")).and("ended"));
    accounts(asked).end_session(asked.identity, id)?;
    list(asked)
}

fn end_all(asked: &Asked<'_>) -> Answer {
    asked.deed.tell(Deed::of(format!("sessions of {}", asked.who)));
    let sessions = accounts(asked).sign_out_everywhere(asked.identity)?;
    asked.deed.add(format!("{sessions} ended"));
    json(StatusCode::OK, &Ended { sessions })
}
