//! The corpus as a sender of Prometheus' remote-write 1 sends it, and what a store made of it.
//!
//! In: which target, and when it was scraped. Out: a request, packed, as bytes that every store of series understands.

use std::path::PathBuf;
use std::sync::Arc;

use domain::Clock;

use super::BenchError;
use super::corpus::{SERIES, Target};
use crate::wire::fixture::Message;
use crate::{Config, Metrics};

/// Field of a request of remote-write 1: a series.
const SERIES_FIELD: u64 = 1;

/// Fields of a series: a label, a sample; of a sample: its value, its time.
const SAMPLE_FIELD: u64 = 2;
const VALUE_FIELD: u64 = 1;
const TIME_FIELD: u64 = 2;

/// Scrapes of one target, each as a request of remote-write 1.
pub struct Scrapes {
    target: Target,
    /// The labels of each series, written.
    labels: Vec<Message>,
    packer: snap::raw::Encoder,
}

impl Scrapes {
    /// Samples of a request: one of each series of the target.
    pub const SAMPLES: usize = SERIES;

    /// Of this target of the corpus: the same seed makes the same series and values.
    pub fn new(target: u32, seed: u64) -> Self {
        let target = Target::new(target, seed);
        let written = |message: Message, (name, value): (&str, &str)| {
            message.message(1, Message::new().bytes(1, name).bytes(2, value))
        };
        let labels = target.labels().map(|labels| labels.iter().fold(Message::new(), written)).collect();
        Self { target, labels, packer: snap::raw::Encoder::new() }
    }

    /// The next scrape, at this time: a request, packed with snappy.
    ///
    /// # Errors
    /// Where it is longer than snappy takes, which is 4 GiB.
    pub fn next(&mut self, at_ms: i64) -> Result<Vec<u8>, BenchError> {
        let mut request = Message::new();
        for (labels, value) in self.labels.iter().zip(self.target.values()) {
            let sample = Message::new().double(VALUE_FIELD, value).varint(TIME_FIELD, at_ms as u64);
            request = request.message(SERIES_FIELD, labels.clone().message(SAMPLE_FIELD, sample));
        }
        self.packer.compress_vec(&request.0).map_err(|error| BenchError::Io(std::io::Error::other(error)))
    }
}

/// What a store takes on disk when everything is in blocks and these are merged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settled {
    /// Samples as they came.
    pub samples: u64,
    /// Bytes of their blocks.
    pub bytes: u64,
    /// Bytes of all blocks, with one sample of each minute and hour.
    pub bytes_all_tiers: u64,
}

/// Writes what the store of a process that has ended holds in its log to blocks, and merges what is due.
///
/// # Errors
/// Where the store does not open, or the disk does not take it.
pub fn settle(dir: PathBuf, clock: Arc<dyn Clock>) -> Result<Settled, BenchError> {
    let store = Metrics::open(Config::new(dir, clock))?;
    store.flush()?;
    store.compact()?;
    let tiers = store.status().tiers;
    store.close();
    Ok(Settled {
        samples: tiers[0].samples,
        bytes: tiers[0].bytes,
        bytes_all_tiers: tiers.iter().map(|tier| tier.bytes).sum(),
    })
}

#[cfg(test)]
mod tests {
    use promql::Value;

    use super::*;
    use crate::wire::Limits;
    use crate::wire::remote::{Decoder, Version};

    const AT_MS: i64 = 1_767_225_600_000;

    #[test]
    fn a_request_is_read_as_what_was_scraped() {
        let (mut scrapes, mut target) = (Scrapes::new(3, 7), Target::new(3, 7));
        for second in 0..3 {
            let (at_ms, values) = (AT_MS + second * 1000, target.values());
            let request = scrapes.next(at_ms).expect("it is not long");
            let decoded =
                Decoder::new(Limits::default()).decode(Version::V1, &request).expect("it is well-formed");
            assert!(decoded.left.is_empty());
            assert_eq!(decoded.batch.series.len(), Scrapes::SAMPLES);
            for ((labels, samples), (wanted, value)) in
                decoded.batch.series.iter().zip(target.labels().zip(values))
            {
                assert_eq!(labels, wanted);
                assert_eq!((samples.len(), samples[0].at_ms), (1, at_ms));
                assert!(matches!(samples[0].value, Value::Float(read) if read == value));
            }
        }
    }
}
