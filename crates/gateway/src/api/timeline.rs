//! `observability/timeline`, `…/correlate`, `…/events`, `…/service/{name}/health`, `…/dashboard`.

use std::borrow::Cow;

use axum::http::StatusCode;
use decide::correlate::Span;
use domain::{
    Bearing, Happening, HappeningKind, HappeningLink, Lane, Permission, Release, ServiceName, Severity, Sign,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::json;
use store::Posted;

use super::{Answer, Asked, PLANS, json, names, time};
use crate::body::Fields;
use crate::deed::Deed;
use crate::endpoint::{Endpoint, Kind, Parameter, SERVICE, VERSION};
use crate::happenings::dashboard::Dashboard;
use crate::happenings::{self, service};
use crate::problem::{Code, Listed, Problem};
use crate::shapes::{CorrelationShape, EventShape, ServiceHealthShape, WindowShape};

/// How far before and after a time is looked, where the client does not say.
const WINDOW_SECONDS: i64 = 900;
/// At most: what services were asked is known for a day.
const WINDOW_SECONDS_MAX: i64 = 86_400;

/// The longest time line of one answer.
const TIME_LINE_US_MAX: i64 = 31 * 86_400 * 1_000_000;
const HOUR_US: i64 = 3_600_000_000;

const SERVICE_MAX: usize = 100;
const TITLE_MAX: usize = 300;
const KEY_MAX: usize = 200;
const LINKS_MAX: usize = 10;
const HREF_MAX: usize = 2_000;
/// No line ends and other control characters.
const LINE: &str = r"^[^\x00-\x1f\x7f-\x9f]+$";
/// Posted events may be from the time that records are kept for, and from clocks that are a little ahead.
const PAST_US_MAX: i64 = 90 * 86_400 * 1_000_000;
const FUTURE_US_MAX: i64 = 5 * 60 * 1_000_000;

/// What can be posted: the rest is detected, planned or injected by ourselves.
const POSTED: [(&str, HappeningKind); 4] = [
    ("deployment", HappeningKind::Deployment),
    ("incident", HappeningKind::Incident),
    ("alert", HappeningKind::Alert),
    ("anomaly", HappeningKind::Anomaly),
];

const SEVERITIES: [(&str, Severity); 4] = [
    ("critical", Severity::Critical),
    ("high", Severity::High),
    ("medium", Severity::Medium),
    ("low", Severity::Low),
];

pub(super) fn endpoints() -> Vec<Endpoint> {
    let at = |path: &str| format!("/api/v3/observability/{path}");
    let read = Permission::StateRead;
    let service = || Parameter::text("service", "Only what is about this service");
    vec![
        Endpoint::get(read, &at("timeline"), "timeline.get", timeline)
            .says("What happened within a range, lane by lane, newest first")
            .query([
                Parameter::time("from", "Where it begins; an hour before its end where it is left out"),
                Parameter::time("to", "Where it ends; now where it is left out"),
                Parameter::duration("within", "How long it is, where `from` is left out"),
                service(),
                Parameter::new(
                    "lanes",
                    Kind::Choices(known_lanes().map(Lane::name).collect()),
                    "Only these lanes",
                ),
            ])
            .refuses([Code::ObjectStorageAway])
            .answers::<TimeLine>("The lanes with their events"),
        Endpoint::get(read, &at("correlate"), "correlate.get", correlate)
            .says("What belongs together around a time, and what changed before")
            .query([
                Parameter::time("around", "Around when; now where it is left out"),
                Parameter::duration("window", "How far before and after; 15m where it is left out"),
                service(),
            ])
            .refuses([Code::ObjectStorageAway])
            .answers::<CorrelationShape>("Events, patterns, groups and changes"),
        Endpoint::post(Permission::TelemetryWrite, &at("events"), "events.create", post_event)
            .says("Tells of an event; the same key again says more of the same event")
            .takes::<EventBody>()
            .refuses(PLANS)
            .answers::<EventShape>("The event that was known by its key")
            .answers_with::<EventShape>(StatusCode::CREATED, "The event"),
        Endpoint::get(read, &at("service/{name}/health"), "services.health", service_health)
            .says("How a service is: availability, latency, errors, requests")
            .placeholder(Parameter::text("name", "The name of a service"))
            .refuses([Code::ObjectStorageAway])
            .answers::<ServiceHealthShape>("How it is"),
        Endpoint::get(read, &at("dashboard"), "dashboard.get", dashboard)
            .says("Everything that is shown first, in one document")
            .refuses([Code::ObjectStorageAway])
            .answers::<Dashboard>("The document"),
    ]
}

/// Lanes that have events.
fn known_lanes() -> impl Iterator<Item = Lane> {
    Lane::ALL.into_iter().filter(|lane| *lane != Lane::Budget)
}

/// A range with what lies in it.
#[derive(Serialize, JsonSchema)]
struct TimeLine {
    window: WindowShape,
    service: Option<String>,
    lanes: Vec<LaneOfEvents>,
}

/// One lane of a range.
#[derive(Serialize, JsonSchema)]
struct LaneOfEvents {
    lane: &'static str,
    events: Vec<EventShape>,
}

/// What [`post_event`] takes, for the document: a deployment takes `service`, `version` and `time` alone.
struct EventBody;

impl JsonSchema for EventBody {
    fn schema_name() -> Cow<'static, str> {
        "EventBody".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let told: Vec<&str> = POSTED.iter().skip(1).map(|(name, _)| *name).collect();
        let severities = SEVERITIES.map(|(name, _)| Some(name)).into_iter().chain([None]);
        let line = |most: usize| json!({"type": ["string", "null"], "minLength": 1, "maxLength": most, "pattern": LINE});
        let time = json!({"type": ["string", "null"], "format": "date-time", "description": "Of the last 90 days; now where it is left out"});
        json_schema!({
            "description": "An event from outside",
            "oneOf": [
                {
                    "type": "object", "additionalProperties": false, "required": ["type", "title"],
                    "properties": {
                        "type": {"type": "string", "enum": told},
                        "key": line(KEY_MAX),
                        "title": {"type": "string", "minLength": 1, "maxLength": TITLE_MAX, "pattern": LINE, "description": "One sentence"},
                        "service": line(SERVICE_MAX),
                        "time": time,
                        "end": {"type": ["string", "null"], "format": "date-time", "description": "Not before `time`"},
                        "severity": {"type": ["string", "null"], "enum": severities.collect::<Vec<_>>()},
                        "signs": {"type": ["array", "null"], "items": {"type": "string", "enum": ["slow", "errors"]}},
                        "links": {"type": ["array", "null"], "maxItems": LINKS_MAX, "items": {
                            "type": "object", "additionalProperties": false, "required": ["href"],
                            "properties": {
                                "rel": line(40),
                                "href": {"type": "string", "maxLength": HREF_MAX, "pattern": "^https?://[!-~]*$"}
                            }
                        }}
                    }
                },
                {
                    "type": "object", "additionalProperties": false, "required": ["type", "service", "version"],
                    "properties": {
                        "type": {"type": "string", "const": "deployment"},
                        "service": {"type": "string", "pattern": SERVICE},
                        "version": {"type": "string", "pattern": VERSION, "description": "What runs since then"},
                        "time": time
                    }
                }
            ],
            "examples": [
                {"type": "incident", "title": "checkout is slow", "service": "cart", "severity": "high", "key": "INC-17"},
                {"type": "deployment", "service": "cart", "version": "1.4.0"}
            ]
        })
    }
}

