//! How fast is too fast: the windows and factors of multi-window, multi-burn-rate alerts.
//!
//! From Google's SRE workbook, "Alerting on SLOs" (sre.google/workbook/alerting-on-slos): a page for 2 % of the budget
//! in 1 h or 5 % in 6 h, a ticket for 10 % in 1 d or in 3 d, each confirmed by a window of a twelfth of its length. A
//! share of the budget used within a window is a rate: `factor = share × period / window`, 14.4, 6, 3 and 1 of 30 days.
//!
//! Sloth keeps the windows and lets the factor change for the periods it has tables for (28 d and 30 d built in, 7 d
//! among its examples), and so do we. For any other period the windows are those of 30 days times `period / 30 d`, which
//! keeps the shares and the factors. Of the two only that stays sensible for short periods: with fixed windows a factor
//! would fall below 1, and a budget that is not even used up would page.

use crate::minutes::Minutes;

/// How many times as fast as is affordable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Factor {
    /// What uses up a share of the period's budget within a window.
    Share {
        /// The share, in hundredths of a percent.
        share: u32,
        /// The period of the objective.
        period: Minutes,
        /// The window it is used up in.
        window: Minutes,
    },
    /// A number from a file, in millionths.
    Millionths(u64),
}

impl Factor {
    /// As a number.
    pub fn value(self) -> f64 {
        let (numerator, denominator) = self.fraction();
        numerator as f64 / denominator as f64
    }

    /// Exactly, as numerator and denominator.
    pub(crate) fn fraction(self) -> (u64, u64) {
        match self {
            Self::Share { share, period, window } => {
                (u64::from(share) * u64::from(period.get()), 10_000 * u64::from(window.get()))
            }
            Self::Millionths(millionths) => (millionths, 1_000_000),
        }
    }
}

/// A share of the budget that may not be used up within a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The share, in hundredths of a percent.
    pub share: u32,
    /// Says whether it still burns.
    pub short: Minutes,
    /// Says whether it matters.
    pub long: Minutes,
}

/// The four pairs of one period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BurnTable {
    /// The period.
    pub period: Minutes,
    /// Two that page: the quick and the slow one.
    pub page: [Pair; 2],
    /// Two for tickets: the quick and the slow one.
    pub ticket: [Pair; 2],
}

/// The period the workbook's windows are of.
const WORKBOOK: Minutes = Minutes::days(30);

const fn pair(share: u32, short: Minutes, long: Minutes) -> Pair {
    Pair { share, short, long }
}

impl BurnTable {
    /// The table of a period.
    pub fn of(period: Minutes) -> Self {
        let fixed = |shares: [u32; 4]| Self {
            period,
            page: [
                pair(shares[0], Minutes::new(5), Minutes::hours(1)),
                pair(shares[1], Minutes::new(30), Minutes::hours(6)),
            ],
            ticket: [
                pair(shares[2], Minutes::hours(2), Minutes::days(1)),
                pair(shares[3], Minutes::hours(6), Minutes::days(3)),
            ],
        };
        let workbook = fixed([200, 500, 1_000, 1_000]);
        if period == WORKBOOK || period == Minutes::days(28) {
            workbook
        } else if period == Minutes::days(7) {
            fixed([800, 1_250, 2_000, 4_200])
        } else {
            let scaled =
                |pair: Pair| Pair { short: pair.short.of(period), long: pair.long.of(period), ..pair };
            Self { period, page: workbook.page.map(scaled), ticket: workbook.ticket.map(scaled) }
        }
    }

    /// Every window; not sorted.
    pub fn windows(&self) -> [Minutes; 8] {
        let [a, b] = self.page;
        let [c, d] = self.ticket;
        [a.short, a.long, b.short, b.long, c.short, c.long, d.short, d.long]
    }
}

impl Minutes {
    /// A window of 30 days' table as a window of another period; at least a minute.
    fn of(self, period: Self) -> Self {
        let scaled = u64::from(self.get()) * u64::from(period.get());
        let of = u64::from(WORKBOOK.get());
        Self::new(((scaled + of / 2) / of).max(1) as u32)
    }
}

impl Pair {
    /// The rate at which the share is used up within the long window.
    pub fn factor(&self, period: Minutes) -> Factor {
        Factor::Share { share: self.share, period, window: self.long }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(days: u32) -> Vec<String> {
        let table = BurnTable::of(Minutes::days(days));
        let pairs = table.page.iter().chain(&table.ticket);
        pairs
            .map(|pair| format!("{}/{} {}", pair.short, pair.long, pair.factor(table.period).value()))
            .collect()
    }

    #[test]
    fn the_tables_are_the_workbooks_and_sloths() {
        assert_eq!(shown(30), ["5m/1h 14.4", "30m/6h 6", "2h/1d 3", "6h/3d 1"]);
        assert_eq!(shown(28)[0], "5m/1h 13.44");
        assert_eq!(shown(7), ["5m/1h 13.44", "30m/6h 3.5", "2h/1d 1.4", "6h/3d 0.98"]);
    }

    #[test]
    fn other_periods_keep_the_shares_and_the_factors() {
        assert_eq!(shown(90), ["15m/3h 14.4", "1h30m/18h 6", "6h/3d 3", "18h/9d 1"]);
        assert_eq!(shown(14), ["2m/28m 14.4", "14m/2h48m 6", "56m/11h12m 3", "2h48m/1d9h36m 1"]);
        for days in 1..=90 {
            let table = BurnTable::of(Minutes::days(days));
            for pair in table.page.iter().chain(&table.ticket) {
                assert!(pair.short < pair.long && pair.long < table.period, "{days} d: {pair:?}");
                assert!(pair.factor(table.period).value() > 0.9, "{days} d: {pair:?}");
            }
        }
    }
}
