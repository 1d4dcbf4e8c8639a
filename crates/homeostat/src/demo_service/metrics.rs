//! What an instance counts about itself, shown in the Prometheus text format (version 0.0.4).
//!
//! In: ended requests. Out: text. Deliberately absent: labels per path; the link proxies measure what users
//! feel, this is the service's own view.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the duration histogram, in milliseconds: from a cached answer to the callers' limit.
const BOUNDS_MS: [u64; 11] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2000];

/// Counters of one instance.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    requests: AtomicU64,
    errors: AtomicU64,
    duration_us: AtomicU64,
    /// How many requests took at most the bound of the same index; not cumulative.
    buckets: [AtomicU64; BOUNDS_MS.len()],
}

impl Metrics {
    /// Counts one request that ended with `status`; 500 and above is an error.
    pub(super) fn ended(&self, status: u16, took: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if status >= 500 {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.duration_us.fetch_add(us, Ordering::Relaxed);
        if let Some(index) = BOUNDS_MS.iter().position(|bound| us <= bound * 1000) {
            self.buckets[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The text for `instance`; `lost_log_lines` is counted by the access log.
    pub(super) fn text(&self, instance: &str, lost_log_lines: u64) -> String {
        let requests = self.requests.load(Ordering::Relaxed);
        let errors = self.errors.load(Ordering::Relaxed);
        let sum = self.duration_us.load(Ordering::Relaxed) as f64 / 1e6;
        let mut text = String::new();
        for (name, help, value) in [
            ("shop_requests_total", "Requests answered", requests),
            ("shop_errors_total", "Requests answered with 5xx", errors),
            ("shop_log_lines_lost_total", "Log lines that could not be written", lost_log_lines),
        ] {
            let _ = write!(
                text,
                "# HELP {name} {help}.\n# TYPE {name} counter\n{name}{{instance=\"{instance}\"}} {value}\n"
            );
        }
        let name = "shop_request_duration_seconds";
        let _ = write!(text, "# HELP {name} Time from request to answer.\n# TYPE {name} histogram\n");
        let mut seen = 0;
        for (bound, bucket) in BOUNDS_MS.iter().zip(&self.buckets) {
            seen += bucket.load(Ordering::Relaxed);
            let le = *bound as f64 / 1e3;
            let _ = writeln!(text, "{name}_bucket{{instance=\"{instance}\",le=\"{le}\"}} {seen}");
        }
        let _ = writeln!(text, "{name}_bucket{{instance=\"{instance}\",le=\"+Inf\"}} {requests}");
        let _ = writeln!(text, "{name}_sum{{instance=\"{instance}\"}} {sum}");
        let _ = writeln!(text, "{name}_count{{instance=\"{instance}\"}} {requests}");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_errors_are_5xx() {
        let metrics = Metrics::default();
        metrics.ended(200, Duration::from_micros(900));
        metrics.ended(404, Duration::from_millis(20));
        metrics.ended(507, Duration::from_secs(5));
        let text = metrics.text("cart-0", 7);
        for line in [
            "shop_requests_total{instance=\"cart-0\"} 3",
            "shop_errors_total{instance=\"cart-0\"} 1",
            "shop_log_lines_lost_total{instance=\"cart-0\"} 7",
            "shop_request_duration_seconds_bucket{instance=\"cart-0\",le=\"0.001\"} 1",
            "shop_request_duration_seconds_bucket{instance=\"cart-0\",le=\"0.025\"} 2",
            "shop_request_duration_seconds_bucket{instance=\"cart-0\",le=\"2\"} 2",
            "shop_request_duration_seconds_bucket{instance=\"cart-0\",le=\"+Inf\"} 3",
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line} is not in\n{text}");
        }
    }
}
