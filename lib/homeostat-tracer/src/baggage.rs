//! W3C baggage: key-value pairs that travel with a trace.
//!
//! In: `baggage` headers or the service. Out: the header. Limits of the recommendation: 64 members and 8,192
//! bytes; what does not fit is left out, whole members only. Deliberately absent: baggage as span attributes,
//! which is the service's choice.

use std::fmt::Write;

/// Members a header may hold.
pub const BAGGAGE_MEMBERS_MAX: usize = 64;

/// Bytes a header may hold.
pub const BAGGAGE_BYTES_MAX: usize = 8192;

/// Pairs in the order in which they came; a key stands once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Baggage {
    members: Vec<Member>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    key: Box<str>,
    value: Box<str>,
    /// What follows the value's `;`, passed on unread.
    properties: Box<str>,
}

impl Baggage {
    /// Nothing.
    pub const fn new() -> Self {
        Self { members: Vec::new() }
    }

    /// The value of `key`, with percent signs decoded.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.members.iter().find(|member| &*member.key == key).map(|member| &*member.value)
    }

    /// Sets `key`, in place where it stands. `false`, and nothing changed, where the key is no token of HTTP
    /// or there are [`BAGGAGE_MEMBERS_MAX`] members already.
    pub fn insert(&mut self, key: &str, value: &str) -> bool {
        self.set(key, value, "")
    }

    /// Takes `key` out; whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        let before = self.members.len();
        self.members.retain(|member| &*member.key != key);
        self.members.len() < before
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Every key with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members.iter().map(|member| (&*member.key, &*member.value))
    }

    /// Adds the members of one header; a member that is not well-formed is left out alone.
    pub(crate) fn read(&mut self, header: &[u8]) {
        let whole = header
            .get(..BAGGAGE_BYTES_MAX)
            .map_or(header, |most| &most[..most.iter().rposition(|byte| *byte == b',').unwrap_or(0)]);
        for member in whole.split(|byte| *byte == b',') {
            let Ok(member) = std::str::from_utf8(member) else { continue };
            let (pair, properties) = member.split_once(';').unwrap_or((member, ""));
            let Some((key, value)) = pair.split_once('=') else { continue };
            let (key, value) = (key.trim_matches(OWS), value.trim_matches(OWS));
            let properties = properties.trim_matches(OWS);
            if value.bytes().all(is_octet) && properties.bytes().all(is_property) {
                // White space around properties may be tabs; what goes out has spaces.
                self.set(key, &decoded(value), &properties.replace('\t', " "));
            }
        }
    }

    /// The header, at most [`BAGGAGE_BYTES_MAX`] bytes; none where there is nothing to say.
    pub(crate) fn header(&self) -> Option<String> {
        let mut header = String::new();
        for member in &self.members {
            let before = header.len();
            if before > 0 {
                header.push(',');
            }
            header.push_str(&member.key);
            header.push('=');
            encode(&member.value, &mut header);
            if !member.properties.is_empty() {
                header.push(';');
                header.push_str(&member.properties);
            }
            if header.len() > BAGGAGE_BYTES_MAX {
                header.truncate(before);
            }
        }
        (!header.is_empty()).then_some(header)
    }

    fn set(&mut self, key: &str, value: &str, properties: &str) -> bool {
        if key.is_empty() || !key.bytes().all(is_token) {
            return false;
        }
        let member = Member { key: key.into(), value: value.into(), properties: properties.into() };
        if let Some(known) = self.members.iter_mut().find(|member| &*member.key == key) {
            *known = member;
            return true;
        }
        if self.members.len() >= BAGGAGE_MEMBERS_MAX {
            return false;
        }
        self.members.push(member);
        true
    }
}

/// Optional white space of HTTP.
pub(crate) const OWS: [char; 2] = [' ', '\t'];

/// A character of a token (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A character of a value as it stands in the header.
fn is_octet(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
}

/// A character of a property: those of a value, and what separates properties.
fn is_property(byte: u8) -> bool {
    is_octet(byte) || matches!(byte, b' ' | b'\t' | b';')
}

/// Percent signs with two digits behind them are decoded; what is not UTF-8 then is replaced, as the
/// recommendation asks.
fn decoded(value: &str) -> String {
    let bytes = value.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let digits = digits.and_then(|pair| std::str::from_utf8(pair).ok());
        let byte = digits
            .filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        out.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn encode(value: &str, into: &mut String) {
    for byte in value.bytes() {
        if is_octet(byte) && byte != b'%' {
            into.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_with_white_space_properties_and_percent_signs() {
        let mut baggage = Baggage::new();
        baggage.read(b"key1=value1;property1;property2, key2 = value2, key3=value%203; p=1,bad,=x,k y=1");
        assert_eq!(
            baggage.iter().collect::<Vec<_>>(),
            [("key1", "value1"), ("key2", "value2"), ("key3", "value 3")]
        );
        assert_eq!(
            baggage.header().as_deref(),
            Some("key1=value1;property1;property2,key2=value2,key3=value%203;p=1")
        );
    }

    #[test]
    fn what_is_too_much_is_left_out_in_whole_members() {
        let mut baggage = Baggage::new();
        for number in 0..70 {
            baggage.insert(&format!("key{number}"), &"x".repeat(200));
        }
        assert_eq!(baggage.iter().count(), BAGGAGE_MEMBERS_MAX);
        let header = baggage.header().unwrap();
        assert!(header.len() <= BAGGAGE_BYTES_MAX && header.ends_with('x'), "{}", header.len());
    }

    #[test]
    fn a_key_stands_once_and_can_be_taken_out() {
        let mut baggage = Baggage::new();
        assert!(baggage.insert("user", "a") && baggage.insert("user", "b,\u{e9}"));
        assert!(!baggage.insert("no space", "x"));
        assert_eq!(baggage.header().as_deref(), Some("user=b%2C%C3%A9"));
        assert!(baggage.remove("user") && !baggage.remove("user") && baggage.is_empty());
    }
}
