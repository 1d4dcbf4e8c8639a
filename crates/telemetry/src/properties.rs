//! What holds for every request and every block.
//!
//! In: any bytes. Out: a panic where a property does not hold. The fuzz targets of `fuzz/` and the tests here run the
//! same functions; nothing that ships contains them.

use crate::batch::Batch;
use crate::block::{Block, Encoder, HEADER_BYTES, Header};
use crate::model::Signal;
use crate::objects::listing;
use crate::otlp::{Limits, walk_logs, walk_traces};
use crate::rows::Rows;

/// A request is taken whole or leaves nothing; its rows can be read, and survive being written as a block.
pub fn otlp_request(input: &[u8]) {
    for signal in [Signal::Spans, Signal::Logs] {
        let mut batch = Batch::new(signal);
        let walk = match signal {
            Signal::Spans => walk_traces,
            Signal::Logs => walk_logs,
        };
        match walk(input, &Limits::default(), &mut batch) {
            Ok(walked) => assert_eq!(walked.accepted, batch.rows() as u64),
            Err(fault) => {
                assert!(fault.offset_in(input) <= input.len());
                assert_eq!(batch.rows(), 0);
            }
        }
        let mut bytes = Vec::new();
        Encoder::default().encode(&batch, &mut bytes);
        let read = Block::read(&bytes).and_then(|block| block.batch()).expect("a block of our own");
        assert_eq!(shown(&read), shown(&batch));
    }
}

/// A block's payload is read or refused, whatever it holds: its checksum may be right all the same.
pub fn block_payload(input: &[u8]) {
    let Some((&[signal, rows], payload)) = input.split_first_chunk::<2>() else { return };
    let header = Header {
        signal: if signal % 2 == 0 { Signal::Spans } else { Signal::Logs },
        payload_len: payload.len() as u32,
        payload_crc: crc32fast::hash(payload),
        rows: rows.into(),
        start_min: 0,
        start_max: 0,
    };
    let mut bytes = vec![0; HEADER_BYTES];
    header.write(bytes.first_chunk_mut().expect("a header's length"));
    bytes.extend_from_slice(payload);
    if let Ok(batch) = Block::read(&bytes).and_then(|block| block.batch()) {
        shown(&batch);
    }
}

/// What a bucket answers is read or refused; every name in a list is one that stands in it.
pub fn bucket_listing(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Some(listing) = listing::read(input) {
        assert!(listing.objects.len() <= text.matches("<Contents").count());
        for (key, _) in listing.objects {
            assert!(key.chars().count() <= input.len() && (text.contains('&') || text.contains(&key)));
        }
    }
    if let Some((code, _)) = listing::refusal(input) {
        assert!(text.contains('&') || text.contains(&code));
    }
}

/// Rows as text: a NaN equals itself there.
fn shown(batch: &Batch) -> Vec<String> {
    let mut rows = Rows::new(batch);
    (0..batch.rows())
        .map(|row| match batch.signal {
            Signal::Spans => format!("{:?}", rows.span(row)),
            Signal::Logs => format!("{:?}", rows.log_record(row)),
        })
        .collect()
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::seeds::hold;

    #[test]
    fn a_request_is_taken_whole_or_leaves_nothing() {
        hold("otlp_request", 2000, super::otlp_request);
    }

    #[test]
    fn a_payload_is_read_or_refused() {
        hold("block_payload", 2000, super::block_payload);
    }

    #[test]
    fn what_a_bucket_answers_is_read_or_refused() {
        hold("bucket_listing", 5000, super::bucket_listing);
    }
}
