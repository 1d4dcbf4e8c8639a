//! The calendar, UTC: days since 1970 to dates (after Howard Hinnant's `civil_from_days`,
//! <https://howardhinnant.github.io/date_algorithms.html>).

/// A time of the Gregorian calendar, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// From 1.
    pub(crate) month: u8,
    /// From 1.
    pub(crate) day: u8,
    /// From 0.
    pub(crate) hour: u8,
    /// From 0.
    pub(crate) minute: u8,
    pub(crate) second: u8,
    /// From Sunday, 0.
    pub(crate) weekday: u8,
    /// From 1.
    pub(crate) day_of_year: u16,
}

impl Civil {
    /// Of seconds since 1970. Beyond some hundred million years, where days do not matter, of the nearest there is.
    pub(crate) fn of(seconds: i64) -> Self {
        let seconds = seconds.clamp(-(1 << 53), 1 << 53);
        let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Years that begin in March end with the leap day; 400 of them have 146,097 days.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let before = i64::from(DAYS_BEFORE[month as usize - 1]) + i64::from(month > 2 && is_leap(year));
        Self {
            year,
            month: month as u8,
            day: day as u8,
            hour: (of_day / 3_600) as u8,
            minute: (of_day % 3_600 / 60) as u8,
            second: (of_day % 60) as u8,
            weekday: (days + 4).rem_euclid(7) as u8,
            day_of_year: (before + day) as u16,
        }
    }

    pub(crate) fn days_in_month(self) -> u8 {
        match self.month {
            2 => 28 + u8::from(is_leap(self.year)),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }
}

/// Days of a common year before each month.
const DAYS_BEFORE: [u16; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

/// Of milliseconds since 1970: `2009-02-13T23:31:30Z`.
pub(crate) fn rfc3339(ms: i64) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = Civil::of(ms.div_euclid(1000));
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::{Civil, rfc3339};

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_234_567_890_999), "2009-02-13T23:31:30Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00Z");
        let leap = Civil::of(951_782_400);
        assert_eq!((leap.weekday, leap.day_of_year, leap.days_in_month()), (2, 60, 29));
        assert_eq!(Civil::of(951_782_400 + 86_400).day_of_year, 61);
    }
}
