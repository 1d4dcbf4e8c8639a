//! Durations into buckets: OpenTelemetry's exponential histogram at scale 3, eight buckets for each doubling.
//!
//! Bucket 0 holds durations of 0 ns. Bucket `b` ≥ 1 holds those in (2^((b−2)/8), 2^((b−1)/8)] ns; its number is
//! OpenTelemetry's index plus 2. Where a bucket's content is spoken of as one value, that value is within
//! (γ−1)/(γ+1) = 4.33 % of each of them, with γ = 2^(1/8) (Masson, Rim, Lee: "DDSketch", VLDB 2019).

/// How far, relative to the true value, a quantile may lie from it.
pub const RELATIVE_ERROR: f64 = 0.0434;

/// Buckets there are, bucket 0 among them.
pub(crate) const BUCKETS: u16 = 514;

/// 2^(63 + i/8), rounded down: the bounds within one doubling, for numbers whose highest bit is bit 63.
const BOUNDS: [u64; 8] = [
    9_223_372_036_854_775_808,
    10_058_158_527_438_640_870,
    10_968_499_650_544_839_023,
    11_961_233_684_655_323_370,
    13_043_817_825_332_782_212,
    14_224_384_202_002_324_189,
    15_511_800_964_685_064_948,
    16_915_738_899_553_466_670,
];

/// The bucket of a duration in nanoseconds.
#[inline]
pub(crate) fn bucket(nanos: u64) -> u16 {
    if nanos == 0 {
        return 0;
    }
    let zeros = nanos.leading_zeros();
    let normal = nanos << zeros;
    let above: u16 = BOUNDS.iter().map(|&bound| u16::from(normal > bound)).sum();
    8 * (63 - zeros as u16) + above + 1
}

/// The upper bound of a bucket, inclusive, in nanoseconds.
pub(crate) fn upper(bucket: u16) -> f64 {
    if bucket == 0 { 0.0 } else { f64::exp2((f64::from(bucket) - 1.0) / 8.0) }
}

/// The lower bound of a bucket, exclusive, in nanoseconds.
pub(crate) fn lower(bucket: u16) -> f64 {
    if bucket == 0 { 0.0 } else { f64::exp2((f64::from(bucket) - 2.0) / 8.0) }
}

/// The value that stands for a bucket: equally far, relatively, from both bounds.
pub(crate) fn middle(bucket: u16) -> f64 {
    let (low, high) = (lower(bucket), upper(bucket));
    if bucket == 0 { 0.0 } else { 2.0 * low * high / (low + high) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_duration_lies_in_its_bucket_and_near_its_middle(bits in 0u32..64, noise: u64) {
            let nanos = (1u64 << bits) | (noise & ((1u64 << bits) - 1));
            let at = bucket(nanos);
            // A double has 53 bits; the bounds themselves are rounded.
            let tolerance = 1e-12;
            prop_assert!(nanos as f64 > lower(at) * (1.0 - tolerance), "{nanos} {at}");
            prop_assert!(nanos as f64 <= upper(at) * (1.0 + tolerance), "{nanos} {at}");
            prop_assert!((middle(at) / nanos as f64 - 1.0).abs() <= RELATIVE_ERROR);
        }
    }

    #[test]
    fn powers_of_two_end_their_bucket() {
        assert_eq!([0, 1, 2, 3, 4].map(bucket), [0, 1, 9, 14, 17]);
        for bits in 0..63 {
            assert_eq!(bucket(1 << bits), 8 * bits + 1);
            assert_eq!(upper(bucket(1 << bits)), (1u64 << bits) as f64);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}
