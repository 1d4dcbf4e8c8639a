//! `homeostat bench ingest`: how many spans a second are taken, acknowledged after the disk has them.
//!
//! In: protocol, duration, connections. Out: figures with the method, the corpus and the machine they belong to.
//! Afterwards everything is read back, once by the process that took it and once after a restart: what was
//! acknowledged and is not there is lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::client::{Packing, Protocol};
use super::corpus::{Request, SPANS, trace_id};
use super::load::{Load, Pace, Sender, Source, Tally, first_span};
use super::machine::Machine;
use super::server::{self, Compaction, Server, Usage, Use, usage};
use crate::cli::{Exit, Failure, Global, print};

/// Between two requests whose trace is looked for as soon as it is acknowledged.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);

/// `bench ingest`.
#[derive(Debug, clap::Args)]
pub(crate) struct IngestArgs {
    /// Over what is sent.
    #[arg(long, value_enum, default_value = "http")]
    protocol: Protocol,
    /// Send compressed.
    #[arg(long)]
    gzip: bool,
    /// For how long, 1 to 3600.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Connections, each with one request under way, 1 to 256.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    connections: u32,
    /// Send to this address (127.0.0.1:4318) instead of a server started for it; what was lost, CPU time and memory
    /// are then not known.
    #[arg(long, value_name = "ADDRESS")]
    target: Option<SocketAddr>,
    /// Let the server throw away what it receives: the cost of receiving alone, nothing walked, nothing stored.
    #[arg(long, conflicts_with = "target")]
    discard: bool,
    /// At most so many spans a second; as many as are acknowledged where none is given.
    #[arg(long, value_name = "SPANS", value_parser = clap::value_parser!(u64).range(512..=100_000_000))]
    rate: Option<u64>,
    /// Whether the store compacts while it receives.
    #[arg(long, value_enum, default_value = "deferred")]
    compact: Compaction,
    /// Write the figures here as JSON; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The figures of a run. What is not known is absent.
#[derive(Debug, Clone, Serialize)]
struct Figures {
    method: String,
    corpus: String,
    machine: Machine,
    seconds: f64,
    spans: u64,
    spans_per_s: f64,
    ack: Quantiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    searchable: Option<Quantiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    searchable_p99_ms: Option<f64>,
    /// Requests answered with "later", and those of them that were taken in the end.
    refused: u64,
    retried: u64,
    /// CPU time of the generator, for each span.
    generator_ns_per_span: f64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    server: Option<ServerFigures>,
}

/// What is known of a server that was started for the run.
#[derive(Debug, Clone, Serialize)]
struct ServerFigures {
    server_ns_per_span: f64,
    rss_peak_mib: f64,
    /// What waited for compaction: it keeps pace where this does not grow.
    backlog: Backlog,
    /// `None`: it threw everything away.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    kept: Option<Kept>,
}

/// Bytes of segments that were not compacted.
#[derive(Debug, Clone, Copy, Serialize)]
struct Backlog {
    half_time_mib: f64,
    end_mib: f64,
}

/// Looks at the backlog while the load runs.
struct Watch {
    segments: PathBuf,
    half_time: std::thread::JoinHandle<f64>,
}

impl Backlog {
    fn watch(store: &Path, time: Duration) -> Watch {
        let segments = store.join("hot");
        let dir = segments.clone();
        let half_time = std::thread::spawn(move || {
            std::thread::sleep(time / 2);
            mib_in(&dir)
        });
        Watch { segments, half_time }
    }
}

impl Watch {
    fn ended(self) -> Backlog {
        let end_mib = mib_in(&self.segments);
        Backlog { half_time_mib: self.half_time.join().unwrap_or_default(), end_mib }
    }
}

/// MiB of the files in a directory; of one that is not there, none.
fn mib_in(dir: &Path) -> f64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes: u64 = files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum();
    bytes as f64 / f64::from(1 << 20)
}

/// What became of the spans.
#[derive(Debug, Clone, Serialize)]
struct Kept {
    /// Of everything the store keeps, when the server had ended.
    bytes_per_span: f64,
    /// Acknowledged, and not found by the process that took it, or after a restart.
    lost: u64,
}