impl Asked<'_> {
    fn wall_us(&self, name: &str) -> Result<Option<i64>, Problem> {
        let read =
            self.query.read(name, time, || "an RFC 3339 time, such as 2026-11-21T03:00:00Z".to_owned());
        Ok(read?.map(|time| time.wall_us))
    }

    /// The service that a filter names; any text, since spans name what is no service of ours.
    fn named_service(&self) -> Result<Option<&str>, Problem> {
        match self.query.text("service") {
            Some(name) if name.chars().count() > SERVICE_MAX => {
                Err(Problem::field("service", format!("`service` is longer than {SERVICE_MAX} characters")))
            }
            service => Ok(service),
        }
    }
}

/// `GET …/correlate?around=&window=&service=`: what belongs together around a time, and what changed before.
pub(crate) fn correlate(asked: &Asked<'_>) -> Answer {
    let now_us = asked.app.clock.now().wall_us;
    let around_us = asked.wall_us("around")?.unwrap_or(now_us);
    let seconds = asked.query.read("window", seconds, || {
        format!("a duration up to {} h, such as 15m", WINDOW_SECONDS_MAX / 3600)
    })?;
    let half_us = seconds.unwrap_or(WINDOW_SECONDS) * 1_000_000;
    if around_us > now_us + FUTURE_US_MAX {
        return Err(Problem::field("around", "`around` lies in the future; give a time that has been"));
    }
    let window = Span {
        from_us: around_us.saturating_sub(half_us),
        to_us: around_us.saturating_add(half_us).min(now_us).max(around_us),
    };
    let service = asked.named_service()?;
    let answer = happenings::correlated(asked.app, window, around_us, service)?;
    json(StatusCode::OK, &CorrelationShape::new(&answer, around_us, service))
}

