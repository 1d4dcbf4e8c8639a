//! A column of byte strings: a dictionary while values repeat, one entry a row where they do not.

use std::borrow::Cow;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::same::same;

/// How rows find their entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Form {
    /// Rows hold codes of distinct entries.
    #[default]
    Dictionary,
    /// Row and entry are the same: hashing values that never repeat would be work for nothing.
    Plain,
}

/// A column of byte strings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Strings {
    form: Form,
    heap: Vec<u8>,
    /// Where each entry ends in `heap`.
    ends: Vec<u32>,
    /// The entry of each row; empty in plain form.
    codes: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
    /// The entry of the last row: neighbours are often the same.
    last: u32,
}

/// A column with fewer rows than this says nothing about whether its values repeat.
const ROWS_TO_JUDGE: usize = 256;

impl Strings {
    /// A column read from a block.
    pub(crate) fn from_parts(form: Form, heap: Vec<u8>, ends: Vec<u32>, codes: Vec<u32>) -> Self {
        Self { form, heap, ends, codes, ..Self::default() }
    }

    /// Rows.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self.form {
            Form::Dictionary => self.codes.len(),
            Form::Plain => self.ends.len(),
        }
    }

    /// Distinct entries, or rows in plain form.
    pub(crate) fn entries(&self) -> usize {
        self.ends.len()
    }

    /// Appends a row; answers its code.
    #[inline]
    pub(crate) fn push(&mut self, value: &[u8]) -> u32 {
        if self.form == Form::Plain {
            return self.add_entry(value);
        }
        let code = self.intern(value);
        self.codes.push(code);
        code
    }

    /// Appends a row of text; bytes that are not UTF-8 are replaced, which is looked at only where a value is new.
    #[inline]
    pub(crate) fn push_text(&mut self, value: &[u8]) -> u32 {
        if self.form == Form::Plain {
            return self.add_entry(&valid(value));
        }
        let code = self.intern_text(value);
        self.codes.push(code);
        code
    }

    /// The code of text, which becomes an entry if it is not one; appends no row. Dictionary form only.
    #[inline]
    pub(crate) fn intern_text(&mut self, value: &[u8]) -> u32 {
        match self.lookup(value) {
            Ok(code) => code,
            Err(hash) => match valid(value) {
                Cow::Borrowed(value) => self.insert(hash, value),
                Cow::Owned(replaced) => self.intern(&replaced),
            },
        }
    }

    /// The code of `value`, which becomes an entry if it is not one; appends no row. Dictionary form only.
    #[inline]
    pub(crate) fn intern(&mut self, value: &[u8]) -> u32 {
        match self.lookup(value) {
            Ok(code) => code,
            Err(hash) => self.insert(hash, value),
        }
    }

    /// The code of `value`, or its hash where it is not an entry yet.
    #[inline]
    fn lookup(&mut self, value: &[u8]) -> Result<u32, u64> {
        debug_assert_eq!(self.form, Form::Dictionary);
        if (self.last as usize) < self.ends.len() && same(self.entry(self.last), value) {
            return Ok(self.last);
        }
        let hash = self.hasher.hash_one(value);
        let (heap, ends) = (&self.heap, &self.ends);
        match self.index.find(hash, |&code| same(entry(heap, ends, code), value)) {
            Some(&code) => {
                self.last = code;
                Ok(code)
            }
            None => Err(hash),
        }
    }

    fn insert(&mut self, hash: u64, value: &[u8]) -> u32 {
        let code = self.add_entry(value);
        let (heap, ends, hasher) = (&self.heap, &self.ends, &self.hasher);
        self.index.insert_unique(hash, code, |&code| hasher.hash_one(entry(heap, ends, code)));
        self.last = code;
        code
    }

    /// Appends a row that holds an entry known by its code.
    #[inline]
    pub(crate) fn push_code(&mut self, code: u32) {
        self.codes.push(code);
    }

    fn add_entry(&mut self, value: &[u8]) -> u32 {
        let code = u32::try_from(self.ends.len()).expect("a batch has fewer than 2^32 rows");
        self.heap.extend_from_slice(value);
        self.ends.push(u32::try_from(self.heap.len()).expect("a batch is smaller than 4 GiB"));
        code
    }

    /// The value of entry `code`.
    #[inline]
    pub(crate) fn entry(&self, code: u32) -> &[u8] {
        entry(&self.heap, &self.ends, code)
    }

    /// The value of entry `code` as text; what is not UTF-8 was replaced when it came.
    pub(crate) fn text(&self, code: u32) -> &str {
        std::str::from_utf8(self.entry(code)).unwrap_or("\u{fffd}")
    }

    /// The code of row `row`.
    #[inline]
    pub(crate) fn code(&self, row: usize) -> u32 {
        match self.form {
            Form::Dictionary => self.codes[row],
            Form::Plain => row as u32,
        }
    }

    /// The code of `value`, looked for among the entries one by one.
    pub(crate) fn find(&self, value: &[u8]) -> Option<u32> {
        (0..self.ends.len() as u32).find(|&code| self.entry(code) == value)
    }

    /// The same rows with the entries they use alone, to be read: a part of a larger column holds no more than its own.
    pub(crate) fn used(self) -> Self {
        if self.form == Form::Plain {
            return self;
        }
        let mut used = Self::default();
        let mut known = vec![u32::MAX; self.entries()];
        for &code in &self.codes {
            let place = &mut known[code as usize];
            if *place == u32::MAX {
                *place = used.add_entry(self.entry(code));
            }
            used.codes.push(*place);
        }
        used
    }

    /// Takes back rows beyond the first `rows`. Entries of a dictionary stay: they cost a little room, no meaning.
    pub(crate) fn truncate(&mut self, rows: usize) {
        match self.form {
            Form::Dictionary => self.codes.truncate(rows),
            Form::Plain => {
                self.ends.truncate(rows);
                self.heap.truncate(self.ends.last().map_or(0, |&end| end as usize));
            }
        }
    }

    /// Empties the column for the next batch and keeps its room. What hardly repeated is kept plain from now on.
    pub(crate) fn clear(&mut self) {
        if self.form == Form::Dictionary && self.len() >= ROWS_TO_JUDGE && self.entries() > self.len() / 2 {
            self.form = Form::Plain;
        }
        self.reset();
    }

    /// Empties the column for the next batch; it stays a dictionary.
    pub(crate) fn clear_dictionary(&mut self) {
        self.reset();
    }

    fn reset(&mut self) {
        self.heap.clear();
        self.ends.clear();
        self.codes.clear();
        self.index.clear();
        self.last = 0;
    }

    /// Bytes held.
    pub(crate) fn weight(&self) -> usize {
        self.heap.len() + 4 * (self.ends.len() + self.codes.len())
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    pub(crate) fn heap(&self) -> &[u8] {
        &self.heap
    }

    pub(crate) fn ends(&self) -> &[u32] {
        &self.ends
    }

    pub(crate) fn codes(&self) -> &[u32] {
        &self.codes
    }
}

