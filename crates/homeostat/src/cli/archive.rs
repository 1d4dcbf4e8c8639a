//! `archive`: traces kept beyond retention and sampling.

use clap::Subcommand;
use serde_json::{Value, json};
use telemetry::TraceId;

use super::config::print;
use super::show::{of, table};
use super::traces::counted;
use super::{Exit, Failure, Global, Output};

/// What to do with the archive.
#[derive(Debug, Subcommand)]
pub(crate) enum ArchiveCommand {
    /// Keep a trace until it is removed; it is on disk when this ends.
    Add {
        /// Its id, from `homeostat traces`.
        id: TraceId,
        #[command(flatten)]
        output: Output,
    },
    /// Archived traces, the one that was archived last first.
    List {
        /// At most this many.
        #[arg(long, default_value_t = 100, allow_negative_numbers = true)]
        limit: u32,
        #[command(flatten)]
        output: Output,
    },
    /// Remove a trace from the archive: it goes with the others of its time, at once where they are gone.
    Remove {
        /// Its id.
        id: TraceId,
        #[command(flatten)]
        output: Output,
    },
}

const ARCHIVE: &str = "/api/v3/observability/archive";

pub(super) fn run(global: &Global, command: &ArchiveCommand) -> Result<Exit, Failure> {
    let client = global.client()?;
    match command {
        ArchiveCommand::Add { id, output } => {
            let told = client.post(&format!("{ARCHIVE}/{id}"), &json!({}))?;
            said(&told, *output, "archived")
        }
        ArchiveCommand::Remove { id, output } => {
            let told = client.delete(&format!("{ARCHIVE}/{id}"))?;
            said(&told, *output, "removed")
        }
        ArchiveCommand::List { limit, output } => {
            let traces: Vec<Value> = client.get(&format!("{ARCHIVE}?limit={limit}"))?;
            if output.json {
                print(&format!("{:#}\n", Value::Array(traces)))?;
            } else if traces.is_empty() {
                provider::say!("no trace is archived");
            } else {
                let rows: Vec<Vec<String>> = traces.iter().map(row).collect();
                print(&table(&["TRACE", "ARCHIVED", "KEEPING", "SPANS", "BYTES"], &rows))?;
            }
            Ok(Exit::Done)
        }
    }
}

fn row(told: &Value) -> Vec<String> {
    let text = |key| of(told, key).to_owned();
    vec![
        text("trace_id"),
        text("archived_at"),
        text("keeping"),
        told["spans"].to_string(),
        told["bytes"].to_string(),
    ]
}

fn said(told: &Value, output: Output, done: &str) -> Result<Exit, Failure> {
    if output.json {
        print(&format!("{told:#}\n"))?;
    } else {
        provider::say!(
            "{done}: {}, {}, {} bytes",
            of(told, "trace_id"),
            counted(&told["spans"], "span"),
            told["bytes"]
        );
    }
    Ok(Exit::Done)
}
