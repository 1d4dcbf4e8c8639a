//! Two reports side by side: what changed between two drills, such as with spans and without.
//!
//! In: two reports. Out: a table in Markdown. Where both are of one seed, only the runs that both have are compared.

use super::super::score::{Quantiles, RunScore};
use super::{Report, faults, markdown, words};

/// Cause ranks, detection and repair of two drills, each figure of the first before that of the second.
pub fn compare(a: &Report, b: &Report) -> String {
    let (runs_a, runs_b) = if a.seed == b.seed {
        (in_both(&a.runs, &b.runs), in_both(&b.runs, &a.runs))
    } else {
        (a.runs.clone(), b.runs.clone())
    };
    let left_out = |all: &Report, runs: &[RunScore]| match all.runs.len() - runs.len() {
        0 => words::counted(runs.len() as u64, "run"),
        left_out => {
            format!("{}, {left_out} more left out", words::counted(runs.len() as u64, "run"))
        }
    };
    let head = |mark: &str, report: &Report, runs: &[RunScore]| {
        let Report { homeostat, seed, started_at, witness, .. } = report;
        format!(
            "- {mark}: {}; Homeostat {homeostat}, seed {seed}, begun {started_at}, {}\n",
            witness.sentence(),
            left_out(report, runs)
        )
    };
    let mut text = format!("{}{}", head("A", a, &runs_a), head("B", b, &runs_b));
    if a.seed != b.seed {
        text.push_str("- the seeds differ, so the runs are not the same\n");
    }
    let rows = over_all((a, &runs_a), (b, &runs_b)).into_iter().chain(by_fault(&runs_a, &runs_b));
    text.push('\n');
    text.push_str(&markdown::table(&["figure", "over", "A", "B"], "llrr", rows));
    text
}

/// The runs that `others` has too: of the same number and the same row.
fn in_both(runs: &[RunScore], others: &[RunScore]) -> Vec<RunScore> {
    let known =
        |run: &&RunScore| others.iter().any(|other| (other.number, &other.row) == (run.number, &run.row));
    runs.iter().filter(known).cloned().collect()
}

fn over_all((a, runs_a): (&Report, &[RunScore]), (b, runs_b): (&Report, &[RunScore])) -> Vec<Vec<String>> {
    let row = |name: &str, a: String, b: String| vec![name.to_owned(), "all runs".to_owned(), a, b];
    let both = |name: &str, of: &dyn Fn(&[RunScore]) -> String| row(name, of(runs_a), of(runs_b));
    let alarms = |report: &Report| {
        let quiet = words::duration(report.quiet.seconds * 1e3);
        format!("{} in {quiet}", report.quiet.false_alarms.len())
    };
    vec![
        both("cause ranked first", &cause_first),
        both("detected", &|runs| share(runs, |_| true, |run| run.detected_ms.is_some())),
        both("detected p50 / p95", &|runs| times(runs, |run| run.detected_ms)),
        both("verified p50 / p95", &|runs| times(runs, |run| run.verified_ms)),
        both("healed, of those expected to", &|runs| {
            use domain::OutcomeKind::Healed;
            share(runs, |run| run.expected == Healed, |run| run.outcome == Healed)
        }),
        both("as expected", &|runs| share(runs, |_| true, |run| run.as_expected)),
        row("false alarms in quiet time", alarms(a), alarms(b)),
    ]
}

