//! What this server is and how it runs, as far as it knows; what is changed elsewhere is said with the command.

use std::collections::BTreeSet;
use std::time::Duration;

use decide::plan::Policy;
use decide::plan::policy::{Ladder, Rung};
use domain::capability::Enforcement;
use domain::units::show_duration;
use domain::{Permission, ServiceName, Strategy, Time};
use maud::{Markup, html};

use super::marks::{Meaning, mark};
use super::plan::words;
use super::sentence::with_code;
use super::time::absolute;
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
            dt { "Certificate" } dd { (certificate(app, view)) }
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
    let policy = app.control.policy();
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
            Section::still("ladder", ladder(view, &policy.ladder)),
            Section::still("limits", limits(&policy)),
            Section::still("provider", provider(app)),
            Section::still("commands", commands),
        ],
    })
}

/// For whom the certificate in use was issued, and until when it holds.
fn certificate(app: &App, view: &View) -> Markup {
    /// Shorter than this it needs somebody: most are renewed a month before their end.
    const SOON_S: i64 = 14 * 86_400;
    let Some(tls) = &app.tls else {
        return html! { "none: plain HTTP, on this machine alone" };
    };
    let facts = tls.facts();
    let left_s = facts.expires - view.stamp.now.wall_us / 1_000_000;
    let (meaning, word) = match left_s {
        ..=0 => (Meaning::Bad, "expired"),
        1..=SOON_S => (Meaning::Attention, "ends soon"),
        _ => (Meaning::Good, "valid"),
    };
    let end = Time { boot_us: 0, wall_us: facts.expires.saturating_mul(1_000_000) };
    html! {
        (mark(meaning, word)) " " @if left_s > 0 { (view.stamp.left(end)) ", " } "until " (absolute(end))
        " for " (facts.names.join(", ")) ", from " code { (tls.certificate_file().display()) }
    }
}

/// How far automation is trusted: for every service, and for those that rules name.
fn ladder(view: &View, ladder: &Ladder) -> Markup {
    let named = ladder.rules.iter().filter_map(|rule| rule.service.clone());
    let named: BTreeSet<ServiceName> = named.collect();
    let rest = view.snapshot.as_deref().map_or_else(Vec::new, |snapshot| {
        snapshot.services.keys().filter(|name| !named.contains(*name)).map(ToString::to_string).collect()
    });
    let strategies = |rung_of: &dyn Fn(Strategy) -> Rung, rung: Rung| -> String {
        let on: Vec<String> = Strategy::ALL
            .into_iter()
            .filter(|one| rung_of(*one) == rung)
            .map(|one| words(one.name()))
            .collect();
        if on.len() == Strategy::ALL.len() { "every repair".to_owned() } else { on.join(", ") }
    };
    let everywhere = |strategy: Strategy| {
        let rules =
            ladder.rules.iter().filter(|rule| rule.service.is_none() && rule.strategy == Some(strategy));
        let any = ladder.rules.iter().filter(|rule| rule.service.is_none() && rule.strategy.is_none());
        rules
            .map(|rule| rule.rung)
            .min()
            .or_else(|| any.map(|rule| rule.rung).min())
            .unwrap_or(ladder.default)
    };
    let row = |name: &str, title: &str, rung_of: &dyn Fn(Strategy) -> Rung| {
        let rungs = [Rung::Auto, Rung::Approve, Rung::Advise, Rung::Observe];
        html! { tr {
            td class="name" title=(title) { (name) }
            @for rung in rungs {
                @let on = strategies(rung_of, rung);
                td class={ "wide" @if on.is_empty() { " none" } } data-label=(rung.name()) { @if on.is_empty() { "–" } @else { (on) } }
            }
        } }
    };
    html! {
        h2 { "Trust ladder" span class="quiet" { "how far each repair goes by itself; " code { "[policy.ladder]" } } }
        div class="scroll" tabindex="0" role="region" aria-label="Trust ladder" { table class="stacks" {
            thead { tr {
                th { "Service" } th title="It runs" { "auto" } th title="It waits for a person" { "approve" }
                th title="It is shown, and runs when a person asks" { "advise" } th title="Nothing is proposed" { "observe" }
            } }
            tbody {
                (row(if named.is_empty() { "every service" } else { "every other service" }, &rest.join(", "), &everywhere))
                @for name in &named { (row(name.as_str(), "", &|strategy| ladder.rung(name, strategy))) }
            }
        } }
    }
}

/// What bounds repairs and experiments.
#[expect(clippy::too_many_lines, reason = "a table")]
fn limits(policy: &Policy) -> Markup {
    let limits = &policy.limits;
    let every = |window: Duration| format!("in {}", show_duration(window));
    let rows = [
        ("Repairs of one resource", format!("{} {}", limits.per_resource, every(limits.rate_window))),
        ("Repairs in all", format!("{} {}", limits.in_all, every(limits.rate_window))),
        ("Repairs at a time", limits.at_a_time.to_string()),
        (
            "Between two tries",
            format!("{}, doubled after each that did not heal", show_duration(limits.cooldown)),
        ),
        ("Of a service at a time", format!("{} of its instances, at least one", limits.service_share_max)),
        ("Confidence of a diagnosis", format!("at least {}, else a person decides", limits.confidence_min)),
        ("Severity", format!("{} and above, else a person decides", limits.severity_min.name())),
        (
            "Failed repairs",
            format!(
                "above {} of at least {} {} automation stops",
                limits.failure_rate_max,
                limits.failure_runs_min,
                every(limits.failure_window)
            ),
        ),
        (
            "The same issue again",
            format!("after {} repairs {} a person is asked", limits.repeats_max, every(limits.repeat_window)),
        ),
        (
            "A storm",
            format!(
                "{} of the fleet unwell: a restart every {}",
                limits.storm_share,
                show_duration(limits.storm_restart_interval)
            ),
        ),
        (
            "Deletions without approval",
            format!("below {} instances and {} of all", limits.deletions_max, limits.deletion_share_max),
        ),
        ("An approval holds", show_duration(limits.approval_valid)),
        (
            "A repair is proven",
            format!(
                "within {}, and holds {}",
                show_duration(policy.verification.deadline),
                show_duration(policy.verification.hold)
            ),
        ),
        (
            "Approvals",
            if policy.approval.two_people { "by somebody else than who asked" } else { "by whoever may" }
                .to_owned(),
        ),
        ("Faults at a time", policy.chaos.faults_at_a_time.to_string()),
        (
            "Blast radius of an experiment",
            format!("at most {} of the instances", policy.chaos.blast_radius_max),
        ),
        ("Healthy services for an experiment", format!("at least {}", policy.chaos.min_healthy_services)),
        (
            "Never disturbed",
            match policy.chaos.protected_services.len() {
                0 => "none named".to_owned(),
                _ => policy
                    .chaos
                    .protected_services
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", "),
            },
        ),
    ];
    html! {
        h2 { "Limits" span class="quiet" { "in force now; " code { "[policy]" } " of the configuration sets them" } }
        dl class="values" { @for (name, value) in rows { dt { (name) } dd { (value) } } }
    }
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
        Enforcement::Unavailable(why) => { (mark(Meaning::Unknown, "not here")) " " (with_code(&why.to_string())) },
    } }
}
