//! The report of a drill: what was measured, beside what it should be.
//!
//! In: scored runs, quiet periods, and what the machine is. Out: JSON, Markdown, a page, and lines for a
//! terminal. Pure: nothing is measured, read or written here, and no figure is shown that is not in the runs.
//!
//! A drill can be made in parts: each part is a report, and [`Report::merge`] puts them together. A run is
//! known by its number, a quiet period by when it began, so merging a part twice changes nothing.

mod calibration;
mod compare;
mod faults;
mod figures;
mod html;
mod markdown;
mod moments;
mod terminal;
mod verdict;
mod witnesses;
mod words;

#[cfg(test)]
pub(super) mod sample;
#[cfg(test)]
mod tests;

use std::time::Duration;

use domain::Bytes;
use serde::{Deserialize, Serialize};

pub use compare::compare;
pub use decide::learn::confidence::Calibration;
pub use figures::{Figure, Standing};
pub use terminal::{Style, header, line, story};
pub use verdict::{Unexpected, Verdict};

use super::score::{RunScore, Summary, summarise};
use super::witness::LoopWitness;

/// What a drill measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of Homeostat that was drilled.
    pub homeostat: String,
    /// On what.
    pub machine: Machine,
    /// The seed of the order of runs and of the load.
    pub seed: u64,
    /// What the loop was told beside what is measured from outside.
    #[serde(default)]
    pub witness: LoopWitness,
    /// When the first part began, RFC 3339 in UTC.
    pub started_at: String,
    /// Under which settings, where they differ from the defaults: waits scaled, guard limits.
    pub notes: Vec<String>,
    /// The runs, by number.
    pub runs: Vec<RunScore>,
    /// The time in which nothing was injected.
    pub quiet: Quiet,
    /// Over all runs.
    pub summary: Summary,
}

/// The machine a drill ran on, as far as it bears on the figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Processors the fleet could use.
    pub cores: u32,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// The kernel's release, such as `6.12.8`.
    pub kernel: String,
    /// What holds the services to their limits, such as `supervision` or `cgroup v2`.
    pub limits_enforced_by: String,
}

/// The time in which nothing was injected, so that every issue is a false alarm.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Quiet {
    /// How long, over all periods.
    pub seconds: f64,
    /// The issues that were opened, one sentence each, over all periods.
    pub false_alarms: Vec<String>,
    /// The periods, by when they began.
    pub periods: Vec<QuietPeriod>,
}

/// One quiet period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuietPeriod {
    /// When it began, RFC 3339 in UTC; no two periods of a drill began at the same time.
    pub began_at: String,
    /// How long it was.
    pub seconds: f64,
    /// The issues that were opened in it, one sentence each.
    pub false_alarms: Vec<String>,
}

impl Quiet {
    /// Puts periods together, in the order of time.
    pub fn new(mut periods: Vec<QuietPeriod>) -> Self {
        periods.sort_by(|a, b| a.began_at.cmp(&b.began_at));
        periods.dedup_by(|later, kept| later.began_at == kept.began_at);
        Self {
            seconds: periods.iter().map(|period| period.seconds).sum(),
            false_alarms: periods.iter().flat_map(|period| period.false_alarms.clone()).collect(),
            periods,
        }
    }
}

/// Why two reports are not parts of one drill.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The runs do not follow from one seed.
    #[error(
        "the earlier report has seed {earlier}, this drill {later}: give --seed {earlier} or another file"
    )]
    Seed {
        /// Of the earlier report.
        earlier: u64,
        /// Of the later one.
        later: u64,
    },
    /// Figures of two versions are not one figure.
    #[error("the earlier report is of homeostat {earlier}, this drill of {later}: give another file")]
    Version {
        /// Of the earlier report.
        earlier: String,
        /// Of the later one.
        later: String,
    },
    /// Figures of two kinds of machine are not one figure.
    #[error(
        "the earlier report is of a machine with {earlier}, this drill of one with {later}: give another file"
    )]
    Machine {
        /// Of the earlier report.
        earlier: String,
        /// Of the later one.
        later: String,
    },
    /// Figures of loops that were told different things are not one figure.
    #[error("in the earlier report {}, in this drill {}: give another file", earlier.sentence(), later.sentence())]
    Witness {
        /// Of the earlier report.
        earlier: LoopWitness,
        /// Of the later one.
        later: LoopWitness,
    },
}

/// What a drill is made on, with and as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The version of Homeostat.
    pub homeostat: String,
    /// On what.
    pub machine: Machine,
    /// The seed of the order of runs and of the load.
    pub seed: u64,
    /// What the loop is told.
    pub witness: LoopWitness,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// Settings that differ from the defaults.
    pub notes: Vec<String>,
}

