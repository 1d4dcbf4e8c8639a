//! Times and durations of spans, in nanoseconds, as text.

use std::time::Duration;

use domain::Time;
use domain::units::show_duration;
use maud::{Markup, html};

pub(super) use crate::page::sentence::grouped;

/// A duration with two or three significant figures: `830 ns`, `4.2 µs`, `12 ms`, `1.3 s`.
pub(super) fn duration(nano: u64) -> String {
    let value = nano as f64;
    match nano {
        0..1_000 => format!("{nano} ns"),
        1_000..9_950 => format!("{:.1} µs", value / 1e3),
        9_950..999_500 => format!("{:.0} µs", value / 1e3),
        999_500..9_950_000 => format!("{:.1} ms", value / 1e6),
        9_950_000..999_500_000 => format!("{:.0} ms", value / 1e6),
        _ => show_duration(Duration::from_nanos(nano)),
    }
}

/// Reads `100ms`, `1.5s`, `250us`, `2m`; nanoseconds.
pub(super) fn parse_duration(text: &str) -> Option<u64> {
    let text = text.trim().replace(' ', "");
    let us = text.strip_suffix("us").or_else(|| text.strip_suffix("µs"));
    if let Some(us) = us {
        let us: f64 = us.parse().ok()?;
        return (0.0..1e15).contains(&us).then_some((us * 1e3) as u64);
    }
    let read = domain::units::parse_duration(&text).ok()?;
    u64::try_from(read.as_nanos()).ok()
}

/// What the field of a form takes as a duration: what [`parse_duration`] reads, short of its longest.
const DURATION: &str = r"\s*\d{1,9}(\.\d{1,9})? ?(us|µs|ms|s|m|min|h|d)\s*";

/// A field for a duration, which the browser sends only when it can be read.
pub(super) fn duration_field(name: &str, value: &str, example: &str) -> Markup {
    html! {
        input type="text" name=(name) value=(value) placeholder=(example) pattern=(DURATION)
            title="a duration, such as 250us, 100ms or 1.5s" autocomplete="off" spellcheck="false";
    }
}

/// A time stamp of a span as the pages' time.
pub(super) fn time(unix_nano: u64) -> Time {
    Time { boot_us: 0, wall_us: i64::try_from(unix_nano / 1000).unwrap_or(i64::MAX) }
}

/// A time in an address: RFC 3339 to the microsecond.
pub(super) fn stamp(unix_nano: u64) -> String {
    time(unix_nano).rfc3339()
}

/// A share in whole percent; what is there is never shown as nothing.
pub(super) fn percent(part: f64, whole: f64) -> String {
    if whole <= 0.0 {
        return "0 %".to_owned();
    }
    match part / whole * 100.0 {
        share if share > 0.0 && share < 1.0 => "< 1 %".to_owned(),
        share if share > 99.0 && share < 100.0 => "> 99 %".to_owned(),
        share => format!("{share:.0} %"),
    }
}

/// A number of things a second.
pub(super) fn rate(count: f64, seconds: f64) -> String {
    match count / seconds.max(1e-9) {
        0.0 => "0/s".to_owned(),
        rate if rate < 0.01 => "< 0.01/s".to_owned(),
        rate if rate < 1.0 => format!("{rate:.2}/s"),
        rate if rate < 10.0 => format!("{rate:.1}/s"),
        rate => format!("{rate:.0}/s"),
    }
}

/// A position on a picture, in percent of its width.
pub(super) fn at(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_two_or_three_figures() {
        let text = [830, 4_210, 83_000, 1_940_000, 412_000_000, 1_340_000_000].map(duration);
        assert_eq!(text, ["830 ns", "4.2 µs", "83 µs", "1.9 ms", "412 ms", "1.3 s"]);
    }

    #[test]
    fn durations_are_read_as_they_are_shown() {
        assert_eq!(parse_duration("1.5s"), Some(1_500_000_000));
        assert_eq!(parse_duration("250us"), Some(250_000));
        assert_eq!(parse_duration("83 µs"), Some(83_000));
        assert_eq!(parse_duration("8.3 min"), Some(498_000_000_000));
        assert_eq!(parse_duration("fast"), None);
        assert_eq!(parse_duration("-1us"), None);
    }

    #[test]
    fn a_small_share_is_not_nothing_and_a_large_one_not_all() {
        assert_eq!(percent(0.0, 10.0), "0 %");
        assert_eq!(percent(1.0, 1000.0), "< 1 %");
        assert_eq!(percent(999.5, 1000.0), "> 99 %");
        assert_eq!(percent(71.0, 100.0), "71 %");
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([7, 1234, 50_000, 1_234_567].map(grouped), ["7", "1,234", "50,000", "1,234,567"]);
    }
}
