//! Passkeys on pages: signing in by one, registering, listing and removing them.
//!
//! In: forms, and what `navigator.credentials` gave (see `passkeys.js`). Out: options for it, the session's cookie, lists.
//!
//! To register one takes two steps, as enrolling an authenticator does: the present password first, so that a browser left
//! alone is not enough and no device keeps a passkey that is refused afterwards; then the page that asks the device.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{Identity, PasskeyId};
use maud::{Markup, html};
use store::{PasskeyRecord, UserRecord};

use super::Visit;
use super::account::{ask, confirmed, once, own as own_user};
use super::actions::Submitted;
use super::login;
use super::sentence::capital;
use super::users;
use super::view::View;
use crate::access::{AccessError, PasskeySignIn, RelyingParty};
use crate::deed::Deed;
use crate::problem::Problem;
use crate::routes::see_other;
use crate::serve::App;

/// `GET` says what is to be asked of the device, `POST` takes what it gave.
pub(crate) const SIGN_IN: &str = "/login/passkey";

/// What a form of a passkey says until its script has looked.
const NO_SCRIPT: &str = "Passkeys need the script of this page.";

/// Where passkeys cannot be had.
const NO_NAME: &str =
    "Passkeys belong to a name, and this address is none: open this server by its name, or as localhost.";

/// The host that passkeys are for where a browser names this server so.
pub(super) fn party(headers: &HeaderMap, named_as: Option<&str>) -> Option<RelyingParty> {
    RelyingParty::of_origin(&login::origin(headers, named_as))
}

impl Submitted<'_> {
    /// The host that passkeys are for here.
    pub(super) fn party(&self) -> Option<RelyingParty> {
        party(self.headers, self.named_as)
    }
}

fn no_name() -> Problem {
    Problem::field("host", NO_NAME.trim_end_matches('.'))
}

/// What is to be asked of the device to sign in.
pub(super) fn asked_for(visit: &Visit<'_>) -> Result<Response, Problem> {
    let party = visit.party().ok_or_else(no_name)?;
    let options = visit.app.door.access().begin_passkey_sign_in(&party)?;
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((StatusCode::OK, json, options.to_string()).into_response())
}

/// On the page that asks who somebody is.
pub(super) fn sign_in_form(party: Option<&RelyingParty>, next: &str) -> Markup {
    html! {
        @if party.is_some() {
            form method="post" action=(SIGN_IN) data-passkey="" {
                input type="hidden" name="next" value=(next);
                input type="hidden" name="answer";
                button type="submit" disabled { "Sign in by passkey" }
                p class="quiet" role="status" { (NO_SCRIPT) }
            }
        } @else { p class="quiet" { (NO_NAME) } }
    }
}

/// Takes what the device gave, and gives a cookie.
pub(super) fn sign_in(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let door = &asked.app.door;
    let signed_in = door.access().sign_in_by_passkey(&PasskeySignIn {
        answer: asked.form.text("answer").unwrap_or_default().to_owned(),
        party: asked.party().ok_or_else(no_name)?,
        user_agent: login::user_agent(asked.headers).to_owned(),
        before: door.cookie().values(asked.headers),
    });
    match signed_in {
        Ok(signed_in) => Ok(login::welcome(asked, signed_in)),
        Err(error @ AccessError::Store(_)) => Err(error.into()),
        Err(error) => login::again(asked, error.problem_code(), format!("{}.", capital(&error.to_string()))),
    }
}

/// The present password is right: the page that asks the device.
pub(super) fn begin(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let party = asked.party().ok_or_else(no_name)?;
    let name = asked.form.text("name").map(str::trim).unwrap_or_default();
    let user = confirmed(asked)?;
    asked.deed.add(format!("passkey {name:?} begun"));
    let options = asked.app.door.access().begin_passkey(&user, name, &party)?;
    let body = html! {
        h1 class="sentence" { "Make a passkey for " (party.host()) "." }
        p { "Your device asks for your finger, your face or its PIN, and keeps the passkey. It signs in without password and code." }
        form method="post" action="/account/passkeys/register" data-passkey=(options.to_string()) {
            input type="hidden" name="name" value=(name);
            input type="hidden" name="answer";
            button class="primary" type="submit" disabled { "Make it" }
            p class="quiet" role="status" { (NO_SCRIPT) }
        }
    };
    once(asked, "Make a passkey", body)
}

