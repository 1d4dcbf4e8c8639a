//! Units as types, so that a core is never added to a byte.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A share in percent. 0 to 100 for shares of a whole; may exceed 100 for usage against a soft limit.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Percent(pub f64);

impl Percent {
    /// `part` of `whole` in percent; `None` where `whole` is zero or negative.
    pub fn of(part: f64, whole: f64) -> Option<Self> {
        (whole > 0.0).then(|| Self(part / whole * 100.0))
    }

    /// The share as a ratio, 1.0 for 100 %.
    pub fn ratio(self) -> f64 {
        self.0 / 100.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} %", self.0)
    }
}

/// A number of bytes. In text `64 MiB`, `512 KiB`, `2 GiB`, or a plain number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub u64);

impl Bytes {
    /// `n` mebibytes.
    pub const fn mib(n: u64) -> Self {
        Self(n * 1024 * 1024)
    }

    /// This many bytes grown by `percent`, saturating.
    pub fn grown_by(self, percent: Percent) -> Self {
        Self((self.0 as f64 * (1.0 + percent.ratio())) as u64)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        for (size, name) in UNITS {
            if self.0 >= size {
                let value = self.0 as f64 / size as f64;
                return if self.0.is_multiple_of(size) {
                    write!(f, "{value:.0} {name}")
                } else {
                    write!(f, "{value:.1} {name}")
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

/// Why a quantity could not be read from text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {text:?} as {expected}")]
pub struct UnitError {
    /// What was given.
    pub text: String,
    /// What was expected, with an example.
    pub expected: &'static str,
}

/// Splits `12.5MiB` into the number and its unit.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    Some((number, text[end..].trim()))
}

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error =
            || UnitError { text: text.to_owned(), expected: "a size, such as 64MiB, 512KiB or 1048576" };
        // Above 2^53 bytes a number with a fraction is not exact; a plain one must be.
        if let Ok(bytes) = text.trim().parse() {
            return Ok(Self(bytes));
        }
        let (number, unit) = number_and_unit(text).ok_or_else(error)?;
        let factor = match unit {
            "" | "B" => 1.0,
            "KiB" => 1024.0,
            "MiB" => 1024.0 * 1024.0,
            "GiB" => 1024.0 * 1024.0 * 1024.0,
            "kB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            _ => return Err(error()),
        };
        let bytes = number * factor;
        // `u64::MAX as f64` is 2^64, the first number that does not fit.
        if bytes < u64::MAX as f64 { Ok(Self(bytes as u64)) } else { Err(error()) }
    }
}

/// The longest duration that is read, 100 years: far above every use, and far below where adding it to a
/// time overflows.
pub const DURATION_MAX: Duration = Duration::from_secs(36_525 * 86_400);

/// Reads a duration such as `250ms`, `1.5s`, `2m`, `1h`, `7d`; at most [`DURATION_MAX`].
///
/// # Errors
///
/// Where it is none, or longer.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let error = || UnitError {
        text: text.to_owned(),
        expected: "a duration, such as 250ms, 5s, 2m, 1h or 7d, at most 36525d",
    };
    let (number, unit) = number_and_unit(text).ok_or_else(error)?;
    let seconds = match unit {
        "ms" => number / 1e3,
        "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86_400.0,
        _ => return Err(error()),
    };
    // To the microsecond: finer than anything here is timed, and coarser than the error of the fraction.
    let us = (seconds * 1e6).round();
    let lost = us == 0.0 && seconds > 0.0;
    if lost || us > DURATION_MAX.as_micros() as f64 {
        return Err(error());
    }
    Ok(Duration::from_micros(us as u64))
}

