//! `homeostat drill`: the fault matrix on the demo fleet, measured.
//!
//! In: options. Out: a line a run on stderr, a report. The fleet, the load and the loop are the demo's; the
//! limits that differ from a fleet of one's own are stated in the report ([`drill_policy`]). How many requests failed
//! is told by [`Witnesses`].

mod witnesses;

use std::path::Path;
use std::time::Duration;

use chaos::drill::report::{Machine, Quiet, QuietPeriod, Report, Setting, Style, compare, header, line};
use chaos::drill::{
    Archive, DrillError, Fleet, Limits, LoopWitness, Matrix, Row, RunScore, Selection, score,
};
use decide::learn::confidence::{ConfidenceTable, Named};
use decide::plan::Policy;
use decide::plan::policy::Ladder;
use domain::units::show_duration;
use domain::{Capabilities, Enforcement, Percent, Severity, Time};
use provider::Look;

use crate::cli::{DrillArgs, Exit, Failure, Global};
use crate::config::{Config, Witness};
use crate::control_plane::ControlPlane;
use crate::demo::TemporaryFleet;
use crate::signals;
use witnesses::Witnesses;

/// What a run and the settling after it may take.
const LIMITS: Limits = Limits { run: Duration::from_secs(90), settle: Duration::from_secs(60) };

/// Quiet at the start of a short drill, and each time over a full one.
const QUIET_SHORT: Duration = Duration::from_secs(15);
const QUIET_FULL: Duration = Duration::from_secs(60);

/// Runs of a full drill between two quiet periods: 126 runs give twelve.
const RUNS_PER_QUIET: u32 = 11;

/// Times every row of the matrix is taken in a full drill.
const ROUNDS_FULL: usize = 6;

/// Runs the drill.
pub(crate) fn run(global: &Global, args: &DrillArgs) -> Result<Exit, Failure> {
    if let Some([a, b]) = args.compare.as_deref() {
        crate::cli::print(&compare(&read_report(a)?, &read_report(b)?))?;
        return Ok(Exit::Done);
    }
    signals::catch(signals::Hangup::Ends).map_err(|error| Failure::failed(&error))?;
    let mut config = crate::cli::load_config(global)?;
    config.healing.witness = args.witness.unwrap_or(config.healing.witness);
    config.policy = drill_policy(config.policy);
    if args.train.is_some() {
        config.policy.limits.confidence_min = Percent(0.0);
    }
    let rows = schedule(args)?;
    let record = args.train.as_deref().map(recorded).transpose()?.unwrap_or_default();
    let fleet = TemporaryFleet::start(&config)?;
    crate::cli::wait_until_ready(&fleet.plane().provider)?;
    let drill = Drill::new(fleet.plane(), &fleet.dir, &config);
    let done = drill.run_all(args, &rows, record);
    let capabilities = fleet.plane().provider.capabilities();
    fleet.down()?;
    let made = done?;
    let mut report = drill_report(&config, &capabilities, args.seed, made.runs, made.quiet);
    report.notes.extend(made.missed.iter().cloned());
    let exit = finish(&with_earlier_parts(&report, args)?, args, &Archive::of_data_directory(&global.dir))?;
    Ok(if made.missed.is_empty() { exit } else { Exit::Failed })
}

/// The rows to run, with their numbers.
fn schedule(args: &DrillArgs) -> Result<Vec<(u32, Row)>, Failure> {
    let matrix = Matrix::shipped().map_err(|error| Failure::failed(&error))?;
    let mut rows = matrix.rows;
    if args.short {
        rows.retain(|row| row.short == Selection::Included);
    }
    if let Some(only) = &args.only {
        rows.retain(|row| row.name.contains(only.as_str()));
    }
    if rows.is_empty() {
        let message = "no row of the matrix matches; `drills/matrix.yaml` lists them".to_owned();
        return Err(Failure { exit: Exit::Usage, message });
    }
    let rounds = if args.full || args.count.is_some() { ROUNDS_FULL } else { 1 };
    let mut rng = fastrand::Rng::with_seed(args.seed);
    let mut order = Vec::new();
    for _ in 0..rounds {
        let mut round = rows.clone();
        rng.shuffle(&mut round);
        order.extend(round);
    }
    let from = args.from as usize;
    let count = args.count.map_or(usize::MAX, |count| count as usize);
    Ok((0..).zip(order).skip(from).take(count).collect())
}

/// The guard's limits for drills, which repair the same few resources again and again. Stated in every
/// report; confidence, storm safety, verification by the issue's own signal and the rest stay.
pub(crate) fn drill_policy(mut policy: Policy) -> Policy {
    policy.ladder = Ladder::auto();
    policy.limits.severity_min = Severity::Low;
    policy.limits.per_resource = 1_000;
    policy.limits.in_all = 10_000;
    policy.limits.cooldown = Duration::from_secs(1);
    policy.limits.repeats_max = 1_000;
    policy.limits.demote_after = 1_000;
    policy.limits.failure_runs_min = 1_000;
    policy.limits.recurrence_window = Duration::from_secs(60);
    policy.verification.deadline = Duration::from_secs(20);
    policy.verification.hold = Duration::from_secs(5);
    policy.lifting.well_for_throttled = policy.lifting.well_for;
    policy.lifting.too_early = Duration::ZERO;
    policy
}

