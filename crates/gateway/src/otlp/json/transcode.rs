//! JSON text to protobuf bytes, driven by the tables of [`super::schema`].
//!
//! serde's visitors write each value as it is read; no tree is built. A nested message is written behind room for
//! its length, which is closed up when the length is known.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use protowire::{WireType, put_bytes, put_tag, put_varint};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::schema::{Field, Kind, Message, Repeat, request};
use crate::otlp::signal::Signal;

/// The text is no such request.
#[derive(Debug, thiserror::Error)]
#[error("the body is no OTLP request in JSON: {0}")]
pub(crate) struct NotOtlp(#[from] serde_json::Error);

/// Turns a request in JSON into protobuf.
pub(crate) fn transcode(signal: Signal, text: &[u8]) -> Result<Vec<u8>, NotOtlp> {
    let mut out = Vec::with_capacity(text.len() / 2);
    let mut reader = serde_json::Deserializer::from_slice(text);
    MessageBody { message: request(signal), out: &mut out }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(out)
}

/// Writes the fields of a JSON object.
struct MessageBody<'a> {
    message: &'static Message,
    out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for MessageBody<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MessageBody<'_> {
    type Value = ();

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match self.message.fields.iter().find(|field| field.name == name) {
                Some(field) => map.next_value_seed(FieldValue { field, out: self.out })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Writes all that a field holds: one value, or an array of them; null is nothing.
struct FieldValue<'a> {
    field: &'static Field,
    out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for FieldValue<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for FieldValue<'_> {
    type Value = ();

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(text, "a value for {}", self.field.name)
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        match self.field.repeat {
            Repeat::Once => One { field: self.field, out: self.out }.deserialize(reader),
            Repeat::Many | Repeat::Packed => reader.deserialize_seq(Elements(self)),
        }
    }
}

/// Writes the elements of an array.
struct Elements<'a>(FieldValue<'a>);

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(text, "an array for {}", self.0.field.name)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let FieldValue { field, out } = self.0;
        if field.repeat == Repeat::Many {
            while elements.next_element_seed(One { field, out })?.is_some() {}
            return Ok(());
        }
        let hole = Hole::open(out, field.number);
        while elements.next_element_seed(Bare { field, out })?.is_some() {}
        hole.close(out);
        Ok(())
    }
}

/// Room for the length of what follows it.
struct Hole {
    begin: usize,
}

impl Hole {
    /// Enough for lengths below 2^35; a body is shorter.
    const ROOM: usize = 5;

    fn open(out: &mut Vec<u8>, number: u32) -> Self {
        put_tag(out, number, WireType::Bytes);
        let begin = out.len();
        out.extend_from_slice(&[0; Self::ROOM]);
        Self { begin }
    }

    fn close(self, out: &mut Vec<u8>) {
        let mut length = Vec::with_capacity(Self::ROOM);
        put_varint(&mut length, (out.len() - self.begin - Self::ROOM) as u64);
        out.splice(self.begin..self.begin + Self::ROOM, length);
    }
}

/// Writes one value with its tag.
struct One<'a> {
    field: &'static Field,
    out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        let Self { field, out } = self;
        match field.kind {
            Kind::Nested(message) => {
                let hole = Hole::open(out, field.number);
                MessageBody { message, out }.deserialize(reader)?;
                hole.close(out);
                Ok(())
            }
            Kind::Text | Kind::Bytes | Kind::Id => reader.deserialize_str(Characters { field, out }),
            Kind::Bool | Kind::Integer | Kind::Signed | Kind::Zigzag => {
                put_tag(out, field.number, WireType::Varint);
                Bare { field, out }.deserialize(reader)
            }
            Kind::Fixed64 | Kind::Double => {
                put_tag(out, field.number, WireType::Fixed64);
                Bare { field, out }.deserialize(reader)
            }
            Kind::Fixed32 => {
                put_tag(out, field.number, WireType::Fixed32);
                Bare { field, out }.deserialize(reader)
            }
        }
    }
}

