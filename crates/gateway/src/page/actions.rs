//! What forms on pages ask for, and the two pages that ask back: the token, and the emergency stop.
//!
//! Every write came through the door before ([`crate::security`]). Afterwards the browser is led back to a
//! page with 303, so that reloading asks nothing again.

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use domain::{Identity, Permission, PlanId};
use maud::{Markup, html};

use super::plan::REASON_MAX;
use super::sentence::capital;
use super::view::View;
use super::{Page, Section, experiment_form, frame, html_response, issues, statistics, time::Form};
use crate::access::{AccessError, Secret, SignIn, Transport};
use crate::api::pause_time;
use crate::auditing::{SignedInAs, Why, about};
use crate::body::Query;
use crate::control::{Automation, ControlError, RunMode};
use crate::endpoint::Access;
use crate::problem::{Code, Problem};
use crate::routes::see_other;
use crate::serve::App;

/// One submitted form.
pub(crate) struct Submitted<'a> {
    pub(crate) app: &'a App,
    /// What stands in the path's placeholder.
    pub(crate) name: &'a str,
    pub(crate) form: Query,
    /// Who sent it.
    pub(crate) identity: &'a Identity,
    pub(crate) headers: &'a HeaderMap,
    /// Where it came from.
    pub(crate) peer: IpAddr,
}

