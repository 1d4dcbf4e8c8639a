//! An experiment from a form: the fault, where and how, then what it would touch, then the button that begins it.
//!
//! In: the query, which holds all that was filled in, so that a form or a preview can be sent to somebody. Out: the form,
//! the preview, and the experiment. What is asked for is read by the rules of the API.

use std::collections::BTreeSet;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use domain::{Action, ResourceId, ServiceName, Snapshot};
use maud::{Markup, html};
use serde_json::{Map, Value, json};

use super::actions::Submitted;
use super::experiments::TYPES;
use super::marks::{Meaning, mark};
use super::sentence::{capital, count};
use super::services::{resource_link, resource_words};
use super::view::View;
use super::{Page, Section, plan};
use crate::api;
use crate::body::{Fields, Query};
use crate::control::{ExperimentRequest, Planned};
use crate::deed::Deed;
use crate::phrases;
use crate::problem::Problem;
use crate::routes::see_other;
use crate::serve::App;

/// What a fault is struck at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Instance,
    Volume,
    Link,
}

/// A field that some faults take, with the value it has where nothing is given.
struct Parameter {
    name: &'static str,
    title: &'static str,
    control: Control,
    default: &'static str,
}

enum Control {
    /// From, to.
    Number(f64, f64),
    Choice(&'static [&'static str]),
    Text,
}

const ATTACHMENT: Parameter = Parameter {
    name: "attachment",
    title: "Where it lives",
    control: Control::Choice(&["attached", "host"]),
    default: "attached",
};
const RAMP: Parameter = Parameter {
    name: "ramp_seconds",
    title: "Gets there in, s",
    control: Control::Number(0.0, 3600.0),
    default: "0",
};
const SCOPE: Parameter = Parameter {
    name: "scope",
    title: "On: all, established_connections, or an instance",
    control: Control::Text,
    default: "all",
};

/// What a fault does, in words, where it can be, and what it takes.
fn kind(name: &str) -> Option<(&'static str, Place, Vec<Parameter>)> {
    let number = |name, title, low, high, default| Parameter {
        name,
        title,
        control: Control::Number(low, high),
        default,
    };
    let fill = |most, default| number("fill_percent", "Filled to, %", 1.0, most, default);
    Some(match name {
        "pod_kill" => ("kills the process, as a crash does", Place::Instance, vec![]),
        "pod_deletion" => ("stops the process as a shutdown does", Place::Instance, vec![]),
        "pause" => ("lets the process run no more, as a hang does", Place::Instance, vec![]),
        "cpu_stress" => {
            let load = number("load_percent", "Load, % of the limit", 1.0, 100.0, "90");
            ("uses the processor up", Place::Instance, vec![load, ATTACHMENT])
        }
        "memory_stress" => (
            "takes memory, at once or as a leak does",
            Place::Instance,
            vec![fill(150.0, "95"), RAMP, ATTACHMENT],
        ),
        "disk_fill" => {
            let classes = Control::Choice(&["temporary", "logs", "cache", "data"]);
            let class = Parameter { name: "class", title: "With", control: classes, default: "temporary" };
            ("fills the volume", Place::Volume, vec![fill(100.0, "97"), class, RAMP])
        }
        "network_latency" => {
            let delay = number("delay_ms", "Delay, ms", 1.0, 5000.0, "400");
            let jitter = number("jitter_ms", "Jitter ±, ms", 0.0, 5000.0, "0");
            ("makes answers late", Place::Link, vec![delay, jitter, SCOPE])
        }
        "network_partition" => ("lets nothing through", Place::Link, vec![SCOPE]),
        "api_throttling" => {
            let rate = number("requests_per_second", "Lets through, requests/s", 1.0, 100.0, "5");
            ("answers 429 above a rate", Place::Link, vec![rate, SCOPE])
        }
        _ => return None,
    })
}

/// Every field of the form but those of single faults.
const FIELDS: [&str; 10] = [
    "type",
    "name",
    "target",
    "service",
    "max_targets",
    "duration",
    "severity",
    "safety_level",
    "objective",
    "burn_rate",
];

/// The fields of the form for the chosen type.
pub(super) fn fields(form: &Query) -> Vec<&'static str> {
    FIELDS.into_iter().chain(parameters(form).iter().map(|parameter| parameter.name)).collect()
}

