//! What forms on pages ask for, and the two pages that ask back: the token, and the emergency stop.
//!
//! Every write came through the door before ([`crate::security`]). Afterwards the browser is led back to a
//! page with 303, so that reloading asks nothing again.

use axum::http::{StatusCode, header};
use axum::response::Response;
use domain::PlanId;
use maud::{Markup, html};

use super::plan::REASON_MAX;
use super::view::View;
use super::{Page, Section, experiment_form, frame, html_response, issues, statistics, time::Form};
use crate::api::pause_time;
use crate::body::Query;
use crate::control::{Automation, ControlError, RunMode};
use crate::problem::Problem;
use crate::routes::see_other;
use crate::serve::App;

/// Who is recorded to have asked.
pub(super) const WHO: &str = "web page";

/// One submitted form.
pub(crate) struct Submitted<'a> {
    pub(crate) app: &'a App,
    /// What stands in the path's placeholder.
    pub(crate) name: &'a str,
    pub(crate) form: Query,
}

/// Does what a form asks for.
pub(crate) type Act = fn(&Submitted<'_>) -> Result<Response, Problem>;

/// The addresses of forms, besides `/login` and `/emergency-stop`.
pub(crate) const ACTIONS: [(&str, Act); 12] = [
    ("/automation", automation),
    ("/issues/{id}/preview", preview),
    ("/issues/{id}/repair", repair),
    ("/remediations/{id}/approve", approve),
    ("/remediations/{id}/reject", reject),
    ("/remediations/{id}/rollback", roll_back),
    ("/experiments/start", experiment_form::start),
    ("/experiments/{id}/abort", abort),
    ("/services/{name}/pause", pause),
    ("/statistics/baseline", statistics::keep),
    ("/services/{name}/resume", resume),
    ("/emergency-stop/clear", clear_emergency_stop),
];

impl Submitted<'_> {
    fn id<T: std::str::FromStr>(&self) -> Result<T, Problem> {
        self.name.parse().map_err(|_| Problem::not_found(format!("{:?} is no id", self.name)))
    }
}

/// The page to come back to after signing in for an action.
pub(crate) fn page_of_action(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["statistics", ..] => "/statistics".to_owned(),
        ["experiments", "start"] => "/experiments/new".to_owned(),
        ["emergency-stop", ..] => "/emergency-stop".to_owned(),
        [kind @ ("issues" | "remediations" | "experiments" | "services"), name, ..] => {
            format!("/{kind}/{name}")
        }
        _ => "/".to_owned(),
    }
}

fn automation(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let automation = match asked.form.text("enabled") {
        Some("true") => Automation::On,
        Some("false") => Automation::Off,
        _ => return Err(Problem::field("enabled", "give true or false")),
    };
    asked.app.control.set_automation(automation, WHO)?;
    Ok(see_other(local(asked.form.text("back"))))
}

/// Shows the plan that a repair would run, with a button that runs it.
fn preview(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let id = asked.id()?;
    let planned = asked.app.control.remediate(id, RunMode::DryRun, WHO)?;
    let view = View::load(asked.app, Form::Page)?;
    let page = issues::preview(asked.app, &view, id, &planned)?;
    Ok(html_response(StatusCode::OK, frame::document(&view, "/issues", &page)))
}

fn repair(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let planned = asked.app.control.remediate(asked.id()?, RunMode::Run, WHO)?;
    Ok(see_other(&format!("/remediations/{}", planned.plan.id)))
}

fn approve(asked: &Submitted<'_>) -> Result<Response, Problem> {
    decide(asked, |id| asked.app.control.approve(id, WHO))
}

fn reject(asked: &Submitted<'_>) -> Result<Response, Problem> {
    decide(asked, |id| asked.app.control.reject(id, WHO))
}

/// A decision and why; the reason is read first, so that none that is refused was decided upon.
fn decide(
    asked: &Submitted<'_>,
    decide: impl Fn(PlanId) -> Result<(), ControlError>,
) -> Result<Response, Problem> {
    let id = asked.id()?;
    let reason = asked.form.text("reason").map(str::trim).filter(|reason| !reason.is_empty());
    if reason
        .is_some_and(|reason| reason.chars().count() > REASON_MAX || reason.chars().any(char::is_control))
    {
        let detail =
            format!("`reason` must have at most {REASON_MAX} characters, none of them a control character");
        return Err(Problem::field("reason", detail));
    }
    decide(id)?;
    if let Some(reason) = reason {
        asked.app.store.explain_decision(id, reason)?;
    }
    let back = asked.form.text("back").map(|back| local(Some(back)).to_owned());
    Ok(see_other(&back.unwrap_or_else(|| format!("/remediations/{id}"))))
}

