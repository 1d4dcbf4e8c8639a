//! What a span of the tracing library costs on this machine. Its peers are measured by `benches/tracer`, with the same
//! names for the same figures.

use std::path::{Path, PathBuf};

use homeostat_tracer::bench::settling;
use serde_json::{Value, json};

use super::machine::Machine;
use crate::cli::{Exit, Failure, print};

/// How it was measured, for whoever reads the figures elsewhere.
const METHOD: &str = "median of 15 rounds of 200 local traces with 100 children each, on one thread; every span recorded \
                      and handed to the export threads, which encode it and send it nowhere; a request is 20 spans with \
                      W3C headers read and written";

/// The same for a step of the load.
const LOAD_STEP_METHOD: &str = "two threads make local roots of one span, 10,000 a second, then 100,000, then 10,000 again, \
                                ten seconds each; adaptive sampling may keep 5,000 spans a second; time from each step \
                                until what is kept in every later half second is within 10 % of that; null: it did not";

/// Where the figures go.
#[derive(Debug, clap::Args)]
pub(crate) struct TracerArgs {
    /// Write the figures here as JSON; `-` is stdout.
    #[arg(long, value_name = "FILE", default_value = "-")]
    json: PathBuf,
    /// Measure as well how long adaptive sampling takes to settle when the load changes tenfold: half a minute.
    #[arg(long)]
    load_step: bool,
}

/// Measures and prints.
pub(super) fn run(args: &TracerArgs) -> Result<Exit, Failure> {
    let report = homeostat_tracer::bench::measure().map_err(|error| Failure::failed(&error))?;
    let mut figures: Value = serde_json::from_str(&report.json()).map_err(|error| Failure::failed(&error))?;
    figures["method"] = json!(METHOD);
    figures["machine"] = json!(Machine::of(Path::new("/")));
    if args.load_step {
        let settling = settling::measure().map_err(|error| Failure::failed(&error))?;
        figures["load_step"] = json!({
            "method": LOAD_STEP_METHOD,
            "up_seconds": settling.up_seconds,
            "down_seconds": settling.down_seconds,
            "high_load_spans_per_second": settling.high_load,
        });
    }
    let text = serde_json::to_string_pretty(&figures).map_err(|error| Failure::failed(&error))? + "\n";
    if args.json == Path::new("-") {
        print(&text)?;
    } else {
        std::fs::write(&args.json, text).map_err(|error| Failure::failed(&error))?;
    }
    Ok(Exit::Done)
}
