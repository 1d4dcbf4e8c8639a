//! Reads the body of `POST /api/v3/chaos/experiment`.
//!
//! In: JSON as the specification gives it. Out: an [`ExperimentRequest`] whose form and ranges are right.
//! Whether the target exists, the provider can do it and safety allows it is the chaos engine's business.
//!
//! `auto_rollback` must be true where it is given: every fault here is taken out when its time is over.
//! `steady_state` is refused until there is an engine that watches one.

use std::borrow::Cow;
use std::time::Duration;

use domain::{
    Attachment, BurnBound, Fault, FaultKind, FileClass, InstanceName, PathScope, Percent, ServiceName,
    Severity,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::body::Fields;
use crate::control::{ExperimentRequest, SafetyLevel, Target};
use crate::endpoint::{RESOURCE, SERVICE};
use crate::problem::Problem;

const SEVERITIES: [(&str, Severity); 4] = [
    ("low", Severity::Low),
    ("medium", Severity::Medium),
    ("high", Severity::High),
    ("critical", Severity::Critical),
];

/// What [`read`] takes, for the document: which parameters there are depends on `type`.
pub(crate) struct ExperimentBody;

impl JsonSchema for ExperimentBody {
    fn schema_name() -> Cow<'static, str> {
        "ExperimentBody".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let types: Vec<&str> = TYPES.split(", ").collect();
        let levels = SafetyLevel::ALL.map(SafetyLevel::name);
        let severities = SEVERITIES.map(|(name, _)| name);
        json_schema!({
            "type": "object",
            "additionalProperties": false,
            "required": ["type", "target", "duration_seconds"],
            "properties": {
                "name": {"type": "string", "maxLength": 100, "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"},
                "type": {"type": "string", "enum": types},
                "target": {
                    "description": "Either one resource, such as instance/cart-0, or some instances of a service",
                    "oneOf": [
                        {
                            "type": "object", "additionalProperties": false, "required": ["resource"],
                            "properties": {"resource": {"type": "string", "pattern": RESOURCE}, "max_targets": {"type": ["number", "null"]}}
                        },
                        {
                            "type": "object", "additionalProperties": false, "required": ["selector"],
                            "properties": {
                                "selector": {
                                    "type": "object", "additionalProperties": false, "required": ["service"],
                                    "properties": {"service": {"type": "string", "pattern": SERVICE}}
                                },
                                "max_targets": {"type": "integer", "minimum": 1, "maximum": 100, "default": 1}
                            }
                        }
                    ]
                },
                "parameters": {
                    "type": "object", "additionalProperties": false,
                    "description": "Of the fault, as its type has them",
                    "properties": {
                        "load_percent": {"type": "number", "exclusiveMinimum": 0, "maximum": 100, "default": 90},
                        "fill_percent": {"type": "number", "exclusiveMinimum": 0, "maximum": 100},
                        "ramp_seconds": {"type": "number", "minimum": 0, "maximum": 3600, "default": 0},
                        "attachment": {"type": "string", "enum": ["attached", "host"], "default": "attached"},
                        "class": {"type": "string", "enum": ["temporary", "logs", "cache", "data"], "default": "temporary"},
                        "delay_ms": {"type": "number", "minimum": 1, "maximum": 5000},
                        "jitter_ms": {"type": "number", "minimum": 0, "maximum": 5000, "default": 0},
                        "requests_per_second": {"type": "integer", "minimum": 1, "maximum": 100},
                        "scope": {"type": "string", "default": "all", "description": "all, established_connections, or the name of one instance behind the link"}
                    }
                },
                "duration_seconds": {"type": "number", "minimum": 1, "maximum": 3600},
                "severity": {"type": "string", "enum": severities, "default": "medium"},
                "safety_level": {"type": "string", "enum": levels, "default": "dev"},
                "auto_rollback": {"type": "boolean", "const": true, "default": true},
                "abort_when": {
                    "type": "object", "additionalProperties": false,
                    "description": "Ends it early where an error budget burns this many times as fast as it lasts",
                    "dependentRequired": {"objective": ["burn_rate"], "burn_rate": ["objective"]},
                    "properties": {"objective": {"type": "string"}, "burn_rate": {"type": "number", "exclusiveMinimum": 0}}
                }
            },
            "examples": [{
                "name": "slow cart", "type": "network_latency", "target": {"resource": "link/front->cart"},
                "parameters": {"delay_ms": 400}, "duration_seconds": 30
            }]
        })
    }
}

const TYPES: &str = "pod_kill, pod_deletion, pause, cpu_stress, memory_stress, disk_fill, network_latency, network_partition, api_throttling";

