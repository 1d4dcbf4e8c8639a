//! What `homeostat bench metrics` measures: a store under load, asked, and with a million series.
//!
//! In: a directory and how much. Out: figures with their method and corpus. Senders are threads of this process that hand
//! in batches as a decoder would make them; the clock is a virtual one, so that hours of samples come as fast as they are
//! acknowledged.

mod corpus;
mod recorded;
mod remote;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::{Clock, Time};
use promql::{MatchOp, Matcher, Select, Source, SourceError};

use crate::{Config, Limits, Metrics, OpenError, Pending, Refusal, SourceName, Tier};
use corpus::Target;

pub use corpus::SHAPE;
pub use recorded::Recorded;
pub use remote::{Scrapes, Settled, settle};

/// When samples begin: any time will do, the same for each run.
const BEGIN_MS: i64 = 1_767_225_600_000;

/// Batches that a sender has under way.
const UNDER_WAY: usize = 4;

/// How much.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the stores of the run are made, and left.
    pub dir: PathBuf,
    /// Machines that are scraped once a second.
    pub targets: u32,
    /// For how many seconds.
    pub seconds: u32,
    /// Threads that send.
    pub senders: u32,
    /// Queries of each kind.
    pub queries: u32,
    /// Active series of the second store; 0 leaves it out.
    pub many_series: u32,
    /// Pages of real targets, recorded by `benches/metrics/record`, for a third store.
    pub recorded: Option<PathBuf>,
    /// Decides all values.
    pub seed: u64,
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Samples acknowledged, a second.
    pub samples_per_s: f64,
    /// Samples acknowledged.
    pub samples: u64,
    /// CPU time of senders and store together, for each sample.
    pub cpu_ns_per_sample: f64,
    /// Bytes of raw blocks for each sample, when all are on disk and merged.
    pub bytes_per_sample: f64,
    /// The same with the tiers of minutes and hours.
    pub bytes_per_sample_all_tiers: f64,
    /// Series of the first store.
    pub series: u64,
    /// Series that a query asked for, all samples of them.
    pub query_series: u64,
    /// 95 of 100 queries with a step of a minute took at most so long, milliseconds.
    pub query_range_p95_ms: f64,
    /// Samples that such a query answered.
    pub query_range_samples: u64,
    /// 95 of 100 queries for all samples took at most so long, milliseconds.
    pub query_raw_p95_ms: f64,
    /// Samples that such a query answered.
    pub query_raw_samples: u64,
    /// Active series of the second store.
    pub many_series: u64,
    /// How long it took to make them and to send two samples of each, seconds.
    pub many_series_s: f64,
    /// Peak of this process's memory with them, MiB.
    pub rss_peak_mib: f64,
    /// What the recording took, where there is one.
    pub recorded: Option<Recorded>,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A store did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A batch was not taken.
    #[error("a batch was not taken: {0}")]
    Refused(String),
    /// A query was not answered.
    #[error("a query was not answered: {0}")]
    Query(#[from] SourceError),
    /// The system refused.
    #[error("measuring failed: {0}")]
    Io(#[from] std::io::Error),
}

/// How it was measured.
pub fn method(plan: &Plan) -> String {
    format!(
        "in one process, {} senders, each with {UNDER_WAY} batches under way: one scrape of one target each, a sample a \
         series; \
         acknowledged after fdatasync; flushed, merged and tiered meanwhile with the defaults of the store; the clock \
         is virtual. Queries: all series of a target over the whole time, {} times each, handed over one by one as an \
         expression reads them, step 60 s (the tier of minutes and what is in memory) and step 0 (every sample). A second store with {} series, two scrapes, for the peak of \
         memory, senders included",
        plan.senders, plan.queries, plan.many_series
    )
}

/// What was sent.
pub fn corpus(plan: &Plan) -> String {
    format!(
        "{} targets shaped like node-exporter, {} series each, {} s at 1 s with up to 3 ms of jitter, seed {}: {}",
        plan.targets,
        corpus::SERIES,
        plan.seconds,
        plan.seed,
        corpus::SHAPE
    )
}

/// A clock that says the newest time that was sent.
struct Sent(AtomicI64);

impl Clock for Sent {
    fn now(&self) -> Time {
        let now_ms = self.0.load(Ordering::Relaxed);
        Time { boot_us: (now_ms - BEGIN_MS).max(0) as u64 * 1000, wall_us: now_ms * 1000 }
    }

    fn wait(&self, duration: Duration) {
        self.0.fetch_add(duration.as_millis() as i64, Ordering::Relaxed);
    }
}

/// Measures.
///
/// # Errors
/// Where the store or the system refuses.
pub fn run(plan: &Plan) -> Result<Figures, BenchError> {
    let clock = Arc::new(Sent(AtomicI64::new(BEGIN_MS)));
    let config = Config::new(plan.dir.join("rate"), Arc::<Sent>::clone(&clock));
    let store = Metrics::open(config)?;
    let cpu_before = cpu_time()?;
    let began = Instant::now();
    let samples = load(&store, &clock, plan, plan.targets, plan.seconds)?;
    let elapsed = began.elapsed();
    let cpu = cpu_time()?.saturating_sub(cpu_before);
    let series = store.status().series;
    let (range, query_series) = queries(&store, plan, Tier::Minute.width_ms())?;
    let (raw, _) = queries(&store, plan, 0)?;
    store.flush()?;
    store.compact()?;
    let tiers = store.status().tiers;
    let kept = tiers[0].samples.max(1) as f64;
    let all_bytes: u64 = tiers.iter().map(|tier| tier.bytes).sum();
    drop(store);
    let (many_series, many_series_s) = many(plan)?;
    let rss_peak_mib = rss_peak_mib()?;
    let recorded = plan.recorded.as_deref().map(|file| recorded::take(file, &plan.dir.join("recorded")));
    let recorded = recorded.transpose()?;
    Ok(Figures {
        samples_per_s: samples as f64 / elapsed.as_secs_f64(),
        samples,
        cpu_ns_per_sample: cpu.as_nanos() as f64 / samples.max(1) as f64,
        bytes_per_sample: tiers[0].bytes as f64 / kept,
        bytes_per_sample_all_tiers: all_bytes as f64 / kept,
        series,
        query_series,
        query_range_p95_ms: range.p95_ms,
        query_range_samples: range.samples,
        query_raw_p95_ms: raw.p95_ms,
        query_raw_samples: raw.samples,
        many_series,
        many_series_s,
        rss_peak_mib,
        recorded,
    })
}

/// Sends everything; answers how many samples were acknowledged.
fn load(store: &Metrics, clock: &Sent, plan: &Plan, targets: u32, seconds: u32) -> Result<u64, BenchError> {
    let senders = plan.senders.clamp(1, targets.max(1));
    let total = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..senders)
            .map(|sender| {
                let (total, store) = (&total, &*store);
                scope.spawn(move || -> Result<(), BenchError> {
                    let own = (sender..targets).step_by(senders as usize);
                    let mut own: Vec<Target> = own.map(|target| Target::new(target, plan.seed)).collect();
                    let mut sender = Sender::new(store, format!("sender-{sender}"));
                    for second in 0..seconds {
                        let at_ms = BEGIN_MS + i64::from(second) * 1000;
                        clock.0.fetch_max(at_ms, Ordering::Relaxed);
                        own.iter_mut().try_for_each(|target| sender.send(target, at_ms))?;
                    }
                    total.fetch_add(sender.finish()?, Ordering::Relaxed);
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(sent) => sent,
            Err(_) => Err(BenchError::Refused("a sender ended by a defect".to_owned())),
        })
    })?;
    Ok(total.into_inner())
}

