//! Users, for who manages access: all of them, one of them, and what can be changed.
//!
//! In: the users of the store, and forms. Out: a list, a page for each, and the changes.

use axum::response::Response;
use domain::Role;
use maud::{Markup, html};
use serde_json::json;
use store::UserRecord;

use super::account::{ask, session_table};
use super::actions::Submitted;
use super::changed::drawn_from;
use super::list::{Column, Filter, List, Listed, Source};
use super::marks::{Meaning, mark};
use super::passkeys;
use super::sentence::count;
use super::view::View;
use super::{Page, Section, Update};
use crate::access::{Admission, Factors, PASSWORD_LENGTH, Secret, UserRequest, UserUpdate};
use crate::body::Query;
use crate::deed::Deed;
use crate::overwritten::{Overwritten, Standing};
use crate::problem::Problem;
use crate::routes::see_other;
use crate::serve::App;

pub(super) fn list(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let title = "Users".to_owned();
    if view.who.is_none() {
        return Ok(Page { title, sections: Vec::new() });
    }
    let listed = listed(app, view)?;
    let number = match &listed.source {
        Source::Whole(rows) => rows.len(),
        Source::Stored(_) => 0,
    };
    let head = html! {
        h1 class="sentence" { @if number == 0 { "Nobody has a user yet." } @else { (count(number, "user", "users")) "." } }
        p class="facts" { "Roles hold from the next request on." a href="/tokens" { "All tokens" } }
    };
    let form = Section::still("filters", listed.list.search_form(query));
    let rows = listed.rows(query, "users", Update::Never)?;
    let sections =
        vec![Section::still("sentence", head), form, rows, Section::still("create", create_form())];
    Ok(Page { title, sections })
}

/// Every user by name.
pub(super) fn listed<'a>(app: &App, view: &'a View) -> Result<Listed<'a, UserRecord>, Problem> {
    let stamp = view.stamp;
    let list = List {
        address: "/users",
        nouns: ("user", "users"),
        columns: vec![
            Column::new("state", "State", |user: &UserRecord| json!(state(user).1))
                .shown(|user| mark(state(user).0, state(user).1)),
            Column::new("name", "Name", |user: &UserRecord| json!(user.name))
                .class("name")
                .shown(|user| html! { a href={ "/users/" (user.name) } { (user.name) } })
                .sorted(),
            Column::new("display_name", "Called", |user: &UserRecord| json!(user.display_name)).class("two"),
            Column::new("roles", "Roles", |user: &UserRecord| json!(names(&user.roles))),
            Column::new("sign_in", "Signs in by", |user: &UserRecord| json!(ways(user))).class("two"),
            Column::new("signed_in_at", "Last signed in", |user: &UserRecord| {
                json!(user.signed_in.map(|at| at.rfc3339()))
            })
            .shown(move |user| user.signed_in.map_or(html! { "never" }, |at| stamp.ago(at)))
            .sorted(),
            Column::new("created_at", "Made", |user: &UserRecord| json!(user.created.rfc3339()))
                .shown(move |user| stamp.ago(user.created))
                .sorted(),
        ],
        filters: vec![
            Filter::choice("role", "Role", Role::ALL.map(|role| (role, role)))
                .keeping(|user: &UserRecord, wanted| user.roles.iter().any(|role| role.name() == wanted)),
            Filter::choice("state", "State", ["enabled", "disabled"].map(|word| (word, word)))
                .keeping(|user: &UserRecord, wanted| state(user).1 == wanted),
        ],
        key: Box::new(|user| user.name.clone()),
        empty: html! { p class="empty" { "Whoever has the token of the data directory is admin. Users have names of their own in the audit trail, and roles that fit." } },
    };
    Ok(Listed { list, source: Source::Whole(app.door.access().users()?) })
}

fn state(user: &UserRecord) -> (Meaning, &'static str) {
    if user.disabled { (Meaning::Unknown, "disabled") } else { (Meaning::Good, "enabled") }
}

