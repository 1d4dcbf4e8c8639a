//! The bounds of the specification (H1, O4), and how a service overrides them.

use domain::infrastructure::ThresholdOverrides;
use domain::{Percent, ResourceId, Snapshot};
use serde::{Deserialize, Serialize};

/// Above which value a signal is an issue. A value equal to its bound is in bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Percent of the CPU limit.
    pub cpu: Percent,
    /// Percent of the memory limit.
    pub memory: Percent,
    /// Percent of the volume's size.
    pub disk: Percent,
    /// p95 of a link, in milliseconds.
    pub latency_ms: f64,
    /// Failed requests on a link, in percent.
    pub error_rate: Percent,
}

impl Default for Thresholds {
    /// SPEC H1: 85 %, 90 %, 95 %, 200 ms; SPEC O4: 1 %.
    fn default() -> Self {
        Self {
            cpu: Percent(85.0),
            memory: Percent(90.0),
            disk: Percent(95.0),
            latency_ms: 200.0,
            error_rate: Percent(1.0),
        }
    }
}

impl Thresholds {
    /// Everything out of range, as field and sentence: what is not above 0 would always be exceeded, what is
    /// not a number never.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let fields = [
            ("cpu", self.cpu.0, f64::MAX),
            ("memory", self.memory.0, f64::MAX),
            ("disk", self.disk.0, 100.0),
            ("latency_ms", self.latency_ms, f64::MAX),
            ("error_rate", self.error_rate.0, 100.0),
        ];
        let wrong = fields.into_iter().filter(|(_, value, most)| !(*value > 0.0 && value <= most));
        wrong
            .map(|(field, value, most)| {
                let range = if most == f64::MAX { "above 0" } else { "above 0, at most 100" };
                (field, format!("is {value}, must be {range}"))
            })
            .collect()
    }

    /// These, with what one service declares different.
    pub fn with(self, overrides: &ThresholdOverrides) -> Self {
        Self {
            cpu: overrides.cpu.unwrap_or(self.cpu),
            memory: overrides.memory.unwrap_or(self.memory),
            disk: overrides.disk.unwrap_or(self.disk),
            latency_ms: overrides.latency_ms.unwrap_or(self.latency_ms),
            error_rate: overrides.error_rate.unwrap_or(self.error_rate),
        }
    }

    /// These, with what the service of `resource` declares different. For a link that is the callee.
    pub fn at(self, resource: &ResourceId, snapshot: &Snapshot) -> Self {
        resource
            .service()
            .and_then(|service| snapshot.services.get(service))
            .map_or(self, |service| self.with(&service.thresholds))
    }
}
