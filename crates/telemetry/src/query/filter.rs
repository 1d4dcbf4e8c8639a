//! What can be asked for.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::filter::trace_hash;
use crate::model::{SpanKind, TraceId};

/// Which traces: those with a span that matches all of this.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceFilter {
    /// The span's service; any where none is given.
    pub service: Option<String>,
    /// The span's name.
    pub operation: Option<String>,
    /// The span's kind.
    pub kind: Option<SpanKind>,
    /// Attributes of the span, its events or its resource, by key and value as text. `error` = `true` asks for the span's status,
    /// as Jaeger's UI does; `span.kind` for its kind.
    pub tags: Vec<(String, String)>,
    /// When the span started, nanoseconds since 1970.
    pub start: RangeInclusive<u64>,
    /// How long it took, nanoseconds.
    pub duration: RangeInclusive<u64>,
    /// Whether only spans that ended in an error count.
    pub status: StatusFilter,
    /// Only these traces, such as those that [`logged`](crate::Telemetry::search_logged) a text.
    pub among: Option<BTreeSet<TraceId>>,
    /// At most so many traces, those with the newest matching spans.
    pub limit: usize,
}

impl TraceFilter {
    /// Whether one of the wanted traces can be where `may_hold` is asked of the hash of an id.
    pub(crate) fn may_be_among(&self, may_hold: impl Fn(u64) -> bool) -> bool {
        self.among.as_ref().is_none_or(|traces| traces.iter().any(|trace| may_hold(trace_hash(&trace.0))))
    }
}

/// Spans by how they ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatusFilter {
    /// However it ended.
    #[default]
    Any,
    /// Ended in an error.
    Error,
    /// Did not end in an error.
    NotError,
}

impl Default for TraceFilter {
    /// The newest 20 traces of all time.
    fn default() -> Self {
        Self {
            service: None,
            operation: None,
            kind: None,
            tags: Vec::new(),
            start: 0..=u64::MAX,
            duration: 0..=u64::MAX,
            status: StatusFilter::Any,
            among: None,
            limit: 20,
        }
    }
}

/// Which log records.
#[derive(Debug, Clone, PartialEq)]
pub struct LogFilter {
    /// The record's service; any where none is given.
    pub service: Option<String>,
    /// Logged in this trace.
    pub trace: Option<TraceId>,
    /// Whether only records count that were logged in some trace.
    pub in_a_trace: bool,
    /// Severity number at least this, 1 to 24; 0 for all.
    pub severity_min: u8,
    /// Text in the body, upper and lower case the same; all where empty.
    pub text: String,
    /// When, nanoseconds since 1970.
    pub time: RangeInclusive<u64>,
    /// At most so many records, the newest.
    pub limit: usize,
}

impl Default for LogFilter {
    /// The newest 100 records of all time.
    fn default() -> Self {
        Self {
            service: None,
            trace: None,
            in_a_trace: false,
            severity_min: 0,
            text: String::new(),
            time: 0..=u64::MAX,
            limit: 100,
        }
    }
}
