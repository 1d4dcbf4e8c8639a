//! Infrastructures on the wire, as they were declared.
//!
//! What one sets as environment is told by name alone: values there are often secrets, and who may read the state need not
//! know them.

use std::collections::BTreeMap;

use domain::{Environment, Infrastructure};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Value, json};

use crate::endpoint::choices;
use crate::problem::Problem;

/// What is up, as it was declared.
#[derive(Serialize, JsonSchema)]
pub(crate) struct InfrastructureShape {
    name: String,
    #[schemars(schema_with = "environments")]
    environment: Environment,
    /// Whether CPU limits are held, or are what use is judged by.
    #[schemars(schema_with = "cpu_limits")]
    cpu_limits: domain::CpuLimits,
    /// As in a definition, environments by name alone.
    #[schemars(schema_with = "services")]
    services: BTreeMap<String, Value>,
}

impl InfrastructureShape {
    pub(crate) fn new(infrastructure: &Infrastructure) -> Result<Self, Problem> {
        let unwritable =
            |error: serde_json::Error| Problem::internal(format!("an Infrastructure is no JSON: {error}"));
        let mut services = BTreeMap::new();
        for (name, spec) in &infrastructure.services {
            let mut shown = serde_json::to_value(spec).map_err(unwritable)?;
            if let Some(fields) = shown.as_object_mut() {
                let names: Vec<&String> = spec.environment.keys().collect();
                fields.insert("environment".to_owned(), serde_json::to_value(names).map_err(unwritable)?);
            }
            services.insert(name.to_string(), shown);
        }
        Ok(Self {
            name: infrastructure.name.to_string(),
            environment: infrastructure.environment,
            cpu_limits: infrastructure.cpu_limits,
            services,
        })
    }
}

fn environments(_: &mut SchemaGenerator) -> Schema {
    choices(["production", "staging", "dev"])
}

fn cpu_limits(_: &mut SchemaGenerator) -> Schema {
    choices(["held", "reference"])
}

/// Services by name. Lengths of time are milliseconds, sizes bytes.
fn services(_: &mut SchemaGenerator) -> Schema {
    let (text, number, flag) =
        (json!({"type": "string"}), json!({"type": ["number", "null"]}), json!({"type": "boolean"}));
    let (maybe, whole) = (json!({"type": ["string", "null"]}), json!({"type": "integer"}));
    let texts = json!({"type": "array", "items": text});
    let probe = json!({"type": ["object", "null"], "properties": {
        "http": maybe, "interval": whole, "timeout": whole, "failures": whole,
    }});
    let hook = json!({"type": ["object", "null"], "properties": {
        "http": maybe, "command": {"type": ["array", "null"], "items": text}, "timeout": whole,
    }});
    json_schema!({"type": "object", "additionalProperties": {"type": "object", "properties": {
        "command": texts,
        "version": maybe,
        "replicas": whole,
        "environment": {"type": "array", "items": text, "description": "Names of variables"},
        "listens": {"type": ["string", "null"], "enum": ["http", "tcp", null]},
        "publish": {"type": ["integer", "null"]},
        "readiness": probe,
        "liveness": probe,
        "limits": {"type": "object", "properties": {"cpu": number, "memory": {"type": ["integer", "null"]}}},
        "volume": {"type": ["object", "null"], "properties": {
            "size": whole, "temporary": text, "logs": text, "cache": text,
        }},
        "dependencies": texts,
        "drain": hook,
        "clear_caches": hook,
        "metrics": maybe,
        "stop_timeout": whole,
        "restart": {"type": "object", "properties": {
            "initial": whole, "max": whole, "settled": whole, "crash_loop_after": whole,
        }},
        "hands_off": flag,
        "protected": flag,
        "thresholds": {"type": "object", "properties": {
            "cpu": number, "memory": number, "disk": number, "latency_ms": number, "error_rate": number,
        }},
    }}})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every field that is written is in the schema, at whatever depth.
    fn described(value: &Value, schema: &Value, at: &str) {
        if let Value::Object(fields) = value {
            for (name, value) in fields {
                let known = schema["properties"].get(name);
                described(value, known.unwrap_or_else(|| panic!("{at}.{name}")), &format!("{at}.{name}"));
            }
        }
    }

    #[test]
    fn every_field_of_a_service_is_in_its_schema() {
        let declared = "
name: shop
services:
  cart:
    command: [cart]
    listens: http
    readiness: {http: /ready}
    liveness: {http: /live}
    limits: {cpu: 0.5, memory: 64 MiB}
    volume: {size: 8 MiB}
    drain: {http: /drain}
    clear_caches: {command: [clear]}
    environment: {KEY: secret}
";
        let infrastructure = provider::manifest::parse("shop.yaml", declared).unwrap();
        let written = serde_json::to_value(InfrastructureShape::new(&infrastructure).unwrap()).unwrap();
        let schema = Value::from(services(&mut SchemaGenerator::default()));
        let cart = &written["services"]["cart"];
        assert_eq!(cart["environment"], json!(["KEY"]));
        described(cart, &schema["additionalProperties"], "cart");
        let all = schema["additionalProperties"]["properties"].as_object().unwrap();
        assert_eq!(all.len(), cart.as_object().unwrap().len());
    }
}
