//! The attributes of a row group: a column for each frequent key, a rest for each row with anything else.

use std::collections::BTreeMap;

use super::Map;
use super::gather::{Data, carry};
use super::order::ABSENT;
use super::rest;
use crate::batch::Batch;
use crate::column::{AttributeType, Attributes, Form, Scalar, Strings, Values};
use crate::model::Signal;

/// Attributes with a column of their own, at most: the most frequent keys.
const COLUMNS_MAX: usize = 128;

/// In a shape: the next attribute of the row's rest.
pub(super) const REST: u16 = u16::MAX;

/// An attribute's column.
pub(super) struct AttributeColumn {
    pub(super) key: Box<[u8]>,
    pub(super) kind: AttributeType,
    pub(super) data: Data,
}

/// What tells columns apart.
type AttributeKey = (Box<[u8]>, AttributeType);

/// The attributes of a row group under construction.
pub(super) struct AttributesOut {
    signal: Signal,
    columns: Vec<AttributeColumn>,
    by_key: Map<AttributeKey, u16>,
    shapes: Vec<Box<[u16]>>,
    by_columns: Map<Box<[u16]>, u32>,
    of_rows: Vec<u64>,
    rests: BTreeMap<u32, Vec<u8>>,
}

impl AttributesOut {
    pub(super) fn new(signal: Signal, batches: &[Batch], rows: usize) -> Self {
        let mut sizes: Map<AttributeKey, (usize, usize)> = Map::default();
        for column in batches.iter().flat_map(|batch| batch.attributes.columns()) {
            let size = sizes.entry((column.key.clone(), column.kind)).or_default();
            size.0 += column.values.len();
            if let Values::Strings(strings) = &column.values {
                size.1 += strings.entries();
            }
        }
        let mut keys: Vec<_> =
            sizes.into_iter().filter(|((_, kind), size)| *kind != AttributeType::Any && size.0 > 0).collect();
        keys.sort_unstable_by(|(a, x), (b, y)| y.0.cmp(&x.0).then_with(|| a.cmp(b)));
        keys.truncate(COLUMNS_MAX);
        keys.sort_unstable();
        let (mut columns, mut by_key) = (Vec::new(), Map::default());
        for ((key, kind), (values, entries)) in keys {
            by_key.insert((key.clone(), kind), columns.len() as u16);
            let data = match kind {
                AttributeType::Text | AttributeType::Bytes | AttributeType::Any => {
                    // What hardly repeats is not looked up: each value is an entry.
                    let form =
                        if entries > values / 2 && values > 64 { Form::Plain } else { Form::Dictionary };
                    let entries = Strings::from_parts(form, Vec::new(), Vec::new(), Vec::new());
                    Data::Strings { codes: vec![ABSENT; rows], entries }
                }
                AttributeType::Int | AttributeType::Double | AttributeType::Bool => {
                    Data::Numbers { values: vec![0; rows], there: vec![false; rows] }
                }
            };
            columns.push(AttributeColumn { key, kind, data });
        }
        let (shapes, by_columns, rests) = Default::default();
        Self { signal, columns, by_key, shapes, by_columns, of_rows: vec![0; rows], rests }
    }

    /// Adds the rows of a batch.
    pub(super) fn add(&mut self, batch: &Batch, places: &[u32]) {
        let attributes = &batch.attributes;
        let targets: Vec<u16> = attributes
            .columns()
            .iter()
            .map(|column| self.by_key.get(&(column.key.clone(), column.kind)).copied().unwrap_or(REST))
            .collect();
        let (shapes, in_group) = self.take_shapes(attributes, &targets);
        let mut known: Vec<Vec<u32>> = attributes
            .columns()
            .iter()
            .map(|column| match &column.values {
                Values::Strings(strings) => vec![ABSENT; strings.entries()],
                Values::Numbers(_) => Vec::new(),
            })
            .collect();
        let mut ranks = vec![0usize; attributes.columns().len()];
        for (row, &place) in places.iter().enumerate() {
            let shape = attributes.items()[row] as usize;
            for (&column, &target) in attributes.shapes()[shape].iter().zip(&*shapes[shape]) {
                let rank = ranks[column as usize];
                ranks[column as usize] += 1;
                if place == ABSENT {
                    continue;
                }
                let from = &attributes.columns()[column as usize];
                if target == REST {
                    let rest = self.rests.entry(place).or_default();
                    rest::put_row_attribute(rest, self.signal, &from.key, from.value(rank));
                    continue;
                }
                match (&mut self.columns[target as usize].data, &from.values) {
                    (Data::Numbers { values, there }, Values::Numbers(numbers)) => {
                        values[place as usize] = numbers[rank];
                        there[place as usize] = true;
                    }
                    (Data::Strings { codes, entries }, Values::Strings(strings)) => {
                        let code = strings.code(rank);
                        codes[place as usize] =
                            carry(&mut known[column as usize], code, || match entries.form() {
                                Form::Plain => entries.push(strings.entry(code)),
                                Form::Dictionary => entries.intern(strings.entry(code)),
                            });
                    }
                    _ => unreachable!("a column is made for the type of its values"),
                }
            }
            if place != ABSENT {
                self.of_rows[place as usize] = in_group[shape].into();
            }
        }
        self.add_rest(batch, places);
    }

