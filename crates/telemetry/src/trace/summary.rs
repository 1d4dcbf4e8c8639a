//! What a list of traces shows of one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use crate::model::{Span, SpanId, StatusCode, TraceId};

/// A trace in a list of traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSummary {
    /// Its id.
    pub trace_id: TraceId,
    /// The service of its main root (see [`Trace::main_root`](super::Trace::main_root)).
    pub root_service: String,
    /// The operation of its main root.
    pub root_operation: String,
    /// Whether the main root is a true one; otherwise its parent is not there.
    pub root: Root,
    /// The start of the earliest span, nanoseconds since 1970.
    pub start_unix_nano: u64,
    /// Nanoseconds from the earliest start to the latest end.
    pub duration_nano: u64,
    /// Spans.
    pub spans: usize,
    /// Spans that ended in an error.
    pub errors: usize,
    /// Spans whose parent is not there.
    pub missing_parents: usize,
    /// Its services by name.
    pub services: Vec<ServiceShare>,
}

/// Whether the beginning of a trace is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Root {
    /// It has no parent.
    Present,
    /// Its parent is not there.
    Missing,
}

/// What a service has to do with a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceShare {
    /// Its name.
    pub service: String,
    /// Its spans.
    pub spans: usize,
    /// Those that ended in an error.
    pub errors: usize,
}

impl TraceSummary {
    /// Sums up the spans of one trace, in any order and without building its tree; none where there are no spans.
    pub fn of(spans: &[Span]) -> Option<Self> {
        let ids: HashSet<SpanId> = spans.iter().map(|span| span.span_id).collect();
        let is_root = |span: &&Span| span.parent.is_none_or(|parent| !ids.contains(&parent));
        // Without any root the spans form a circle, and the tree begins with its earliest.
        let root = spans.iter().filter(is_root).min_by_key(|span| root_rank(span));
        let root = root.or_else(|| spans.iter().min_by_key(|span| (span.start_unix_nano, span.span_id)))?;
        Some(summarise(spans, root))
    }

    /// The end of the latest span, nanoseconds since 1970.
    pub fn end_unix_nano(&self) -> u64 {
        self.start_unix_nano + self.duration_nano
    }
}

/// Orders roots by how well they begin a trace, the best first.
pub(super) fn root_rank(span: &Span) -> impl Ord + use<> {
    (span.parent.is_some(), span.start_unix_nano, Reverse(span.duration_nano), span.span_id)
}

pub(super) fn summarise(spans: &[Span], root: &Span) -> TraceSummary {
    let ids: HashSet<SpanId> = spans.iter().map(|span| span.span_id).collect();
    let is_missing = |span: &&Span| span.parent.is_some_and(|parent| !ids.contains(&parent));
    let mut services: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let (mut start, mut end) = (u64::MAX, 0);
    for span in spans {
        let share = services.entry(span.service()).or_default();
        share.0 += 1;
        share.1 += usize::from(span.status == StatusCode::Error);
        start = start.min(span.start_unix_nano);
        end = end.max(span.end_unix_nano());
    }
    TraceSummary {
        trace_id: root.trace_id,
        root_service: root.service().to_owned(),
        root_operation: root.name.clone(),
        root: if root.parent.is_none() { Root::Present } else { Root::Missing },
        start_unix_nano: start,
        duration_nano: end.saturating_sub(start),
        spans: spans.len(),
        errors: services.values().map(|(_, errors)| errors).sum(),
        missing_parents: spans.iter().filter(is_missing).count(),
        services: services
            .into_iter()
            .map(|(service, (spans, errors))| ServiceShare { service: service.to_owned(), spans, errors })
            .collect(),
    }
}
