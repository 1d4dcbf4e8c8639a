//! What this server is and how it runs, as far as it knows; what is changed elsewhere is said with the command.

use domain::Permission;
use domain::capability::Enforcement;
use maud::{Markup, html};

use super::marks::{Meaning, mark};
use super::view::View;
use super::{Page, Section};
use crate::problem::Problem;
use crate::serve::App;

pub(super) fn page(app: &App, view: &View) -> Result<Page, Problem> {
    let on = view.switches.automation;
    let head = html! {
        h1 class="sentence" { "Homeostat " (env!("CARGO_PKG_VERSION")) ", automatic repair " @if on { "on" } @else { "off" } "." }
        p class="facts" {
            a href="/account" { "Account" }
            @if view.may(Permission::AccessManage) { a href="/users" { "Users" } a href="/tokens" { "Tokens" } }
            a href="/infrastructure" { "Infrastructure" }
        }
    };
    let yes = |kept: bool| if kept { "kept" } else { "not kept" };
    let data = app.token_file.as_ref().and_then(|file| file.parent());
    let server = html! {
        h2 { "Server" }
        dl class="values" {
            dt { "Version" } dd { (env!("CARGO_PKG_VERSION")) }
            @if let Some(data) = data { dt { "Data directory" } dd { code { (data.display()) } } }
            dt { "Pages and API" } dd { "port " (app.door.port()) }
            @if let Some(otlp) = &app.otlp {
                dt { "OTLP over gRPC" } dd { "port " (otlp.grpc_port) }
                dt { "OTLP over HTTP" } dd { "port " (otlp.http_port) }
            }
            dt { "Traces and logs" } dd { (yes(app.telemetry.is_some())) }
            dt { "Series" } dd { (yes(app.metrics.is_some())) }
            dt { "Audit trail" } dd { (yes(app.trail.audit().is_some())) }
            dt { "OpenID provider" } dd { (app.door.access().oidc_issuer().unwrap_or("none")) }
            dt { "Second factor" } dd { @if app.door.access().can_enrol() { "can be enrolled" } @else { "cannot be enrolled: no sealing key" } }
        }
    };
    let commands = html! {
        h2 { "Changed from a shell" }
        dl class="values" {
            dt { "Check the configuration" } dd { code { "homeostat config check" } }
            dt { "Verify the audit trail" } dd { code { "homeostat audit verify" } }
        }
    };
    Ok(Page {
        title: "Settings".to_owned(),
        sections: vec![
            Section::still("sentence", head),
            Section::still("server", server),
            Section::still("provider", provider(app)),
            Section::still("commands", commands),
        ],
    })
}

/// What the provider can do on this machine.
fn provider(app: &App) -> Markup {
    let can = app.control.capabilities();
    let rows = [
        ("CPU limits", &can.cpu_limit),
        ("Memory limits", &can.memory_limit),
        ("Volumes", &can.volumes),
        ("Stress outside instances", &can.host_stress),
        ("Links", &can.links),
    ];
    html! {
        h2 { "Provider " (can.provider) span class="quiet" { "what it can do on this machine" } }
        dl class="values" { @for (name, enforcement) in rows { dt { (name) } dd { (enforced(enforcement)) } } }
    }
}

fn enforced(how: &Enforcement) -> Markup {
    html! { @match how {
        Enforcement::Kernel(by) => (mark(Meaning::Good, &format!("held by the kernel, {by}"))),
        Enforcement::Supervision => (mark(Meaning::Good, "watched by the keeper")),
        Enforcement::Unavailable(why) => { (mark(Meaning::Unknown, "not here")) " " (why) },
    } }
}
