//! Services, their instances, and the links between them.
//!
//! A value is shown as over its limit where an open issue says so, against that issue's threshold.

mod listed;
mod numbers;

use domain::snapshot::{BreakerState, InstanceState, LinkState, ServiceState};
use domain::{Bytes, InstanceName, IssueKind, Lane, LinkName, ResourceId, ServiceName, Snapshot, Window};
use maud::{Markup, html};

use super::changed::drawn_from;
use super::history;
use super::marks::{Meaning, mark};
use super::red;
use super::rows::Rows;
use super::timeline::{self, Axis, WINDOWS};
use super::view::{View, of_phase};
use super::{Page, Section, Update};
use crate::body::Query;
use crate::overwritten::Standing;
use crate::problem::Problem;
use crate::serve::App;

pub(crate) use crate::phrases::resource as resource_words;
pub(super) use listed::listed;
use numbers::{figure, milliseconds};

const LOG_LINES: usize = 60;

/// How far back a service's time line goes, in seconds.
const WINDOW: i64 = WINDOWS[1].1;

pub(super) fn list(view: &View, query: &Query) -> Result<Page, Problem> {
    let sentence = match &view.snapshot {
        None => "Nothing was looked at yet.".to_owned(),
        Some(snapshot) => {
            let (ready, wanted) = view.instances();
            format!(
                "{}, {ready} of {wanted} instances ready.",
                super::sentence::count(snapshot.services.len(), "service", "services")
            )
        }
    };
    let [form, rows] = listed(view).sections(query, "services")?;
    Ok(Page {
        title: "Services".to_owned(),
        sections: vec![
            Section::live(
                "sentence",
                html! { h1 class="sentence" { (sentence) } p class="facts" { (window_words(view)) } },
            ),
            form,
            rows,
            Section::live("links", links(view, Rows::All, |_| true)),
        ],
    })
}

/// What the numbers of requests are over; old numbers say how old.
fn window_words(view: &View) -> Markup {
    match view.stale() {
        None => html! { "requests over the last 3 s, as callers see them" },
        Some(snapshot) => html! { "as it was " (view.stamp.ago(snapshot.taken)) },
    }
}

/// The services with their state.
pub(super) fn table(view: &View, rows: Rows) -> Markup {
    let Some(snapshot) = view.snapshot.as_deref().filter(|snapshot| !snapshot.services.is_empty()) else {
        return html! { h2 { "Services" } (no_services()) };
    };
    let all = snapshot.services.iter().map(|(name, state)| (view.service_status(name, state), (name, state)));
    let (rows, left_out) = rows.choose(all.collect(), Meaning::Good);
    html! {
        h2 { "Services" span class="quiet" { (window_words(view)) } }
        @if !rows.is_empty() { div class="scroll" { table class="stacks" {
            thead { tr {
                th { "State" } th { "Service" } th { "Instances" }
                th class="number" { "Requests" } th class="number" { "Failed" } th class="number" { "p95" }
                th class="number" { "CPU" } th class="number" { "Memory" } th class="number" { "Disk" }
            } }
            tbody {
                @for ((meaning, word), (name, state)) in &rows {
                    @let felt = felt(snapshot, name);
                    tr data-key=(name) {
                        td { (mark(*meaning, word)) }
                        td class="name" { a href={ "/services/" (name) } { (name) } }
                        td class="two" data-label="Instances" { (slots(view, state)) }
                        td class="number" data-label="Requests" { (rate(felt.as_ref())) }
                        td class="number" data-label="Failed" { (failed(view, felt.as_ref(), None)) }
                        td class="number" data-label="p95" { (p95(view, felt.as_ref(), None)) }
                        @for (_, title, of) in USES { td class="number" data-label=(title) { (worst_use(view, state, of)) } }
                    }
                }
            }
        } } }
        @if left_out > 0 {
            p class="empty" {
                (super::sentence::count(left_out, "service is", "services are")) " healthy. "
                a href="/services" { "All services" }
            }
        }
    }
}

fn no_services() -> Markup {
    html! {
        p class="empty" {
            "A service is a program that Homeostat starts, watches and repairs. Declare some and bring them up: "
            code { "homeostat up FILE" } ", or try the built-in shop: " code { "homeostat demo" }
        }
    }
}

