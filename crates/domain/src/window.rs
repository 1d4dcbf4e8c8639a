//! Calls over a while, as one side of them counts.
//!
//! In: nothing. Out: counts and latencies, which a snapshot carries from the link proxies and from spans.

use serde::{Deserialize, Serialize};

/// Counts and latencies over a window of complete seconds, as the caller's side sees them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Window {
    /// Length of the window in seconds.
    pub seconds: u32,
    /// Requests (HTTP) or connections (TCP) answered or given up.
    pub requests: u64,
    /// Of these, failed: no connection, time-out, 5xx or 429. Requests answered by an open breaker are
    /// not among them; see `rejected`.
    pub errors: u64,
    /// Of the errors, answered with 429.
    pub throttled: u64,
    /// Of the errors, without an answer (no connection, reset, time-out).
    pub unanswered: u64,
    /// Answered by an open breaker instead of the callee.
    pub rejected: u64,
    /// Median latency in milliseconds; `None` without requests.
    pub p50_ms: Option<f64>,
    /// 95th percentile of latency in milliseconds; `None` without requests.
    pub p95_ms: Option<f64>,
}

impl Window {
    /// Failed ÷ all, `None` without requests.
    pub fn error_ratio(&self) -> Option<f64> {
        (self.requests > 0).then(|| self.errors as f64 / self.requests as f64)
    }

    /// Requests a second.
    pub fn rate(&self) -> f64 {
        if self.seconds == 0 { 0.0 } else { self.requests as f64 / f64::from(self.seconds) }
    }
}
