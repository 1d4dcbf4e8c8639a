//! Rows of a block that match a filter.

use std::collections::HashMap;

use super::filter::{StatusFilter, TraceFilter};
use crate::batch::Origins;
use crate::block::{Block, BlockError};
use crate::column::{Attributes, Scalar, Strings};
use crate::model::{AttributeList, SpanKind, StatusCode, TraceId, Value};

/// Spans by columns, each read when it is asked for: a block, or a page of a compacted file.
pub(crate) trait Columns {
    /// What can go wrong.
    type Error;
    /// Start of each row.
    fn starts(&self) -> Result<Vec<u64>, Self::Error>;
    /// Duration of each row.
    fn durations(&self) -> Result<Vec<u64>, Self::Error>;
    /// Kind of each row.
    fn kinds(&self) -> Result<Vec<u8>, Self::Error>;
    /// Status of each row.
    fn statuses(&self) -> Result<Vec<u8>, Self::Error>;
    /// Name of each row.
    fn names(&self) -> Result<Strings, Self::Error>;
    /// Trace of each row.
    fn traces(&self) -> Result<Vec<[u8; 16]>, Self::Error>;
    /// Where rows come from, and the origin of each.
    fn origins(&self) -> Result<(Origins, Vec<u32>), Self::Error>;
    /// Leaves those of `rows` that are of a service.
    fn keep_service(&self, service: &str, rows: &mut Vec<u32>) -> Result<(), Self::Error>;
    /// Those of `rows`, which are ascending, that have a tag as attribute, or of an event, ascending.
    fn rows_with(&self, tag: &Tag<'_>, rows: &[u32]) -> Result<Vec<u32>, Self::Error>;
}

impl Columns for Block<'_> {
    type Error = BlockError;

    fn starts(&self) -> Result<Vec<u64>, BlockError> {
        self.starts()
    }

    fn durations(&self) -> Result<Vec<u64>, BlockError> {
        self.durations()
    }

    fn kinds(&self) -> Result<Vec<u8>, BlockError> {
        self.kinds()
    }

    fn statuses(&self) -> Result<Vec<u8>, BlockError> {
        self.statuses()
    }

    fn names(&self) -> Result<Strings, BlockError> {
        self.names()
    }

    fn traces(&self) -> Result<Vec<[u8; 16]>, BlockError> {
        self.traces()
    }

    fn origins(&self) -> Result<(Origins, Vec<u32>), BlockError> {
        Ok((self.origins()?, self.origin_of_rows()?))
    }

    fn keep_service(&self, service: &str, rows: &mut Vec<u32>) -> Result<(), BlockError> {
        let (origins, of_rows) = Columns::origins(self)?;
        let wanted: Vec<bool> =
            (0..origins.pairs.len() as u32).map(|origin| **origins.service(origin) == *service).collect();
        rows.retain(|&row| wanted.get(of_rows[row as usize] as usize) == Some(&true));
        Ok(())
    }

    fn rows_with(&self, tag: &Tag<'_>, rows: &[u32]) -> Result<Vec<u32>, BlockError> {
        let mut found = items_with(&self.row_attributes()?, tag);
        let (row_of_event, event_attributes) = self.event_attributes()?;
        let events = items_with(&event_attributes, tag).into_iter();
        found.extend(events.filter_map(|event| row_of_event.get(event as usize)));
        found.retain(|row| rows.binary_search(row).is_ok());
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}

/// The newest traces found so far, each with the start of its newest matching span.
#[derive(Debug)]
pub(crate) struct Found {
    limit: usize,
    traces: HashMap<[u8; 16], u64>,
    /// No trace older than this is wanted any more; 0 while there is room.
    oldest_wanted: u64,
}

impl Found {
    /// Nothing found yet, at most `limit` wanted.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, traces: HashMap::new(), oldest_wanted: 0 }
    }

    /// Rows that started before this need not be looked at.
    pub(crate) fn oldest_wanted(&self) -> u64 {
        self.oldest_wanted
    }

    /// Adds a matching span.
    pub(crate) fn add(&mut self, trace: [u8; 16], start: u64) {
        if self.limit == 0 || (start < self.oldest_wanted && !self.traces.contains_key(&trace)) {
            return;
        }
        let newest = self.traces.entry(trace).or_insert(start);
        *newest = (*newest).max(start);
        // Letting it grow to twice the limit makes throwing away rare.
        if self.traces.len() >= self.limit.saturating_mul(2).max(16) {
            self.shrink();
        }
    }

