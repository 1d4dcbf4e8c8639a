//! Whether a counter histogram began anew.

use super::bounds::{bound, coarser};
use super::{Buckets, CUSTOM_SCHEMA, CounterReset, Histogram, Tally};

impl Histogram {
    /// Whether a counter was reset between the histogram before and this one: what it says itself or, where it says nothing,
    /// whether anything became less, or its buckets finer, which nothing but a reset does.
    pub fn is_reset_after(&self, before: &Self) -> bool {
        match self.reset {
            CounterReset::Reset => return true,
            CounterReset::NotReset => return false,
            CounterReset::Unknown | CounterReset::Gauge => {}
        }
        if self.count < before.count {
            return true;
        }
        if self.uses_custom_buckets() {
            if !before.uses_custom_buckets() {
                return true;
            }
            if self.custom_values != before.custom_values {
                return self.lost_in_common_buckets(before);
            }
        }
        if self.schema > before.schema || self.zero_threshold < before.zero_threshold {
            return true;
        }
        let (zero_count, threshold) = Tally::zero_of(before, self.zero_threshold);
        if threshold != self.zero_threshold || self.zero_count < zero_count {
            return true;
        }
        self.lost_in(&self.positive, &before.positive, before.schema)
            || self.lost_in(&self.negative, &before.negative, before.schema)
    }

    fn lost_in(&self, now: &Buckets, before: &Buckets, schema_before: i8) -> bool {
        let beyond_zero = |(index, _): &(i64, f64)| {
            self.schema == CUSTOM_SCHEMA || bound(*index, self.schema, &[]) > self.zero_threshold
        };
        let mut now = now.iter().filter(beyond_zero).peekable();
        let mut before = before
            .iter()
            .map(|(index, count)| match schema_before == self.schema {
                true => (index, count),
                false => (coarser(index, schema_before, self.schema), count),
            })
            .filter(beyond_zero)
            .peekable();
        while let Some((index, mut count)) = before.next() {
            while let Some((_, more)) = before.next_if(|(next, _)| *next == index) {
                count += more;
            }
            while now.next_if(|(next, _)| *next < index).is_some() {}
            let lost = match now.peek() {
                Some((next, now)) if *next == index => *now < count,
                _ => count != 0.0,
            };
            if lost {
                return true;
            }
        }
        false
    }

    /// Of custom buckets with other boundaries: whether fewer are in those that both can be brought to.
    fn lost_in_common_buckets(&self, before: &Self) -> bool {
        let common: Vec<f64> =
            self.custom_values.iter().copied().filter(|bound| before.custom_values.contains(bound)).collect();
        let rolled = |h: &Self| {
            let mut sums = vec![0.0; common.len() + 1];
            for (index, count) in h.positive.iter() {
                let upper = bound(index, CUSTOM_SCHEMA, &h.custom_values);
                sums[common.partition_point(|bound| *bound < upper)] += count;
            }
            sums
        };
        rolled(self).iter().zip(rolled(before)).any(|(now, before)| *now < before)
    }
}