/// What differs from the defaults, in words.
fn notes(config: &Config) -> Vec<String> {
    let limits = &config.policy.limits;
    let verification = &config.policy.verification;
    vec![
        format!(
            "guard limits for drills: {} repairs per resource and {} in all an hour, cooldown {}, earlier tries count for {}, no switching off for failed repairs; everything is on auto",
            limits.per_resource,
            limits.in_all,
            show_duration(limits.cooldown),
            show_duration(limits.recurrence_window)
        ),
        format!(
            "waits scaled: a signal has {} to come back and must hold for {} (defaults 60 s and 60 s)",
            show_duration(verification.deadline),
            show_duration(verification.hold)
        ),
        format!(
            "measures are lifted when their path was well for {}, however often (default: longer where requests were turned away, and twice as long each time)",
            show_duration(config.policy.lifting.well_for)
        ),
        format!(
            "a diagnosis below {} waits for a person, an issue below severity {} too (default medium)",
            limits.confidence_min, limits.severity_min
        ),
    ]
}

/// What came of all runs.
struct Made {
    runs: Vec<RunScore>,
    quiet: Quiet,
    /// The runs that could not be made, with the reason.
    missed: Vec<String>,
}

/// The longest report or record, in bytes: a full drill's has half a megabyte.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The record that runs are added to: empty where there is no file yet.
fn recorded(path: &Path) -> Result<ConfidenceTable, Failure> {
    match input::read_to_string(path, FILE_BYTES_MAX) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| Failure {
            exit: Exit::Usage,
            message: format!("{} is no record of confidence: {error}", path.display()),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(ConfidenceTable::default()),
        Err(error) => Err(Failure {
            exit: Exit::Usage,
            message: format!("cannot read the record of confidence {}: {error}", path.display()),
        }),
    }
}

fn save(path: &Path, confidence: &ConfidenceTable) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(confidence).map_err(|error| Failure::failed(&error))?;
    std::fs::write(path, text + "\n").map_err(|error| Failure::failed(&error))
}

/// A drill on one fleet.
pub(crate) struct Drill<'a> {
    plane: &'a ControlPlane,
    witnesses: Witnesses<'a>,
    config: &'a Config,
}

impl<'a> Drill<'a> {
    /// A drill on the fleet of a control plane with its data in `dir`.
    pub(crate) fn new(plane: &'a ControlPlane, dir: &Path, config: &'a Config) -> Self {
        let log = dir.join("keeper").join("requests.log");
        Self { plane, witnesses: Witnesses::new(plane.spans(), log, plane.clock.as_ref()), config }
    }

    /// Makes one run.
    pub(crate) fn run(&self, number: u32, row: &Row) -> Result<RunScore, DrillError> {
        self.with_fleet(|fleet| fleet.run(row, LIMITS).map(|facts| score(number, row, &facts)))
    }

    /// Lets time pass without a fault; every issue opened in it is a false alarm.
    fn quiet(&self, duration: Duration) -> Result<QuietPeriod, DrillError> {
        let began_at = now();
        let issues = self.with_fleet(|fleet| fleet.quiet_period(duration, LIMITS))?;
        let sentence =
            |issue: &domain::Issue| format!("{} on {}: {}", issue.kind, issue.resource, issue.description);
        Ok(QuietPeriod {
            began_at,
            seconds: duration.as_secs_f64(),
            false_alarms: issues.iter().map(sentence).collect(),
        })
    }

    /// The report over some runs.
    pub(crate) fn report(&self, seed: u64, runs: Vec<RunScore>) -> Report {
        drill_report(self.config, &self.plane.provider.capabilities(), seed, runs, Quiet::default())
    }

    /// Makes all runs, with quiet periods between them, and says each as it ends.
    fn run_all(
        &self,
        args: &DrillArgs,
        rows: &[(u32, Row)],
        mut confidence: ConfidenceTable,
    ) -> Result<Made, Failure> {
        let style = Style::Plain;
        let each = if args.full || args.count.is_some() { QUIET_FULL } else { QUIET_SHORT };
        let mut periods = Vec::new();
        let (mut runs, mut missed) = (Vec::new(), Vec::new());
        provider::say!("{}", header(style));
        for (index, (number, row)) in (0u32..).zip(rows) {
            if signals::ending() {
                provider::say!("interrupted after {index} runs; go on with --from {number}");
                break;
            }
            let pause_is_due =
                if args.full || args.count.is_some() { number % RUNS_PER_QUIET == 0 } else { index == 0 };
            if pause_is_due && args.train.is_none() {
                periods.push(self.quiet(each).map_err(|error| Failure::failed(&error))?);
            }
            match self.run(*number, row) {
                Ok(run) => {
                    if let Some(pattern) = &run.pattern {
                        let verdict = if run.cause_rank == Some(1) { Named::Right } else { Named::Wrong };
                        confidence.record(pattern, verdict);
                    }
                    provider::say!("{}", line(&run, style));
                    runs.push(run);
                }
                // One run that could not be made is said, and does not cost the others.
                Err(error) => {
                    let why = Failure::failed(&error).message;
                    provider::say!("run {number} was not made: {why}");
                    missed.push(format!("run {number} ({}) was not made: {why}", row.name));
                }
            }
            if let Some(path) = &args.train {
                save(path, &confidence)?;
            }
        }
        Ok(Made { runs, quiet: Quiet::new(periods), missed })
    }

