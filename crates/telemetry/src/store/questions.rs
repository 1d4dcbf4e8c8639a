//! What is asked of the store: of hot segments, compacted units and the archive alike.
//!
//! In: an id or a filter. Out: spans, log records, names. Each question takes one view of what there is, so that rows that
//! move meanwhile are neither missed nor seen twice.

use std::collections::BTreeSet;

use super::Telemetry;
use crate::catalogue::Operation;
use crate::model::{LogRecord, Span, SpanId, TraceId};
use crate::query::{self, Found, Gathers, LogFilter, Newest, ReadError, TraceFilter};

impl Telemetry {
    /// The spans of a trace by start, a span that was sent twice once; empty where there is no such trace.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where something that it needs cannot be read: never a shorter answer.
    pub fn trace(&self, id: TraceId) -> Result<Vec<Span>, ReadError> {
        let view = self.open.tiers.view();
        let mut spans = Vec::new();
        for unit in &view.cold {
            unit.trace(id, &mut spans)?;
        }
        for segment in &view.hot {
            query::spans_in_segment(segment, id, &mut spans)?;
        }
        spans.extend(self.open.archive.trace(id)?);
        Ok(query::each_once(spans))
    }

    /// The traces with the newest matching spans, newest first, each with the start of that span (nanoseconds since
    /// 1970).
    ///
    /// # Errors
    ///
    /// [`ReadError`] where something that it needs cannot be read: never a shorter answer.
    pub fn search(&self, filter: &TraceFilter) -> Result<Vec<(TraceId, u64)>, ReadError> {
        if filter.among.as_ref().is_some_and(BTreeSet::is_empty) {
            return Ok(Vec::new());
        }
        let view = self.open.tiers.view();
        let mut found = Found::new(filter.limit);
        for segment in view.hot.iter().rev() {
            query::search_segment(segment, filter, &mut found)?;
        }
        let mut units = view.cold;
        units.sort_by_key(|unit| std::cmp::Reverse(unit.start_max()));
        for unit in units {
            unit.search(filter, &mut found)?;
        }
        self.open.archive.search(filter, &mut found)?;
        Ok(found.newest_first())
    }

    /// Shows every span that matches, in no order, a span that was sent twice twice. All of them: the filter's limit,
    /// which is one of traces, is not asked.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where something that it needs cannot be read: never a shorter answer.
    pub fn each_match(&self, filter: &TraceFilter, mut each: impl FnMut(Span)) -> Result<(), ReadError> {
        let view = self.open.tiers.view();
        for unit in &view.cold {
            unit.each_match(filter, &mut each)?;
        }
        for segment in &view.hot {
            query::matching_in_segment(segment, filter, &mut each)?;
        }
        Ok(())
    }

    /// Reads every span's ids back from the disk, in the order of their blocks, a span that was sent twice twice: what
    /// an audit of acknowledged spans compares against.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where something that it needs cannot be read: never a shorter answer.
    pub fn each_span(&self, mut each: impl FnMut(TraceId, SpanId)) -> Result<(), ReadError> {
        let view = self.open.tiers.view();
        for unit in &view.cold {
            unit.ids(&mut each)?;
        }
        for segment in &view.hot {
            query::ids_in_segment(segment, &mut each)?;
        }
        Ok(())
    }

    /// The newest matching log records, newest first.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where something that it needs cannot be read: never a shorter answer.
    pub fn logs(&self, filter: &LogFilter) -> Result<Vec<LogRecord>, ReadError> {
        let mut newest = Newest::new(filter.limit);
        self.gather_logs(filter, &mut newest)?;
        Ok(newest.records)
    }

    /// Shows matching log records, newer ones first as far as files are in order; the filter's limit is not asked.
    pub(crate) fn gather_logs(
        &self,
        filter: &LogFilter,
        gathered: &mut impl Gathers,
    ) -> Result<(), ReadError> {
        let view = self.open.tiers.view();
        for segment in view.hot.iter().rev() {
            query::search_logs(segment, filter, gathered)?;
        }
        for unit in view.cold.iter().rev() {
            unit.logs(filter, gathered)?;
        }
        Ok(())
    }

    /// All services that sent spans, sorted.
    pub fn services(&self) -> Vec<String> {
        self.open.derived.catalogue.services()
    }

    /// The operations of a service, sorted by name.
    pub fn operations(&self, service: &str) -> Vec<Operation> {
        self.open.derived.catalogue.operations(service)
    }
}