fn roll_back(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let id = asked.id()?;
    asked.app.control.roll_back(id, WHO)?;
    Ok(see_other(&format!("/remediations/{id}")))
}

fn abort(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let id = asked.id()?;
    asked.app.control.abort(id, WHO)?;
    Ok(see_other(&format!("/experiments/{id}")))
}

fn pause(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let service = asked.id()?;
    let time = pause_time(asked.form.text("for").unwrap_or("")).map_err(|why| Problem::field("for", why))?;
    asked.app.control.pause(&service, time, WHO)?;
    Ok(see_other(&format!("/services/{service}")))
}

fn resume(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let service = asked.id()?;
    asked.app.control.resume(&service, WHO)?;
    Ok(see_other(&format!("/services/{service}")))
}

/// Answers the press-and-hold as well as the button of the page that asks.
pub(crate) fn emergency_stop(asked: &Submitted<'_>) -> Result<Response, Problem> {
    asked.app.control.emergency_stop(WHO)?;
    Ok(see_other("/"))
}

fn clear_emergency_stop(asked: &Submitted<'_>) -> Result<Response, Problem> {
    asked.app.control.clear_emergency_stop(WHO)?;
    Ok(see_other("/"))
}

/// Takes the token from the page that asks for it and gives a cookie.
pub(crate) fn sign_in(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let given = asked.form.text("token").unwrap_or("").trim();
    if !asked.app.door.token_matches(given) {
        let view = View::load(asked.app, Form::Page)?;
        let page = login_page(asked.app, &asked.form, Some("This is not the token of this server."));
        return Ok(html_response(StatusCode::UNAUTHORIZED, frame::document(&view, "/login", &page)));
    }
    let mut response = see_other(local(asked.form.text("next")));
    response.headers_mut().insert(header::SET_COOKIE, asked.app.door.sign_in());
    Ok(response)
}

/// A path on this server, never another one's address.
fn local(next: Option<&str>) -> &str {
    next.filter(|next| {
        next.starts_with('/')
            && !next.starts_with("//")
            && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    })
    .unwrap_or("/")
}

/// The page that asks for the token.
pub(super) fn login_page(app: &App, query: &Query, wrong: Option<&str>) -> Page {
    let file = app.token_file.as_ref().map(|file| file.display().to_string());
    let body = html! {
        div class="card" {
            h1 class="sentence" { "Changing something needs the token." }
            @if let Some(wrong) = wrong { p class="notice bad" role="alert" { (wrong) } }
            p class="quiet" {
                "It was made when this server first started"
                @if let Some(file) = &file { ": " code { "cat " (file) } } @else { " and is in its data directory." }
            }
            form method="post" action="/login" {
                input type="hidden" name="next" value=(local(query.text("next")));
                label for="token" { "Token" }
                input id="token" type="password" name="token" required autofocus autocomplete="current-password";
                button class="primary" type="submit" { "Continue" }
            }
        }
    };
    Page { title: "Token".to_owned(), sections: vec![Section::still("login", body)] }
}

/// The page that asks once before the emergency stop, and clears it.
pub(super) fn emergency_stop_page(view: &View) -> Page {
    let body = match view.switches.emergency_stop {
        Some(since) => html! {
            h1 class="sentence" { "The emergency stop is engaged." }
            p { "Since " (view.stamp.ago(since)) ". Clearing it lets repairs and experiments begin again; it does not start any." }
            form method="post" action="/emergency-stop/clear" { button class="primary" type="submit" { "Clear the emergency stop" } }
        },
        None => ask(view),
    };
    Page {
        title: "Emergency stop".to_owned(),
        sections: vec![Section::still("emergency-stop", html! { div class="card" { (body) } })],
    }
}

fn ask(view: &View) -> Markup {
    let running = view.plans.iter().filter(|record| record.started_at.is_some()).count();
    html! {
        h1 class="sentence" { "Stop everything?" }
        p {
            "This takes out " (super::sentence::count(view.faults.len(), "running fault", "running faults"))
            ", stops " (super::sentence::count(running, "plan", "plans"))
            " under way, and lets none begin until it is cleared. Services and standing restarts go on."
        }
        form method="post" action="/emergency-stop" { button class="danger" type="submit" { "Stop everything" } }
        p { a href="/" { "Back to the overview" } }
    }
}
