//! Attributes of many items: one typed column for each key and type, and for each item its *shape*.
//!
//! A shape is the list of columns an item has a value in, in the order in which they came. Code that makes spans makes
//! the same shape again and again, so an item costs one number for all its keys. While an item is built, the shape
//! that came last under the same hint (a span's name) is expected: a key that stands where it stood is found by
//! comparing its bytes once, without hashing. And where a whole attribute is, byte for byte, one of the few that came
//! last in that place, it is not even read ([`Recent`]).

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::recent::Recent;
use super::same::same;
use super::strings::{Form, Strings};

/// The type of an attribute's values in one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum AttributeType {
    /// UTF-8 text.
    Text = 0,
    /// Signed 64-bit integer.
    Int = 1,
    /// 64-bit floating point.
    Double = 2,
    /// True or false.
    Bool = 3,
    /// Bytes.
    Bytes = 4,
    /// A list, a map, or no value: OTLP's `AnyValue` message as it came.
    Any = 5,
}

impl AttributeType {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Text,
            1 => Self::Int,
            2 => Self::Double,
            3 => Self::Bool,
            4 => Self::Bytes,
            5 => Self::Any,
            _ => return None,
        })
    }

    /// The value that a column of numbers of this type keeps as `bits`.
    pub(crate) fn number(self, bits: u64) -> Scalar<'static> {
        match self {
            Self::Double => Scalar::Double(f64::from_bits(bits)),
            Self::Bool => Scalar::Bool(bits != 0),
            Self::Int | Self::Text | Self::Bytes | Self::Any => Scalar::Int(bits as i64),
        }
    }
}

/// One value, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar<'a> {
    /// UTF-8 text.
    Text(&'a [u8]),
    /// Signed 64-bit integer.
    Int(i64),
    /// 64-bit floating point.
    Double(f64),
    /// True or false.
    Bool(bool),
    /// Bytes.
    Bytes(&'a [u8]),
    /// OTLP's `AnyValue` message.
    Any(&'a [u8]),
}

impl Scalar<'_> {
    fn kind(&self) -> AttributeType {
        match self {
            Scalar::Text(_) => AttributeType::Text,
            Scalar::Int(_) => AttributeType::Int,
            Scalar::Double(_) => AttributeType::Double,
            Scalar::Bool(_) => AttributeType::Bool,
            Scalar::Bytes(_) => AttributeType::Bytes,
            Scalar::Any(_) => AttributeType::Any,
        }
    }
}

/// The values of one column.
#[derive(Debug, Clone)]
pub(crate) enum Values {
    /// Text, bytes and `AnyValue` messages.
    Strings(Strings),
    /// Integers, bits of doubles, booleans.
    Numbers(Vec<u64>),
}

impl Values {
    fn new(kind: AttributeType) -> Self {
        match kind {
            AttributeType::Text | AttributeType::Bytes | AttributeType::Any => {
                Self::Strings(Strings::default())
            }
            AttributeType::Int | AttributeType::Double | AttributeType::Bool => Self::Numbers(Vec::new()),
        }
    }

    /// Appends a value; answers what [`Values::repeat`] needs to append it again.
    #[inline]
    fn push(&mut self, value: Scalar<'_>) -> u64 {
        let number = match (&mut *self, value) {
            (Self::Strings(column), Scalar::Text(v)) => return column.push_text(v).into(),
            (Self::Strings(column), Scalar::Bytes(v) | Scalar::Any(v)) => return column.push(v).into(),
            (Self::Numbers(_), Scalar::Int(v)) => v as u64,
            (Self::Numbers(_), Scalar::Double(v)) => v.to_bits(),
            (Self::Numbers(_), Scalar::Bool(v)) => u64::from(v),
            _ => unreachable!("a column is made for the type of its values"),
        };
        self.repeat(number);
        number
    }

    /// Appends a value that was appended before.
    #[inline]
    fn repeat(&mut self, code: u64) {
        match self {
            Self::Strings(column) => column.push_code(code as u32),
            Self::Numbers(column) => column.push(code),
        }
    }

    /// Whether a value can be appended again by its code.
    fn repeats(&self) -> bool {
        !matches!(self, Self::Strings(column) if column.form() == Form::Plain)
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Strings(column) => column.len(),
            Self::Numbers(column) => column.len(),
        }
    }

    fn truncate(&mut self, len: usize) {
        match self {
            Self::Strings(column) => column.truncate(len),
            Self::Numbers(column) => column.truncate(len),
        }
    }

    fn clear(&mut self) {
        match self {
            Self::Strings(column) => column.clear(),
            Self::Numbers(column) => column.clear(),
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Strings(column) => column.weight(),
            Self::Numbers(column) => 8 * column.len(),
        }
    }
}

