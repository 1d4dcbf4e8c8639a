//! Commands for the server that runs on a data directory, over its control socket: `reload`, `log-level`.

use std::time::Duration;

use clap::Args;
use domain::units::show_duration;
use serde_json::Value;

use super::config::print;
use super::{Exit, Failure, Global, Output, value};
use crate::control_socket::{Ask, ask};
use crate::logging::Level;
use crate::reload::ChangedKey;

/// `log-level`.
#[derive(Debug, Args)]
pub(crate) struct LogLevelArgs {
    /// From which importance on something is said.
    level: Level,
    /// For how long, such as 10m; then the configured level holds again. Default: until the server ends.
    #[arg(long = "for", value_parser = value::time_above_zero, allow_hyphen_values = true)]
    time: Option<Duration>,
}

/// Has the configuration read again.
pub(super) fn reload(global: &Global, output: Output) -> Result<Exit, Failure> {
    let mut answer = ask(&global.dir, Ask::Reload {})?;
    if output.json {
        print(&format!("{answer:#}\n"))?;
        return Ok(Exit::Done);
    }
    let changed: Vec<ChangedKey> =
        serde_json::from_value(answer["changed"].take()).map_err(|error| Failure::failed(&error))?;
    if changed.is_empty() {
        provider::say!("the configuration was read again; nothing changed");
    }
    changed.iter().try_for_each(|key| print(&format!("{}\n", key.said())))?;
    Ok(Exit::Done)
}

/// Has more or less said.
pub(super) fn log_level(global: &Global, args: &LogLevelArgs) -> Result<Exit, Failure> {
    let for_ms = args.time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let _: Value = ask(&global.dir, Ask::LogLevel { level: args.level, for_ms })?;
    let time =
        args.time.map_or("until the server ends".to_owned(), |time| format!("for {}", show_duration(time)));
    provider::say!("the log level is set, {time}");
    Ok(Exit::Done)
}
