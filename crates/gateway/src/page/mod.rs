//! The web page: rendered on the server, patched in place while it is open.
//!
//! In: an address, the store, the loops' state. Out: HTML. Each page is a list of [`Section`]s; a whole
//! page is its sections in the frame, a live update is the sections that changed. Every page works without
//! a script, then by reloading.
//!
//! Deliberately absent: decisions, thresholds, wire shapes for programs. Whether a value is over its limit
//! is told by the open issues, never worked out here.

mod account;
mod actions;
mod approvals;
mod audit;
mod changed;
mod cmdb;
mod docs;
mod drills;
mod experiment_form;
mod experiments;
mod fields;
mod figures;
mod forbidden;
mod frame;
mod history;
mod infrastructure;
mod issues;
mod list;
mod login;
mod marks;
mod metrics;
mod overview;
mod palette;
mod passkeys;
mod plan;
mod red;
mod remediations;
mod rows;
mod sentence;
mod services;
mod settings;
mod slos;
mod statistics;
mod time;
mod timeline;
mod tokens;
mod traces;
mod trailing;
mod users;
mod view;

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use domain::{Identity, Permission};
use maud::{Markup, html};

use crate::access::RelyingParty;
use crate::body::Query;
use crate::endpoint::Access;
use crate::problem::{Code, Problem};
use crate::routes::see_other;
use crate::serve::App;

pub(crate) use actions::{ACTIONS, Action, Submitted, page_of_action};
pub(crate) use changed::perform;
#[cfg(test)]
pub(crate) use docs::anchor;
use time::Form;
pub(crate) use trailing::without_slash;
use view::View;

/// Served at `/assets/style.css`.
pub(crate) const STYLE: &str = concat!(
    include_str!("../../../../assets/tokens.css"),
    include_str!("../assets/style.css"),
    include_str!("../assets/lists.css"),
    include_str!("../assets/traces.css"),
    include_str!("../assets/slos.css"),
    include_str!("../assets/vendor/uplot.css"),
    include_str!("../assets/metrics.css"),
    include_str!("../assets/timeline.css"),
    include_str!("../assets/docs.css"),
    include_str!("../assets/access.css"),
    include_str!("../assets/cmdb.css"),
    include_str!("../assets/print.css")
);
/// Served at `/assets/page.js`.
pub(crate) const SCRIPT: &str = concat!(include_str!("../assets/page.js"), include_str!("../assets/keys.js"));
/// Served at `/assets/traces.js`.
pub(crate) const TRACES_SCRIPT: &str = include_str!("../assets/traces.js");
/// Served at `/assets/metrics.js`.
pub(crate) const METRICS_SCRIPT: &str = include_str!("../assets/metrics.js");
/// Served at `/assets/passkeys.js`.
pub(crate) const PASSKEYS_SCRIPT: &str = include_str!("../assets/passkeys.js");
/// uPlot, as its package has it. Served at `/assets/uplot.js`.
pub(crate) const UPLOT: &str = include_str!("../assets/vendor/uplot.js");
/// Served at `/assets/timeline.js`.
pub(crate) const TIMELINE_SCRIPT: &str = include_str!("../assets/timeline.js");
/// Served at `/favicon.svg`.
pub(crate) const ICON: &str = include_str!("../assets/icon.svg");

const STATE: Access = Access::Needs(Permission::StateRead);
const TELEMETRY: Access = Access::Needs(Permission::TelemetryRead);

