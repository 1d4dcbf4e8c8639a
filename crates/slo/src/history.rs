//! Counts by minute, for as long as the longest period, in little memory.
//!
//! In: counts for a cell (a minute, or a time slice). Out: the counts of a cell, and what a range of cells weighs. Cells
//! are kept in blocks of [`BLOCK`], each a string of bytes: of every cell up to the last that was measured a variable-length
//! number, 0 where it was not measured, else `2 × total + (any bad) + 1`, followed by the bad ones where there are any.
//! A minute without events takes a byte, one of up to 8,190 events two. The cell that was counted in last is kept open
//! beside them, because the next count is almost always for the same one.
//!
//! Deliberately absent: time. A history has as many blocks as it was told, the newest that hold anything; when a new one
//! needs room, the oldest goes. A clock that runs ahead for a while therefore takes nothing away that is not also pushed
//! out by counts.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::counts::{Counts, Sums};
use crate::objective::Budgeting;

/// Cells in a block: 4 h of minutes. A count that comes late costs reading and writing one block; more cells would make
/// that dearer, fewer would have more overhead than contents.
const BLOCK: i64 = 240;

/// Blocks beyond the period's: two days of minutes may be stamped ahead of the clock before anything of the period goes.
const SPARE: usize = 12;

#[derive(Debug, Clone)]
pub(crate) struct History {
    blocks: BTreeMap<i64, Box<[u8]>>,
    /// The cell counted in last, which its block may know an earlier value of.
    open: Option<(i64, Counts)>,
    /// The first cell that was ever measured.
    first: Option<i64>,
    /// Blocks that were counted in since they were saved.
    changed: BTreeSet<i64>,
    blocks_max: usize,
}

/// A block of a history, to be kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedBlock {
    /// Which one: the number of its first cell since 1970-01-01 UTC, divided by 240.
    pub index: i64,
    /// Its contents; the form is this crate's.
    pub bytes: Vec<u8>,
}

impl History {
    /// For a period of so many cells.
    pub(crate) fn new(cells: u32) -> Self {
        let blocks_max = cells.div_ceil(BLOCK as u32) as usize + 1 + SPARE;
        Self { blocks: BTreeMap::new(), open: None, first: None, changed: BTreeSet::new(), blocks_max }
    }

    /// Adds to a cell. Answers what it held and holds, and whether something older had to go.
    pub(crate) fn count(&mut self, cell: i64, counts: Counts) -> Counted {
        let mut dropped = None;
        if self.open.is_none_or(|(open, _)| open != cell) {
            dropped = self.close();
            self.open = self.stored(cell).map(|stored| (cell, stored));
        }
        self.first = Some(self.first.map_or(cell, |first| first.min(cell)));
        let before = self.open.map(|(_, counts)| counts);
        let after = before.unwrap_or(Counts::NONE).plus(counts);
        self.open = Some((cell, after));
        self.changed.insert(cell.div_euclid(BLOCK));
        Counted { before, after, dropped }
    }

    /// What a range of cells weighs.
    pub(crate) fn weigh(&self, cells: Range<i64>, budgeting: Budgeting) -> Sums {
        let mut sums = Sums::default();
        self.each(cells, |_, counts| sums.add(budgeting.weigh(Some(counts))));
        sums
    }

    /// Calls `f` for every measured cell of a range, blocks in their order; the open cell comes last.
    pub(crate) fn each(&self, cells: Range<i64>, mut f: impl FnMut(i64, Counts)) {
        if cells.is_empty() {
            return;
        }
        let open = self.open.map(|(cell, _)| cell);
        let blocks = cells.start.div_euclid(BLOCK)..=(cells.end - 1).div_euclid(BLOCK);
        for (index, bytes) in self.blocks.range(blocks) {
            for (at, counts) in Tokens(bytes).enumerate() {
                let cell = index * BLOCK + at as i64;
                if cell >= cells.end {
                    break;
                }
                match counts {
                    Some(counts) if cell >= cells.start && Some(cell) != open => f(cell, counts),
                    _ => {}
                }
            }
        }
        match self.open {
            Some((cell, counts)) if cells.contains(&cell) => f(cell, counts),
            _ => {}
        }
    }

