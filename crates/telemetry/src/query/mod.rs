//! Questions: a trace by its id, spans that match, log records that match.
//!
//! In: a filter. Out: whole spans and records, or the ids of traces, newest first. A question reads what is there when
//! it is asked, the newest committed rows among it: what is acknowledged is found.
//!
//! A trace matches when one of its spans matches all that is asked, which is also what Jaeger's stores answer.

mod filter;
mod logs;
mod scan;

pub use filter::{LogFilter, StatusFilter, TraceFilter};
pub(crate) use scan::{Columns, Found, Tag, matching_rows, search_columns};

pub use logs::Searched;
pub(crate) use logs::{Gathers, NO_TRACE, Newest, says, search_logs};

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

use crate::block::{Block, BlockError};
use crate::filter::trace_hash;
use crate::model::{Signal, Span, SpanId, TraceId};
use crate::rows::Rows;
use crate::segment::{Outline, Segment};

/// A question could not be answered: what is stored cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A block is damaged.
    #[error("a block in {} at byte {offset} cannot be read", path.display())]
    Block {
        /// The file.
        path: PathBuf,
        /// Where the block begins.
        offset: u64,
        /// Why.
        source: BlockError,
    },
    /// Rows that were moved to object storage are not to be had now. What is here would be a part of the answer only.
    #[error(
        "part of the answer is in {url}, and cannot be had now: {why}; ask again later, or for newer spans and logs alone"
    )]
    Away {
        /// Which bucket.
        url: String,
        /// Why.
        why: String,
    },
    /// A compacted file is damaged.
    #[error("{} cannot be read: its {what} makes no sense", path.display())]
    Compacted {
        /// The file.
        path: PathBuf,
        /// Which part.
        what: &'static str,
    },
}

/// Reads a block of a segment and shows it to `use_it`.
pub(crate) fn with_block<T>(
    segment: &Segment,
    outline: &Outline,
    use_it: impl FnOnce(&Block<'_>) -> Result<T, BlockError>,
) -> Result<T, ReadError> {
    let bytes =
        segment.read(outline).map_err(|source| ReadError::Io { path: segment.path.clone(), source })?;
    Block::read(&bytes).and_then(|block| use_it(&block)).map_err(|source| ReadError::Block {
        path: segment.path.clone(),
        offset: outline.offset,
        source,
    })
}

/// The spans of a trace in one segment.
pub(crate) fn spans_in_segment(
    segment: &Segment,
    id: TraceId,
    spans: &mut Vec<Span>,
) -> Result<(), ReadError> {
    let hash = trace_hash(&id.0);
    for outline in segment.outlines() {
        if outline.signal() != Signal::Spans || !outline.may_hold(hash) {
            continue;
        }
        with_block(segment, &outline, |block| {
            let traces = block.traces()?;
            let rows: Vec<usize> = (0..traces.len()).filter(|&row| traces[row] == id.0).collect();
            if !rows.is_empty() {
                let batch = block.batch()?;
                let mut reader = Rows::new(&batch);
                spans.extend(rows.into_iter().map(|row| reader.span(row)));
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The spans of a trace by start and id, each once: a sender that did not hear the answer sends again, and what is archived
/// is in its tier as well. Different spans may have the same start and id, and then all of them stay.
pub(crate) fn each_once(mut spans: Vec<Span>) -> Vec<Span> {
    let key = |span: &Span| (span.start_unix_nano, span.span_id);
    spans.sort_by_key(key);
    let mut is_first = Vec::with_capacity(spans.len());
    let mut seen = HashSet::new();
    for run in spans.chunk_by(|a, b| key(a) == key(b)) {
        match run {
            [_] => is_first.push(true),
            run => {
                seen.clear();
                is_first.extend(run.iter().map(|span| seen.insert(span)));
            }
        }
    }
    let mut is_first = is_first.into_iter();
    spans.retain(|_| is_first.next().unwrap_or(true));
    spans
}

/// The ids of all spans in one segment.
pub(crate) fn ids_in_segment(
    segment: &Segment,
    each: &mut impl FnMut(TraceId, SpanId),
) -> Result<(), ReadError> {
    for outline in segment.outlines().iter().filter(|outline| outline.signal() == Signal::Spans) {
        with_block(segment, outline, |block| {
            let ids = block.traces()?.into_iter().zip(block.spans()?);
            ids.for_each(|(trace, span)| each(TraceId(trace), SpanId(span.to_be_bytes())));
            Ok(())
        })?;
    }
    Ok(())
}

/// Adds the traces with matching spans in one segment, newest block first.
pub(crate) fn search_segment(
    segment: &Segment,
    filter: &TraceFilter,
    found: &mut Found,
) -> Result<(), ReadError> {
    for outline in segment.outlines().iter().rev() {
        if may_match(outline, filter, found.oldest_wanted()) {
            with_block(segment, outline, |block| search_columns(block, filter, found))?;
        }
    }
    Ok(())
}

/// Shows every matching span in one segment.
pub(crate) fn matching_in_segment(
    segment: &Segment,
    filter: &TraceFilter,
    each: &mut impl FnMut(Span),
) -> Result<(), ReadError> {
    for outline in segment.outlines().iter().filter(|outline| may_match(outline, filter, 0)) {
        with_block(segment, outline, |block| {
            if let Some((rows, _)) = matching_rows(block, filter, 0)? {
                let batch = block.batch()?;
                let mut reader = Rows::new(&batch);
                rows.into_iter().for_each(|row| each(reader.span(row as usize)));
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Whether a block can have a matching span that started at or after `oldest`, as far as its outline says.
pub(crate) fn may_match(outline: &Outline, filter: &TraceFilter, oldest: u64) -> bool {
    let header = &outline.header;
    outline.signal() == Signal::Spans
        && filter.may_be_among(|hash| outline.may_hold(hash))
        && header.start_max >= (*filter.start.start()).max(oldest)
        && header.start_min <= *filter.start.end()
        && filter.service.as_ref().is_none_or(|service| outline.services.iter().any(|s| **s == **service))
}