/// Every field that is filled in.
fn filled<'q>(query: &'q Query, parameters: &[Parameter]) -> Vec<(&'static str, &'q str)> {
    let names = FIELDS.into_iter().chain(parameters.iter().map(|parameter| parameter.name));
    names.filter_map(|name| Some((name, query.text(name)?))).collect()
}

/// `/experiments/new`: the faults there are; with one chosen, its form.
pub(super) fn page(view: &View, query: &Query, wrong: Option<&Problem>) -> Result<Page, Problem> {
    let chosen = query.text("type").and_then(|name| Some((name, kind(name)?)));
    let body = match &chosen {
        None => html! {
            h1 class="sentence" { "What is to be disturbed?" }
            p class="quiet" { "A fault is bounded in time and taken out by itself. Nothing happens before its preview." }
        },
        Some((name, (does, ..))) => html! {
            p class="crumb" { a href="/experiments" { "Experiments" } " / " a href="/experiments/new" { "another fault" } }
            h1 class="sentence" { (capital(&plan::words(name))) ": " (does) "." }
        },
    };
    let form = match chosen {
        None => faults(),
        Some((name, (_, place, parameters))) => form(view, query, (name, place, &parameters), wrong),
    };
    Ok(Page {
        title: "New experiment".to_owned(),
        sections: vec![Section::still("sentence", body), Section::still("form", form)],
    })
}

fn faults() -> Markup {
    html! {
        ul class="rows choices-list" {
            @for name in TYPES {
                @if let Some((does, place, _)) = kind(name) {
                    li {
                        span class="quiet" { @match place { Place::Instance => "instance", Place::Volume => "volume", Place::Link => "link" } }
                        span class="what" { a href={ "/experiments/new?type=" (name) } { (capital(&plan::words(name))) } }
                        div class="doing" { (capital(does)) "." }
                    }
                }
            }
        }
    }
}

fn form(
    view: &View,
    query: &Query,
    (name, place, parameters): (&str, Place, &[Parameter]),
    wrong: Option<&Problem>,
) -> Markup {
    let text = |field: &str, default: &str| query.text(field).unwrap_or(default).to_owned();
    let at_fault = wrong.and_then(|problem| problem.field.as_deref()).map(field_of);
    let invalid = |field: &str| (at_fault == Some(field)).then_some("true");
    let targets = targets(view.snapshot.as_deref(), place);
    let services: BTreeSet<&ServiceName> =
        view.snapshot.as_deref().map(|snapshot| snapshot.services.keys().collect()).unwrap_or_default();
    html! {
        @if let Some(problem) = wrong { p class="notice bad" role="alert" id="wrong" { (super::sentence::with_code(&capital(&problem.detail))) "." } }
        form class="fill-in" method="get" action="/experiments/preview" {
            input type="hidden" name="type" value=(name);
            fieldset {
                legend { "Where" }
                label { "At exactly this"
                    input type="text" name="target" list="targets" value=(text("target", "")) aria-invalid=[invalid("target")] placeholder=(targets.first().map_or("instance/cart-0".to_owned(), ToString::to_string)) spellcheck="false" autocomplete="off";
                    datalist id="targets" { @for target in &targets { option value=(target) { (resource_words(target)) } } }
                }
                label { "Or within a service"
                    select name="service" aria-invalid=[invalid("service")] {
                        option value="" { "–" }
                        @for service in &services { option value=(service) selected[query.text("service") == Some(service.as_str())] { (service) } }
                    }
                }
                label { "at up to" input type="number" name="max_targets" min="1" max="100" value=(text("max_targets", "1")) aria-invalid=[invalid("max_targets")]; }
            }
            fieldset {
                legend { "How" }
                label { "For at most, s" input type="number" name="duration" min="1" max="3600" required value=(text("duration", "30")) aria-invalid=[invalid("duration")]; }
                @for parameter in parameters { (parameter_field(parameter, &text(parameter.name, parameter.default), invalid(parameter.name))) }
            }
            fieldset {
                legend { "Care" }
                label { "Harm it may do" (choice("severity", &["low", "medium", "high", "critical"], &text("severity", "medium"))) }
                label { "Place" (choice("safety_level", &["dev", "staging", "canary", "production"], &text("safety_level", "dev"))) }
                label { "Ends early where this objective" input type="text" name="objective" value=(text("objective", "")) placeholder="none" spellcheck="false" autocomplete="off" aria-invalid=[invalid("objective")]; }
                label { "burns faster than" input type="number" name="burn_rate" min="0" step="any" value=(text("burn_rate", "")) aria-invalid=[invalid("burn_rate")]; }
                label { "Name" input type="text" name="name" maxlength="100" value=(text("name", "")) placeholder=(name) autocomplete="off" aria-invalid=[invalid("name")]; }
            }
            div class="actions" {
                button class="primary" type="submit" { "Preview" }
                a class="button" href="/experiments" { "Back" }
            }
        }
    }
}

