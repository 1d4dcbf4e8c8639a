//! Values as OTLP messages: the way back from what was read.
//!
//! In: attributes, resources, scopes. Out: the bytes of the messages they came in, as far as they were kept.

use protowire::{fixed64, put_bytes, put_varint, varint};

use crate::column::Scalar;
use crate::model::{Resource, Scope, Value};

/// Adds a `KeyValue` message as field `number`.
pub(crate) fn put_attribute(out: &mut Vec<u8>, number: u32, key: &[u8], value: Scalar<'_>) {
    let mut pair = Vec::new();
    put_bytes(&mut pair, 1, key);
    put_bytes(&mut pair, 2, &any_value(value));
    put_bytes(out, number, &pair);
}

/// An `AnyValue` message.
fn any_value(value: Scalar<'_>) -> Vec<u8> {
    let mut any = Vec::new();
    match value {
        Scalar::Text(text) => put_bytes(&mut any, 1, text),
        Scalar::Bool(bool) => any.extend([varint(2) as u8, u8::from(bool)]),
        Scalar::Int(int) => {
            any.push(varint(3) as u8);
            put_varint(&mut any, int as u64);
        }
        Scalar::Double(double) => {
            any.push(fixed64(4) as u8);
            any.extend(double.to_bits().to_le_bytes());
        }
        Scalar::Bytes(bytes) => put_bytes(&mut any, 7, bytes),
        Scalar::Any(message) => any.extend_from_slice(message),
    }
    any
}

/// Shows a value as it stands in a column; lists, maps and what has no value as their `AnyValue` message.
pub(crate) fn with_scalar<T>(value: &Value, show: impl FnOnce(Scalar<'_>) -> T) -> T {
    match value {
        Value::Text(text) => show(Scalar::Text(text.as_bytes())),
        Value::Bool(bool) => show(Scalar::Bool(*bool)),
        Value::Int(int) => show(Scalar::Int(*int)),
        Value::Double(double) => show(Scalar::Double(*double)),
        Value::Bytes(bytes) => show(Scalar::Bytes(bytes)),
        Value::Empty => show(Scalar::Any(&[])),
        Value::List(values) => show(Scalar::Any(&list(values))),
        Value::Map(pairs) => show(Scalar::Any(&map(pairs))),
    }
}

/// An `AnyValue` message with a list.
fn list(values: &[Value]) -> Vec<u8> {
    let (mut items, mut any) = (Vec::new(), Vec::new());
    values.iter().for_each(|value| put_bytes(&mut items, 1, &with_scalar(value, any_value)));
    put_bytes(&mut any, 5, &items);
    any
}

/// An `AnyValue` message with a map.
fn map(pairs: &[(String, Value)]) -> Vec<u8> {
    let (mut items, mut any) = (Vec::new(), Vec::new());
    put_attributes(&mut items, pairs);
    put_bytes(&mut any, 6, &items);
    any
}

/// Adds `KeyValue` messages as field 1.
fn put_attributes(out: &mut Vec<u8>, pairs: &[(String, Value)]) {
    for (key, value) in pairs {
        let mut pair = Vec::new();
        put_bytes(&mut pair, 1, key.as_bytes());
        put_bytes(&mut pair, 2, &with_scalar(value, any_value));
        put_bytes(out, 1, &pair);
    }
}

/// A `Resource` message.
pub(crate) fn resource(resource: &Resource) -> Vec<u8> {
    let mut message = Vec::new();
    put_attributes(&mut message, &resource.attributes);
    message
}

/// An `InstrumentationScope` message.
pub(crate) fn scope(scope: &Scope) -> Vec<u8> {
    let mut message = Vec::new();
    for (number, text) in [(1, &scope.name), (2, &scope.version)] {
        if !text.is_empty() {
            put_bytes(&mut message, number, text.as_bytes());
        }
    }
    message
}
