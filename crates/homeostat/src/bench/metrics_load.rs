//! `homeostat bench metrics-load`: hours of series sent to a server by Prometheus' remote-write 1, as fast as it answers.
//!
//! In: where to, how many targets, for how long. Out: how many samples were acknowledged, how fast, how long an
//! acknowledgement took. Any store that speaks remote-write can be the server: what it promises by an acknowledgement is
//! its own.
//!
//! Requests are made before the first is sent. A target is always sent by the same connection, scrape by scrape, so that
//! no series goes back in time; and no connection is further ahead of the slowest than a store has to bear
//! (Prometheus takes nothing that is an hour older than the newest sample of all).

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use metrics::bench::Scrapes;
use serde::Serialize;

use super::client::{Answer, HttpConnection};
use super::ingest::Quantiles;
use super::line;
use super::load::now_unix_nano;
use super::machine::Machine;
use super::server::usage;
use crate::cli::{Exit, Failure, Global, print};

/// No connection is further ahead of the slowest, in milliseconds of the samples.
const AHEAD_MS: i64 = 30 * 60 * 1000;

/// Between two looks whether the slowest has come closer.
const WAIT: Duration = Duration::from_millis(1);

/// Most "later" in a row for one request; a server that says it longer is stuck.
const REFUSALS_MAX: u32 = 120;

/// `bench metrics-load`.
#[derive(Debug, clap::Args)]
pub(crate) struct MetricsLoadArgs {
    /// Where remote-write is taken: http://HOST:PORT/PATH.
    #[arg(long, default_value = "http://127.0.0.1:4318/api/v1/write")]
    url: Url,
    /// Machines that were scraped, 1000 series each, 1 to 1000.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    targets: u32,
    /// For how many seconds, 60 to 86400.
    #[arg(long, default_value_t = 6 * 3600, value_parser = clap::value_parser!(u32).range(60..=86_400))]
    seconds: u32,
    /// Seconds between two scrapes, 1 to 300.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=300))]
    step: u32,
    /// When the samples end, seconds since 1970; the last full minute where nothing is said.
    #[arg(long, value_name = "SECONDS")]
    until: Option<u32>,
    /// Connections, each with one request under way, 1 to 64, at most one for each target.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    connections: u32,
    /// Decides all values.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the figures here as JSON; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Where remote-write is taken.
#[derive(Debug, Clone)]
struct Url {
    host: String,
    path: String,
}

impl std::str::FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not http://HOST:PORT/PATH");
        let rest = text.strip_prefix("http://").ok_or_else(wrong)?;
        let (host, path) = rest.split_once('/').ok_or_else(wrong)?;
        let fit = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() || !fit(host) || !fit(path) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), path: format!("/{path}") })
    }
}

impl Url {
    fn address(&self) -> io::Result<SocketAddr> {
        let none = || io::Error::other(format!("there is no address for {}", self.host));
        self.host.to_socket_addrs()?.next().ok_or_else(none)
    }
}

/// When samples are from, and of whom.
#[derive(Debug, Clone, Copy)]
struct Plan {
    targets: u32,
    scrapes: u32,
    step_ms: i64,
    from_ms: i64,
    connections: u32,
    seed: u64,
}

impl Plan {
    fn of(args: &MetricsLoadArgs) -> Self {
        let minute = now_unix_nano() / 1_000_000_000 / 60 * 60;
        let until_s = args.until.map_or(minute, u64::from);
        Self {
            targets: args.targets,
            scrapes: args.seconds / args.step,
            step_ms: i64::from(args.step) * 1000,
            from_ms: (until_s as i64 - i64::from(args.seconds)) * 1000,
            connections: args.connections.min(args.targets),
            seed: args.seed,
        }
    }

    /// When a target is scraped: each at a time of its own within the step, as scrapers do it, and none when the step
    /// begins, so that it does not matter to whom a window of time belongs that begins there.
    fn at_ms(&self, target: u32, scrape: u32) -> i64 {
        let within = self.step_ms * i64::from(2 * target + 1) / i64::from(2 * self.targets);
        self.from_ms + i64::from(scrape) * self.step_ms + within
    }