impl Report {
    /// Puts a report together and sums it up.
    pub fn new(setting: Setting, mut runs: Vec<RunScore>, quiet: Quiet) -> Self {
        runs.sort_by_key(|run| run.number);
        let length = Duration::try_from_secs_f64(quiet.seconds).unwrap_or_default();
        let summary = summarise(&runs, quiet.false_alarms.len() as u64, length);
        let Setting { homeostat, machine, seed, witness, started_at, notes } = setting;
        Self { homeostat, machine, seed, witness, started_at, notes, runs, quiet, summary }
    }

    /// Puts two parts of one drill together. Runs of `later` replace those of `earlier` with the same number;
    /// apart from that the order of the two does not matter.
    ///
    /// # Errors
    ///
    /// [`MergeError`] where seed, version, kind of machine or what the loop was told differ.
    pub fn merge(earlier: Self, later: Self) -> Result<Self, MergeError> {
        comparable(&earlier, &later)?;
        let mut runs = later.runs;
        let made: std::collections::BTreeSet<u32> = runs.iter().map(|run| run.number).collect();
        runs.extend(earlier.runs.into_iter().filter(|run| !made.contains(&run.number)));
        let mut periods = later.quiet.periods;
        periods.extend(earlier.quiet.periods);
        let mut parts = [
            (earlier.started_at, earlier.machine, earlier.notes),
            (later.started_at, later.machine, later.notes),
        ];
        parts.sort_by(|a, b| (&a.0, &a.1.kernel, &a.2).cmp(&(&b.0, &b.1.kernel, &b.2)));
        let [(started_at, first, mut notes), (_, second, more)] = parts;
        for note in more {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        let machine = Machine { memory_bytes: first.memory_bytes.min(second.memory_bytes), ..first };
        let quiet = Quiet::new(periods);
        let (homeostat, seed, witness) = (later.homeostat, later.seed, later.witness);
        Ok(Self::new(Setting { homeostat, machine, seed, witness, started_at, notes }, runs, quiet))
    }

    /// As JSON, indented, with a line feed at the end.
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("every key of a report is a string");
        text.push('\n');
        text
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        markdown::page(self)
    }

    /// As one HTML page that needs nothing beside it, no script either.
    pub fn html(&self) -> String {
        html::page(self).into_string()
    }

    /// As text for a terminal: a line a run, then each figure beside its target.
    pub fn table(&self, style: Style) -> String {
        terminal::table(self, style)
    }

    /// How it came out, in one sentence.
    pub fn sentence(&self) -> String {
        markdown::sentence(self)
    }

    /// Every figure that has a target, beside it.
    pub fn figures(&self) -> Vec<Figure> {
        figures::of(self)
    }

    /// What is not as expected.
    pub fn verdict(&self) -> Verdict {
        verdict::of(self)
    }

    /// How often stated confidences held.
    pub fn calibration(&self) -> Calibration {
        calibration::of(&self.runs)
    }
}

impl Machine {
    /// What its figures can be compared within: processors, memory to the nearest GiB, the kernel's major and
    /// minor version, and what holds limits.
    fn class(&self) -> String {
        const GIB: u64 = 1 << 30;
        let memory = (self.memory_bytes + GIB / 2) / GIB;
        let release: Vec<&str> = self.kernel.split(['.', '-', '+']).take(2).collect();
        let (cores, limits) = (self.cores, &self.limits_enforced_by);
        format!("{cores} cores, {memory} GiB, kernel {}, limits by {limits}", release.join("."))
    }

    /// In one line.
    pub fn describe(&self) -> String {
        let cores = words::counted(u64::from(self.cores), "core");
        let memory = Bytes(self.memory_bytes);
        format!("{cores}, {memory}, kernel {}, limits held by {}", self.kernel, self.limits_enforced_by)
    }
}

fn comparable(earlier: &Report, later: &Report) -> Result<(), MergeError> {
    if earlier.seed != later.seed {
        return Err(MergeError::Seed { earlier: earlier.seed, later: later.seed });
    }
    if earlier.homeostat != later.homeostat {
        let (earlier, later) = (earlier.homeostat.clone(), later.homeostat.clone());
        return Err(MergeError::Version { earlier, later });
    }
    if earlier.witness != later.witness {
        return Err(MergeError::Witness { earlier: earlier.witness, later: later.witness });
    }
    let (earlier, later) = (earlier.machine.class(), later.machine.class());
    if earlier != later {
        return Err(MergeError::Machine { earlier, later });
    }
    Ok(())
}