    /// For each shape of a batch, where its values go, and which shape of the group it is.
    fn take_shapes(&mut self, attributes: &Attributes, targets: &[u16]) -> (Vec<Box<[u16]>>, Vec<u32>) {
        let mut shapes = Vec::new();
        let mut in_group = Vec::new();
        for shape in attributes.shapes() {
            let mut mapped: Vec<u16> = Vec::with_capacity(shape.len());
            for &column in shape {
                let target = targets[column as usize];
                // A column has one value a row: of a key that came twice, the second goes to the rest.
                mapped.push(if mapped.contains(&target) { REST } else { target });
            }
            let mapped: Box<[u16]> = mapped.into();
            let next = self.shapes.len() as u32;
            let number = *self.by_columns.entry(mapped.clone()).or_insert(next);
            if number == next {
                self.shapes.push(mapped.clone());
            }
            shapes.push(mapped);
            in_group.push(number);
        }
        (shapes, in_group)
    }

    fn add_rest(&mut self, batch: &Batch, places: &[u32]) {
        for &(row, dropped) in &batch.dropped {
            if places[row as usize] != ABSENT {
                let rest = self.rests.entry(places[row as usize]).or_default();
                rest::put_dropped(rest, self.signal, dropped);
            }
        }
        let mut attributes = batch.events.attributes.cursor();
        for (at, &row) in batch.events.row.iter().enumerate() {
            if places[row as usize] != ABSENT {
                let rest = self.rests.entry(places[row as usize]).or_default();
                rest::put_event(rest, &batch.events, at, &mut attributes);
            }
        }
        let mut attributes = batch.links.attributes.cursor();
        for (at, &row) in batch.links.row.iter().enumerate() {
            if places[row as usize] != ABSENT {
                let rest = self.rests.entry(places[row as usize]).or_default();
                rest::put_link(rest, &batch.links, at, &mut attributes);
            }
        }
    }

    /// Columns, shapes, the shape of each row, and the rests.
    #[expect(clippy::type_complexity, reason = "four columns that are taken apart at once")]
    pub(super) fn finish(self) -> (Vec<AttributeColumn>, Vec<Box<[u16]>>, Vec<u64>, Data) {
        let mut codes = vec![ABSENT; self.of_rows.len()];
        let mut entries = Strings::from_parts(Form::Plain, Vec::new(), Vec::new(), Vec::new());
        for (place, rest) in self.rests {
            codes[place as usize] = entries.push(&rest);
        }
        let columns = self.columns.into_iter().map(|column| AttributeColumn {
            data: as_bytes_where_hexadecimal(column.data, column.kind),
            ..column
        });
        (columns.collect(), self.shapes, self.of_rows, Data::Strings { codes, entries })
    }
}

/// Text that never repeats and is 16 or 32 lower-case hexadecimal digits throughout takes half the room as bytes.
fn as_bytes_where_hexadecimal(data: Data, kind: AttributeType) -> Data {
    let Data::Strings { codes, entries } = data else { return data };
    let digits = if entries.entries() > 0 { entries.entry(0).len() } else { 0 };
    let hexadecimal = kind == AttributeType::Text
        && entries.form() == Form::Plain
        && (digits == 16 || digits == 32)
        && entries.ends().iter().enumerate().all(|(at, &end)| end as usize == (at + 1) * digits)
        && entries.heap().iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !hexadecimal {
        return Data::Strings { codes, entries };
    }
    let width = digits / 2;
    let value = |digit: u8| if digit <= b'9' { digit - b'0' } else { digit - b'a' + 10 };
    let mut bytes = vec![0; codes.len() * width];
    for (row, &code) in codes.iter().enumerate().filter(|&(_, &code)| code != ABSENT) {
        let text = entries.entry(code).as_chunks::<2>().0;
        let out = &mut bytes[row * width..][..width];
        out.iter_mut().zip(text).for_each(|(byte, [high, low])| *byte = value(*high) << 4 | value(*low));
    }
    Data::Fixed { width, bytes, there: codes.iter().map(|&code| code != ABSENT).collect() }
}

impl AttributeColumn {
    /// Shows each distinct value once, roughly: a tag filter bears repetition.
    pub(super) fn each_value(&self, distinct_numbers: Option<&[u64]>, mut each: impl FnMut(Scalar<'_>)) {
        let number = |bits: u64| self.kind.number(bits);
        match &self.data {
            Data::Strings { entries, .. } if self.kind == AttributeType::Text => {
                (0..entries.entries() as u32).for_each(|code| each(Scalar::Text(entries.entry(code))));
            }
            Data::Strings { .. } => {}
            Data::Numbers { values, there } => match distinct_numbers {
                Some(distinct) => distinct.iter().for_each(|&bits| each(number(bits))),
                None => {
                    let present = values.iter().zip(there).filter(|&(_, &there)| there);
                    present.for_each(|(&bits, _)| each(number(bits)));
                }
            },
            Data::Fixed { width, bytes, there } => {
                let mut text = Vec::with_capacity(2 * width);
                for (value, _) in bytes.chunks_exact(*width).zip(there).filter(|&(_, &there)| there) {
                    hexadecimal(value, &mut text);
                    each(Scalar::Text(&text));
                }
            }
        }
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.clear();
    out.extend(
        bytes.iter().flat_map(|&byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
    );
}