/// In milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Quantiles {
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    count: usize,
}

impl Quantiles {
    pub(super) fn of(mut us: Vec<u32>) -> Self {
        us.sort_unstable();
        let at = |share: f64| {
            let rank = (us.len() as f64 * share).ceil() as usize;
            us.get(rank.saturating_sub(1)).map_or(0.0, |us| f64::from(*us) / 1000.0)
        };
        Self { p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0), count: us.len() }
    }

    pub(super) fn in_words(self) -> String {
        format!("p50 {:.1} ms, p99 {:.1} ms", self.p50_ms, self.p99_ms)
    }
}

/// What was measured while the load ran.
struct Measured {
    tally: Tally,
    elapsed: Duration,
    generator: Duration,
    searchable_us: Vec<u32>,
}

/// Runs it.
pub(crate) fn run(global: &Global, args: &IngestArgs) -> Result<Exit, Failure> {
    let failed = |error: std::io::Error| Failure::failed(&error);
    let packing = if args.gzip { Packing::Gzip } else { Packing::Plain };
    let first_span = first_span();
    let source = Source::new(packing, first_span).map_err(failed)?;
    let load = |to| Load {
        to,
        protocol: args.protocol,
        source: source.clone(),
        next: Arc::new(AtomicU64::new(0)),
        stop: Arc::new(AtomicBool::new(false)),
        pace: args.rate.map(|spans_per_s| Pace { began: Instant::now(), spans_per_s }),
    };
    let time = Duration::from_secs(args.seconds);
    let (measured, server, machine) = match args.target {
        Some(target) => {
            let measured = measure(&load(target), args.connections, time, None)?;
            (measured, None, Machine::of(&global.dir))
        }
        None => {
            let dir = Scratch::make(&global.dir, "ingest").map_err(failed)?;
            let to = if args.discard { Use::Discard } else { Use::Store(args.compact) };
            let mut server = Server::start(&dir.0, to).map_err(failed)?;
            let load = load(server.address(args.protocol));
            let before = server.usage().map_err(failed)?;
            let sampled = (!args.gzip && to != Use::Discard).then_some((&mut server, first_span));
            let backlog = Backlog::watch(&dir.0, time);
            let measured = measure(&load, args.connections, time, sampled)?;
            let backlog = backlog.ended();
            let after = server.usage().map_err(failed)?;
            let kept = match to {
                Use::Store(_) => Some(settle(server, &dir.0, first_span, &measured.tally, args.compact)?),
                Use::Discard => None,
            };
            let figures = ServerFigures::new(measured.tally.spans(), (before, after), kept, backlog);
            (measured, Some(figures), Machine::of(&dir.0))
        }
    };
    let errors = measured.tally.errors.clone();
    let figures = figures(args, measured, server, machine);
    report(args, &figures)?;
    for error in errors.iter().take(3) {
        provider::say!("not taken: {error}");
    }
    let lost =
        figures.server.as_ref().and_then(|server| server.kept.as_ref()).is_some_and(|kept| kept.lost > 0);
    Ok(if lost || !errors.is_empty() { Exit::Failed } else { Exit::Done })
}

/// Lets the load run for its time; with a server of ours, looks for what was acknowledged at once.
fn measure(
    load: &Load,
    connections: u32,
    time: Duration,
    sampled: Option<(&mut Server, u64)>,
) -> Result<Measured, Failure> {
    let failed = |error: std::io::Error| Failure::failed(&error);
    let own = || usage(std::process::id()).map(|usage| usage.cpu).map_err(failed);
    let cpu = own()?;
    let began = Instant::now();
    let (mut tally, sample) = std::thread::scope(|scope| {
        let loading = scope.spawn(|| load.run(connections));
        let sample = sampled.map(|(server, first_span)| sample(load, server, first_span, time));
        let rest = time.saturating_sub(began.elapsed());
        std::thread::sleep(rest);
        load.stop.store(true, Ordering::Relaxed);
        (loading.join().unwrap_or_default(), sample.transpose())
    });
    let elapsed = began.elapsed();
    let generator = own()?.saturating_sub(cpu);
    let mut searchable_us = Vec::new();
    if let Some((more, us)) = sample.map_err(failed)? {
        tally.add(more);
        searchable_us = us;
    }
    Ok(Measured { tally, elapsed, generator, searchable_us })
}

