//! A record: who did what to what, by which way, why, and what came of it.
//!
//! In: [`NewRecord`] from whoever did or refused something. Out: [`Record`], one line of JSON, and back. A line reads back
//! to exactly itself or is refused, so that there is one way to write a record, and a hash over the line is one over what
//! it says.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use domain::PlanId;
use serde::{Deserialize, Serialize};

use crate::merkle::Hash;

/// Longest name of whoever did something, in bytes.
const WHO_BYTES: usize = 256;
/// Longest name of an action.
const ACTION_BYTES: usize = 64;
/// Longest name of what it was done to.
const TARGET_BYTES: usize = 1024;
/// Longest reason and detail each.
const TEXT_BYTES: usize = 4096;
/// Longest id of a request.
const REQUEST_BYTES: usize = 128;

/// By which way something was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Over the API, proven by a token.
    Token,
    /// On a page, by somebody who signed in.
    Session,
    /// Over the API, with no proof of who asks.
    Anonymous,
    /// By the loop itself.
    Loop,
    /// By the command line, without the API.
    CommandLine,
    /// By a signal or a file on the machine.
    Signal,
    /// By the control plane, such as its start.
    Server,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not allowed, and not tried.
    Refused,
    /// It was tried and failed.
    Failed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::Done, Self::Refused, Self::Failed];

    /// The name in JSON and in queries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl Via {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Session => "session",
            Self::Anonymous => "anonymous",
            Self::Loop => "loop",
            Self::CommandLine => "command_line",
            Self::Signal => "signal",
            Self::Server => "server",
        }
    }
}

/// What was given is none of the names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no {what}; {known}")]
pub struct NameError {
    given: String,
    what: &'static str,
    known: &'static str,
}

impl FromStr for Outcome {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let unknown =
            || NameError { given: text.to_owned(), what: "outcome", known: "done, refused and failed are" };
        Self::ALL.into_iter().find(|outcome| outcome.name() == text).ok_or_else(unknown)
    }
}

/// The name of something that can be done, such as `remediation.approve`: words of `a-z`, digits and `_`, joined by
/// dots. A name keeps its meaning for good.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Action(Cow<'static, str>);

impl Action {
    /// An action by its name. Use it in constants: what is no name does not compile there.
    ///
    /// # Panics
    ///
    /// Where it is no name.
    pub const fn new(name: &'static str) -> Self {
        assert!(is_action(name.as_bytes()), "an action is words of a-z, 0-9 and _, joined by dots");
        Self(Cow::Borrowed(name))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const fn is_action(name: &[u8]) -> bool {
    if name.len() > ACTION_BYTES {
        return false;
    }
    let (mut at, mut word) = (0, 0);
    while at < name.len() {
        word = match name[at] {
            b'a'..=b'z' | b'0'..=b'9' | b'_' => word + 1,
            b'.' if word > 0 => 0,
            _ => return false,
        };
        at += 1;
    }
    word > 0
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Action {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        if is_action(name.as_bytes()) {
            return Ok(Self(Cow::Owned(name)));
        }
        let known = "words of a-z, 0-9 and _ joined by dots are, such as remediation.approve";
        Err(NameError { given: name, what: "action", known })
    }
}

impl From<Action> for String {
    fn from(action: Action) -> Self {
        action.0.into_owned()
    }
}

/// A record before it has its place. Texts that are too long are cut, and say so: who wants to leave no trace must not
/// get there by asking for too much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    pub(crate) who: String,
    pub(crate) via: Via,
    pub(crate) action: Action,
    pub(crate) target: String,
    pub(crate) why: Option<String>,
    pub(crate) outcome: Outcome,
    pub(crate) detail: Option<String>,
    pub(crate) plan: Option<PlanId>,
    pub(crate) request: Option<String>,
}

impl NewRecord {
    /// Somebody did something to something. No secrets: whoever may read the trail reads this.
    pub fn new(
        who: impl Into<String>,
        via: Via,
        action: Action,
        target: impl Into<String>,
        outcome: Outcome,
    ) -> Self {
        Self {
            who: cut(who.into(), WHO_BYTES),
            via,
            action,
            target: cut(target.into(), TARGET_BYTES),
            why: None,
            outcome,
            detail: None,
            plan: None,
            request: None,
        }
    }

    /// The reason that was given.
    #[must_use]
    pub fn why(self, why: impl Into<String>) -> Self {
        Self { why: Some(cut(why.into(), TEXT_BYTES)), ..self }
    }

    /// What is worth knowing besides: what changed, which rule refused it.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(cut(detail.into(), TEXT_BYTES)), ..self }
    }

    /// The plan it is about.
    #[must_use]
    pub fn plan(self, plan: PlanId) -> Self {
        Self { plan: Some(plan), ..self }
    }

    /// The id of the request, as its answer carries it.
    #[must_use]
    pub fn request(self, request: impl Into<String>) -> Self {
        Self { request: Some(cut(request.into(), REQUEST_BYTES)), ..self }
    }

    pub(crate) fn placed(self, sequence: u64, time_us: i64, previous: Hash) -> Record {
        let Self { who, via, action, target, why, outcome, detail, plan, request } = self;
        let second = |stamp: jiff::Timestamp| stamp.as_second() * 1_000_000;
        let (first, last) = (second(jiff::Timestamp::MIN), second(jiff::Timestamp::MAX));
        let time_us = time_us.clamp(first, last);
        Record { sequence, time_us, who, via, action, target, why, outcome, detail, plan, request, previous }
    }
}

