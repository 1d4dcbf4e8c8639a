//! `homeostat bench metrics-settle`: what the series of a stopped server take on disk when all of them are in blocks.
//!
//! In: the directory of a store of series, `DIR/metrics` of a data directory, that no process uses. Out: samples and
//! bytes. The store stays as whole as it was: a server goes on with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use metrics::bench;
use provider::clock::SystemClock;

use super::line;
use crate::cli::{Exit, Failure, print};

/// `bench metrics-settle`.
#[derive(Debug, clap::Args)]
pub(crate) struct MetricsSettleArgs {
    /// The store's directory.
    #[arg(value_name = "DIR")]
    store: PathBuf,
    /// Write the figures here as JSON; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs it.
pub(crate) fn run(args: &MetricsSettleArgs) -> Result<Exit, Failure> {
    if !args.store.is_dir() {
        let why = format!(
            "{} is no directory; name the store's, DIR/metrics of a data directory",
            args.store.display()
        );
        return Err(Failure::failed(&std::io::Error::other(why)));
    }
    let settled = bench::settle(args.store.clone(), Arc::new(SystemClock));
    let settled = settled.map_err(|error| Failure::failed(&error))?;
    let samples = settled.samples.max(1) as f64;
    let (raw, all) = (settled.bytes as f64 / samples, settled.bytes_all_tiers as f64 / samples);
    let json = serde_json::json!({
        "samples": settled.samples,
        "bytes": settled.bytes,
        "bytes_all_tiers": settled.bytes_all_tiers,
        "bytes_per_sample": raw,
        "bytes_per_sample_all_tiers": all,
    });
    match &args.json {
        Some(path) if path == Path::new("-") => print(&line(&json)?)?,
        Some(path) => std::fs::write(path, line(&json)?).map_err(|error| Failure::failed(&error))?,
        None => print(&format!(
            "samples     {}\non disk     {raw:.3} B a sample, {all:.3} B with all tiers\n",
            settled.samples
        ))?,
    }
    Ok(Exit::Done)
}
