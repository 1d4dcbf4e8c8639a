//! The documents: guides, concepts, reference, decisions, a page for each code of errors, and the API to browse.
//!
//! In: an address below `/docs`, and what is searched for. Out: the page. The documents are those of `docs/` in the source
//! tree, of the version that runs; the API's page is made from its OpenAPI document.

mod api;
mod book;
mod markdown;
mod search;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use maud::{Markup, html};

use super::sentence::count;
use super::{Page, Section};
use crate::body::Query;
use crate::problem::{Code, Problem};
use book::Document;
use markdown::Rendered;
#[cfg(test)]
pub(crate) use markdown::anchor;

/// Letters of a question at most.
const QUESTION_MAX: usize = 200;

/// The page of the API stands after this document.
const BEFORE_API: &str = "reference/rest";

static RENDERED: LazyLock<BTreeMap<&str, Rendered>> =
    LazyLock::new(|| book::all().map(|document| (document.path, markdown::render(document))).collect());

/// What stands at an address below `/docs`.
pub(super) fn page(rest: &[&str], query: &Query) -> Result<Page, Problem> {
    query.only(&["q", "part"])?;
    match (rest, query.text("q")) {
        ([], Some(asked)) if !asked.trim().is_empty() => found(asked),
        (["api"], _) => Ok(framed("API", "api", "", api::article(), api::groups())),
        (["errors"], _) => document("reference/errors"),
        (["errors", name], _) => error(name),
        (path, _) => document(&path.join("/")),
    }
}

/// A document as it was written, where its address is asked for with `.md` behind it.
pub(super) fn source(address: &str) -> Option<&'static str> {
    book::all().find(|document| document.source() == address).map(|document| document.markdown)
}

fn document(path: &str) -> Result<Page, Problem> {
    let unknown =
        || Problem::not_found(format!("there is no document {path:?}; /docs lists those there are"));
    let document = book::all().find(|document| document.path == path).ok_or_else(unknown)?;
    let rendered = RENDERED.get(document.path).ok_or_else(unknown)?;
    let article = html! {
        (rendered.html)
        p class="quiet" { a href=(document.source()) rel="alternate" type="text/markdown" { "This page as Markdown" } }
        (neighbours(document))
    };
    Ok(framed(document.title(), path, "", &article, &rendered.headings))
}

/// What was read before and what comes next.
fn neighbours(document: &Document) -> Markup {
    let all: Vec<&Document> = book::all().collect();
    let at = all.iter().position(|other| other.path == document.path).unwrap_or(0);
    let before = at.checked_sub(1).and_then(|at| all.get(at));
    html! {
        nav class="neighbours" aria-label="Before and after" {
            @if let Some(document) = before { a rel="prev" href=(document.address()) { "← " (plain(document.title())) } }
            @if let Some(document) = all.get(at + 1) { a class="next" rel="next" href=(document.address()) { (plain(document.title())) " →" } }
        }
    }
}

/// A title without the marks of Markdown.
fn plain(title: &str) -> String {
    title.replace('`', "")
}

fn error(name: &str) -> Result<Page, Problem> {
    let code = Code::ALL.iter().find(|code| code.name() == name).ok_or_else(|| {
        Problem::not_found(format!(
            "there is no error code {name:?}; /docs/reference/errors lists those there are"
        ))
    })?;
    let article = html! {
        p class="crumb" { a href="/docs/reference/errors" { "Error codes" } }
        h1 { code { (code.name()) } }
        p { "Status " strong { (code.status().as_str()) } ", " (code.status().canonical_reason().unwrap_or_default()) "." }
        h2 { "What it means" }
        p { (super::sentence::with_code(code.meaning())) }
        h2 { "What to do" }
        p { (super::sentence::with_code(code.remedy())) }
        p class="quiet" { "The " code { "detail" } " of the answer says more about the one request; "
            a href="/docs/guides/troubleshooting" { "Troubleshooting" } " about what is often behind it." }
    };
    Ok(framed(code.name(), "reference/errors", "", &article, &[]))
}

fn found(asked: &str) -> Result<Page, Problem> {
    if asked.chars().count() > QUESTION_MAX {
        return Err(Problem::field(
            "q",
            format!("has more than {QUESTION_MAX} letters; ask with fewer words"),
        ));
    }
    let found = search::find(asked);
    let article = html! {
        h1 { @if found.is_empty() { "Nothing found for “" (asked) "”" } @else { (count(found.len(), "part", "parts")) " with “" (asked) "”" } }
        @if found.is_empty() {
            p { "Every word has to stand in one part of a document. Try fewer, or the name of a key, a command or an error code." }
        }
        ol class="found" {
            @for part in &found {
                li {
                    a href=(part.address) {
                        (plain(part.document.title()))
                        @if part.heading != part.document.title() { " · " (part.heading) }
                    }
                    p { (part.excerpt.0) mark { (part.excerpt.1) } (part.excerpt.2) }
                }
            }
        }
    };
    Ok(framed("Search", "", asked, &article, &[]))
}

/// A document in its frame: search and contents beside it, its own headings where there is room.
fn framed(title: &str, path: &str, asked: &str, article: &Markup, headings: &[(String, String)]) -> Page {
    let body = html! {
        div class="docs" {
            div class="docs-search" {
                form method="get" action="/docs" role="search" {
                    label for="docs-q" class="hidden-text" { "Search in the documents" }
                    input id="docs-q" type="search" name="q" value=(asked) maxlength=(QUESTION_MAX) placeholder="Search in the documents";
                    button type="submit" { "Search" }
                }
                a class="narrow-only" href="#contents" { "Contents" }
            }
            article class="prose" { (article) }
            @if !headings.is_empty() {
                nav class="docs-here" aria-label="On this page" {
                    h2 { "On this page" }
                    ul { @for (anchor, words) in headings { li { a href={ "#" (anchor) } { (words) } } } }
                }
            }
            (contents(path))
        }
    };
    Page { title: format!("{} · Documentation", plain(title)), sections: vec![Section::still("docs", body)] }
}

fn contents(path: &str) -> Markup {
    let here = |of: &str| (of == path).then_some("page");
    html! {
        nav id="contents" class="docs-contents" aria-label="Documents" {
            ul { li { a href="/docs" aria-current=[here(book::FIRST.path)] { (book::FIRST.title()) } } }
            @for part in &book::PARTS {
                h2 { (part.title) }
                ul {
                    @for document in part.documents {
                        li { a href=(document.address()) aria-current=[here(document.path)] { (plain(document.title())) } }
                        @if document.path == BEFORE_API {
                            li { a href="/docs/api" aria-current=[here("api")] { "API, to browse" } }
                        }
                    }
                }
            }
        }
    }
}
