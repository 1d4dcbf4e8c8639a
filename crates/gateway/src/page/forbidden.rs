//! What is said to somebody who may not: what it takes, and which roles have it.

use axum::http::{StatusCode, Uri};
use axum::response::Response;
use domain::access::{Permission, Role};
use maud::html;

use super::sentence::capital;
use super::time::Form;
use super::view::View;
use super::{Page, Section, frame, html_response};
use crate::problem::Problem;
use crate::serve::App;

/// The page that says which role is needed, with status 403.
///
/// # Errors
///
/// What keeps the frame of the page from being read.
pub(crate) fn forbidden(app: &App, uri: &Uri, permission: Permission) -> Result<Response, Problem> {
    let view = View::load(app, Form::Page)?;
    let roles: Vec<&str> =
        Role::ALL.into_iter().filter(|role| role.permissions().allows(permission)).map(Role::name).collect();
    let body = html! {
        div class="card" {
            h1 class="sentence" { "This needs the role " (roles.join(" or ")) "." }
            p { (capital(permission.meaning())) ": that is the permission " code { (permission) } ", which your identity does not have." }
            p class="quiet" { "An admin gives roles. What you see elsewhere stays as it is; nothing was changed." }
            p class="facts" { a href={ "/login?next=" (crate::body::encode(uri.path())) } { "Sign in as somebody else" } a href="/" { "Overview" } }
        }
    };
    let page = Page { title: "Forbidden".to_owned(), sections: vec![Section::still("forbidden", body)] };
    Ok(html_response(StatusCode::FORBIDDEN, frame::document(&view, uri.path(), &page)))
}
