//! The command palette: pages, services, issues and actions that match some words, as JSON for the script.
//!
//! In: `/palette?q=`. Out: `{items: [{title, kind, href}]}`, the best first. An action leads to the page that shows what
//! it would do and asks; the palette itself changes nothing.

use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::frame::RAIL;
use super::time::Form;
use super::view::View;
use crate::body::Query;
use crate::problem::Problem;
use crate::serve::App;

/// Items of an answer; more would not be read.
const ITEMS: usize = 20;

/// The longest text that is searched for.
const LONGEST: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Item {
    title: String,
    kind: &'static str,
    href: String,
}

#[derive(Serialize)]
struct Items {
    items: Vec<Item>,
}

/// What can be asked for, and the page that asks first.
const ACTIONS: [(&str, &str); 11] = [
    ("Emergency stop: stop everything", "/emergency-stop"),
    ("Begin an experiment: inject a fault", "/experiments/new"),
    ("Approve or reject what waits", "/approvals"),
    ("Export issues as CSV", "/issues?format=csv"),
    ("Export remediations as CSV", "/remediations?format=csv"),
    ("Enter your own baseline and costs", "/statistics#baseline"),
    ("Infrastructure: bring up, take down", "/infrastructure"),
    ("Your account: password, second factor, sessions, tokens", "/account"),
    ("Users: make, give roles, shut out", "/users"),
    ("Tokens: see and revoke all", "/tokens"),
    ("Export the audit trail as CSV", "/audit?format=csv"),
];

/// `GET /palette?q=`
pub(super) fn answer(app: &App, uri: &Uri) -> Result<Response, Problem> {
    let query = Query::parse(uri.query())?;
    query.only(&["q"])?;
    let asked = query.text("q").unwrap_or("");
    if asked.chars().count() > LONGEST {
        return Err(Problem::field("q", format!("`q` has more than {LONGEST} characters; give fewer words")));
    }
    let view = View::load(app, Form::Page)?;
    let body = serde_json::to_vec(&Items { items: matching(everything(&view), asked) })
        .map_err(|error| Problem::internal(format!("the answer cannot be written as JSON: {error}")))?;
    Ok(([(axum::http::header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn everything(view: &View) -> Vec<Item> {
    let item = |title: &str, kind, href: String| Item { title: title.to_owned(), kind, href };
    let mut all: Vec<Item> =
        RAIL.iter().map(|(address, word, _)| item(word, "page", (*address).to_owned())).collect();
    all.extend(ACTIONS.iter().map(|(title, address)| item(title, "action", (*address).to_owned())));
    for record in view.waiting() {
        all.push(item(&record.plan.summary, "approval", format!("/remediations/{}", record.plan.id)));
    }
    for issue in &view.issues {
        all.push(item(&issue.description, "issue", format!("/issues/{}", issue.id)));
    }
    for name in view.snapshot.as_deref().into_iter().flat_map(|snapshot| snapshot.services.keys()) {
        all.push(item(name.as_str(), "service", format!("/services/{name}")));
    }
    all
}

/// Those that say every word: first those that begin with what was asked, then those with a word that does, in their order.
fn matching(all: Vec<Item>, asked: &str) -> Vec<Item> {
    let asked = asked.trim().to_lowercase();
    let words: Vec<&str> = asked.split_whitespace().collect();
    let rank = |item: &Item| {
        let title = item.title.to_lowercase();
        let says = |word: &&str| title.contains(word) || item.kind.contains(word);
        if !words.iter().all(says) {
            return None;
        }
        let begins = |text: &str| words.first().is_none_or(|word| text.starts_with(word));
        Some(if title.starts_with(&asked) {
            0
        } else if title.split_whitespace().any(begins) {
            1
        } else {
            2
        })
    };
    let mut ranked: Vec<(i32, Item)> =
        all.into_iter().filter_map(|item| Some((rank(&item)?, item))).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, item)| item).take(ITEMS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_with_the_words_comes_first_and_every_word_counts() {
        let item = |title: &str, kind| Item { title: title.to_owned(), kind, href: String::new() };
        let all = || {
            vec![
                item("cart-1 runs slowly", "issue"),
                item("a cart", "page"),
                item("cart", "service"),
                item("front", "service"),
            ]
        };
        let titles = |asked| matching(all(), asked).into_iter().map(|item| item.title).collect::<Vec<_>>();
        assert_eq!(titles("Cart"), ["cart-1 runs slowly", "cart", "a cart"]);
        assert_eq!(titles("cart service"), ["cart"]);
        assert_eq!(titles("").len(), 4);
        assert_eq!(titles("nothing"), Vec::<String>::new());
    }
}