fn seconds(text: &str) -> Option<i64> {
    let seconds = i64::try_from(domain::units::parse_duration(text).ok()?.as_secs()).ok()?;
    (1..=WINDOW_SECONDS_MAX).contains(&seconds).then_some(seconds)
}

/// `GET …/timeline?from=&to=&within=&service=&lanes=`: what lies in a range, lane by lane, newest first.
pub(crate) fn timeline(asked: &Asked<'_>) -> Answer {
    let now_us = asked.app.clock.now().wall_us;
    let to_us = asked.wall_us("to")?.unwrap_or(now_us);
    let within = |text: &str| {
        let length = domain::units::parse_duration(text).ok()?;
        i64::try_from(length.as_micros()).ok().filter(|us| *us > 0)
    };
    let expected = || "a duration above 0, such as 15m, 6h or 7d".to_owned();
    let within = asked.query.read("within", within, expected)?;
    let from_us = asked.wall_us("from")?.unwrap_or(to_us.saturating_sub(within.unwrap_or(HOUR_US)));
    if from_us >= to_us {
        return Err(Problem::field("from", "`from` lies after `to`; swap them"));
    }
    if to_us.saturating_sub(from_us) > TIME_LINE_US_MAX {
        return Err(Problem::field("from", "`from` lies more than 31 days before `to`; ask for less"));
    }
    let lanes = lanes(asked.query.text("lanes"))?;
    let (span, service) = (Span { from_us, to_us }, asked.named_service()?);
    let events = happenings::gather(asked.app, span, &lanes, service)?;
    let of = |lane: Lane| -> Vec<EventShape> {
        events.iter().filter(|event| event.kind.lane() == lane).map(EventShape::from).collect()
    };
    let lanes = lanes.into_iter().map(|lane| LaneOfEvents { lane: lane.name(), events: of(lane) });
    let service = service.map(str::to_owned);
    json(StatusCode::OK, &TimeLine { window: span.into(), service, lanes: lanes.collect() })
}

/// The lanes of a list of names; those that have events where none is given.
pub(crate) fn lanes(text: Option<&str>) -> Result<Vec<Lane>, Problem> {
    let Some(text) = text else { return Ok(known_lanes().collect()) };
    let wanted: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if let Some(name) = wanted.iter().find(|name| !known_lanes().any(|lane| lane.name() == **name)) {
        let detail =
            format!("`lanes` has {name:?}; give {}, separated by commas", names(known_lanes(), Lane::name));
        return Err(Problem::field("lanes", detail));
    }
    Ok(known_lanes().filter(|lane| wanted.contains(&lane.name())).collect())
}

/// `POST …/events`: takes an event from outside. The same `key` again says more of the same event.
pub(crate) fn post_event(asked: &Asked<'_>) -> Answer {
    let now = asked.app.clock.now();
    let mut fields = asked.fields()?;
    let kind = fields.choice("type", &POSTED, None)?;
    if kind == HappeningKind::Deployment {
        return post_deployment(asked, fields);
    }
    let key = text(&mut fields, "key", KEY_MAX)?;
    let event = Happening {
        id: crate::serve::lock(&asked.app.ids).next::<domain::EventId>(now).to_string(),
        ..read(&mut fields, kind, now.wall_us)?
    };
    fields.finish()?;
    let (kept, posted) = asked.app.store.post_event(&event, key.as_deref())?;
    asked.deed.tell(Deed::of(format!("event/{}", kept.id)).and(&kept.label).and(&kept.title));
    let status = match posted {
        Posted::Added => StatusCode::CREATED,
        Posted::Replaced => StatusCode::OK,
    };
    json(status, &EventShape::from(&kept))
}