    /// Requests of one connection, in order of time.
    fn requests(&self, connection: u32) -> Result<Vec<Vec<u8>>, Failure> {
        let targets = (connection..self.targets).step_by(self.connections as usize);
        let mut scraped: Vec<_> = targets.map(|target| (target, Scrapes::new(target, self.seed))).collect();
        let mut requests = Vec::with_capacity(self.scrapes as usize * scraped.len());
        for scrape in 0..self.scrapes {
            for (target, scrapes) in &mut scraped {
                let request = scrapes.next(self.at_ms(*target, scrape));
                requests.push(request.map_err(|error| Failure::failed(&error))?);
            }
        }
        Ok(requests)
    }
}

/// The figures of a run.
#[derive(Debug, Serialize)]
struct Figures {
    method: String,
    corpus: String,
    machine: Machine,
    /// Milliseconds since 1970.
    from_ms: i64,
    to_ms: i64,
    series: u64,
    seconds: f64,
    requests: u64,
    samples: u64,
    samples_per_s: f64,
    /// Of a request, packed, for each sample.
    sent_bytes_per_sample: f64,
    ack: Quantiles,
    /// Requests answered with "later".
    refused: u64,
    /// CPU time of the generator while it sent, for each sample.
    generator_ns_per_sample: f64,
}

/// What came of the requests of one connection, or of all.
#[derive(Debug, Default)]
struct Tally {
    ack_us: Vec<u32>,
    bytes: u64,
    refused: u64,
}

/// Runs it.
pub(crate) fn run(global: &Global, args: &MetricsLoadArgs) -> Result<Exit, Failure> {
    let failed = |error: io::Error| Failure::failed(&error);
    let plan = Plan::of(args);
    let to = args.url.address().map_err(failed)?;
    let requests = each(plan.connections, |connection| plan.requests(connection))?;
    let cpu = usage(std::process::id()).map_err(failed)?.cpu;
    let progress: Vec<AtomicU32> = (0..plan.connections).map(|_| AtomicU32::new(0)).collect();
    let began = Instant::now();
    let tallies = each(plan.connections, |connection| {
        let own = connection as usize;
        let sent = send(&plan, (to, &args.url.path), &requests[own], &progress, own);
        // Whoever has ended is not waited for.
        progress[own].store(u32::MAX, Ordering::Relaxed);
        sent.map_err(failed)
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu = usage(std::process::id()).map_err(failed)?.cpu.saturating_sub(cpu);
    let mut all = Tally::default();
    for tally in tallies {
        all.ack_us.extend(tally.ack_us);
        all.bytes += tally.bytes;
        all.refused += tally.refused;
    }
    let requests = all.ack_us.len() as u64;
    let samples = requests * Scrapes::SAMPLES as u64;
    report(
        args,
        &Figures {
            method: method(&plan),
            corpus: corpus(&plan),
            machine: Machine::of(&global.dir),
            from_ms: plan.from_ms,
            to_ms: plan.from_ms + i64::from(plan.scrapes) * plan.step_ms,
            series: u64::from(plan.targets) * Scrapes::SAMPLES as u64,
            seconds,
            requests,
            samples,
            samples_per_s: samples as f64 / seconds,
            sent_bytes_per_sample: all.bytes as f64 / samples.max(1) as f64,
            ack: Quantiles::of(all.ack_us),
            refused: all.refused,
            generator_ns_per_sample: cpu.as_nanos() as f64 / samples.max(1) as f64,
        },
    )
}

/// Does something once for each connection, all at a time.
fn each<T: Send>(
    connections: u32,
    work: impl Fn(u32) -> Result<T, Failure> + Sync,
) -> Result<Vec<T>, Failure> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..connections).map(|connection| scope.spawn(move || work(connection))).collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(done) => done,
            Err(_) => Err(Failure::failed(&io::Error::other("a thread of the generator panicked"))),
        });
        joined.collect()
    })
}

/// Sends all requests of a connection, each until it is acknowledged.
fn send(
    plan: &Plan,
    (to, path): (SocketAddr, &str),
    requests: &[Vec<u8>],
    progress: &[AtomicU32],
    own: usize,
) -> io::Result<Tally> {
    let mut connection = HttpConnection::remote_write(to, path)?;
    let mut tally = Tally { ack_us: Vec::with_capacity(requests.len()), ..Tally::default() };
    let of_scrape = (requests.len() / plan.scrapes.max(1) as usize).max(1);
    let ahead = u32::try_from(AHEAD_MS / plan.step_ms).unwrap_or(u32::MAX);
    for (number, request) in requests.iter().enumerate() {
        let scrape = u32::try_from(number / of_scrape).unwrap_or(u32::MAX);
        progress[own].store(scrape, Ordering::Relaxed);
        while scrape > slowest(progress).saturating_add(ahead) {
            std::thread::sleep(WAIT);
        }
        acknowledged(&mut connection, request, &mut tally)?;
    }
    Ok(tally)
}

