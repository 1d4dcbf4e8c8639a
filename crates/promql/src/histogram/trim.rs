//! `</` and `>/`: histograms without what was observed above or below a value.
//!
//! What a bucket that the value falls into holds is divided as quantiles divide it; the sum becomes the sum of the buckets'
//! middles, since the true one is not known any more.

use super::bounds::Bucket;
use super::{Buckets, Histogram};

/// Which observations are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Below,
    Above,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Positive,
    Negative,
}

impl Histogram {
    /// What was observed up to a value.
    pub(crate) fn trimmed_above(&self, value: f64) -> Self {
        self.trimmed(value, Keep::Below)
    }

    /// What was observed from a value on.
    pub(crate) fn trimmed_below(&self, value: f64) -> Self {
        self.trimmed(value, Keep::Above)
    }

    fn trimmed(&self, value: f64, keep: Keep) -> Self {
        let linear = self.uses_custom_buckets();
        let mut trimmed = self.clone();
        let (mut count, mut sum, mut changed) = (0.0, 0.0, false);
        for side in [Side::Positive, Side::Negative] {
            let buckets = if side == Side::Positive { &self.positive } else { &self.negative };
            let kept: Vec<(i64, f64)> = buckets
                .in_use()
                .map(|(index, held)| {
                    let bucket = self.bucket_at(index, held, side);
                    let (left, middle) = trim(bucket, value, keep, side, linear);
                    count += left;
                    sum += middle * left;
                    changed |= left != held;
                    (index, left)
                })
                .collect();
            let kept = Buckets::collect(kept.into_iter().filter(|(_, left)| *left != 0.0));
            *(if side == Side::Positive { &mut trimmed.positive } else { &mut trimmed.negative }) = kept;
        }
        if self.zero_count > 0.0 && !linear {
            let (left, middle) = self.trim_zero(value, keep);
            changed |= left != self.zero_count;
            trimmed.zero_count = left;
            count += left;
            sum += middle * left;
        }
        if changed {
            trimmed.count = count;
            trimmed.sum = sum;
        }
        trimmed
    }

    fn bucket_at(&self, index: i64, count: f64, side: Side) -> Bucket {
        let near = super::bounds::bound(index - 1, self.schema, &self.custom_values);
        let far = super::bounds::bound(index, self.schema, &self.custom_values);
        match side {
            Side::Positive => Bucket { lower: near, upper: far, count },
            Side::Negative => Bucket { lower: -far, upper: -near, count },
        }
    }

    /// Of the zero bucket: what is kept and its middle. Where there are buckets on one side only, it has that side only.
    fn trim_zero(&self, value: f64, keep: Keep) -> (f64, f64) {
        let Bucket { mut lower, mut upper, count } = self.zero_bucket();
        let (positive, negative) =
            (self.positive.in_use().next().is_some(), self.negative.in_use().next().is_some());
        if negative && !positive {
            upper = 0.0;
        }
        if positive && !negative {
            lower = 0.0;
        }
        let whole = (count, (lower + upper) / 2.0);
        match keep {
            Keep::Below if value <= lower => (0.0, 0.0),
            Keep::Below if value >= upper => whole,
            Keep::Below => (count * ((value - lower) / (upper - lower)), (lower + value) / 2.0),
            Keep::Above if value <= lower => whole,
            Keep::Above if value >= upper => (0.0, 0.0),
            Keep::Above => (count * ((upper - value) / (upper - lower)), (value + upper) / 2.0),
        }
    }
}

/// What is kept of a bucket, and the middle of that.
fn trim(bucket: Bucket, value: f64, keep: Keep, side: Side, linear: bool) -> (f64, f64) {
    let (all, some) = match keep {
        Keep::Below => (bucket.upper <= value, bucket.lower < value),
        Keep::Above => (bucket.lower >= value, bucket.upper > value),
    };
    if all {
        return (bucket.count, middle(bucket.lower, bucket.upper, side, linear));
    }
    if !some {
        return (0.0, 0.0);
    }
    if bucket.lower == f64::NEG_INFINITY {
        return trim_first(bucket, value, keep);
    }
    if bucket.upper == f64::INFINITY {
        // Nothing is known of how far beyond its lower end the values lie.
        return match keep {
            Keep::Below => (0.0, finite(bucket.lower)),
            Keep::Above if value >= bucket.lower => (bucket.count, value),
            Keep::Above => (0.0, finite(bucket.lower)),
        };
    }
    let below = match () {
        () if value <= bucket.lower => 0.0,
        () if value >= bucket.upper => bucket.count,
        () => bucket.count * bucket.share_below(value, linear),
    };
    match keep {
        Keep::Below => (below, middle(bucket.lower, value, side, linear)),
        Keep::Above => (bucket.count - below, middle(value, bucket.upper, side, linear)),
    }
}

/// Of the first custom bucket, which begins at -Inf; at 0, where it ends above.
fn trim_first(bucket: Bucket, value: f64, keep: Keep) -> (f64, f64) {
    let bounded = bucket.upper > 0.0 && bucket.upper.is_finite();
    match keep {
        Keep::Below if value >= bucket.upper => (bucket.count, 0.0),
        Keep::Below if value > 0.0 && bounded => (bucket.count * value / bucket.upper, value / 2.0),
        Keep::Below if bucket.upper <= 0.0 => (bucket.count, value),
        Keep::Above if value <= bucket.lower => (bucket.count, 0.0),
        Keep::Above if value >= 0.0 && bucket.upper > value && bounded => {
            (bucket.count * (1.0 - value / bucket.upper), (value + bucket.upper) / 2.0)
        }
        _ => (0.0, finite(bucket.upper)),
    }
}

fn finite(value: f64) -> f64 {
    if value.is_infinite() { 0.0 } else { value }
}

fn middle(lower: f64, upper: f64, side: Side, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if linear => (lower + upper) / 2.0,
        (false, false) => {
            let geometric = (lower * upper).abs().sqrt();
            if side == Side::Positive { geometric } else { -geometric }
        }
    }
}
