//! Quantiles and fractions of native histograms.
//!
//! Within an exponential bucket observations are taken to be spread evenly on a logarithmic scale, within custom buckets and
//! the zero bucket evenly.

use super::Histogram;
use super::bounds::Bucket;
use crate::kahan::Kahan;

/// What observations of NaN, which are in no bucket, did to a quantile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observed {
    Numbers,
    /// They count as the highest values, so the quantile is higher than that of the numbers.
    SkewedByNan,
    /// The quantile is among them.
    Nan,
}

/// The value that this share of all observations is not above.
pub(crate) fn quantile(q: f64, h: &Histogram) -> (f64, Observed) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, Observed::Numbers);
    }
    if q > 1.0 {
        return (f64::INFINITY, Observed::Numbers);
    }
    if h.count == 0.0 || q.is_nan() {
        return (f64::NAN, Observed::Numbers);
    }
    // From the nearer end. NaN counts as highest, so with it from below.
    let from_below = h.sum.is_nan() || q < 0.5;
    let mut buckets = h.all_buckets();
    if !from_below {
        buckets.reverse();
    }
    let mut rank = if from_below { q * h.count } else { (1.0 - q) * h.count };
    let mut counted = 0.0;
    let mut bucket = Bucket { lower: 0.0, upper: 0.0, count: 0.0 };
    let mut rest = buckets.iter();
    for next in rest.by_ref() {
        bucket = *next;
        counted += bucket.count;
        if bucket.count != 0.0 && counted >= rank {
            break;
        }
    }
    if h.uses_custom_buckets() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return (bucket.upper, Observed::Numbers);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return (bucket.lower, Observed::Numbers);
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        bucket = one_sided(bucket, h);
    }
    counted = counted.min(h.count);
    if counted < rank {
        return if h.sum.is_nan() { (f64::NAN, Observed::Nan) } else { (bucket.upper, Observed::Numbers) };
    }
    rank = if from_below { rank - (counted - bucket.count) } else { counted - rank };
    let in_buckets = counted + rest.map(|bucket| bucket.count).sum::<f64>();
    let observed =
        if h.sum.is_nan() && in_buckets < h.count { Observed::SkewedByNan } else { Observed::Numbers };
    (interpolated(bucket, rank / bucket.count, h), observed)
}

fn interpolated(bucket: Bucket, share: f64, h: &Histogram) -> f64 {
    if h.uses_custom_buckets() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return bucket.lower + (bucket.upper - bucket.lower) * share;
    }
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    if bucket.lower > 0.0 {
        (lower + (upper - lower) * share).exp2()
    } else {
        -(upper + (lower - upper) * (1.0 - share)).exp2()
    }
}

/// A zero bucket, where there are observations on one side of zero only.
fn one_sided(mut bucket: Bucket, h: &Histogram) -> Bucket {
    if h.negative.is_empty() && !h.positive.is_empty() {
        bucket.lower = 0.0;
    } else if h.positive.is_empty() && !h.negative.is_empty() {
        bucket.upper = 0.0;
    }
    bucket
}

/// The share of observations between two values; of all, NaN among them, which lie nowhere. Whether there were any of these.
pub(crate) fn fraction(lower: f64, upper: f64, h: &Histogram) -> (f64, Observed) {
    if h.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, Observed::Numbers);
    }
    if lower >= upper {
        return (0.0, Observed::Numbers);
    }
    let buckets = h.all_buckets();
    let mut rank = 0.0;
    let (mut lower_rank, mut upper_rank) = (None, None);
    for bucket in &buckets {
        let held = bucket.count;
        let (bucket, linear) = shaped(*bucket, h);
        for (value, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_some() {
                continue;
            }
            if bucket.lower >= value {
                *found = Some(rank);
            } else if bucket.upper > value {
                // Of a bucket that begins at -Inf nothing is known but that all of it is below.
                *found = Some(match bucket.lower == f64::NEG_INFINITY {
                    true if linear => held,
                    _ => rank + held * bucket.share_below(value, linear),
                });
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        rank += held;
    }
    let mut observed = Observed::Numbers;
    let mut count = h.count;
    if h.sum.is_nan() {
        count = buckets.iter().map(|bucket| bucket.count).sum();
        if count < h.count {
            observed = Observed::SkewedByNan;
        }
    }
    let rank_of = |found: Option<f64>| found.map_or(count, |rank| if rank > count { count } else { rank });
    ((rank_of(upper_rank) - rank_of(lower_rank)) / h.count, observed)
}

/// A bucket as a fraction sees it, and whether observations are spread evenly in it.
fn shaped(mut bucket: Bucket, h: &Histogram) -> (Bucket, bool) {
    if h.uses_custom_buckets() {
        if bucket.lower == f64::NEG_INFINITY && bucket.upper > 0.0 {
            bucket.lower = 0.0;
        }
        (bucket, true)
    } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
        (one_sided(bucket, h), true)
    } else {
        (bucket, false)
    }
}

impl Histogram {
    /// The variance of the observations, each taken to be in the middle of its bucket.
    pub(crate) fn variance(&self) -> f64 {
        let mean = self.sum / self.count;
        let mut variance = Kahan::default();
        for bucket in self.all_buckets().iter().filter(|bucket| bucket.count != 0.0) {
            let middle = if self.uses_custom_buckets() {
                (bucket.upper + bucket.lower) / 2.0
            } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
                0.0
            } else {
                let geometric = (bucket.upper * bucket.lower).sqrt();
                if bucket.upper < 0.0 { -geometric } else { geometric }
            };
            let delta = middle - mean;
            variance.add(bucket.count * delta * delta);
        }
        (variance.sum + variance.lost) / self.count
    }
}
