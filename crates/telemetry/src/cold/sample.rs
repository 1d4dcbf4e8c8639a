//! Tail sampling: which traces a compaction keeps.
//!
//! Kept whatever the rate: traces with an error, traces with a span slower than its operation's 99th percentile, both as
//! far as the same compaction shows. Of the rest, those whose randomness lies above OpenTelemetry's rejection threshold:
//! the same ones wherever and whenever a part of the trace is looked at. So a trace whose spans lie in segments that are
//! compacted apart may lose those of a part in which nothing is remarkable: what was compacted before is not read again.
//!
//! Source: OpenTelemetry, "TraceState: Probability Sampling" (`th`, `rv`, 56 bits).

use std::collections::HashSet;

use super::Map;
use super::unit::ERROR;
use crate::batch::Batch;

/// Randomness has so many values.
const RANGE: f64 = (1u64 << 56) as f64;

/// Fewer spans than this have no 99th percentile worth the name.
const SPANS_MIN: u64 = 100;

/// What was seen of the spans of a compaction.
#[derive(Debug, Default)]
pub(super) struct Seen {
    operations: Map<(String, String), u32>,
    /// For each operation, spans by duration: 8 buckets for each power of two.
    histograms: Vec<[u32; 512]>,
    kept: HashSet<[u8; 16]>,
    /// Trace, operation and bucket of spans that may turn out slow: those above all but a few of what came before.
    spans: Vec<([u8; 16], u32, u16)>,
}

fn bucket(duration: u64) -> u16 {
    if duration < 8 {
        return duration as u16;
    }
    let power = 63 - duration.leading_zeros();
    (power as u16 - 2) * 8 + (duration >> (power - 3) & 7) as u16
}

impl Seen {
    /// Takes in the spans of a block.
    pub(super) fn observe(&mut self, batch: &Batch) {
        let mut known: Map<(u32, u32), u32> = Map::default();
        for row in 0..batch.rows() {
            if batch.status[row] == ERROR {
                self.kept.insert(batch.trace[row]);
            }
            let codes = (batch.origin[row], batch.name.code(row));
            let operation = *known.entry(codes).or_insert_with(|| {
                let name = (batch.origins.service(codes.0).to_string(), batch.name.text(codes.1).to_owned());
                let next = self.operations.len() as u32;
                *self.operations.entry(name).or_insert(next)
            });
            if operation as usize == self.histograms.len() {
                self.histograms.push([0; 512]);
            }
            let bucket = bucket(batch.duration[row]);
            self.histograms[operation as usize][usize::from(bucket)] += 1;
            self.spans.push((batch.trace[row], operation, bucket));
        }
    }

    /// The rule: percent of unremarkable traces to keep.
    pub(super) fn decide(mut self, keep_percent: f64) -> Rule {
        let slow: Vec<u16> = self.histograms.iter().map(percentile_99).collect();
        for (trace, operation, bucket) in self.spans {
            if bucket > slow[operation as usize] {
                self.kept.insert(trace);
            }
        }
        let share = (keep_percent / 100.0).clamp(0.0, 1.0);
        Rule { kept: self.kept, threshold: ((1.0 - share) * RANGE) as u64, share }
    }
}

/// The bucket with the 99th percentile; the last one where there are too few spans to tell.
fn percentile_99(histogram: &[u32; 512]) -> u16 {
    let count: u64 = histogram.iter().map(|&n| u64::from(n)).sum();
    if count < SPANS_MIN {
        return 511;
    }
    let mut below = 0;
    let at = histogram.iter().position(|&n| {
        below += u64::from(n);
        below * 100 >= count * 99
    });
    at.unwrap_or(511) as u16
}

/// Which traces are kept.
#[derive(Debug)]
pub(super) struct Rule {
    kept: HashSet<[u8; 16]>,
    threshold: u64,
    share: f64,
}

impl Rule {
    /// Whether a span is kept.
    pub(super) fn keeps(&self, batch: &Batch, row: usize) -> bool {
        let trace = &batch.trace[row];
        let state = batch.trace_state.entry(batch.trace_state.code(row));
        randomness(trace, state) >= self.threshold || self.kept.contains(trace)
    }

    /// For how many traces a kept one stands.
    pub(super) fn adjusted_count(&self, trace: &[u8; 16]) -> f64 {
        if self.kept.contains(trace) { 1.0 } else { 1.0 / self.share }
    }
}

/// The trace's randomness: `rv` of the tracestate's `ot` member, else the last 56 bits of its id.
fn randomness(trace: &[u8; 16], state: &[u8]) -> u64 {
    let state = std::str::from_utf8(state).unwrap_or("");
    let member = state.split(',').find_map(|member| member.trim().strip_prefix("ot="));
    let value = member.and_then(|member| member.split(';').find_map(|field| field.strip_prefix("rv:")));
    let given =
        value.filter(|digits| digits.len() == 14).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    given.unwrap_or_else(|| trace[9..].iter().fold(0, |n, &byte| n << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn randomness_comes_from_the_tracestate_or_the_id() {
        let trace: [u8; 16] = std::array::from_fn(|at| at as u8);
        assert_eq!(randomness(&trace, b""), 0x09_0a_0b_0c_0d_0e_0f);
        assert_eq!(randomness(&trace, b"x=y,ot=th:8;rv:0123456789abcd"), 0x01_23_45_67_89_ab_cd);
        assert_eq!(randomness(&trace, b"ot=rv:12"), 0x09_0a_0b_0c_0d_0e_0f);
    }

    #[test]
    fn buckets_rise_with_durations() {
        let durations = [0, 1, 7, 8, 9, 15, 16, 18, 1000, 1 << 40, u64::MAX];
        assert!(durations.windows(2).all(|pair| bucket(pair[0]) < bucket(pair[1])));
        assert!(bucket(u64::MAX) < 512);
    }
}
