//! The requests of the load as root spans, numbered in the order in which they ended.
//!
//! In: requests that begin and end; later the spans that a store was sent. Out: root spans of service `load`; and
//! [`count`], which counts the requests of a span of time by them, or says why it cannot. The numbers have no gaps, so
//! a span that was dropped, sampled out or lost on its way shows as a gap, and no count is given that misses one.

use std::ops::Range;

use homeostat_tracer::{Span, Status};
use telemetry::Value;

use super::request_log::{Kind, Outcome};

/// The load's service.
pub(crate) const SERVICE: &str = "load";

/// How many requests had ended before this one.
const NUMBER: &str = "homeostat.load.request.number";

/// How the request went, in the request log's words.
const OUTCOME: &str = "homeostat.load.request.outcome";

/// OpenTelemetry's word for what went wrong: the outcome again.
const ERROR: &str = "error.type";

/// Spans may end so much before one of a lower number, in nanoseconds: clocks are adjusted between two exports. More
/// is another load, which counts anew.
const ORDER_TOLERANCE: u64 = 500_000_000;

/// A request begins.
pub(super) fn begun(kind: Kind) -> Span {
    homeostat_tracer::root(kind.name()).start()
}

/// A request has ended, and its span with it; `number` had ended before it.
pub(super) fn end(mut span: Span, number: u64, outcome: Outcome) {
    if !span.is_recorded() {
        return;
    }
    span.attribute(NUMBER, i64::try_from(number).unwrap_or(i64::MAX));
    span.attribute(OUTCOME, outcome.name());
    if outcome.is_failure() {
        span.attribute(ERROR, outcome.name());
        span.status(Status::Error(outcome.name()));
    }
}

/// One request, as its span tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    number: u64,
    /// When, in nanoseconds since 1970.
    at: u64,
    failed: bool,
}

/// The request a span stands for; `None` for any other span.
pub(crate) fn request(span: &telemetry::Span) -> Option<Ended> {
    let of = |key: &str| span.attributes.iter().find(|(name, _)| name == key).map(|(_, value)| value);
    let Some(Value::Int(number)) = of(NUMBER) else { return None };
    let Some(Value::Text(outcome)) = of(OUTCOME) else { return None };
    Some(Ended {
        number: u64::try_from(*number).ok()?,
        at: span.start_unix_nano.saturating_add(span.duration_nano),
        failed: Outcome::from_name(outcome)?.is_failure(),
    })
}

/// The requests that ended in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    /// All of them.
    pub(crate) requests: u64,
    /// Of these, those that were not served.
    pub(crate) failed: u64,
    /// When the last of these ended, in nanoseconds since 1970.
    pub(crate) last_failure_at: Option<u64>,
}

/// Why spans cannot say how many requests there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Incomplete {
    /// None that ended later has come, so more may be on their way.
    #[error("no span has come of a request that ended later")]
    GoesOn,
    /// No earlier one is known, so that it is unknown with which number the time begins.
    #[error("no span has come of the request that ended before")]
    NoBeginning,
    /// Some have not come.
    #[error("the spans of {0} requests are missing")]
    Missing(u64),
    /// The numbers began anew.
    #[error(
        "the load was restarted and counts anew: request {second} ended {earlier_ms} ms before request {first}"
    )]
    Restarted {
        /// The number of one request.
        first: u64,
        /// That of the next one, which is not higher or ended long before.
        second: u64,
        /// How long before, milliseconds.
        earlier_ms: u64,
    },
}

impl Incomplete {
    /// Whether no span that is still to come can change it.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Restarted { .. })
    }
}

