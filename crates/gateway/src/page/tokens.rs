//! API tokens: all of them, one's own, making one, revoking one.
//!
//! In: the tokens that who looks may see, and forms. Out: tables, and the page that shows a new token once.

use std::time::Duration;

use axum::response::Response;
use domain::access::Permissions;
use domain::{Identity, Permission, Proof, Role};
use maud::{Markup, html};
use serde_json::json;
use store::{TokenOwner, TokenRecord};

use super::account::{ask, once};
use super::actions::{Submitted, local};
use super::list::{Column, Filter, List, Listed, Source};
use super::marks::{Meaning, mark};
use super::sentence::count;
use super::time::Stamp;
use super::view::View;
use super::{Page, Section, Update};
use crate::access::{LOCAL_TOKEN, TokenRequest};
use crate::auditing::ended_with;
use crate::body::Query;
use crate::deed::Deed;
use crate::problem::Problem;
use crate::routes::see_other;
use crate::serve::App;

const STATES: [&str; 3] = ["valid", "expired", "revoked"];

/// For how many days a token can be made; empty for ever.
const DAYS: [(&str, &str); 4] = [("30", "30 days"), ("90", "90 days"), ("365", "1 year"), ("", "no end")];

pub(super) fn list(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    if view.who.is_none() {
        return Ok(Page { title: "Tokens".to_owned(), sections: Vec::new() });
    }
    let listed = listed(app, view)?;
    let sentence = match &listed.source {
        Source::Whole(rows) => {
            let valid = rows.iter().filter(|token| state(view.stamp, token) == "valid").count();
            format!("{} in force.", count(valid, "token is", "tokens are"))
        }
        Source::Stored(_) => "Tokens.".to_owned(),
    };
    let form = Section::still("filters", listed.list.search_form(query));
    let rows = listed.rows(query, "tokens", Update::Never)?;
    let head = html! {
        h1 class="sentence" { (sentence) }
        p class="facts" { "Each does what its roles and scope say, and never more than its owner." a href="/account#tokens" { "Make one" } }
    };
    Ok(Page { title: "Tokens".to_owned(), sections: vec![Section::still("sentence", head), form, rows] })
}

/// Every token, the newest first.
pub(super) fn listed<'a>(app: &App, view: &'a View) -> Result<Listed<'a, TokenRecord>, Problem> {
    // Whether one may see them all was asked at the door.
    let manager = Identity::proven(LOCAL_TOKEN, Proof::Token, vec![Role::Admin], None);
    let rows = app.door.access().tokens(&manager)?;
    Ok(Listed { list: described(view.stamp, "/tokens"), source: Source::Whole(rows) })
}

fn described<'a>(stamp: Stamp, back: &'static str) -> List<'a, TokenRecord> {
    let states = STATES.map(|name| (name, name));
    List {
        address: "/tokens",
        nouns: ("token", "tokens"),
        columns: columns(stamp, back),
        filters: vec![
            Filter::choice("state", "State", states)
                .keeping(move |token: &TokenRecord, wanted| state(stamp, token) == wanted),
        ],
        key: Box::new(|token| token.id.to_string()),
        empty: html! { p class="empty" { "There is no token. One is for a program or a shell: it is sent as " code { "Authorization: Bearer TOKEN" } "." } },
    }
}

fn columns<'a>(stamp: Stamp, back: &'static str) -> Vec<Column<'a, TokenRecord>> {
    let time = |at: Option<domain::Time>| json!(at.map(|at| at.rfc3339()));
    vec![
        Column::new("state", "State", move |token: &TokenRecord| json!(state(stamp, token))).shown(
            move |token| {
                let word = state(stamp, token);
                mark(if word == "valid" { Meaning::Good } else { Meaning::Unknown }, word)
            },
        ),
        Column::new("name", "Name", |token: &TokenRecord| json!(token.name)).class("name").sorted(),
        Column::new("owner", "Owner", |token: &TokenRecord| json!(owner(token))).sorted(),
        Column::new("made_by", "Made by", |token: &TokenRecord| json!(token.made_by)),
        Column::new("roles", "Roles", |token: &TokenRecord| json!(names(&token.roles))),
        Column::new("scope", "Scope", |token: &TokenRecord| json!(token.scope.map(scope))).class("two"),
        Column::new("created_at", "Made", move |token: &TokenRecord| time(Some(token.created)))
            .shown(move |token| stamp.ago(token.created))
            .sorted(),
        Column::new("expires_at", "Ends", move |token: &TokenRecord| time(token.expires))
            .shown(move |token| match token.expires {
                Some(end) => stamp.left(end),
                None => html! { "never" },
            })
            .sorted(),
        Column::new("used_at", "Last used", move |token: &TokenRecord| time(token.used))
            .shown(move |token| token.used.map_or(html! { "never" }, |used| stamp.ago(used)))
            .sorted(),
        Column::buttons("revoke", move |token| revoke_form(token, back)),
    ]
}

