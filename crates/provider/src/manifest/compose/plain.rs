//! What a value is without its places.

use serde_json::Value;
use yaml::Node;

/// The value as JSON. A whole number that JSON has no room for is text, with all its digits.
pub(super) fn json(node: &Node) -> Value {
    match node {
        Node::Null => Value::Null,
        Node::Bool(value) => (*value).into(),
        Node::Integer(value) => {
            let number =
                i64::try_from(*value).map(Value::from).or_else(|_| u64::try_from(*value).map(Value::from));
            number.unwrap_or_else(|_| value.to_string().into())
        }
        Node::Float(value) => (*value).into(),
        Node::Text(text) => text.as_str().into(),
        Node::List(items) => items.iter().map(|item| json(&item.value)).collect(),
        Node::Map(entries) => {
            Value::Object(entries.iter().map(|(key, of)| (key.value.clone(), json(&of.value))).collect())
        }
    }
}

/// Text, or what a flag or a number is as text.
pub(super) fn text(node: &Node) -> Option<String> {
    match json(node) {
        Value::String(text) => Some(text),
        value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
        _ => None,
    }
}
