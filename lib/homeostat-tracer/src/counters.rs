//! What became of every span, counted exactly, and the figures a host shows.
//!
//! In: parts of traces as they are handed over, dropped or sent. Out: [`Metrics`]. Each span is counted once
//! as created, when its part of a trace ends, and once as exported, dropped or failed; what is between the two
//! is in the queue. Spans that were never recorded, because sampling is off or a parent dropped the trace, are
//! not counted: counting them would cost what not recording them saves.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Why a recorded span was not exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The sampler decided so when the local root ended.
    Unsampled,
    /// The queue to the export threads was at its bound, in bytes or in parts.
    QueueFull,
    /// Too many spans were open at once ([`OPEN_SPANS_MAX`](crate::OPEN_SPANS_MAX)).
    OpenSpans,
    /// The tracer had been shut down, or its deadline passed, or its root was forgotten.
    Closed,
}

/// Every reason.
pub const REASONS: [Reason; 4] = [Reason::Unsampled, Reason::QueueFull, Reason::OpenSpans, Reason::Closed];

impl Reason {
    /// As it stands in the label `reason`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unsampled => "unsampled",
            Self::QueueFull => "queue_full",
            Self::OpenSpans => "open_spans",
            Self::Closed => "closed",
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) created: AtomicU64,
    pub(crate) exported: AtomicU64,
    pub(crate) failed: AtomicU64,
    dropped: [AtomicU64; REASONS.len()],
    /// Attributes, events and links recorded.
    pub(crate) entries: AtomicU64,
}

impl Counters {
    #[inline]
    pub(crate) fn drop_spans(&self, reason: Reason, spans: u64) {
        if spans > 0 {
            self.dropped[reason as usize].fetch_add(spans, Ordering::Relaxed);
        }
    }

    pub(crate) fn dropped(&self, reason: Reason) -> u64 {
        self.dropped[reason as usize].load(Ordering::Relaxed)
    }
}

/// A tracer's own figures.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Metrics {
    /// Spans recorded in parts of traces that have ended.
    pub created: u64,
    /// Spans the receiver took.
    pub exported: u64,
    /// Spans the receiver refused, or that could not be sent within the limits of retrying.
    pub failed: u64,
    /// Spans dropped here, by reason, in the order of [`REASONS`].
    pub dropped: [u64; REASONS.len()],
    /// CPU time tracing has taken: recording, at the price of a span and of an attribute as measured on this
    /// machine when the tracer was built, and the CPU clocks of the export threads.
    pub overhead: Duration,
    /// The share of recorded spans that the sampler kept in the last full second, 0 to 1; 1 where it keeps all.
    pub sampling_rate: f64,
    /// Bytes in the queue to the export threads.
    pub queued_bytes: usize,
    /// Why the last request that did not succeed did not.
    pub last_failure: Option<String>,
}

impl Metrics {
    /// Spans dropped for this reason.
    pub fn dropped_for(&self, reason: Reason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Spans whose fate is decided; the rest of [`Self::created`] is in the queue or being sent.
    pub fn settled(&self) -> u64 {
        self.exported + self.failed + self.dropped.iter().sum::<u64>()
    }

    /// The figures in Prometheus' text format. Failed spans stand among the dropped, with the reason `failed`.
    pub fn prometheus(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, kind: &str, help: &str, samples: &[(String, f64)]| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        };
        let plain = |value: f64| [(String::new(), value)];
        let overhead = self.overhead.as_secs_f64();
        line("tracing_overhead_seconds", "counter", "CPU time spent tracing", &plain(overhead));
        line("tracing_sampling_rate", "gauge", "share of spans kept", &plain(self.sampling_rate));
        line("tracing_spans_created_total", "counter", "spans recorded", &plain(self.created as f64));
        line("tracing_spans_exported_total", "counter", "spans delivered", &plain(self.exported as f64));
        let labelled = |reason: &str| format!("{{reason=\"{reason}\"}}");
        let mut dropped: Vec<_> =
            REASONS.iter().map(|why| (labelled(why.name()), self.dropped_for(*why) as f64)).collect();
        dropped.push((labelled("failed"), self.failed as f64));
        line("tracing_spans_dropped_total", "counter", "spans not delivered", &dropped);
        text
    }
}