    /// The first cell that was ever measured, or one before; `None` where none was.
    pub(crate) fn first(&self) -> Option<i64> {
        self.first
    }

    /// The blocks, to be kept elsewhere.
    pub(crate) fn save(&self) -> Vec<SavedBlock> {
        let mut closed = self.clone();
        closed.close();
        closed
            .blocks
            .into_iter()
            .map(|(index, bytes)| SavedBlock { index, bytes: bytes.into_vec() })
            .collect()
    }

    /// The blocks that changed since the last call, the oldest that is kept, and whether something older had to go.
    pub(crate) fn save_changed(&mut self) -> (Vec<SavedBlock>, Option<i64>, Option<Range<i64>>) {
        let open = self.open;
        let dropped = self.close();
        // It goes on to be counted in.
        self.open = open;
        let changed = std::mem::take(&mut self.changed);
        let saved = changed
            .into_iter()
            .filter_map(|index| Some(SavedBlock { index, bytes: self.blocks.get(&index)?.to_vec() }));
        (saved.collect(), self.blocks.first_key_value().map(|(index, _)| *index), dropped)
    }

    /// Counts every block as changed.
    pub(crate) fn save_all_next(&mut self) {
        self.changed.extend(self.blocks.keys());
    }

    /// Takes blocks up again. `None` where one is none, or there are too many.
    pub(crate) fn restore(&mut self, saved: Vec<SavedBlock>) -> Option<()> {
        let mut blocks: BTreeMap<i64, Box<[u8]>> = BTreeMap::new();
        for SavedBlock { index, bytes } in saved {
            // Beyond these the number of a cell would not be one; time itself ends long before.
            let in_range = (i64::MIN / (2 * BLOCK)..i64::MAX / (2 * BLOCK)).contains(&index);
            if !in_range || !is_block(&bytes) || blocks.insert(index, bytes.into()).is_some() {
                return None;
            }
        }
        if blocks.len() > self.blocks_max {
            return None;
        }
        let first = blocks.first_key_value().and_then(|(index, bytes)| {
            Some(index * BLOCK + Tokens(bytes).position(|counts| counts.is_some())? as i64)
        });
        (self.blocks, self.open, self.first) = (blocks, None, first);
        self.changed.clear();
        Some(())
    }

    /// Bytes on the heap, without what the allocator adds.
    pub(crate) fn heap_bytes(&self) -> usize {
        let entry = size_of::<i64>() + size_of::<Box<[u8]>>();
        self.blocks.values().map(|bytes| entry + bytes.len()).sum()
    }

    fn stored(&self, cell: i64) -> Option<Counts> {
        let bytes = self.blocks.get(&cell.div_euclid(BLOCK))?;
        Tokens(bytes).nth(cell.rem_euclid(BLOCK) as usize).flatten()
    }

    /// Puts the open cell into its block. Answers the cells of a block that had to go.
    fn close(&mut self) -> Option<Range<i64>> {
        let (cell, counts) = self.open.take()?;
        let (index, at) = (cell.div_euclid(BLOCK), cell.rem_euclid(BLOCK) as usize);
        let bytes = self.blocks.entry(index).or_default();
        let mut written = Vec::with_capacity(bytes.len() + 4);
        let mut known = Tokens(bytes);
        for _ in 0..at {
            write_token(&mut written, known.next().flatten());
        }
        known.next();
        write_token(&mut written, Some(counts));
        for token in known {
            write_token(&mut written, token);
        }
        *bytes = written.into();
        if self.blocks.len() <= self.blocks_max {
            return None;
        }
        let (oldest, _) = self.blocks.pop_first()?;
        Some(oldest * BLOCK..(oldest + 1) * BLOCK)
    }
}

/// What became of a count.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    /// What the cell held; `None` where it was not measured.
    pub(crate) before: Option<Counts>,
    /// What it holds.
    pub(crate) after: Counts,
    /// The cells that had to go for it.
    pub(crate) dropped: Option<Range<i64>>,
}

