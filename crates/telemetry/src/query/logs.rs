//! Log records that match a filter.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::filter::LogFilter;
use super::{ReadError, with_block};
use crate::Telemetry;
use crate::block::{Block, BlockError};
use crate::filter::trace_hash;
use crate::model::{LogRecord, Signal, TraceId, Value};
use crate::rows::Rows;
use crate::segment::Segment;

/// So many records with a text are looked at for the traces they belong to, the newest.
const LOGGED: usize = 2_000;

impl Telemetry {
    /// The traces in which a log record says `text`, upper and lower case the same, at a time in `time` (nanoseconds since
    /// 1970): those of the newest 2,000 such records.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where a block cannot be read.
    pub fn traces_that_logged(
        &self,
        text: &str,
        time: RangeInclusive<u64>,
    ) -> Result<BTreeSet<TraceId>, ReadError> {
        let filter = LogFilter {
            text: text.to_owned(),
            time,
            in_a_trace: true,
            limit: LOGGED,
            ..LogFilter::default()
        };
        Ok(self.logs(&filter)?.into_iter().filter_map(|record| record.trace_id).collect())
    }
}

/// Adds records to those found, and keeps the newest `limit`, newest first: what is found is never more than what was
/// asked for and one block.
pub(crate) fn keep_newest(
    records: &mut Vec<LogRecord>,
    found: impl IntoIterator<Item = LogRecord>,
    limit: usize,
) {
    records.extend(found);
    records.sort_by_key(|record| std::cmp::Reverse(record.time_unix_nano));
    records.truncate(limit);
}

/// Records older than this are not wanted any more, since there are enough newer ones.
pub(crate) fn oldest_wanted(limit: usize, records: &[LogRecord]) -> u64 {
    match records.last() {
        Some(last) if records.len() >= limit => last.time_unix_nano,
        _ => 0,
    }
}

/// Adds the matching records of a segment, newest block first.
pub(crate) fn search_logs(
    segment: &Segment,
    filter: &LogFilter,
    records: &mut Vec<LogRecord>,
) -> Result<(), ReadError> {
    let trace = filter.trace.map(|id| trace_hash(&id.0));
    for outline in segment.outlines().iter().rev() {
        let header = &outline.header;
        let may_match = outline.signal() == Signal::Logs
            && header.start_max >= (*filter.time.start()).max(oldest_wanted(filter.limit, records))
            && header.start_min <= *filter.time.end()
            && trace.is_none_or(|hash| outline.may_hold(hash))
            && filter
                .service
                .as_ref()
                .is_none_or(|service| outline.services.iter().any(|s| **s == **service));
        if may_match {
            let found = with_block(segment, outline, |block| matching(block, filter))?;
            keep_newest(records, found, filter.limit);
        }
    }
    Ok(())
}

/// What stands for the trace of a record that was logged in none.
pub(crate) const NO_TRACE: [u8; 16] = [0; 16];

/// The matching records of a block.
fn matching(block: &Block<'_>, filter: &LogFilter) -> Result<Vec<LogRecord>, BlockError> {
    let batch = block.batch()?;
    let text = filter.text.to_lowercase();
    let mut reader = Rows::new(&batch);
    let rows = (0..batch.rows()).filter(|&row| {
        filter.time.contains(&batch.start[row])
            && batch.kind[row] >= filter.severity_min
            && filter.trace.is_none_or(|id| batch.trace[row] == id.0)
            && (!filter.in_a_trace || batch.trace[row] != NO_TRACE)
            && filter.service.as_ref().is_none_or(|s| **batch.origins.service(batch.origin[row]) == **s)
    });
    let records = rows.collect::<Vec<_>>().into_iter().map(|row| reader.log_record(row));
    Ok(records.filter(|record| text.is_empty() || says(&record.body, &text)).collect())
}

/// Whether a body holds `text`, which is in lower case.
pub(crate) fn says(body: &Value, text: &str) -> bool {
    match body {
        Value::Text(body) => body.to_lowercase().contains(text),
        Value::Int(n) => n.to_string().contains(text),
        Value::Double(n) => n.to_string().contains(text),
        Value::Bool(b) => b.to_string().contains(text),
        Value::List(list) => list.iter().any(|value| says(value, text)),
        Value::Map(map) => {
            map.iter().any(|(key, value)| key.to_lowercase().contains(text) || says(value, text))
        }
        Value::Empty | Value::Bytes(_) => false,
    }
}
