//! Sums over rolling windows that are kept, not counted again.
//!
//! In: counts with the minute they belong to, late ones as well, and the minute it is now. Out: the sums of every window.
//! A window of n minutes is the running minute and the n − 1 before it, so that it never looks further back than its
//! length, and the newest events are in it as soon as they are counted. When the minute changes, what left a window is
//! taken off and what came is added: the cost is that of the minutes that passed, whichever way the clock went, and at
//! most one recount of the window.
//!
//! Deliberately absent: a clock, targets, alerts.

use std::ops::Range;

use crate::counts::{Counts, Sums};
use crate::history::{History, SavedBlock};
use crate::minutes::Minutes;
use crate::objective::Budgeting;

#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    budgeting: Budgeting,
    history: History,
    windows: Box<[Window]>,
    /// The last cell of every window; `None` until the first look.
    head: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) length: Minutes,
    /// The length in cells.
    pub(crate) cells: u32,
    pub(crate) sums: Sums,
}

impl Ledger {
    /// With windows of these lengths, sorted.
    pub(crate) fn new(budgeting: Budgeting, windows: &[Minutes]) -> Self {
        let cell = budgeting.cell().get();
        let window = |length: &Minutes| Window {
            length: *length,
            cells: length.get().div_ceil(cell).max(1),
            sums: Sums::default(),
        };
        let windows: Box<[Window]> = windows.iter().map(window).collect();
        let longest = windows.iter().map(|window| window.cells).max().unwrap_or(1);
        Self { budgeting, history: History::new(longest), windows, head: None }
    }

    /// Counts events of a minute since 1970-01-01 UTC.
    pub(crate) fn count(&mut self, minute: i64, counts: Counts) {
        let cell = self.cell(minute);
        let counted = self.history.count(cell, counts);
        let Some(head) = self.head else { return };
        let before = self.budgeting.weigh(counted.before);
        let after = self.budgeting.weigh(Some(counted.after));
        for window in &mut self.windows {
            if window.reaches(cell, head) {
                window.sums.add(after);
                window.sums.subtract(before);
            }
        }
        self.forget(counted.dropped, head);
    }

    /// What had to go was older than every window, unless the clock ran ahead: then they are counted anew.
    fn forget(&mut self, dropped: Option<Range<i64>>, head: i64) {
        let longest = self.windows.last().map_or(0, |window| i64::from(window.cells));
        if dropped.is_some_and(|dropped| dropped.end > head - longest + 1) {
            self.recount(head);
        }
    }

    /// Moves every window to end with a minute.
    pub(crate) fn advance(&mut self, minute: i64) {
        let head = self.cell(minute);
        let Some(from) = self.head else { return self.recount(head) };
        let moved = head - from;
        if moved == 0 {
            return;
        }
        let (history, budgeting) = (&self.history, self.budgeting);
        for window in &mut self.windows {
            let cells = i64::from(window.cells);
            let all = |head: i64| head - cells + 1..head + 1;
            if moved.unsigned_abs() >= cells.unsigned_abs() {
                window.sums = history.weigh(all(head), budgeting);
                continue;
            }
            let (left, came) = if moved > 0 {
                (all(from).start..all(head).start, all(from).end..all(head).end)
            } else {
                (all(head).end..all(from).end, all(head).start..all(from).start)
            };
            window.sums.subtract(history.weigh(left, budgeting));
            window.sums.add(history.weigh(came, budgeting));
        }
        self.head = Some(head);
    }

    /// The windows, the shortest first.
    pub(crate) fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// The first minute that was ever measured, or one before; `None` where none was.
    pub(crate) fn first_minute(&self) -> Option<i64> {
        self.history.first().map(|cell| cell * i64::from(self.budgeting.cell().get()))
    }

    /// Where the window of a length is; `None` where there is none.
    pub(crate) fn position(&self, length: Minutes) -> Option<usize> {
        self.windows.iter().position(|window| window.length == length)
    }

    /// What leaves the longest window in the cells to come, as how many cells from now and what it weighs, in order.
    pub(crate) fn leaving(&self, window: &Window) -> Vec<(i64, Sums)> {
        let Some(head) = self.head else { return Vec::new() };
        let first = head - i64::from(window.cells) + 1;
        let mut leaving = Vec::new();
        self.history.each(first..head + 1, |cell, counts| {
            leaving.push((cell - first + 1, self.budgeting.weigh(Some(counts))));
        });
        leaving.sort_unstable_by_key(|(after, _)| *after);
        leaving
    }

    pub(crate) fn save(&self) -> Vec<SavedBlock> {
        self.history.save()
    }

    pub(crate) fn save_changed(&mut self) -> (Vec<SavedBlock>, Option<i64>) {
        let (saved, oldest, dropped) = self.history.save_changed();
        if let Some(head) = self.head {
            self.forget(dropped, head);
        }
        (saved, oldest)
    }

    pub(crate) fn save_all_next(&mut self) {
        self.history.save_all_next();
    }

    /// What was counted in the minutes of a range: the first minute of each cell with its counts, in no order.
    pub(crate) fn counts(&self, minutes: Range<i64>) -> Vec<(i64, Counts)> {
        let each = i64::from(self.budgeting.cell().get());
        let cells = self.cell(minutes.start)..self.cell(minutes.end.saturating_sub(1)).saturating_add(1);
        let mut found = Vec::new();
        self.history.each(cells, |cell, counts| found.push((cell * each, counts)));
        found
    }

    pub(crate) fn restore(&mut self, blocks: Vec<SavedBlock>) -> Option<()> {
        self.history.restore(blocks)?;
        self.head = None;
        Some(())
    }

    /// Bytes on the heap, without what the allocator adds.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.history.heap_bytes() + size_of_val(&*self.windows)
    }

    fn cell(&self, minute: i64) -> i64 {
        minute.div_euclid(i64::from(self.budgeting.cell().get()))
    }

    fn recount(&mut self, head: i64) {
        for window in &mut self.windows {
            let cells = head - i64::from(window.cells) + 1..head + 1;
            window.sums = self.history.weigh(cells, self.budgeting);
        }
        self.head = Some(head);
    }
}

impl Window {
    fn reaches(&self, cell: i64, head: i64) -> bool {
        cell <= head && cell > head - i64::from(self.cells)
    }
}