fn names(roles: &[Role]) -> Vec<&'static str> {
    roles.iter().map(|role| role.name()).collect()
}

fn ways(user: &UserRecord) -> String {
    let password = match (&user.password_hash, &user.totp) {
        (Some(_), Some(_)) => Some("password and code"),
        (Some(_), None) => Some("password alone"),
        (None, _) => None,
    };
    let provider = user.oidc.as_ref().map(|_| "OpenID provider");
    let all: Vec<&str> = password.into_iter().chain(provider).collect();
    if all.is_empty() { "nothing yet".to_owned() } else { all.join(", ") }
}

/// The field of a role in forms.
pub(super) const ROLE: &str = "role";

pub(super) fn role_boxes(chosen: &[Role]) -> Markup {
    html! {
        fieldset class="roles" {
            legend { "Roles" }
            @for role in Role::ALL {
                label { input type="checkbox" name=(ROLE) value=(role) checked[chosen.contains(&role)]; " " (role) }
            }
        }
    }
}

fn create_form() -> Markup {
    html! {
        h2 { "Another user" }
        form class="fill-in" method="post" action="/users/create" {
            fieldset {
                legend { "Who" }
                label { "Name to sign in with" input name="name" required maxlength="64" autocomplete="off" spellcheck="false"; }
                label { "What people call it" input name="display_name" maxlength="64" autocomplete="off"; }
                label { "Password, or nothing for the OpenID provider" input type="password" name="password" minlength=(PASSWORD_LENGTH) autocomplete="new-password"; }
            }
            (role_boxes(&[Role::Viewer]))
            div class="actions" { button class="primary" type="submit" { "Make the user" } }
        }
    }
}

pub(super) fn detail(app: &App, view: &View, name: &str) -> Result<Page, Problem> {
    let title = format!("User {name}");
    if view.who.is_none() {
        return Ok(Page { title, sections: Vec::new() });
    }
    let access = app.door.access();
    let user = access.user(name)?;
    let (meaning, word) = state(&user);
    let head = html! {
        p class="crumb" { a href="/users" { "Users" } }
        h1 class="sentence" { (user.display_name) " signs in as " (user.name) ", by " (ways(&user)) "." }
        p class="facts" {
            (mark(meaning, word))
            span { "made " (view.stamp.ago(user.created)) }
            span { @match user.signed_in { Some(at) => { "last signed in " (view.stamp.ago(at)) }, None => "never signed in" } }
            a href={ "/audit?who=" (user.name) } { "What it did" }
        }
    };
    let from = drawn_from(&Standing::user(&user));
    let roles = html! {
        form class="fill-in" method="post" action={ "/users/" (user.name) "/roles" } {
            (from)
            (role_boxes(&user.roles))
            div class="actions" { button type="submit" { "Set the roles" } span class="quiet" { "for its tokens too, from the next request on" } }
        }
    };
    let sessions = access.sessions_of(name).map_err(Problem::from);
    let sessions =
        sessions.map(|sessions| html! { h2 { "Sessions" } (session_table(view.stamp, &sessions)) });
    Ok(Page {
        title,
        sections: vec![
            Section::still("sentence", head),
            Section::still("roles", roles),
            Section::tried("sessions", Update::Never, "Sessions", sessions)?,
            Section::tried("passkeys", Update::Never, "Passkeys", passkeys::of_user(app, view, name))?,
            Section::still("dangers", dangers(&user, &from)),
        ],
    })
}

