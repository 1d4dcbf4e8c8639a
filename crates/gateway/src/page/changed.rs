//! What a form was drawn from, and what is said where it is not so any more.
//!
//! In: a form that brings the version of what it overwrites. Out: what it asked for; or, with status 412, what is another now
//! and the form once more as it was filled in, drawn from how it is now. Passwords are typed again.

use axum::http::{StatusCode, Uri};
use axum::response::Response;
use maud::{Markup, html};

use super::actions::{Action, Submitted, page_of_action};
use super::sentence::capital;
use super::time::Form;
use super::view::View;
use super::{Page, Section, fields, frame, html_response, users};
use crate::overwritten::{Fact, Overwritten, Standing};
use crate::problem::Problem;

pub(super) const VERSION: &str = "version";
pub(super) const SEEN: &str = "seen";

/// Fields that are never sent back to a browser.
const SECRETS: [(&str, &str); 3] =
    [("present", "Present password"), ("new", "New password"), ("again", "New password again")];

/// Fields that people type, with their words; what is neither goes along as it is.
const TYPED: [(&str, &str); 4] = [
    ("replicas", "Instances"),
    ("for", "For"),
    ("mttr_minutes", "Mean time to repair, minutes"),
    ("outage_cost_per_hour", "An hour of outage costs"),
];

/// What a form carries of what it overwrites.
pub(super) fn drawn_from(standing: &Standing) -> Markup {
    // Facts are texts, which always can be written.
    let seen = serde_json::to_string(&standing.facts).unwrap_or_default();
    html! {
        input type="hidden" name=(VERSION) value=(standing.version);
        input type="hidden" name=(SEEN) value=(seen);
    }
}

/// Does what a form asks for, unless its fields are not those it has, or what it overwrites was changed since it was drawn.
pub(crate) fn perform(action: &Action, asked: &Submitted<'_>, uri: &Uri) -> Result<Response, Problem> {
    fields::check(action, &asked.form)?;
    let Some(overwrites) = action.overwrites else { return (action.act)(asked) };
    let what = overwrites(asked)?;
    let (_turn, now) = what.hold(asked.app)?;
    match asked.form.text(VERSION) {
        Some(seen) if seen != now.version => refused(asked, uri, &what, &now),
        _ => (action.act)(asked),
    }
}

fn refused(
    asked: &Submitted<'_>,
    uri: &Uri,
    what: &Overwritten,
    now: &Standing,
) -> Result<Response, Problem> {
    let seen: Vec<Fact> =
        asked.form.text(SEEN).and_then(|seen| serde_json::from_str(seen).ok()).unwrap_or_default();
    let back = page_of_action(uri.path());
    let body = html! {
        div class="card" {
            h1 class="sentence" { (capital(&what.words())) " was changed while you looked at it." }
            p { "Nothing of what you asked for was done." }
            (differences(&seen, now))
            h2 { "What you asked for" }
            form class="fill-in" method="post" action=(uri.path()) {
                (again(asked))
                (drawn_from(now))
                div class="actions" {
                    button class="danger" type="submit" { "Do it all the same" }
                    a class="button" href=(back) { "Look at it as it is now" }
                }
            }
        }
    };
    let view = View::load(asked.app, Form::Page)?.seen_by(asked.identity);
    let page =
        Page { title: "Changed meanwhile".to_owned(), sections: vec![Section::still("changed", body)] };
    let document = frame::document(&view, &back, &page);
    let mut response = html_response(StatusCode::PRECONDITION_FAILED, document);
    response.extensions_mut().insert(what.changed("the form was drawn before that").refusal());
    Ok(response)
}

/// What is another now, beside what the form was drawn from.
fn differences(seen: &[Fact], now: &Standing) -> Markup {
    let value = |facts: &[Fact], word: &str| {
        facts.iter().find(|(of, _)| of == word).map_or("–".to_owned(), |(_, value)| value.clone())
    };
    let mut words: Vec<&str> = Vec::new();
    for (word, _) in seen.iter().chain(&now.facts) {
        if !words.contains(&word.as_str()) && value(seen, word) != value(&now.facts, word) {
            words.push(word);
        }
    }
    html! {
        @if words.is_empty() {
            p { "What was changed is not shown, as a password is not." }
        } @else {
            div class="scroll" { table class="stacks" {
                thead { tr { th { "What" } th { "As you saw it" } th { "Now" } } }
                tbody { @for word in words {
                    tr { td class="name" { (word) } td data-label="As you saw it" { (value(seen, word)) } td data-label="Now" { (value(&now.facts, word)) } }
                } }
            } }
        }
    }
}

/// The fields of a form as they were sent.
fn again(asked: &Submitted<'_>) -> Markup {
    let word = |known: &[(&str, &'static str)], name: &str| {
        known.iter().find(|(of, _)| *of == name).map(|(_, word)| *word)
    };
    let has_roles = asked.form.all(users::ROLE).next().is_some();
    html! {
        @if has_roles { (users::role_boxes(&users::roles(&asked.form).unwrap_or_default())) }
        @for (name, value) in asked.form.pairs() {
            @match name {
                VERSION | SEEN | users::ROLE => {},
                name => {
                    @if let Some(word) = word(&SECRETS, name) {
                        label { (word) input type="password" name=(name) required autocomplete="off"; }
                    } @else if let Some(word) = word(&TYPED, name) {
                        label { (word) input name=(name) value=(value) autocomplete="off"; }
                    } @else {
                        input type="hidden" name=(name) value=(value);
                    }
                },
            }
        }
    }
}
