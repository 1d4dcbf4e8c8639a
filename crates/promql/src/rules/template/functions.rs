//! The functions of templates: Go's own that rules use, and Prometheus'.

use core::net::IpAddr;
use std::rc::Rc;

use super::expand::{Given, Value, of_sample};
use super::format::{self, printed};
use crate::error::Fault;
use crate::parse::literal;
use crate::{Point, pattern};

/// A function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    And,
    Or,
    Not,
    Compare(Comparison),
    Len,
    Index,
    Print(Spacing),
    Printf,
    UrlEscape,
    Query,
    First,
    Label,
    Value,
    StringValue,
    SortByLabel,
    Match,
    ReplaceAll,
    Title,
    Upper,
    Lower,
    StripPort,
    StripDomain,
    Humanize(Unit),
    ParseDuration,
    Now,
    ExternalUrl,
    GraphLink,
    TableLink,
}

/// Of `eq`, `lt` and their like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What `print` and `println` put between values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spacing {
    /// A blank between two that are no text.
    Between,
    /// A blank between all, and a line end.
    Line,
}

/// What a number is a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Plain,
    Binary,
    Duration,
    Percentage,
    Timestamp,
}

/// Name, function, fewest and most arguments.
const ALL: [(&str, Function, usize, usize); 37] = [
    ("and", Function::And, 1, usize::MAX),
    ("or", Function::Or, 1, usize::MAX),
    ("not", Function::Not, 1, 1),
    ("eq", Function::Compare(Comparison::Equal), 2, usize::MAX),
    ("ne", Function::Compare(Comparison::NotEqual), 2, 2),
    ("lt", Function::Compare(Comparison::Less), 2, 2),
    ("le", Function::Compare(Comparison::LessOrEqual), 2, 2),
    ("gt", Function::Compare(Comparison::Greater), 2, 2),
    ("ge", Function::Compare(Comparison::GreaterOrEqual), 2, 2),
    ("len", Function::Len, 1, 1),
    ("index", Function::Index, 2, 2),
    ("print", Function::Print(Spacing::Between), 0, usize::MAX),
    ("println", Function::Print(Spacing::Line), 0, usize::MAX),
    ("printf", Function::Printf, 1, usize::MAX),
    ("urlquery", Function::UrlEscape, 1, 1),
    ("urlQueryEscape", Function::UrlEscape, 1, 1),
    ("query", Function::Query, 1, 1),
    ("first", Function::First, 1, 1),
    ("label", Function::Label, 2, 2),
    ("value", Function::Value, 1, 1),
    ("strvalue", Function::StringValue, 1, 1),
    ("sortByLabel", Function::SortByLabel, 2, 2),
    ("match", Function::Match, 2, 2),
    ("reReplaceAll", Function::ReplaceAll, 3, 3),
    ("title", Function::Title, 1, 1),
    ("toUpper", Function::Upper, 1, 1),
    ("toLower", Function::Lower, 1, 1),
    ("stripPort", Function::StripPort, 1, 1),
    ("stripDomain", Function::StripDomain, 1, 1),
    ("humanize", Function::Humanize(Unit::Plain), 1, 1),
    ("humanize1024", Function::Humanize(Unit::Binary), 1, 1),
    ("humanizeDuration", Function::Humanize(Unit::Duration), 1, 1),
    ("humanizePercentage", Function::Humanize(Unit::Percentage), 1, 1),
    ("humanizeTimestamp", Function::Humanize(Unit::Timestamp), 1, 1),
    ("parseDuration", Function::ParseDuration, 1, 1),
    ("now", Function::Now, 0, 0),
    ("externalURL", Function::ExternalUrl, 0, 0),
];

/// Those that make links of expressions.
const LINKS: [(&str, Function, usize, usize); 2] =
    [("graphLink", Function::GraphLink, 1, 1), ("tableLink", Function::TableLink, 1, 1)];

impl Function {
    pub(super) fn of_name(name: &str) -> Option<Self> {
        let mut all = ALL.iter().chain(&LINKS);
        all.find(|(known, ..)| *known == name).map(|(_, function, ..)| *function)
    }

    /// Refuses another number of arguments than it takes.
    pub(super) fn must_take(self, count: usize, at: usize) -> Result<(), Fault> {
        let Some((name, _, least, most)) =
            ALL.iter().chain(&LINKS).find(|(_, function, ..)| *function == self)
        else {
            return Ok(());
        };
        if (*least..=*most).contains(&count) {
            return Ok(());
        }
        let takes = match (*least, *most) {
            (least, usize::MAX) => format!("at least {least}"),
            (least, _) => least.to_string(),
        };
        Err(Fault::syntax(at, format!("{name} takes {takes} arguments, not {count}")))
    }

