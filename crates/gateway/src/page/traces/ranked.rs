//! All traces that a search finds, a few at a time: for files, which hold more than a page shows.
//!
//! In: a search. Out: summaries of the traces behind one that is named, newest first, so many; fewer only where there are no
//! more. Which traces there are is asked once for many reads; each is read whole when it is its turn.

use std::cell::RefCell;
use std::collections::HashSet;

use telemetry::{Searched, Telemetry, TraceFilter, TraceId, TraceSummary};

use crate::problem::Problem;

/// Traces that are ranked at first; each time that is too few, four times as many.
const FIRST: usize = 20_000;

pub(super) struct Ranked<'a> {
    store: &'a Telemetry,
    filter: TraceFilter,
    /// What a log record of the trace says.
    text: Option<String>,
    known: RefCell<Known>,
}

/// The newest of them.
#[derive(Default)]
struct Known {
    ids: Vec<TraceId>,
    /// So many were asked for.
    asked: usize,
}

impl Known {
    /// Whether there are no more.
    fn are_all(&self) -> bool {
        self.ids.len() < self.asked
    }
}

impl<'a> Ranked<'a> {
    /// The traces that match, however many the filter asks for.
    pub(super) fn new(store: &'a Telemetry, filter: TraceFilter, text: Option<&str>) -> Self {
        Self { store, filter, text: text.map(str::to_owned), known: RefCell::default() }
    }

    /// The traces behind `before`, an id; the newest where none is given.
    pub(super) fn read(&self, before: Option<&str>, limit: usize) -> Result<Vec<TraceSummary>, Problem> {
        let id = |text: &str| text.parse().map_err(|error| Problem::field("before", format!("{error}")));
        let mut last: Option<TraceId> = before.map(id).transpose()?;
        let mut rows = Vec::with_capacity(limit);
        while rows.len() < limit {
            let ids = self.behind(last, limit - rows.len())?;
            if ids.is_empty() {
                break;
            }
            last = ids.last().copied();
            for id in ids {
                // Its time to be kept may have ended since it was found.
                rows.extend(TraceSummary::of(&self.store.trace(id)?));
            }
        }
        Ok(rows)
    }

    fn behind(&self, last: Option<TraceId>, limit: usize) -> Result<Vec<TraceId>, Problem> {
        let mut known = self.known.borrow_mut();
        loop {
            let from = match last {
                None => Some(0),
                Some(last) => known.ids.iter().position(|id| *id == last).map(|place| place + 1),
            };
            match from.and_then(|from| known.ids.get(from..)) {
                Some(rest) if rest.len() >= limit || known.are_all() => {
                    return Ok(rest.iter().take(limit).copied().collect());
                }
                None if known.are_all() => {
                    let detail = "the trace that `before` names is not among those that match; leave it out";
                    return Err(Problem::field("before", detail));
                }
                _ => {
                    let asked = (known.asked * 4).max(FIRST);
                    *known = Known { ids: self.newest(asked)?, asked };
                }
            }
        }
    }

    /// The newest that match, so many. A search by text that was cut goes on where it was.
    fn newest(&self, limit: usize) -> Result<Vec<TraceId>, Problem> {
        let mut filter = TraceFilter { limit, ..self.filter.clone() };
        let Some(text) = &self.text else {
            return Ok(self.store.search(&filter)?.into_iter().map(|(id, _)| id).collect());
        };
        let (mut ids, mut seen) = (Vec::new(), HashSet::new());
        loop {
            let Searched { traces, cut_at } = self.store.search_logged(text, &filter)?;
            ids.extend(traces.into_iter().map(|(id, _)| id).filter(|id| seen.insert(*id)));
            let Some(cut_at) = cut_at.filter(|_| ids.len() < limit) else { break };
            // Many that were logged in one nanosecond hold nobody.
            let (start, end) = (*filter.start.start(), cut_at.min(filter.start.end().saturating_sub(1)));
            if end < start {
                break;
            }
            filter.start = start..=end;
        }
        ids.truncate(limit);
        Ok(ids)
    }
}