    /// Throws away what is over the limit, and knows from now on which rows are too old to matter.
    pub(super) fn shrink(&mut self) {
        let mut starts: Vec<u64> = self.traces.values().copied().collect();
        if starts.len() < self.limit.max(1) {
            return;
        }
        let at = starts.len() - self.limit;
        let (_, &mut oldest, _) = starts.select_nth_unstable(at);
        self.traces.retain(|_, start| *start >= oldest);
        self.oldest_wanted = oldest;
    }

    /// The traces, newest first.
    pub(crate) fn newest_first(self) -> Vec<(TraceId, u64)> {
        let mut traces: Vec<(TraceId, u64)> =
            self.traces.into_iter().map(|(trace, start)| (TraceId(trace), start)).collect();
        traces.sort_unstable_by_key(|&(trace, start)| (std::cmp::Reverse(start), trace));
        traces.truncate(self.limit);
        traces
    }
}

/// Adds the traces of the matching rows.
pub(crate) fn search_columns<C: Columns>(
    block: &C,
    filter: &TraceFilter,
    found: &mut Found,
) -> Result<(), C::Error> {
    let Some((rows, starts)) = matching_rows(block, filter, found.oldest_wanted())? else { return Ok(()) };
    let traces = block.traces()?;
    rows.into_iter().for_each(|row| found.add(traces[row as usize], starts[row as usize]));
    found.shrink();
    Ok(())
}

/// The matching rows that started at or after `oldest`, ascending, with the starts of all rows; `None` where none
/// match. Columns are unpacked one after the other, and only while rows are left.
#[expect(clippy::type_complexity, reason = "used by the two functions that ask")]
pub(crate) fn matching_rows<C: Columns>(
    block: &C,
    filter: &TraceFilter,
    oldest: u64,
) -> Result<Option<(Vec<u32>, Vec<u64>)>, C::Error> {
    let starts = block.starts()?;
    let wanted = (*filter.start.start()).max(oldest)..=*filter.start.end();
    let mut rows: Vec<u32> =
        (0..starts.len() as u32).filter(|&row| wanted.contains(&starts[row as usize])).collect();
    if let Some(among) = &filter.among
        && !rows.is_empty()
    {
        let traces = block.traces()?;
        rows.retain(|&row| among.contains(&TraceId(traces[row as usize])));
    }
    keep_by_columns(block, filter, &mut rows)?;
    if rows.is_empty() {
        return Ok(None);
    }
    let tags: Vec<Tag<'_>> = filter.tags.iter().map(|(key, value)| Tag::new(key, value)).collect();
    keep_by_tags(block, &tags, &mut rows)?;
    Ok((!rows.is_empty()).then_some((rows, starts)))
}

/// Tests the columns that cost least and leave fewest rows first.
fn keep_by_columns<C: Columns>(block: &C, filter: &TraceFilter, rows: &mut Vec<u32>) -> Result<(), C::Error> {
    if filter.duration != (0..=u64::MAX) && !rows.is_empty() {
        let durations = block.durations()?;
        rows.retain(|&row| filter.duration.contains(&durations[row as usize]));
    }
    match filter.status {
        StatusFilter::Any => {}
        StatusFilter::Error => keep_errors(block, rows, true)?,
        StatusFilter::NotError => keep_errors(block, rows, false)?,
    }
    if let Some(service) = &filter.service
        && !rows.is_empty()
    {
        block.keep_service(service, rows)?;
    }
    if let Some(operation) = &filter.operation
        && !rows.is_empty()
    {
        let names = block.names()?;
        match names.find(operation.as_bytes()) {
            Some(code) => rows.retain(|&row| names.code(row as usize) == code),
            None => rows.clear(),
        }
    }
    match filter.kind {
        Some(kind) => keep_kind(block, kind, rows),
        None => Ok(()),
    }
}

fn keep_kind<C: Columns>(block: &C, kind: SpanKind, rows: &mut Vec<u32>) -> Result<(), C::Error> {
    if !rows.is_empty() {
        let kinds = block.kinds()?;
        rows.retain(|&row| kinds[row as usize] == kind as u8);
    }
    Ok(())
}

