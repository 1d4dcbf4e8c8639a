//! Attributes and their values: borrowed on the way in, owned when someone reads them.

use protowire::{Fault, Reader, fixed64, len, varint};

use crate::column::Scalar;
use crate::model::{AttributeList, Resource, Scope, Value};

/// Values nested deeper than this are refused: the stack is bounded, whoever sends.
const DEPTH: u32 = 32;

/// What OpenTelemetry calls a service that did not say its name.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// Key and value of a `KeyValue` message, borrowed; no value where none was given.
#[inline]
pub(crate) fn attribute(message: &[u8]) -> Result<(&[u8], Option<Scalar<'_>>), Fault> {
    const KEY: u32 = len(1);
    const VALUE: u32 = len(2);
    let mut reader = Reader::new(message);
    let mut key: &[u8] = &[];
    let mut value = None;
    while let Some(tag) = reader.tag()? {
        match tag {
            KEY => key = reader.bytes()?,
            VALUE => value = scalar(reader.bytes()?)?,
            _ => reader.skip(tag)?,
        }
    }
    Ok((key, value))
}

/// An `AnyValue` message, borrowed; `None` where it holds nothing.
#[inline]
pub(crate) fn scalar(message: &[u8]) -> Result<Option<Scalar<'_>>, Fault> {
    const TEXT: u32 = len(1);
    const BOOL: u32 = varint(2);
    const INT: u32 = varint(3);
    const DOUBLE: u32 = fixed64(4);
    const LIST: u32 = len(5);
    const MAP: u32 = len(6);
    const BYTES: u32 = len(7);
    let mut reader = Reader::new(message);
    let mut value = None;
    while let Some(tag) = reader.tag()? {
        match tag {
            TEXT => value = Some(Scalar::Text(reader.bytes()?)),
            BOOL => value = Some(Scalar::Bool(reader.varint()? != 0)),
            INT => value = Some(Scalar::Int(reader.varint()? as i64)),
            DOUBLE => value = Some(Scalar::Double(f64::from_bits(reader.fixed64()?))),
            LIST | MAP => {
                reader.bytes()?;
                value = Some(Scalar::Any(message));
            }
            BYTES => value = Some(Scalar::Bytes(reader.bytes()?)),
            _ => reader.skip(tag)?,
        }
    }
    Ok(value)
}

/// An `AnyValue` message as a value. What is nested too deeply or makes no sense reads as [`Value::Empty`]: it was
/// stored as it came, and the rest of the span is worth showing.
pub(crate) fn any(message: &[u8]) -> Value {
    read_any(message, DEPTH).unwrap_or(Value::Empty)
}

fn read_any(message: &[u8], depth: u32) -> Result<Value, Fault> {
    const LIST: u32 = len(5);
    const MAP: u32 = len(6);
    let mut reader = Reader::new(message);
    if depth == 0 {
        return Err(reader.fault("value is nested too deeply"));
    }
    let mut value = match scalar(message)? {
        Some(Scalar::Any(_)) | None => Value::Empty,
        Some(scalar) => owned(scalar),
    };
    while let Some(tag) = reader.tag()? {
        match tag {
            LIST => value = read_list(reader.bytes()?, depth - 1)?,
            MAP => value = Value::Map(read_attributes(reader.bytes()?, 1, depth - 1)?),
            _ => reader.skip(tag)?,
        }
    }
    Ok(value)
}

fn read_list(message: &[u8], depth: u32) -> Result<Value, Fault> {
    let mut reader = Reader::new(message);
    let mut list = Vec::new();
    while let Some(tag) = reader.tag()? {
        if tag == len(1) {
            list.push(read_any(reader.bytes()?, depth)?);
        } else {
            reader.skip(tag)?;
        }
    }
    Ok(Value::List(list))
}

/// The `KeyValue` messages in field `number` of a message.
fn read_attributes(message: &[u8], number: u32, depth: u32) -> Result<AttributeList, Fault> {
    let mut reader = Reader::new(message);
    let mut list = Vec::new();
    while let Some(tag) = reader.tag()? {
        if tag == len(number) {
            list.push(read_attribute(reader.bytes()?, depth)?);
        } else {
            reader.skip(tag)?;
        }
    }
    Ok(list)
}

fn read_attribute(message: &[u8], depth: u32) -> Result<(String, Value), Fault> {
    let mut reader = Reader::new(message);
    let (mut key, mut value) = (String::new(), Value::Empty);
    while let Some(tag) = reader.tag()? {
        match tag {
            _ if tag == len(1) => key = text(reader.bytes()?),
            _ if tag == len(2) => value = read_any(reader.bytes()?, depth)?,
            _ => reader.skip(tag)?,
        }
    }
    Ok((key, value))
}

/// A borrowed value as an owned one.
pub(crate) fn owned(value: Scalar<'_>) -> Value {
    match value {
        Scalar::Text(bytes) => Value::Text(text(bytes)),
        Scalar::Int(int) => Value::Int(int),
        Scalar::Double(double) => Value::Double(double),
        Scalar::Bool(bool) => Value::Bool(bool),
        Scalar::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
        Scalar::Any(message) => any(message),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A `Resource` message, read out.
pub(crate) fn resource(message: &[u8]) -> Resource {
    let attributes = read_attributes(message, 1, DEPTH).unwrap_or_default();
    Resource { service: service_name(message), attributes }
}

/// The `service.name` of a `Resource` message.
pub(crate) fn service_name(message: &[u8]) -> String {
    resource_text(message, b"service.name").unwrap_or_else(|| UNKNOWN_SERVICE.to_owned())
}

/// The `service.version` of a `Resource` message.
pub(crate) fn service_version(message: &[u8]) -> Option<String> {
    resource_text(message, b"service.version")
}

/// A text attribute of a `Resource` message; `None` where there is none, or it is empty.
fn resource_text(message: &[u8], wanted: &[u8]) -> Option<String> {
    let mut reader = Reader::new(message);
    let mut found = None;
    while let Ok(Some(tag)) = reader.tag() {
        if tag != len(1) {
            if reader.skip(tag).is_err() {
                break;
            }
            continue;
        }
        let Ok(Ok((key, value))) = reader.bytes().map(attribute) else { break };
        if let (true, Some(Scalar::Text(value))) = (key == wanted, value) {
            found = Some(text(value)).filter(|value| !value.is_empty());
        }
    }
    found
}

/// An `InstrumentationScope` message, read out.
pub(crate) fn scope(message: &[u8]) -> Scope {
    let mut reader = Reader::new(message);
    let mut scope = Scope::default();
    while let Ok(Some(tag)) = reader.tag() {
        let target = match tag {
            _ if tag == len(1) => &mut scope.name,
            _ if tag == len(2) => &mut scope.version,
            _ => match reader.skip(tag) {
                Ok(()) => continue,
                Err(_) => break,
            },
        };
        let Ok(bytes) = reader.bytes() else { break };
        *target = text(bytes);
    }
    scope
}
