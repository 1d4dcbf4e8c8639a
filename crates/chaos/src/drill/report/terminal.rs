//! The report on a terminal: a line a run as it comes, aligned; then each figure beside its target.
//!
//! Colour is spent on what needs attention only, and always with a word and a shape beside it.

use domain::OutcomeKind;

use super::super::score::RunScore;
use super::figures::{self, Standing};
use super::{Report, verdict, witnesses, words};

/// How text is set off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Not at all: for files and pipes.
    Plain,
    /// With ANSI colours: for a terminal.
    Colour,
}

/// What a piece of text means.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    Heading,
    Bad,
    Attention,
}

impl Style {
    /// Sets a text off; it must be padded before.
    fn set(self, meaning: Meaning, text: &str) -> String {
        let code = match (self, meaning) {
            (Self::Plain, _) => return text.to_owned(),
            (Self::Colour, Meaning::Heading) => "1",
            (Self::Colour, Meaning::Bad) => "31",
            (Self::Colour, Meaning::Attention) => "33",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// The columns of one line.
struct Cells<'a> {
    run: &'a str,
    fault: &'a str,
    target: &'a str,
    detected: &'a str,
    cause: &'a str,
    action: &'a str,
    serving: &'a str,
    verified: &'a str,
    failed: &'a str,
    outcome: &'a str,
}

impl Cells<'_> {
    /// All but the outcome, which is last and may be set off.
    fn row(&self) -> String {
        let Self { run, fault, target, detected, cause, action, serving, verified, failed, .. } = self;
        format!(
            "{run:>4}  {fault:<17}  {target:<21}  {detected:>8}  {cause:>5}  {action:>8}  {serving:>8}  \
             {verified:>8}  {failed:>9}  "
        )
    }
}

/// The header of the lines.
pub fn header(style: Style) -> String {
    let cells = Cells {
        run: "run",
        fault: "fault",
        target: "target",
        detected: "detected",
        cause: "cause",
        action: "action",
        serving: "serving",
        verified: "verified",
        failed: "failed",
        outcome: "outcome",
    };
    style.set(Meaning::Heading, &format!("{}  {}", cells.row(), cells.outcome))
}

/// One run in one line, without a line feed.
pub fn line(run: &RunScore, style: Style) -> String {
    let as_expected = verdict::of_run(run).is_empty();
    let mark = if as_expected { '●' } else { '■' };
    let mut outcome = format!("{mark} {}", words::verdict(run));
    if !run.ended_as_expected() {
        outcome.push_str(&format!(", expected {}", words::outcome(run.expected)));
    }
    if run.rolled_back {
        outcome.push_str(", rolled back");
    }
    if !run.left_behind.is_empty() {
        outcome.push_str(&format!(", {} left behind", run.left_behind.len()));
    }
    let rank = run.cause_rank.map_or_else(|| words::NONE.to_owned(), |rank| format!("#{rank}"));
    let cells = Cells {
        run: &run.number.to_string(),
        fault: &run.fault,
        target: short(&run.target),
        detected: &words::time(run.detected_ms),
        cause: &rank,
        action: &words::time(run.first_action_ms),
        serving: &words::time(run.serving_ms),
        verified: &words::time(run.verified_ms),
        failed: &format!("{}/{}", run.requests_failed, run.requests),
        outcome: &outcome,
    };
    let outcome = if as_expected { cells.outcome.to_owned() } else { style.set(Meaning::Bad, cells.outcome) };
    format!("{}{outcome}", cells.row())
}

/// The whole report.
pub(super) fn table(report: &Report, style: Style) -> String {
    let mut text = header(style);
    text.push('\n');
    for run in &report.runs {
        text.push_str(&line(run, style));
        text.push('\n');
    }
    text.push('\n');
    let figures = figures::of(report);
    let width = |pick: fn(&figures::Figure) -> &str| {
        figures.iter().map(|f| pick(f).chars().count()).max().unwrap_or(0)
    };
    let (name, measured, over, target) =
        (width(|f| f.name), width(|f| &f.measured), width(|f| &f.over), width(|f| f.target));
    for figure in &figures {
        let word = match figure.standing {
            Standing::Met => format!("● {}", figure.standing.word()),
            Standing::Missed => style.set(Meaning::Attention, &format!("▲ {}", figure.standing.word())),
            Standing::Unmeasured => format!("○ {}", figure.standing.word()),
        };
        text.push_str(&format!(
            "{:<name$}  {:>measured$}  {:<over$}  target {:<target$}  {word}\n",
            figure.name, figure.measured, figure.over, figure.target
        ));
    }
    text.push('\n');
    for sentence in witnesses::sentences(report) {
        text.push_str(&sentence);
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&closing(report, style));
    text
}

/// What is not as expected, or that nothing is.
fn closing(report: &Report, style: Style) -> String {
    let verdict = report.verdict();
    let mut text = String::new();
    if verdict.passed() {
        text.push_str("● everything came out as expected\n");
    }
    for unexpected in &verdict.unexpected {
        text.push_str(&style.set(Meaning::Bad, &format!("■ {unexpected}")));
        text.push('\n');
    }
    for note in &verdict.notes {
        text.push_str(&style.set(Meaning::Attention, &format!("▲ {note}")));
        text.push('\n');
    }
    text
}

/// A target without its kind, which the fault says already.
fn short(target: &str) -> &str {
    target.split_once('/').map_or(target, |(_, name)| name)
}

/// One run in one plain sentence, without a full stop.
pub fn story(run: &RunScore) -> String {
    let mut clauses = vec![match run.detected_ms {
        Some(ms) => format!("{}; noticed after {}", words::happened(run), words::duration(ms)),
        None => format!("{}; not noticed", words::happened(run)),
    }];
    let class = run.true_cause.class.name().replace('_', " ");
    match (run.diagnosed_ms, run.cause_rank) {
        (Some(_), Some(1)) => clauses.push(format!("cause found ({class}, rank 1)")),
        (Some(_), Some(rank)) => clauses.push(format!("the true cause ({class}) only ranked {rank}")),
        (Some(_), None) => clauses.push(format!("the true cause ({class}) not found")),
        (None, _) => {}
    }
    clauses.extend(run.strategy.as_deref().map(|strategy| words::done(strategy).into_owned()));
    clauses.extend(run.rolled_back.then(|| "rolled back".to_owned()));
    clauses.extend(run.serving_ms.map(|ms| format!("serving again after {}", words::duration(ms))));
    clauses.extend(run.verified_ms.map(|ms| format!("verified after {}", words::duration(ms))));
    clauses.extend((run.outcome != OutcomeKind::Healed).then(|| words::outcome(run.outcome)));
    format!("{}; {}", clauses.join(", "), words::requests(run))
}