/// The cells of a block from its first on. What cannot be read is as if it were not there; see [`is_block`].
struct Tokens<'a>(&'a [u8]);

impl Iterator for Tokens<'_> {
    type Item = Option<Counts>;

    fn next(&mut self) -> Option<Option<Counts>> {
        let token = read_number(&mut self.0)?;
        let Some(token) = token.checked_sub(1) else { return Some(None) };
        let bad = if token & 1 == 1 { read_number(&mut self.0)? } else { 0 };
        Some(Some(Counts::of_bad(bad, token >> 1)))
    }
}

fn write_token(bytes: &mut Vec<u8>, counts: Option<Counts>) {
    let Some(counts) = counts else { return bytes.push(0) };
    let any_bad = u64::from(counts.bad() > 0);
    write_number(bytes, counts.total() * 2 + any_bad + 1);
    if any_bad == 1 {
        write_number(bytes, counts.bad());
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate().take(9) {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *bytes = &bytes[at + 1..];
            return Some(number);
        }
    }
    None
}

/// Whether bytes from elsewhere are a block as [`History::close`] writes it.
fn is_block(bytes: &[u8]) -> bool {
    let mut written = Vec::with_capacity(bytes.len());
    let tokens: Vec<_> = Tokens(bytes).take(BLOCK as usize + 1).collect();
    tokens.iter().for_each(|token| write_token(&mut written, *token));
    tokens.len() <= BLOCK as usize && written == bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(history: &History, range: Range<i64>) -> Vec<(i64, u64, u64)> {
        let mut found = Vec::new();
        history.each(range, |cell, counts| found.push((cell, counts.bad(), counts.total())));
        found.sort_unstable();
        found
    }

    #[test]
    fn cells_come_back_in_any_order_of_counting() {
        let mut history = History::new(1440);
        for (cell, bad, total) in
            [(1000, 0, 3), (1001, 2, 9000), (1000, 1, 1), (-5, 0, 0), (1001, 0, 1 << 40)]
        {
            history.count(cell, Counts::of_bad(bad, total));
        }
        let all = [(-5, 0, 0), (1000, 1, 4), (1001, 2, 9000 + (1 << 40))];
        assert_eq!(cells(&history, -100..2000), all);
        assert_eq!(cells(&history, 1000..1001), [all[1]]);
        let mut restored = History::new(1440);
        restored.restore(history.save()).unwrap();
        assert_eq!(cells(&restored, -100..2000), all);
    }

    #[test]
    fn the_oldest_block_goes_and_only_it() {
        let mut history = History::new(240);
        let blocks = history.blocks_max as i64;
        for block in 0..blocks {
            assert_eq!(history.count(block * BLOCK, Counts::of_bad(0, 1)).dropped, None);
        }
        assert_eq!(history.count(blocks * BLOCK, Counts::of_bad(0, 1)).dropped, None, "it is still open");
        assert_eq!(history.count((blocks + 1) * BLOCK, Counts::of_bad(0, 1)).dropped, Some(0..BLOCK));
        assert_eq!(cells(&history, 0..2 * BLOCK), [(BLOCK, 0, 1)]);
    }

    #[test]
    fn what_is_no_block_is_not_taken_up() {
        let mut history = History::new(240);
        let block = |bytes: &[u8]| vec![SavedBlock { index: 7, bytes: bytes.to_vec() }];
        for bytes in [&[0x80][..], &[4], &[4, 9], &[0x80, 0x00], &[0xff; 12], &[0; 241]] {
            assert_eq!(history.restore(block(bytes)), None, "{bytes:?}");
        }
        assert_eq!(history.restore(block(&[4, 1])), Some(()));
        assert_eq!(cells(&history, 0..10_000), [(7 * BLOCK, 1, 1)]);
    }

    #[test]
    fn a_busy_period_of_30_days_takes_less_than_100_kib() {
        let mut history = History::new(43_200);
        for minute in 0..43_200 {
            history.count(minute, Counts::of_bad(u64::from(minute % 100 == 0), 600));
        }
        assert!(history.heap_bytes() < 100 * 1024, "{}", history.heap_bytes());
    }
}
