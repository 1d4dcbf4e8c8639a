//! Benchmarks and campaigns: of the span store, as a user would meet it, over OTLP, in a process of its own; of the
//! store of series; of endpoints and pages; of what is told live.
//!
//! In: what to send and for how long. Out: figures with method, corpus and machine; or, of a campaign, how much of
//! what was acknowledged could not be found again, which must be nothing.

mod api;
mod client;
mod control_plane;
mod corpus;
mod fill;
mod full_disk;
mod ingest;
mod kill;
mod known;
mod live;
mod load;
mod machine;
mod metrics;
mod metrics_load;
mod metrics_settle;
mod query;
mod server;
mod shapes;
mod tracer;

pub(crate) use server::{ServerArgs, run as serve};

use crate::cli::{Exit, Failure, Global};

/// What to measure or to try.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum BenchCommand {
    /// How fast endpoints and pages answer, with a store full of records.
    Api(api::ApiArgs),
    /// What a thousand live pages and hundreds of GraphQL subscriptions at once cost, and how late they are told.
    Live(live::LiveArgs),
    /// How many spans a second are taken and acknowledged after the disk has them.
    Ingest(ingest::IngestArgs),
    /// How fast a trace is found by its id and by a search with three filters.
    Query(query::QueryArgs),
    /// Kill the server at random instants under load; every acknowledged span must be found afterwards.
    Kill(kill::KillArgs),
    /// Fill the disk under load: refused with the reason, taken again when there is space, nothing lost.
    FullDisk(full_disk::FullDiskArgs),
    /// How many samples a second are taken, what they take on disk and how fast series are read back.
    Metrics(metrics::MetricsArgs),
    /// Send hours of series to a server by Prometheus' remote-write, as fast as it acknowledges them.
    MetricsLoad(metrics_load::MetricsLoadArgs),
    /// Write the series that a stopped server holds in its log to blocks, merge these, and say what they take.
    MetricsSettle(metrics_settle::MetricsSettleArgs),
    /// What a span of the tracing library costs.
    Tracer(tracer::TracerArgs),
}

/// A value as a line of JSON.
fn line(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map(|text| text + "\n").map_err(|error| Failure::failed(&error))
}

/// Runs it.
pub(crate) fn run(global: &Global, command: &BenchCommand) -> Result<Exit, Failure> {
    match command {
        BenchCommand::Api(args) => api::run(global, args),
        BenchCommand::Live(args) => live::run(global, args),
        BenchCommand::Ingest(args) => ingest::run(global, args),
        BenchCommand::Query(args) => query::run(args),
        BenchCommand::Kill(args) => kill::run(global, args),
        BenchCommand::FullDisk(args) => full_disk::run(args),
        BenchCommand::Metrics(args) => metrics::run(global, args),
        BenchCommand::MetricsLoad(args) => metrics_load::run(global, args),
        BenchCommand::MetricsSettle(args) => metrics_settle::run(args),
        BenchCommand::Tracer(args) => tracer::run(args),
    }
}
