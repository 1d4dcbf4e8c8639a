//! Which rows of a trace are on the page: what is not folded away, and what a search within the trace finds.

use std::collections::HashSet;

use telemetry::{AttributeList, Span, SpanId, Trace, Value};

use crate::body::Query;
use crate::problem::Problem;

/// Rows opened or folded by hand that an address may carry; 16 digits each, an address of 8 KiB holds them.
const FLIPPED_MAX: usize = 200;

/// What is folded away.
#[derive(Debug, Default)]
pub(super) struct Folding {
    /// So many levels are open; all where none is given.
    levels: Option<usize>,
    /// Rows that are the other way, in the order in which they were changed.
    flipped: Vec<SpanId>,
    set: HashSet<SpanId>,
}

impl Folding {
    /// Reads `levels` and `flip`.
    pub(super) fn read(query: &Query) -> Result<Self, Problem> {
        let levels = query.count("levels", 1, 10_000)?;
        let ids = |text: &str| {
            let ids: Option<Vec<SpanId>> = text.split('.').map(|id| id.parse().ok()).collect();
            ids.filter(|ids| ids.len() <= FLIPPED_MAX)
        };
        let expected = || format!("at most {FLIPPED_MAX} span ids, set apart by dots");
        let flipped = query.read("flip", ids, expected)?.unwrap_or_default();
        let set = flipped.iter().copied().collect();
        Ok(Self { levels, flipped, set })
    }

    /// Whether a row's children are folded away.
    pub(super) fn is_folded(&self, trace: &Trace, row: usize) -> bool {
        let deep = self.levels.is_some_and(|levels| trace.rows()[row].depth + 1 >= levels);
        trace.rows()[row].subtree > 1 && deep != self.set.contains(&trace.spans()[row].span_id)
    }

    /// The value of `flip` after a row was opened or folded; the oldest change goes when there are too many.
    pub(super) fn flipped(&self, id: SpanId) -> String {
        let mut ids: Vec<SpanId> = self.flipped.iter().copied().filter(|other| *other != id).collect();
        if ids.len() == self.flipped.len() {
            ids.push(id);
        }
        let from = ids.len().saturating_sub(FLIPPED_MAX);
        ids[from..].iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
    }
}

/// The rows on the page, in order.
#[derive(Debug)]
pub(super) struct Visible {
    pub(super) rows: Vec<usize>,
    /// Rows the search found; none where nothing was searched.
    pub(super) found: Option<HashSet<usize>>,
}

impl Visible {
    /// Without a search, what is not folded; with one, what it finds and the way there from the root.
    pub(super) fn choose(trace: &Trace, folding: &Folding, text: Option<&str>) -> Self {
        match text {
            None => Self { rows: unfolded(trace, folding), found: None },
            Some(text) => {
                let text = text.to_lowercase();
                let all = trace.spans().iter().enumerate();
                let found: HashSet<usize> =
                    all.filter(|(_, span)| holds(span, &text)).map(|(row, _)| row).collect();
                let mut shown = found.clone();
                for &row in &found {
                    let mut above = trace.rows()[row].parent;
                    while let Some(parent) = above.filter(|parent| shown.insert(*parent)) {
                        above = trace.rows()[parent].parent;
                    }
                }
                let mut rows: Vec<usize> = shown.into_iter().collect();
                rows.sort_unstable();
                Self { rows, found: Some(found) }
            }
        }
    }
}

fn unfolded(trace: &Trace, folding: &Folding) -> Vec<usize> {
    let mut rows = Vec::new();
    let mut row = 0;
    while row < trace.rows().len() {
        rows.push(row);
        row += if folding.is_folded(trace, row) { trace.rows()[row].subtree } else { 1 };
    }
    rows
}

/// Whether a span has a lower-case text in its name, service, id, status or attributes.
fn holds(span: &Span, text: &str) -> bool {
    let has = |field: &str| field.to_lowercase().contains(text);
    has(&span.name)
        || has(span.service())
        || span.span_id.to_string() == text
        || has(&span.status_message)
        || (text == "error" && span.status == telemetry::StatusCode::Error)
        || has_attribute(&span.attributes, text)
        || span.events.iter().any(|event| has(&event.name) || has_attribute(&event.attributes, text))
}

/// A key, a value, or `key=value`.
fn has_attribute(attributes: &AttributeList, text: &str) -> bool {
    attributes.iter().any(|(key, value)| format!("{key}={}", show(value)).to_lowercase().contains(text))
}

/// A value as text.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Empty => String::new(),
        Value::Text(text) => text.clone(),
        Value::Int(int) => int.to_string(),
        Value::Double(double) => double.to_string(),
        Value::Bool(bool) => bool.to_string(),
        Value::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Value::List(values) => format!("[{}]", values.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Map(pairs) => {
            let pairs: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{key}: {}", show(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}
