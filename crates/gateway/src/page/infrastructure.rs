//! The Infrastructure that is up: what was declared, bringing one up, taking it down, scaling a service of it.
//!
//! In: forms, and the loops' answer to a dry run. Out: a page that shows the plan before anything is changed.

use axum::http::StatusCode;
use axum::response::Response;
use domain::{Infrastructure, Permission, PlanStatus, ServiceName};
use maud::{Markup, html};

use super::actions::{Submitted, led_to};
use super::changed::drawn_from;
use super::marks::{Meaning, mark};
use super::sentence::{capital, count};
use super::services::resource_link;
use super::time::Form;
use super::view::View;
use super::{Page, Section, frame, html_response, plan};
use crate::control::{Planned, RunMode};
use crate::deed::Deed;
use crate::overwritten::{Overwritten, Standing};
use crate::problem::Problem;
use crate::serve::App;

/// The address of the page.
const ADDRESS: &str = "/infrastructure";

/// The longest definition that a form can carry, in characters.
const DEFINITION_MAX: usize = 20_000;

pub(super) fn page(app: &App, view: &View) -> Result<Page, Problem> {
    let up = app.control.infrastructure()?;
    let may = view.may(Permission::InfrastructureWrite);
    let head = html! {
        p class="crumb" { a href="/cmdb" { "Configuration" } }
        h1 class="sentence" { @match &up {
            Some(up) => { (up.name) " is up, with " (count(up.services.len(), "service", "services")) "." },
            None => "No Infrastructure is up.",
        } }
    };
    let body = match &up {
        Some(up) => html! {
            (declared(up))
            @if may {
                h2 { "Take it down" }
                form method="post" action={ "/infrastructure/" (up.name) "/delete/preview" } {
                    (drawn_from(&Standing::infrastructure(up)))
                    button class="danger" type="submit" { "Show what that would do" }
                }
            }
        },
        None if may => create_form(),
        None => html! { p class="empty" { "An operator or an admin can bring one up." } },
    };
    let sections = vec![Section::still("sentence", head), Section::still("infrastructure", body)];
    Ok(Page { title: "Infrastructure".to_owned(), sections })
}

/// What was declared. Commands and environment variables are left out: they may hold secrets.
fn declared(up: &Infrastructure) -> Markup {
    html! {
        div class="scroll" { table class="stacks" {
            thead { tr { th { "Service" } th { "Version" } th class="number" { "Instances" } th { "Calls" } th { "Volume" } } }
            tbody { @for (name, spec) in &up.services {
                tr {
                    td class="name" { a href={ "/services/" (name) } { (name) } }
                    td { (spec.version.as_deref().unwrap_or("–")) }
                    td class="number" data-label="Instances" { (spec.replicas) }
                    td class="two" data-label="Calls" {
                        @if spec.dependencies.is_empty() { "–" }
                        @for (place, name) in spec.dependencies.iter().enumerate() { @if place > 0 { ", " } (name) }
                    }
                    td data-label="Volume" { @if spec.volume.is_some() { "yes" } @else { "–" } }
                }
            } }
        } }
    }
}

fn create_form() -> Markup {
    html! {
        p class="empty" { "A definition is our YAML or a Compose file. Nothing is started before you saw the plan. From a shell: " code { "homeostat infra create FILE --dry-run" } }
        form class="fill-in" method="post" action="/infrastructure/preview" {
            label { "Definition" textarea name="definition" required maxlength=(DEFINITION_MAX) spellcheck="false" rows="16" {} }
            div class="actions" { button class="primary" type="submit" { "Show the plan" } }
        }
    }
}

/// The form on a service's page that asks for another number of instances.
pub(super) fn scale_form(view: &View, service: &ServiceName, replicas: u32) -> Markup {
    html! { @if view.may(Permission::InfrastructureWrite) {
        form class="decide" method="post" action={ "/services/" (service) "/scale/preview" } {
            (drawn_from(&Standing::size(service, replicas)))
            label { "Instances" input type="number" name="replicas" required min="1" max="100" value=(replicas); }
            button type="submit" { "Show what that would do" }
        }
    } }
}

/// What a form asks for: one of the three changes, shown or run.
enum Change {
    Create(String),
    Delete(ServiceName),
    Scale(ServiceName, u32),
}

impl Change {
    fn plan(&self, asked: &Submitted<'_>, mode: RunMode) -> Result<Planned, Problem> {
        let (control, who) = (&asked.app.control, asked.who());
        asked.deed.tell(match self {
            Self::Create(_) => Deed::bring_up(),
            Self::Delete(name) => Deed::take_down(name),
            Self::Scale(service, replicas) => Deed::scale(service, *replicas),
        });
        Ok(match self {
            Self::Create(definition) => control.create_infrastructure(definition, mode, who)?,
            Self::Delete(name) => control.delete_infrastructure(name, mode, who)?,
            Self::Scale(service, replicas) => control.scale(service, *replicas, mode, who)?,
        })
    }

    /// What it overwrites.
    fn overwrites(&self) -> Option<Overwritten> {
        match self {
            Self::Create(_) => None,
            Self::Delete(name) => Some(Overwritten::Infrastructure(name.clone())),
            Self::Scale(service, _) => Some(Overwritten::Size(service.clone())),
        }
    }