/// Does what a form asks for.
pub(crate) type Act = fn(&Submitted<'_>) -> Result<Response, Problem>;

/// Where a form is sent.
pub(crate) struct Action {
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    /// What it is called in the audit trail: as the endpoint that does the same.
    pub(crate) name: &'static str,
    pub(crate) act: Act,
}

const fn action(path: &'static str, needs: Permission, name: &'static str, act: Act) -> Action {
    Action { path, access: Access::Needs(needs), name, act }
}

/// The forms there are.
pub(crate) const ACTIONS: &[Action] = &[
    Action { path: "/login", access: Access::Open, name: "sessions.create", act: sign_in },
    action("/automation", Permission::ServicesOperate, "automation.set", automation),
    action("/issues/{id}/preview", Permission::ServicesOperate, "issues.dry_run", preview),
    action("/issues/{id}/repair", Permission::ServicesOperate, "issues.remediate", repair),
    action("/remediations/{id}/approve", Permission::PlansApprove, "remediations.approve", approve),
    action("/remediations/{id}/reject", Permission::PlansApprove, "remediations.reject", reject),
    action("/remediations/{id}/rollback", Permission::PlansApprove, "remediations.roll_back", roll_back),
    action("/experiments/start", Permission::ChaosRun, "experiments.create", experiment_form::start),
    action("/experiments/{id}/abort", Permission::ChaosRun, "experiments.abort", abort),
    action("/services/{name}/pause", Permission::ServicesOperate, "pauses.create", pause),
    action("/services/{name}/resume", Permission::ServicesOperate, "pauses.delete", resume),
    action("/statistics/baseline", Permission::ServicesOperate, "statistics.set_baseline", statistics::keep),
    action("/emergency-stop", Permission::EmergencyStop, "emergency_stop.engage", emergency_stop),
    action("/emergency-stop/clear", Permission::PlansApprove, "emergency_stop.clear", clear_emergency_stop),
];

impl Submitted<'_> {
    fn id<T: std::str::FromStr>(&self) -> Result<T, Problem> {
        self.name.parse().map_err(|_| Problem::not_found(format!("{:?} is no id", self.name)))
    }

    /// Who is recorded to have asked.
    pub(super) fn who(&self) -> &str {
        &self.identity.name
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
    asked.app.control.set_automation(automation, asked.who())?;
    Ok(see_other(local(asked.form.text("back"))))
}

/// Shows the plan that a repair would run, with a button that runs it.
fn preview(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let id = asked.id()?;
    let planned = asked.app.control.remediate(id, RunMode::DryRun, asked.who())?;
    let view = View::load(asked.app, Form::Page)?;
    let page = issues::preview(asked.app, &view, id, &planned)?;
    Ok(html_response(StatusCode::OK, frame::document(&view, "/issues", &page)))
}

fn repair(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let planned = asked.app.control.remediate(asked.id()?, RunMode::Run, asked.who())?;
    Ok(about(planned.plan.id, see_other(&format!("/remediations/{}", planned.plan.id))))
}

fn approve(asked: &Submitted<'_>) -> Result<Response, Problem> {
    decide(asked, |id| asked.app.control.approve(id, asked.who()))
}

fn reject(asked: &Submitted<'_>) -> Result<Response, Problem> {
    decide(asked, |id| asked.app.control.reject(id, asked.who()))
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
    let mut response = about(id, see_other(&back.unwrap_or_else(|| format!("/remediations/{id}"))));
    if let Some(reason) = reason {
        response.extensions_mut().insert(Why(reason.to_owned()));
    }
    Ok(response)
}

fn roll_back(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let id = asked.id()?;
    asked.app.control.roll_back(id, asked.who())?;
    Ok(about(id, see_other(&format!("/remediations/{id}"))))
}

fn abort(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let id = asked.id()?;
    asked.app.control.abort(id, asked.who())?;
    Ok(see_other(&format!("/experiments/{id}")))
}

fn pause(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let service = asked.id()?;
    let time = pause_time(asked.form.text("for").unwrap_or("")).map_err(|why| Problem::field("for", why))?;
    asked.app.control.pause(&service, time, asked.who())?;
    Ok(see_other(&format!("/services/{service}")))
}

fn resume(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let service = asked.id()?;
    asked.app.control.resume(&service, asked.who())?;
    Ok(see_other(&format!("/services/{service}")))
}

/// Answers the press-and-hold as well as the button of the page that asks.
fn emergency_stop(asked: &Submitted<'_>) -> Result<Response, Problem> {
    asked.app.control.emergency_stop(asked.who())?;
    Ok(see_other("/"))
}

fn clear_emergency_stop(asked: &Submitted<'_>) -> Result<Response, Problem> {
    asked.app.control.clear_emergency_stop(asked.who())?;
    Ok(see_other("/"))
}

/// Takes name, password and code, or the token of the data directory, and gives a cookie.
fn sign_in(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let door = &asked.app.door;
    let before = door.cookie().values(asked.headers);
    let agent = asked.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("");
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
    let wrong = match signed_in {
        Ok(signed_in) => {
            let mut response = see_other(local(asked.form.text("next")));
            let cookie = door.cookie().set(&signed_in.cookie, Transport::Plain);
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            response.extensions_mut().insert(SignedInAs(signed_in.identity.name));
            return Ok(response);
        }
        Err(AccessError::WrongToken) => "This is not the token of this server.".to_owned(),
        Err(error @ AccessError::Store(_)) => return Err(error.into()),
        Err(error) => format!("{}.", capital(&error.to_string())),
    };
    let view = View::load(asked.app, Form::Page)?;
    let page = login_page(asked.app, &asked.form, Some(&wrong));
    let mut response = html_response(StatusCode::UNAUTHORIZED, frame::document(&view, "/login", &page));
    response.extensions_mut().insert(Problem::new(Code::SignInRefused, wrong).refusal());
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

/// The page that asks who somebody is.
pub(super) fn login_page(app: &App, query: &Query, wrong: Option<&str>) -> Page {
    let file = app.token_file.as_ref().map(|file| file.display().to_string());
    let body = html! {
        div class="card" {
            h1 class="sentence" { "Changing something needs to know who asks." }
            @if let Some(wrong) = wrong { p class="notice bad" role="alert" { (wrong) } }
            form method="post" action="/login" {
                input type="hidden" name="next" value=(local(query.text("next")));
                label for="name" { "Name" }
                input id="name" name="name" required autocomplete="username" value=(query.text("name").unwrap_or_default());
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
                input type="hidden" name="next" value=(local(query.text("next")));
                label for="token" { "Token" }
                input id="token" type="password" name="token" required autocomplete="off";
                button type="submit" { "Continue" }
            }
        }
    };
    Page { title: "Sign in".to_owned(), sections: vec![Section::still("login", body)] }
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
