//! What forms on pages ask for, and the page that asks back: the emergency stop.
//!
//! Every write came through the door before ([`crate::security`]). Afterwards the browser is led back to a
//! page with 303, so that reloading asks nothing again.

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::{Identity, Permission, PlanId};
use maud::{Markup, html};

use super::changed::drawn_from;
use super::plan::REASON_MAX;
use super::view::View;
use super::{
    Page, Section, account, experiment_form, frame, html_response, infrastructure, issues, login, passkeys,
    statistics, time::Form, tokens, traces, users,
};
use crate::api::{pause_time, refused_plan};
use crate::auditing::about;
use crate::body::Query;
use crate::control::{Automation, ControlError, Planned, RunMode};
use crate::deed::{Deed, Telling};
use crate::endpoint::Access;
use crate::overwritten::{Overwritten, Standing};
use crate::problem::Problem;
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
    /// How the browser names this server; as with [`super::Visit`].
    pub(crate) named_as: Option<&'a str>,
    /// What the audit trail is told of it.
    pub(crate) deed: Telling,
}

/// Does what a form asks for.
pub(crate) type Act = fn(&Submitted<'_>) -> Result<Response, Problem>;

/// What a form overwrites.
pub(crate) type Overwrites = fn(&Submitted<'_>) -> Result<Overwritten, Problem>;

/// Where a form is sent.
pub(crate) struct Action {
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    /// What it is called in the audit trail: as the endpoint that does the same.
    pub(crate) name: &'static str,
    pub(crate) act: Act,
    /// What it overwrites; `None` where what is there does not matter.
    pub(crate) overwrites: Option<Overwrites>,
}

const fn action(path: &'static str, needs: Permission, name: &'static str, act: Act) -> Action {
    Action { path, access: Access::Needs(needs), name, act, overwrites: None }
}

const fn own(path: &'static str, name: &'static str, act: Act) -> Action {
    Action { path, access: Access::SignedIn, name, act, overwrites: None }
}

const fn open(path: &'static str, name: &'static str, act: Act) -> Action {
    Action { path, access: Access::Open, name, act, overwrites: None }
}

impl Action {
    const fn overwriting(self, overwrites: Overwrites) -> Self {
        Self { overwrites: Some(overwrites), ..self }
    }
}

/// The forms there are.
pub(crate) const ACTIONS: &[Action] = &[
    open("/login", "sessions.create", login::sign_in),
    open(passkeys::SIGN_IN, "sessions.create", passkeys::sign_in),
    own("/logout", "sessions.delete", login::sign_out),
    own("/account/password", "users.set_password", account::set_password).overwriting(account::overwritten),
    own("/account/totp", "users.enrol_totp", account::enrol),
    own("/account/totp/confirm", "users.confirm_totp", account::confirm),
    own("/account/passkeys", "users.enrol_passkey", passkeys::begin),
    own("/account/passkeys/register", "users.register_passkey", passkeys::register),
    own("/account/passkeys/{id}/remove", "users.remove_passkey", passkeys::remove),
    own("/account/sessions/end-all", "sessions.delete", account::end_all),
    own("/account/sessions/{id}/end", "sessions.delete", account::end),
    own("/account/tokens", "tokens.create", tokens::create),
    own("/account/tokens/{id}/revoke", "tokens.revoke", tokens::revoke),
    action("/users/create", Permission::AccessManage, "users.create", users::create),
    action("/users/{name}/roles", Permission::AccessManage, "users.set_roles", users::set_roles)
        .overwriting(users::overwritten),
    action("/users/{name}/admission", Permission::AccessManage, "users.set_admission", users::set_admission)
        .overwriting(users::overwritten),
    action("/users/{name}/password", Permission::AccessManage, "users.set_password", users::set_password)
        .overwriting(users::overwritten),
    action("/users/{name}/totp/remove", Permission::AccessManage, "users.remove_totp", users::remove_totp)
        .overwriting(users::overwritten),
    action(
        "/users/{name}/passkeys/remove",
        Permission::AccessManage,
        "users.remove_passkey",
        passkeys::remove_of,
    ),
    action(
        "/infrastructure/preview",
        Permission::InfrastructureWrite,
        "infrastructures.dry_run",
        infrastructure::preview_create,
    ),
    action(
        "/infrastructure/create",
        Permission::InfrastructureWrite,
        "infrastructures.create",
        infrastructure::create,
    ),
    action(
        "/infrastructure/{name}/delete/preview",
        Permission::InfrastructureWrite,
        "infrastructures.dry_run",
        infrastructure::preview_delete,
    )
    .overwriting(infrastructure::taken_down),
    action(
        "/infrastructure/{name}/delete",
        Permission::InfrastructureWrite,
        "infrastructures.delete",
        infrastructure::delete,
    )
    .overwriting(infrastructure::taken_down),
    action(
        "/services/{name}/scale/preview",
        Permission::InfrastructureWrite,
        "infrastructures.dry_run",
        infrastructure::preview_scale,
    )
    .overwriting(infrastructure::scaled),
    action(
        "/services/{name}/scale",
        Permission::InfrastructureWrite,
        "infrastructures.scale",
        infrastructure::scale,
    )
    .overwriting(infrastructure::scaled),
    action("/automation", Permission::ServicesOperate, "automation.set", automation)
        .overwriting(|_| Ok(Overwritten::Automation)),
    action("/issues/{id}/preview", Permission::ServicesOperate, "issues.dry_run", preview),
    action("/issues/{id}/repair", Permission::ServicesOperate, "issues.remediate", repair),
    action("/remediations/{id}/approve", Permission::PlansApprove, "remediations.approve", approve),
    action("/remediations/{id}/reject", Permission::PlansApprove, "remediations.reject", reject),
    action("/remediations/{id}/rollback", Permission::PlansApprove, "remediations.roll_back", roll_back),
    action("/traces/{id}/archive", Permission::TelemetryWrite, "archive.add", traces::archive),
    action("/traces/{id}/archive/remove", Permission::ServerManage, "archive.remove", traces::unarchive),
    action("/experiments/start", Permission::ChaosRun, "experiments.create", experiment_form::start),
    action("/experiments/{id}/abort", Permission::ChaosRun, "experiments.abort", abort),
    action("/services/{name}/pause", Permission::ServicesOperate, "pauses.create", pause).overwriting(paused),
    action("/services/{name}/resume", Permission::ServicesOperate, "pauses.delete", resume)
        .overwriting(paused),
    action("/statistics/baseline", Permission::ServicesOperate, "statistics.set_baseline", statistics::keep)
        .overwriting(|_| Ok(Overwritten::Figures)),
    action("/emergency-stop", Permission::EmergencyStop, "emergency_stop.engage", emergency_stop),
    action("/emergency-stop/clear", Permission::PlansApprove, "emergency_stop.clear", clear_emergency_stop)
        .overwriting(|_| Ok(Overwritten::EmergencyStop)),
];

impl Submitted<'_> {
    pub(super) fn id<T: std::str::FromStr>(&self) -> Result<T, Problem> {
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
        [kind @ ("account" | "infrastructure"), ..] => format!("/{kind}"),
        ["users", "create"] => "/users".to_owned(),
        ["users", name, ..] => format!("/users/{name}"),
        ["statistics", ..] => "/statistics".to_owned(),
        ["experiments", "start"] => "/experiments/new".to_owned(),
        ["emergency-stop", ..] => "/emergency-stop".to_owned(),
        [kind @ ("issues" | "remediations" | "experiments" | "services" | "traces"), name, ..] => {
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
    asked.deed.tell(Deed::automation(automation));
    asked.app.control.set_automation(automation, asked.who())?;
    Ok(see_other(local(asked.form.text("back"))))
}

/// Shows the plan that a repair would run, with a button that runs it.
fn preview(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let id = asked.id()?;
    asked.deed.tell(Deed::repair(id));
    let planned = asked.app.control.remediate(id, RunMode::DryRun, asked.who())?;
    asked.deed.planned(RunMode::DryRun, &planned);
    let view = View::load(asked.app, Form::Page)?.seen_by(asked.identity);
    let page = issues::preview(asked.app, &view, id, &planned)?;
    Ok(html_response(StatusCode::OK, frame::document(&view, "/issues", &page)))
}

fn repair(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let id = asked.id()?;
    asked.deed.tell(Deed::repair(id));
    Ok(led_to(asked, &asked.app.control.remediate(id, RunMode::Run, asked.who())?))
}

/// Leads to the plan that was to run. Its page says why where the guard refuses it; that it was refused, the trail says.
pub(super) fn led_to(asked: &Submitted<'_>, planned: &Planned) -> Response {
    asked.deed.planned(RunMode::Run, planned);
    let plan = planned.plan.id;
    let mut response = about(plan, see_other(&format!("/remediations/{plan}")));
    if let Some(problem) = refused_plan(RunMode::Run, planned) {
        response.extensions_mut().insert(problem.refusal());
    }
    response
}

fn approve(asked: &Submitted<'_>) -> Result<Response, Problem> {
    decide(asked, "approved", |id| asked.app.control.approve(id, asked.who()))
}

fn reject(asked: &Submitted<'_>) -> Result<Response, Problem> {
    decide(asked, "rejected", |id| asked.app.control.reject(id, asked.who()))
}

/// A decision and why; the reason is read first, so that none that is refused was decided upon.
fn decide(
    asked: &Submitted<'_>,
    decision: &str,
    decide: impl Fn(PlanId) -> Result<(), ControlError>,
) -> Result<Response, Problem> {
    let id = asked.id()?;
    asked.deed.tell(Deed::remediation(id).and(decision));
    let reason = asked.form.text("reason").map(str::trim).filter(|reason| !reason.is_empty());
    if reason
        .is_some_and(|reason| reason.chars().count() > REASON_MAX || reason.chars().any(char::is_control))
    {
        let detail =
            format!("`reason` must have at most {REASON_MAX} characters, none of them a control character");
        return Err(Problem::field("reason", detail));
    }
    if let Some(reason) = reason {
        asked.deed.tell(Deed::remediation(id).and(decision).because(reason));
    }
    decide(id)?;
    if let Some(reason) = reason {
        asked.app.store.explain_decision(id, reason)?;
    }
    let back = asked.form.text("back").map(|back| local(Some(back)).to_owned());
    Ok(about(id, see_other(&back.unwrap_or_else(|| format!("/remediations/{id}")))))
}

fn roll_back(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let id = asked.id()?;
    asked.deed.tell(Deed::remediation(id).and("taken back"));
    asked.app.control.roll_back(id, asked.who())?;
    Ok(about(id, see_other(&format!("/remediations/{id}"))))
}

fn abort(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let id = asked.id()?;
    asked.deed.tell(Deed::of(format!("experiment/{id}")).and("aborted"));
    asked.app.control.abort(id, asked.who())?;
    Ok(see_other(&format!("/experiments/{id}")))
}

fn paused(asked: &Submitted<'_>) -> Result<Overwritten, Problem> {
    Ok(Overwritten::Pause(asked.id()?))
}

fn pause(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let service = asked.id()?;
    let time = pause_time(asked.form.text("for").unwrap_or("")).map_err(|why| Problem::field("for", why))?;
    asked.deed.tell(Deed::pause(&service, time));
    asked.app.control.pause(&service, time, asked.who())?;
    Ok(see_other(&format!("/services/{service}")))
}

fn resume(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let service = asked.id()?;
    asked.deed.tell(Deed::resume(&service));
    asked.app.control.resume(&service, asked.who())?;
    Ok(see_other(&format!("/services/{service}")))
}

/// Answers the press-and-hold as well as the button of the page that asks.
fn emergency_stop(asked: &Submitted<'_>) -> Result<Response, Problem> {
    asked.deed.tell(Deed::of("emergency stop").and("engaged"));
    let removed = asked.app.control.emergency_stop(asked.who())?;
    asked.deed.add(format!("faults taken out: {removed}"));
    Ok(see_other("/"))
}

fn clear_emergency_stop(asked: &Submitted<'_>) -> Result<Response, Problem> {
    asked.deed.tell(Deed::of("emergency stop").and("cleared"));
    asked.app.control.clear_emergency_stop(asked.who())?;
    Ok(see_other("/"))
}

/// A path on this server, never another one's address.
pub(super) fn local(next: Option<&str>) -> &str {
    next.filter(|next| {
        next.starts_with('/')
            && !next.starts_with("//")
            && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    })
    .unwrap_or("/")
}

/// The page that asks once before the emergency stop, and clears it.
pub(super) fn emergency_stop_page(view: &View) -> Page {
    let body = match view.switches.emergency_stop {
        Some(since) => html! {
            h1 class="sentence" { "The emergency stop is engaged." }
            p { "Since " (view.stamp.ago(since)) ". Clearing it lets repairs and experiments begin again; it does not start any." }
            form method="post" action="/emergency-stop/clear" {
                (drawn_from(&Standing::emergency_stop(&view.switches)))
                button class="primary" type="submit" { "Clear the emergency stop" }
            }
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