/// The addresses of pages, and who may see each.
pub(crate) const PATHS: [(&str, Access); 42] = [
    ("/", STATE),
    ("/issues", STATE),
    ("/issues/{id}", STATE),
    ("/remediations", STATE),
    ("/remediations/{id}", STATE),
    ("/approvals", STATE),
    ("/palette", STATE),
    ("/statistics", STATE),
    ("/experiments", STATE),
    ("/experiments/new", STATE),
    ("/experiments/preview", STATE),
    ("/experiments/{id}", STATE),
    ("/drills", STATE),
    ("/drills/{id}", STATE),
    ("/services", STATE),
    ("/services/{name}", STATE),
    ("/timeline", STATE),
    ("/slos", STATE),
    ("/slos/{id}", STATE),
    ("/traces", TELEMETRY),
    ("/traces/compare", TELEMETRY),
    ("/traces/{id}", TELEMETRY),
    ("/service-map", TELEMETRY),
    ("/latency", TELEMETRY),
    ("/metrics-explorer", TELEMETRY),
    ("/emergency-stop", STATE),
    ("/cmdb", STATE),
    ("/cmdb/item", STATE),
    ("/infrastructure", STATE),
    ("/settings", STATE),
    ("/audit", Access::Needs(Permission::AuditRead)),
    ("/audit/{sequence}", Access::Needs(Permission::AuditRead)),
    ("/users", Access::Needs(Permission::AccessManage)),
    ("/users/{name}", Access::Needs(Permission::AccessManage)),
    ("/tokens", Access::Needs(Permission::AccessManage)),
    ("/account", Access::SignedIn),
    ("/login", Access::Open),
    (passkeys::SIGN_IN, Access::Open),
    (login::OIDC, Access::Open),
    (login::OIDC_RETURN, Access::Open),
    ("/docs", STATE),
    ("/docs/{*page}", STATE),
];

/// Whether an address of [`PATHS`] shows a page, and is no step towards one.
pub(crate) fn is_shown(path: &str) -> bool {
    ![login::OIDC, login::OIDC_RETURN, passkeys::SIGN_IN, "/palette"].contains(&path)
}

/// Somebody who looks at a page.
pub(crate) struct Visit<'a> {
    pub(crate) app: &'a App,
    pub(crate) identity: &'a Identity,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    /// Where it came from.
    pub(crate) peer: IpAddr,
    /// How the browser names this server, `https://HOST:PORT`; `None` where only localhost is listened on.
    pub(crate) named_as: Option<&'a str>,
}

impl Visit<'_> {
    /// The host that passkeys are for here.
    fn party(&self) -> Option<RelyingParty> {
        passkeys::party(self.headers, self.named_as)
    }
}

/// A page without its frame.
pub(crate) struct Page {
    title: String,
    sections: Vec<Section>,
}

/// A part of a page that is updated as one.
pub(crate) struct Section {
    id: &'static str,
    update: Update,
    body: Markup,
}

/// How a section is updated while the page is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Update {
    /// At once.
    Live,
    /// Not while the pointer is in it, because rows may come and go.
    Rows,
    /// By reloading the page.
    Never,
}

impl Section {
    fn live(id: &'static str, body: Markup) -> Self {
        Self { id, update: Update::Live, body }
    }

    fn rows(id: &'static str, body: Markup) -> Self {
        Self { id, update: Update::Rows, body }
    }

    fn still(id: &'static str, body: Markup) -> Self {
        Self { id, update: Update::Never, body }
    }

    /// A part that may fail alone: what is wrong stands in its place then, and the rest of the page as it is. What was
    /// asked for wrongly fails the page, which says so.
    fn tried(
        id: &'static str,
        update: Update,
        title: &str,
        body: Result<Markup, Problem>,
    ) -> Result<Self, Problem> {
        let failed = |notice: Markup| html! { h2 { (title) } (notice) };
        let body = body.or_else(|problem| in_place(problem).map(failed))?;
        Ok(Self { id, update, body })
    }

    fn render(&self) -> Markup {
        let live = match self.update {
            Update::Live => Some("now"),
            Update::Rows => Some("rows"),
            Update::Never => None,
        };
        html! { div id=(self.id) data-live=[live] { (self.body) } }
    }
}

/// What stands in the place of a part that failed, and what to do. What was asked for wrongly is no such failure.
fn in_place(problem: Problem) -> Result<Markup, Problem> {
    if !problem.status().is_server_error() {
        return Err(problem);
    }
    Ok(html! {
        p class="notice attention" {
            strong { "Cannot be shown now" }
            span { (sentence::capital(&problem.detail)) ". The rest of this page can." }
            a href="" { "Try again" }
        }
    })
}

