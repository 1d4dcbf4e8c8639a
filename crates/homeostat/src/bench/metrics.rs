//! `homeostat bench metrics`: how many samples a second are taken, what they take on disk, how fast they are read back.
//!
//! In: how many machines are scraped, for how long. Out: figures with the method, the corpus and the machine they belong
//! to. What is measured stands in `metrics::bench`.

use std::path::{Path, PathBuf};

use metrics::bench::{self, Figures, Plan, Recorded};
use serde::Serialize;

use super::ingest::Scratch;
use super::machine::Machine;
use crate::cli::{Exit, Failure, Global, print};

/// `bench metrics`.
#[derive(Debug, clap::Args)]
pub(crate) struct MetricsArgs {
    /// Machines that are scraped once a second, 1000 series each, 1 to 1000.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    targets: u32,
    /// For how many seconds of the clock, which goes as fast as answers come, 60 to 86400.
    #[arg(long, default_value_t = 6 * 3600, value_parser = clap::value_parser!(u32).range(60..=86_400))]
    seconds: u32,
    /// Threads that send, 1 to 64.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    senders: u32,
    /// Queries of each kind, 1 to 10000.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    queries: u32,
    /// Active series of the second store, 0 to leave it out.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    many_series: u32,
    /// Pages of real targets, recorded by benches/metrics/record: what they take on disk in a third store.
    #[arg(long, value_name = "FILE")]
    corpus: Option<PathBuf>,
    /// Decides all values.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the figures here as JSON; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The figures of a run.
#[derive(Debug, Serialize)]
struct Report {
    method: String,
    corpus: String,
    machine: Machine,
    samples_per_s: f64,
    samples: u64,
    cpu_ns_per_sample: f64,
    bytes_per_sample: f64,
    bytes_per_sample_all_tiers: f64,
    series: u64,
    query_series: u64,
    query_range_p95_ms: f64,
    query_range_samples: u64,
    query_raw_p95_ms: f64,
    query_raw_samples: u64,
    many_series: u64,
    many_series_s: f64,
    rss_peak_mib: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<OnDisk>,
}

/// What pages of real targets took.
#[derive(Debug, Serialize)]
struct OnDisk {
    pages: u64,
    samples: u64,
    series: u64,
    seconds: f64,
    bytes_per_sample: f64,
    bytes_per_sample_all_tiers: f64,
}

impl From<Recorded> for OnDisk {
    fn from(recorded: Recorded) -> Self {
        let Recorded { pages, samples, series, seconds, bytes_per_sample, bytes_per_sample_all_tiers } =
            recorded;
        Self { pages, samples, series, seconds, bytes_per_sample, bytes_per_sample_all_tiers }
    }
}

/// Runs it.
pub(crate) fn run(global: &Global, args: &MetricsArgs) -> Result<Exit, Failure> {
    let dir = Scratch::make(&global.dir, "metrics").map_err(|error| Failure::failed(&error))?;
    let plan = Plan {
        dir: dir.0.clone(),
        targets: args.targets,
        seconds: args.seconds,
        senders: args.senders,
        queries: args.queries,
        many_series: args.many_series,
        recorded: args.corpus.clone(),
        seed: args.seed,
    };
    let figures = bench::run(&plan).map_err(|error| Failure::failed(&error))?;
    let report = Report::of(&plan, figures, Machine::of(&dir.0));
    match &args.json {
        Some(path) => {
            let json = serde_json::to_string_pretty(&report).map_err(|error| Failure::failed(&error))? + "\n";
            if path == Path::new("-") {
                print(&json)?;
            } else {
                std::fs::write(path, json).map_err(|error| Failure::failed(&error))?;
            }
        }
        None => print(&report.in_words())?,
    }
    Ok(Exit::Done)
}

impl Report {
    fn of(plan: &Plan, figures: Figures, machine: Machine) -> Self {
        let Figures {
            samples_per_s,
            samples,
            cpu_ns_per_sample,
            bytes_per_sample,
            bytes_per_sample_all_tiers,
            series,
            query_series,
            query_range_p95_ms,
            query_range_samples,
            query_raw_p95_ms,
            query_raw_samples,
            many_series,
            many_series_s,
            rss_peak_mib,
            recorded,
        } = figures;
        Self {
            method: bench::method(plan),
            corpus: bench::corpus(plan),
            machine,
            samples_per_s,
            samples,
            cpu_ns_per_sample,
            bytes_per_sample,
            bytes_per_sample_all_tiers,
            series,
            query_series,
            query_range_p95_ms,
            query_range_samples,
            query_raw_p95_ms,
            query_raw_samples,
            many_series,
            many_series_s,
            rss_peak_mib,
            recorded: recorded.map(OnDisk::from),
        }
    }

    fn in_words(&self) -> String {
        let mut text = format!(
            "method      {}\ncorpus      {}\nsamples/s   {:.0}  ({}, {:.0} ns of CPU time each)\n\
             on disk     {:.3} B a sample, {:.3} B with all tiers\n\
             query       {} series, p95 {:.1} ms with a step of a minute ({} samples), {:.1} ms for all ({} samples)\n\
             many        {} series in {:.1} s, {:.0} MiB at most\n",
            self.method,
            self.corpus,
            self.samples_per_s,
            self.samples,
            self.cpu_ns_per_sample,
            self.bytes_per_sample,
            self.bytes_per_sample_all_tiers,
            self.query_series,
            self.query_range_p95_ms,
            self.query_range_samples,
            self.query_raw_p95_ms,
            self.query_raw_samples,
            self.many_series,
            self.many_series_s,
            self.rss_peak_mib
        );
        if let Some(recorded) = &self.recorded {
            text.push_str(&format!(
                "recorded    {:.3} B a sample, {:.3} B with all tiers ({} samples of {} series in {:.0} s)\n",
                recorded.bytes_per_sample,
                recorded.bytes_per_sample_all_tiers,
                recorded.samples,
                recorded.series,
                recorded.seconds
            ));
        }
        text
    }
}
