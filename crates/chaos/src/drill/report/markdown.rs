//! The report as Markdown: figures beside their targets, by fault, by run, what was not as expected, and how
//! it was measured.

use domain::OutcomeKind;

use super::super::score::{ERROR_BUDGET, RunScore};
use super::figures::Standing;
use super::moments::MOMENTS;
use super::{Report, faults, figures, witnesses, words};

/// The page.
pub(super) fn page(report: &Report) -> String {
    let sections = [
        head(report),
        targets(report),
        unexpected(report),
        by_fault(report),
        calibration(report),
        by_run(report),
        method(),
    ];
    let mut text = sections.join("\n");
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// What the page is about, in one sentence.
pub(super) fn sentence(report: &Report) -> String {
    let runs = report.runs.len();
    let off: std::collections::BTreeSet<_> =
        report.verdict().unexpected.into_iter().filter_map(|unexpected| unexpected.run).collect();
    let alarms = report.quiet.false_alarms.len();
    let mut text = match (runs, off.len()) {
        (0, _) => "No run was made".to_owned(),
        (1, 0) => "The one run came out as expected".to_owned(),
        (runs, 0) => format!("All {runs} runs came out as expected"),
        (runs, off) => {
            format!("{} of {} came out as expected", runs - off, words::counted(runs as u64, "run"))
        }
    };
    match (report.quiet.seconds > 0.0, alarms) {
        (_, 1..) => {
            text.push_str(&format!("; {} in quiet time", words::counted(alarms as u64, "false alarm")))
        }
        (true, _) => text.push_str(&format!(
            "; no false alarm in {} of quiet",
            words::duration(report.quiet.seconds * 1e3)
        )),
        (false, _) => {}
    }
    match figures::of(report).iter().filter(|figure| figure.standing == Standing::Missed).count() {
        0 => {}
        1 => text.push_str("; 1 figure misses its target"),
        missed => text.push_str(&format!("; {missed} figures miss their targets")),
    }
    text.push('.');
    text
}

fn head(report: &Report) -> String {
    let mut text = format!(
        "# Drill report\n\n{}\n\n- Homeostat {}, seed {}, begun {}\n- Machine: {}\n",
        sentence(report),
        report.homeostat,
        report.seed,
        report.started_at,
        report.machine.describe()
    );
    for note in witnesses::sentences(report).iter().chain(&report.notes) {
        text.push_str(&format!("- {note}\n"));
    }
    text
}

fn targets(report: &Report) -> String {
    let rows = figures::of(report).into_iter().map(|figure| {
        let standing = figure.standing.word().to_owned();
        vec![figure.name.to_owned(), figure.measured, figure.over, figure.target.to_owned(), standing]
    });
    let columns = ["figure", "measured", "over", "target", ""];
    format!("## Figures and targets\n\n{}", table(&columns, "lrlrl", rows))
}

fn unexpected(report: &Report) -> String {
    let mut text = "## What was not as expected\n\n".to_owned();
    let verdict = report.verdict();
    if verdict.passed() {
        text.push_str("Nothing: every fault was detected, every run came out as it should, nothing was left behind, and there was no false alarm.\n");
    }
    for unexpected in &verdict.unexpected {
        text.push_str(&format!("- {unexpected}\n"));
    }
    if !verdict.notes.is_empty() {
        text.push_str("\nCame out well, in another way than expected:\n\n");
    }
    for note in &verdict.notes {
        text.push_str(&format!("- {note}\n"));
    }
    text
}

fn by_fault(report: &Report) -> String {
    let rows = faults::by_fault(&report.runs).into_iter().map(|group| {
        let (detected, verified) =
            (group.quantiles(|run| run.detected_ms), group.quantiles(|run| run.verified_ms));
        let ended = |kind| {
            let (part, whole) = group.ended(kind);
            words::share(part, whole)
        };
        let (first, asked) = group.cause_first();
        vec![
            group.fault.to_owned(),
            group.runs.len().to_string(),
            words::pair(detected.p50, detected.p95),
            words::pair(verified.p50, verified.p95),
            ended(OutcomeKind::Healed),
            ended(OutcomeKind::Mitigated),
            words::share(first, asked),
        ]
    });
    let columns =
        ["fault", "runs", "detected p50 / p95", "verified p50 / p95", "healed", "mitigated", "cause first"];
    format!("## By fault\n\n{}", table(&columns, "lrrrrrr", rows))
}

fn calibration(report: &Report) -> String {
    let held = report.calibration();
    let mut text = "## Stated confidence against what came of it\n\n".to_owned();
    let (Some(stated), Some(observed), Some(gap)) = (held.stated, held.observed, held.error) else {
        text.push_str("No run has a stated confidence.\n");
        return text;
    };
    let rows = held.bins.iter().map(|range| {
        vec![
            format!("{} to {} %", range.from.0, range.to.0),
            range.runs.to_string(),
            format!("{:.1} %", range.stated.0),
            format!("{:.1} %", range.observed.0),
            words::share(range.right as usize, range.runs as usize),
        ]
    });
    text.push_str(&table(&["stated", "runs", "mean stated", "right", ""], "lrrrr", rows));
    text.push_str(&format!(
        "\nOver all {}: stated {stated:.1} %, right {observed:.1} %; off by {gap:.1} points, mean over the ranges \
         weighted by their runs.\n",
        words::counted(held.runs, "run"),
        stated = stated.0,
        observed = observed.0,
    ));
    text
}

fn by_run(report: &Report) -> String {
    let columns = [
        "run",
        "row",
        "fault",
        "target",
        "effect",
        "detected",
        "diagnosed",
        "cause",
        "action",
        "serving",
        "verified",
        "outcome",
        "rolled back",
        "failed",
        "budget",
        "left",
    ];
    format!("## By run\n\n{}", table(&columns, "rlllrrrrrrrllrrr", report.runs.iter().map(run_cells)))
}

fn run_cells(run: &RunScore) -> Vec<String> {
    vec![
        run.number.to_string(),
        run.row.clone(),
        run.fault.clone(),
        format!("`{}`", run.target),
        words::time(run.effect_ms),
        words::time(run.detected_ms),
        words::time(run.diagnosed_ms),
        run.cause_rank.map_or_else(|| words::NONE.to_owned(), |rank| rank.to_string()),
        words::time(run.first_action_ms),
        words::time(run.serving_ms),
        words::time(run.verified_ms),
        words::verdict(run),
        if run.rolled_back { "yes" } else { "no" }.to_owned(),
        format!("{} of {}", run.requests_failed, run.requests),
        run.error_budget_spent.map_or_else(|| words::NONE.to_owned(), |spent| format!("{spent:.1}")),
        run.left_behind.len().to_string(),
    ]
}

/// What is to be known beside the definitions of the times.
pub(super) fn definitions() -> Vec<(&'static str, String)> {
    vec![
        (
            "p50, p95",
            "median and 95th percentile by nearest rank, over the runs that reached the time. Whether a target is \
             met counts a time that was not reached as longer than any"
                .to_owned(),
        ),
        (
            "cause",
            "the place of the true cause, resource and class, in the first diagnosis. What the keeper's standing \
             restart answers without a diagnosis is left out; any other run without one counts as not first"
                .to_owned(),
        ),
        (
            "outcome",
            "healed: the repair's signal held through the hold window, and not by the fault's own end; mitigated: by \
             a measure that is no repair of the cause and is lifted later; self recovered: without one"
                .to_owned(),
        ),
        (
            "failed",
            "requests from outside that were not served, from the injection to the end of the run: by the load's \
             root spans where all of them came, which their numbers show, else by its request log"
                .to_owned(),
        ),
        (
            "budget",
            format!(
                "failed ÷ ({ERROR_BUDGET} × requests): 1 is the whole error budget of that time at 99.9 %"
            ),
        ),
        (
            "left behind",
            "what was found by looking after the run and was not there before: processes, limits, files, proxies, \
             rules"
                .to_owned(),
        ),
        (
            "false alarm",
            "an issue that was opened while nothing was injected; an error budget whose window reaches back to a \
             fault is none, and in a run it is a consequence that is not scored"
                .to_owned(),
        ),
        (
            "what the loop knew",
            "nothing of the drill: a snapshot holds no faults, and what a run expects is read by the scorer alone"
                .to_owned(),
        ),
    ]
}

fn method() -> String {
    let mut text = "## How it was measured\n\n".to_owned();
    for moment in &MOMENTS {
        let key = moment.key.map(|key| format!(" (`{key}`)")).unwrap_or_default();
        text.push_str(&format!("- **{}**{key}: {}.\n", moment.word, moment.definition));
    }
    for (word, definition) in definitions() {
        text.push_str(&format!("- **{word}**: {definition}.\n"));
    }
    text
}

/// A table; `align` has `l` or `r` for each column.
pub(super) fn table(columns: &[&str], align: &str, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|", columns.join(" | "));
    for side in align.chars() {
        text.push_str(if side == 'r' { "---:|" } else { "---|" });
    }
    text.push('\n');
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}
