//! What the user's own operation was like before Homeostat, and what was measured beside it: the page of statistics and the
//! statistics of the API say the same of both.
//!
//! In: two figures that only the user knows, as they are kept, and the times of repairs. Out: how the one stands to the
//! other; nothing where one of them is missing, for there is no number of ours to put in its place.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::overwritten::FIGURES;
use crate::problem::Problem;
use crate::serve::App;

/// What the user's own operation was like before, as they say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Baseline {
    /// Mean time to repair by hand, minutes.
    pub(crate) mttr_minutes: Option<f64>,
    /// What an hour of outage costs, in the user's own currency.
    pub(crate) outage_cost_per_hour: Option<f64>,
}

impl Baseline {
    /// Reads it out of the document it is kept in; none is kept where there is no document.
    ///
    /// # Errors
    ///
    /// The document is none of ours.
    pub(crate) fn read(document: Option<&str>) -> Result<Self, Problem> {
        document.map_or(Ok(Self::default()), |text| {
            serde_json::from_str(text).map_err(|error| {
                Problem::internal(format!(
                    "the document {FIGURES} cannot be read: {error}; enter your figures anew"
                ))
            })
        })
    }

    /// The baseline that is kept now.
    pub(crate) fn kept(app: &App) -> Result<Self, Problem> {
        Self::read(app.store.document(FIGURES)?.as_deref())
    }

    /// The measured mean beside the user's own; `None` where either is missing, or one of them is 0 and has no ratio.
    pub(crate) fn against(&self, measured: Option<Duration>) -> Option<Against> {
        let minutes = self.mttr_minutes.filter(|minutes| *minutes > 0.0)?;
        let measured = measured.filter(|measured| !measured.is_zero())?;
        Some(Against { minutes, measured })
    }
}

/// Two mean times to repair, both above 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Against {
    /// The user's own, minutes.
    pub(crate) minutes: f64,
    pub(crate) measured: Duration,
}

impl Against {
    pub(crate) fn measured_minutes(&self) -> f64 {
        self.measured.as_secs_f64() / 60.0
    }

    /// The user's own ÷ the measured: above 1 it is faster than before.
    pub(crate) fn times_faster(&self) -> f64 {
        self.minutes / self.measured_minutes()
    }

    /// (measured − own) ÷ own, such as `-65%`: below 0 it is faster than before. In tenths, rounded up, so that no
    /// repair is said to take no time at all.
    pub(crate) fn reduction(&self) -> String {
        // What a float is off by must not make a tenth.
        let tenths = ((self.measured_minutes() / self.minutes - 1.0) * 1000.0 - 1e-6).ceil();
        // A sum with 0 is never −0.
        format!("{:+}%", tenths / 10.0 + 0.0)
    }
}

/// The mean and the ends of some times.
pub(crate) struct Times {
    /// The shortest first.
    pub(crate) each: Vec<Duration>,
}

impl Times {
    pub(crate) fn of(each: impl Iterator<Item = Duration>) -> Self {
        let mut each: Vec<Duration> = each.collect();
        each.sort_unstable();
        Self { each }
    }

    pub(crate) fn sum(&self) -> Duration {
        self.each.iter().sum()
    }

    pub(crate) fn mean(&self) -> Option<Duration> {
        let n = u32::try_from(self.each.len()).ok().filter(|n| *n > 0)?;
        Some(self.sum() / n)
    }

    pub(crate) fn median(&self) -> Option<Duration> {
        self.each.get(self.each.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduction(minutes: f64, measured: Duration) -> Option<String> {
        let baseline = Baseline { mttr_minutes: Some(minutes), ..Baseline::default() };
        baseline.against(Some(measured)).map(|against| against.reduction())
    }

    #[test]
    fn a_reduction_is_signed_and_never_flatters() {
        for (minutes, seconds, expected) in [
            (20.0, 420.0, "-65%"),
            (30.0, 0.2178, "-99.9%"),
            (1.0, 60.0, "+0%"),
            (1.0, 90.0, "+50%"),
            (45.0, 10.1 * 60.0, "-77.5%"),
        ] {
            let said = reduction(minutes, Duration::from_secs_f64(seconds));
            assert_eq!(said.as_deref(), Some(expected), "{minutes} min, {seconds} s");
        }
    }

    #[test]
    fn nothing_is_compared_with_what_is_missing_or_nothing() {
        assert_eq!(reduction(0.0, Duration::from_secs(1)), None);
        assert_eq!(reduction(1.0, Duration::ZERO), None);
        assert_eq!(Baseline::default().against(Some(Duration::from_secs(1))), None);
        assert_eq!(Baseline { mttr_minutes: Some(1.0), ..Baseline::default() }.against(None), None);
    }
}
