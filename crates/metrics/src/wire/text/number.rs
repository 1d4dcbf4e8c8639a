//! Numbers in text: values and times, and how `le` and `quantile` are written.

use super::super::NAN_BITS;

/// A value; `None` where it is none. NaN is the ordinary one, whatever its sign.
#[inline]
pub(super) fn value(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    if value.is_nan() {
        return Some(f64::from_bits(NAN_BITS));
    }
    // A number too large for a float is not infinity.
    let named = || text.bytes().any(|byte| byte.eq_ignore_ascii_case(&b'i'));
    (value.is_finite() || named()).then_some(value)
}

/// A time in seconds, as milliseconds; `None` where it is none.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let ms = value(text)? * 1000.0;
    // Floats of this size are whole numbers, and fit.
    (ms.abs() < 9e18).then(|| ms.round() as i64)
}

/// A number as OpenMetrics writes it in labels: as Go's `%g`, with `.0` where it would read as an integer
/// ("Considerations: Canonical Numbers").
pub(super) fn canonical(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    let plain = format!("{number}");
    if plain.contains('.') { plain } else { plain + ".0" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_numbers_are_those_of_openmetrics() {
        for (number, text) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (-1.0, "-1.0"),
            (0.005, "0.005"),
            (0.0001, "0.0001"),
            (1e-5, "1e-05"),
            (1e-10, "1e-10"),
            (10.0, "10.0"),
            (100_000.0, "100000.0"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1e10, "1e+10"),
            (2.5, "2.5"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(canonical(number), text);
        }
    }

    #[test]
    fn values_are_finite_or_say_that_they_are_not() {
        assert_eq!(value("1e3"), Some(1000.0));
        assert_eq!(value("+Inf"), Some(f64::INFINITY));
        assert_eq!(value("-infinity"), Some(f64::NEG_INFINITY));
        assert_eq!(value("NaN").map(f64::to_bits), Some(NAN_BITS));
        for text in ["1e999", "-1e999", "", "0x1p3", "1_0", "1,5", "one", " 1"] {
            assert_eq!(value(text), None, "{text:?}");
        }
        assert_eq!(seconds("1520879607.789"), Some(1_520_879_607_789));
        assert_eq!(seconds("-1.5"), Some(-1500));
        assert_eq!((seconds("NaN"), seconds("Inf"), seconds("1e300")), (None, None, None));
    }
}
