//! The index of a part: which series it has, and where their chunks are.
//!
//! ```text
//! head:     strings u32 │ series u32 │ labels u32 │ base time i64 │ bytes of strings, series, postings u64 each
//! strings:  where each begins u32, and the end │ text
//! series:   where each begins u32, and the end │ each: labels as numbers of strings, chunks
//! labels:   name u32, value u32, where its series begin u32, how many u32; sorted
//! postings: of each label the series, as differences
//! ```
//!
//! Strings are sorted, so numbers compare as texts do, and series are sorted by labels.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use promql::Labels;

use super::{Chunk, Part, PartError};
use crate::bytes::{Damaged, Reader, put_varint};
use crate::lock;
use crate::matching::Postings;

const HEAD_BYTES: usize = 12 + 8 + 24;
const LABEL_BYTES: usize = 16;

/// What an index is written from.
pub(super) struct Contents<'a> {
    pub(super) strings: &'a [Arc<str>],
    /// Of each series its labels as numbers of strings, and its chunks as bytes; sorted by labels.
    pub(super) series: &'a [(Range<usize>, Range<usize>)],
    pub(super) labels: &'a [(u32, u32)],
    pub(super) chunks: &'a [u8],
    pub(super) base_ms: i64,
}

/// Writes an index. Numbers of strings in `contents` are theirs; they are sorted here.
pub(super) fn bytes_of(contents: &Contents<'_>) -> Result<Vec<u8>, TooLarge> {
    let mut order: Vec<u32> = (0..contents.strings.len() as u32).collect();
    order.sort_unstable_by(|a, b| contents.strings[*a as usize].cmp(&contents.strings[*b as usize]));
    let mut rank = vec![0u32; order.len()];
    for (place, number) in order.iter().enumerate() {
        rank[*number as usize] = place as u32;
    }
    let mut texts = Section::default();
    for number in &order {
        texts.add(|bytes| bytes.extend_from_slice(contents.strings[*number as usize].as_bytes()))?;
    }
    let mut by_label: HashMap<(u32, u32), Vec<u32>, RandomState> = HashMap::default();
    let mut series = Section::default();
    for (id, (labels, chunks)) in contents.series.iter().enumerate() {
        let labels = &contents.labels[labels.clone()];
        series.add(|bytes| {
            put_varint(bytes, labels.len() as u64);
            for (name, value) in labels {
                let label = (rank[*name as usize], rank[*value as usize]);
                put_varint(bytes, label.0.into());
                put_varint(bytes, label.1.into());
                by_label.entry(label).or_default().push(id as u32);
            }
            bytes.extend_from_slice(&contents.chunks[chunks.clone()]);
        })?;
    }
    let mut by_label: Vec<((u32, u32), Vec<u32>)> = by_label.into_iter().collect();
    by_label.sort_unstable_by_key(|(label, _)| *label);
    let mut table = Vec::with_capacity(by_label.len() * LABEL_BYTES);
    let mut postings = Vec::new();
    for ((name, value), ids) in &by_label {
        let begin = u32::try_from(postings.len()).map_err(|_| TooLarge)?;
        for number in [*name, *value, begin, ids.len() as u32] {
            table.extend_from_slice(&number.to_le_bytes());
        }
        let mut before = 0;
        for id in ids {
            put_varint(&mut postings, u64::from(id - before));
            before = *id;
        }
    }
    let mut out = Vec::new();
    for count in [order.len(), contents.series.len(), by_label.len()] {
        out.extend_from_slice(&u32::try_from(count).map_err(|_| TooLarge)?.to_le_bytes());
    }
    out.extend_from_slice(&contents.base_ms.to_le_bytes());
    for len in [texts.bytes.len(), series.bytes.len(), postings.len()] {
        out.extend_from_slice(&(len as u64).to_le_bytes());
    }
    texts.put(&mut out);
    series.put(&mut out);
    out.extend_from_slice(&table);
    out.extend_from_slice(&postings);
    Ok(out)
}

