//! The OpenAPI 3.1 document, made from the endpoints.
//!
//! In: [`routes::endpoints`]. Out: `GET /api/v3/openapi.json`, made once. APIs of others that we answer (Jaeger's,
//! Prometheus') are described by them, not here.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::http::{Method, StatusCode, header};
use axum::response::IntoResponse;
use domain::{Permission, Role};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::api::{Answer, Asked};
use crate::endpoint::{Access, Effect, Endpoint, Parameter, Precondition, Success, Surface};
use crate::idempotency::KEY_MAX;
use crate::problem::{Code, Listed};
use crate::routes;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(Access::Open, "/api/v3/openapi.json", "server.openapi", serve)
            .says("This document")
            .answers::<BTreeMap<String, Value>>("OpenAPI 3.1"),
    ]
}

fn serve(_: &Asked<'_>) -> Answer {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document(&routes::endpoints()).to_string());
    Ok(([(header::CONTENT_TYPE, "application/json")], text.as_str()).into_response())
}

/// The document.
pub(crate) fn document(endpoints: &[Endpoint]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.surface == Surface::Ours) {
        for (n, path) in endpoint.paths().enumerate() {
            let operation = operation(endpoint, path, n > 0, &mut generator);
            let method = endpoint.method.as_str().to_ascii_lowercase();
            paths.entry(path.to_owned()).or_default().insert(method, operation);
        }
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Homeostat",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Observes services, detects what is wrong, works out the cause, repairs it within guardrails, and disturbs on purpose. Errors are problem details (RFC 9457) with a stable `code`; lists are bare arrays with the next page in a `Link` header.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "The first one is in the file `token` in the data directory; `homeostat token create` makes more."}
            },
            "responses": problems(),
            "headers": headers(),
        },
    })
}

fn operation(endpoint: &Endpoint, path: &str, is_alias: bool, generator: &mut SchemaGenerator) -> Value {
    let id = if is_alias { format!("{}_alias", endpoint.name) } else { endpoint.name.to_owned() };
    let json = |success: &Success| success.media == Some("application/json");
    let is_tagged = endpoint.method == Method::GET && endpoint.successes.iter().any(json);
    let parameters: Vec<Value> = placeholder(endpoint, path)
        .into_iter()
        .chain(endpoint.query.iter().map(|parameter| described(parameter, "query")))
        .chain(endpoint.is_repeatable().then(idempotency_key))
        .chain(is_tagged.then(if_none_match))
        .chain(if_match(endpoint.precondition))
        .collect();
    let is_paged = endpoint.query.iter().any(|parameter| ["before", "offset"].contains(&parameter.name));
    let mut responses: Map<String, Value> = endpoint
        .successes
        .iter()
        .map(|success| (success.status.as_u16().to_string(), response(success, is_paged, generator)))
        .collect();
    if is_tagged {
        let description = "The client has it: its If-None-Match names the ETag";
        responses.insert(
            "304".to_owned(),
            json!({"description": description, "headers": referred(&["X-Request-Id", "ETag"])}),
        );
        responses["200"]["headers"]["ETag"] = json!({"$ref": "#/components/headers/ETag"});
    }
    for (status, refused) in refusals(endpoint) {
        responses.entry(status.as_str()).or_insert(refused);
    }
    responses.insert("default".to_owned(), json!({"$ref": "#/components/responses/Problem"}));
    let mut operation = json!({
        "operationId": id,
        "summary": endpoint.summary,
        "description": access(endpoint.access),
        "tags": [endpoint.group()],
        "parameters": parameters,
        "responses": responses,
    });
    match endpoint.access {
        Access::Open => operation["security"] = json!([]),
        // Without a token where anonymous reads are allowed, which they are on loopback alone.
        Access::Needs(permission)
            if endpoint.effect == Effect::Reads && Role::Viewer.permissions().allows(permission) =>
        {
            operation["security"] = json!([{"token": []}, {}]);
        }
        Access::Needs(_) | Access::SignedIn => {}
    }
    if let Some(schema) = endpoint.body {
        let schema = schema(generator);
        operation["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": schema}}});
    } else if endpoint.method != Method::GET {
        let nothing = json!({"type": "object", "additionalProperties": false});
        operation["requestBody"] =
            json!({"required": false, "content": {"application/json": {"schema": nothing}}});
    }
    operation
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Names the request, so that it can be sent again: with the same key the same request has no second effect and the same answer for a day, another is refused with `idempotency_mismatch`. A UUID, say.",
        "schema": {"type": "string", "minLength": 1, "maxLength": KEY_MAX, "pattern": "^[!-~]+$"},
    })
}

fn if_none_match() -> Value {
    json!({
        "name": "If-None-Match",
        "in": "header",
        "description": "The ETag of an answer that the client has; 304 without a body where it would be the same",
        "schema": {"type": "string"},
    })
}

fn if_match(precondition: Precondition) -> Option<Value> {
    let Precondition::Of { path, .. } = precondition else { return None };
    let description = format!(
        "The ETag of `GET {path}`; 412 where that has another now. Never required: without it, it does not matter what is there"
    );
    let schema = json!({"type": "string"});
    Some(json!({"name": "If-Match", "in": "header", "description": description, "schema": schema}))
}

