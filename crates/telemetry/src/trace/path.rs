//! The critical path: which span decided at which instant how long the trace took.

use super::{Trace, tree};

/// A stretch of time in which one span decided how long the trace took: had it been shorter there, the trace would have
/// been.
///
/// The critical path of a trace is such stretches from the start of its main root to its end, by time, without a gap and
/// without overlap. The algorithm is CRISP's (Z. Zhang and others, "CRISP: Critical Path Analysis of Large-Scale
/// Microservice Architectures", USENIX ATC 2022, §4), walked backwards from the root's end: the child that finished last
/// held its parent up until it finished; before it started, the child that had finished last by then; and so into each
/// child. Children are cut to their parents' time first, those wholly outside do not count: nobody waited for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// The span's row.
    pub row: usize,
    /// Nanoseconds since 1970.
    pub start_unix_nano: u64,
    /// Nanoseconds since 1970, after the start.
    pub end_unix_nano: u64,
}

impl Section {
    /// Nanoseconds it takes.
    pub fn duration_nano(&self) -> u64 {
        self.end_unix_nano - self.start_unix_nano
    }
}

/// A span whose part of the path is being walked, from its end backwards.
struct Frame {
    row: usize,
    /// Children not walked yet, the one that finishes last at the end; of equal ones the one that starts first.
    children: Vec<usize>,
}

pub(super) fn critical_path(trace: &Trace) -> Vec<Section> {
    let root = trace.main_root();
    let cut = Cut::of(trace, root);
    let mut cursor = cut.end(root);
    let mut frames = vec![Frame { row: root, children: cut.children(trace, root) }];
    let mut path = Vec::new();
    while let Some(frame) = frames.last_mut() {
        let row = frame.row;
        while frame.children.last().is_some_and(|&child| cut.end(child) > cursor) {
            frame.children.pop();
        }
        let from = match frame.children.pop() {
            Some(child) => {
                frames.push(Frame { row: child, children: cut.children(trace, child) });
                cut.end(child)
            }
            None => {
                frames.pop();
                cut.start(row)
            }
        };
        if from < cursor {
            path.push(Section { row, start_unix_nano: from, end_unix_nano: cursor });
        }
        cursor = from;
    }
    path.reverse();
    path
}

/// The times of a subtree's spans, each cut to its parent's.
struct Cut {
    root: usize,
    times: Vec<(u64, u64)>,
}

impl Cut {
    fn of(trace: &Trace, root: usize) -> Self {
        let mut times: Vec<(u64, u64)> = Vec::with_capacity(trace.rows()[root].subtree);
        for row in trace.subtree(root) {
            let span = &trace.spans()[row];
            let parent = trace.rows()[row].parent.filter(|_| row != root).map(|parent| times[parent - root]);
            let (low, high) = parent.unwrap_or((0, u64::MAX));
            times.push((span.start_unix_nano.clamp(low, high), span.end_unix_nano().clamp(low, high)));
        }
        Self { root, times }
    }

    fn start(&self, row: usize) -> u64 {
        self.times[row - self.root].0
    }

    fn end(&self, row: usize) -> u64 {
        self.times[row - self.root].1
    }

    /// The children of a row that take time within it.
    fn children(&self, trace: &Trace, row: usize) -> Vec<usize> {
        let mut children: Vec<usize> =
            tree::children(trace.rows(), row).filter(|&child| self.start(child) < self.end(child)).collect();
        children.sort_by_key(|&child| (self.end(child), std::cmp::Reverse(child)));
        children
    }
}