fn slowest(progress: &[AtomicU32]) -> u32 {
    progress.iter().map(|scrape| scrape.load(Ordering::Relaxed)).min().unwrap_or(u32::MAX)
}

/// Sends one request until it is acknowledged.
fn acknowledged(connection: &mut HttpConnection, request: &[u8], tally: &mut Tally) -> io::Result<()> {
    for _ in 0..REFUSALS_MAX {
        let began = Instant::now();
        match connection.send(request)? {
            Answer::Acknowledged => {
                tally.ack_us.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
                tally.bytes += request.len() as u64;
                return Ok(());
            }
            Answer::Busy(wait) => {
                tally.refused += 1;
                std::thread::sleep(wait);
            }
            Answer::Refused(why) => return Err(io::Error::other(format!("not taken: {why}"))),
        }
    }
    Err(io::Error::other(format!("the server asked {REFUSALS_MAX} times to come again later")))
}

fn method(plan: &Plan) -> String {
    format!(
        "remote-write 1, {} connections with one request under way each, as fast as the answers come; requests made \
         before the first is sent, one scrape of one target each, each series in order of time; a request answered \
         with 429, 502, 503 or 504 is sent again after `Retry-After`; generator on the same machine",
        plan.connections
    )
}

fn corpus(plan: &Plan) -> String {
    format!(
        "{} targets shaped like node-exporter, {} series of 8 labels each, {} scrapes every {} s, each target at its \
         own time within these, seed {}: {}",
        plan.targets,
        Scrapes::SAMPLES,
        plan.scrapes,
        plan.step_ms / 1000,
        plan.seed,
        metrics::bench::SHAPE
    )
}

fn report(args: &MetricsLoadArgs, figures: &Figures) -> Result<Exit, Failure> {
    match &args.json {
        Some(path) if path == Path::new("-") => print(&line(figures)?)?,
        Some(path) => std::fs::write(path, line(figures)?).map_err(|error| Failure::failed(&error))?,
        None => print(&in_words(figures))?,
    }
    Ok(Exit::Done)
}

fn in_words(figures: &Figures) -> String {
    format!(
        "method      {}\ncorpus      {}\nsamples/s   {:.0}  ({} in {:.1} s, {:.1} B each)\nack         {}\n\
         refused     {}\ngenerator   {:.0} ns a sample\n",
        figures.method,
        figures.corpus,
        figures.samples_per_s,
        figures.samples,
        figures.seconds,
        figures.sent_bytes_per_sample,
        figures.ack.in_words(),
        figures.refused,
        figures.generator_ns_per_sample,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(targets: u32) -> Plan {
        let from_ms = 1_767_225_600_000;
        Plan { targets, scrapes: 3, step_ms: 15_000, from_ms, connections: 2, seed: 1 }
    }

    #[test]
    fn no_scrape_is_at_the_border_of_a_step() {
        let plan = plan(10);
        let mut at: Vec<i64> = (0..10).map(|target| plan.at_ms(target, 2) - plan.from_ms - 30_000).collect();
        assert!(at.is_sorted() && at[0] > 0 && at[9] < 15_000, "{at:?}");
        at.dedup();
        assert_eq!(at.len(), 10);
    }

    #[test]
    fn connections_share_the_targets() {
        let plan = plan(5);
        let requests: Vec<usize> = (0..2).map(|own| plan.requests(own).unwrap().len()).collect();
        assert_eq!(requests, [9, 6]);
    }

    #[test]
    fn an_address_has_a_port_and_a_path() {
        let url: Url = "http://127.0.0.1:4318/api/v1/write".parse().unwrap();
        assert_eq!((&*url.host, &*url.path), ("127.0.0.1:4318", "/api/v1/write"));
        for wrong in
            ["127.0.0.1:4318/x", "http://127.0.0.1/x", "https://a:1/x", "http://a:1", "http://a:1/x y"]
        {
            assert!(wrong.parse::<Url>().is_err(), "{wrong}");
        }
    }
}
