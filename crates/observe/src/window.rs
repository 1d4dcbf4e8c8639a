//! Window arithmetic: per-second counts in, one [`Window`] out.

use std::ops::Range;

use domain::InstanceName;
use domain::Window;
use provider::sample::{Histogram, LinkSample};

/// Seconds in the window that is judged. Three, so that a single slow second alarms nobody and a fault is
/// still seen within about as many seconds.
pub const RECENT: u64 = 3;

/// Seconds before it that say what is usual.
pub const BEFORE: u64 = 30;

/// Which connections are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ages {
    /// All.
    All,
    /// Those opened more than 5 s before the request ended.
    Old,
    /// The rest.
    New,
}

/// Adds up `seconds` of a link, of one instance behind it or of all.
pub(crate) fn window(
    link: &LinkSample,
    seconds: &Range<u64>,
    backend: Option<&InstanceName>,
    ages: Ages,
) -> Window {
    let mut latency = Histogram::default();
    let mut sum = Window {
        seconds: u32::try_from(seconds.end - seconds.start).unwrap_or(u32::MAX),
        ..Window::default()
    };
    // They come oldest first; most of them are not asked for.
    let from = link.seconds.partition_point(|second| second.second < seconds.start);
    let to = link.seconds.partition_point(|second| second.second < seconds.end).max(from);
    for second in link.seconds.range(from..to) {
        if backend.is_none() && ages == Ages::All {
            sum.rejected += second.rejected;
        }
        for counts in &second.counts {
            let wanted_backend = backend.is_none() || counts.backend.as_ref() == backend;
            let wanted_age = match ages {
                Ages::All => true,
                Ages::Old => counts.old_connection,
                Ages::New => !counts.old_connection,
            };
            if !(wanted_backend && wanted_age) {
                continue;
            }
            sum.requests += counts.requests;
            sum.errors += counts.errors;
            sum.throttled += counts.throttled;
            sum.unanswered += counts.unanswered;
            latency.add(&counts.latency);
        }
    }
    sum.p50_ms = latency.quantile_ms(0.50);
    sum.p95_ms = latency.quantile_ms(0.95);
    sum
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use provider::sample::{Counts, LinkSecond};

    use super::*;

    fn second(second: u64, backend: &str, old_connection: bool, latencies_ms: &[u64]) -> LinkSecond {
        let mut latency = Histogram::default();
        for ms in latencies_ms {
            latency.record(Duration::from_millis(*ms));
        }
        let requests = latencies_ms.len() as u64;
        let backend = Some(backend.parse().unwrap());
        LinkSecond {
            second,
            rejected: 2,
            counts: vec![Counts {
                backend,
                old_connection,
                requests,
                errors: 1,
                latency,
                ..Counts::default()
            }],
        }
    }

    #[test]
    fn only_the_seconds_backends_and_ages_asked_for_are_counted() {
        let seconds = [
            second(9, "cart-0", true, &[500, 500]),
            second(10, "cart-0", true, &[10, 10]),
            second(11, "cart-1", false, &[100]),
            second(12, "cart-1", false, &[900]),
        ];
        let seconds = seconds.into_iter().map(Arc::new).collect();
        let link = LinkSample { seconds, ..LinkSample::default() };

        let all = window(&link, &(10..12), None, Ages::All);
        assert_eq!((all.requests, all.errors, all.rejected, all.seconds), (3, 2, 4, 2));
        assert!((90.0..110.0).contains(&all.p95_ms.unwrap()));

        let old = window(&link, &(10..12), None, Ages::Old);
        assert_eq!((old.requests, old.rejected), (2, 0));

        let one = window(&link, &(10..12), Some(&"cart-1".parse().unwrap()), Ages::All);
        assert_eq!(one.requests, 1);
    }

    #[test]
    fn a_window_without_requests_has_no_latency_and_no_error_ratio() {
        let empty = window(&LinkSample::default(), &(0..3), None, Ages::All);
        assert_eq!((empty.p50_ms, empty.error_ratio()), (None, None));
    }
}