/// One who sends, with a few batches under way.
struct Sender<'a> {
    store: &'a Metrics,
    name: SourceName,
    under_way: VecDeque<Pending>,
    acknowledged: u64,
}

impl<'a> Sender<'a> {
    fn new(store: &'a Metrics, name: String) -> Self {
        Self { store, name: SourceName::new(name), under_way: VecDeque::new(), acknowledged: 0 }
    }

    /// Sends one scrape, again where the store asks for it.
    fn send(&mut self, target: &mut Target, at_ms: i64) -> Result<(), BenchError> {
        let mut batch = target.scrape(at_ms);
        loop {
            match self.store.submit(&self.name, batch) {
                Ok(pending) => self.under_way.push_back(pending),
                Err(Refusal::Overloaded { retry_after } | Refusal::Backlog { retry_after, .. }) => {
                    std::thread::sleep(retry_after);
                    batch = target.again();
                    continue;
                }
                Err(refusal) => return Err(BenchError::Refused(refusal.to_string())),
            }
            return if self.under_way.len() > UNDER_WAY { self.hear() } else { Ok(()) };
        }
    }

    /// Waits for the oldest answer.
    fn hear(&mut self) -> Result<(), BenchError> {
        let Some(pending) = self.under_way.pop_front() else { return Ok(()) };
        let admission = pending.wait().map_err(|refusal| BenchError::Refused(refusal.to_string()))?;
        if admission.refused.total() > 0 {
            return Err(BenchError::Refused(admission.reason.unwrap_or_default()));
        }
        self.acknowledged += admission.accepted;
        Ok(())
    }

    /// Waits for all answers; says how many samples were acknowledged.
    fn finish(mut self) -> Result<u64, BenchError> {
        while !self.under_way.is_empty() {
            self.hear()?;
        }
        Ok(self.acknowledged)
    }
}

/// How long queries took.
struct Asked {
    p95_ms: f64,
    samples: u64,
}

