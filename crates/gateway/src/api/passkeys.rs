//! `/api/v3/access/me/passkeys`, `/api/v3/access/users/{name}/passkeys`: which passkeys there are, and their end.
//!
//! None is registered here: a key pair is made by an authenticator that a person touches, and the browser alone says to it
//! and to us which page asked (Web Authentication, section 7.1, steps 7 to 9). A program could only claim that.

use axum::http::StatusCode;
use domain::{PasskeyId, Permission};

use super::own_account::whole;
use super::{Answer, Asked, json};
use crate::access::Access as Accounts;
use crate::deed::Deed;
use crate::endpoint::{Access, Endpoint, Parameter};
use crate::problem::Code;
use crate::shapes::PasskeyShape;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let id = || Parameter::id("id", "The id of a passkey");
    vec![
        Endpoint::get(Access::SignedIn, "/api/v3/access/me/passkeys", "access.passkeys", own)
            .says("One's own passkeys, oldest first; they are registered on the page of one's account")
            .refuses([Code::Forbidden, Code::Conflict])
            .answers::<Vec<PasskeyShape>>("Passkeys, without their keys"),
        Endpoint::delete(
            Access::SignedIn,
            "/api/v3/access/me/passkeys/{id}",
            "access.remove_passkey",
            remove_own,
        )
        .says("Removes a passkey of one's own; sessions that it began go on until they are ended")
        .placeholder(id())
        .refuses([Code::Forbidden, Code::Conflict])
        .answers::<Vec<PasskeyShape>>("Those that are left"),
        Endpoint::get(
            Permission::AccessManage,
            "/api/v3/access/users/{name}/passkeys",
            "users.passkeys",
            of_user,
        )
        .says("The passkeys of a user, oldest first")
        .placeholder(Parameter::text("name", "The name of a user"))
        .answers::<Vec<PasskeyShape>>("Passkeys, without their keys"),
        Endpoint::delete(
            Permission::AccessManage,
            "/api/v3/access/passkeys/{id}",
            "users.remove_passkey",
            remove_any,
        )
        .says("Removes anybody's passkey, for a device that was lost; sessions that it began go on until they are ended")
        .placeholder(id())
        .answers::<Vec<PasskeyShape>>("Those that its user has left"),
    ]
}

fn accounts<'a>(asked: &'a Asked<'_>) -> &'a Accounts {
    asked.app.door.access()
}

fn listed(asked: &Asked<'_>, user: &str) -> Answer {
    let passkeys = accounts(asked).passkeys_of(user)?;
    let shapes: Vec<_> = passkeys.iter().map(|passkey| PasskeyShape::new(passkey, user)).collect();
    json(StatusCode::OK, &shapes)
}

fn own(asked: &Asked<'_>) -> Answer {
    listed(asked, &whole(asked)?.name)
}

fn remove_own(asked: &Asked<'_>) -> Answer {
    let id: PasskeyId = asked.id("passkey")?;
    let user = whole(asked)?;
    asked.deed.tell(Deed::remove_passkey(accounts(asked), &user, id));
    accounts(asked).remove_passkey(&user, id)?;
    listed(asked, &user.name)
}

fn of_user(asked: &Asked<'_>) -> Answer {
    listed(asked, asked.name)
}

fn remove_any(asked: &Asked<'_>) -> Answer {
    let id: PasskeyId = asked.id("passkey")?;
    asked.deed.tell(Deed::of(format!("passkey/{id}")).and("removed"));
    let (passkey, user) = accounts(asked).passkey(id)?;
    asked.deed.tell(Deed::remove_passkey(accounts(asked), &user, passkey.id));
    accounts(asked).bound_to(asked.identity, &user.roles)?;
    accounts(asked).remove_passkey(&user, passkey.id)?;
    listed(asked, &user.name)
}
