//! Values of attributes as the text of a label.
//!
//! In: an `AnyValue` message. Out: text as itself, numbers and truth values in their usual form, bytes in base64, lists
//! and maps in JSON with sorted keys, so that the same map is the same series.

use std::borrow::Cow;
use std::fmt::Write as _;

use protowire::{Fault, Reader, fixed64, len, varint};

/// Values nested deeper than this are refused: the stack is bounded, whoever sends.
const DEPTH: u32 = 32;

/// A text of a message, which has to be UTF-8 by protobuf's rules.
pub(super) fn utf8<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Fault> {
    let bytes = reader.bytes()?;
    std::str::from_utf8(bytes).map_err(|_| reader.fault("text before this is not UTF-8"))
}

/// Key and value of a `KeyValue` message; the value is an `AnyValue` message.
pub(super) fn attribute(message: &[u8]) -> Result<(&str, &[u8]), Fault> {
    const KEY: u32 = len(1);
    const VALUE: u32 = len(2);
    let mut reader = Reader::new(message);
    let mut pair: (&str, &[u8]) = ("", &[]);
    while let Some(tag) = reader.tag()? {
        match tag {
            KEY => pair.0 = utf8(&mut reader)?,
            VALUE => pair.1 = reader.bytes()?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(pair)
}

/// What an `AnyValue` holds.
enum Any<'a> {
    Nothing,
    Text(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    List(&'a [u8]),
    Map(&'a [u8]),
    Bytes(&'a [u8]),
}

fn read(message: &[u8]) -> Result<Any<'_>, Fault> {
    const TEXT: u32 = len(1);
    const BOOL: u32 = varint(2);
    const INT: u32 = varint(3);
    const DOUBLE: u32 = fixed64(4);
    const LIST: u32 = len(5);
    const MAP: u32 = len(6);
    const BYTES: u32 = len(7);
    let mut any = Any::Nothing;
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag {
            TEXT => any = Any::Text(utf8(&mut reader)?),
            BOOL => any = Any::Bool(reader.varint()? != 0),
            INT => any = Any::Int(reader.varint()? as i64),
            DOUBLE => any = Any::Double(reader.double()?),
            LIST => any = Any::List(reader.bytes()?),
            MAP => any = Any::Map(reader.bytes()?),
            BYTES => any = Any::Bytes(reader.bytes()?),
            _ => reader.skip(tag)?,
        }
    }
    Ok(any)
}

/// An `AnyValue` message as the text of a label. JSON and base64 end soon after `most` bytes: what is longer is refused
/// later, and need not be long in memory before.
pub(super) fn text(message: &[u8], most: usize) -> Result<Cow<'_, str>, Fault> {
    let mut text = String::new();
    match read(message)? {
        Any::Nothing => {}
        Any::Text(value) => return Ok(value.into()),
        Any::Bytes(bytes) => base64(bytes, most, &mut text),
        other => json(&other, DEPTH, most, &mut text)?,
    }
    Ok(text.into())
}

fn json(any: &Any<'_>, depth: u32, most: usize, text: &mut String) -> Result<(), Fault> {
    if text.len() > most {
        return Ok(());
    }
    match any {
        Any::Nothing => text.push_str("null"),
        Any::Text(value) => quote(value, text),
        Any::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        // Writing to a String does not fail.
        Any::Int(value) => {
            let _ = write!(text, "{value}");
        }
        Any::Double(value) => double(*value, text),
        Any::List(message) => list(message, depth, most, text)?,
        Any::Map(message) => map(message, depth, most, text)?,
        Any::Bytes(bytes) => {
            text.push('"');
            base64(bytes, most, text);
            text.push('"');
        }
    }
    Ok(())
}

fn deeper(reader: &Reader<'_>, depth: u32) -> Result<u32, Fault> {
    depth.checked_sub(1).ok_or_else(|| reader.fault("a value is nested too deeply"))
}

fn list(message: &[u8], depth: u32, most: usize, text: &mut String) -> Result<(), Fault> {
    let mut reader = Reader::new(message);
    let depth = deeper(&reader, depth)?;
    text.push('[');
    let mut first = true;
    while let Some(tag) = reader.tag()? {
        if tag != len(1) {
            reader.skip(tag)?;
            continue;
        }
        if !std::mem::take(&mut first) {
            text.push(',');
        }
        json(&read(reader.bytes()?)?, depth, most, text)?;
    }
    text.push(']');
    Ok(())
}

fn map(message: &[u8], depth: u32, most: usize, text: &mut String) -> Result<(), Fault> {
    let mut reader = Reader::new(message);
    let depth = deeper(&reader, depth)?;
    let mut entries = Vec::new();
    while let Some(tag) = reader.tag()? {
        if tag == len(1) {
            entries.push(attribute(reader.bytes()?)?);
        } else {
            reader.skip(tag)?;
        }
    }
    entries.sort_by_key(|(key, _)| *key);
    text.push('{');
    for (at, (key, value)) in entries.into_iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        if text.len() <= most {
            quote(key, text);
            text.push(':');
        }
        json(&read(value)?, depth, most, text)?;
    }
    text.push('}');
    Ok(())
}

/// A number as JSON has it in Go: plain where that is short. What JSON cannot say is named.
fn double(value: f64, text: &mut String) {
    let size = value.abs();
    // Writing to a String does not fail.
    let _ = if value.is_finite() && size != 0.0 && !(1e-6..1e21).contains(&size) {
        write!(text, "{value:e}")
    } else {
        write!(text, "{value}")
    };
}

fn quote(value: &str, text: &mut String) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            // Writing to a String does not fail.
            c if u32::from(c) < 0x20 => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

/// Base64 in the standard alphabet, padded (RFC 4648, 4).
fn base64(bytes: &[u8], most: usize, text: &mut String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        if text.len() > most {
            return;
        }
        let bits = chunk.iter().chain([&0; 2]).take(3).fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        for place in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * place) & 0x3f) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fixture::{self, Message, int};

    fn written(message: Message) -> String {
        text(&message.0, 1000).expect("a value of ours").into_owned()
    }

    #[test]
    fn values_are_written_as_people_write_them() {
        assert_eq!(written(Message::new().bytes(1, "a\"b")), "a\"b");
        assert_eq!(written(Message::new().varint(2, 1)), "true");
        assert_eq!(written(Message::new().varint(3, (-5i64) as u64)), "-5");
        assert_eq!(written(Message::new().double(4, 0.25)), "0.25");
        assert_eq!(written(Message::new().double(4, 1e30)), "1e30");
        assert_eq!(written(Message::new()), "");
        for (bytes, base64) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(written(Message::new().bytes(7, bytes)), base64, "RFC 4648, 10");
        }
        let list = Message::new()
            .message(1, Message::new().bytes(1, "a\"\n"))
            .message(1, Message::new().varint(3, 7));
        assert_eq!(written(Message::new().message(5, list)), r#"["a\"\n",7]"#);
        let map = Message::new().message(1, fixture::text("b", "x")).message(1, int("a", 1));
        assert_eq!(written(Message::new().message(6, map)), r#"{"a":1,"b":"x"}"#);
    }

    #[test]
    fn what_is_nested_too_deeply_is_refused() {
        let deep = |levels: u32| {
            (0..levels).fold(Message::new().varint(3, 1), |inner, _| {
                Message::new().message(5, Message::new().message(1, inner))
            })
        };
        assert!(written(deep(DEPTH)).starts_with("[[["));
        assert!(text(&deep(DEPTH + 1).0, 1000).is_err());
    }
}