/// Three rows for each fault, in the order in which the first report has them.
fn by_fault(runs_a: &[RunScore], runs_b: &[RunScore]) -> Vec<Vec<String>> {
    let mut names: Vec<&str> = Vec::new();
    for group in faults::by_fault(runs_a).iter().chain(&faults::by_fault(runs_b)) {
        if !names.contains(&group.fault) {
            names.push(group.fault);
        }
    }
    let of = |runs: &[RunScore], fault: &str| -> Vec<RunScore> {
        runs.iter().filter(|run| run.fault == fault).cloned().collect()
    };
    let mut rows = Vec::new();
    for fault in names {
        let (a, b) = (of(runs_a, fault), of(runs_b, fault));
        let mut row = |name: &str, figure: fn(&[RunScore]) -> String| {
            rows.push(vec![name.to_owned(), fault.to_owned(), figure(&a), figure(&b)])
        };
        row("cause ranked first", cause_first);
        row("detected p50 / p95", |runs| times(runs, |run| run.detected_ms));
        row("verified p50 / p95", |runs| times(runs, |run| run.verified_ms));
    }
    rows
}

fn cause_first(runs: &[RunScore]) -> String {
    share(runs, RunScore::asks_for_a_cause, |run| run.cause_rank == Some(1))
}

/// `95 % (19 of 20)`.
fn share(runs: &[RunScore], asked: fn(&RunScore) -> bool, is: fn(&RunScore) -> bool) -> String {
    let asked: Vec<&RunScore> = runs.iter().filter(|run| asked(run)).collect();
    let (part, whole) = (asked.iter().filter(|run| is(run)).count(), asked.len());
    match whole {
        0 => words::NONE.to_owned(),
        _ => format!("{} ({})", words::percent(part, whole), words::share(part, whole)),
    }
}

fn times(runs: &[RunScore], at: fn(&RunScore) -> Option<f64>) -> String {
    let Quantiles { p50, p95 } = Quantiles::of(runs.iter().filter_map(at));
    words::pair(p50, p95)
}

#[cfg(test)]
mod tests {
    use super::super::super::witness::LoopWitness;
    use super::super::sample::{crash, hang, report, slow};
    use super::*;

    #[test]
    fn each_figure_of_one_report_stands_before_that_of_the_other() {
        let with = report(vec![hang(0), crash(1), slow(2)]);
        let mut without = report(vec![
            RunScore { detected_ms: Some(3000.0), cause_rank: Some(2), ..hang(0) },
            crash(1),
            slow(2),
        ]);
        without.witness = LoopWitness::Probes;
        without.quiet.false_alarms.push("odd".to_owned());
        let text = compare(&with, &without);
        for expected in [
            "- A: the loop heard probes, link proxies and spans; Homeostat 0.1.0, seed 7, begun 2026-11-21T03:00:00.000Z, 3 runs\n",
            "- B: the loop heard probes and link proxies alone, no spans; ",
            "| cause ranked first | all runs | 50 % (1 of 2) | 0 % (0 of 2) |\n",
            "| cause ranked first | pause | 100 % (1 of 1) | 0 % (0 of 1) |\n",
            "| detected p50 / p95 | pause | 1.9 s / 1.9 s | 3.0 s / 3.0 s |\n",
            "| verified p50 / p95 | pod_kill | 0.43 s / 0.43 s | 0.43 s / 0.43 s |\n",
            "| healed, of those expected to | all runs | 100 % (2 of 2) | 100 % (2 of 2) |\n",
            "| false alarms in quiet time | all runs | 0 in 60 s | 1 in 60 s |\n",
        ] {
            assert!(text.contains(expected), "{expected:?} is missing from\n{text}");
        }
    }

    #[test]
    fn runs_that_only_one_report_has_are_left_out_and_said() {
        let (whole, part) = (report(vec![hang(0), crash(1), slow(2)]), report(vec![hang(0), slow(5)]));
        let text = compare(&whole, &part);
        assert!(
            text.contains(", 1 run, 2 more left out\n") && text.contains(", 1 run, 1 more left out\n"),
            "{text}"
        );
        assert!(text.contains("| detected | all runs | 100 % (1 of 1) | 100 % (1 of 1) |\n"), "{text}");
        let other = Report { seed: 8, ..part };
        let text = compare(&whole, &other);
        assert!(text.contains("the seeds differ") && text.contains("(3 of 3) | 100 % (2 of 2) |"), "{text}");
    }
}
