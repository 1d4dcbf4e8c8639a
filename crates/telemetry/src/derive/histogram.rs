//! Calls, errors and durations of a stretch of time.

use std::time::Duration;

use super::bytes::{put, take, take_as};
use super::scale::{self, BUCKETS};
use super::weight::ONE;

/// Calls, errors and how long they took: an exponential histogram at OpenTelemetry's scale 3 (eight buckets for each
/// doubling), so that a quantile lies within [`RELATIVE_ERROR`](super::RELATIVE_ERROR) of the true one.
///
/// Adding two up loses nothing and comes to the same in any order. Counts are exact, unless the source sampled: then
/// they are estimates, and [`Histogram::estimated`] says so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histogram {
    /// The bucket of the first of `counts`.
    low: u16,
    /// From the lowest to the highest bucket in use.
    counts: Vec<Count>,
    total: Count,
    /// Nanoseconds.
    sum: u64,
    estimated: bool,
}

/// In units of 1/65,536 of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Count {
    calls: u64,
    errors: u64,
}

impl Count {
    #[inline]
    fn add(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.errors = self.errors.saturating_add(other.errors);
    }
}

/// One bucket that holds something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Its number among all buckets, 0 to 513, ascending with duration.
    pub number: u16,
    /// Lower bound in nanoseconds, exclusive (bucket 0: exactly 0 ns).
    pub lower_nano: f64,
    /// Upper bound in nanoseconds, inclusive.
    pub upper_nano: f64,
    /// Calls, errors among them.
    pub calls: f64,
    /// Errors.
    pub errors: f64,
}

impl Histogram {
    /// Counts a call. `weight` is in units of 1/65,536.
    #[inline]
    pub(crate) fn add(&mut self, bucket: u16, duration: u64, weight: u64, error: bool) {
        let count = Count { calls: weight, errors: weight * u64::from(error) };
        self.slot(bucket).add(count);
        self.total.add(count);
        let nanos = if weight == ONE {
            duration
        } else {
            self.estimated = true;
            u64::try_from((u128::from(duration) * u128::from(weight)) >> 16).unwrap_or(u64::MAX)
        };
        self.sum = self.sum.saturating_add(nanos);
    }

    #[inline]
    fn slot(&mut self, bucket: u16) -> &mut Count {
        let at = bucket.wrapping_sub(self.low) as usize;
        if at >= self.counts.len() {
            self.make_room(bucket);
        }
        &mut self.counts[(bucket - self.low) as usize]
    }

    #[cold]
    fn make_room(&mut self, bucket: u16) {
        if self.counts.is_empty() {
            self.low = bucket;
            self.counts.push(Count::default());
        } else if bucket < self.low {
            let more = (self.low - bucket) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(Count::default(), more));
            self.low = bucket;
        } else {
            self.counts.resize((bucket - self.low) as usize + 1, Count::default());
        }
    }

    /// Adds what another one holds.
    pub fn merge(&mut self, other: &Self) {
        let (Some(last), low) = (other.counts.len().checked_sub(1), other.low) else { return };
        self.slot(low);
        self.slot(low + last as u16);
        let at = (low - self.low) as usize;
        for (mine, theirs) in self.counts[at..].iter_mut().zip(&other.counts) {
            mine.add(*theirs);
        }
        self.total.add(other.total);
        self.sum = self.sum.saturating_add(other.sum);
        self.estimated |= other.estimated;
    }

    /// Calls, errors among them.
    pub fn calls(&self) -> f64 {
        shown(self.total.calls)
    }

    /// Calls that ended in an error.
    pub fn errors(&self) -> f64 {
        shown(self.total.errors)
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Errors as a share of calls, 0 to 1; none where there were no calls.
    pub fn error_ratio(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.errors() / self.calls())
    }

    /// Whether a source sampled, so that counts are weighted estimates.
    pub fn estimated(&self) -> bool {
        self.estimated
    }

    /// The sum of all durations.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// The mean duration.
    pub fn mean(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_nanos((self.sum as f64 / self.calls()) as u64))
    }

    /// The duration that the share `q` (0 to 1) of calls did not exceed: the nearest rank, within
    /// [`RELATIVE_ERROR`](super::RELATIVE_ERROR).
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let wanted = (q.clamp(0.0, 1.0) * self.total.calls as f64).ceil().max(1.0);
        let mut below = 0u64;
        for (bucket, count) in (self.low..).zip(&self.counts) {
            below = below.saturating_add(count.calls);
            if below as f64 >= wanted {
                return Some(Duration::from_nanos(scale::middle(bucket).round() as u64));
            }
        }
        None
    }

    /// Calls that took at most 2^`exponent` nanoseconds.
    pub(crate) fn calls_up_to(&self, exponent: u16) -> f64 {
        let last = 8 * exponent + 1;
        let within = (self.low..).zip(&self.counts).take_while(|&(bucket, _)| bucket <= last);
        shown(within.map(|(_, count)| count.calls).sum())
    }

    /// The buckets that hold something, by duration.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> {
        (self.low..).zip(&self.counts).filter(|(_, count)| count.calls > 0).map(|(number, count)| Bucket {
            number,
            lower_nano: scale::lower(number),
            upper_nano: scale::upper(number),
            calls: shown(count.calls),
            errors: shown(count.errors),
        })
    }

    /// Appends it as bytes.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        let unit = if self.estimated { 1 } else { ONE };
        bytes.push(u8::from(self.estimated));
        put(bytes, self.sum);
        put(bytes, self.low.into());
        put(bytes, self.counts.len() as u64);
        for count in &self.counts {
            put(bytes, count.calls / unit);
            if count.calls > 0 {
                put(bytes, count.errors / unit);
            }
        }
    }

    /// Takes one off the front of bytes, which may be anything.
    pub(crate) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let estimated = match take(bytes)? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let unit = if estimated { 1 } else { ONE };
        let (sum, low, len): (u64, u16, u16) = (take(bytes)?, take_as(bytes)?, take_as(bytes)?);
        if low.checked_add(len)? > BUCKETS {
            return None;
        }
        let (mut counts, mut total) = (Vec::with_capacity(len.into()), Count::default());
        for _ in 0..len {
            let calls = take(bytes)?.checked_mul(unit)?;
            let errors = if calls > 0 { take(bytes)?.checked_mul(unit)? } else { 0 };
            if errors > calls {
                return None;
            }
            counts.push(Count { calls, errors });
            total.add(Count { calls, errors });
        }
        // One value has one form, so that equal histograms are equal bytes.
        let trimmed = [counts.first(), counts.last()].into_iter().flatten().all(|count| count.calls > 0);
        (trimmed && (len > 0 || low == 0)).then_some(Self { low, counts, total, sum, estimated })
    }
}

