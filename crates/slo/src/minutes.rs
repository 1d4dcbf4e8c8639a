//! Lengths of time in whole minutes, read and written as Prometheus and OpenSLO write them.

use std::fmt;

/// A length of time in whole minutes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minutes(u32);

/// Why a text is no length of time that is counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MinutesError {
    /// Not a number and a unit.
    #[error("{text:?} is no duration: write a whole number and a unit, such as 5m, 1h, 30d or 4w")]
    Malformed {
        /// What was given.
        text: String,
    },
    /// Months, quarters and years.
    #[error("{text:?} has no fixed length: write it in days or weeks, such as 30d or 4w")]
    Calendar {
        /// What was given.
        text: String,
    },
    /// Seconds that make no minutes.
    #[error("{text:?} is not a whole number of minutes, which is what events are counted by")]
    Fraction {
        /// What was given.
        text: String,
    },
    /// Longer than can be counted.
    #[error("{text:?} is too long")]
    TooLong {
        /// What was given.
        text: String,
    },
}

/// Prometheus' units, in the order it writes them, and whether it writes them for exact multiples only.
const UNITS: [(&str, u64, bool); 7] = [
    ("y", 365 * 86_400_000, true),
    ("w", 7 * 86_400_000, true),
    ("d", 86_400_000, false),
    ("h", 3_600_000, false),
    ("m", 60_000, false),
    ("s", 1_000, false),
    ("ms", 1, false),
];

impl Minutes {
    /// So many minutes.
    pub const fn new(minutes: u32) -> Self {
        Self(minutes)
    }

    /// So many hours.
    pub const fn hours(hours: u32) -> Self {
        Self(hours * 60)
    }

    /// So many days.
    pub const fn days(days: u32) -> Self {
        Self(days * 24 * 60)
    }

    /// As a number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Of Prometheus' spelling: `5m`, `1d12h`, `4w`.
    pub(crate) fn from_prometheus(text: &str) -> Result<Self, MinutesError> {
        let milliseconds = milliseconds(text)?;
        if milliseconds % 60_000 != 0 {
            return Err(MinutesError::Fraction { text: text.to_owned() });
        }
        let minutes = u32::try_from(milliseconds / 60_000);
        minutes.map(Self).map_err(|_| MinutesError::TooLong { text: text.to_owned() })
    }

    /// Of OpenSLO's duration shorthand: a whole number and one of m, h, d, w. Its M, Q and Y have no fixed length.
    pub(crate) fn from_openslo(text: &str) -> Result<Self, MinutesError> {
        let malformed = || MinutesError::Malformed { text: text.to_owned() };
        let unit = text.chars().next_back().ok_or_else(malformed)?;
        let minutes_each = match unit {
            'm' => 1,
            'h' => 60,
            'd' => 24 * 60,
            'w' => 7 * 24 * 60,
            'M' | 'Q' | 'Y' => return Err(MinutesError::Calendar { text: text.to_owned() }),
            _ => return Err(malformed()),
        };
        let number = &text[..text.len() - unit.len_utf8()];
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(malformed());
        }
        let minutes = number.parse::<u32>().ok().and_then(|number| number.checked_mul(minutes_each));
        minutes.map(Self).ok_or_else(|| MinutesError::TooLong { text: text.to_owned() })
    }
}

/// Milliseconds of a duration in Prometheus' spelling: units from the longest to the shortest, each once.
pub(crate) fn milliseconds(text: &str) -> Result<u64, MinutesError> {
    let malformed = || MinutesError::Malformed { text: text.to_owned() };
    let too_long = || MinutesError::TooLong { text: text.to_owned() };
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut sum = 0_u64;
    if rest.is_empty() {
        return Err(malformed());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        if number.is_empty() {
            return Err(malformed());
        }
        let (_, each, _) = units.find(|(name, _, _)| *name == unit).ok_or_else(malformed)?;
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*each));
        sum = part.and_then(|part| sum.checked_add(part)).ok_or_else(too_long)?;
        rest = after;
    }
    Ok(sum)
}

/// As Prometheus writes it: `5m`, `1d12h`, `4w`.
impl fmt::Display for Minutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::from(self.0) * 60_000;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, each, exact) in UNITS {
            if rest >= each && (!exact || rest % each == 0) {
                write!(f, "{}{name}", rest / each)?;
                rest %= each;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Minutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_prometheus_writes_them_and_read_back() {
        for (minutes, text) in [
            (5, "5m"),
            (90, "1h30m"),
            (1440, "1d"),
            (2160, "1d12h"),
            (10_080, "1w"),
            (40_320, "4w"),
            (43_200, "30d"),
        ] {
            assert_eq!(Minutes::new(minutes).to_string(), text);
            assert_eq!(Minutes::from_prometheus(text), Ok(Minutes::new(minutes)));
        }
        assert_eq!(Minutes::from_prometheus("120s"), Ok(Minutes::new(2)));
    }

    #[test]
    fn openslo_has_one_unit_and_no_months() {
        assert_eq!(Minutes::from_openslo("4w"), Ok(Minutes::days(28)));
        assert_eq!(Minutes::from_openslo("12h"), Ok(Minutes::hours(12)));
        for (text, words) in [
            ("1M", "no fixed length"),
            ("1d12h", "no duration"),
            ("m", "no duration"),
            ("", "no duration"),
            ("+5m", "no duration"),
            ("5µ", "no duration"),
            ("99999999w", "too long"),
        ] {
            let error = Minutes::from_openslo(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn what_prometheus_refuses_is_refused() {
        for text in ["", "5", "m", "1h1d", "1h1h", "-1h", "1.5h", "1 h", "99999999999999999999y"] {
            assert!(Minutes::from_prometheus(text).is_err(), "{text}");
        }
        assert!(matches!(Minutes::from_prometheus("90s"), Err(MinutesError::Fraction { .. })));
    }
}