fn slots(view: &View, state: &ServiceState) -> Markup {
    html! { div class="instances" { @for (name, instance) in &state.instances { (slot(view, name, instance)) } } }
}

/// An instance as a mark with its number; and with a word where it is not simply ready.
fn slot(view: &View, name: &InstanceName, instance: &InstanceState) -> Markup {
    let disturbed = view.faults.iter().any(|running| running.fault.target.instance() == Some(name));
    let (meaning, word) = of_phase(instance.phase);
    let (meaning, word) = if view.stale().is_some() {
        (Meaning::Unknown, "unknown")
    } else if disturbed {
        (Meaning::Disturbed, "disturbed")
    } else {
        (meaning, word)
    };
    let title = match &instance.incarnation {
        Some(incarnation) => format!("{name}: {word}, process {}", incarnation.pid),
        None => format!("{name}: {word}, no process"),
    };
    // Where all is unknown the row says so already.
    let quiet = meaning == Meaning::Good || view.stale().is_some();
    html! {
        span title=(title) data-key=(name) {
            (mark(meaning, &if quiet { name.ordinal.to_string() } else { format!("{}: {word}", name.ordinal) }))
        }
    }
}

/// What callers feel: the windows of all links into a service, put together. p95 is the worst link's.
fn felt(snapshot: &Snapshot, service: &ServiceName) -> Option<Window> {
    snapshot.links_to(service).map(|(_, link)| link.recent).reduce(|sum, one| Window {
        seconds: sum.seconds.max(one.seconds),
        requests: sum.requests + one.requests,
        errors: sum.errors + one.errors,
        throttled: sum.throttled + one.throttled,
        unanswered: sum.unanswered + one.unanswered,
        rejected: sum.rejected + one.rejected,
        p50_ms: worst(sum.p50_ms, one.p50_ms),
        p95_ms: worst(sum.p95_ms, one.p95_ms),
    })
}

fn worst(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

fn rate(window: Option<&Window>) -> Markup {
    match window {
        Some(window) => html! { (figure(window.rate())) "/s" },
        None => unknown(),
    }
}

fn failed(view: &View, window: Option<&Window>, link: Option<&LinkName>) -> Markup {
    let Some((window, ratio)) = window.and_then(|window| Some((window, window.error_ratio()?))) else {
        return unknown();
    };
    let percent = ratio * 100.0;
    let text = if window.errors == 0 { "0 %".to_owned() } else { format!("{} %", figure(percent)) };
    let counts = format!("{} of {} in {} s", window.errors, window.requests, window.seconds);
    let link = link.cloned().map(ResourceId::Link);
    limited(view, IssueKind::ErrorRate, link, (percent, &text), " %", &counts)
}

fn p95(view: &View, window: Option<&Window>, link: Option<&LinkName>) -> Markup {
    let Some(window) = window else { return unknown() };
    let Some(ms) = window.p95_ms else { return unknown() };
    let median = window.p50_ms.map_or(String::new(), |ms| format!("median {}", milliseconds(ms)));
    let text = milliseconds(ms);
    let link = link.cloned().map(ResourceId::Link);
    limited(view, IssueKind::NetworkLatency, link, (ms, &text), " ms", &median)
}

/// A value, told as over its limit where an open issue on this resource says so. An issue stays open for a
/// while after its value came back: then it is linked, and nothing is shown as over.
fn limited(
    view: &View,
    kind: IssueKind,
    resource: Option<ResourceId>,
    (value, text): (f64, &str),
    unit: &str,
    title: &str,
) -> Markup {
    let issue = resource.and_then(|resource| view.issue_on(kind, &resource));
    match issue {
        None => html! { span title=(title) { (text) } },
        Some(issue) if issue.metrics.get("threshold").is_some_and(|limit| value <= *limit) => html! {
            a class="back" href={ "/issues/" (issue.id) } title=(issue.description) { (text) }
        },
        Some(issue) => html! {
            a class="over" href={ "/issues/" (issue.id) } title=(issue.description) {
                (text)
                @if let Some(limit) = issue.metrics.get("threshold") { ", " span class="limit" { "limit " (figure(*limit)) (unit) } }
            }
        },
    }
}

/// What instances use of what they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Cpu,
    Memory,
    Disk,
}

/// Each with its name in files and its heading.
const USES: [(&str, &str, Use); 3] =
    [("cpu", "CPU", Use::Cpu), ("memory", "Memory", Use::Memory), ("disk", "Disk", Use::Disk)];

