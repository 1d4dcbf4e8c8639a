//! What holds for every message and page a sender can make.
//!
//! In: any bytes. Out: a panic where a property does not hold. The fuzz targets of `fuzz/` and the tests here run the
//! same functions; nothing that ships contains them.

mod files;

use std::collections::HashMap;

use promql::{Buckets, Labels, METRIC_NAME, Sample, Value};

use crate::wire::remote::{self, Version};
use crate::wire::text::{Format, HonorLabels, TargetDecoder};
use crate::wire::{Decoded, Limits, STALE_BITS, otlp};

pub use files::{block_index, columns, log_frame};

/// Small, so that what is found reaches them.
const LIMITS: Limits = Limits {
    message_bytes: 4096,
    series: 40,
    samples: 100,
    exemplars: 20,
    metadata: 20,
    symbols: 60,
    labels: 8,
    name_bytes: 40,
    value_bytes: 60,
    buckets: 50,
    help_bytes: 50,
};

/// A message of remote-write 1 is taken with nothing a store could not hold, and is the same when it comes again.
pub fn remote_write_v1(input: &[u8]) {
    remote_write(Version::V1, input);
}

/// As [`remote_write_v1`], for version 2.
pub fn remote_write_v2(input: &[u8]) {
    remote_write(Version::V2, input);
}

fn remote_write(version: Version, input: &[u8]) {
    let mut decoder = remote::Decoder::new(LIMITS);
    // As it came off the wire, packed or not.
    let _ = decoder.decode(version, input);
    let Ok(decoded) = decoder.decode_unpacked(version, input) else { return };
    check(&decoded);
    for (labels, samples) in &decoded.batch.series {
        assert!(!labels.get(METRIC_NAME).is_empty());
        assert!(samples.is_sorted_by_key(|sample| sample.at_ms), "{samples:?}");
        let floats = samples.iter().filter(|sample| matches!(sample.value, Value::Float(_))).count();
        assert!(floats == 0 || floats == samples.len());
    }
    let again = decoder.decode_unpacked(version, input).expect("it was taken before");
    assert_eq!(shown(&again), shown(&decoded));
    let packed = snap::raw::Encoder::new().compress_vec(input).expect("it is not long");
    assert_eq!(shown(&decoder.decode(version, &packed).expect("as it was unpacked")), shown(&decoded));
}

/// A request of OTLP metrics is taken with nothing a store could not hold, and every data point is taken or counted.
pub fn otlp_metrics(input: &[u8]) {
    for translation in [otlp::Translation::default(), otlp::Translation::NoTranslation] {
        let config = otlp::Config { translation, promoted: vec!["host.name".to_owned()] };
        let mut decoder = otlp::Decoder::new(LIMITS, config);
        let Ok(decoded) = decoder.decode(input) else { continue };
        check(&decoded);
        let again = decoder.decode(input).expect("it was taken before");
        assert_eq!(shown(&again), shown(&decoded));
        assert!(decoded.batch.series.len() as u64 >= decoded.points);
    }
}

/// A page is taken whole or not at all, and the series of one page are those that get markers after it.
pub fn scraped_page(input: &[u8]) {
    for format in [Format::Prometheus, Format::OpenMetrics] {
        for honor in [HonorLabels::Yes, HonorLabels::No] {
            let mut decoder = TargetDecoder::new(LIMITS, [("job", "a"), ("instance", "b")], honor);
            let Ok(decoded) = decoder.decode(format, input, 1_000) else {
                assert!(decoder.down(2_000).series.is_empty(), "nothing was stored");
                continue;
            };
            check(&decoded);
            let again = decoder.decode(format, input, 1_000).expect("it was taken before");
            assert_eq!(shown(&again), shown(&decoded));
            let here: HashMap<&Labels, &Vec<Sample>> =
                decoded.batch.series.iter().map(|(labels, samples)| (labels, samples)).collect();
            for (labels, samples) in decoder.down(2_000).series {
                assert!(here.contains_key(&labels), "{labels:?} was not stored");
                assert!(samples.iter().all(|sample| is_stale(&sample.value) && sample.at_ms == 2_000));
            }
        }
    }
}

/// What a store may rely on.
fn check(decoded: &Decoded) {
    let Decoded { batch, left, .. } = decoded;
    assert!(batch.series.len() <= 20 * LIMITS.samples, "{}", batch.series.len());
    for (labels, samples) in &batch.series {
        check_labels(labels);
        assert!(!samples.is_empty());
        samples.iter().for_each(|sample| check_value(&sample.value));
    }
    for (labels, exemplar) in &batch.exemplars {
        check_labels(labels);
        let characters: usize =
            exemplar.labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
        assert!(characters <= 128);
    }
    for (name, metadata) in &batch.metadata {
        assert!(!name.is_empty() && metadata.help.len() <= LIMITS.help_bytes);
    }
    assert_eq!(left.is_empty(), left.told().is_empty());
}

fn check_labels(labels: &Labels) {
    assert!(labels.len() <= LIMITS.labels);
    assert!(labels.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()));
    assert!(labels.iter().is_sorted_by(|one, other| one.0 < other.0));
}

fn check_value(value: &Value) {
    let Value::Histogram(histogram) = value else { return };
    if is_stale(value) {
        return;
    }
    for Buckets { spans, counts } in [&histogram.positive, &histogram.negative] {
        assert!(counts.len() <= 4 * LIMITS.buckets);
        assert_eq!(spans.iter().map(|span| span.length as usize).sum::<usize>(), counts.len());
        assert!(spans.iter().skip(1).all(|span| span.offset >= 0));
        assert!(counts.iter().all(|&count| count >= 0.0));
    }
    assert!(histogram.custom_values.is_sorted());
    assert!(histogram.zero_threshold >= 0.0 && histogram.count >= 0.0);
}

fn is_stale(value: &Value) -> bool {
    let number = match value {
        Value::Float(number) => *number,
        Value::Histogram(histogram) => histogram.sum,
    };
    number.to_bits() == STALE_BITS
}

/// As text: a NaN equals itself there.
fn shown(decoded: &Decoded) -> String {
    format!("{decoded:?}")
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::seeds::hold;

    #[test]
    fn remote_write_1_is_taken_or_refused() {
        hold("remote_write_v1", 2000, super::remote_write_v1);
    }

    #[test]
    fn remote_write_2_is_taken_or_refused() {
        hold("remote_write_v2", 2000, super::remote_write_v2);
    }

    #[test]
    fn otlp_metrics_are_taken_or_refused() {
        hold("otlp_metrics", 2000, super::otlp_metrics);
    }

    #[test]
    fn a_page_is_taken_or_refused() {
        hold("scraped_page", 2000, super::scraped_page);
    }
}