/// Counts the requests that ended in `time`, nanoseconds since 1970. `ended` are those that are known, with some from
/// before and after, in any order; one that is known twice is counted once. None of the numbers between may be missing,
/// whatever their time: where clocks were adjusted a request may lie beyond one of a lower number.
pub(crate) fn count(mut ended: Vec<Ended>, time: Range<u64>) -> Result<Count, Incomplete> {
    ended.sort_by_key(|request| (request.number, request.at));
    ended.dedup();
    let backwards = |pair: &[Ended]| {
        pair[0].number == pair[1].number || pair[0].at > pair[1].at.saturating_add(ORDER_TOLERANCE)
    };
    if let Some(pair) = ended.windows(2).find(|pair| backwards(pair)) {
        return Err(Incomplete::Restarted {
            first: pair[0].number,
            second: pair[1].number,
            earlier_ms: pair[0].at.saturating_sub(pair[1].at) / 1_000_000,
        });
    }
    let after = ended.iter().find(|request| request.at >= time.end).ok_or(Incomplete::GoesOn)?.number;
    let before = ended.iter().rev().find(|request| request.at < time.start).map(|request| request.number);
    let first = match (before, ended.first()) {
        (Some(before), _) => before + 1,
        (None, Some(Ended { number: 0, .. })) => 0,
        (None, _) => return Err(Incomplete::NoBeginning),
    };
    let (mut count, mut numbers) = (Count::default(), first..after);
    for request in ended.iter().filter(|request| time.contains(&request.at)) {
        numbers = numbers.start.min(request.number)..numbers.end.max(request.number + 1);
        count.requests += 1;
        if request.failed {
            count.failed += 1;
            count.last_failure_at = count.last_failure_at.max(Some(request.at));
        }
    }
    let known = ended.iter().filter(|request| numbers.contains(&request.number)).count() as u64;
    match numbers.end.saturating_sub(numbers.start) - known {
        0 => Ok(count),
        missing => Err(Incomplete::Missing(missing)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// A request a second, of which every fifth fails.
    fn requests(numbers: Range<u64>) -> Vec<Ended> {
        numbers.map(|number| Ended { number, at: (100 + number) * SECOND, failed: number % 5 == 0 }).collect()
    }

    #[test]
    fn requests_are_counted_by_when_they_ended() {
        let mut sent_twice = requests(0..60);
        sent_twice.extend(requests(10..20));
        let counted = count(sent_twice, 110 * SECOND..121 * SECOND);
        let last_failure_at = Some(120 * SECOND);
        assert_eq!(counted, Ok(Count { requests: 11, failed: 3, last_failure_at }));
        assert_eq!(count(requests(0..60), 50 * SECOND..101 * SECOND).map(|count| count.requests), Ok(1));
    }

    #[test]
    fn a_span_that_is_missing_shows_wherever_it_is() {
        let time = 110 * SECOND..120 * SECOND;
        for lost in 10..20 {
            let mut rest = requests(5..30);
            rest.retain(|request| request.number != lost);
            assert_eq!(count(rest, time.clone()), Err(Incomplete::Missing(1)), "request {lost}");
        }
        assert_eq!(count(requests(5..20), time.clone()), Err(Incomplete::GoesOn));
        assert_eq!(count(requests(12..30), time.clone()), Err(Incomplete::NoBeginning));
        assert_eq!(count(Vec::new(), time), Err(Incomplete::GoesOn));
    }

    #[test]
    fn a_load_that_was_restarted_is_not_counted_through() {
        let again =
            requests(0..4).into_iter().map(|request| Ended { at: request.at + 30 * SECOND, ..request });
        let restarted = Err(Incomplete::Restarted { first: 3, second: 5, earlier_ms: 28_000 });
        let all: Vec<Ended> = requests(5..25).into_iter().chain(again).collect();
        assert_eq!(count(all, 110 * SECOND..120 * SECOND), restarted);
    }

    #[test]
    fn clocks_that_were_adjusted_between_two_spans_lose_none() {
        let mut spans = requests(0..30);
        spans[15].at = spans[16].at + 1_000;
        assert_eq!(count(spans, 110 * SECOND..120 * SECOND).map(|count| count.requests), Ok(10));
    }

    #[test]
    fn a_request_beyond_a_boundary_makes_up_for_none_that_is_missing() {
        let time = 110 * SECOND..120 * SECOND;
        let mut whole = requests(0..30);
        // The clock was set back after request 10 and again after request 21.
        (whole[9].at, whole[10].at, whole[11].at) =
            (110 * SECOND + 1_000, 110 * SECOND + 2_000, 110 * SECOND - 1_000);
        (whole[20].at, whole[21].at, whole[22].at) =
            (120 * SECOND + 1_000, 120 * SECOND + 2_000, 120 * SECOND - 1_000);
        assert_eq!(count(whole.clone(), time.clone()).map(|count| count.requests), Ok(11));
        for lost in 10..22 {
            let mut rest = whole.clone();
            rest.retain(|request| request.number != lost);
            assert_eq!(count(rest, time.clone()), Err(Incomplete::Missing(1)), "request {lost}");
        }
    }

    #[test]
    fn only_a_restart_is_not_waited_out() {
        assert!(Incomplete::Restarted { first: 3, second: 5, earlier_ms: 28_000 }.is_final());
        for waits in [Incomplete::GoesOn, Incomplete::NoBeginning, Incomplete::Missing(1)] {
            assert!(!waits.is_final(), "{waits}");
        }
    }
}
