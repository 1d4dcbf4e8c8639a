//! What a span's attributes call the other side, read from the columns of a batch while its rows go by.

use super::names::{Names, OTHER_NAME};
use crate::batch::Batch;
use crate::column::{AttributeType, Form, Values};

/// Attributes that name a peer, the most telling first (OpenTelemetry's semantic conventions 1.30, and `db.system` of
/// those before).
const KEYS: [&str; 5] = ["peer.service", "server.address", "db.system.name", "db.system", "messaging.system"];

/// Not looked up yet.
const UNKNOWN: u32 = u32::MAX;

/// The columns that name peers.
pub(crate) struct Peers<'a> {
    batch: &'a Batch,
    columns: Vec<PeerColumn>,
    /// For each shape, the columns among `columns` it has a value in, as bits, and whether each only once.
    shapes: Vec<u8>,
}

struct PeerColumn {
    index: usize,
    /// Values passed so far.
    rank: usize,
    /// The name of each entry of the dictionary.
    names: Vec<u32>,
}

impl<'a> Peers<'a> {
    pub(crate) fn new(batch: &'a Batch) -> Self {
        let mut columns = Vec::new();
        for key in KEYS {
            let mut all = batch.attributes.columns().iter();
            let found = all.position(|c| c.kind == AttributeType::Text && *c.key == *key.as_bytes());
            if let Some(index) = found
                && batch.attributes.columns()[index].values.len() > 0
            {
                columns.push(PeerColumn { index, rank: 0, names: Vec::new() });
            }
        }
        let has = |shape: &[u32]| {
            let bits = (0..).zip(&columns).filter(|(_, column)| shape.contains(&(column.index as u32)));
            bits.fold(0u8, |bits, (bit, _)| bits | 1 << bit)
        };
        let shapes = if columns.is_empty() {
            Vec::new()
        } else {
            batch.attributes.shapes().iter().map(|shape| has(shape)).collect()
        };
        Self { batch, columns, shapes }
    }

    /// Goes by `row`, rows in order; answers the peer if `wanted`, 0 where the row names none.
    #[inline]
    pub(crate) fn pass(&mut self, row: usize, wanted: bool, names: &mut Names) -> u32 {
        if self.shapes.is_empty() {
            return OTHER_NAME;
        }
        let shape = self.batch.attributes.items()[row];
        let mut bits = self.shapes[shape as usize];
        if bits == 0 {
            return OTHER_NAME;
        }
        let peer = if wanted { self.name(bits.trailing_zeros() as usize, names) } else { OTHER_NAME };
        while bits != 0 {
            let column = &mut self.columns[bits.trailing_zeros() as usize];
            // A key may come twice in one span; its values stand side by side.
            let times = self.batch.attributes.shapes()[shape as usize].iter();
            column.rank += times.filter(|&&c| c as usize == column.index).count();
            bits &= bits - 1;
        }
        peer
    }

    fn name(&mut self, column: usize, names: &mut Names) -> u32 {
        let column = &mut self.columns[column];
        let Values::Strings(strings) = &self.batch.attributes.columns()[column.index].values else {
            return OTHER_NAME;
        };
        let code = strings.code(column.rank);
        if strings.form() == Form::Plain {
            return names.intern(strings.text(code));
        }
        if column.names.is_empty() {
            column.names.resize(strings.entries(), UNKNOWN);
        }
        let known = &mut column.names[code as usize];
        if *known == UNKNOWN {
            *known = names.intern(strings.text(code));
        }
        *known
    }
}
