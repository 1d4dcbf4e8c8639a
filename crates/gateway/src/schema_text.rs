//! Schemas in words, for the reference and the page of the API.
//!
//! In: JSON Schema as the OpenAPI document holds it. Out: what a value is, as a few words with the names of other types
//! among them, and the fields of an object. Whoever shows them says how a type is linked.

use serde_json::Value;

/// A part of a sentence about a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// Plain words.
    Text(String),
    /// A value as it is written.
    Code(String),
    /// The name of a schema of the document.
    Type(String),
}

/// A field of an object.
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    /// Of a body: it may be left out. In answers every field is there, as null where there is nothing.
    pub(crate) optional: bool,
    pub(crate) kind: Vec<Word>,
    pub(crate) description: &'a str,
    /// The fields of an object that has no name of its own.
    pub(crate) inner: Vec<Field<'a>>,
}

/// The fields of an object, in the order of the schema.
pub(crate) fn fields(schema: &Value) -> Vec<Field<'_>> {
    let required: Vec<&str> = strings(&schema["required"]);
    // Only what is read refuses fields nobody knows.
    let is_read = schema["additionalProperties"] == false;
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    properties
        .iter()
        .map(|(name, of)| Field {
            name,
            optional: is_read && !required.contains(&name.as_str()),
            kind: kind(of),
            description: of["description"].as_str().unwrap_or_default(),
            inner: fields(of),
        })
        .collect()
}

/// What a value is.
pub(crate) fn kind(schema: &Value) -> Vec<Word> {
    let mut words = of(schema);
    if let Some(default) = schema.get("default").filter(|default| !default.is_null()) {
        words.push(text(", else "));
        words.push(Word::Code(default.to_string()));
    }
    words
}

fn of(schema: &Value) -> Vec<Word> {
    if let Some(reference) = schema["$ref"].as_str() {
        return vec![Word::Type(reference.rsplit('/').next().unwrap_or(reference).to_owned())];
    }
    if let Some(choices) = ["anyOf", "oneOf"].iter().find_map(|key| schema[*key].as_array()) {
        return joined(choices.iter().map(of), " or ");
    }
    if let Some(constant) = schema.get("const") {
        return vec![text("always "), Word::Code(constant.to_string())];
    }
    if let Some(names) = schema["enum"].as_array() {
        let names = names.iter().map(|name| vec![Word::Code(plain(name))]);
        return std::iter::once(text("one of ")).chain(joined(names, ", ")).collect();
    }
    match &schema["type"] {
        Value::String(name) => named(name, schema),
        Value::Array(names) => {
            joined(names.iter().filter_map(Value::as_str).map(|name| named(name, schema)), " or ")
        }
        _ => vec![text("any value")],
    }
}

fn named(name: &str, schema: &Value) -> Vec<Word> {
    let words = match name {
        "array" if schema["items"]["enum"].is_array() => {
            let names = schema["items"]["enum"].as_array().into_iter().flatten();
            let names = joined(names.map(|name| vec![Word::Code(plain(name))]), ", ");
            return std::iter::once(text("list out of ")).chain(names).collect();
        }
        "array" => {
            return std::iter::once(text("list of ")).chain(of(&schema["items"])).collect();
        }
        "object" => match &schema["additionalProperties"] {
            values @ Value::Object(_) => {
                return std::iter::once(text("object of name to ")).chain(of(values)).collect();
            }
            _ => "object",
        },
        "string" => match schema["format"].as_str() {
            Some("date-time") => "time (RFC 3339)",
            Some("uuid") => "UUID",
            _ => match schema["examples"][0].as_str() {
                Some(example) => return vec![text("string, such as "), Word::Code(example.to_owned())],
                None => "string",
            },
        },
        "boolean" => {
            return vec![Word::Code("true".to_owned()), text(" or "), Word::Code("false".to_owned())];
        }
        other => other,
    };
    vec![text(&format!("{words}{}", bounds(schema)))]
}

fn bounds(schema: &Value) -> String {
    let number = |key: &str| schema[key].as_f64();
    let above = number("exclusiveMinimum").map(|least| format!(" above {least}"));
    let of_number = match (number("minimum"), number("maximum")) {
        (Some(least), Some(most)) => Some(format!(", {least} to {most}")),
        // Every count of ours is at least 0: that says nothing.
        (Some(least), None) if least != 0.0 => Some(format!(", at least {least}")),
        (None, Some(most)) => Some(format!(", at most {most}")),
        _ => None,
    };
    let of_text = number("maxLength").map(|most| format!(", at most {most} characters"));
    above.or(of_number).or(of_text).unwrap_or_default()
}

fn joined(parts: impl Iterator<Item = Vec<Word>>, between: &str) -> Vec<Word> {
    let parts: Vec<Vec<Word>> = parts.collect();
    parts.join(&text(between))
}

fn text(text: &str) -> Word {
    Word::Text(text.to_owned())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(schema: &Value) -> String {
        let words = kind(schema).into_iter().map(|word| match word {
            Word::Text(text) => text,
            Word::Code(code) => format!("`{code}`"),
            Word::Type(name) => format!("<{name}>"),
        });
        words.collect()
    }

    #[test]
    fn a_value_is_said_in_words() {
        for (schema, words) in [
            (json!({"$ref": "#/components/schemas/Issue"}), "<Issue>"),
            (json!({"anyOf": [{"$ref": "#/components/schemas/Issue"}, {"type": "null"}]}), "<Issue> or null"),
            (json!({"type": "array", "items": {"type": "string"}}), "list of string"),
            (
                json!({"type": "array", "items": {"type": "string", "enum": ["a", "b"]}}),
                "list out of `a`, `b`",
            ),
            (json!({"type": "string", "examples": ["15m"]}), "string, such as `15m`"),
            (json!({"type": ["number", "null"]}), "number or null"),
            (
                json!({"type": "integer", "minimum": 1, "maximum": 199, "default": 50}),
                "integer, 1 to 199, else `50`",
            ),
            (json!({"type": "string", "enum": ["low", "high"]}), "one of `low`, `high`"),
            (
                json!({"type": "object", "additionalProperties": {"type": "string"}}),
                "object of name to string",
            ),
            (json!(true), "any value"),
        ] {
            assert_eq!(said(&schema), words, "{schema}");
        }
    }

    #[test]
    fn fields_of_a_body_say_which_may_be_left_out() {
        let properties = json!({"a": {"type": "string", "description": "First"}, "b": {}});
        let said = |schema: &Value| -> Vec<(String, bool)> {
            fields(schema).into_iter().map(|field| (field.name.to_owned(), field.optional)).collect()
        };
        let body = json!({"properties": properties, "required": ["a"], "additionalProperties": false});
        assert_eq!(said(&body), [("a".to_owned(), false), ("b".to_owned(), true)]);
        let answer = json!({"properties": properties, "required": ["a"]});
        assert_eq!(said(&answer), [("a".to_owned(), false), ("b".to_owned(), false)]);
    }
}
