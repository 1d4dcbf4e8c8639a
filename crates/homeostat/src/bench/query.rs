//! `homeostat bench query`: how fast a trace is found by its id, and by a search with three filters, in many spans.
//!
//! In: how many spans. Out: figures with the method and the machine. The reference corpus goes through the store's own
//! entry, without a network, spread over twelve hours; then everything is compacted, and asked about.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use telemetry::{Config, Telemetry, TraceFilter, TraceId};

use super::corpus::{Request, SPANS, mix, trace_id, unique};
use super::load::{first_span, now_unix_nano};
use super::machine::Machine;
use super::server::usage;
use super::shapes::SERVICES;
use crate::cli::{Exit, Failure, print};

/// The corpus is spread over so much time.
const STRETCH: Duration = Duration::from_secs(12 * 3600);

/// Spans that are compacted together while the store is filled.
const COMPACT_EVERY: u64 = 5_000_000;

/// Requests under way to the disk while the store is filled.
const UNDER_WAY: usize = 64;

/// Questions of each kind.
const BY_ID: u64 = 2000;
const SEARCHES: u64 = 300;

/// `bench query`.
#[derive(Debug, clap::Args)]
pub(crate) struct QueryArgs {
    /// Spans in the store, in whole requests of 512.
    #[arg(long, default_value_t = 50_000_000, value_parser = clap::value_parser!(u64).range(512..=1_000_000_000))]
    spans: u64,
    /// The store's directory, which must not have one yet and keeps it; a temporary one where none is given.
    #[arg(long)]
    store: Option<PathBuf>,
    /// Write the figures here as JSON; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The figures of a run.
#[derive(Debug, Clone, Serialize)]
struct Figures {
    method: String,
    machine: Machine,
    spans: u64,
    bytes_per_span: f64,
    units: u64,
    /// Compaction, CPU time of its thread and time by the clock.
    compaction_cpu_ns_per_span: f64,
    compaction_ns_per_span: f64,
    fill_ns_per_span: f64,
    by_id_p50_ms: f64,
    by_id_p99_ms: f64,
    search_p50_ms: f64,
    search_p95_ms: f64,
    search_max_ms: f64,
    /// Searches that found nothing: most of those for a value of one span, outside of its time.
    searches_empty: u64,
    rss_peak_mib: f64,
    reopen_ms: f64,
}

/// Runs it.
pub(crate) fn run(args: &QueryArgs) -> Result<Exit, Failure> {
    let temporary = std::env::temp_dir().join(format!("homeostat-bench-query-{}", std::process::id()));
    let outcome = measure(args, args.store.as_deref().unwrap_or(&temporary));
    if args.store.is_none() {
        // What is left of it costs room only, and the system clears its directory.
        let _ = std::fs::remove_dir_all(&temporary);
    }
    outcome
}

fn measure(args: &QueryArgs, dir: &Path) -> Result<Exit, Failure> {
    let failed = |error: std::io::Error| Failure::failed(&error);
    if dir.join("hot").exists() {
        let message = format!("{} holds a store already; give a directory without one", dir.display());
        return Err(Failure { exit: Exit::Usage, message });
    }
    let config = Config {
        compact_after: None,
        retention_bytes: u64::MAX,
        backlog_bytes_max: u64::MAX,
        ..Config::new(dir)
    };
    let store = Telemetry::open(config.clone()).map_err(|error| Failure::failed(&error))?;
    let corpus = Corpus { first: first_span(), requests: args.spans / SPANS as u64, end: now_unix_nano() };
    let filled = corpus.fill(&store)?;
    let spans = corpus.requests * SPANS as u64;
    let bytes = bytes_in(dir).map_err(failed)?;
    let units = store.counters().units_written.get();
    drop(store);
    let reopening = Instant::now();
    let store = Telemetry::open(config).map_err(|error| Failure::failed(&error))?;
    let reopen_ms = milliseconds(reopening.elapsed());
    let by_id = corpus.ask_by_id(&store)?;
    let (search, searches_empty) = corpus.search(&store)?;
    let ns = |time: Duration| time.as_nanos() as f64 / spans as f64;
    let figures = Figures {
        method: format!(
            "reference corpus of 419-byte spans with 10 attributes through the store's entry, spread over 12 h and \
             compacted every {COMPACT_EVERY} spans; store opened again; {BY_ID} traces by id and {SEARCHES} searches \
             (service, tag of common or single value, least duration; windows of a minute, an hour, all; 20 traces) \
             one after the other, page cache warm"
        ),
        machine: Machine::of(dir),
        spans,
        bytes_per_span: bytes as f64 / spans as f64,
        units,
        compaction_cpu_ns_per_span: ns(filled.compaction_cpu),
        compaction_ns_per_span: ns(filled.compaction),
        fill_ns_per_span: ns(filled.taking_in),
        by_id_p50_ms: quantile(&by_id, 0.5),
        by_id_p99_ms: quantile(&by_id, 0.99),
        search_p50_ms: quantile(&search, 0.5),
        search_p95_ms: quantile(&search, 0.95),
        search_max_ms: quantile(&search, 1.0),
        searches_empty,
        rss_peak_mib: usage(std::process::id()).map_err(failed)?.rss_peak_bytes as f64 / f64::from(1 << 20),
        reopen_ms,
    };
    write(args, &figures)?;
    Ok(Exit::Done)
}

fn write(args: &QueryArgs, figures: &Figures) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(figures).map_err(|error| Failure::failed(&error))? + "\n";
    match &args.json {
        Some(path) if path != Path::new("-") => {
            std::fs::write(path, json).map_err(|error| Failure::failed(&error))
        }
        Some(_) => print(&json),
        None => print(&format!(
            "{} spans at {:.1} B; by id p99 {:.2} ms; search p95 {:.2} ms; compaction {:.0} ns a span\n",
            figures.spans,
            figures.bytes_per_span,
            figures.by_id_p99_ms,
            figures.search_p95_ms,
            figures.compaction_cpu_ns_per_span
        )),
    }
}