/// Takes what the device made.
pub(super) fn register(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let party = asked.party().ok_or_else(no_name)?;
    let user = own_user(asked)?;
    let text = |name: &str| asked.form.text(name).unwrap_or_default();
    asked.deed.add(format!("passkey {:?} made", text("name")));
    asked.app.door.access().add_passkey(&user, text("name"), &party, text("answer"))?;
    Ok(see_other("/account"))
}

/// Removes one of one's own.
pub(super) fn remove(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let user = own_user(asked)?;
    let (access, id) = (asked.app.door.access(), asked.id()?);
    asked.deed.tell(Deed::remove_passkey(access, &user, id));
    access.remove_passkey(&user, id)?;
    Ok(see_other("/account"))
}

/// Removes one of somebody's.
pub(super) fn remove_of(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let access = asked.app.door.access();
    let id = asked.form.text("id").and_then(|id| id.parse::<PasskeyId>().ok());
    let id = id.ok_or_else(|| Problem::field("id", "give the id of a passkey"))?;
    let user = users::bound(asked)?;
    asked.deed.tell(Deed::remove_passkey(access, &user, id));
    access.remove_passkey(&user, id)?;
    Ok(see_other(&format!("/users/{}", asked.name)))
}

/// One's own, and what makes another.
pub(super) fn own(app: &App, view: &View, who: &Identity, user: &UserRecord) -> Result<Markup, Problem> {
    let passkeys = app.door.access().passkeys(who)?;
    let remove = |passkey: &PasskeyRecord| {
        ask(
            "Remove",
            "It signs in no more. Sessions that it began go on until they are ended.",
            &format!("/account/passkeys/{}/remove", passkey.id),
            html! {},
        )
    };
    Ok(html! {
        h2 { "Passkeys" span class="quiet" { "sign in by a finger or the PIN of a device, without password and code" } }
        (table(view, &passkeys, &remove))
        @if user.oidc.is_some() {
            p class="quiet" { "You sign in by the OpenID provider, which has passkeys of its own." }
        } @else if user.password_hash.is_none() {
            p class="quiet" { "To make one takes a password, and you have none here." }
        } @else if view.party.is_none() {
            p class="quiet" { (NO_NAME) }
        } @else {
            form class="fill-in" method="post" action="/account/passkeys" { fieldset {
                legend { "Another passkey" }
                label { "What you know it by" input name="name" required maxlength="64" placeholder="laptop" autocomplete="off"; }
                label { "Present password" input type="password" name="present" required autocomplete="current-password"; }
                button type="submit" { "Make a passkey" }
            } }
        }
    })
}

/// Those of a user, for who manages access.
pub(super) fn of_user(app: &App, view: &View, name: &str) -> Result<Markup, Problem> {
    let passkeys = app.door.access().passkeys_of(name)?;
    let remove = |passkey: &PasskeyRecord| {
        let field = html! { input type="hidden" name="id" value=(passkey.id); };
        ask(
            "Remove",
            "It signs in no more: for a device that was lost.",
            &format!("/users/{name}/passkeys/remove"),
            field,
        )
    };
    Ok(html! { h2 { "Passkeys" } (table(view, &passkeys, &remove)) })
}

fn table(view: &View, passkeys: &[PasskeyRecord], remove: &dyn Fn(&PasskeyRecord) -> Markup) -> Markup {
    let stamp = view.stamp;
    html! {
        @if passkeys.is_empty() { p class="empty" { "There is none." } } @else {
            div class="scroll" { table class="stacks" {
                thead { tr { th { "Name" } th { "For" } th { "Kept" } th { "Made" } th { "Last used" } th { span class="hidden-text" { "Remove it" } } } }
                tbody { @for passkey in passkeys {
                    tr data-key=(passkey.id) {
                        td class="name" { (passkey.name) }
                        td data-label="For" { (passkey.rp_id) }
                        td data-label="Kept" { @if passkey.backup_eligible { "on several devices, or may be" } @else { "on one device" } }
                        td data-label="Made" { (stamp.ago(passkey.created)) }
                        td data-label="Last used" { @match passkey.used { Some(at) => (stamp.ago(at)), None => "never" } }
                        td { (remove(passkey)) }
                    }
                } }
            } }
        }
    }
}
