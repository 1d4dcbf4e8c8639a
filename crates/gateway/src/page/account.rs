//! One's own account: password, second factor, sessions, tokens.
//!
//! In: who looks, and forms of theirs. Out: the page, or what is shown once: a QR code, recovery codes.

use audit::Outcome;
use axum::http::{StatusCode, header};
use axum::response::Response;
use domain::{Identity, Proof};
use maud::{Markup, PreEscaped, html};
use store::{SessionRecord, UserRecord};

use super::actions::Submitted;
use super::changed::drawn_from;
use super::marks::{Meaning, mark};
use super::plan::words;
use super::time::{Form, Stamp};
use super::view::View;
use super::{Page, Section, Update, frame, html_response, login, passkeys, tokens};
use crate::access::{
    AccessError, EndedSessions, PASSWORD_LENGTH, Secret, SessionCookie, SignedIn, Transport, UserUpdate,
};
use crate::auditing::Detail;
use crate::deed::Deed;
use crate::overwritten::{Overwritten, Standing};
use crate::problem::Problem;
use crate::routes::see_other;
use crate::serve::App;

/// The address of the page.
const ADDRESS: &str = "/account";

pub(super) fn page(app: &App, view: &View) -> Result<Page, Problem> {
    let title = "Account".to_owned();
    // What is shared by all who look says nothing of anybody.
    let Some(who) = view.who.as_ref().filter(|who| who.proof != Proof::None) else {
        return Ok(Page { title, sections: Vec::new() });
    };
    let access = app.door.access();
    let user = user(app, who)?;
    let roles: Vec<&str> = who.roles.iter().map(|role| role.name()).collect();
    let head = html! {
        h1 class="sentence" { "You are " (who.name) "." }
        p class="facts" {
            span { "Role: " (roles.join(", ")) }
            span { "Proven by " (match who.proof { Proof::Session => "a session of this browser", Proof::Token => "a token", Proof::None => "nothing" }) }
            @if view.may(domain::Permission::AccessManage) { a href="/users" { "Users" } a href="/tokens" { "All tokens" } }
        }
        details { summary { "What you may do" } ul class="reasons" {
            @for permission in who.permissions.iter() { li { (permission.meaning()) " (" code { (permission) } ")" } }
        } }
    };
    let mut sections = vec![Section::still("sentence", head)];
    if let Some(user) = &user {
        sections.push(Section::still("password", password_form(user)));
        sections.push(Section::still("second-factor", second_factor(user, access.can_enrol())));
        sections.push(Section::tried(
            "passkeys",
            Update::Never,
            "Passkeys",
            passkeys::own(app, view, who, user),
        )?);
    } else {
        let text = "The token of the data directory has neither password nor second factor. A user of your own has both.";
        sections.push(Section::still(
            "no-user",
            html! { p class="empty" { (text) " " a href="/users" { "Make one" } } },
        ));
    }
    let ends = access.sessions(who).map_err(Problem::from).map(|sessions| html! {
        h2 { "Sessions" span class="quiet" { "browsers that are signed in as you" } }
        (session_table(view.stamp, &sessions))
        @if !sessions.is_empty() {
            (ask("End all sessions", "Every browser that is signed in as you has to sign in again, this one too.", "/account/sessions/end-all", html! {}))
        }
    });
    sections.push(Section::tried("sessions", Update::Never, "Sessions", ends)?);
    sections.push(Section::tried("tokens", Update::Never, "Tokens", tokens::own(app, view, who))?);
    Ok(Page { title, sections })
}