/// What is in the store.
struct Corpus {
    first: u64,
    requests: u64,
    end: u64,
}

#[derive(Default)]
struct Filled {
    taking_in: Duration,
    compaction: Duration,
    compaction_cpu: Duration,
}

impl Corpus {
    /// Number of the first span of a request.
    fn first_of(&self, request: u64) -> u64 {
        self.first + request * SPANS as u64
    }

    /// When a request was made.
    fn time_of(&self, request: u64) -> u64 {
        let step = STRETCH.as_nanos() as u64 / self.requests.max(1);
        self.end - (self.requests - request) * step
    }

    fn fill(&self, store: &Telemetry) -> Result<Filled, Failure> {
        let mut filled = Filled::default();
        let intake = store.intake();
        let mut request = Request::template();
        let mut under_way = std::collections::VecDeque::new();
        let mut began = Instant::now();
        let mut waiting = 0;
        for number in 0..self.requests {
            request.patch(self.first_of(number), self.time_of(number));
            let taken = intake.traces(request.message()).map_err(|error| Failure::failed(&error))?;
            under_way.push_back(taken.durable);
            waiting += taken.accepted;
            let last = number + 1 == self.requests;
            let compact = waiting >= COMPACT_EVERY || last;
            while under_way.len() > if compact { 0 } else { UNDER_WAY } {
                if let Some(durable) = under_way.pop_front() {
                    durable.wait().map_err(|error| Failure::failed(&error))?;
                }
            }
            if compact {
                filled.taking_in += began.elapsed();
                let (wall, cpu) = (Instant::now(), thread_cpu());
                store.compact().map_err(|error| Failure::failed(&error))?;
                filled.compaction += wall.elapsed();
                filled.compaction_cpu += thread_cpu().saturating_sub(cpu);
                waiting = 0;
                began = Instant::now();
            }
        }
        Ok(filled)
    }

    /// Time of each question for a trace by its id.
    fn ask_by_id(&self, store: &Telemetry) -> Result<Vec<Duration>, Failure> {
        let mut times = Vec::new();
        for question in 0..BY_ID {
            let (high, low) = trace_id(self.first_of(mix(question + 1) % self.requests));
            let id = TraceId((u128::from(high) << 64 | u128::from(low)).to_be_bytes());
            let began = Instant::now();
            let spans = store.trace(id).map_err(|error| Failure::failed(&error))?;
            times.push(began.elapsed());
            if spans.is_empty() {
                return Err(Failure { exit: Exit::Failed, message: format!("trace {id} is not found") });
            }
        }
        times.sort_unstable();
        Ok(times)
    }

    /// Time of each search, and how many found nothing.
    fn search(&self, store: &Telemetry) -> Result<(Vec<Duration>, u64), Failure> {
        let mut times = Vec::new();
        let mut empty = 0;
        for question in 0..SEARCHES {
            let random = mix(question + 1 + BY_ID);
            let request = random % self.requests;
            let tag = match question % 5 {
                0 => ("http.request.method", "GET".to_owned()),
                1 => ("http.response.status_code", "503".to_owned()),
                2 => ("user.tier", "gold".to_owned()),
                3 => ("thread.id", "9".to_owned()),
                _ => ("request.id", unique(self.first_of(request) + random % SPANS as u64)),
            };
            let window = match question / 5 % 3 {
                0 => Duration::from_secs(60),
                1 => Duration::from_secs(3600),
                _ => STRETCH * 2,
            };
            let start = self.time_of(request).saturating_sub(window.as_nanos() as u64 / 2);
            let least = [100_000, 20_000_000, 200_000_000][(question / 15 % 3) as usize];
            let filter = TraceFilter {
                service: Some(SERVICES[(random >> 32) as usize % SERVICES.len()].to_owned()),
                tags: vec![(tag.0.to_owned(), tag.1)],
                start: start..=start + window.as_nanos() as u64,
                duration: least..=u64::MAX,
                ..TraceFilter::default()
            };
            let began = Instant::now();
            let found = store.search(&filter).map_err(|error| Failure::failed(&error))?;
            times.push(began.elapsed());
            empty += u64::from(found.is_empty());
        }
        times.sort_unstable();
        Ok((times, empty))
    }
}

/// CPU time of this thread.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Of times in order.
fn quantile(times: &[Duration], share: f64) -> f64 {
    let at = (times.len() as f64 * share).ceil() as usize;
    times.get(at.max(1) - 1).map_or(0.0, |time| milliseconds(*time))
}

/// Bytes of all files in a directory and below.
fn bytes_in(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in dir.read_dir()? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_in(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_filled_in_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = Config { compact_after: None, ..Config::new(dir.path()) };
        let store = Telemetry::open(config).expect("a store opens");
        let corpus = Corpus { first: first_span(), requests: 4, end: now_unix_nano() };
        corpus.fill(&store).expect("filled");
        assert_eq!(corpus.ask_by_id(&store).expect("found").len() as u64, BY_ID);
        let (_, empty) = corpus.search(&store).expect("searched");
        assert!(empty < SEARCHES, "some searches find something");
        let filter = TraceFilter {
            tags: vec![("request.id".to_owned(), unique(corpus.first_of(2) + 7))],
            ..TraceFilter::default()
        };
        assert_eq!(store.search(&filter).expect("searched").len(), 1);
    }
}
