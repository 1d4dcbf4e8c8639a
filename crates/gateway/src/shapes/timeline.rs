//! What lies on the time line, on the wire (specification §4: `correlate`, `service/{name}/health`).

use decide::correlate::{Correlation, PatternName, Span};
use decide::service::{ServiceHealth, ServiceStatus};
use decide::trend::Trend;
use domain::{Happening, HappeningLink};
use schemars::JsonSchema;
use serde::Serialize;

use crate::happenings::time;

#[derive(Serialize, JsonSchema)]
pub(crate) struct WindowShape {
    from: String,
    to: String,
}

impl From<Span> for WindowShape {
    fn from(span: Span) -> Self {
        Self { from: time(span.from_us).rfc3339(), to: time(span.to_us).rfc3339() }
    }
}

/// Where more of it is to be found.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventLink")]
struct LinkShape {
    /// `page`, `trace`, `logs`, `metrics` or `source`; what is told from outside may have another.
    rel: String,
    href: String,
}

impl From<&HappeningLink> for LinkShape {
    fn from(link: &HappeningLink) -> Self {
        Self { rel: link.rel.clone(), href: link.href.clone() }
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct EventShape {
    id: String,
    r#type: &'static str,
    time: String,
    service: Option<String>,
    title: String,
    links: Vec<LinkShape>,
    end: Option<String>,
    lane: &'static str,
    label: String,
    caller: Option<String>,
    severity: Option<&'static str>,
    bearing: &'static str,
    signs: Vec<&'static str>,
    of: Option<String>,
}

impl From<&Happening> for EventShape {
    fn from(event: &Happening) -> Self {
        Self {
            id: event.id.clone(),
            r#type: event.kind.name(),
            time: time(event.from_us).rfc3339(),
            service: event.service.clone(),
            title: event.title.clone(),
            links: event.links.iter().map(LinkShape::from).collect(),
            end: event.to_us.map(|end| time(end).rfc3339()),
            lane: event.kind.lane().name(),
            label: event.label.clone(),
            caller: event.caller.clone(),
            severity: event.severity.map(domain::Severity::name),
            bearing: event.bearing.name(),
            signs: event.signs.iter().map(|sign| sign.name()).collect(),
            of: event.of.clone(),
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct CorrelationShape {
    window: WindowShape,
    around: String,
    service: Option<String>,
    events: Vec<EventShape>,
    patterns: Vec<PatternShape>,
    groups: Vec<GroupShape>,
    changes: Vec<ChangeShape>,
}

#[derive(Serialize, JsonSchema)]
struct PatternShape {
    #[schemars(with = "String")]
    name: PatternName,
    /// 0 to 100.
    confidence: f64,
    service: String,
    time: String,
    sentence: String,
    evidence: Vec<String>,
    events: Vec<String>,
    affected_services: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct GroupShape {
    window: WindowShape,
    events: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct ChangeShape {
    id: String,
    seconds_before: f64,
    /// Calls from the service in trouble to the one that changed; null where there is no way.
    distance: Option<usize>,
}

impl CorrelationShape {
    pub(crate) fn new(answer: &Correlation, around_us: i64, service: Option<&str>) -> Self {
        Self {
            window: answer.window.into(),
            around: time(around_us).rfc3339(),
            service: service.map(str::to_owned),
            events: answer.events.iter().map(EventShape::from).collect(),
            patterns: answer
                .patterns
                .iter()
                .map(|pattern| PatternShape {
                    name: pattern.name,
                    confidence: (pattern.confidence.0 * 10.0).round() / 10.0,
                    service: pattern.service.clone(),
                    time: time(pattern.from_us).rfc3339(),
                    sentence: pattern.sentence.clone(),
                    evidence: pattern.evidence.clone(),
                    events: pattern.events.clone(),
                    affected_services: pattern.affected_services.iter().cloned().collect(),
                })
                .collect(),
            groups: answer
                .groups
                .iter()
                .map(|group| GroupShape {
                    window: group.span.into(),
                    events: group.events.iter().map(|(_, id)| id.clone()).collect(),
                })
                .collect(),
            changes: answer
                .changes
                .iter()
                .map(|change| ChangeShape {
                    id: change.id.clone(),
                    seconds_before: change.before_us as f64 / 1e6,
                    distance: change.distance,
                })
                .collect(),
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct ServiceHealthShape {
    service: String,
    #[schemars(with = "Option<String>")]
    status: Option<ServiceStatus>,
    availability_percent: Option<f64>,
    average_latency_ms: Option<f64>,
    error_rate_percent: Option<f64>,
    requests_per_minute: Option<f64>,
    last_deployment: Option<EventShape>,
    active_alerts: Vec<EventShape>,
    open_issues: usize,
    reason: String,
    /// Who counted the recent calls, and over how long; null where nobody did.
    counted_by: Option<&'static str>,
    window_seconds: Option<f64>,
    availability_window_seconds: Option<f64>,
    timestamp: String,
}

/// What beside the figures is told of a service.
pub(crate) struct ServiceContext<'a> {
    pub(crate) last_deployment: Option<&'a Happening>,
    pub(crate) active_alerts: &'a [Happening],
    pub(crate) open_issues: usize,
    pub(crate) counted_by: Option<&'static str>,
    pub(crate) window_seconds: Option<f64>,
    pub(crate) availability_window_seconds: Option<f64>,
    pub(crate) now: domain::Time,
}

impl ServiceHealthShape {
    pub(crate) fn new(service: &str, health: &ServiceHealth, context: &ServiceContext<'_>) -> Self {
        Self {
            service: service.to_owned(),
            status: health.status,
            availability_percent: health.availability_percent.map(|value| rounded(value, 4)),
            average_latency_ms: health.average_latency_ms.map(|value| rounded(value, 3)),
            error_rate_percent: health.error_rate_percent.map(|value| rounded(value, 4)),
            requests_per_minute: health.requests_per_minute.map(|value| rounded(value, 2)),
            last_deployment: context.last_deployment.map(EventShape::from),
            active_alerts: context.active_alerts.iter().map(EventShape::from).collect(),
            open_issues: context.open_issues,
            reason: health.reason.clone(),
            counted_by: context.counted_by,
            window_seconds: context.window_seconds,
            availability_window_seconds: context.availability_window_seconds,
            timestamp: context.now.rfc3339(),
        }
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (value * unit).round() / unit
}

/// Where a score is going.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TrendShape {
    direction: &'static str,
    points_per_hour: f64,
    window_seconds: f64,
    scores: usize,
}

impl From<&Trend> for TrendShape {
    fn from(trend: &Trend) -> Self {
        Self {
            direction: trend.direction.name(),
            points_per_hour: rounded(trend.points_per_hour, 2),
            window_seconds: trend.window_seconds,
            scores: trend.scores,
        }
    }
}