fn shown(count: u64) -> f64 {
    count as f64 / ONE as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::derive::RELATIVE_ERROR;

    fn histogram(calls: &[(u64, u64, bool)]) -> Histogram {
        let mut histogram = Histogram::default();
        for &(duration, weight, error) in calls {
            histogram.add(scale::bucket(duration), duration, weight, error);
        }
        histogram
    }

    fn calls() -> impl Strategy<Value = Vec<(u64, u64, bool)>> {
        let weight = prop_oneof![3 => Just(ONE), 1 => ONE..100 * ONE];
        let duration = (0u32..45, any::<u64>()).prop_map(|(bits, noise)| noise & ((1u64 << bits) - 1));
        prop::collection::vec((duration, weight, any::<bool>()), 0..40)
    }

    proptest! {
        #[test]
        fn merging_is_associative_and_order_does_not_matter(a in calls(), b in calls(), c in calls()) {
            let all = histogram(&[&a[..], &b, &c].concat());
            let [a, b, c] = [a, b, c].map(|calls| histogram(&calls));
            let mut left = a.clone();
            left.merge(&b);
            left.merge(&c);
            let mut right = c.clone();
            right.merge(&b);
            let mut ahead = a.clone();
            ahead.merge(&right);
            prop_assert_eq!(&left, &ahead);
            prop_assert_eq!(&left, &all);
        }

        #[test]
        fn quantiles_are_within_the_stated_error(
            mut durations in prop::collection::vec(1u64..1 << 44, 1..200), q in 0.0..=1.0f64,
        ) {
            let calls: Vec<_> = durations.iter().map(|&duration| (duration, ONE, false)).collect();
            durations.sort_unstable();
            let rank = ((q * durations.len() as f64).ceil() as usize).max(1);
            let exact = durations[rank - 1] as f64;
            let told = histogram(&calls).quantile(q).expect("calls").as_nanos() as f64;
            // Half a nanosecond is lost in rounding to whole ones.
            prop_assert!((told - exact).abs() <= RELATIVE_ERROR * exact + 0.5, "{told} for {exact}");
        }

        #[test]
        fn reads_back_as_written(calls in calls()) {
            let mut bytes = Vec::new();
            let histogram = histogram(&calls);
            histogram.write(&mut bytes);
            let mut rest = &bytes[..];
            prop_assert_eq!(Histogram::read(&mut rest), Some(histogram));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(histogram) = Histogram::read(&mut &bytes[..]) {
                prop_assert!(histogram.errors() <= histogram.calls());
            }
        }
    }

    #[test]
    fn what_was_sampled_is_weighed_and_marked() {
        let sampled = histogram(&[(10, 4 * ONE, true), (20, ONE, false)]);
        assert_eq!((sampled.calls(), sampled.errors(), sampled.estimated()), (5.0, 4.0, true));
        assert_eq!(sampled.sum(), Duration::from_nanos(60));
        assert!(!histogram(&[(10, ONE, true)]).estimated());
    }
}
