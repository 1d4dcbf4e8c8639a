//! Rows of a block that match a filter.

use std::collections::HashMap;

use super::filter::{StatusFilter, TraceFilter};
use crate::block::{Block, BlockError};
use crate::column::{Attributes, Scalar};
use crate::model::{Resource, SpanKind, StatusCode, TraceId, Value};

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

    fn shrink(&mut self) {
        let mut starts: Vec<u64> = self.traces.values().copied().collect();
        if starts.len() <= self.limit {
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

/// Adds the matching rows of a block of spans. Columns are unpacked one after the other, and only while rows are left.
pub(crate) fn search_block(
    block: &Block<'_>,
    filter: &TraceFilter,
    found: &mut Found,
) -> Result<(), BlockError> {
    let starts = block.starts()?;
    let from = (*filter.start.start()).max(found.oldest_wanted());
    let wanted = from..=*filter.start.end();
    let mut rows: Vec<u32> =
        (0..starts.len() as u32).filter(|&row| wanted.contains(&starts[row as usize])).collect();
    keep_by_columns(block, filter, &mut rows)?;
    if rows.is_empty() {
        return Ok(());
    }
    let tags: Vec<Tag<'_>> = filter.tags.iter().map(|(key, value)| Tag::new(key, value)).collect();
    keep_by_tags(block, &tags, &mut rows)?;
    if rows.is_empty() {
        return Ok(());
    }
    let traces = block.traces()?;
    rows.into_iter().for_each(|row| found.add(traces[row as usize], starts[row as usize]));
    Ok(())
}

fn keep_by_columns(block: &Block<'_>, filter: &TraceFilter, rows: &mut Vec<u32>) -> Result<(), BlockError> {
    if let Some(service) = &filter.service
        && !rows.is_empty()
    {
        let origins = block.origins()?;
        let of_rows = block.origin_of_rows()?;
        let wanted: Vec<bool> =
            (0..origins.pairs.len() as u32).map(|origin| **origins.service(origin) == **service).collect();
        rows.retain(|&row| wanted.get(of_rows[row as usize] as usize) == Some(&true));
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
    if filter.duration != (0..=u64::MAX) && !rows.is_empty() {
        let durations = block.durations()?;
        rows.retain(|&row| filter.duration.contains(&durations[row as usize]));
    }
    if let Some(kind) = filter.kind {
        keep_kind(block, kind, rows)?;
    }
    match filter.status {
        StatusFilter::Any => Ok(()),
        StatusFilter::Error => keep_errors(block, rows, true),
        StatusFilter::NotError => keep_errors(block, rows, false),
    }
}

fn keep_kind(block: &Block<'_>, kind: SpanKind, rows: &mut Vec<u32>) -> Result<(), BlockError> {
    if !rows.is_empty() {
        let kinds = block.kinds()?;
        rows.retain(|&row| kinds[row as usize] == kind as u8);
    }
    Ok(())
}

fn keep_errors(block: &Block<'_>, rows: &mut Vec<u32>, error: bool) -> Result<(), BlockError> {
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

    fn is(&self, value: Scalar<'_>) -> bool {
        match value {
            Scalar::Text(text) => text == self.text.as_bytes(),
            Scalar::Int(int) => self.int == Some(int),
            Scalar::Double(double) => self.double == Some(double),
            Scalar::Bool(bool) => self.bool == Some(bool),
            Scalar::Bytes(_) | Scalar::Any(_) => false,
        }
    }

    /// Whether the resource has it.
    pub(crate) fn holds(&self, resource: &Resource) -> bool {
        resource.attributes.iter().any(|(key, value)| {
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

fn keep_by_tags(block: &Block<'_>, tags: &[Tag<'_>], rows: &mut Vec<u32>) -> Result<(), BlockError> {
    if tags.is_empty() {
        return Ok(());
    }
    let attributes = block.row_attributes()?;
    let origins = block.origins()?;
    let origin_of_rows = block.origin_of_rows()?;
    let (row_of_event, event_attributes) = block.event_attributes()?;
    for tag in tags {
        if rows.is_empty() {
            return Ok(());
        }
        match (tag.key, tag.bool) {
            ("error", Some(error)) => keep_errors(block, rows, error)?,
            ("span.kind", _) => {
                let kinds = block.kinds()?;
                rows.retain(|&row| SpanKind::from_number(kinds[row as usize].into()).word() == tag.text);
            }
            _ => {
                let by_origin: Vec<bool> = (0..origins.pairs.len() as u32)
                    .map(|origin| tag.holds(&origins.read(origin).0))
                    .collect();
                let mut with_tag = items_with(&attributes, tag);
                let events = items_with(&event_attributes, tag).into_iter();
                with_tag.extend(events.filter_map(|event| row_of_event.get(event as usize)));
                with_tag.sort_unstable();
                rows.retain(|&row| {
                    by_origin.get(origin_of_rows[row as usize] as usize) == Some(&true)
                        || with_tag.binary_search(&row).is_ok()
                });
            }
        }
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