/// Writes text, or the bytes that text stands for.
struct Characters<'a> {
    field: &'static Field,
    out: &'a mut Vec<u8>,
}

impl Visitor<'_> for Characters<'_> {
    type Value = ();

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(text, "a string for {}", self.field.name)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let wrong = |what| E::custom(format_args!("{} is not {what}", self.field.name));
        match self.field.kind {
            Kind::Id => {
                let bytes = read_hex(text).ok_or_else(|| wrong("hexadecimal"))?;
                put_bytes(self.out, self.field.number, &bytes);
            }
            Kind::Bytes => {
                let bytes = read_base64(text).ok_or_else(|| wrong("base64"))?;
                put_bytes(self.out, self.field.number, &bytes);
            }
            _ => put_bytes(self.out, self.field.number, text.as_bytes()),
        }
        Ok(())
    }
}

fn read_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    rest.is_empty().then_some(())?;
    pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()).collect()
}

/// Both alphabets, with padding or without, as protobuf's JSON asks.
fn read_base64(text: &str) -> Option<Vec<u8>> {
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    GeneralPurpose::new(alphabet, lenient).decode(text).ok()
}

/// Writes a number or a truth value without a tag.
struct Bare<'a> {
    field: &'static Field,
    out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Bare<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl Bare<'_> {
    /// An integer, in the range of the field's type.
    fn integer<E: Error>(self, value: i128) -> Result<(), E> {
        let name = self.field.name;
        let range = || E::custom(format_args!("{name} is out of range: {value}"));
        match self.field.kind {
            Kind::Double => return self.float(value as f64),
            Kind::Fixed32 => {
                let value = u32::try_from(value).map_err(|_| range())?;
                self.out.extend_from_slice(&value.to_le_bytes());
            }
            Kind::Fixed64 => self.out.extend_from_slice(&bits(value).ok_or_else(range)?.to_le_bytes()),
            Kind::Zigzag => {
                let value = i32::try_from(value).map_err(|_| range())?;
                put_varint(self.out, u64::from(((value << 1) ^ (value >> 31)) as u32));
            }
            Kind::Integer | Kind::Signed => put_varint(self.out, bits(value).ok_or_else(range)?),
            Kind::Bool | Kind::Text | Kind::Bytes | Kind::Id | Kind::Nested(_) => {
                return Err(E::custom(format_args!("{name} is no number")));
            }
        }
        Ok(())
    }

    fn float<E: Error>(self, value: f64) -> Result<(), E> {
        if let Kind::Double = self.field.kind {
            self.out.extend_from_slice(&value.to_le_bytes());
            return Ok(());
        }
        // `1.0` and `1e3` are integers too.
        if value.fract() == 0.0 && value.abs() < 9e18 {
            return self.integer(value as i128);
        }
        Err(E::custom(format_args!("{} is no whole number: {value}", self.field.name)))
    }
}

/// The 64 bits of a signed or an unsigned integer.
fn bits(value: i128) -> Option<u64> {
    u64::try_from(value).ok().or_else(|| i64::try_from(value).ok().map(i64::cast_unsigned))
}

impl Visitor<'_> for Bare<'_> {
    type Value = ();

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.kind {
            Kind::Bool => write!(text, "true or false for {}", self.field.name),
            _ => write!(text, "a number for {}", self.field.name),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.field.kind {
            Kind::Bool => {
                self.out.push(u8::from(value));
                Ok(())
            }
            _ => Err(E::custom(format_args!("{} is no number: {value}", self.field.name))),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.float(value)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if let Ok(value) = text.parse::<i128>() {
            return self.integer(value);
        }
        match text {
            "Infinity" => self.float(f64::INFINITY),
            "-Infinity" => self.float(f64::NEG_INFINITY),
            "NaN" => self.float(f64::NAN),
            _ => match text.parse::<f64>() {
                Ok(value) if value.is_finite() => self.float(value),
                _ => Err(E::custom(format_args!("{} is no number: {text:?}", self.field.name))),
            },
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
