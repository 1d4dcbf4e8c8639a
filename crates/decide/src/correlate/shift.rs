//! Whether a service was worse in one range of time than in another: the test that patterns stand on.
//!
//! The unit is the step, not the call: calls of one step fail together, so that a test over calls would be surer than
//! it may be. Each step gives one value of a figure (its share of errors, or its p95), and the values after are
//! compared with those before by the one-sided test of Mann, Whitney and Wilcoxon, which asks for no distribution:
//!
//! - U counts the pairs (before, after) in which the one after is worse, equal ones half; A = U ÷ pairs is the
//!   probability that a step after is worse than one before, ½ where nothing changed;
//! - p from the normal approximation with the correction for ties and for continuity.
//!
//! It is a shift where p ≤ [`P_MAX`], both sides have at least [`STEPS_MIN`] steps, and it matters: the share of errors
//! of all calls rose by at least [`ERRORS_MIN`], or the median p95 to [`TIME_FACTOR_MIN`] times and by at least
//! [`TIME_MIN_MS`].

use super::{Span, Step};

/// The largest probability of a chance finding.
pub const P_MAX: f64 = 0.01;

/// The fewest steps with calls on either side: with fewer no p this small is possible.
pub const STEPS_MIN: usize = 5;

/// One percentage point: detection's own limit of `error_rate` is 1 %.
pub const ERRORS_MIN: f64 = 0.01;

/// A p95 half as high again.
pub const TIME_FACTOR_MIN: f64 = 1.5;

/// Below this a factor is noise of the scheduler.
pub const TIME_MIN_MS: f64 = 20.0;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Errors ÷ calls.
    Errors,
    /// 95th percentile of the time of calls.
    Time,
}

/// A service became worse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// In what.
    pub figure: Figure,
    /// Before: share of errors of all calls, or median p95 in milliseconds.
    pub before: f64,
    /// The same after.
    pub after: f64,
    /// The probability that a step after is worse than one before, ½ to 1.
    pub superiority: f64,
    /// The probability of finding this or more by chance.
    pub p: f64,
    /// Steps with calls before.
    pub steps_before: usize,
    /// Steps with calls after.
    pub steps_after: usize,
}

impl Shift {
    /// The shift of a figure from one range to another; `None` where there is none, or it cannot be told.
    pub fn between(figure: Figure, steps: &[Step], before: Span, after: Span) -> Option<Self> {
        let of = |span: Span| -> Vec<&Step> {
            let inside = |step: &&Step| step.span.from_us >= span.from_us && step.span.to_us <= span.to_us;
            steps.iter().filter(inside).filter(|step| figure.of(step).is_some()).collect()
        };
        let (old, new) = (of(before), of(after));
        if old.len() < STEPS_MIN || new.len() < STEPS_MIN {
            return None;
        }
        let values =
            |steps: &[&Step]| -> Vec<f64> { steps.iter().filter_map(|step| figure.of(step)).collect() };
        let (x, y) = (values(&old), values(&new));
        let (superiority, p) = rank_test(&x, &y);
        let (before, after) = match figure {
            Figure::Errors => (error_share(&old), error_share(&new)),
            Figure::Time => (median(x), median(y)),
        };
        let matters = match figure {
            Figure::Errors => after - before >= ERRORS_MIN,
            Figure::Time => after >= before * TIME_FACTOR_MIN && after - before >= TIME_MIN_MS,
        };
        (p <= P_MAX && superiority > 0.5 && matters).then_some(Self {
            figure,
            before,
            after,
            superiority,
            p,
            steps_before: old.len(),
            steps_after: new.len(),
        })
    }

    /// How far it is from no shift at all, 0 to 1: 2A − 1.
    pub(crate) fn strength(&self) -> f64 {
        (2.0 * self.superiority - 1.0).clamp(0.0, 1.0)
    }