impl Use {
    /// Percent of the limit, or what is used where there is none: cores, bytes.
    fn of(self, state: &ServiceState, instance: &InstanceState) -> Option<(f64, String)> {
        let percent = |share: f64| format!("{share:.0} %");
        match self {
            Self::Cpu => {
                let used = instance.usage.cpu?.0;
                let share = state.limits.cpu.map(|limit| used / limit.0 * 100.0);
                Some((share.unwrap_or(used), share.map_or(format!("{used:.2} cores"), percent)))
            }
            Self::Memory => {
                let used = instance.usage.memory?;
                let share = state.limits.memory.map(|limit| used.0 as f64 / limit.0 as f64 * 100.0);
                Some((share.unwrap_or(used.0 as f64), share.map_or(used.to_string(), percent)))
            }
            Self::Disk => {
                let (used, size) = (instance.usage.disk_used?, instance.usage.disk_size?);
                let share = used.0 as f64 / size.0 as f64 * 100.0;
                (size.0 > 0).then(|| (share, percent(share)))
            }
        }
    }
}

/// The instance that uses the most, with how much.
fn worst_of(state: &ServiceState, of: Use) -> Option<(&InstanceName, f64, String)> {
    let each = state.instances.iter();
    let measured =
        each.filter_map(|(name, instance)| of.of(state, instance).map(|(value, text)| (name, value, text)));
    measured.max_by(|(_, a, _), (_, b, _)| a.total_cmp(b))
}

fn worst_use(view: &View, state: &ServiceState, of: Use) -> Markup {
    let Some((name, value, text)) = worst_of(state, of) else { return unknown() };
    let (kind, resource) = match of {
        Use::Cpu => (IssueKind::HighCpu, ResourceId::Instance(name.clone())),
        Use::Memory => (IssueKind::HighMemory, ResourceId::Instance(name.clone())),
        Use::Disk => (IssueKind::DiskFull, ResourceId::Volume(name.clone())),
    };
    limited(view, kind, Some(resource), (value, &text), " %", &format!("the most of its instances: {name}"))
}

/// The links that `keep` chooses, with rate, errors and duration.
pub(super) fn links(view: &View, rows: Rows, keep: impl Fn(&LinkName) -> bool) -> Markup {
    let Some(snapshot) = view.snapshot.as_deref() else { return html! {} };
    let kept = snapshot.links.iter().filter(|(name, _)| keep(name));
    let kept = kept.map(|(name, state)| (link_status(view, name, state), (name, state)));
    let (kept, _) = rows.choose(kept.collect(), Meaning::Unknown);
    html! {
        @if !kept.is_empty() {
            h2 { "Links" span class="quiet" { "caller → callee" } }
            div class="scroll" { table class="stacks" {
                thead { tr {
                    th { "State" } th { "Link" } th class="number" { "Requests" } th class="number" { "Failed" }
                    th class="number fold" { "p50" } th class="number" { "p95" } th { "Breaker" } th { "Behind it" }
                } }
                tbody { @for (status, (name, state)) in kept { (link_row(view, status, name, state)) } }
            } }
        }
    }
}

fn link_row(view: &View, (meaning, word): (Meaning, &str), name: &LinkName, state: &LinkState) -> Markup {
    html! {
        tr data-key=(name) {
            td { (mark(meaning, word)) }
            td class="name" { (resource_link(&ResourceId::Link(name.clone()))) }
            td class="number" data-label="Requests" { (rate(Some(&state.recent))) }
            td class="number" data-label="Failed" { (failed(view, Some(&state.recent), Some(name))) }
            td class="number fold" data-label="p50" { @match state.recent.p50_ms { Some(ms) => { (milliseconds(ms)) }, None => (unknown()) } }
            td class="number" data-label="p95" { (p95(view, Some(&state.recent), Some(name))) }
            td class="name two" data-label="Breaker" {
                @match state.breaker {
                    BreakerState::Closed => span class="quiet" { "closed" },
                    BreakerState::Open => (mark(Meaning::Attention, "open")),
                    BreakerState::HalfOpen => (mark(Meaning::Info, "half open")),
                }
            }
            td class="two" data-label="Behind it" { div class="instances" {
                @for (instance, backend) in &state.backends {
                    @if view.stale().is_some() {
                        (mark(Meaning::Unknown, &instance.ordinal.to_string()))
                    } @else if backend.ejected {
                        span title={ (instance) " is taken out of the balancing" } { (mark(Meaning::Attention, &format!("{}: out", instance.ordinal))) }
                    } @else if backend.path_check_failures > 0 {
                        span title={ (instance) ": " (backend.path_check_failures) " failed checks in a row" } { (mark(Meaning::Bad, &format!("{}: fails", instance.ordinal))) }
                    } @else {
                        span title={ (instance) " gets its share" } { (mark(Meaning::Good, &instance.ordinal.to_string())) }
                    }
                }
            } }
        }
    }
}