/// The user behind an identity; `None` for who holds the data directory's token, and for tokens.
fn user(app: &App, who: &Identity) -> Result<Option<UserRecord>, Problem> {
    if who.proof != Proof::Session {
        return Ok(None);
    }
    match app.door.access().user(&who.name) {
        Ok(user) => Ok(Some(user)),
        Err(AccessError::UnknownUser(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A button that says what it will do before it can be pressed.
pub(super) fn ask(word: &str, says: &str, action: &str, fields: Markup) -> Markup {
    html! {
        details class="ask" {
            summary class="button" { (word) "…" }
            form method="post" action=(action) {
                p { (says) }
                (fields)
                button class="danger" type="submit" { (word) }
            }
        }
    }
}

/// The sessions of somebody, each with what ends it.
pub(super) fn session_table(stamp: Stamp, sessions: &[SessionRecord]) -> Markup {
    html! {
        @if sessions.is_empty() { p class="empty" { "No browser is signed in." } } @else {
            div class="scroll" { table class="stacks" {
                thead { tr { th { "Signed in" } th { "By" } th { "Browser" } th { "Last used" } th { "Ends" } th { span class="hidden-text" { "End it" } } } }
                tbody { @for session in sessions {
                    tr data-key=(session.id) {
                        td class="name" { (stamp.ago(session.created)) }
                        td { (words(session.signed_in_by.name())) }
                        td class="two" data-label="Browser" { (session.user_agent) }
                        td data-label="Last used" { (stamp.ago(session.used)) }
                        td data-label="Ends" { (stamp.left(session.expires)) }
                        td { form method="post" action={ "/account/sessions/" (session.id) "/end" } { button class="small" type="submit" { "End" } } }
                    }
                } }
            } }
        }
    }
}

fn password_form(user: &UserRecord) -> Markup {
    html! {
        h2 { "Password" }
        @if user.password_hash.is_none() {
            p class="empty" { "You sign in by the OpenID provider; there is no password here. An admin can give you one." }
        } @else {
            form class="fill-in" method="post" action="/account/password" { fieldset {
                legend { "Another password" }
                (drawn_from(&Standing::user(user)))
                input type="hidden" name="username" autocomplete="username" value=(user.name);
                label { "Present password" input type="password" name="present" required autocomplete="current-password"; }
                label { "New password, at least " (PASSWORD_LENGTH) " characters"
                    input type="password" name="new" required minlength=(PASSWORD_LENGTH) autocomplete="new-password"; }
                label { "New password again" input type="password" name="again" required autocomplete="new-password"; }
                label { input type="checkbox" name="sessions" value="keep"; " Leave other browsers signed in; without this they have to sign in again" }
                button type="submit" { "Set it" }
                p class="quiet" { "Passkeys, second factor and tokens stay. Remove below what you do not know." }
            } }
        }
    }
}

fn second_factor(user: &UserRecord, can_enrol: bool) -> Markup {
    html! {
        h2 { "Second factor" }
        p { @if user.totp.is_some() { (mark(Meaning::Good, "enrolled")) " Signing in asks for a code of your authenticator, or a recovery code." }
            @else { (mark(Meaning::Unknown, "none")) " Whoever knows your password can sign in as you." } }
        @if user.password_hash.is_none() {
            p class="quiet" { "It goes with a password, and you have none here." }
        } @else if !can_enrol {
            p class="quiet" { "This server has no key to seal secrets with, so none can be enrolled; start it with a data directory it can write to." }
        } @else {
            form class="fill-in" method="post" action="/account/totp" { fieldset {
                legend { @if user.totp.is_some() { "Another authenticator" } @else { "Enrol an authenticator" } }
                label { "Present password" input type="password" name="present" required autocomplete="current-password"; }
                button type="submit" { "Show the QR code" }
            } }
        }
    }
}

/// The user who asks, once the present password was given.
pub(super) fn confirmed(asked: &Submitted<'_>) -> Result<UserRecord, Problem> {
    let user = own(asked)?;
    let present = Secret::new(asked.form.text("present").unwrap_or_default());
    asked.app.door.access().confirm_password(&user.name, &present, asked.peer)?;
    Ok(user)
}

pub(super) fn own(asked: &Submitted<'_>) -> Result<UserRecord, Problem> {
    let none = "only who signed in by name has a password and a second factor; this is a token";
    let user = user(asked.app, asked.identity)?.ok_or_else(|| Problem::field("name", none))?;
    asked.deed.tell(Deed::user(&user.name));
    Ok(user)
}

/// What the form of the password overwrites.
pub(super) fn overwritten(asked: &Submitted<'_>) -> Result<Overwritten, Problem> {
    Ok(Overwritten::OwnAccount(own(asked)?.name))
}

pub(super) fn set_password(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let new = asked.form.text("new").unwrap_or_default();
    if asked.form.text("again") != Some(new) {
        return Err(Problem::field("again", "the new password is not the same twice; type it again"));
    }
    let sessions = match asked.form.text("sessions") {
        None | Some("end") => EndedSessions::All,
        Some("keep") => EndedSessions::None,
        Some(_) => return Err(Problem::field("sessions", "give end or keep")),
    };
    let user = confirmed(asked)?;
    let (access, cookie) = (asked.app.door.access(), asked.app.door.cookie());
    let cookies = cookie.values(asked.headers);
    let before = access.session_of(&cookies)?;
    let update = UserUpdate { password: Some(Secret::new(new)), sessions, ..UserUpdate::default() };
    asked.deed.tell(Deed::changed_user(&user.name, &update));
    let user = access.update_user(&user, update)?;
    let anew = access.begin_anew(&user, login::user_agent(asked.headers), &before, &cookies);
    Ok(led_on(cookie, anew))
}

/// Where a browser goes whose user has another password: that is done, also where the browser has to sign in by it.
fn led_on(cookie: &SessionCookie, anew: Result<SignedIn, AccessError>) -> Response {
    let (mut response, value) = match &anew {
        Ok(anew) => (see_other(ADDRESS), cookie.set(&anew.cookie, Transport::Plain)),
        Err(_) => (see_other("/login"), cookie.clear(Transport::Plain)),
    };
    response.headers_mut().insert(header::SET_COOKIE, value);
    if let Err(error) = anew {
        let text = format!("it is set; no session was begun anew: {error}");
        response.extensions_mut().insert(Detail { text, outcome: Outcome::Done });
    }
    response
}

/// A page of the account that is shown once.
pub(super) fn once(asked: &Submitted<'_>, title: &str, body: Markup) -> Result<Response, Problem> {
    let view = View::load(asked.app, Form::Page)?.seen_by(asked.identity);
    let body = html! { p class="crumb" { a href=(ADDRESS) { "Account" } } div class="card" { (body) } };
    let page = Page { title: title.to_owned(), sections: vec![Section::still("once", body)] };
    Ok(html_response(StatusCode::OK, frame::document(&view, ADDRESS, &page)))
}

pub(super) fn enrol(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let user = confirmed(asked)?;
    asked.deed.add("second factor made, not yet in force");
    let made = asked.app.door.access().enrol_totp(&user.name)?;
    let body = html! {
        h1 class="sentence" { "Scan this with your authenticator." }
        div class="qr" { (PreEscaped(made.picture.expose())) }
        p { "Or type: " code class="secret" { (made.typed.expose()) } }
        p class="quiet" { "It is in force once you gave back a code. It is not shown again." }
        form method="post" action="/account/totp/confirm" {
            label for="code" { "Code that it shows now" }
            input id="code" name="code" required inputmode="numeric" autocomplete="one-time-code";
            button class="primary" type="submit" { "Put it in force" }
        }
    };
    once(asked, "Enrol an authenticator", body)
}

pub(super) fn confirm(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let user = own(asked)?;
    let code = Secret::new(asked.form.text("code").unwrap_or_default());
    asked.deed.add("second factor in force");
    let codes = asked.app.door.access().confirm_totp(&user.name, &code)?;
    let body = html! {
        h1 class="sentence" { "The second factor is in force." }
        p { "Each of these codes signs in once, for when the authenticator is lost. They are not shown again: keep them where the password is not." }
        ul class="codes" { @for code in &codes.0 { li { code class="secret" { (code.expose()) } } } }
        p { a class="button" href=(ADDRESS) { "I kept them" } }
    };
    once(asked, "Recovery codes", body)
}

pub(super) fn end(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let id = asked.id()?;
    asked.deed.tell(Deed::of(format!("session/{id}")).and("ended"));
    asked.app.door.access().end_session(asked.identity, id)?;
    Ok(see_other(ADDRESS))
}

pub(super) fn end_all(asked: &Submitted<'_>) -> Result<Response, Problem> {
    asked.deed.tell(Deed::of(format!("sessions of {}", asked.who())));
    let ended = asked.app.door.access().sign_out_everywhere(asked.identity)?;
    asked.deed.add(format!("{ended} ended"));
    Ok(see_other("/login"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Refusal;

    #[test]
    fn a_password_that_was_set_is_no_failure_where_no_session_began_after_it() {
        let cookie = SessionCookie::of_port(9100);
        let led = led_on(&cookie, Err(AccessError::SignInRefused));
        assert_eq!(led.status(), StatusCode::SEE_OTHER);
        assert_eq!(led.headers()[header::LOCATION], "/login");
        assert_eq!(led.headers()[header::SET_COOKIE], cookie.clear(Transport::Plain));
        assert!(led.extensions().get::<Refusal>().is_none());
        assert_eq!(led.extensions().get::<Detail>().unwrap().outcome, Outcome::Done);
    }
}