fn queries(store: &Metrics, plan: &Plan, step_ms: i64) -> Result<(Asked, u64), BenchError> {
    let mut times = Vec::new();
    let (mut samples, mut series) = (0, 0);
    for query in 0..plan.queries.max(1) {
        let instance = corpus::instance(query % plan.targets.max(1));
        let matchers =
            vec![Matcher { name: "instance".into(), op: MatchOp::Equal, value: instance.as_str().into() }];
        let to_ms = BEGIN_MS + i64::from(plan.seconds) * 1000;
        let select = Select { matchers, from_ms: BEGIN_MS, to_ms, step_ms };
        let (all_series, all_samples) = (AtomicU64::new(0), AtomicU64::new(0));
        let began = Instant::now();
        store.each(&select, &|_, found| {
            all_series.fetch_add(1, Ordering::Relaxed);
            all_samples.fetch_add(found.len() as u64, Ordering::Relaxed);
            ControlFlow::Continue(())
        })?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        (series, samples) = (all_series.into_inner(), all_samples.into_inner());
    }
    times.sort_unstable_by(f64::total_cmp);
    let rank = (times.len() as f64 * 0.95).ceil() as usize;
    Ok((Asked { p95_ms: times[rank.saturating_sub(1)], samples }, series))
}

/// A store with very many series; answers how many, and how long they took.
fn many(plan: &Plan) -> Result<(u64, f64), BenchError> {
    if plan.many_series == 0 {
        return Ok((0, 0.0));
    }
    let clock = Arc::new(Sent(AtomicI64::new(BEGIN_MS)));
    let limits = Limits { source_series_max: u64::MAX, series_max: u64::MAX, ..Limits::default() };
    let config = Config { limits, ..Config::new(plan.dir.join("many"), Arc::<Sent>::clone(&clock)) };
    let store = Metrics::open(config)?;
    let began = Instant::now();
    let mut sender = Sender::new(&store, "many".to_owned());
    let targets = plan.many_series / corpus::SERIES as u32;
    for second in [0, 15] {
        let at_ms = BEGIN_MS + second * 1000;
        clock.0.fetch_max(at_ms, Ordering::Relaxed);
        // Made anew each time, as a decoder does: nothing of the sender stays in memory.
        for target in 0..targets {
            sender.send(&mut Target::new(target, plan.seed), at_ms)?;
        }
    }
    sender.finish()?;
    Ok((store.status().series, began.elapsed().as_secs_f64()))
}

/// CPU time of this process.
fn cpu_time() -> std::io::Result<Duration> {
    // Fields 14 and 15, in hundredths of a second (proc_pid_stat(5)); the name before them may hold anything.
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    Ok(Duration::from_millis((ticks() + ticks()) * 10))
}

/// The peak of this process's memory.
fn rss_peak_mib() -> std::io::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
    Ok(kib.unwrap_or_default() / 1024.0)
}

/// Bytes in which a column of numbers is written; for `benches/parts`.
pub fn put_floats(values: &[f64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    crate::codec::put_floats(&mut bytes, values);
    bytes
}

/// A column of numbers read; for `benches/parts`.
pub fn read_floats(bytes: &[u8], count: usize) -> Vec<f64> {
    let mut values = Vec::new();
    match crate::codec::read_floats(bytes, count, &mut values) {
        Ok(()) => values,
        Err(_) => Vec::new(),
    }
}

/// Columns of each kind of series of the corpus, by name; for `benches/parts`.
pub fn columns(seconds: u32, seed: u64) -> Vec<(&'static str, Vec<Vec<f64>>)> {
    corpus::columns(seconds, seed)
}

/// A store with the samples of some targets, one each so many seconds, for `benches/query`. Where `flushed`, all are in
/// merged blocks; else those of the last hours are in memory, as they are while a store is fed.
///
/// # Errors
/// Where the store or the system refuses.
pub fn filled(
    dir: &std::path::Path,
    targets: u32,
    seconds: u32,
    step: u32,
    flushed: bool,
) -> Result<Metrics, BenchError> {
    let clock = Arc::new(Sent(AtomicI64::new(BEGIN_MS)));
    let store = Metrics::open(Config::new(dir.to_owned(), Arc::<Sent>::clone(&clock)))?;
    let mut targets: Vec<Target> = (0..targets).map(|target| Target::new(target, 1)).collect();
    let mut sender = Sender::new(&store, "filled".to_owned());
    for second in (0..seconds).step_by(step.max(1) as usize) {
        let at_ms = BEGIN_MS + i64::from(second) * 1000;
        clock.0.fetch_max(at_ms, Ordering::Relaxed);
        targets.iter_mut().try_for_each(|target| sender.send(target, at_ms))?;
    }
    sender.finish()?;
    if flushed {
        store.flush()?;
        store.compact()?;
    }
    Ok(store)
}

/// Milliseconds since 1970 at which the samples of [`filled`] begin.
pub const FILLED_FROM_MS: i64 = BEGIN_MS;