/// `value` as UTF-8, with U+FFFD for what is none.
fn valid(value: &[u8]) -> Cow<'_, [u8]> {
    match String::from_utf8_lossy(value) {
        Cow::Borrowed(_) => Cow::Borrowed(value),
        Cow::Owned(replaced) => Cow::Owned(replaced.into_bytes()),
    }
}

#[inline]
fn entry<'a>(heap: &'a [u8], ends: &[u32], code: u32) -> &'a [u8] {
    let code = code as usize;
    let start = if code == 0 { 0 } else { ends[code - 1] as usize };
    &heap[start..ends[code] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_an_entry() {
        let mut column = Strings::default();
        let codes: Vec<u32> =
            ["GET", "POST", "GET", "", "POST"].iter().map(|v| column.push(v.as_bytes())).collect();
        assert_eq!(codes, [0, 1, 0, 2, 1]);
        assert_eq!(column.entries(), 3);
        assert_eq!(column.text(column.code(4)), "POST");
    }

    #[test]
    fn what_never_repeats_becomes_plain_with_the_next_batch() {
        let mut column = Strings::default();
        for i in 0..300u32 {
            column.push(&i.to_le_bytes());
        }
        column.clear();
        assert_eq!(column.form(), Form::Plain);
        column.push(b"a");
        column.push(b"a");
        assert_eq!((column.len(), column.entries()), (2, 2));
        column.truncate(1);
        assert_eq!((column.len(), column.heap()), (1, &b"a"[..]));
    }

    #[test]
    fn text_that_is_not_utf8_is_replaced() {
        let mut column = Strings::default();
        let code = column.push_text(b"a\xffb");
        assert_eq!(column.text(code), "a\u{fffd}b");
        assert_eq!(column.push_text(b"a\xffb"), code);
    }

    #[test]
    fn entries_that_no_row_uses_are_left_out_and_rows_read_as_before() {
        let ends = vec![1, 3, 6, 7];
        let column = Strings::from_parts(Form::Dictionary, b"abbcccd".to_vec(), ends, vec![3, 1, 1, 3]);
        let used = column.used();
        let rows: Vec<&str> = (0..used.len()).map(|row| used.text(used.code(row))).collect();
        assert_eq!((&*rows, used.entries()), (&["d", "bb", "bb", "d"][..], 2));
    }

    #[test]
    fn truncated_rows_are_gone_and_the_rest_reads_back() {
        let mut column = Strings::default();
        column.push(b"a");
        column.push(b"b");
        column.truncate(1);
        column.push(b"b");
        assert_eq!(column.len(), 2);
        assert_eq!(column.entry(column.code(1)), b"b");
    }
}