fn link_status(view: &View, name: &LinkName, state: &LinkState) -> (Meaning, &'static str) {
    let resource = ResourceId::Link(name.clone());
    let worst =
        view.issues.iter().filter(|issue| issue.resource == resource).map(|issue| issue.severity).max();
    if view.stale().is_some() {
        (Meaning::Unknown, "unknown")
    } else if view.faults.iter().any(|running| running.fault.target == resource) {
        (Meaning::Disturbed, "disturbed")
    } else if let Some(severity) = worst {
        (super::marks::of_severity(severity), severity.name())
    } else if state.breaker == BreakerState::Open {
        (Meaning::Attention, "broken open")
    } else if state.recent.requests == 0 {
        (Meaning::Unknown, "idle")
    } else {
        (Meaning::Good, "healthy")
    }
}

pub(super) fn detail(app: &App, view: &View, name: &str, _query: &Query) -> Result<Page, Problem> {
    let found = ServiceName::new(name).ok().and_then(|name| {
        let state = view.snapshot.as_deref()?.services.get(&name)?;
        Some((name, state))
    });
    let Some((name, state)) = found else {
        return Err(Problem::not_found(format!("there is no service {name}; the Services page lists them")));
    };
    let axis = Axis::last(WINDOW, view.stamp.now.wall_us);
    let lanes = timeline::shared(app, axis, Some(name.as_str()), &Lane::ALL);
    let lanes = lanes.map(|lanes| html! { section class="timeline" { h2 { "Time line" span class="quiet" { "1 h" } } (lanes) } });
    let issues: Vec<_> =
        view.issues.iter().filter(|issue| issue.resource.service() == Some(&name)).cloned().collect();
    let logs = app.control.logs(&name, LOG_LINES);
    let sections = vec![
        Section::live(
            "header",
            html! {
                (header(view, &name, state))
                @if app.telemetry.is_some() {
                    p class="facts" { a href={ "/traces?service=" (name) } { "Traces" } a href={ "/latency?service=" (name) } { "Latency over time" } a href="/service-map" { "Service map" } }
                }
            },
        ),
        Section::live("actions", actions(view, &name, state)),
        Section::tried("red", Update::Live, "How it is", red::figures(app, view, name.as_str()))?,
        Section::tried("timeline", Update::Live, "Time line", lanes)?,
        Section::rows(
            "issues",
            html! {
                h2 { "Open issues" }
                @if issues.is_empty() { p class="empty" { "No issue is open here." } } @else { (history::issues(view, &issues)) }
            },
        ),
        Section::live("budgets", red::budgets(app, &name)),
        Section::tried("deployments", Update::Live, "Last deployments", red::deployments(app, view, &name))?,
        Section::live("instances", instances(view, state)),
        Section::still("scale", super::infrastructure::scale_form(view, &name, state.replicas)),
        Section::live("links", links(view, Rows::All, |link| link.to == name || link.from == name)),
        Section::live(
            "logs",
            html! {
                h2 { "Output" span class="quiet" { "the last " (LOG_LINES) " lines; more with " code { "homeostat logs " (name) } } }
                @match logs {
                    Ok(lines) if lines.is_empty() => p class="empty" { "It wrote nothing yet." },
                    Ok(lines) => pre tabindex="0" aria-label="Output" { (lines.join("\n")) },
                    Err(error) => p class="notice attention" { "The output cannot be read: " (error) },
                }
            },
        ),
    ];
    Ok(Page { title: name.to_string(), sections })
}

