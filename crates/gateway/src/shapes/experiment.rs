//! Experiments on the wire.
//!
//! In: a record whose document the chaos engine wrote. Out: that document, with every specified field.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use store::ExperimentRecord;

/// The specified fields beside id, status and time, with what they are where they are not null.
fn fields() -> [(&'static str, Value); 15] {
    let text = || json!({"type": ["string", "null"]});
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let moment = || json!({"type": ["string", "null"], "format": "date-time"});
    let object = |properties: Value| json!({"type": ["object", "null"], "properties": properties});
    [
        ("name", text()),
        ("type", text()),
        ("target", object(json!({"resource": {"type": "string"}}))),
        ("parameters", object(json!({}))),
        ("duration_seconds", json!({"type": ["number", "null"]})),
        ("severity", text()),
        ("safety_level", text()),
        ("auto_rollback", json!({"type": ["boolean", "null"]})),
        ("steady_state", object(json!({}))),
        ("started_at", moment()),
        ("completed_at", moment()),
        ("blast_radius", object(json!({"predicted": texts}))),
        ("recovery_time_seconds", json!({"type": ["number", "null"]})),
        ("passed", json!({"type": ["boolean", "null"]})),
        ("verdict", text()),
    ]
}

/// What an engine's document may have beside these; left out where it has none.
fn more() -> [(&'static str, Value); 5] {
    let fault = json!({
        "type": "object",
        "properties": {
            "target": {"type": "string"},
            "kind": {"type": ["string", "object"], "description": "Its name, or its name with what it takes"},
            "duration": {"type": "integer", "description": "Milliseconds"},
        },
    });
    let bound = json!({
        "type": "object",
        "properties": {"objective": {"type": "string"}, "burn_rate": {"type": "number"}},
    });
    [
        ("fault", fault),
        ("requested_by", json!({"type": "string"})),
        ("plan", json!({"type": "string", "format": "uuid"})),
        (
            "error",
            json!({"type": ["string", "null"], "description": "Why it was refused, failed or was aborted"}),
        ),
        ("abort_when", bound),
    ]
}

/// The schema of [`experiment`].
pub(crate) struct ExperimentShape;

impl JsonSchema for ExperimentShape {
    fn schema_name() -> Cow<'static, str> {
        "Experiment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut properties: Map<String, Value> =
            fields().into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
        properties.insert("id".to_owned(), json!({"type": "string", "format": "uuid"}));
        properties.insert("status".to_owned(), json!({"type": "string"}));
        properties.insert("created_at".to_owned(), json!({"type": "string", "format": "date-time"}));
        let required: Vec<String> = properties.keys().cloned().collect();
        properties.extend(more().into_iter().map(|(name, schema)| (name.to_owned(), schema)));
        json_schema!({"type": "object", "properties": properties, "required": required})
    }
}

/// An experiment: the specified fields that its document lacks are null, the document's own follow, and
/// id, status and time are the store's.
pub(crate) fn experiment(record: &ExperimentRecord) -> Value {
    let mut shape = document(record);
    // Another request is refused: every fault here is taken out when its time is over.
    shape.entry("auto_rollback").or_insert(Value::Bool(true));
    for (field, _) in fields() {
        shape.entry(field).or_insert(Value::Null);
    }
    shape.insert("id".to_owned(), record.id.to_string().into());
    shape.insert("status".to_owned(), record.status.name().into());
    shape.insert("created_at".to_owned(), record.created_at.rfc3339().into());
    Value::Object(shape)
}

/// The fields of an experiment's document; none where it is no JSON object.
pub(crate) fn document(record: &ExperimentRecord) -> Map<String, Value> {
    serde_json::from_str(&record.document).unwrap_or_default()
}