/// A whole page; or the one section that `part` names, for a script that puts it in place of the old one.
pub(crate) fn show(visit: &Visit<'_>) -> Response {
    let Visit { app, uri, identity, .. } = *visit;
    if uri.path().starts_with(login::OIDC) {
        return login::by_provider(visit).unwrap_or_else(|problem| error(app, uri, &problem));
    }
    if uri.path() == passkeys::SIGN_IN {
        return passkeys::asked_for(visit).unwrap_or_else(IntoResponse::into_response);
    }
    if let Some(address) = traces::opened_by_id(uri) {
        return see_other(&address);
    }
    if let Some(markdown) = docs::source(uri.path()) {
        return ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], markdown).into_response();
    }
    if uri.path() == "/palette" {
        return palette::answer(app, uri).unwrap_or_else(IntoResponse::into_response);
    }
    match list::format(uri) {
        Ok(None) => {}
        Ok(Some(format)) => {
            return exported(app, uri, format).unwrap_or_else(|problem| error(app, uri, &problem));
        }
        Err(problem) => return error(app, uri, &problem),
    }
    let rendered = View::load(app, Form::Page).and_then(|view| {
        let view = view.seen_by(identity).named(visit.party());
        let page = page(app, &view, uri)?;
        let query = Query::parse(uri.query())?;
        let part = query.text("part").and_then(|id| page.sections.iter().find(|section| section.id == id));
        Ok(match part {
            Some(section) => section.render(),
            None => frame::document(&view, uri.path(), &page),
        })
    });
    match rendered {
        Ok(document) => html_response(StatusCode::OK, document),
        Err(problem) => error(app, uri, &problem),
    }
}

/// What a list's page chooses, as a file.
fn exported(app: &App, uri: &Uri, format: list::Format) -> Result<Response, Problem> {
    let (view, query) = (&View::load(app, Form::Page)?, &Query::parse(uri.query())?);
    match uri.path() {
        "/issues" => issues::listed(app, view, query)?.export(query, format),
        "/remediations" => remediations::listed(app, view, query)?.export(query, format),
        "/approvals" => approvals::listed(app, view, query)?.export(query, format),
        "/experiments" => experiments::listed(app, view).export(query, format),
        "/drills" => drills::listed(app, view)?.export(query, format),
        "/services" => services::listed(view).export(query, format),
        "/slos" => slos::listed(app)?.export(query, format),
        "/audit" => audit::listed(app, view, query)?.export(query, format),
        "/cmdb" => cmdb::listed(app, view)?.export(query, format),
        "/cmdb/item" => cmdb::history(app, view, query)?.export(query, format),
        "/users" => users::listed(app, view)?.export(query, format),
        "/tokens" => tokens::listed(app, view)?.export(query, format),
        "/timeline" => timeline::listed(app, view, query)?.export(query, format),
        "/traces" => traces::listed(app, view, query)?.export(query, format),
        "/metrics-explorer" => metrics::listed(app, view, query)?.export(query, format),
        path => Err(Problem::field("format", format!("{path} is no list; leave `format` out"))),
    }
}

/// The live sections of a page as they are now, by id.
pub(crate) fn fragments(app: &App, uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    let view = View::load(app, Form::Fragment)?;
    let page = page(app, &view, uri)?;
    let live = page.sections.iter().filter(|section| section.update != Update::Never);
    let mut fragments: Vec<(String, String)> =
        live.map(|section| (section.id.to_owned(), section.render().into_string())).collect();
    fragments.push((frame::TOP.to_owned(), frame::top(&view, uri.path()).into_string()));
    fragments.push((frame::NOTICES.to_owned(), frame::notices(&view).into_string()));
    Ok(fragments)
}

/// A problem, as a page in the frame; where one may not, with the permission at fault as its field, [`forbidden`]; where
/// even the frame cannot be read, as a program would get it. Its links lead to the page that was asked for without what
/// could not be read, and to the list it belongs to.
pub(crate) fn error(app: &App, uri: &Uri, problem: &Problem) -> Response {
    let mut response = error_page(app, uri, problem);
    response.extensions_mut().insert(problem.refusal());
    response
}