fn parameter_field(parameter: &Parameter, value: &str, invalid: Option<&str>) -> Markup {
    let name = parameter.name;
    html! {
        label { (parameter.title)
            @match parameter.control {
                Control::Number(low, high) => input type="number" name=(name) min=(low) max=(high) step="any" value=(value) aria-invalid=[invalid];,
                Control::Choice(choices) => (choice(name, choices, value)),
                Control::Text => input type="text" name=(name) value=(value) spellcheck="false" aria-invalid=[invalid];,
            }
        }
    }
}

fn choice(name: &str, choices: &[&str], chosen: &str) -> Markup {
    html! { select name=(name) { @for choice in choices { option value=(choice) selected[*choice == chosen] { (choice) } } } }
}

/// What there is to strike at.
fn targets(snapshot: Option<&Snapshot>, place: Place) -> Vec<ResourceId> {
    let fits = |resource: &ResourceId| match place {
        Place::Instance => matches!(resource, ResourceId::Instance(_)),
        Place::Volume => matches!(resource, ResourceId::Volume(_)),
        Place::Link => matches!(resource, ResourceId::Link(_)),
    };
    snapshot.map(|snapshot| snapshot.resources().filter(fits).collect()).unwrap_or_default()
}

/// The form's field for a field of the API.
fn field_of(field: &str) -> &str {
    match field {
        "target.resource" => "target",
        "target.selector.service" => "service",
        "duration_seconds" => "duration",
        other => other.rsplit('.').next().unwrap_or(other),
    }
}

/// What was filled in, as the API takes it.
fn read(query: &Query, who: &str) -> Result<ExperimentRequest, Problem> {
    let name = query.text("type").unwrap_or("");
    let Some((_, _, parameters)) = kind(name) else {
        return Err(Problem::field("type", format!("{name:?} is not one of {}", TYPES.join(", "))));
    };
    let text = |field| query.text(field).map_or(Value::Null, Value::from);
    // What is no number is refused by its name, as the text that it is.
    let number = |field: &str| match query.text(field).map(|text| (text, text.parse::<f64>())) {
        None => Value::Null,
        Some((_, Ok(number))) => json!(number),
        Some((text, Err(_))) => json!(text),
    };
    let given = parameters.iter().map(|parameter| {
        let value = match parameter.control {
            Control::Number(..) => number(parameter.name),
            Control::Choice(_) | Control::Text => text(parameter.name),
        };
        (parameter.name.to_owned(), value)
    });
    let target = match query.text("target") {
        Some(resource) => json!({"resource": resource}),
        None => json!({"selector": {"service": text("service")}, "max_targets": number("max_targets")}),
    };
    let body = json!({
        "type": name,
        "name": text("name"),
        "target": target,
        "parameters": given.collect::<Map<String, Value>>(),
        "duration_seconds": number("duration"),
        "severity": text("severity"),
        "safety_level": text("safety_level"),
        "abort_when": {"objective": text("objective"), "burn_rate": number("burn_rate")},
    });
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    api::experiment::read(Fields::parse(&headers, body.to_string().as_bytes())?, who)
}

/// `/experiments/preview`: what it would do and touch. What cannot be read or done leads back to the form with why.
pub(super) fn preview(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let planned = read(query, "nobody yet").and_then(|request| {
        let planned = app.control.preview_experiment(&request)?;
        if planned.is_empty() {
            return Err(Problem::field("target", "nothing is there to be disturbed; choose another target"));
        }
        Ok(planned)
    });
    match planned {
        Ok(planned) => Ok(previewed(view, query, &planned)),
        Err(problem) if problem.status().is_client_error() => page(view, query, Some(&problem)),
        Err(problem) => Err(problem),
    }
}