fn read(fields: &mut Fields, kind: HappeningKind, now_us: i64) -> Result<Happening, Problem> {
    let title = text(fields, "title", TITLE_MAX)?.ok_or_else(|| fields.missing("title", "one sentence"))?;
    let service = text(fields, "service", SERVICE_MAX)?;
    let from_us = moment(fields, "time", now_us)?.unwrap_or(now_us);
    let to_us = moment(fields, "end", now_us)?;
    if to_us.is_some_and(|end| end < from_us) {
        return Err(fields.wrong("end", "`end` lies before `time`; swap them"));
    }
    let severity = match fields.has("severity") {
        true => Some(fields.choice("severity", &SEVERITIES, None)?),
        false => None,
    };
    let signs = fields.choices("signs", &[("slow", Sign::Slow), ("errors", Sign::Errors)])?;
    let links = links(fields)?;
    Ok(Happening {
        id: String::new(),
        kind,
        from_us,
        to_us,
        label: match &service {
            Some(service) => format!("{kind} of {service}"),
            None => kind.name().to_owned(),
        },
        service,
        caller: None,
        title,
        severity,
        bearing: severity.map_or(Bearing::Attention, Bearing::of_severity),
        signs: signs.into_iter().collect(),
        of: None,
        links,
    })
}

/// A deployment has a home of its own, where those seen in spans and those made by plans are too. The same version
/// again is the same deployment.
fn post_deployment(asked: &Asked<'_>, mut fields: Fields) -> Answer {
    let name = fields.text("service", "the name of a service, such as cart")?;
    let service = ServiceName::new(name).map_err(|error| fields.wrong("service", error.to_string()))?;
    let version = fields.text("version", "the name of the version that runs since then")?;
    if let Some(fault) = Release::version_fault(&version) {
        return Err(fields.wrong("version", fault));
    }
    let at = moment(&mut fields, "time", asked.app.clock.now().wall_us)?.map(happenings::time);
    fields.finish()?;
    let last = asked.app.store.last_deployment(&service)?;
    asked.deed.tell(Deed::version(&service, &version));
    let stands = asked.app.control.post_deployment(&service, &version, at)?;
    let status =
        if last.is_some_and(|last| last.id == stands.id) { StatusCode::OK } else { StatusCode::CREATED };
    json(status, &EventShape::from(&happenings::of_deployment(&stands)))
}

/// A text without line ends and other control characters.
fn text(fields: &mut Fields, name: &str, length_max: usize) -> Result<Option<String>, Problem> {
    let Some(text) = fields.text_or(name)? else { return Ok(None) };
    let length = text.chars().count();
    if length == 0 || length > length_max || text.chars().any(char::is_control) {
        let detail = format!("`{name}` must be 1 to {length_max} characters on one line");
        return Err(fields.wrong(name, detail));
    }
    Ok(Some(text))
}

fn moment(fields: &mut Fields, name: &str, now_us: i64) -> Result<Option<i64>, Problem> {
    let Some(text) = fields.text_or(name)? else { return Ok(None) };
    let wall_us = time(&text).map(|time| time.wall_us);
    match wall_us.filter(|us| (now_us - PAST_US_MAX..=now_us + FUTURE_US_MAX).contains(us)) {
        Some(us) => Ok(Some(us)),
        None => {
            let detail = format!(
                "`{name}` is {text:?}; give an RFC 3339 time of the last 90 days, such as 2026-11-21T03:00:00Z"
            );
            Err(fields.wrong(name, detail))
        }
    }
}

/// Addresses of others alone: `http` and `https`.
fn links(fields: &mut Fields) -> Result<Vec<HappeningLink>, Problem> {
    let given = fields.objects("links", LINKS_MAX)?;
    let mut links = Vec::with_capacity(given.len());
    for mut link in given {
        let rel = text(&mut link, "rel", 40)?.unwrap_or("source".to_owned());
        let href = link.text("href", "an address that begins with https:// or http://")?;
        let plain = href.len() <= HREF_MAX && href.chars().all(|c| c.is_ascii_graphic());
        if !plain || !(href.starts_with("https://") || href.starts_with("http://")) {
            let detail = format!(
                "give an address of at most {HREF_MAX} characters that begins with https:// or http://"
            );
            return Err(link.wrong("href", detail));
        }
        link.finish()?;
        links.push(HappeningLink { rel, href });
    }
    Ok(links)
}

/// `GET …/service/{name}/health`.
pub(crate) fn service_health(asked: &Asked<'_>) -> Answer {
    let known = service::known(asked.app, asked.name)?.ok_or_else(|| {
        let detail = format!("nothing is known of a service {}", asked.name);
        Problem::not_among(Listed::Services, detail)
    })?;
    json(StatusCode::OK, &known.shape(asked.app.clock.now()))
}

/// `GET …/dashboard`: everything that is shown first, in one document.
pub(crate) fn dashboard(asked: &Asked<'_>) -> Answer {
    json(StatusCode::OK, &happenings::dashboard::document(asked.app)?)
}