/// Sends one request now and then, and measures from its acknowledgement until its first trace is found by its id.
fn sample(
    load: &Load,
    server: &mut Server,
    first_span: u64,
    time: Duration,
) -> std::io::Result<(Tally, Vec<u32>)> {
    let began = Instant::now();
    let mut sender = Sender::connect(load)?;
    let mut searchable_us = Vec::new();
    while began.elapsed() + SAMPLE_INTERVAL < time {
        std::thread::sleep(SAMPLE_INTERVAL);
        let Some(number) = sender.send_next(load)? else { break };
        let acknowledged = Instant::now();
        if !server.finds(trace_id(first_span + number * SPANS as u64))? {
            return Err(std::io::Error::other("an acknowledged trace was not found within 10 s"));
        }
        searchable_us.push(u32::try_from(acknowledged.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    Ok((sender.tally, searchable_us))
}

/// Reads everything back, ends the server, opens the store again and reads everything once more.
fn settle(
    mut server: Server,
    dir: &Path,
    first_span: u64,
    tally: &Tally,
    compaction: Compaction,
) -> Result<Kept, Failure> {
    let failed = |error: std::io::Error| Failure::failed(&error);
    let lost_at_once = lost(tally, first_span, &server.audit().map_err(failed)?);
    server.stop().map_err(failed)?;
    let bytes = size(dir).map_err(failed)?;
    let again = server::audit(&server::open(dir, compaction)?)?;
    Ok(Kept {
        bytes_per_span: bytes as f64 / tally.spans().max(1) as f64,
        lost: lost_at_once.max(lost(tally, first_span, &again)),
    })
}

impl ServerFigures {
    fn new(spans: u64, (before, after): (Usage, Usage), kept: Option<Kept>, backlog: Backlog) -> Self {
        Self {
            server_ns_per_span: after.cpu.saturating_sub(before.cpu).as_nanos() as f64 / spans.max(1) as f64,
            rss_peak_mib: after.rss_peak_bytes as f64 / 1024.0 / 1024.0,
            kept,
            backlog,
        }
    }
}

/// Spans that were acknowledged and are not there.
pub(crate) fn lost(tally: &Tally, first_span: u64, found: &BTreeMap<u64, u64>) -> u64 {
    let missing = tally.acknowledged.iter().map(|(request, times)| {
        let first = first_span + request * SPANS as u64;
        (times * SPANS as u64).saturating_sub(found.get(&first).copied().unwrap_or_default())
    });
    missing.sum()
}

/// Bytes of all files below a directory.
fn size(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

fn figures(
    args: &IngestArgs,
    measured: Measured,
    server: Option<ServerFigures>,
    machine: Machine,
) -> Figures {
    let Measured { tally, elapsed, generator, searchable_us } = measured;
    let spans = tally.spans();
    let searchable = (!searchable_us.is_empty()).then(|| Quantiles::of(searchable_us));
    Figures {
        method: method(args),
        corpus: corpus(),
        machine,
        seconds: elapsed.as_secs_f64(),
        spans,
        spans_per_s: spans as f64 / elapsed.as_secs_f64(),
        ack: Quantiles::of(tally.ack_us),
        searchable_p99_ms: searchable.map(|searchable| searchable.p99_ms),
        searchable,
        refused: tally.refused,
        retried: tally.retried,
        generator_ns_per_span: generator.as_nanos() as f64 / spans.max(1) as f64,
        server,
    }
}

fn method(args: &IngestArgs) -> String {
    let protocol = match args.protocol {
        Protocol::Http => "OTLP/HTTP",
        Protocol::Grpc => "OTLP/gRPC",
    };
    let packing = if args.gzip {
        format!(
            "gzip level 6, {} distinct requests compressed before the run and sent again and again",
            super::load::POOL
        )
    } else {
        "not compressed, ids, times and unique text different in every request".to_owned()
    };
    let server = match args.target {
        None if args.discard => "receivers in a process of their own that throw everything away".to_owned(),
        Some(target) => format!("a server at {target}"),
        None => {
            "a fresh store and its receivers in a process of their own, lost counted by reading everything \
                 back there and again after a restart"
                .to_owned()
        }
    };
    let pace = match args.rate {
        Some(rate) => format!("at most {rate} spans a second"),
        None => "as fast as the answers come".to_owned(),
    };
    let acknowledged = match (args.discard, args.compact) {
        (true, _) => "answered at once",
        (false, Compaction::Now) => "acknowledged after fdatasync, compacted meanwhile",
        (false, Compaction::Deferred) => "acknowledged after fdatasync, not compacted meanwhile",
    };
    format!(
        "{protocol} protobuf, {} connections with one request under way each, {pace}, {packing}; {acknowledged}; \
         generator on the same machine; against {server}",
        args.connections
    )
}

fn corpus() -> String {
    let bytes = Request::template().message().len();
    format!(
        "requests of {SPANS} spans ({:.0} B a span): 51 traces of 10 spans and one of 2, 10 attributes a span (7 \
         texts, one a unique 16-hex id, 3 integers), 6 services with 8 resource attributes, 2 % of traces failed",
        bytes as f64 / SPANS as f64
    )
}

fn report(args: &IngestArgs, figures: &Figures) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(figures).map_err(|error| Failure::failed(&error))? + "\n";
    match &args.json {
        Some(path) if path == Path::new("-") => print(&json),
        Some(path) => std::fs::write(path, json).map_err(|error| Failure::failed(&error)),
        None => print(&in_words(figures)),
    }
}

fn in_words(figures: &Figures) -> String {
    let mut text = format!(
        "method      {}\ncorpus      {}\nspans/s     {:.0}  ({} in {:.1} s)\nack         {}\nrefused     {} ({} of them taken later)\ngenerator   {:.0} ns a span\n",
        figures.method,
        figures.corpus,
        figures.spans_per_s,
        figures.spans,
        figures.seconds,
        figures.ack.in_words(),
        figures.refused,
        figures.retried,
        figures.generator_ns_per_span,
    );
    if let Some(searchable) = figures.searchable {
        text.push_str(&format!("searchable  p99 {:.1} ms after the answer\n", searchable.p99_ms));
    }
    if let Some(server) = &figures.server {
        text.push_str(&format!(
            "server      {:.0} ns a span, {:.0} MiB at most\n",
            server.server_ns_per_span, server.rss_peak_mib
        ));
    }
    if let Some(kept) = figures.server.as_ref().and_then(|server| server.kept.as_ref()) {
        text.push_str(&format!(
            "on disk     {:.1} B a span\nlost        {}\n",
            kept.bytes_per_span, kept.lost
        ));
    }
    text
}

/// A directory that is removed in the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    /// Makes one in the data directory, so that it is on the same file system.
    pub(crate) fn make(dir: &Path, name: &str) -> std::io::Result<Self> {
        let path = dir.join(format!("bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            provider::say!("{} could not be removed: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let quantiles = Quantiles::of((1..=1000).rev().map(|n| n * 1000).collect());
        assert_eq!((quantiles.p50_ms, quantiles.p99_ms, quantiles.max_ms), (500.0, 990.0, 1000.0));
        assert_eq!(Quantiles::of(Vec::new()).p99_ms, 0.0);
    }

    #[test]
    fn what_is_missing_is_lost_and_what_is_more_is_not() {
        let tally = Tally { acknowledged: [(0, 1), (1, 2), (3, 1)].into(), ..Tally::default() };
        let found = [(1024, 512), (1024 + 512, 1000), (1024 + 1024, 77)].into();
        assert_eq!(lost(&tally, 1024, &found), 24 + 512);
    }
}
