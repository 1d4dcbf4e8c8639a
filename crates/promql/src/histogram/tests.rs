//! Sums, resets and boundaries of histograms.

use super::bounds::bound;
use super::{
    Added, Buckets, CUSTOM_SCHEMA, CounterReset, Histogram, MixedSchemas, Observed, Precision, Span, Tally,
    quantile,
};

fn buckets(first: i32, counts: &[f64]) -> Buckets {
    Buckets { spans: vec![Span { offset: first, length: counts.len() as u32 }], counts: counts.to_vec() }
}

fn exponential(schema: i8, first: i32, counts: &[f64]) -> Histogram {
    Histogram {
        schema,
        zero_threshold: 0.0,
        zero_count: 0.0,
        count: counts.iter().sum(),
        sum: 1.0,
        positive: buckets(first, counts),
        negative: Buckets::default(),
        custom_values: [].into(),
        reset: CounterReset::Unknown,
    }
}

fn custom(bounds: &[f64], counts: &[f64]) -> Histogram {
    Histogram { custom_values: bounds.into(), ..exponential(CUSTOM_SCHEMA, 0, counts) }
}

fn added(a: &Histogram, b: &Histogram) -> Result<(Histogram, Added), MixedSchemas> {
    let mut tally = Tally::of(a);
    let said = tally.add(b, Precision::Kahan)?;
    Ok((tally.finish(), said))
}

#[test]
fn boundaries_are_powers_of_two_and_their_roots() {
    assert_eq!([bound(0, 0, &[]), bound(1, 0, &[]), bound(-1, 0, &[])], [1.0, 2.0, 0.5]);
    assert_eq!([bound(1, -1, &[]), bound(1, 1, &[]), bound(2, 1, &[])], [4.0, 2f64.sqrt(), 2.0]);
    assert_eq!([bound(1024, 0, &[]), bound(1025, 0, &[])], [f64::MAX, f64::INFINITY]);
    assert_eq!([bound(-1074, 0, &[]), bound(-1075, 0, &[])], [f64::from_bits(1), 0.0]);
    assert_eq!(bound(256 * 1024, 8, &[]), f64::MAX);
    assert_eq!([bound(-1, CUSTOM_SCHEMA, &[5.0]), bound(0, CUSTOM_SCHEMA, &[5.0])], [f64::NEG_INFINITY, 5.0]);
    assert_eq!(bound(1, CUSTOM_SCHEMA, &[5.0]), f64::INFINITY);
}

#[test]
fn a_sum_has_the_coarser_schema() {
    // Of schema 1, buckets 1 to 4 end at 1.41, 2, 2.83 and 4; of schema 0, buckets 1 and 2 at 2 and 4.
    let (sum, _) =
        added(&exponential(1, 1, &[1.0, 2.0, 3.0, 4.0]), &exponential(0, 1, &[10.0, 20.0])).expect("a sum");
    assert_eq!((sum.schema, sum.count), (0, 40.0));
    assert_eq!(sum.positive, buckets(1, &[13.0, 27.0]));
}

#[test]
fn a_sum_has_the_larger_zero_bucket() {
    let narrow = exponential(0, 0, &[1.0, 2.0]);
    let wide = Histogram { zero_threshold: 0.75, zero_count: 5.0, ..exponential(0, 1, &[1.0]) };
    // 0.75 lies within the bucket from 0.5 to 1, which is in use: the zero bucket is widened to 1.
    let (sum, _) = added(&narrow, &wide).expect("a sum");
    assert_eq!((sum.zero_threshold, sum.zero_count), (1.0, 6.0));
    assert_eq!(sum.positive, buckets(1, &[3.0]));
}

#[test]
fn custom_boundaries_are_brought_to_what_both_have() {
    let (sum, said) =
        added(&custom(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0, 4.0]), &custom(&[2.0, 5.0], &[10.0, 20.0, 30.0]))
            .expect("a sum");
    assert!(said.bounds_reconciled);
    assert_eq!(*sum.custom_values, [2.0]);
    assert_eq!(sum.positive, buckets(0, &[13.0, 57.0]));
    assert_eq!(added(&custom(&[1.0], &[1.0]), &exponential(0, 0, &[1.0])).err(), Some(MixedSchemas));
}