/// More than an index can hold: four GiB of any kind.
#[derive(Debug, thiserror::Error)]
#[error("a block has too many series for its index")]
pub(super) struct TooLarge;

/// Entries of any length.
#[derive(Default)]
struct Section {
    begins: Vec<u32>,
    bytes: Vec<u8>,
}

impl Section {
    fn add(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), TooLarge> {
        self.begins.push(self.bytes.len() as u32);
        put(&mut self.bytes);
        if u32::try_from(self.bytes.len()).is_ok() { Ok(()) } else { Err(TooLarge) }
    }

    fn put(&self, out: &mut Vec<u8>) {
        self.begins.iter().for_each(|begin| out.extend_from_slice(&begin.to_le_bytes()));
        out.extend_from_slice(&(self.bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.bytes);
    }
}

/// An index in memory.
#[derive(Debug)]
pub(crate) struct PartIndex {
    bytes: Vec<u8>,
    strings: Table,
    series: Table,
    /// Where the labels' table lies.
    labels: Range<usize>,
    postings: Range<usize>,
    base_ms: i64,
}

/// Where entries of any length lie.
#[derive(Debug)]
struct Table {
    begins: Range<usize>,
    entries: Range<usize>,
}

impl Table {
    fn len(&self) -> usize {
        self.begins.len() / 4 - 1
    }
}

impl PartIndex {
    /// Takes an index that was read, and looks whether its parts are where they should be.
    pub(crate) fn read(bytes: Vec<u8>) -> Result<Self, Damaged> {
        let mut reader = Reader::new(&bytes);
        let counts = [reader.u32()?, reader.u32()?, reader.u32()?].map(|count| count as usize);
        let base_ms = reader.i64()?;
        let mut lens = [0; 3];
        for len in &mut lens {
            *len = usize::try_from(reader.u64()?).map_err(|_| Damaged)?;
        }
        let mut at = HEAD_BYTES;
        let mut next = |len: usize| -> Result<Range<usize>, Damaged> {
            let end = at.checked_add(len).filter(|end| *end <= bytes.len()).ok_or(Damaged)?;
            Ok(std::mem::replace(&mut at, end)..end)
        };
        let strings = Table { begins: next((counts[0] + 1) * 4)?, entries: next(lens[0])? };
        let series = Table { begins: next((counts[1] + 1) * 4)?, entries: next(lens[1])? };
        let labels = next(counts[2] * LABEL_BYTES)?;
        let postings = next(lens[2])?;
        if at != bytes.len() {
            return Err(Damaged);
        }
        Ok(Self { strings, series, labels, postings, base_ms, bytes })
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// Bytes it takes.
    fn weight(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn number(&self, at: usize) -> Result<u32, Damaged> {
        let bytes = self.bytes.get(at..at + 4).ok_or(Damaged)?;
        Ok(u32::from_le_bytes(bytes.try_into().map_err(|_| Damaged)?))
    }

    fn entry(&self, table: &Table, place: usize) -> Result<&[u8], Damaged> {
        if place >= table.len() {
            return Err(Damaged);
        }
        let at = table.begins.start + place * 4;
        let (begin, end) = (self.number(at)? as usize, self.number(at + 4)? as usize);
        self.bytes[table.entries.clone()].get(begin..end).ok_or(Damaged)
    }

    /// A string by its number.
    pub(crate) fn string(&self, number: u32) -> Result<&str, Damaged> {
        std::str::from_utf8(self.entry(&self.strings, number as usize)?).map_err(|_| Damaged)
    }

    /// The number of a string.
    fn number_of(&self, text: &str) -> Result<Option<u32>, Damaged> {
        let found = search(self.strings.len(), |place| Ok(self.string(place as u32)?.cmp(text)))?;
        Ok(found.map(|place| place as u32))
    }

    /// A series: its labels as numbers of strings, then its chunks.
    fn series(&self, id: u32) -> Result<(Vec<(u32, u32)>, Reader<'_>), Damaged> {
        let mut reader = Reader::new(self.entry(&self.series, id as usize)?);
        let mut labels = Vec::new();
        for _ in 0..reader.varint()? {
            let mut number = || u32::try_from(reader.varint()?).map_err(|_| Damaged);
            labels.push((number()?, number()?));
        }
        Ok((labels, reader))
    }

    /// The labels of a series.
    pub(crate) fn labels(&self, id: u32, strings: &mut Strings) -> Result<Labels, Damaged> {
        let (numbers, _) = self.series(id)?;
        let mut pairs = Vec::with_capacity(numbers.len());
        for (name, value) in numbers {
            pairs.push((strings.get(self, name)?, strings.get(self, value)?));
        }
        Ok(Labels::new(pairs))
    }

    /// The chunks of a series, as they were written.
    pub(crate) fn chunks(&self, id: u32) -> Result<Vec<Chunk>, Damaged> {
        let (_, mut reader) = self.series(id)?;
        let mut chunks = Vec::new();
        while !reader.is_empty() {
            chunks.push(Chunk::read(&mut reader, self.base_ms)?);
        }
        Ok(chunks)
    }

    /// The series with exactly these labels.
    pub(crate) fn find(&self, labels: &Labels) -> Result<Option<u32>, Damaged> {
        let found = search(self.len(), |id| {
            let (numbers, _) = self.series(id as u32)?;
            let mut ours = numbers.iter();
            for theirs in labels.iter() {
                let Some((name, value)) = ours.next() else { return Ok(Ordering::Less) };
                let order = (self.string(*name)?, self.string(*value)?).cmp(&theirs);
                if order != Ordering::Equal {
                    return Ok(order);
                }
            }
            Ok(if ours.next().is_some() { Ordering::Greater } else { Ordering::Equal })
        })?;
        Ok(found.map(|id| id as u32))
    }

    /// A label by its place among all labels: name, value, where its series begin, how many.
    fn label(&self, place: usize) -> Result<[u32; 4], Damaged> {
        let at = self.labels.start + place * LABEL_BYTES;
        Ok([self.number(at)?, self.number(at + 4)?, self.number(at + 8)?, self.number(at + 12)?])
    }

    fn labels_len(&self) -> usize {
        self.labels.len() / LABEL_BYTES
    }

    /// The places of the labels of a name.
    fn labels_of(&self, name: u32) -> Result<Range<usize>, Damaged> {
        let begin = partition(self.labels_len(), |place| Ok(self.label(place)?[0] < name))?;
        let end = partition(self.labels_len(), |place| Ok(self.label(place)?[0] <= name))?;
        Ok(begin..end)
    }

    fn ids(&self, [_, _, begin, count]: [u32; 4], ids: &mut Vec<u32>) -> Result<(), Damaged> {
        let bytes = self.bytes[self.postings.clone()].get(begin as usize..).ok_or(Damaged)?;
        let mut reader = Reader::new(bytes);
        let mut id = 0u32;
        for _ in 0..count {
            let difference = u32::try_from(reader.varint()?).map_err(|_| Damaged)?;
            id = id.checked_add(difference).ok_or(Damaged)?;
            ids.push(id);
        }
        Ok(())
    }

    /// Names of labels.
    pub(crate) fn names(&self) -> Result<Vec<&str>, Damaged> {
        let mut names = Vec::new();
        let mut place = 0;
        while place < self.labels_len() {
            let name = self.label(place)?[0];
            names.push(self.string(name)?);
            place = self.labels_of(name)?.end;
        }
        Ok(names)
    }

    /// Values of a label.
    pub(crate) fn values(&self, name: &str) -> Result<Vec<&str>, Damaged> {
        let Some(name) = self.number_of(name)? else { return Ok(Vec::new()) };
        self.labels_of(name)?.map(|place| self.string(self.label(place)?[1])).collect()
    }
}

impl Postings for PartIndex {
    type Error = Damaged;

    fn all(&self) -> Result<Vec<u32>, Damaged> {
        Ok((0..self.len() as u32).collect())
    }

    fn with(&self, name: &str, value: &str) -> Result<Vec<u32>, Damaged> {
        let (Some(name), Some(value)) = (self.number_of(name)?, self.number_of(value)?) else {
            return Ok(Vec::new());
        };
        let found = search(self.labels_len(), |place| {
            let label = self.label(place)?;
            Ok((label[0], label[1]).cmp(&(name, value)))
        })?;
        let mut ids = Vec::new();
        if let Some(place) = found {
            self.ids(self.label(place)?, &mut ids)?;
        }
        Ok(ids)
    }

    fn matching(&self, name: &str, holds: &dyn Fn(&str) -> bool) -> Result<Vec<u32>, Damaged> {
        let mut ids = Vec::new();
        let Some(name) = self.number_of(name)? else { return Ok(ids) };
        for place in self.labels_of(name)? {
            let label = self.label(place)?;
            if holds(self.string(label[1])?) {
                self.ids(label, &mut ids)?;
            }
        }
        Ok(ids)
    }

    fn test(&self, series: u32, name: &str, holds: &dyn Fn(&str) -> bool) -> Result<bool, Damaged> {
        for (number, value) in self.series(series)?.0 {
            if self.string(number)? == name {
                return Ok(holds(self.string(value)?));
            }
        }
        Ok(holds(""))
    }
}

/// Where something is in a sorted row.
fn search(
    len: usize,
    mut order: impl FnMut(usize) -> Result<Ordering, Damaged>,
) -> Result<Option<usize>, Damaged> {
    let place = partition(len, |place| Ok(order(place)? == Ordering::Less))?;
    Ok(if place < len && order(place)? == Ordering::Equal { Some(place) } else { None })
}

/// The first place of a sorted row for which `before` does not hold.
fn partition(len: usize, mut before: impl FnMut(usize) -> Result<bool, Damaged>) -> Result<usize, Damaged> {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// Strings of a part that were made already: most series share most of their labels.
#[derive(Debug, Default)]
pub(crate) struct Strings(HashMap<u32, Arc<str>, RandomState>);

impl Strings {
    fn get(&mut self, index: &PartIndex, number: u32) -> Result<Arc<str>, Damaged> {
        if let Some(text) = self.0.get(&number) {
            return Ok(Arc::clone(text));
        }
        let text: Arc<str> = index.string(number)?.into();
        self.0.insert(number, Arc::clone(&text));
        Ok(text)
    }
}

/// The indexes that were asked for last.
#[derive(Debug)]
pub(crate) struct IndexCache {
    bytes_max: u64,
    /// By the number of the part; the one asked for last stands last.
    held: Mutex<Vec<(u64, Arc<PartIndex>)>>,
}

impl IndexCache {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, held: Mutex::default() }
    }

    /// The index of a part.
    pub(crate) fn get(&self, part: &Part) -> Result<Arc<PartIndex>, PartError> {
        let number = part.foot.number;
        {
            let mut held = lock(&self.held);
            if let Some(at) = held.iter().position(|(other, _)| *other == number) {
                let entry = held.remove(at);
                let index = Arc::clone(&entry.1);
                held.push(entry);
                return Ok(index);
            }
        }
        let index = Arc::new(part.read_index()?);
        let mut held = lock(&self.held);
        held.retain(|(other, _)| *other != number);
        held.push((number, Arc::clone(&index)));
        let mut bytes: u64 = held.iter().map(|(_, index)| index.weight()).sum();
        while bytes > self.bytes_max && held.len() > 1 {
            bytes -= held.remove(0).1.weight();
        }
        Ok(index)
    }

    /// Lets go of the index of a part that is gone.
    pub(crate) fn forget(&self, number: u64) {
        lock(&self.held).retain(|(other, _)| *other != number);
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> u64 {
        lock(&self.held).iter().map(|(_, index)| index.weight()).sum()
    }
}
