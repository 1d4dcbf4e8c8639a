//! What holds for every file of the store.
//!
//! In: any bytes. Out: a panic where a property does not hold. The fuzz targets of `fuzz/` and the tests here run the
//! same functions; nothing that ships contains them.

use crate::matching::Postings;
use crate::part::{PartIndex, Strings};
use crate::{codec, wal};

/// A frame of the log is read or refused, whatever it holds: its checksums may be right all the same.
pub fn log_frame(input: &[u8]) {
    wal::read_any(input);
    wal::read_any(&wal::sealed(input));
}

/// The index of a block is read or refused; what is read can be asked anything.
pub fn block_index(input: &[u8]) {
    let Ok(index) = PartIndex::read(input.to_vec()) else { return };
    let mut strings = Strings::default();
    for id in 0..(index.len() as u32).min(100) {
        let _ = index.chunks(id);
        if let Ok(labels) = index.labels(id, &mut strings) {
            let _ = index.find(&labels);
        }
    }
    for name in index.names().unwrap_or_default().into_iter().take(100) {
        let _ = index.values(name);
        let _ = index.matching(name, &|value| value.len() % 2 == 0);
        let _ = index.test(0, name, &|value| value.is_empty());
    }
    let _ = index.with("a", "b");
}

/// Columns are read or refused; what is read reads back.
pub fn columns(input: &[u8]) {
    let Some((&[kind, count], column)) = input.split_first_chunk::<2>() else { return };
    let count = usize::from(count);
    match kind % 3 {
        0 => {
            if let Ok(times) = codec::read_times(column, count) {
                let mut bytes = Vec::new();
                codec::put_times(&mut bytes, &times);
                assert_eq!(codec::read_times(&bytes, count).as_ref(), Ok(&times));
            }
        }
        1 => {
            let mut values = Vec::new();
            if codec::read_floats(column, count, &mut values).is_ok() {
                let mut bytes = Vec::new();
                codec::put_floats(&mut bytes, &values);
                let mut again = Vec::new();
                codec::read_floats(&bytes, count, &mut again).expect("what was just written");
                assert!(values.iter().map(|v| v.to_bits()).eq(again.iter().map(|v| v.to_bits())));
            }
        }
        _ => {
            if let Ok(values) = codec::read_histograms(column, count) {
                let mut bytes = Vec::new();
                codec::put_histograms(&mut bytes, &values);
                let again = codec::read_histograms(&bytes, count).expect("what was just written");
                assert_eq!(format!("{again:?}"), format!("{values:?}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::properties::seeds::hold;

    #[test]
    fn a_frame_is_read_or_refused() {
        hold("log_frame", 2000, super::log_frame);
    }

    #[test]
    fn an_index_is_read_or_refused() {
        hold("block_index", 2000, super::block_index);
    }

    #[test]
    fn a_column_is_read_or_refused() {
        hold("columns", 2000, super::columns);
    }
}
