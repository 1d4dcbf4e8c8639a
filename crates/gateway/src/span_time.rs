//! Times and lengths of spans as text: nanoseconds, where the rest of the surface counts microseconds.

use jiff::Timestamp;

/// Reads a length as Go writes it: `1h2m3.5s`, `100us`, `250ms`, `0`. Nanoseconds; none for anything else, and for what
/// is negative or longer than 2⁶⁴ ns.
pub(crate) fn read_length(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        total = total.checked_add(nanoseconds(number, unit_size(unit)?)?)?;
        rest = after;
    }
    Some(total)
}

fn unit_size(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    })
}

/// `number` × `unit`, exact before the point.
fn nanoseconds(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: f64 = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse().ok()? };
    whole.checked_mul(unit)?.checked_add((fraction * unit as f64).round() as u64)
}

/// Reads an RFC 3339 time as nanoseconds since 1970; what is earlier counts as 1970.
pub(crate) fn read_time(text: &str) -> Option<u64> {
    let stamp: Timestamp = text.parse().ok()?;
    Some(u64::try_from(stamp.as_nanosecond().max(0)).unwrap_or(u64::MAX))
}

/// Writes nanoseconds since 1970 in RFC 3339, UTC, to the nanosecond.
pub(crate) fn show_time(unix_nano: u64) -> String {
    Timestamp::from_nanosecond(i128::from(unix_nano))
        .map(|stamp| format!("{stamp:.9}"))
        .unwrap_or_else(|_| "out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_go_writes_them() {
        let read = [
            ("0", 0),
            ("1ns", 1),
            ("1.5us", 1_500),
            ("2µs", 2_000),
            ("250ms", 250_000_000),
            ("+1h2m3.5s", 3_723_500_000_000),
            (".5s", 500_000_000),
        ];
        for (text, expected) in read {
            assert_eq!(read_length(text), Some(expected), "{text}");
        }
        for text in ["", "+", "1", "ms", "-1s", ".s", "1.2.3s", "1 s", "9999999999h", "1s2"] {
            assert_eq!(read_length(text), None, "{text}");
        }
    }

    #[test]
    fn times_read_back_to_the_nanosecond() {
        let text = "2026-11-21T03:00:00.123456789Z";
        assert_eq!(read_time(text).map(show_time).as_deref(), Some(text));
        assert_eq!(read_time("1901-01-01T00:00:00Z"), Some(0));
        assert_eq!(read_time("noon"), None);
        assert!(!show_time(u64::MAX).is_empty());
    }
}
