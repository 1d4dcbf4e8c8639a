//! One trace as a whole: its tree, what of its time was spent where, and the path that decided how long it took.
//!
//! In: the spans of a trace in any order, as the store answers them or as anybody sent them. Out: rows in the order of
//! the tree, a [`TraceSummary`], the critical path. Pure: no store, no clock, no pages.
//!
//! Traces are seldom tidy. Parents are missing, clocks of two machines differ, ids come twice, and a broken sender makes
//! circles. Each span has exactly one row nevertheless, and what is odd about it is said in [`Oddity`]; no time stamp is
//! ever changed.

mod path;
mod summary;
mod tree;

#[cfg(test)]
pub(crate) mod fixture;

pub use path::Section;
pub use summary::{Root, ServiceShare, TraceSummary};

use std::ops::Range;

use crate::model::{Span, TraceId};

/// A trace, its spans in the order of the tree: parents before children, children by start.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    spans: Vec<Span>,
    rows: Vec<Row>,
    main_root: usize,
    start_unix_nano: u64,
    end_unix_nano: u64,
}

/// Where a span is in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The row of its parent; none for a root, and for a span whose parent is not there.
    pub parent: Option<usize>,
    /// How many rows lead down to it; 0 for a root.
    pub depth: usize,
    /// How many rows its subtree has, itself among them: they follow it without a gap.
    pub subtree: usize,
    /// Nanoseconds in which none of its children ran.
    pub self_nano: u64,
    /// What is odd about its place.
    pub oddity: Option<Oddity>,
}

/// What is odd about a span's place in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Oddity {
    /// It names a parent that is not there: not sent, not yet, or kept elsewhere. Shown as a root.
    MissingParent,
    /// It descends from itself by the ids sent. Shown as a root; the others of its circle are below it.
    Circle,
    /// Another span has its id, and they are not the two sides of one call. Children are shown below the first.
    SharedId,
    /// It runs outside of its parent's time, wholly or in part: the clocks of two machines differ, or it was not waited
    /// for.
    OutsideParent,
}

impl Oddity {
    /// A sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::MissingParent => "the parent of this span is not in the trace",
            Self::Circle => "this span descends from itself by the ids that were sent",
            Self::SharedId => "another span of this trace has the same id",
            Self::OutsideParent => "this span runs outside of its parent's time",
        }
    }
}

impl Trace {
    /// Puts the spans of one trace in order; none where there are no spans.
    pub fn assemble(spans: Vec<Span>) -> Option<Self> {
        let start_unix_nano = spans.iter().map(|span| span.start_unix_nano).min()?;
        let end_unix_nano = spans.iter().map(Span::end_unix_nano).max()?;
        let (spans, rows) = tree::plant(spans);
        let mut trace = Self { spans, rows, main_root: 0, start_unix_nano, end_unix_nano };
        trace.main_root = trace.find_main_root();
        Some(trace)
    }

    /// Its id.
    pub fn id(&self) -> TraceId {
        self.spans[0].trace_id
    }

    /// The spans, row by row.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The places of the spans, row by row.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row where the trace begins for people: the earliest root, and the longest of equally early ones. A span
    /// whose parent is not there counts only where there is no true root.
    pub fn main_root(&self) -> usize {
        self.main_root
    }

    /// The start of the earliest span, nanoseconds since 1970.
    pub fn start_unix_nano(&self) -> u64 {
        self.start_unix_nano
    }

    /// The end of the latest span, nanoseconds since 1970.
    pub fn end_unix_nano(&self) -> u64 {
        self.end_unix_nano
    }

    /// Nanoseconds from the earliest start to the latest end.
    pub fn duration_nano(&self) -> u64 {
        self.end_unix_nano - self.start_unix_nano
    }

    /// The rows of a row's subtree, itself first.
    pub fn subtree(&self, row: usize) -> Range<usize> {
        row..row + self.rows[row].subtree
    }

    /// The rows of a row's children, by start.
    pub fn children(&self, row: usize) -> impl Iterator<Item = usize> {
        tree::children(&self.rows, row)
    }

    /// The rows without a parent, by start.
    pub fn roots(&self) -> impl Iterator<Item = usize> {
        let first = (!self.rows.is_empty()).then_some(0);
        std::iter::successors(first, |&root| {
            Some(root + self.rows[root].subtree).filter(|&next| next < self.rows.len())
        })
    }

    /// What a list of traces shows of it.
    pub fn summary(&self) -> TraceSummary {
        summary::summarise(&self.spans, &self.spans[self.main_root])
    }

    /// The critical path of the main root: see [`Section`].
    pub fn critical_path(&self) -> Vec<Section> {
        path::critical_path(self)
    }

    fn find_main_root(&self) -> usize {
        let rank = |&row: &usize| summary::root_rank(&self.spans[row]);
        self.roots().min_by_key(rank).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