fn placeholder(endpoint: &Endpoint, path: &str) -> Option<Value> {
    let name = path.split_once('{')?.1.split_once('}')?.0;
    let mut value = match &endpoint.placeholder {
        Some(parameter) => described(parameter, "path"),
        None => json!({"in": "path", "schema": {"type": "string"}}),
    };
    value["name"] = name.into();
    value["required"] = true.into();
    Some(value)
}

fn described(parameter: &Parameter, place: &str) -> Value {
    let mut value = json!({
        "name": parameter.name,
        "in": place,
        "description": parameter.description,
        "schema": parameter.schema(),
    });
    if let Some(explode) = parameter.is_exploded() {
        value["style"] = "form".into();
        value["explode"] = explode.into();
    }
    value
}

fn response(success: &Success, is_paged: bool, generator: &mut SchemaGenerator) -> Value {
    let schema = success.schema.map_or_else(|| json!({"type": "string"}), |schema| schema(generator).into());
    let mut value = json!({"description": success.description, "headers": referred(&["X-Request-Id"])});
    if is_paged {
        value["headers"]["Link"] = json!({"$ref": "#/components/headers/Link"});
    }
    if let Some(media) = success.media {
        value["content"] = json!({media: {"schema": schema}});
    }
    value
}

/// What an operation is refused with: one answer for each status, with the codes that it may have there.
fn refusals(endpoint: &Endpoint) -> BTreeMap<StatusCode, Value> {
    let mut codes: BTreeMap<StatusCode, Vec<&str>> = BTreeMap::new();
    for code in endpoint.refusals() {
        codes.entry(code.status()).or_default().push(code.name());
    }
    codes.into_iter().map(|(status, names)| (status, refusal(status, &names))).collect()
}

fn refusal(status: StatusCode, codes: &[&str]) -> Value {
    let headers: &[&str] = match status {
        StatusCode::UNAUTHORIZED => &["X-Request-Id", "WWW-Authenticate"],
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => &["X-Request-Id", "Retry-After"],
        _ => &["X-Request-Id"],
    };
    let told: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
    let one_of = json!({"properties": {"code": {"enum": codes}, "status": {"const": status.as_u16()}}});
    let schema = json!({"allOf": [{"$ref": "#/components/schemas/Problem"}, one_of]});
    json!({
        "description": told.join(", "),
        "headers": referred(headers),
        "content": {"application/problem+json": {"schema": schema}},
    })
}

/// What goes wrong where nobody thought of it.
fn problems() -> Value {
    let content = json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
    json!({"Problem": {
        "description": "What was wrong and what to do",
        "headers": referred(&["X-Request-Id"]),
        "content": content,
    }})
}

fn referred(names: &[&str]) -> Value {
    let refer = |name: &&str| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")}));
    Value::Object(names.iter().map(refer).collect())
}

fn headers() -> Value {
    json!({
        "X-Request-Id": {
            "required": true,
            "description": "Names the request, also in logs and in the audit trail: the request's own X-Request-Id where it has 1 to 128 visible ASCII characters, else a new one",
            "schema": {"type": "string", "minLength": 1, "maxLength": 128},
        },
        "ETag": {
            "description": "Names this answer, for If-None-Match; not there where the answer is streamed",
            "schema": {"type": "string"},
        },
        "Link": {
            "description": "The address of the next page, with rel=\"next\"; not there on the last",
            "schema": {"type": "string"},
        },
        "Retry-After": {
            "description": "Seconds after which the same request may be answered; not there where nobody knows",
            "schema": {"type": "integer", "minimum": 0},
        },
        "WWW-Authenticate": {"required": true, "description": "How to say who asks", "schema": {"type": "string"}},
    })
}

/// Who may, in one sentence.
fn access(access: Access) -> String {
    match access {
        Access::Open => "For everybody.".to_owned(),
        Access::SignedIn => "For whoever proved who they are.".to_owned(),
        Access::Needs(permission) => format!("Needs `{permission}`: {}.", holders(permission).join(", ")),
    }
}

/// The roles that hold a permission.
pub(crate) fn holders(permission: Permission) -> Vec<&'static str> {
    Role::ALL.into_iter().filter(|role| role.permissions().allows(permission)).map(Role::name).collect()
}

fn problem_schema() -> Value {
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    json!({
        "type": "object",
        "description": "An error (RFC 9457)",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": {"type": "string", "description": "The address of the page about this code"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"type": "string", "enum": codes, "description": "Stable; programs match on it"},
            "detail": {"type": "string", "description": "What was wrong and what to do"},
            "field": {"type": "string", "description": "The part of the request at fault"},
            "listed_at": {
                "type": "string",
                "enum": Listed::ALL.map(Listed::path),
                "description": "Where what there is is listed, where something is not there"
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every reference in a value.
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_says_what_it_is() {
        let document = document(&routes::endpoints());
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 10);
        for reference in found {
            let path = reference.strip_prefix('#').unwrap_or(&reference);
            assert!(document.pointer(path).is_some(), "{reference}");
        }
        let mut ids = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{method} {path}");
                assert_ne!(operation["summary"], "", "{method} {path}");
                assert!(operation["responses"].as_object().unwrap().len() > 1, "{method} {path}");
            }
        }
    }

    #[test]
    fn who_may_is_said_at_each_operation() {
        let document = document(&routes::endpoints());
        let approve = &document["paths"]["/api/v3/self-healing/remediations/{id}/approve"]["post"];
        assert_eq!(approve["description"], "Needs `plans:approve`: approver, admin.");
    }
}