    /// `errors rose from 0.1 % to 31 % (p 0.0004, 60 steps before, 9 after)`.
    pub fn words(&self) -> String {
        let change = match self.figure {
            Figure::Errors => {
                format!("errors rose from {} to {}", percent(self.before), percent(self.after))
            }
            Figure::Time => format!("p95 rose from {} to {}", ms(self.before), ms(self.after)),
        };
        let p = if self.p < 0.0001 { "below 0.0001".to_owned() } else { format!("{:.4}", self.p) };
        format!("{change} (p {p}, {} steps before, {} after)", self.steps_before, self.steps_after)
    }
}

impl Figure {
    fn of(self, step: &Step) -> Option<f64> {
        let value = match self {
            Self::Errors => (step.calls > 0.0).then(|| step.errors / step.calls),
            Self::Time => step.p95_ms,
        };
        value.filter(|value| value.is_finite())
    }
}

fn percent(ratio: f64) -> String {
    match ratio * 100.0 {
        p if p >= 10.0 => format!("{p:.0} %"),
        p if p >= 1.0 => format!("{p:.1} %"),
        0.0 => "0 %".to_owned(),
        p => format!("{p:.2} %"),
    }
}

fn ms(value: f64) -> String {
    if value >= 10.0 { format!("{value:.0} ms") } else { format!("{value:.1} ms") }
}

fn error_share(steps: &[&Step]) -> f64 {
    let (errors, calls) = steps.iter().fold((0.0, 0.0), |(e, c), step| (e + step.errors, c + step.calls));
    if calls > 0.0 { errors / calls } else { 0.0 }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// The probability that one of `y` is above one of `x`, and the one-sided p of that; both must not be empty.
fn rank_test(x: &[f64], y: &[f64]) -> (f64, f64) {
    let (m, n) = (x.len() as f64, y.len() as f64);
    let mut all: Vec<(f64, bool)> =
        x.iter().map(|v| (*v, false)).chain(y.iter().map(|v| (*v, true))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut rank_sum, mut ties, mut begin) = (0.0, 0.0, 0);
    while begin < all.len() {
        let end = begin + all[begin..].iter().take_while(|(v, _)| *v == all[begin].0).count();
        let same = (end - begin) as f64;
        // Equal values share the mean of their ranks, which are counted from 1.
        let rank = begin as f64 + (same + 1.0) / 2.0;
        rank_sum += rank * all[begin..end].iter().filter(|(_, after)| *after).count() as f64;
        ties += same * same * same - same;
        begin = end;
    }
    let u = rank_sum - n * (n + 1.0) / 2.0;
    let total = m + n;
    let variance = m * n / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    let p = if variance > 0.0 { upper_tail((u - m * n / 2.0 - 0.5) / variance.sqrt()) } else { 1.0 };
    (u / (m * n), p)
}

/// P(Z > z) of the normal distribution: Abramowitz and Stegun 26.2.17, to 7.5·10⁻⁸.
pub(crate) fn upper_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let polynomial = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * polynomial;
    (if z >= 0.0 { tail } else { 1.0 - tail }).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rank_test_gives_the_figures_of_worked_examples() {
        // U 25, z (25 − 12.5 − 0.5) ÷ √22.917 = 2.507.
        let (a, p) = rank_test(&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0, 9.0, 10.0]);
        assert_eq!(a, 1.0);
        assert!((p - 0.006_09).abs() < 1e-4, "{p}");
        // With equal ones: 22 of the 252 ways to choose five of the ten have a U of 20 or more, p 0.0873.
        let (a, p) = rank_test(&[1.0, 2.0, 2.0, 3.0, 4.0], &[2.0, 3.0, 4.0, 5.0, 6.0]);
        assert!((a - 0.8).abs() < 1e-12, "{a}");
        assert!((p - 22.0 / 252.0).abs() < 0.02, "{p}");
    }

    #[test]
    fn what_never_changes_is_no_finding() {
        let (a, p) = rank_test(&[0.0; 8], &[0.0; 8]);
        assert_eq!((a, p), (0.5, 1.0));
    }

    #[test]
    fn the_tail_of_the_normal_distribution_is_known() {
        for (z, expected) in [(0.0, 0.5), (1.0, 0.158_655), (2.326_348, 0.01), (-1.0, 0.841_345)] {
            assert!((upper_tail(z) - expected).abs() < 1e-6, "{z}");
        }
    }
}
