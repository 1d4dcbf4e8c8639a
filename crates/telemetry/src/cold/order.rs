//! In which order the rows of a row group are written.
//!
//! Spans: traces by their first start, the spans of a trace side by side and by start, so that a trace is one run of
//! rows, its parents a few rows away, and a stretch of rows a stretch of time. Log records: by time.

use super::Map;
use crate::batch::Batch;
use crate::model::Signal;

/// A row that is left out.
pub(super) const ABSENT: u32 = u32::MAX;

/// Where each row of each batch goes.
pub(super) struct Order {
    /// For each batch, for each row: its place, or [`ABSENT`].
    pub(super) places: Vec<Vec<u32>>,
    /// Rows that are kept.
    pub(super) rows: usize,
}

/// Says whether a row of a batch is kept.
pub(super) type Keep<'a> = &'a dyn Fn(&Batch, usize) -> bool;

/// The order of the rows that `keep` keeps: all where there is no rule.
pub(super) fn order(signal: Signal, batches: &[Batch], keep: Option<Keep<'_>>) -> Order {
    let mut rows: Vec<(u64, u64, u32, u32)> = Vec::new();
    let mut traces: Map<[u8; 16], u64> = Map::default();
    if signal == Signal::Spans {
        for batch in batches {
            let mut row = 0;
            for run in batch.trace.chunk_by(|a, b| a == b) {
                let first = batch.start[row..row + run.len()].iter().copied().min().unwrap_or(0);
                let known = traces.entry(run[0]).or_insert(first);
                *known = first.min(*known);
                row += run.len();
            }
        }
    }
    // Traces that began at the same nanosecond must not mix: they are told apart by their rank.
    let mut ranked: Vec<(u64, [u8; 16])> = traces.iter().map(|(&id, &first)| (first, id)).collect();
    ranked.sort_unstable();
    for (rank, (_, id)) in ranked.iter().enumerate() {
        if let Some(first) = traces.get_mut(id) {
            *first = rank as u64;
        }
    }
    for (number, batch) in batches.iter().enumerate() {
        let mut last = ([0; 16], 0);
        for row in 0..batch.rows() {
            if keep.is_some_and(|keep| !keep(batch, row)) {
                continue;
            }
            if signal == Signal::Spans && (last.0 != batch.trace[row] || row == 0) {
                last = (batch.trace[row], traces.get(&batch.trace[row]).copied().unwrap_or(0));
            }
            rows.push((last.1, batch.start[row], number as u32, row as u32));
        }
    }
    rows.sort_unstable();
    let mut places: Vec<Vec<u32>> = batches.iter().map(|batch| vec![ABSENT; batch.rows()]).collect();
    for (place, &(_, _, batch, row)) in rows.iter().enumerate() {
        places[batch as usize][row as usize] = place as u32;
    }
    Order { places, rows: rows.len() }
}