fn error_page(app: &App, uri: &Uri, problem: &Problem) -> Response {
    // Who may not is told what it takes.
    let permission = problem.field.as_deref().filter(|_| problem.code == Code::Forbidden);
    if let Some(permission) = permission.and_then(|name| name.parse().ok()) {
        return forbidden::forbidden(app, uri, permission).unwrap_or_else(IntoResponse::into_response);
    }
    let Ok(view) = View::load(app, Form::Page) else { return problem.clone().into_response() };
    let body = html! {
        div class="card" {
            h1 class="sentence" { (sentence::with_code(&sentence::capital(&problem.detail))) "." }
            p class="facts" { span { "Status " (problem.status().as_u16()) } code { (problem.code.name()) } }
            p class="facts" {
                @if let Some((field, address)) = without_field(uri, problem) { a href=(address) { "Leave out " code { (field) } } }
                @match frame::word_of(uri.path()) {
                    Some((address, word)) if uri.path() != address || problem.field.is_some() => a href=(address) { (word) },
                    _ => {},
                }
                a href="/" { "Overview" }
            }
        }
    };
    let page = Page { title: problem.title().to_owned(), sections: vec![Section::still("error", body)] };
    html_response(problem.status(), frame::document(&view, uri.path(), &page))
}

/// The address that was asked for without the parameter at fault.
fn without_field<'a>(uri: &Uri, problem: &'a Problem) -> Option<(&'a str, String)> {
    let field = problem.field.as_deref()?;
    let query = Query::parse(uri.query()).ok()?;
    query.text(field)?;
    let rest = query.changed(&[(field, "")]);
    Some((field, if rest.is_empty() { uri.path().to_owned() } else { format!("{}?{rest}", uri.path()) }))
}

fn page(app: &App, view: &View, uri: &Uri) -> Result<Page, Problem> {
    let query = Query::parse(uri.query())?;
    let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [] => overview::page(app, view, &query),
        ["issues"] => issues::list(app, view, &query),
        ["issues", id] => issues::detail(app, view, id),
        ["remediations"] => remediations::list(app, view, &query),
        ["remediations", id] => remediations::detail(app, view, id),
        ["approvals"] => approvals::page(app, view, &query),
        ["statistics"] => statistics::page(app, view, &query),
        ["experiments"] => experiments::list(app, view, &query),
        ["experiments", "new"] => experiment_form::page(view, &query, None),
        ["experiments", "preview"] => experiment_form::preview(app, view, &query),
        ["experiments", id] => experiments::detail(app, view, id),
        ["drills"] => drills::list(app, view, &query),
        ["drills", id] => drills::detail(app, view, id),
        ["services"] => services::list(view, &query),
        ["services", name] => services::detail(app, view, name, &query),
        ["timeline"] => timeline::page(app, view, &query),
        ["slos"] => slos::list(app, &query),
        ["slos", id] => slos::detail(app, view, id, &query),
        ["traces"] => traces::search(app, view, &query),
        ["traces", "compare"] => traces::compare(app, view, &query),
        ["traces", id] => traces::detail(app, view, id, &query),
        ["service-map"] => traces::service_map(app, view, &query),
        ["latency"] => traces::latency(app, view, &query),
        ["metrics-explorer"] => metrics::explorer(app, view, &query),
        ["docs", rest @ ..] => docs::page(rest, &query),
        ["cmdb"] => cmdb::page(app, view, &query),
        ["cmdb", "item"] => cmdb::item(app, view, &query),
        ["infrastructure"] => infrastructure::page(app, view),
        ["settings"] => settings::page(app, view),
        ["audit"] => audit::list(app, view, &query),
        ["audit", sequence] => audit::record(app, view, sequence),
        ["users"] => users::list(app, view, &query),
        ["users", name] => users::detail(app, view, name),
        ["tokens"] => tokens::list(app, view, &query),
        ["account"] => account::page(app, view),
        ["login"] => Ok(login::page(app, &query, view.party.as_ref(), None)),
        ["emergency-stop"] => Ok(actions::emergency_stop_page(view)),
        _ => Err(Problem::not_found(format!("there is no page {}", uri.path()))),
    }
}

fn html_response(status: StatusCode, document: Markup) -> Response {
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], document.into_string()).into_response()
}