    /// Whether this argument is the answer, whatever comes behind.
    pub(super) fn decided_by(self, value: &Value) -> bool {
        match self {
            Self::And => !value.is_true(),
            Self::Or => value.is_true(),
            _ => false,
        }
    }

    /// The numbers of arguments were checked when the template was read.
    pub(super) fn call(self, arguments: &[Value], given: &Given<'_>) -> Result<Value, String> {
        let nil = Value::Nil;
        let first = arguments.first().unwrap_or(&nil);
        let second = arguments.get(1).unwrap_or(&nil);
        Ok(match self {
            // None of those before decided.
            Self::And | Self::Or => arguments.last().unwrap_or(&nil).clone(),
            Self::Not => Value::Bool(!first.is_true()),
            Self::Compare(comparison) => Value::Bool(comparison.holds(arguments)?),
            Self::Len => Value::Integer(length(first)?),
            Self::Index => indexed(first, second)?,
            Self::Print(spacing) => Value::text(print(arguments, spacing)),
            Self::Printf => Value::text(format::printf(&text(first)?, &arguments[1..])),
            Self::UrlEscape => Value::text(escaped(&printed(first))),
            Self::Query => ask(&text(first)?, given)?,
            Self::First => {
                let samples = samples(first)?;
                let sample = samples.first().ok_or("first() called on vector with no elements")?;
                Value::Sample(Rc::clone(sample))
            }
            Self::Label => Value::text(sample(second)?.labels.get(&text(first)?)),
            Self::Value => of_sample(&sample(first)?.value),
            Self::StringValue => Value::text(sample(first)?.labels.get("__value__")),
            Self::SortByLabel => {
                let (name, mut sorted) = (text(first)?, samples(second)?.to_vec());
                sorted.sort_by(|a, b| a.labels.get(&name).cmp(b.labels.get(&name)));
                Value::Samples(sorted.into())
            }
            Self::Match => Value::Bool(regex(&text(first)?)?.is_match(&text(second)?)),
            Self::ReplaceAll => {
                let within = text(arguments.get(2).unwrap_or(&nil))?;
                Value::text(regex(&text(first)?)?.replace_all(&within, &*text(second)?))
            }
            Self::Title => Value::text(format::title(&text(first)?)),
            Self::Upper => Value::text(text(first)?.to_uppercase()),
            Self::Lower => Value::text(text(first)?.to_lowercase()),
            Self::StripPort => {
                Value::text(host_and_port(&text(first)?).map_or(&*text(first)?, |(host, _)| host))
            }
            Self::StripDomain => Value::text(without_domain(&text(first)?)),
            Self::Humanize(unit) => Value::text(humanized(unit, number(first)?)?),
            Self::ParseDuration => Value::Number(duration(&text(first)?)?),
            Self::Now => Value::Number(given.at_ms as f64 / 1000.0),
            Self::ExternalUrl => Value::text(given.external_url),
            Self::GraphLink => Value::text(link(&text(first)?, 0)),
            Self::TableLink => Value::text(link(&text(first)?, 1)),
        })
    }
}

/// Where Prometheus shows an expression: as a graph (0) or a table (1).
pub(in crate::rules) fn link(expression: &str, tab: u8) -> String {
    format!("/graph?g0.expr={}&g0.tab={tab}", escaped(expression))
}

impl Comparison {
    /// `eq` compares the first with each of the others, the rest compare two.
    fn holds(self, arguments: &[Value]) -> Result<bool, String> {
        let Some((first, others)) = arguments.split_first() else { return Ok(false) };
        match self {
            Self::Equal => {
                for other in others {
                    if equal(first, other)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::NotEqual => equal(first, others.first().unwrap_or(&Value::Nil)).map(|equal| !equal),
            Self::Less => less(first, others),
            Self::GreaterOrEqual => self.ordered(first, others).map(|(less, _)| !less),
            Self::LessOrEqual => self.ordered(first, others).map(|(less, equal)| less || equal),
            Self::Greater => self.ordered(first, others).map(|(less, equal)| !(less || equal)),
        }
    }

    fn ordered(self, first: &Value, others: &[Value]) -> Result<(bool, bool), String> {
        Ok((less(first, others)?, equal(first, others.first().unwrap_or(&Value::Nil))?))
    }
}

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Nil, _) | (_, Value::Nil) => Ok(false),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Integer(a), Value::Integer(b)) => Ok(a == b),
        (Value::Number(a), Value::Number(b)) => Ok(a == b),
        (Value::Text(a), Value::Text(b)) => Ok(a == b),
        _ => Err(incomparable(a, b)),
    }
}

