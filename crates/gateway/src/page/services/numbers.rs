//! Numbers of services, links and instances as text, from next to nothing to beyond what a cell has room for.

use std::time::Duration;

use domain::units::show_duration;

use crate::page::metrics::short;

/// Milliseconds from which on a larger unit tells more.
const LONG_MS: f64 = 10_000.0;
/// From here on digits are counted instead of read.
const LARGE: f64 = 100_000.0;

/// A figure with about three significant digits. What is there is never shown as nothing.
pub(super) fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= LARGE => short(value),
        v if v >= 10.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        v if v < 0.01 => "< 0.01".to_owned(),
        _ => format!("{value:.2}"),
    }
}

/// Milliseconds, as long as they can be read as such.
pub(super) fn milliseconds(ms: f64) -> String {
    match Duration::try_from_secs_f64(ms / 1000.0) {
        Ok(long) if ms >= LONG_MS => show_duration(long),
        _ => format!("{} ms", figure(ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_no_zero_and_what_is_large_can_be_read() {
        let shown = [0.0, 0.000_4, 0.25, 3.06, 412.0, 98_765.0, 3_292_181_070_041.0].map(figure);
        assert_eq!(shown, ["0", "< 0.01", "0.25", "3.1", "412", "98765", "3.292T"]);
    }

    #[test]
    fn an_hour_is_not_told_in_milliseconds() {
        let shown = [0.000_4, 9.4, 1400.0, 8_640_000.0].map(milliseconds);
        assert_eq!(shown, ["< 0.01 ms", "9.4 ms", "1400 ms", "2.4 h"]);
    }
}
