//! What the process says while it runs: one line an event on stderr, at a level that can be changed while it runs.
//!
//! In: records of the `log` facade, from our crates at the level that is set, from others their warnings. Out: lines as
//! text or JSON; the last of them are kept for a support bundle. A command's answers to a person are no log: those go
//! through [`provider::say!`], as does what the keeper writes to its own file.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::Clock;
use log::{LevelFilter, Metadata, Record};
use provider::clock::SystemClock;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// How many lines are kept in memory: at 200 bytes a line, 400 KiB.
const KEPT: usize = 2000;

/// Our crates; whatever others say below a warning is theirs alone, and may hold what people sent.
const OURS: [&str; 12] = [
    "homeostat",
    "gateway",
    "heal",
    "chaos",
    "act",
    "observe",
    "alerting",
    "store",
    "metrics",
    "telemetry",
    "provider",
    "homeostat_tracer",
];

/// From which importance on something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What was asked for and could not be done.
    Error,
    /// What needs a person sooner or later.
    Warn,
    /// What a person wants to know afterwards.
    #[default]
    Info,
    /// What the loop does, turn by turn.
    Debug,
}

impl Level {
    /// As it is configured.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::Error,
            Self::Warn => LevelFilter::Warn,
            Self::Info => LevelFilter::Info,
            Self::Debug => LevelFilter::Debug,
        }
    }
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Time, level, words.
    #[default]
    Text,
    /// An object a line: `time`, `level`, `target`, `message`.
    Json,
}

/// Where lines go, and which.
struct Logger {
    state: Mutex<State>,
}

struct State {
    /// `None`: a command that a person waits for; the words alone.
    format: Option<Format>,
    configured: Level,
    /// Until when another level holds than the configured one; `None` within for as long as the process runs.
    instead: Option<(Level, Option<Instant>)>,
    last: VecDeque<String>,
}

static LOGGER: Logger = Logger {
    state: Mutex::new(State { format: None, configured: Level::Info, instead: None, last: VecDeque::new() }),
};

impl Logger {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl log::Log for Logger {
    fn enabled(&self, of: &Metadata<'_>) -> bool {
        let crate_name = of.target().split("::").next().unwrap_or_default();
        of.level() <= LevelFilter::Warn || OURS.contains(&crate_name)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut state = self.state();
        let line = show(state.format, record);
        provider::say!("{line}");
        if state.last.len() == KEPT {
            state.last.pop_front();
        }
        state.last.push_back(line);
    }

    fn flush(&self) {}
}

fn show(format: Option<Format>, record: &Record<'_>) -> String {
    let level = record.level().as_str().to_ascii_lowercase();
    let time = || SystemClock.now().rfc3339();
    match format {
        None => record.args().to_string(),
        Some(Format::Text) => format!("{} {level:<5} {}", time(), record.args()),
        Some(Format::Json) => {
            let message = record.args().to_string();
            json!({ "time": time(), "level": level, "target": record.target(), "message": message })
                .to_string()
        }
    }
}

/// Begins to say what is logged: the words alone, until [`configure`] says otherwise.
pub(crate) fn begin() {
    // Only one is ever set, and a second call changes nothing.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(Level::Info.filter());
}

/// Says it as configured. A level that [`set_level`] set stays.
pub(crate) fn configure(level: Level, format: Format) {
    let mut state = LOGGER.state();
    (state.configured, state.format) = (level, Some(format));
    let now = state.instead.map_or(level, |(level, _)| level);
    log::set_max_level(now.filter());
}

/// Another level than the configured one, for a while or for as long as the process runs.
pub(crate) fn set_level(level: Level, time: Option<Duration>) {
    let mut state = LOGGER.state();
    state.instead = Some((level, time.and_then(|time| Instant::now().checked_add(time))));
    log::set_max_level(level.filter());
}

/// Goes back to the configured level where the time of another is over.
pub(crate) fn expire() {
    let mut state = LOGGER.state();
    let over = |until: Instant| until <= Instant::now();
    if state.instead.is_some_and(|(_, until)| until.is_some_and(over)) {
        state.instead = None;
        log::set_max_level(state.configured.filter());
    }
}

/// The last lines, oldest first.
pub(crate) fn last() -> Vec<String> {
    LOGGER.state().last.iter().cloned().collect()
}
