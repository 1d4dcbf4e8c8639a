//! `tracestate` of the W3C recommendation, with OpenTelemetry's member `ot` and ours.
//!
//! In: every header of the name, in order. Out: members to pass on as they came, the sampling threshold and
//! randomness of `ot`, and whether the parent has left its decision open (`homeostat=u`). One malformed member
//! makes the whole state malformed, and it is dropped; the parent stands. Members that are written move to the
//! front; with more than 32 the last ones fall off.

use std::borrow::Cow;
use std::fmt::Write;

use super::traceparent::trimmed;
use crate::buffer::Trace;
use crate::context::{Carried, Context};
use crate::ids;

pub(crate) const NAME: &str = "tracestate";

/// Members the recommendation allows.
const MEMBERS_MAX: usize = 32;

/// Bytes read in all. The recommendation asks for at least 512; 32 members of the greatest length are 16 KiB.
const BYTES_MAX: usize = 32 * 513;

const OT: &str = "ot";
const OURS: &str = "homeostat";

/// The value of our member: this process records and decides when its local root ends.
const UNDECIDED: &str = "u";

/// Hexadecimal digits of 56 bits.
const DIGITS: usize = 14;

/// Puts headers together.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    state: State,
    members: usize,
    bytes: usize,
    others: String,
    ot: Option<String>,
    ours: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Fine,
    Malformed,
}

impl Reader {
    /// Reads one header.
    pub(crate) fn add(&mut self, header: &[u8]) {
        self.bytes += header.len();
        if self.bytes > BYTES_MAX || header.split(|byte| *byte == b',').any(|member| !self.member(member)) {
            self.state = State::Malformed;
        }
    }

    /// Reads one member; whether it is well-formed. An empty one is.
    fn member(&mut self, member: &[u8]) -> bool {
        let member = trimmed(member);
        if member.is_empty() {
            return true;
        }
        self.members += 1;
        let Ok(member) = std::str::from_utf8(member) else { return false };
        let Some((key, value)) = member.split_once('=') else { return false };
        if self.members > MEMBERS_MAX || !is_key(key) || !is_value(value) {
            return false;
        }
        match key {
            OT if self.ot.is_none() => self.ot = Some(value.to_owned()),
            OURS if self.ours.is_none() => self.ours = Some(value.to_owned()),
            // Twice the same key: the first, which is the newer, counts.
            OT | OURS => {}
            _ => {
                if !self.others.is_empty() {
                    self.others.push(',');
                }
                self.others.push_str(member);
            }
        }
        true
    }

    /// What was read, into the context and what travels along.
    pub(crate) fn finish(self, context: &mut Context, carried: &mut Carried) {
        if self.state == State::Malformed {
            return;
        }
        carried.trace_state = self.others.into();
        context.undecided = self.ours.as_deref() == Some(UNDECIDED);
        let mut rest = String::new();
        for field in self.ot.iter().flat_map(|ot| ot.split(';')) {
            match field.split_once(':') {
                Some(("th", value)) => context.threshold = threshold(value),
                Some(("rv", value)) => context.randomness = randomness(value),
                _ if field.is_empty() => {}
                _ => {
                    if !rest.is_empty() {
                        rest.push(';');
                    }
                    rest.push_str(field);
                }
            }
        }
        carried.ot_rest = rest.trim_end().into();
        // A threshold beside a flag that says "not sampled", or above the randomness, contradicts itself.
        let consistent = |threshold: &u64| context.sampled && *threshold <= context.randomness();
        context.threshold = context.threshold.filter(consistent);
    }
}

/// A key of level 2: begins with a small letter or a digit, at most 256 characters.
fn is_key(key: &str) -> bool {
    let first = key.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && key.len() <= 256
        && key
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte))
}

/// Printable ASCII without `,` and `=`, at most 256 characters, and not empty.
fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && value.bytes().all(|byte| matches!(byte, 0x20..=0x7e) && byte != b',' && byte != b'=')
        && !value.ends_with(' ')
}

/// A threshold: 1 to 14 digits, trailing zeros left out.
fn threshold(text: &str) -> Option<u64> {
    let digits = text.len();
    if !(1..=DIGITS).contains(&digits) {
        return None;
    }
    Some((ids::hex(text.as_bytes())? as u64) << (4 * (DIGITS - digits)))
}

/// Randomness: exactly 14 digits.
fn randomness(text: &str) -> Option<u64> {
    (text.len() == DIGITS).then(|| ids::hex(text.as_bytes())).flatten().map(|value| value as u64)
}

/// The header; none where there is nothing to say.
pub(crate) fn written(context: &Context) -> Option<Cow<'static, str>> {
    let threshold = context.threshold.filter(|_| context.sampled);
    let undecided = if context.undecided { Undecided::Yes } else { Undecided::No };
    compose(threshold, context.randomness, context.carried.as_deref(), undecided)
}

/// `trace_state` of recorded spans: the threshold is that of the final decision.
pub(crate) fn of_recorded(trace: &Trace, weight: Option<u64>) -> Cow<'static, str> {
    compose(weight, trace.randomness, trace.carried.as_deref(), Undecided::No).unwrap_or_default()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Undecided {
    Yes,
    No,
}

fn compose(
    threshold: Option<u64>,
    randomness: Option<u64>,
    carried: Option<&Carried>,
    undecided: Undecided,
) -> Option<Cow<'static, str>> {
    if let (None, None) = (randomness, carried) {
        // What a service sends that begins its own traces.
        match (threshold, undecided) {
            (None, Undecided::No) => return None,
            (None, Undecided::Yes) => return Some("homeostat=u".into()),
            (Some(0), Undecided::No) => return Some("ot=th:0".into()),
            (Some(0), Undecided::Yes) => return Some("ot=th:0,homeostat=u".into()),
            _ => {}
        }
    }
    let others = carried.map_or("", |carried| &carried.trace_state);
    let mut state = String::with_capacity(64 + others.len());
    let ot = ot_member(threshold, randomness, carried.map_or("", |carried| &carried.ot_rest));
    let mut left = MEMBERS_MAX;
    let ours = (undecided == Undecided::Yes).then_some("homeostat=u");
    let members = ot.as_deref().into_iter().chain(ours).chain(others.split(','));
    for member in members.filter(|member| !member.is_empty()) {
        if left == 0 {
            break;
        }
        left -= 1;
        if !state.is_empty() {
            state.push(',');
        }
        state.push_str(member);
    }
    (!state.is_empty()).then_some(Cow::Owned(state))
}

/// The member `ot`, at most 256 characters of value: fields we do not know fall off first.
fn ot_member(threshold: Option<u64>, randomness: Option<u64>, rest: &str) -> Option<String> {
    let mut value = String::new();
    if let Some(threshold) = threshold {
        let digits = format!("{threshold:014x}");
        let short = digits.trim_end_matches('0');
        // Writing to a string cannot fail.
        let _ = write!(value, "th:{}", if short.is_empty() { "0" } else { short });
    }
    if let Some(randomness) = randomness {
        let _ = write!(value, "{}rv:{randomness:014x}", if value.is_empty() { "" } else { ";" });
    }
    for field in rest.split(';').filter(|field| !field.is_empty()) {
        if value.len() + 1 + field.len() > 256 {
            break;
        }
        let _ = write!(value, "{}{field}", if value.is_empty() { "" } else { ";" });
    }
    let value = value.trim_end();
    (!value.is_empty()).then(|| format!("{OT}={value}"))
}