fn revoke_form(token: &TokenRecord, back: &str) -> Markup {
    html! { @if token.revoked.is_none() {
        (ask("Revoke", &format!("What uses the token {}, or one that it made, is refused from now on. This cannot be taken back.", token.name),
            &format!("/account/tokens/{}/revoke", token.id), html! { input type="hidden" name="back" value=(back); }))
    } }
}

fn state(stamp: Stamp, token: &TokenRecord) -> &'static str {
    if token.revoked.is_some() {
        "revoked"
    } else if token.expires.is_some_and(|end| stamp.now.reached(end)) {
        "expired"
    } else {
        "valid"
    }
}

fn owner(token: &TokenRecord) -> &str {
    match &token.owner {
        TokenOwner::LocalToken => LOCAL_TOKEN,
        TokenOwner::User(user) => &user.name,
    }
}

fn names(roles: &[Role]) -> Vec<&'static str> {
    roles.iter().map(|role| role.name()).collect()
}

fn scope(scope: Permissions) -> Vec<&'static str> {
    scope.iter().map(Permission::name).collect()
}

/// One's own tokens, and the form that makes one.
pub(super) fn own(app: &App, view: &View, who: &Identity) -> Result<Markup, Problem> {
    let mut mine = app.door.access().tokens(who)?;
    mine.retain(|token| owner(token) == who.name);
    Ok(html! {
        h2 { "Tokens" span class="quiet" { "for programs and shells that act as you" } }
        (described(view.stamp, "/account").plain(&mine))
        form class="fill-in" method="post" action="/account/tokens" { fieldset {
            legend { "Another token" }
            label { "Name, as it is recorded" input name="name" required maxlength="64" autocomplete="off" spellcheck="false"; }
            label { "Role" select name="role" { @for role in &who.roles { option value=(role) { (role) } } } }
            label { "Ends after" select name="days" { @for (days, word) in DAYS { option value=(days) selected[days == "90"] { (word) } } } }
            label { "Only" select name="scope" {
                option value="" { "all of the role" }
                @for permission in Role::permissions_of(&who.roles).iter() { option value=(permission) { (permission) } }
            } }
            button type="submit" { "Make it" }
        } }
    })
}

pub(super) fn create(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let form = &asked.form;
    let role = form.read("role", |text| text.parse::<Role>().ok(), || names(&Role::ALL).join(", "))?;
    let days = form.read(
        "days",
        |text| text.parse::<u64>().ok().filter(|days| (1..=3650).contains(days)),
        || "1 to 3650 days, or nothing for no end".to_owned(),
    )?;
    let only = form.read("scope", |text| text.parse::<Permission>().ok(), || "a permission".to_owned())?;
    let now = asked.app.clock.now();
    let request = TokenRequest {
        name: form.text("name").unwrap_or_default().to_owned(),
        owner: None,
        roles: role.into_iter().collect(),
        scope: only.map(|only| [only].into_iter().collect()),
        expires: days.map(|days| now.plus(Duration::from_secs(days * 86_400))),
    };
    asked.deed.tell(Deed::new_token(&request));
    let made = asked.app.door.access().create_token(asked.identity, request)?;
    let body = html! {
        h1 class="sentence" { "The token " (made.record.name) " is made." }
        p { "It is shown now and never again: copy it to where it is used." }
        p { code class="secret" { (made.secret.expose()) } }
        p class="quiet" { "Sent as " code { "Authorization: Bearer TOKEN" } "." }
        p { a class="button" href="/account" { "I kept it" } }
    };
    once(asked, "Token", body)
}

pub(super) fn revoke(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let id = asked.id()?;
    asked.deed.tell(Deed::revoke(&asked.app.store, id));
    let ended = asked.app.door.access().revoke_token(asked.identity, id)?;
    Ok(ended_with(&ended, see_other(local(asked.form.text("back")))))
}