/// Reads the request.
pub(crate) fn read(mut body: Fields, who: &str) -> Result<ExperimentRequest, Problem> {
    let kind_name = body.text("type", &format!("one of {TYPES}"))?;
    let mut parameters = body.object("parameters")?;
    let kind = read_kind(&kind_name, &mut parameters)?;
    parameters.finish()?;
    let target = read_target(body.object("target")?)?;
    let seconds = body.number("duration_seconds", "seconds, from 1 to 3600")?;
    let duration = Duration::try_from_secs_f64(seconds)
        .map_err(|_| body.wrong("duration_seconds", "must be from 1 to 3600"))?;
    let safety: Vec<_> = SafetyLevel::ALL.into_iter().map(|level| (level.name(), level)).collect();
    let name = body.text_or("name")?.unwrap_or_else(|| kind_name.clone());
    if name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(body.wrong("name", "must have at most 100 characters, none of them a control character"));
    }
    let severity = body.choice("severity", &SEVERITIES, Some(Severity::Medium))?;
    let safety_level = body.choice("safety_level", &safety, Some(SafetyLevel::Dev))?;
    if body.boolean_or("auto_rollback")? == Some(false) {
        return Err(body.wrong(
            "auto_rollback",
            "every fault is taken out when its time is over; leave it out or give true",
        ));
    }
    let abort_when = read_bound(body.object("abort_when")?)?;
    body.finish()?;
    let request = ExperimentRequest {
        name,
        kind,
        target,
        duration,
        severity,
        safety_level,
        requested_by: who.to_owned(),
        abort_when,
    };
    check_ranges(&request)?;
    Ok(request)
}

/// An objective and how fast its budget may burn; `None` where nothing is said.
fn read_bound(mut bound: Fields) -> Result<Option<BurnBound>, Problem> {
    let (objective, burn_rate) = (bound.text_or("objective")?, bound.number_or("burn_rate")?);
    let read = match (objective, burn_rate) {
        (None, None) => None,
        (Some(objective), Some(burn_rate)) if burn_rate > 0.0 => Some(BurnBound { objective, burn_rate }),
        (None, Some(_)) => {
            return Err(
                bound.wrong("objective", "`abort_when.objective` is missing; give the id of an objective")
            );
        }
        (Some(_), _) => {
            return Err(
                bound.wrong("burn_rate", "`abort_when.burn_rate` must be a number above 0, such as 14.4")
            );
        }
    };
    bound.finish()?;
    Ok(read)
}

/// Asks the domain what is out of range, and gives its names those of the body.
fn check_ranges(request: &ExperimentRequest) -> Result<(), Problem> {
    let (target, checks_target) = match &request.target {
        Target::Resource(resource) => (resource.clone(), true),
        Target::Service { service, .. } => (domain::ResourceId::Service(service.clone()), false),
    };
    let fault = Fault { target, kind: request.kind.clone(), duration: request.duration };
    let wrong = fault.check().into_iter().find(|(field, _)| checks_target || *field != "target");
    match wrong {
        None => Ok(()),
        Some((field, what)) => {
            let path = match field {
                "duration" => "duration_seconds".to_owned(),
                "target" => "target.resource".to_owned(),
                "load" | "fill" => format!("parameters.{field}_percent"),
                "delay" | "jitter" => format!("parameters.{field}_ms"),
                other => format!("parameters.{other}"),
            };
            Err(Problem::field(path.clone(), format!("`{path}` {what}")))
        }
    }
}

fn read_target(mut target: Fields) -> Result<Target, Problem> {
    let resource = target.text_or("resource")?;
    let mut selector = target.object("selector")?;
    let service = selector.text_or("service")?;
    selector.finish()?;
    let max_targets = target.number_or("max_targets")?;
    let read = match (resource, service) {
        (Some(text), None) => {
            Target::Resource(text.parse().map_err(|error| target.wrong("resource", format!("{error}")))?)
        }
        (None, Some(text)) => {
            let service = ServiceName::new(text)
                .map_err(|error| target.wrong("selector.service", error.to_string()))?;
            let max_targets = max_targets.unwrap_or(1.0);
            if !(1.0..=100.0).contains(&max_targets) || max_targets.fract() != 0.0 {
                return Err(target.wrong("max_targets", "must be a whole number from 1 to 100"));
            }
            Target::Service { service, max_targets: max_targets as u32 }
        }
        _ => {
            return Err(target.wrong(
                "resource",
                "give either `target.resource`, such as instance/cart-0, or `target.selector.service`, such as cart",
            ));
        }
    };
    target.finish()?;
    Ok(read)
}