fn less(a: &Value, others: &[Value]) -> Result<bool, String> {
    match (a, others.first().unwrap_or(&Value::Nil)) {
        (Value::Integer(a), Value::Integer(b)) => Ok(a < b),
        (Value::Number(a), Value::Number(b)) => Ok(a < b),
        (Value::Text(a), Value::Text(b)) => Ok(a < b),
        (a, b) => Err(incomparable(a, b)),
    }
}

fn incomparable(a: &Value, b: &Value) -> String {
    format!("incompatible types for comparison: {} and {}", a.kind(), b.kind())
}

fn length(value: &Value) -> Result<i64, String> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::Labels(labels) => labels.len(),
        Value::Samples(samples) => samples.len(),
        other => return Err(format!("len of type {}", other.kind())),
    };
    Ok(i64::try_from(length).unwrap_or(i64::MAX))
}

fn indexed(value: &Value, index: &Value) -> Result<Value, String> {
    match (value, index) {
        (Value::Labels(labels), Value::Text(name)) => Ok(Value::text(labels.get(name))),
        (Value::Samples(samples), Value::Integer(at)) => usize::try_from(*at)
            .ok()
            .and_then(|at| samples.get(at))
            .map(|sample| Value::Sample(Rc::clone(sample)))
            .ok_or_else(|| format!("index out of range: {at}")),
        (value, index) => Err(format!("cannot index {} with {}", value.kind(), index.kind())),
    }
}

fn print(arguments: &[Value], spacing: Spacing) -> String {
    let mut out = String::new();
    for (at, value) in arguments.iter().enumerate() {
        let is_text = |value: &Value| matches!(value, Value::Text(_));
        let apart = match spacing {
            Spacing::Between => at > 0 && !is_text(value) && !is_text(&arguments[at - 1]),
            Spacing::Line => at > 0,
        };
        out.push_str(if apart { " " } else { "" });
        out.push_str(&printed(value));
    }
    if spacing == Spacing::Line {
        out.push('\n');
    }
    out
}

fn ask(query: &str, given: &Given<'_>) -> Result<Value, String> {
    let points = (given.ask)(query)?;
    Ok(Value::Samples(points.into_iter().map(Rc::new).collect()))
}

fn text(value: &Value) -> Result<Rc<str>, String> {
    match value {
        Value::Text(text) => Ok(Rc::clone(text)),
        other => Err(format!("wrong type for value; expected string; got {}", other.kind())),
    }
}

fn samples(value: &Value) -> Result<&Rc<[Rc<Point>]>, String> {
    match value {
        Value::Samples(samples) => Ok(samples),
        other => Err(format!("wrong type for value; expected a query result; got {}", other.kind())),
    }
}

fn sample(value: &Value) -> Result<&Point, String> {
    match value {
        Value::Sample(sample) => Ok(sample),
        other => Err(format!("wrong type for value; expected a sample; got {}", other.kind())),
    }
}

fn number(value: &Value) -> Result<f64, String> {
    match value {
        Value::Number(value) => Ok(*value),
        Value::Integer(value) => Ok(*value as f64),
        Value::Text(text) => {
            let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
            let value = literal::number(unsigned).ok_or_else(|| format!("{text:?} is no number"))?;
            Ok(if text.starts_with('-') { -value } else { value })
        }
        other => Err(format!("can't convert {} to float", other.kind())),
    }
}

fn duration(text: &str) -> Result<f64, String> {
    if text == "0" {
        return Ok(0.0);
    }
    literal::span(text).ok_or_else(|| format!("not a valid duration string: {text:?}"))
}

fn humanized(unit: Unit, value: f64) -> Result<String, String> {
    Ok(match unit {
        Unit::Plain => format::humanize(value),
        Unit::Binary => format::humanize_1024(value),
        Unit::Duration => format::humanize_duration(value),
        Unit::Percentage => format!("{}%", format::four_digits(value * 100.0)),
        Unit::Timestamp => format::humanize_timestamp(value)?,
    })
}

fn regex(text: &str) -> Result<regex::Regex, String> {
    pattern::anywhere(text).map_err(|_| format!("{text:?} is no regular expression"))
}

/// As Go's `url.QueryEscape` does.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// `host:port` apart, where it is both.
fn host_and_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    match host.strip_prefix('[') {
        Some(inner) => {
            inner.strip_suffix(']').filter(|inner| !inner.contains(['[', ']'])).map(|host| (host, port))
        }
        None => (!host.contains([':', '[', ']']) && !port.contains(['[', ']'])).then_some((host, port)),
    }
}

/// The first label of a host's name, with its port; an address stays as it is.
fn without_domain(text: &str) -> String {
    let (host, port) = host_and_port(text).unwrap_or((text, ""));
    if host.parse::<IpAddr>().is_ok() {
        return text.to_owned();
    }
    let name = host.split('.').next().unwrap_or_default();
    if port.is_empty() { name.to_owned() } else { format!("{name}:{port}") }
}
