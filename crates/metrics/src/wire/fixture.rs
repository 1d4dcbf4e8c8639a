//! Protobuf messages written field by field, for tests and benchmarks.

use std::collections::HashMap;

/// A message under construction.
#[derive(Debug, Clone, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A field of an integer.
    pub fn varint(mut self, field: u64, value: u64) -> Self {
        self.number(field << 3);
        self.number(value);
        self
    }

    /// A field of a signed integer that protobuf calls `sint`.
    pub fn zigzag(self, field: u64, value: i64) -> Self {
        self.varint(field, zigzag(value))
    }

    /// A field of eight bytes.
    pub fn fixed64(mut self, field: u64, value: u64) -> Self {
        self.number(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// A field of a float.
    pub fn double(self, field: u64, value: f64) -> Self {
        self.fixed64(field, value.to_bits())
    }

    /// A field of bytes or text.
    pub fn bytes(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        self.number(field << 3 | 2);
        self.number(value.as_ref().len() as u64);
        self.0.extend_from_slice(value.as_ref());
        self
    }

    /// A field of a message.
    pub fn message(self, field: u64, value: Self) -> Self {
        self.bytes(field, value.0)
    }

    /// A packed field of integers.
    pub fn packed(self, field: u64, values: impl IntoIterator<Item = u64>) -> Self {
        let mut packed = Self::new();
        values.into_iter().for_each(|value| packed.number(value));
        self.message(field, packed)
    }

    /// A packed field of signed integers.
    pub fn packed_zigzag(self, field: u64, values: impl IntoIterator<Item = i64>) -> Self {
        self.packed(field, values.into_iter().map(zigzag))
    }

    /// A packed field of eight bytes each.
    pub fn packed_fixed64(self, field: u64, values: impl IntoIterator<Item = u64>) -> Self {
        let bytes: Vec<u8> = values.into_iter().flat_map(u64::to_le_bytes).collect();
        self.bytes(field, bytes)
    }

    /// A packed field of floats.
    pub fn packed_double(self, field: u64, values: impl IntoIterator<Item = f64>) -> Self {
        self.packed_fixed64(field, values.into_iter().map(f64::to_bits))
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// A `KeyValue` of OTLP with text.
pub fn text(key: &str, value: &str) -> Message {
    Message::new().bytes(1, key).message(2, Message::new().bytes(1, value))
}

/// A `KeyValue` of OTLP with an integer.
pub fn int(key: &str, value: i64) -> Message {
    Message::new().bytes(1, key).message(2, Message::new().varint(3, value as u64))
}

/// A series of remote-write 1 with one sample.
pub fn series_v1(labels: &[(&str, &str)], samples: &[(f64, i64)]) -> Message {
    let message = labels.iter().fold(Message::new(), |message, (name, value)| {
        message.message(1, Message::new().bytes(1, name).bytes(2, value))
    });
    samples.iter().fold(message, |message, sample| message.message(2, sample_of(*sample)))
}

/// A `Sample` of either version.
pub fn sample_of((value, at_ms): (f64, i64)) -> Message {
    Message::new().double(1, value).varint(2, at_ms as u64)
}

/// Builds the table of symbols of a request of remote-write 2.
#[derive(Debug, Clone)]
pub struct Symbols {
    all: Vec<String>,
    known: HashMap<String, u64>,
}

impl Default for Symbols {
    fn default() -> Self {
        Self { all: vec![String::new()], known: HashMap::from([(String::new(), 0)]) }
    }
}

impl Symbols {
    /// The index of a text.
    pub fn of(&mut self, text: &str) -> u64 {
        if let Some(&at) = self.known.get(text) {
            return at;
        }
        let at = self.all.len() as u64;
        self.all.push(text.to_owned());
        self.known.insert(text.to_owned(), at);
        at
    }

    /// The indices of labels, as the series of version 2 have them.
    pub fn labels(&mut self, labels: &[(&str, &str)]) -> Vec<u64> {
        labels.iter().flat_map(|(name, value)| [self.of(name), self.of(value)]).collect()
    }

    /// A request with these series.
    pub fn request(&self, series: impl IntoIterator<Item = Message>) -> Vec<u8> {
        let table = self.all.iter().fold(Message::new(), |message, symbol| message.bytes(4, symbol));
        series.into_iter().fold(table, |message, series| message.message(5, series)).0
    }
}