/// What shuts somebody out, or lets them in.
fn dangers(user: &UserRecord, from: &Markup) -> Markup {
    let to = |what: &str| format!("/users/{}/{what}", user.name);
    let admission = |word: &str| html! { (from) input type="hidden" name="admission" value=(word); };
    html! {
        h2 { "Ways in" }
        div class="actions asks" {
            @if user.disabled {
                (ask("Let in again", "It may sign in, and its tokens work.", &to("admission"), admission("enabled")))
            } @else {
                (ask("Shut out", "It cannot sign in, its sessions end, and its tokens are refused, until it is let in again.", &to("admission"), admission("disabled")))
            }
            (ask("Set the password", "Its sessions end; its tokens go on until they are revoked. Tell the password by a way that nobody reads.", &to("password"), html! {
                (from)
                label { "New password" input type="password" name="new" required minlength=(PASSWORD_LENGTH) autocomplete="new-password"; }
                label { input type="checkbox" name="factors" value="forget"; " Forget second factor, recovery codes and passkeys: somebody else may have made them" }
            }))
            @if user.totp.is_some() {
                (ask("Remove the second factor", "It signs in by its password alone until it enrols another: for who lost authenticator and recovery codes.", &to("totp/remove"), from.clone()))
            }
        }
    }
}

pub(super) fn roles(form: &Query) -> Result<Vec<Role>, Problem> {
    let unknown = |text: &str| {
        Problem::field(ROLE, format!("{text:?} is no role; give {}", names(&Role::ALL).join(", ")))
    };
    form.all(ROLE).map(|text| text.parse().map_err(|_| unknown(text))).collect()
}

fn page_of(name: &str) -> Response {
    see_other(&format!("/users/{name}"))
}

/// What forms about a user overwrite.
pub(super) fn overwritten(asked: &Submitted<'_>) -> Result<Overwritten, Problem> {
    Ok(Overwritten::User(asked.name.to_owned()))
}

/// The user a form is about, who may no more than who asks: a token with a scope makes nobody who may more.
pub(super) fn bound(asked: &Submitted<'_>) -> Result<UserRecord, Problem> {
    let access = asked.app.door.access();
    let user = access.user(asked.name)?;
    access.bound_to(asked.identity, &user.roles)?;
    Ok(user)
}

pub(super) fn create(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let text = |name: &str| asked.form.text(name).map(str::trim).unwrap_or_default().to_owned();
    let request = UserRequest {
        name: text("name"),
        display_name: text("display_name"),
        roles: roles(&asked.form)?,
        password: asked.form.text("password").map(Secret::new),
    };
    asked.deed.tell(Deed::new_user(&request));
    let access = asked.app.door.access();
    access.bound_to(asked.identity, &request.roles)?;
    Ok(page_of(&access.create_user(request)?.name))
}

pub(super) fn set_roles(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let (access, roles) = (asked.app.door.access(), roles(&asked.form)?);
    asked.deed.tell(Deed::roles(asked.name, &roles));
    access.bound_to(asked.identity, &roles)?;
    access.set_roles(&bound(asked)?.name, roles)?;
    Ok(page_of(asked.name))
}

pub(super) fn set_admission(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let admission = match asked.form.text("admission") {
        Some("enabled") => Admission::Enabled,
        Some("disabled") => Admission::Disabled,
        _ => return Err(Problem::field("admission", "give enabled or disabled")),
    };
    asked.deed.tell(Deed::admission(asked.name, admission));
    asked.app.door.access().set_admission(&bound(asked)?.name, admission)?;
    Ok(page_of(asked.name))
}

pub(super) fn set_password(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let read = |text: &str| match text {
        "forget" => Some(Factors::Forgotten),
        "keep" => Some(Factors::Kept),
        _ => None,
    };
    let factors = asked.form.read("factors", read, || "keep or forget".to_owned())?.unwrap_or_default();
    let new = Secret::new(asked.form.text("new").unwrap_or_default());
    let update = UserUpdate { password: Some(new), factors, ..UserUpdate::default() };
    asked.deed.tell(Deed::changed_user(asked.name, &update));
    asked.app.door.access().update_user(&bound(asked)?, update)?;
    Ok(page_of(asked.name))
}

pub(super) fn remove_totp(asked: &Submitted<'_>) -> Result<Response, Problem> {
    asked.deed.tell(Deed::user(asked.name).and("without second factor"));
    asked.app.door.access().remove_totp(&bound(asked)?.name)?;
    Ok(page_of(asked.name))
}