/// One column: its key, its type, its values in the order of the items that have them.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) key: Box<[u8]>,
    pub(crate) kind: AttributeType,
    pub(crate) values: Values,
    recent: Recent,
}

impl Column {
    /// A column with values.
    pub(crate) fn new(key: Box<[u8]>, kind: AttributeType, values: Values) -> Self {
        Self { key, kind, values, recent: Recent::default() }
    }

    /// The key; what is not UTF-8 was refused when it came.
    pub(crate) fn key(&self) -> &str {
        std::str::from_utf8(&self.key).unwrap_or("\u{fffd}")
    }

    /// Whether any value can satisfy `wanted`: asked of the entries of a dictionary, taken for granted elsewhere.
    pub(crate) fn can_hold(&self, wanted: impl Fn(Scalar<'_>) -> bool) -> bool {
        match (&self.values, self.kind) {
            (Values::Strings(column), AttributeType::Text) => {
                (0..column.entries() as u32).any(|code| wanted(Scalar::Text(column.entry(code))))
            }
            _ => true,
        }
    }

    /// The value at `rank`, counted among the items that have one.
    pub(crate) fn value(&self, rank: usize) -> Scalar<'_> {
        match (&self.values, self.kind) {
            (Values::Strings(column), AttributeType::Bytes) => Scalar::Bytes(column.entry(column.code(rank))),
            (Values::Strings(column), AttributeType::Any) => Scalar::Any(column.entry(column.code(rank))),
            (Values::Strings(column), _) => Scalar::Text(column.entry(column.code(rank))),
            (Values::Numbers(column), AttributeType::Double) => Scalar::Double(f64::from_bits(column[rank])),
            (Values::Numbers(column), AttributeType::Bool) => Scalar::Bool(column[rank] != 0),
            (Values::Numbers(column), _) => Scalar::Int(column[rank] as i64),
        }
    }
}

/// Whether an attribute was one that came lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeated {
    /// It was, and is added.
    Yes,
    /// It was not: it has to be read.
    No,
}

/// The columns an item has values in.
pub(crate) type Shape = Box<[u32]>;

/// The attributes of a sequence of items.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attributes {
    columns: Vec<Column>,
    by_key: HashTable<u32>,
    shapes: Vec<Shape>,
    by_columns: HashTable<u32>,
    /// The shape of each item.
    items: Vec<u32>,
    hasher: RandomState,
    /// The item being built.
    building: Vec<u32>,
    expected: u32,
    as_expected: bool,
}

impl Attributes {
    /// Attributes read from a block.
    pub(crate) fn from_parts(columns: Vec<Column>, shapes: Vec<Shape>, items: Vec<u32>) -> Self {
        Self { columns, shapes, items, ..Self::default() }
    }

    /// Begins an item that will probably have the shape `hint`.
    #[inline]
    pub(crate) fn begin(&mut self, hint: u32) {
        self.building.clear();
        self.expected = hint;
        self.as_expected = (hint as usize) < self.shapes.len();
    }

    /// How many values the item under way has.
    #[inline]
    pub(crate) fn begun(&self) -> usize {
        self.building.len()
    }

    /// Adds the attribute in `message` to the item under way, if it is one that came in this place lately.
    #[inline]
    pub(crate) fn repeat(&mut self, message: &[u8]) -> Repeated {
        let expected =
            self.shapes.get(self.expected as usize).and_then(|shape| shape.get(self.building.len()));
        let Some(&column) = expected else { return Repeated::No };
        let known = &mut self.columns[column as usize];
        let Some(code) = known.recent.find(message) else { return Repeated::No };
        known.values.repeat(code);
        self.building.push(column);
        Repeated::Yes
    }

    /// Adds a value to the item under way. `message` is the attribute as it came, to know it again.
    #[inline]
    pub(crate) fn push(&mut self, key: &[u8], value: Scalar<'_>, message: &[u8]) {
        let kind = value.kind();
        let column = match self.expected_column(key, kind) {
            Some(column) => column,
            None => self.column(key, kind),
        };
        let known = &mut self.columns[column as usize];
        let code = known.values.push(value);
        known.recent.add(message, code);
        self.building.push(column);
    }

    #[inline]
    fn expected_column(&mut self, key: &[u8], kind: AttributeType) -> Option<u32> {
        let shape = self.shapes.get(self.expected as usize)?;
        // A shape that lacks one key in the middle is met again one place further on; looking at the next place too
        // is not worth its branch: the item falls back to hashing once.
        let column = *shape.get(self.building.len())?;
        let known = &self.columns[column as usize];
        if known.kind == kind && same(&known.key, key) {
            return Some(column);
        }
        self.as_expected = false;
        None
    }