#[test]
fn what_is_said_of_resets_is_kept_unless_it_contradicts_itself() {
    let with = |reset| Histogram { reset, ..exponential(0, 0, &[1.0]) };
    let sum =
        |a, b| added(&with(a), &with(b)).map(|(sum, said)| (sum.reset, said.resets_collided)).expect("a sum");
    use CounterReset::{Gauge, NotReset, Reset, Unknown};
    assert_eq!(sum(Reset, NotReset), (Unknown, true));
    assert_eq!(sum(Reset, Reset), (Reset, false));
    assert_eq!(sum(NotReset, Gauge), (Gauge, false));
    assert_eq!(sum(NotReset, Unknown), (Unknown, false));
}

#[test]
fn a_counter_that_lost_something_was_reset() {
    let before = exponential(1, 0, &[1.0, 2.0]);
    assert!(!exponential(1, 0, &[1.0, 2.0]).is_reset_after(&before));
    assert!(!exponential(1, 0, &[1.0, 3.0]).is_reset_after(&before));
    assert!(!exponential(0, 0, &[3.0, 2.0]).is_reset_after(&before));
    assert!(exponential(1, 0, &[2.0, 1.0]).is_reset_after(&before));
    assert!(exponential(1, 1, &[5.0]).is_reset_after(&before));
    assert!(exponential(2, 0, &[9.0, 9.0]).is_reset_after(&before));
    assert!(custom(&[1.0], &[9.0]).is_reset_after(&before));
    assert!(!custom(&[2.0], &[3.0]).is_reset_after(&custom(&[1.0, 2.0], &[1.0, 2.0])));
    assert!(custom(&[2.0], &[2.0, 9.0]).is_reset_after(&custom(&[1.0, 2.0], &[1.0, 2.0])));
}

#[test]
fn sums_keep_what_rounding_would_lose() {
    let one = |sum| Histogram { sum, ..exponential(0, 0, &[1.0]) };
    let mut tally = Tally::of(&one(1.0));
    for sum in [1e100, 1.0, -1e100] {
        tally.add(&one(sum), Precision::Kahan).expect("a sum");
    }
    assert_eq!(tally.finish().sum, 2.0);
}

#[test]
fn what_comes_from_outside_may_contradict_itself() {
    let spans = vec![Span { offset: i32::MAX, length: u32::MAX }, Span { offset: -5, length: 3 }];
    let broken = Histogram {
        zero_threshold: f64::NAN,
        positive: Buckets { spans: spans.clone(), counts: vec![1.0, 2.0] },
        negative: Buckets { spans: vec![], counts: vec![1.0] },
        ..exponential(8, 0, &[])
    };
    for other in
        [&exponential(-4, 0, &[1.0]), &Histogram { zero_threshold: f64::INFINITY, ..broken.clone() }, &broken]
    {
        added(&broken, other).expect("a sum");
        added(other, &broken).expect("a sum");
        broken.is_reset_after(other);
        other.is_reset_after(&broken);
    }
    quantile(0.5, &Histogram { count: 3.0, ..broken.clone() });
    broken.trimmed_above(1.0);
    broken.variance();
    assert!(broken.to_string().starts_with("{count:"));
    let empty = Histogram { positive: Buckets { spans, counts: vec![1.0] }, ..custom(&[], &[]) };
    assert_eq!(quantile(0.5, &Histogram { count: 1.0, ..empty }).1, Observed::Numbers);
}

#[test]
fn a_histogram_is_shown_as_prometheus_shows_it() {
    let h = Histogram {
        zero_threshold: 0.001,
        zero_count: 2.0,
        negative: buckets(1, &[3.0]),
        sum: 1234567.0,
        ..exponential(0, 0, &[1.0, 0.0, 2.0])
    };
    assert_eq!(h.to_string(), "{count:3, sum:1.234567e+06, [-2,-1):3, [-0.001,0.001]:2, (0.5,1]:1, (2,4]:2}");
    assert_eq!(custom(&[5.0], &[1.0, 2.0]).to_string(), "{count:3, sum:1, [-Inf,5]:1, (5,+Inf]:2}");
}