    /// The form that runs it, drawn from what it overwrites.
    fn form(&self, from: Option<&Standing>) -> Markup {
        let from = html! { @if let Some(from) = from { (drawn_from(from)) } };
        html! { @match self {
            Self::Create(definition) => form method="post" action="/infrastructure/create" {
                input type="hidden" name="definition" value=(definition);
                button class="primary" type="submit" { "Bring it up" }
            },
            Self::Delete(name) => form method="post" action={ "/infrastructure/" (name) "/delete" } {
                (from)
                button class="danger" type="submit" { "Take " (name) " down with its volumes" }
            },
            Self::Scale(service, replicas) => form method="post" action={ "/services/" (service) "/scale" } {
                input type="hidden" name="replicas" value=(replicas);
                (from)
                button class="primary" type="submit" { "Run " (count(*replicas as usize, "instance", "instances")) }
            },
        } }
    }

    fn back(&self) -> String {
        match self {
            Self::Create(_) | Self::Delete(_) => ADDRESS.to_owned(),
            Self::Scale(service, _) => format!("/services/{service}"),
        }
    }

    fn preview(&self, asked: &Submitted<'_>) -> Result<Response, Problem> {
        // Looked at before the plan, so that whatever changes after it is noticed; the turn is held by whoever performs this.
        let from = self.overwrites().map(|what| what.now(asked.app)).transpose()?;
        let planned = self.plan(asked, RunMode::DryRun)?;
        asked.deed.planned(RunMode::DryRun, &planned);
        let view = View::load(asked.app, Form::Page)?.seen_by(asked.identity);
        let page = Page {
            title: "Dry run".to_owned(),
            sections: vec![Section::still("preview", shown(&view, self, from.as_ref(), &planned))],
        };
        Ok(html_response(StatusCode::OK, frame::document(&view, &self.back(), &page)))
    }

    fn run(&self, asked: &Submitted<'_>) -> Result<Response, Problem> {
        Ok(led_to(asked, &self.plan(asked, RunMode::Run)?))
    }
}

fn shown(view: &View, change: &Change, from: Option<&Standing>, planned: &Planned) -> Markup {
    html! {
        h1 class="sentence" { "Dry run: " (planned.plan.summary) }
        p class="facts" { span { "Nothing was changed." } @if planned.status == PlanStatus::AwaitingApproval { (mark(Meaning::Attention, "will wait for an approval")) } }
        div class="loop" {
            section { h2 { "Why" } div { (plan::why(&planned.plan)) } }
            section { h2 { "Plan" } div {
                @if !planned.reasons.is_empty() { ul class="reasons" { @for reason in &planned.reasons { li { (capital(reason)) } } } }
                (plan::steps(&planned.plan, &[]))
                p { "Touches " @for (place, resource) in planned.plan.blast_radius.iter().enumerate() { @if place > 0 { ", " } (resource_link(resource)) } "." }
            } }
            section { h2 { "Expected" } p { (planned.plan.expected_effect) } }
            section { h2 { "Proof" } div { (plan::proof(view.stamp, &planned.plan, None)) } }
        }
        div class="actions" {
            @if planned.status == PlanStatus::Refused { (mark(Meaning::Unknown, "refused")) span class="quiet" { "The guard would refuse it." } }
            @else { (change.form(from)) }
            a class="button" href=(change.back()) { "Back" }
        }
    }
}

fn definition(asked: &Submitted<'_>) -> Result<Change, Problem> {
    let text = asked.form.text("definition");
    let text =
        text.ok_or_else(|| Problem::field("definition", "give a definition: our YAML, or a Compose file"))?;
    Ok(Change::Create(text.to_owned()))
}

fn replicas(asked: &Submitted<'_>) -> Result<Change, Problem> {
    let read = |text: &str| text.parse::<u32>().ok().filter(|count| (1..=100).contains(count));
    let replicas = asked.form.read("replicas", read, || "a number from 1 to 100".to_owned())?;
    let replicas = replicas.ok_or_else(|| Problem::field("replicas", "give a number from 1 to 100"))?;
    Ok(Change::Scale(asked.id()?, replicas))
}

/// What taking an Infrastructure down overwrites.
pub(super) fn taken_down(asked: &Submitted<'_>) -> Result<Overwritten, Problem> {
    Ok(Overwritten::Infrastructure(asked.id()?))
}

/// What scaling a service overwrites.
pub(super) fn scaled(asked: &Submitted<'_>) -> Result<Overwritten, Problem> {
    Ok(Overwritten::Size(asked.id()?))
}

pub(super) fn preview_create(asked: &Submitted<'_>) -> Result<Response, Problem> {
    definition(asked)?.preview(asked)
}

pub(super) fn create(asked: &Submitted<'_>) -> Result<Response, Problem> {
    definition(asked)?.run(asked)
}

pub(super) fn preview_delete(asked: &Submitted<'_>) -> Result<Response, Problem> {
    Change::Delete(asked.id()?).preview(asked)
}

pub(super) fn delete(asked: &Submitted<'_>) -> Result<Response, Problem> {
    Change::Delete(asked.id()?).run(asked)
}

pub(super) fn preview_scale(asked: &Submitted<'_>) -> Result<Response, Problem> {
    replicas(asked)?.preview(asked)
}

pub(super) fn scale(asked: &Submitted<'_>) -> Result<Response, Problem> {
    replicas(asked)?.run(asked)
}