    fn with_fleet<T>(&self, use_it: impl FnOnce(&Fleet<'_>) -> T) -> T {
        let requests = |from: Time, to: Time| self.witnesses.requests(from, to);
        let leftovers = || match self.plane.provider.leftovers() {
            Ok(found) => found,
            Err(error) => vec![format!("cannot look for what was left behind: {error}")],
        };
        use_it(&Fleet {
            store: &self.plane.store,
            experiments: &self.plane.experiments,
            observer: &self.plane.observer,
            clock: self.plane.clock.as_ref(),
            requests: &requests,
            leftovers: &leftovers,
        })
    }
}

fn drill_report(
    config: &Config,
    capabilities: &Capabilities,
    seed: u64,
    runs: Vec<RunScore>,
    quiet: Quiet,
) -> Report {
    let witness = match config.healing.witness {
        Witness::Spans if config.otlp.enabled => LoopWitness::Spans,
        Witness::Spans | Witness::Probes => LoopWitness::Probes,
    };
    let setting = Setting {
        homeostat: env!("CARGO_PKG_VERSION").to_owned(),
        machine: machine(capabilities),
        seed,
        witness,
        started_at: now(),
        notes: notes(config),
    };
    Report::new(setting, runs, quiet)
}

/// The machine, as the system describes it.
fn machine(capabilities: &Capabilities) -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let memory_kib = read("/proc/meminfo")
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok());
    Machine {
        cores: std::thread::available_parallelism()
            .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
        memory_bytes: memory_kib.unwrap_or_default() * 1024,
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        limits_enforced_by: match &capabilities.memory_limit {
            Enforcement::Kernel(how) => how.clone(),
            Enforcement::Supervision => "supervision".to_owned(),
            Enforcement::Unavailable(why) => format!("nothing: {why}"),
        },
    }
}

fn now() -> String {
    use domain::Clock;
    provider::clock::SystemClock.now().rfc3339()
}

/// Runs of an earlier part of the same drill stay.
fn with_earlier_parts(report: &Report, args: &DrillArgs) -> Result<Report, Failure> {
    let Some(path) = args.json.as_deref().filter(|path| path.exists() && args.count.is_some()) else {
        return Ok(report.clone());
    };
    Report::merge(read_report(path)?, report.clone()).map_err(|error| Failure::new(Exit::Usage, &error))
}

/// A report that a drill wrote as JSON.
fn read_report(path: &Path) -> Result<Report, Failure> {
    let usage = |why: &dyn std::fmt::Display| Failure {
        exit: Exit::Usage,
        message: format!("{} cannot be read as the report of a drill: {why}", path.display()),
    };
    let text = input::read_to_string(path, FILE_BYTES_MAX).map_err(|error| usage(&error))?;
    serde_json::from_str(&text).map_err(|error| usage(&error))
}

/// Keeps a report where the pages of a server on the same data directory show it. That it could not be kept is said, and
/// costs nothing else: what was measured is printed anyway.
pub(crate) fn keep(report: &Report, archive: &Archive) {
    match archive.keep(report) {
        Ok(file) => provider::say!(
            "kept as {}; `homeostat serve` on that data directory shows it at /drills",
            file.display()
        ),
        Err(error) => provider::say!("the report could not be kept in the data directory: {error}"),
    }
}

/// Writes what was asked for, prints the table, and says what is not as it should be.
fn finish(report: &Report, args: &DrillArgs, archive: &Archive) -> Result<Exit, Failure> {
    let write =
        |path: &Path, text: String| std::fs::write(path, text).map_err(|error| Failure::failed(&error));
    if let Some(path) = &args.json {
        write(path, report.json())?;
    }
    for path in &args.report {
        let html = path.extension().is_some_and(|extension| extension == "html");
        write(path, if html { report.html() } else { report.markdown() })?;
    }
    crate::cli::print(&report.table(Style::Plain))?;
    let verdict = report.verdict();
    for what in &verdict.unexpected {
        provider::say!("not as expected: {what}");
    }
    let training = args.train.is_some();
    if !training && !report.runs.is_empty() {
        keep(report, archive);
    }
    Ok(if verdict.passed() || training { Exit::Done } else { Exit::Failed })
}
