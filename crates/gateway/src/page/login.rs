//! Signing in and out on pages: by name, password and code; by the token of the data directory; by an OpenID provider.
//!
//! In: forms, and what the provider sends the browser back with. Out: the session's cookie, or the page that asks again.

use audit::Action;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use maud::html;

use super::actions::{Submitted, local};
use super::sentence::capital;
use super::time::Form;
use super::view::View;
use super::{Page, Section, Visit, frame, html_response, passkeys};
use crate::access::{AccessError, OidcReturn, RelyingParty, Secret, SignIn, SignedIn, Transport};
use crate::auditing::{self, SignedInAs, TriedAs};
use crate::body::{Query, encode};
use crate::deed::Deed;
use crate::problem::{Code, Problem};
use crate::routes::see_other;
use crate::serve::App;

/// Where signing in by the provider begins.
pub(crate) const OIDC: &str = "/login/oidc";

/// Where the provider sends the browser back to; it has to know this address.
pub(crate) const OIDC_RETURN: &str = "/login/oidc/return";

/// How long the browser keeps what it began with, in seconds: as long as it may be finished.
const BEGUN_SECONDS: u32 = 600;

/// What a browser calls itself.
pub(super) fn user_agent(headers: &HeaderMap) -> &str {
    headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("")
}

/// Takes name, password and code, or the token of the data directory, and gives a cookie.
pub(super) fn sign_in(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let door = &asked.app.door;
    let before = door.cookie().values(asked.headers);
    let agent = user_agent(asked.headers);
    let text = |name: &str| asked.form.text(name).map(str::trim);
    let signed_in = match text("token") {
        Some(token) => door.access().sign_in_by_local_token(&Secret::new(token), agent, &before),
        None => door.access().sign_in(&SignIn {
            name: text("name").unwrap_or_default().to_owned(),
            password: Secret::new(asked.form.text("password").unwrap_or_default()),
            code: text("code").map(Secret::new),
            address: asked.peer,
            user_agent: agent.to_owned(),
            before,
        }),
    };
    match signed_in {
        Ok(signed_in) => Ok(welcome(asked, signed_in)),
        Err(AccessError::WrongToken) => {
            again(asked, Code::SignInRefused, "This is not the token of this server.".to_owned())
        }
        Err(error @ AccessError::Store(_)) => Err(error.into()),
        Err(error) => again(asked, error.problem_code(), format!("{}.", capital(&error.to_string()))),
    }
}

/// Gives the cookie, and leads on to where somebody wanted to go.
pub(super) fn welcome(asked: &Submitted<'_>, signed_in: SignedIn) -> Response {
    let mut response = see_other(local(asked.form.text("next")));
    let cookie = asked.app.door.cookie().set(&signed_in.cookie, Transport::Plain);
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    asked.deed.tell(Deed::of(format!("session of {}", signed_in.identity.name)).and("begun"));
    response.extensions_mut().insert(SignedInAs(signed_in.identity.name));
    response
}

/// The page that asks again, with what was wrong.
pub(super) fn again(asked: &Submitted<'_>, code: Code, wrong: String) -> Result<Response, Problem> {
    let view = View::load(asked.app, Form::Page)?.seen_by(asked.identity);
    let page = page(asked.app, &asked.form, asked.party().as_ref(), Some(&wrong));
    let mut response = html_response(StatusCode::UNAUTHORIZED, frame::document(&view, "/login", &page));
    response.extensions_mut().insert(Problem::new(code, wrong).refusal());
    if let Some(name) = asked.form.text("name") {
        response.extensions_mut().insert(TriedAs(name.trim().to_owned()));
    }
    Ok(response)
}

/// Ends the session of the browser.
pub(super) fn sign_out(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let door = &asked.app.door;
    asked.deed.tell(Deed::of(format!("session of {}", asked.who())).and("ended"));
    for value in door.cookie().values(asked.headers) {
        door.access().sign_out(&value)?;
    }
    let mut response = see_other("/");
    response.headers_mut().insert(header::SET_COOKIE, door.cookie().clear(Transport::Plain));
    Ok(response)
}

/// The two addresses of signing in by the provider.
pub(super) fn by_provider(visit: &Visit<'_>) -> Result<Response, Problem> {
    match visit.uri.path() {
        OIDC => begin(visit),
        OIDC_RETURN => finish(visit),
        path => Err(Problem::not_found(format!("there is no page {path}"))),
    }
}

/// Sends the browser to the provider.
fn begin(visit: &Visit<'_>) -> Result<Response, Problem> {
    let query = Query::parse(visit.uri.query())?;
    let origin = origin(visit.headers, visit.named_as);
    let begun = visit.app.door.access().begin_oidc(&format!("{origin}{OIDC_RETURN}"))?;
    let mut response = see_other(&begun.location);
    let kept = format!("{}|{}", begun.browser.expose(), encode(local(query.text("next"))));
    set_begun(visit.app, &mut response, &kept, BEGUN_SECONDS);
    Ok(response)
}

/// By which address the browser came; both were found to be ours before.
pub(super) fn origin(headers: &HeaderMap, named_as: Option<&str>) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    named_as.map_or_else(|| format!("http://{host}"), str::to_owned)
}

