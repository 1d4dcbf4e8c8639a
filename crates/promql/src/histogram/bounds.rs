//! Where buckets begin and end.

use super::{CUSTOM_SCHEMA, Histogram};

/// A bucket with its boundaries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) count: f64,
}

/// The boundary of a bucket that is farther from zero, as an absolute value; of custom buckets the upper one.
pub(super) fn bound(index: i64, schema: i8, custom: &[f64]) -> f64 {
    if schema == CUSTOM_SCHEMA {
        return match usize::try_from(index) {
            Err(_) => f64::NEG_INFINITY,
            Ok(at) => custom.get(at).copied().unwrap_or(f64::INFINITY),
        };
    }
    // The last bucket of finite values would end at 2^1024, which is no number: it ends at the largest.
    if schema <= 0 {
        let exponent = index << u32::from(schema.unsigned_abs()).min(8);
        return if exponent == 1024 { f64::MAX } else { power_of_two(exponent) };
    }
    let schema = u32::try_from(schema).unwrap_or(0).min(16);
    let within = index & ((1 << schema) - 1);
    let exponent = index >> schema;
    if within == 0 && exponent == 1024 {
        return f64::MAX;
    }
    (within as f64 / f64::from(1u32 << schema)).exp2() * power_of_two(exponent)
}

fn power_of_two(exponent: i64) -> f64 {
    match exponent {
        1024.. => f64::INFINITY,
        -1022..=1023 => f64::from_bits(((exponent + 1023) as u64) << 52),
        -1074..=-1023 => f64::from_bits(1 << (exponent + 1074)),
        _ => 0.0,
    }
}

/// The index in a coarser schema of the bucket that holds this one.
pub(super) fn coarser(index: i64, from: i8, to: i8) -> i64 {
    ((index - 1) >> (i32::from(from) - i32::from(to)).clamp(0, 62)) + 1
}

impl Histogram {
    /// Buckets with observations that are not around zero, from the lowest to the highest.
    fn positive_buckets(&self) -> impl Iterator<Item = Bucket> {
        self.positive.iter().map(|(index, count)| Bucket {
            lower: bound(index - 1, self.schema, &self.custom_values),
            upper: bound(index, self.schema, &self.custom_values),
            count,
        })
    }

    /// Buckets of negative values, from the one nearest to zero to the lowest.
    fn negative_buckets(&self) -> impl Iterator<Item = Bucket> {
        self.negative.iter().map(|(index, count)| Bucket {
            lower: -bound(index, self.schema, &[]),
            upper: -bound(index - 1, self.schema, &[]),
            count,
        })
    }

    pub(super) fn zero_bucket(&self) -> Bucket {
        Bucket { lower: -self.zero_threshold, upper: self.zero_threshold, count: self.zero_count }
    }

    /// All buckets from the lowest to the highest. Where one overlaps the zero bucket, it ends there.
    pub(super) fn all_buckets(&self) -> Vec<Bucket> {
        let zero = self.zero_threshold;
        let mut all: Vec<Bucket> =
            Vec::with_capacity(self.positive.counts.len() + self.negative.counts.len() + 1);
        if !self.uses_custom_buckets() {
            all.extend(self.negative_buckets());
            all.reverse();
            for bucket in &mut all {
                if bucket.upper < 0.0 && bucket.upper > -zero {
                    bucket.upper = -zero;
                }
            }
            if self.zero_count > 0.0 {
                all.push(self.zero_bucket());
            }
        }
        all.extend(self.positive_buckets().map(|mut bucket| {
            if bucket.lower > 0.0 && bucket.lower < zero {
                bucket.lower = zero;
            }
            bucket
        }));
        all
    }

    /// Those with observations, as they are shown: negative ones from the lowest, the zero bucket, positive ones.
    pub(super) fn shown_buckets(&self) -> (Vec<Bucket>, Vec<Bucket>) {
        let in_use = |bucket: &Bucket| bucket.count != 0.0;
        let mut negative: Vec<Bucket> = self.negative_buckets().filter(in_use).collect();
        negative.reverse();
        (negative, self.positive_buckets().filter(in_use).collect())
    }
}

impl Bucket {
    /// How much of the bucket, from 0 to 1, lies below a value inside of it. Exponential buckets are divided on a
    /// logarithmic scale, on which all of them are equally wide.
    pub(super) fn share_below(&self, value: f64, linear: bool) -> f64 {
        if linear {
            return (value - self.lower) / (self.upper - self.lower);
        }
        let (lower, upper, value_log) =
            (self.lower.abs().log2(), self.upper.abs().log2(), value.abs().log2());
        if value > 0.0 {
            (value_log - lower) / (upper - lower)
        } else {
            1.0 - (value_log - upper) / (lower - upper)
        }
    }
}
