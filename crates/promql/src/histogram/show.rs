//! Histograms as text, as `count_values` has them: `{count:3, sum:5, (0.5,1]:1, (1,2]:2}`.

use std::fmt;

use super::Histogram;
use crate::go::General;

/// A bucket with observations, and whether its boundaries belong to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShownBucket {
    /// Where it begins.
    pub lower: f64,
    /// Where it ends.
    pub upper: f64,
    /// Whether observations of exactly [`Self::lower`] are in it.
    pub with_lower: bool,
    /// Whether observations of exactly [`Self::upper`] are in it.
    pub with_upper: bool,
    /// Observations; of a rate not a whole number, of a gauge maybe below 0.
    pub count: f64,
}

impl Histogram {
    /// Its buckets with observations, from the lowest to the highest.
    pub fn shown(&self) -> Vec<ShownBucket> {
        let custom = self.uses_custom_buckets();
        let shown = self.all_buckets().into_iter().filter(|bucket| bucket.count != 0.0).map(|bucket| {
            let (lower, upper, count) = (bucket.lower, bucket.upper, bucket.count);
            let around_zero = lower == -upper && !custom;
            // The first custom bucket has -Inf in it.
            let with_lower = if custom { lower == f64::NEG_INFINITY } else { lower < 0.0 || around_zero };
            let with_upper = custom || upper > 0.0 || around_zero;
            ShownBucket { lower, upper, with_lower, with_upper, count }
        });
        shown.collect()
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", General(self.count), General(self.sum))?;
        let (negative, positive) = self.shown_buckets();
        let bounds = |bucket: &super::Bucket| format!("{},{}", General(bucket.lower), General(bucket.upper));
        for bucket in &negative {
            write!(f, ", [{}):{}", bounds(bucket), General(bucket.count))?;
        }
        if self.zero_count != 0.0 && !self.uses_custom_buckets() {
            write!(f, ", [{}]:{}", bounds(&self.zero_bucket()), General(self.zero_count))?;
        }
        let first =
            self.positive.iter().next().filter(|(index, _)| *index == 0 && self.uses_custom_buckets());
        for (at, bucket) in positive.iter().enumerate() {
            // The first custom bucket has -Inf in it.
            let open = if at == 0 && first.is_some() && bucket.lower.is_infinite() { "[" } else { "(" };
            write!(f, ", {open}{}]:{}", bounds(bucket), General(bucket.count))?;
        }
        f.write_str("}")
    }
}