/// `Lax`, since the browser comes back from another site.
fn set_begun(app: &App, response: &mut Response, value: &str, seconds: u32) {
    let name = begun_cookie(app);
    let text = format!("{name}={value}; Path={OIDC}; HttpOnly; SameSite=Lax; Max-Age={seconds}");
    if let Ok(mut cookie) = HeaderValue::from_str(&text) {
        cookie.set_sensitive(true);
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

fn begun_cookie(app: &App) -> String {
    format!("homeostat-oidc-{}", app.door.port())
}

/// Takes what the browser brought back, and leads on by a page: the session's cookie would not go with a redirect that
/// began at another site.
fn finish(visit: &Visit<'_>) -> Result<Response, Problem> {
    const ACTION: Action = Action::new("sessions.create");
    let id = auditing::request_id(visit.headers);
    let done = finished(visit);
    let (signed_in, next) = match done {
        Ok(done) => done,
        Err(problem) => {
            auditing::sign_in_refused(visit.app, ACTION, (OIDC_RETURN, &id), visit.peer, &problem);
            return Err(problem);
        }
    };
    let deed = Deed::of(format!("session of {}", signed_in.identity.name)).and("begun");
    auditing::mutation(visit.app, &signed_in.identity, ACTION, (&deed, &id), Ok(None));
    let view = View::load(visit.app, Form::Page)?.seen_by(&signed_in.identity);
    let body = html! {
        div class="card" {
            h1 class="sentence" { "Signed in as " (signed_in.identity.name) "." }
            p { a href=(next) { "Continue" } }
        }
    };
    let page = Page { title: "Signed in".to_owned(), sections: vec![Section::still("signed-in", body)] };
    let mut response = html_response(StatusCode::OK, frame::document(&view, "/login", &page));
    let cookie = visit.app.door.cookie().set(&signed_in.cookie, Transport::Plain);
    response.headers_mut().append(header::SET_COOKIE, cookie);
    set_begun(visit.app, &mut response, "", 0);
    if let Ok(refresh) = HeaderValue::from_str(&format!("0; url={next}")) {
        response.headers_mut().insert(header::REFRESH, refresh);
    }
    Ok(response)
}

fn finished(visit: &Visit<'_>) -> Result<(SignedIn, String), Problem> {
    let query = Query::parse(visit.uri.query())?;
    let name = format!("{}=", begun_cookie(visit.app));
    let cookies = visit.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let kept = cookies.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(&*name));
    let (browser, next) = kept.and_then(|kept| kept.split_once('|')).unwrap_or_default();
    let next = Query::parse(Some(&format!("next={next}")))?;
    let error = || query.text("error").unwrap_or("it sent no code").to_owned();
    let door = &visit.app.door;
    let signed_in = door.access().finish_oidc(&OidcReturn {
        state: query.text("state").unwrap_or_default().to_owned(),
        code: query.text("code").map(Secret::new).ok_or_else(error),
        browser: Secret::new(browser),
        user_agent: user_agent(visit.headers).to_owned(),
        before: door.cookie().values(visit.headers),
    })?;
    Ok((signed_in, local(next.text("next")).to_owned()))
}

/// The page that asks who somebody is.
pub(super) fn page(app: &App, query: &Query, party: Option<&RelyingParty>, wrong: Option<&str>) -> Page {
    let file = app.token_file.as_ref().map(|file| file.display().to_string());
    let next = local(query.text("next"));
    let body = html! {
        div class="card" {
            h1 class="sentence" { "Changing something needs to know who asks." }
            @if let Some(wrong) = wrong { p class="notice bad" role="alert" { (wrong) } }
            @if let Some(issuer) = app.door.access().oidc_issuer() {
                p { a class="button" href={ (OIDC) "?next=" (encode(next)) } { "Sign in by " (host_of(issuer)) } }
            }
            (passkeys::sign_in_form(party, next))
            h2 { "Or by name and password" }
            form method="post" action="/login" {
                input type="hidden" name="next" value=(next);
                label for="name" { "Name" }
                input id="name" name="name" required autocomplete="username" spellcheck="false" value=(query.text("name").unwrap_or_default());
                label for="password" { "Password" }
                input id="password" type="password" name="password" required autocomplete="current-password";
                label for="code" { "Code, where you have a second factor" }
                input id="code" name="code" inputmode="numeric" autocomplete="one-time-code";
                button class="primary" type="submit" { "Sign in" }
            }
            h2 { "Or with the token of the data directory" }
            p class="quiet" {
                "It was made when this server first started"
                @if let Some(file) = &file { ": " code { "cat " (file) } } @else { " and is in its data directory." }
            }
            form method="post" action="/login" {
                input type="hidden" name="next" value=(next);
                label for="token" { "Token" }
                input id="token" type="password" name="token" required autocomplete="off";
                button type="submit" { "Continue" }
            }
        }
    };
    Page { title: "Sign in".to_owned(), sections: vec![Section::still("login", body)] }
}

/// The name of an issuer's machine: what people know it by.
fn host_of(issuer: &str) -> &str {
    issuer.split_once("://").map_or(issuer, |(_, rest)| rest).split('/').next().unwrap_or(issuer)
}