/// Writes a duration in its largest fitting unit with two significant figures, as the pages and reports do.
pub fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s < 0.001 => format!("{} µs", duration.as_micros()),
        s if s < 1.0 => format!("{} ms", duration.as_millis()),
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 600.0 => format!("{:.1} min", s / 60.0),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 36_000.0 => format!("{:.1} h", s / 3600.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s if s < 864_000.0 => format!("{:.1} d", s / 86_400.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size, such as 64MiB, 512KiB or 1048576")
            }
            fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<Bytes, E> {
                Ok(Bytes(v))
            }
            fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<Bytes, E> {
                u64::try_from(v).map(Bytes).map_err(|_| E::custom("a size cannot be negative"))
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Bytes, E> {
                v.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Durations in serialised values: written as whole milliseconds, read as milliseconds or as `5s`, `250ms`.
/// Text is rounded to the millisecond when it is read, so that a value is the same after it was written.
pub mod duration_ms {
    use super::{DURATION_MAX, parse_duration};
    use serde::{Deserializer, Serializer};
    use std::time::Duration;

    /// Writes whole milliseconds.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    fn from_ms<E: serde::de::Error>(ms: u64) -> Result<Duration, E> {
        let read = Duration::from_millis(ms);
        if read <= DURATION_MAX { Ok(read) } else { Err(E::custom(format!("{ms} ms is above 36525 days"))) }
    }

    fn from_text<E: serde::de::Error>(text: &str) -> Result<Duration, E> {
        let exact = parse_duration(text).map_err(E::custom)?;
        let ms = (exact.as_secs_f64() * 1e3).round() as u64;
        if ms == 0 && !exact.is_zero() {
            return Err(E::custom(format!("{text:?} is below 1ms")));
        }
        from_ms(ms)
    }

    /// Reads milliseconds, or text with a unit.
    ///
    /// # Errors
    ///
    /// Where it is neither.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Duration;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a duration, such as 250ms, 5s, 2m, 1h or 7d")
            }
            fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<Duration, E> {
                from_ms(v)
            }
            fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<Duration, E> {
                from_ms(u64::try_from(v).map_err(|_| E::custom("a duration cannot be negative"))?)
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Duration, E> {
                from_text(v)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A number of processor cores; 0.5 is half of one.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cores(pub f64);

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} cores", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!("64MiB".parse(), Ok(Bytes::mib(64)));
        assert_eq!("64 MiB".parse(), Ok(Bytes::mib(64)));
        assert_eq!("1.5KiB".parse(), Ok(Bytes(1536)));
        assert_eq!("17".parse(), Ok(Bytes(17)));
        assert!("64 pounds".parse::<Bytes>().is_err());
        assert!("-1".parse::<Bytes>().is_err());
        assert_eq!("9007199254740993".parse(), Ok(Bytes(9_007_199_254_740_993)), "to the byte");
        assert!("99999999999999999999GiB".parse::<Bytes>().is_err(), "more than can be counted");
    }

    #[test]
    fn durations_are_shown_with_two_significant_figures() {
        let shown = |s: f64| show_duration(Duration::from_secs_f64(s));
        let shown = [0.43, 4.2, 12.0, 186.0, 1800.0, 3600.0, 9000.0, 86_400.0, 345_600.0].map(shown);
        assert_eq!(
            shown.each_ref().map(String::as_str),
            ["430 ms", "4.2 s", "12 s", "3.1 min", "30 min", "60 min", "2.5 h", "24 h", "4.0 d"]
        );
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_fits() {
        assert_eq!(Bytes::mib(64).to_string(), "64 MiB");
        assert_eq!(Bytes(1536).to_string(), "1.5 KiB");
        assert_eq!(Bytes(12).to_string(), "12 B");
    }

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
        assert!(parse_duration("soon").is_err());
        assert!(parse_duration("5").is_err(), "a duration needs its unit");
        assert_eq!(parse_duration("36525d"), Ok(DURATION_MAX));
        let long = Duration::from_millis(50_198_548_198);
        assert_eq!(parse_duration("50198548198ms"), Ok(long), "not a nanosecond less");
        assert!(parse_duration("0.0001ms").is_err(), "would be read as nothing");
        assert!(parse_duration("99999999999d").is_err(), "nothing lasts that long");
    }

    proptest::proptest! {
        /// Whatever is written where a size, a duration or a name belongs: it is read or refused.
        #[test]
        fn no_text_panics(text in "[0-9.]{0,30} ?(ms|s|m|min|h|d|B|KiB|GiB|GB|.{0,3})|.*") {
            let _ = text.parse::<Bytes>();
            if let Ok(duration) = parse_duration(&text) {
                assert!(!show_duration(duration).is_empty());
            }
            let _ = text.parse::<crate::ResourceId>();
        }

        #[test]
        fn names_of_resources_read_back(text in "(instance|volume|link|service|node)/[a-z0-9>/-]{0,20}") {
            if let Ok(resource) = text.parse::<crate::ResourceId>() {
                proptest::prop_assert_eq!(resource.to_string(), text);
            }
        }
    }
}