fn previewed(view: &View, query: &Query, planned: &[Planned]) -> Page {
    let reasons: BTreeSet<&str> =
        planned.iter().flat_map(|one| one.reasons.iter().map(String::as_str)).collect();
    let touched: BTreeSet<&ResourceId> = planned.iter().flat_map(|one| &one.plan.blast_radius).collect();
    let callers = callers(view, &touched);
    let words = words(planned);
    let header = html! {
        p class="crumb" { a href="/experiments" { "Experiments" } " / preview" }
        h1 class="sentence" { (words) "?" }
        p class="facts" { span { "Nothing was changed." } (mark(Meaning::Disturbed, &count(touched.len(), "resource touched", "resources touched"))) }
    };
    let body = html! {
        div class="loop" {
            section { h2 { "Steps" } div { @for one in planned { (plan::steps(&one.plan, &[])) } } }
            section { h2 { "Touches" } p { (listed(touched.iter().copied())) } }
            section { h2 { "Felt by" } p {
                @if callers.is_empty() { "No service calls what is touched." }
                @else { "Callers: " @for (place, name) in callers.iter().enumerate() { @if place > 0 { ", " } a href={ "/services/" (name) } { (name) } } "." }
            } }
            section { h2 { "Ends" } p { "By itself when its time is over, by “Abort and take out”, or by the emergency stop." } }
            section { h2 { "Guard" } div {
                @if reasons.is_empty() { p { (mark(Meaning::Good, "would let it begin now")) } }
                @else { ul class="reasons" { @for reason in &reasons { li { (capital(reason)) } } } }
            } }
        }
    };
    let again = format!("/experiments/new?{}", query.changed(&[]));
    let actions = html! {
        div class="actions" {
            @if reasons.is_empty() {
                form method="post" action="/experiments/start" {
                    @for (name, value) in filled(query, &parameters(query)) { input type="hidden" name=(name) value=(value); }
                    button class="danger" type="submit" { (words) }
                }
            } @else { (mark(Meaning::Unknown, "refused")) span class="quiet" { "The guard would refuse it." } }
            a class="button" href=(again) { "Change it" }
            a class="button" href="/experiments" { "Back" }
        }
    };
    Page {
        title: "Preview".to_owned(),
        sections: vec![
            Section::still("header", header),
            Section::still("loop", body),
            Section::still("actions", actions),
        ],
    }
}

fn parameters(query: &Query) -> Vec<Parameter> {
    query.text("type").and_then(kind).map(|(_, _, parameters)| parameters).unwrap_or_default()
}

/// What it will do, as its button says it: `Pause for 30 s at cart-1`.
fn words(planned: &[Planned]) -> String {
    let struck = planned.iter().flat_map(|one| &one.plan.steps).filter_map(|step| match &step.action {
        Action::Inject(fault) => Some(fault),
        _ => None,
    });
    let struck: Vec<_> = struck.collect();
    let Some(first) = struck.first() else { return "Begin".to_owned() };
    let places: Vec<String> = struck.iter().map(|fault| resource_words(&fault.target)).collect();
    capital(&format!("{} at {}", phrases::fault(first), places.join(", ")))
}

/// The services that call what is touched, and are not touched themselves.
fn callers(view: &View, touched: &BTreeSet<&ResourceId>) -> BTreeSet<ServiceName> {
    let Some(snapshot) = view.snapshot.as_deref() else { return BTreeSet::new() };
    let own: BTreeSet<&ServiceName> = touched.iter().filter_map(|resource| resource.service()).collect();
    let callers = own.iter().flat_map(|service| snapshot.dependents(service));
    callers.filter(|caller| !own.contains(caller)).cloned().collect()
}

fn listed<'a>(resources: impl Iterator<Item = &'a ResourceId>) -> Markup {
    html! { @for (place, resource) in resources.enumerate() { @if place > 0 { ", " } (resource_link(resource)) } "." }
}

/// Begins what was previewed; it is planned and judged anew.
pub(super) fn start(asked: &Submitted<'_>) -> Result<Response, Problem> {
    let request = read(&asked.form, asked.who())?;
    asked.deed.tell(Deed::experiment(&request));
    let id = asked.app.control.inject(request)?;
    asked.deed.add(format!("experiment {id}"));
    Ok(see_other(&format!("/experiments/{id}")))
}
