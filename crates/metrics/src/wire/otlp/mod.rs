//! OTLP metrics: an `ExportMetricsServiceRequest` in protobuf, a [`Decoded`] out.
//!
//! ```text
//! resource ─ job, instance, promoted ─┐
//! scope ── metric ─ name by Translation ─┴─ data point ─► series: value, or _bucket, _sum, _count, or a native histogram
//! resource ──────────────────────────────────────────────► target_info
//! ```
//!
//! Translated as Prometheus 3's own receiver does by default: names by [`Translation`], classic histograms as classic
//! series, exponential histograms as native ones, `service.namespace` and `service.name` as `job`, `service.instance.id`
//! as `instance`, all other attributes of the resource in `target_info` and on the series where they are promoted.
//!
//! Sums and histograms of delta temporality are left out and said, as Prometheus does without its experimental
//! switches: to add them up needs the state of every sender, and a sender can be told to add up itself. A data point
//! without a recorded value is a stale marker.
//!
//! Deliberately absent: JSON (the gateway turns it into protobuf), attributes of scopes (Prometheus does not promote them
//! by default), minimum and maximum of histograms (Prometheus has no place for them).
//!
//! Sources: `opentelemetry/proto/metrics/v1/metrics.proto` of OTLP 1.9,
//! <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>.

mod classic;
mod exemplar;
mod exponential;
mod names;
mod number;
mod resource;
mod value;
mod walk;

pub use names::Translation;

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::known::Known;
use super::{Decoded, Limits, Unreadable};

/// Keys of attributes whose labels are remembered; with more of them all are forgotten.
const KEYS: usize = 10_000;

/// How OTLP becomes series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// How names are written.
    pub translation: Translation,
    /// Attributes of the resource that every series of it gets as labels, by their OpenTelemetry names: Prometheus'
    /// `otlp.promote_resource_attributes`.
    pub promoted: Vec<String>,
}

/// Decodes the requests one receiver gets, and knows the series that came before.
#[derive(Debug, Default)]
pub struct Decoder {
    limits: Limits,
    config: Config,
    known: Known,
    labels: LabelNames,
}

/// The labels keys of attributes become; `None` where one becomes none.
#[derive(Debug, Default)]
struct LabelNames {
    translation: Translation,
    known: HashMap<Box<str>, Option<Arc<str>>, RandomState>,
}

impl LabelNames {
    fn of(&mut self, key: &str) -> Option<Arc<str>> {
        if let Some(label) = self.known.get(key) {
            return label.clone();
        }
        if self.known.len() >= KEYS {
            self.known.clear();
        }
        let label: Option<Arc<str>> = self.translation.label(key).map(Arc::from);
        self.known.insert(key.into(), label.clone());
        label
    }
}

impl Decoder {
    /// A decoder with these limits.
    pub fn new(limits: Limits, config: Config) -> Self {
        let labels = LabelNames { translation: config.translation, ..LabelNames::default() };
        Self { limits, config, labels, ..Self::default() }
    }

    /// Decodes an `ExportMetricsServiceRequest`. `left.tally.points` of the answer is what OTLP calls
    /// `rejected_data_points`.
    ///
    /// # Errors
    /// [`Unreadable`]: nothing of it can be taken.
    pub fn decode(&mut self, request: &[u8]) -> Result<Decoded, Unreadable> {
        if request.len() > self.limits.message_bytes {
            return Err(Unreadable::TooMuch { what: "bytes", limit: self.limits.message_bytes });
        }
        walk::walk(request, self).map_err(|halt| halt.in_message(request))
    }
}

#[cfg(test)]
mod tests;
