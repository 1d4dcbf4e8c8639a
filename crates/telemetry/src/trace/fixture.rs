//! Spans for tests.

use std::sync::Arc;

use crate::model::{Dropped, Resource, Scope, Span, SpanId, SpanKind, StatusCode, TraceId};

/// A span of the one trace of a test; a parent of 0 is none.
pub(crate) fn span(id: u64, parent: u64, start: u64, end: u64) -> Span {
    Span {
        trace_id: TraceId([7; 16]),
        span_id: SpanId(id.to_be_bytes()),
        parent: (parent != 0).then(|| SpanId(parent.to_be_bytes())),
        trace_state: String::new(),
        flags: 0,
        name: format!("step {id}"),
        kind: SpanKind::Internal,
        start_unix_nano: start,
        duration_nano: end.saturating_sub(start),
        status: StatusCode::Unset,
        status_message: String::new(),
        resource: Arc::new(Resource { service: "shop".to_owned(), attributes: Vec::new() }),
        scope: Arc::new(Scope::default()),
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        dropped: Dropped::default(),
    }
}

/// The number a test gave a span.
pub(crate) fn number(span: &Span) -> u64 {
    u64::from_be_bytes(span.span_id.0)
}
