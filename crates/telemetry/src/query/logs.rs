//! Log records that match a filter, and traces by what their records say.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::filter::{LogFilter, TraceFilter};
use super::scan::Found;
use super::{ReadError, with_block};
use crate::Telemetry;
use crate::block::{Block, BlockError};
use crate::filter::trace_hash;
use crate::model::{LogRecord, Signal, TraceId, Value};
use crate::rows::Rows;
use crate::segment::Segment;

/// So many traces with a text are looked among at first, those that logged it last: for what is logged often that is enough.
const FEW: usize = 2_000;

/// So many are looked among where those were too few.
const MOST: usize = 20_000;

/// Traces that were found by what their log records say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Searched {
    /// The traces, as [`Telemetry::search`] gives them.
    pub traces: Vec<(TraceId, u64)>,
    /// Where the answer was cut, nanoseconds since 1970: traces that logged the text before this alone were not looked at,
    /// although fewer were found than were asked for.
    pub cut_at: Option<u64>,
}

impl Telemetry {
    /// As [`search`](Self::search), of traces in which a log record says `text` at a time in `filter.start`, upper and lower
    /// case the same; a record of any service. At most 20,000 traces with the text are looked among, those that logged it
    /// last.
    ///
    /// # Errors
    ///
    /// As [`search`](Self::search).
    pub fn search_logged(&self, text: &str, filter: &TraceFilter) -> Result<Searched, ReadError> {
        self.search_logged_among(text, filter, [FEW, MOST])
    }

    /// The same, with the most traces that are looked among at first, and after that.
    pub(crate) fn search_logged_among(
        &self,
        text: &str,
        filter: &TraceFilter,
        [few, most]: [usize; 2],
    ) -> Result<Searched, ReadError> {
        let mut looked_among = few;
        loop {
            let (among, cut_at) = self.traces_that_logged(text, filter.start.clone(), looked_among)?;
            let traces = self.search(&TraceFilter { among: Some(among), ..filter.clone() })?;
            let cut_at = cut_at.filter(|_| traces.len() < filter.limit);
            if cut_at.is_none() || looked_among >= most {
                return Ok(Searched { traces, cut_at });
            }
            looked_among = most;
        }
    }

    /// The traces in which a log record says `text`, at most so many, those that logged it last; and where there are more,
    /// when the first of these said so last.
    fn traces_that_logged(
        &self,
        text: &str,
        time: RangeInclusive<u64>,
        limit: usize,
    ) -> Result<(BTreeSet<TraceId>, Option<u64>), ReadError> {
        let filter = LogFilter { text: text.to_owned(), time, in_a_trace: true, ..LogFilter::default() };
        // One more, which tells whether there are more.
        let mut found = Found::new(limit + 1);
        self.gather_logs(&filter, &mut found)?;
        let mut traces = found.newest_first();
        let is_cut = traces.len() > limit;
        traces.truncate(limit);
        let cut_at = traces.last().map(|&(_, logged)| logged).filter(|_| is_cut);
        Ok((traces.into_iter().map(|(trace, _)| trace).collect(), cut_at))
    }
}

/// What matching log records are gathered for.
pub(crate) trait Gathers {
    /// Records older than this are not wanted any more, since there is enough that is newer; 0 while there is room.
    fn oldest_wanted(&self) -> u64;
    /// Takes the matching records of a block or a page.
    fn take(&mut self, records: Vec<LogRecord>);
}

/// The newest records, newest first, at most `limit`: what is kept is never more than that and one block.
pub(crate) struct Newest {
    limit: usize,
    pub(crate) records: Vec<LogRecord>,
}

impl Newest {
    /// None yet, at most `limit` wanted.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, records: Vec::new() }
    }
}

impl Gathers for Newest {
    fn oldest_wanted(&self) -> u64 {
        match self.records.last() {
            Some(last) if self.records.len() >= self.limit => last.time_unix_nano,
            _ => 0,
        }
    }

    fn take(&mut self, records: Vec<LogRecord>) {
        self.records.extend(records);
        self.records.sort_by_key(|record| std::cmp::Reverse(record.time_unix_nano));
        self.records.truncate(self.limit);
    }
}

/// Their traces, each with its newest record.
impl Gathers for Found {
    fn oldest_wanted(&self) -> u64 {
        Self::oldest_wanted(self)
    }

    fn take(&mut self, records: Vec<LogRecord>) {
        for record in records {
            if let Some(trace) = record.trace_id {
                self.add(trace.0, record.time_unix_nano);
            }
        }
        self.shrink();
    }
}

/// Adds the matching records of a segment, newest block first.
pub(crate) fn search_logs(
    segment: &Segment,
    filter: &LogFilter,
    gathered: &mut impl Gathers,
) -> Result<(), ReadError> {
    let trace = filter.trace.map(|id| trace_hash(&id.0));
    for outline in segment.outlines().iter().rev() {
        let header = &outline.header;
        let may_match = outline.signal() == Signal::Logs
            && header.start_max >= (*filter.time.start()).max(gathered.oldest_wanted())
            && header.start_min <= *filter.time.end()
            && trace.is_none_or(|hash| outline.may_hold(hash))
            && filter
                .service
                .as_ref()
                .is_none_or(|service| outline.services.iter().any(|s| **s == **service));
        if may_match {
            gathered.take(with_block(segment, outline, |block| matching(block, filter))?);
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