fn header(view: &View, name: &ServiceName, state: &ServiceState) -> Markup {
    let (meaning, word) = view.service_status(name, state);
    let ready = state.instances.values().filter(|i| i.phase == domain::snapshot::Phase::Ready).count();
    html! {
        p class="crumb" { a href="/services" { "Services" } }
        h1 class="sentence" { (name) ": " (ready) " of " (state.replicas) " instances ready." }
        div class="facts" {
            (mark(meaning, word))
            @if let Some(cpu) = state.limits.cpu { span { "CPU limit " (cpu) } }
            @if let Some(memory) = state.limits.memory { span { "memory limit " (memory) } }
            @if let Some(volume) = &state.volume { span { "volume " (volume.size) } }
            @if !state.dependencies.is_empty() {
                span { "calls " @for (place, service) in state.dependencies.iter().enumerate() {
                    @if place > 0 { ", " } a href={ "/services/" (service) } { (service) }
                } }
            }
            @if state.rolling_out { span { "a rollout is under way; healing waits" } }
            @if state.hands_off { span { "hands off: nothing is repaired or disturbed here" } }
        }
    }
}

fn actions(view: &View, name: &ServiceName, state: &ServiceState) -> Markup {
    let until = view.switches.pauses.get(name).filter(|until| !view.stamp.now.reached(**until));
    let standing = Standing::pause(&view.switches, name, view.stamp.now);
    html! {
        div class="actions" {
            @if let Some(until) = until {
                span { "Paused, " (view.stamp.left(*until)) "." }
                form method="post" action={ "/services/" (name) "/resume" } { (drawn_from(&standing)) button type="submit" { "Resume" } }
            } @else if !state.hands_off {
                form method="post" action={ "/services/" (name) "/pause" } {
                    (drawn_from(&standing))
                    label for="for" { "Repair and disturb nothing here for" }
                    select id="for" name="for" { @for (time, words) in [("15m", "15 min"), ("1h", "1 h"), ("4h", "4 h"), ("1d", "1 d")] { option value=(time) { (words) } } }
                    button type="submit" { "Pause" }
                }
            }
        }
    }
}

fn instances(view: &View, state: &ServiceState) -> Markup {
    html! {
        h2 { "Instances" }
        div class="scroll" tabindex="0" role="region" aria-label="Instances" { table class="stacks" {
            thead { tr {
                th { "State" } th { "Instance" } th { "For" } th class="number" { "Process" } th class="number" { "Port" }
                th class="number" { "CPU" } th class="number" { "Memory" } th class="number" { "Disk" } th class="number" { "Exits" }
            } }
            tbody {
                @for (name, instance) in &state.instances {
                    @let (meaning, word) = if view.stale().is_some() { (Meaning::Unknown, "unknown") } else { of_phase(instance.phase) };
                    tr data-key=(name) {
                        td { (mark(meaning, word)) }
                        td class="name" { (name) @if instance.crash_loop { " " (mark(Meaning::Bad, "crash loop")) } }
                        td data-label="For" { (view.stamp.lasting(instance.phase_since)) }
                        td class="number mono" data-label="Process" { @if let Some(process) = &instance.incarnation { (process.pid) } @else { "–" } }
                        td class="number mono" data-label="Port" { @if let Some(port) = instance.port { (port) } @else { "–" } }
                        td class="number" data-label="CPU" { @if let Some(cpu) = instance.usage.cpu { (cpu) } @else { (unknown()) } }
                        td class="number" data-label="Memory" { @if let Some(memory) = instance.usage.memory { (memory) } @else { (unknown()) } }
                        td class="number" data-label="Disk" { (disk(instance.usage.disk_used, instance.usage.disk_size)) }
                        td class="number" data-label="Exits" { (instance.exits.len()) }
                    }
                }
            }
        } }
    }
}

fn disk(used: Option<Bytes>, size: Option<Bytes>) -> Markup {
    match (used, size) {
        (Some(used), Some(size)) => html! { (used) " of " (size) },
        _ => unknown(),
    }
}

fn unknown() -> Markup {
    html! { span class="quiet" title="not known" { "–" } }
}

/// The same, leading to its service.
pub(crate) fn resource_link(resource: &ResourceId) -> Markup {
    match resource.service() {
        Some(service) => {
            html! { a href={ "/services/" (service) } title=(resource) { (resource_words(resource)) } }
        }
        None => html! { span title=(resource) { (resource_words(resource)) } },
    }
}
