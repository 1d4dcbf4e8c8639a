//! What a span of the tracing library costs on this machine. Its peers are measured by `benches/tracer`, with the same
//! names for the same figures.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::machine::Machine;
use crate::cli::{Exit, Failure, print};

/// How it was measured, for whoever reads the figures elsewhere.
const METHOD: &str = "median of 15 rounds of 200 local traces with 100 children each, on one thread; every span recorded \
                      and handed to the export threads, which encode it and send it nowhere; a request is 20 spans with \
                      W3C headers read and written";

/// Where the figures go.
#[derive(Debug, clap::Args)]
pub(crate) struct TracerArgs {
    /// Write the figures here as JSON; `-` is stdout.
    #[arg(long, value_name = "FILE", default_value = "-")]
    json: PathBuf,
}

/// Measures and prints.
pub(super) fn run(args: &TracerArgs) -> Result<Exit, Failure> {
    let report = homeostat_tracer::bench::measure().map_err(|error| Failure::failed(&error))?;
    let mut figures: Value = serde_json::from_str(&report.json()).map_err(|error| Failure::failed(&error))?;
    figures["method"] = json!(METHOD);
    figures["machine"] = json!(Machine::of(Path::new("/")));
    let text = serde_json::to_string_pretty(&figures).map_err(|error| Failure::failed(&error))? + "\n";
    if args.json == Path::new("-") {
        print(&text)?;
    } else {
        std::fs::write(&args.json, text).map_err(|error| Failure::failed(&error))?;
    }
    Ok(Exit::Done)
}