fn read_kind(name: &str, parameters: &mut Fields) -> Result<FaultKind, Problem> {
    Ok(match name {
        "pod_kill" => FaultKind::PodKill,
        "pod_deletion" => FaultKind::PodDeletion,
        "pause" => FaultKind::Pause,
        "cpu_stress" => FaultKind::CpuStress {
            load: Percent(parameters.number_or("load_percent")?.unwrap_or(90.0)),
            attachment: attachment(parameters)?,
        },
        "memory_stress" => FaultKind::MemoryStress {
            fill: Percent(parameters.number_or("fill_percent")?.unwrap_or(95.0)),
            attachment: attachment(parameters)?,
            ramp: seconds(parameters, "ramp_seconds")?,
        },
        "disk_fill" => FaultKind::DiskFill {
            fill: Percent(parameters.number_or("fill_percent")?.unwrap_or(97.0)),
            class: parameters.choice(
                "class",
                &[
                    ("temporary", FileClass::Temporary),
                    ("logs", FileClass::Logs),
                    ("cache", FileClass::Cache),
                    ("data", FileClass::Data),
                ],
                Some(FileClass::Temporary),
            )?,
            ramp: seconds(parameters, "ramp_seconds")?,
        },
        "network_latency" => FaultKind::NetworkLatency {
            delay: milliseconds(parameters, "delay_ms")?.ok_or_else(|| {
                parameters.wrong("delay_ms", "`parameters.delay_ms` is missing; give 1 to 5000")
            })?,
            jitter: milliseconds(parameters, "jitter_ms")?.unwrap_or_default(),
            scope: scope(parameters)?,
        },
        "network_partition" => FaultKind::NetworkPartition { scope: scope(parameters)? },
        "api_throttling" => {
            let rate = parameters.number("requests_per_second", "1 to 100")?;
            if !(1.0..=100.0).contains(&rate) || rate.fract() != 0.0 {
                return Err(parameters.wrong(
                    "requests_per_second",
                    "`parameters.requests_per_second` must be a whole number from 1 to 100",
                ));
            }
            FaultKind::ApiThrottling { requests_per_second: rate as u32, scope: scope(parameters)? }
        }
        other => return Err(Problem::field("type", format!("{other:?} is not one of {TYPES}"))),
    })
}

fn attachment(parameters: &mut Fields) -> Result<Attachment, Problem> {
    let choices = [("attached", Attachment::Attached), ("host", Attachment::Host)];
    parameters.choice("attachment", &choices, Some(Attachment::Attached))
}

fn seconds(parameters: &mut Fields, name: &str) -> Result<Duration, Problem> {
    let seconds = parameters.number_or(name)?.unwrap_or(0.0);
    Duration::try_from_secs_f64(seconds).map_err(|_| parameters.wrong(name, "must be seconds from 0 to 3600"))
}

fn milliseconds(parameters: &mut Fields, name: &str) -> Result<Option<Duration>, Problem> {
    let Some(ms) = parameters.number_or(name)? else { return Ok(None) };
    Duration::try_from_secs_f64(ms / 1e3)
        .map(Some)
        .map_err(|_| parameters.wrong(name, "must be milliseconds from 0 to 5000"))
}