fn keep_errors<C: Columns>(block: &C, rows: &mut Vec<u32>, error: bool) -> Result<(), C::Error> {
    if !rows.is_empty() {
        let statuses = block.statuses()?;
        rows.retain(|&row| (statuses[row as usize] == StatusCode::Error as u8) == error);
    }
    Ok(())
}

/// A tag asked for, in every type its text can be read as.
pub(crate) struct Tag<'a> {
    key: &'a str,
    text: &'a str,
    int: Option<i64>,
    double: Option<f64>,
    bool: Option<bool>,
}

impl<'a> Tag<'a> {
    pub(crate) fn new(key: &'a str, text: &'a str) -> Self {
        Self { key, text, int: text.parse().ok(), double: text.parse().ok(), bool: text.parse().ok() }
    }

    /// The key.
    pub(crate) fn key(&self) -> &str {
        self.key
    }

    /// Whether it asks for spans with or without an error, not for an attribute.
    pub(crate) fn asks_for_error(&self) -> Option<bool> {
        self.bool.filter(|_| self.key == "error")
    }

    /// Whether it asks for an attribute.
    pub(crate) fn asks_for_attribute(&self) -> bool {
        self.key != "span.kind" && self.asks_for_error().is_none()
    }

    /// The values it can be, one of each type.
    pub(crate) fn values(&self) -> impl Iterator<Item = Scalar<'a>> {
        let text = Some(Scalar::Text(self.text.as_bytes()));
        let numbers =
            [self.int.map(Scalar::Int), self.double.map(Scalar::Double), self.bool.map(Scalar::Bool)];
        text.into_iter().chain(numbers.into_iter().flatten())
    }

    /// Whether a value is what it asks for.
    pub(crate) fn is(&self, value: Scalar<'_>) -> bool {
        match value {
            Scalar::Text(text) => text == self.text.as_bytes(),
            Scalar::Int(int) => self.int == Some(int),
            Scalar::Double(double) => self.double == Some(double),
            Scalar::Bool(bool) => self.bool == Some(bool),
            Scalar::Bytes(_) | Scalar::Any(_) => false,
        }
    }

    /// Whether attributes have it.
    pub(crate) fn is_among(&self, attributes: &AttributeList) -> bool {
        attributes.iter().any(|(key, value)| {
            key == self.key
                && match value {
                    Value::Text(text) => text == self.text,
                    Value::Int(int) => self.int == Some(*int),
                    Value::Double(double) => self.double == Some(*double),
                    Value::Bool(bool) => self.bool == Some(*bool),
                    Value::Empty | Value::Bytes(_) | Value::List(_) | Value::Map(_) => false,
                }
        })
    }
}

fn keep_by_tags<C: Columns>(block: &C, tags: &[Tag<'_>], rows: &mut Vec<u32>) -> Result<(), C::Error> {
    let mut origins = None;
    for tag in tags {
        if rows.is_empty() {
            return Ok(());
        }
        if let Some(error) = tag.asks_for_error() {
            keep_errors(block, rows, error)?;
            continue;
        }
        if !tag.asks_for_attribute() {
            let kinds = block.kinds()?;
            rows.retain(|&row| SpanKind::from_number(kinds[row as usize].into()).word() == tag.text);
            continue;
        }
        let with_tag = block.rows_with(tag, rows)?;
        if with_tag.len() == rows.len() {
            continue;
        }
        let (origins, origin_of_rows) = match &mut origins {
            Some(known) => known,
            none => none.insert(block.origins()?),
        };
        let by_origin: Vec<bool> = (0..origins.pairs.len() as u32)
            .map(|origin| tag.is_among(&origins.read(origin).0.attributes))
            .collect();
        rows.retain(|&row| {
            by_origin.get(origin_of_rows[row as usize] as usize) == Some(&true)
                || with_tag.binary_search(&row).is_ok()
        });
    }
    Ok(())
}

/// The rows or events that have a tag as attribute.
fn items_with(attributes: &Attributes, tag: &Tag<'_>) -> Vec<u32> {
    let mut rows = Vec::new();
    for (index, column) in attributes.columns().iter().enumerate() {
        if column.key() == tag.key && column.can_hold(|value| tag.is(value)) {
            let places = attributes.places(index);
            let matching = places.into_iter().filter(|&(_, rank)| tag.is(column.value(rank as usize)));
            rows.extend(matching.map(|(item, _)| item));
        }
    }
    rows
}