    fn column(&mut self, key: &[u8], kind: AttributeType) -> u32 {
        let hash = self.hasher.hash_one((key, kind));
        let columns = &self.columns;
        let same = |&column: &u32| {
            let known = &columns[column as usize];
            known.kind == kind && *known.key == *key
        };
        if let Some(&column) = self.by_key.find(hash, same) {
            return column;
        }
        let column = self.columns.len() as u32;
        self.columns.push(Column::new(key.into(), kind, Values::new(kind)));
        let (columns, hasher) = (&self.columns, &self.hasher);
        self.by_key.insert_unique(hash, column, |&column| {
            let known = &columns[column as usize];
            hasher.hash_one((&*known.key, known.kind))
        });
        column
    }

    /// Ends the item under way; answers its shape, the best hint for the next item of its kind.
    #[inline]
    pub(crate) fn end(&mut self) -> u32 {
        let shape = if self.as_expected && self.shapes[self.expected as usize].len() == self.building.len() {
            self.expected
        } else {
            self.shape()
        };
        self.items.push(shape);
        self.building.clear();
        shape
    }

    fn shape(&mut self) -> u32 {
        let hash = self.hasher.hash_one(&self.building[..]);
        let (shapes, building) = (&self.shapes, &self.building);
        if let Some(&shape) = self.by_columns.find(hash, |&shape| *shapes[shape as usize] == **building) {
            return shape;
        }
        let shape = self.shapes.len() as u32;
        self.shapes.push(self.building.as_slice().into());
        let (shapes, hasher) = (&self.shapes, &self.hasher);
        self.by_columns.insert_unique(hash, shape, |&shape| hasher.hash_one(&shapes[shape as usize][..]));
        shape
    }

    /// Takes back the item under way, if there is one.
    pub(crate) fn abandon(&mut self) {
        for column in std::mem::take(&mut self.building) {
            let values = &mut self.columns[column as usize].values;
            values.truncate(values.len() - 1);
        }
    }

    /// Takes back items beyond the first `items`.
    pub(crate) fn truncate(&mut self, items: usize) {
        for shape in self.items.drain(items.min(self.items.len())..) {
            for &column in &*self.shapes[shape as usize] {
                let values = &mut self.columns[column as usize].values;
                values.truncate(values.len() - 1);
            }
        }
    }

    /// Empties all columns for the next batch. Keys and shapes stay: the same senders send again. Past `limit` columns
    /// or shapes they are forgotten too, so that a sender of ever new keys does not grow us.
    pub(crate) fn clear(&mut self, limit: usize) {
        if self.columns.len() > limit || self.shapes.len() > limit {
            *self = Self::default();
            return;
        }
        self.items.clear();
        for column in &mut self.columns {
            let values = column.values.len();
            column.values.clear();
            column.recent.clear(values, column.values.repeats());
        }
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub(crate) fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    pub(crate) fn items(&self) -> &[u32] {
        &self.items
    }

    /// Bytes held.
    pub(crate) fn weight(&self) -> usize {
        4 * self.items.len() + self.columns.iter().map(|column| column.values.weight()).sum::<usize>()
    }

    /// Reads items from the first on.
    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor { attributes: self, item: 0, ranks: vec![0; self.columns.len()] }
    }
}

/// Reads items in order: where an item's values stand is known only from those before it.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    attributes: &'a Attributes,
    item: usize,
    ranks: Vec<u32>,
}

impl<'a> Cursor<'a> {
    /// Goes forward to `item`, which must not lie behind.
    pub(crate) fn seek(&mut self, item: usize) {
        debug_assert!(item >= self.item, "a cursor goes forward only");
        while self.item < item {
            for &column in &*self.attributes.shapes[self.attributes.items[self.item] as usize] {
                self.ranks[column as usize] += 1;
            }
            self.item += 1;
        }
    }

    /// The values of the item at the cursor, in the order in which they came, and the rank of each in its column.
    pub(crate) fn values(&self) -> Vec<(&'a Column, usize)> {
        let shape = &self.attributes.shapes[self.attributes.items[self.item] as usize];
        let mut seen: Vec<u32> = Vec::with_capacity(shape.len());
        shape
            .iter()
            .map(|&column| {
                // A key that came twice has two values in its column.
                let again = seen.iter().filter(|&&other| other == column).count();
                seen.push(column);
                (&self.attributes.columns[column as usize], self.ranks[column as usize] as usize + again)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