/// `all`, `established_connections`, or the name of one instance behind the link.
fn scope(parameters: &mut Fields) -> Result<PathScope, Problem> {
    let text = parameters.text_or("scope")?;
    Ok(match text.as_deref() {
        None | Some("all") => PathScope::All,
        Some("established_connections") => PathScope::EstablishedConnections,
        Some(instance) => PathScope::Backend(instance.parse::<InstanceName>().map_err(|_| {
            parameters.wrong(
                "scope",
                format!(
                    "{instance:?} is neither all, established_connections nor an instance such as cart-0"
                ),
            )
        })?),
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};
    use proptest::collection::btree_map;
    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest};
    use proptest::sample::select;

    use super::*;

    fn parse(body: serde_json::Value) -> Result<ExperimentRequest, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        read(Fields::parse(&headers, body.to_string().as_bytes())?, "test")
    }

    #[test]
    fn an_objective_that_ends_it_is_named_with_its_bound() {
        let with = |bound: serde_json::Value| {
            parse(serde_json::json!({
                "type": "pod_kill", "duration_seconds": 5, "target": {"resource": "instance/cart-0"}, "abort_when": bound,
            }))
        };
        let bound =
            with(serde_json::json!({"objective": "cart-answers", "burn_rate": 6})).unwrap().abort_when;
        assert_eq!(bound, Some(BurnBound { objective: "cart-answers".to_owned(), burn_rate: 6.0 }));
        let error = with(serde_json::json!({"objective": "cart-answers"})).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("abort_when.burn_rate"));
        let error = with(serde_json::json!({"burn_rate": 6})).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("abort_when.objective"));
    }

    #[test]
    fn a_whole_request_is_read() {
        let request = parse(serde_json::json!({
            "name": "slow cart", "type": "network_latency", "duration_seconds": 30,
            "target": {"resource": "link/front->cart"},
            "parameters": {"delay_ms": 400, "jitter_ms": 50, "scope": "cart-0"},
            "severity": "high", "safety_level": "staging", "auto_rollback": true,
        }))
        .unwrap();
        assert_eq!(request.duration, Duration::from_secs(30));
        assert_eq!(
            request.kind,
            FaultKind::NetworkLatency {
                delay: Duration::from_millis(400),
                jitter: Duration::from_millis(50),
                scope: PathScope::Backend("cart-0".parse().unwrap()),
            }
        );
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field() {
        let base = || serde_json::json!({"type": "pause", "duration_seconds": 5, "target": {"resource": "instance/cart-0"}});
        let with = |path: &str, value: serde_json::Value| {
            let mut body = base();
            *body.pointer_mut(path).unwrap() = value;
            parse(body).unwrap_err().field.unwrap()
        };
        assert_eq!(with("/type", "explode".into()), "type");
        assert_eq!(with("/duration_seconds", 0.into()), "duration_seconds");
        assert_eq!(with("/duration_seconds", (-1).into()), "duration_seconds");
        assert_eq!(with("/duration_seconds", "long".into()), "duration_seconds");
        assert_eq!(with("/target", serde_json::json!({})), "target.resource");
        assert_eq!(with("/target", serde_json::json!({"resource": "link/a->b"})), "target.resource");
        assert_eq!(with("/target", serde_json::json!({"resource": "everything"})), "target.resource");
        let mut body = base();
        body["steady_state"] = serde_json::json!({"x": 1});
        assert_eq!(parse(body).unwrap_err().field.as_deref(), Some("steady_state"));
        let mut body = base();
        body["auto_rollback"] = false.into();
        assert_eq!(parse(body).unwrap_err().field.as_deref(), Some("auto_rollback"));
    }

    #[test]
    fn an_empty_selector_never_means_everything() {
        let body = serde_json::json!({"type": "pod_kill", "duration_seconds": 5, "target": {"selector": {}}});
        assert_eq!(parse(body).unwrap_err().field.as_deref(), Some("target.resource"));
    }

    /// A value of any kind, among them those at the ends of their ranges.
    fn value() -> impl Strategy<Value = serde_json::Value> {
        prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            select(vec![0.0, -1.0, 1.0, 1e300, 1.8e19, 4294967296.0]).prop_map(Into::into),
            any::<String>().prop_map(Into::into),
            select(vec!["all", "cart-0", "instance/cart-0", "link/front->cart", "host", "logs", "cart"])
                .prop_map(Into::into),
            Just(serde_json::json!({"service": "cart"})),
            Just(serde_json::json!([])),
        ]
    }

    fn object(names: &'static [&'static str]) -> impl Strategy<Value = serde_json::Value> {
        btree_map(select(names).prop_map(str::to_owned), value(), 0..names.len())
            .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn no_body_panics(body in any::<Vec<u8>>()) {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let _ = Fields::parse(&headers, &body).and_then(|fields| read(fields, "test"));
        }

        /// Whatever the fields hold: what is read is in range, and a refusal names a field.
        #[test]
        fn no_experiment_panics(
            kind in select(TYPES.split(", ").collect::<Vec<_>>()),
            mut body in object(&["name", "duration_seconds", "severity", "safety_level", "auto_rollback"]),
            target in prop_oneof![
                object(&["resource", "selector", "max_targets"]),
                Just(serde_json::json!({"resource": "link/front->cart"})),
            ],
            parameters in object(&[
                "load_percent", "fill_percent", "class", "delay_ms", "jitter_ms", "scope", "attachment",
                "requests_per_second",
            ]),
        ) {
            body["type"] = kind.into();
            body["target"] = target;
            body["parameters"] = parameters;
            match parse(body) {
                Ok(request) => prop_assert!(request.duration <= Duration::from_secs(3600)),
                Err(problem) => prop_assert!(problem.field.is_some()),
            }
        }
    }
}
