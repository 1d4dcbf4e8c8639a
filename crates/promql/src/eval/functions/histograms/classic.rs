//! Quantiles and fractions of classic histograms: cumulative counts by upper boundary. Within a bucket observations are taken
//! to be spread evenly, and the first bucket to begin at 0 unless it ends below.

use std::cmp::Ordering;

/// How much of the observations is at most this value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bucket {
    pub(super) upper: f64,
    pub(super) count: f64,
}

/// How far counts that fell had to be raised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Forced {
    pub(super) bucket_min: f64,
    pub(super) bucket_max: f64,
    pub(super) difference_max: f64,
}

/// Counts that differ by less are equal: rounding may have parted them. One observation more or less is larger than this
/// until there are 10^12 of them.
const ROUNDING: f64 = 1e-12;

/// Sorted, with boundaries once each. False where the last is not +Inf, so that the number of observations is not known.
fn prepare(buckets: &mut Vec<Bucket>) -> bool {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
    buckets.last().is_some_and(|last| last.upper == f64::INFINITY)
}

/// Makes counts rise.
fn raise(buckets: &mut [Bucket]) -> Option<Forced> {
    let mut forced: Option<Forced> = None;
    let mut before = buckets.first()?.count;
    for bucket in &mut buckets[1..] {
        let count = bucket.count;
        if count == before {
            continue;
        }
        if almost_equal(before, count) {
            bucket.count = before;
        } else if count < before {
            bucket.count = before;
            let known = forced.get_or_insert(Forced {
                bucket_min: f64::INFINITY,
                bucket_max: f64::NEG_INFINITY,
                difference_max: 0.0,
            });
            known.bucket_min = known.bucket_min.min(bucket.upper);
            known.bucket_max = known.bucket_max.max(bucket.upper);
            known.difference_max = known.difference_max.max(before - count);
        } else {
            before = count;
        }
    }
    forced
}

fn almost_equal(a: f64, b: f64) -> bool {
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < ROUNDING * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < ROUNDING
}

pub(super) fn quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, Option<Forced>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if !prepare(buckets) {
        return (f64::NAN, None);
    }
    let forced = raise(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return (f64::NAN, forced);
    }
    let mut rank = q * observations;
    let at = buckets[..last]
        .partition_point(|bucket| matches!(bucket.count.partial_cmp(&rank), Some(Ordering::Less) | None));
    let bucket = buckets[at];
    let value = if at == last {
        buckets[last - 1].upper
    } else if at == 0 && bucket.upper <= 0.0 {
        bucket.upper
    } else {
        let (mut start, mut count) = (0.0, bucket.count);
        if at > 0 {
            start = buckets[at - 1].upper;
            count -= buckets[at - 1].count;
            rank -= buckets[at - 1].count;
        }
        start + (bucket.upper - start) * (rank / count)
    };
    (value, forced)
}

pub(super) fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if !prepare(buckets) {
        return f64::NAN;
    }
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || count.is_nan() || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let mut rank = 0.0;
    let mut start = if buckets[0].upper <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    let (mut lower_rank, mut upper_rank) = (None, None);
    for bucket in buckets.iter() {
        for (value, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_some() {
                continue;
            }
            if start >= value {
                *found = Some(rank);
            } else if bucket.upper > value {
                // Of a bucket that begins at -Inf nothing is known but that all of it is below.
                *found = Some(match start == f64::NEG_INFINITY {
                    true => bucket.count,
                    false => rank + (bucket.count - rank) * (value - start) / (bucket.upper - start),
                });
            }
        }
        rank = bucket.count;
        start = bucket.upper;
    }
    let rank_of = |found: Option<f64>| found.map_or(count, |rank| if rank > count { count } else { rank });
    (rank_of(upper_rank) - rank_of(lower_rank)) / count
}