/// At most `limit` bytes of a text; where something is left out it ends by saying how much.
fn cut(mut text: String, limit: usize) -> String {
    const NOTE_BYTES: usize = 40;
    if text.len() > limit {
        let kept = text.floor_char_boundary(limit - NOTE_BYTES);
        let left = text.len() - kept;
        text.truncate(kept);
        text.push_str(&format!("… ({left} bytes left out)"));
    }
    text
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its place, counted from 0: the index of its leaf in the Merkle tree.
    pub sequence: u64,
    /// When, by the wall clock, in microseconds since 1970-01-01 UTC; in JSON `time`, as RFC 3339.
    #[serde(rename = "time", with = "rfc3339")]
    pub time_us: i64,
    /// Who did it.
    pub who: String,
    /// By which way.
    pub via: Via,
    /// What was done, or tried.
    pub action: Action,
    /// To what.
    pub target: String,
    /// The reason that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
    /// What is worth knowing besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The plan it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanId>,
    /// The id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The leaf hash of the record before (SHA-256 over the byte 0 and its line without the end of line); zeros in the
    /// first one.
    pub previous: Hash,
}

/// Why a line is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It is not the JSON of a record.
    #[error("it is no record: {0}")]
    Json(String),
    /// It says what a record says, but not as a record is written.
    #[error("it is not written as records are")]
    Form,
}

impl Record {
    /// Adds its line to `out`, with its end. Returns the leaf hash.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Hash {
        let begin = out.len();
        // A vector takes everything, and no map has keys that are no text.
        let written = serde_json::to_writer(&mut *out, self);
        debug_assert!(written.is_ok(), "{written:?}");
        let hash = Hash::of_leaf(&out[begin..]);
        out.push(b'\n');
        hash
    }

    /// The line, without its end.
    pub fn line(&self) -> String {
        let mut line = Vec::new();
        self.write(&mut line);
        line.pop();
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Reads a line without its end. `again` is room for writing it once more.
    pub(crate) fn read(line: &[u8], again: &mut Vec<u8>) -> Result<Self, LineError> {
        let record: Self =
            serde_json::from_slice(line).map_err(|error| LineError::Json(error.to_string()))?;
        again.clear();
        serde_json::to_writer(&mut *again, &record).map_err(|error| LineError::Json(error.to_string()))?;
        if again != line { Err(LineError::Form) } else { Ok(record) }
    }

    /// Reads a line without its end.
    ///
    /// # Errors
    ///
    /// Where it is not exactly what [`Record::line`] writes.
    pub fn parse(line: &[u8]) -> Result<Self, LineError> {
        Self::read(line, &mut Vec::new())
    }
}

/// Microseconds since 1970-01-01 UTC as RFC 3339 text with six places.
pub(crate) fn shown_time(time_us: i64) -> String {
    let stamp = jiff::Timestamp::from_microsecond(time_us).unwrap_or(jiff::Timestamp::MIN);
    format!("{stamp:.6}")
}

mod rfc3339 {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time_us: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::shown_time(*time_us))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let stamp: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(stamp.as_microsecond())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    const APPROVE: Action = Action::new("remediation.approve");

    fn record() -> Record {
        NewRecord::new("alice", Via::Session, APPROVE, "cart", Outcome::Done)
            .why("she \"looked\"\nat it")
            .request("r-1")
            .placed(7, 1_700_000_000_123_456, Hash::ZERO)
    }

    #[test]
    fn a_line_says_everything_in_one_order() {
        let line = record().line();
        let expected = concat!(
            r#"{"sequence":7,"time":"2023-11-14T22:13:20.123456Z","who":"alice","via":"session","#,
            r#""action":"remediation.approve","target":"cart","why":"she \"looked\"\nat it","outcome":"done","#,
            r#""request":"r-1","previous":"0000000000000000000000000000000000000000000000000000000000000000"}"#
        );
        assert_eq!(line, expected);
        assert_eq!(Record::parse(line.as_bytes()), Ok(record()));
    }

    #[test]
    fn what_says_the_same_in_another_way_is_no_record() {
        let line = record().line();
        for (from, to) in
            [(":7,", ": 7,"), ("cart", "c\\u0061rt"), (".123456Z", ".1234560Z"), ("\"r-1\"", "null")]
        {
            let other = line.replace(from, to);
            assert_ne!(other, line);
            assert!(Record::parse(other.as_bytes()).is_err(), "{other}");
        }
        let unknown = line.replace("\"who\"", "\"extra\":1,\"who\"");
        assert!(matches!(Record::parse(unknown.as_bytes()), Err(LineError::Json(_))));
    }

    #[test]
    fn names_of_actions_are_words_joined_by_dots() {
        for good in ["stop", "remediation.approve", "a.b_2.c"] {
            assert!(Action::try_from(good.to_owned()).is_ok(), "{good}");
        }
        let long = "a".repeat(ACTION_BYTES + 1);
        for bad in ["", ".", "a.", ".a", "a..b", "A.b", "a b", "a\n", long.as_str()] {
            assert!(Action::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn too_long_a_text_is_cut_and_says_so() {
        let record = NewRecord::new("é".repeat(900), Via::Token, APPROVE, "t", Outcome::Refused);
        assert!(record.who.len() <= WHO_BYTES);
        assert!(record.who.ends_with("bytes left out)"), "{}", record.who);
    }

    proptest! {
        #[test]
        fn any_text_and_time_reads_back(who in ".*", target in ".*", time_us in any::<i64>()) {
            let record = NewRecord::new(who, Via::Loop, APPROVE, target, Outcome::Failed).placed(0, time_us, Hash::ZERO);
            let line = record.line();
            assert!(!line.contains('\n'));
            assert_eq!(Record::parse(line.as_bytes()), Ok(record));
        }
    }
}
