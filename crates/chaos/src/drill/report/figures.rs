//! Each figure of a drill beside its target.
//!
//! The targets are those of the specification (§10, column "first") and of the first landing. A time that was
//! not reached counts as longer than any target: leaving the worst runs out would make the rest look good.

use super::super::score::{Quantiles, RunScore};
use super::{Report, calibration, words};

/// Whether a figure reaches its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Met,
    /// It does not.
    Missed,
    /// There was nothing to measure it on.
    Unmeasured,
}

/// One figure.
pub struct Figure {
    /// What is measured.
    pub name: &'static str,
    /// What was measured.
    pub measured: String,
    /// Over what.
    pub over: String,
    /// What it should be.
    pub target: &'static str,
    /// Whether it is.
    pub standing: Standing,
}

/// A bound on a time.
enum Bound {
    /// Less than so many milliseconds.
    Below(f64),
    /// At most so many milliseconds.
    AtMost(f64),
}

impl Standing {
    fn of(met: bool) -> Self {
        if met { Self::Met } else { Self::Missed }
    }

    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "not met",
            Self::Unmeasured => "not measured",
        }
    }
}

/// Every figure that has a target.
pub(super) fn of(report: &Report) -> Vec<Figure> {
    let runs = || report.runs.iter();
    let crashes = || runs().filter(|run| run.is_crash());
    let hangs = runs().filter(|run| run.fault == "pause");
    let p95 = |quantiles: Quantiles| quantiles.p95;
    vec![
        timed("crash → detected, p95", "< 100 ms", Bound::Below(100.0), p95, "crash", crashes(), |run| {
            run.detected_ms
        }),
        timed("crash → serving again, p95", "< 1 s", Bound::Below(1e3), p95, "crash", crashes(), |run| {
            run.serving_ms
        }),
        timed(
            "hang → replaced and verified, p95",
            "≤ 5 s",
            Bound::AtMost(5e3),
            p95,
            "hang",
            hangs,
            |run| run.verified_ms,
        ),
        timed(
            "fault → repaired and verified, p50",
            "≤ 15 s",
            Bound::AtMost(15e3),
            |quantiles| quantiles.p50,
            "run",
            runs(),
            |run| run.verified_ms,
        ),
        timed(
            "fault → repaired and verified, p95",
            "≤ 60 s",
            Bound::AtMost(60e3),
            p95,
            "run",
            runs(),
            |run| run.verified_ms,
        ),
        detected(report),
        false_alarms(report),
        healed(report),
        cause_first(report),
        confidence(report),
        timed(
            "cause computed in, p95",
            "< 1 s",
            Bound::Below(1e3),
            p95,
            "diagnosis",
            runs().filter(|run| run.diagnosed_ms.is_some()),
            |run| run.diagnosis_took_ms,
        ),
        left_behind(report),
    ]
}

fn timed<'a>(
    name: &'static str,
    target: &'static str,
    bound: Bound,
    quantile: fn(Quantiles) -> Option<f64>,
    noun: &'static str,
    runs: impl Iterator<Item = &'a RunScore>,
    at: fn(&RunScore) -> Option<f64>,
) -> Figure {
    let times: Vec<Option<f64>> = runs.map(at).collect();
    let reached: Vec<f64> = times.iter().copied().flatten().collect();
    let strict = quantile(Quantiles::of(times.iter().map(|time| time.unwrap_or(f64::INFINITY))));
    let met = |ms: f64| match bound {
        Bound::Below(limit) => ms < limit,
        Bound::AtMost(limit) => ms <= limit,
    };
    Figure {
        name,
        measured: words::time(quantile(Quantiles::of(reached.iter().copied()))),
        over: over(reached.len(), times.len(), noun),
        target,
        standing: strict.map_or(Standing::Unmeasured, |ms| Standing::of(met(ms))),
    }
}

/// `14 crashes`, or `13 of 14 crashes reached it`.
fn over(reached: usize, all: usize, noun: &str) -> String {
    let plural = match noun {
        "crash" => "crashes".to_owned(),
        "diagnosis" => "diagnoses".to_owned(),
        noun => format!("{noun}s"),
    };
    let named = if all == 1 { noun } else { &plural };
    match all {
        0 => format!("no {noun}"),
        all if reached == all => format!("{all} {named}"),
        all => format!("{reached} of {all} {named} reached it"),
    }
}

/// A share of runs that must be at least `ratio_min`; `noun` and `plural` say of which.
fn counted(
    name: &'static str,
    target: &'static str,
    ratio_min: f64,
    (part, whole): (usize, usize),
    (noun, plural): (&str, &str),
) -> Figure {
    let (over, standing) = match whole {
        0 => (format!("no {noun}"), Standing::Unmeasured),
        whole => {
            let named = if whole == 1 { noun } else { plural };
            (format!("{part} of {whole} {named}"), Standing::of(part as f64 >= ratio_min * whole as f64))
        }
    };
    Figure { name, measured: words::percent(part, whole), over, target, standing }
}

fn detected(report: &Report) -> Figure {
    let part = report.runs.iter().filter(|run| run.detected_ms.is_some()).count();
    counted("faults detected", "all", 1.0, (part, report.runs.len()), ("run", "runs"))
}

fn healed(report: &Report) -> Figure {
    let expected = || report.runs.iter().filter(|run| run.expected == domain::OutcomeKind::Healed);
    let part = expected().filter(|run| run.ended_as_expected()).count();
    let nouns = ("run expected to heal", "runs expected to heal");
    counted("healed without a human", "≥ 95 %", 0.95, (part, expected().count()), nouns)
}

fn cause_first(report: &Report) -> Figure {
    let asked = || report.runs.iter().filter(|run| run.asks_for_a_cause());
    let part = asked().filter(|run| run.cause_rank == Some(1)).count();
    counted(
        "true cause ranked first",
        "≥ 90 %",
        0.9,
        (part, asked().count()),
        ("run with a cause to find", "runs with a cause to find"),
    )
}

fn confidence(report: &Report) -> Figure {
    let held = report.calibration();
    let over = match (held.stated, held.observed) {
        (Some(stated), Some(observed)) => format!(
            "stated {:.0} %, right {:.0} % ({} of {})",
            stated.0,
            observed.0,
            held.right,
            words::counted(held.runs, "run")
        ),
        _ => "no run with a stated confidence".to_owned(),
    };
    Figure {
        name: "stated confidence off by",
        measured: held.error.map_or_else(|| words::NONE.to_owned(), |gap| format!("{gap:.1} points")),
        over,
        target: "≤ 10 points",
        standing: held.error.map_or(Standing::Unmeasured, |gap| Standing::of(gap <= calibration::GAP_MAX)),
    }
}

fn false_alarms(report: &Report) -> Figure {
    let quiet = &report.quiet;
    let measured = quiet.seconds > 0.0;
    let alarms = quiet.false_alarms.len();
    Figure {
        name: "false alarms in quiet time",
        measured: if measured { alarms.to_string() } else { words::NONE.to_owned() },
        over: if measured { words::duration(quiet.seconds * 1e3) } else { "no quiet time".to_owned() },
        target: "0",
        standing: if measured || alarms > 0 { Standing::of(alarms == 0) } else { Standing::Unmeasured },
    }
}

fn left_behind(report: &Report) -> Figure {
    let runs = report.runs.len();
    let things = report.summary.left_behind;
    Figure {
        name: "things left behind",
        measured: if runs == 0 { words::NONE.to_owned() } else { things.to_string() },
        over: over(runs, runs, "run"),
        target: "0",
        standing: if runs == 0 { Standing::Unmeasured } else { Standing::of(things == 0) },
    }
}
