//! The server that is measured: a fresh store with its receivers, in a process of its own.
//!
//! The child runs [`run`]: it says its addresses on stdout, answers the few questions of its parent over stdin and
//! stdout, and ends when stdin does, so that it cannot outlive a benchmark that was killed. [`Server`] is the parent's
//! side. A process of its own, so that CPU time, memory and loss are the server's alone.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use gateway::otlp::{Admission, OtlpConfig, OtlpReceivers, Sink};
use serde::{Deserialize, Serialize};
use telemetry::{Config, Refusal, Telemetry, TraceId};

use super::client::Protocol;
use super::corpus::{SPANS, unmix};
use crate::allocator;
use crate::cli::{Exit, Failure, print};

/// How long what is acknowledged may take to be found before it counts as not found.
const FIND_TIME: Duration = Duration::from_secs(10);

/// `bench-server`.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// The directory of the store.
    #[arg(long)]
    store: PathBuf,
    /// Throw away what comes in.
    #[arg(long)]
    discard: bool,
    /// When to compact.
    #[arg(long, value_enum, default_value = "deferred")]
    compact: Compaction,
}

/// When the store compacts what came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Compaction {
    /// Each segment as soon as it is closed.
    Now,
    /// Not during the run.
    Deferred,
}

impl Compaction {
    /// The store's configuration for it.
    fn config(self, dir: &Path) -> Config {
        match self {
            Self::Now => Config { compact_after: Some(Duration::ZERO), hot_bytes_max: 0, ..Config::new(dir) },
            Self::Deferred => Config {
                compact_after: None,
                hot_bytes_max: u64::MAX,
                backlog_bytes_max: u64::MAX,
                ..Config::new(dir)
            },
        }
    }

    /// As an argument of the server.
    fn argument(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Deferred => "deferred",
        }
    }
}

/// What the server does with what it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Store(Compaction),
    /// Nothing: what is left is the cost of receiving.
    Discard,
}

impl Use {
    fn arguments(self) -> [&'static str; 2] {
        match self {
            Self::Store(compaction) => ["--compact", compaction.argument()],
            Self::Discard => ["--discard", "--compact=deferred"],
        }
    }
}

/// A store that keeps nothing.
struct Nothing;

impl Sink for Nothing {
    type Durable = std::future::Ready<Result<(), Refusal>>;

    fn traces(&self, _: &[u8]) -> Result<Admission<Self::Durable>, Refusal> {
        let durable = std::future::ready(Ok(()));
        Ok(Admission { accepted: 0, rejected: 0, reason: None, durable })
    }

    fn logs(&self, request: &[u8]) -> Result<Admission<Self::Durable>, Refusal> {
        self.traces(request)
    }
}

/// Where the child listens; its first line.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Addresses {
    http: SocketAddr,
    grpc: SocketAddr,
}

/// The child: serves until stdin ends.
pub(crate) fn run(args: &ServerArgs) -> Result<Exit, Failure> {
    allocator::keep_freed_memory();
    let telemetry = open(&args.store, args.compact)?;
    let config = OtlpConfig { grpc_port: 0, http_port: 0, ..OtlpConfig::default() };
    let receivers = match args.discard {
        false => OtlpReceivers::start(&config, || telemetry.intake()),
        true => OtlpReceivers::start(&config, || Nothing),
    };
    let receivers = receivers.map_err(|error| Failure::failed(&error))?;
    let addresses = Addresses { http: receivers.http_address(), grpc: receivers.grpc_address() };
    print(&format!("{}\n", serde_json::json!(addresses)))?;
    for line in io::stdin().lines() {
        let Ok(line) = line else { break };
        print(&answer(&telemetry, &line)?)?;
    }
    receivers.shutdown();
    telemetry.close();
    Ok(Exit::Done)
}

fn answer(telemetry: &Telemetry, line: &str) -> Result<String, Failure> {
    if line == "audit" {
        let found = audit(telemetry)?;
        let lines = found.iter().map(|(span_group, spans)| format!("{span_group} {spans}\n"));
        return Ok(lines.chain(["end\n".to_owned()]).collect());
    }
    let id = line.strip_prefix("find ").and_then(|text| u128::from_str_radix(text, 16).ok());
    let Some(id) = id else { return Ok("unknown\n".to_owned()) };
    let began = Instant::now();
    while began.elapsed() < FIND_TIME {
        let spans = telemetry.trace(TraceId(id.to_be_bytes())).map_err(|error| Failure::failed(&error))?;
        if !spans.is_empty() {
            return Ok("found\n".to_owned());
        }
    }
    Ok("missing\n".to_owned())
}

/// Opens a store.
pub(crate) fn open(dir: &Path, compaction: Compaction) -> Result<Telemetry, Failure> {
    Telemetry::open(compaction.config(dir)).map_err(|error| Failure::failed(&error))
}

/// Reads everything back: how many spans there are of each request, by the number of its first span.
pub(crate) fn audit(telemetry: &Telemetry) -> Result<BTreeMap<u64, u64>, Failure> {
    let mut found = BTreeMap::new();
    let mut last = (u64::MAX, 0_u64);
    telemetry
        .each_span(|_, span| {
            let number = unmix(u64::from_be_bytes(span.0));
            let request = number - number % SPANS as u64;
            // Spans of a request stand together, so that the map is asked once for each.
            if request != last.0 {
                if last.1 > 0 {
                    *found.entry(last.0).or_default() += last.1;
                }
                last = (request, 0);
            }
            last.1 += 1;
        })
        .map_err(|error| Failure::failed(&error))?;
    if last.1 > 0 {
        *found.entry(last.0).or_default() += last.1;
    }
    Ok(found)
}

/// What a process has used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) rss_peak_bytes: u64,
}

/// Reads what a process has used so far.
pub(crate) fn usage(pid: u32) -> io::Result<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    // User and system time are the 14th and 15th field; the name before them may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    let cpu = Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
    let rss_peak_bytes = peak.and_then(|text| text.parse::<u64>().ok()).unwrap_or_default() * 1024;
    Ok(Usage { cpu, rss_peak_bytes })
}

/// A server child.
pub(crate) struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    addresses: Addresses,
}

impl Server {
    /// Starts one on a directory and waits until it listens.
    pub(crate) fn start(store: &Path, to: Use) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("bench-server")
            .arg("--store")
            .arg(store)
            .args(to.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::other("the server has no pipes");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let addresses = serde_json::from_str(&line)
            .map_err(|error| io::Error::other(format!("the server did not start: {error}")))?;
        Ok(Self { child, stdin: Some(stdin), stdout, addresses })
    }

    pub(crate) fn address(&self, protocol: Protocol) -> SocketAddr {
        match protocol {
            Protocol::Http => self.addresses.http,
            Protocol::Grpc => self.addresses.grpc,
        }
    }

    pub(crate) fn usage(&self) -> io::Result<Usage> {
        usage(self.child.id())
    }

    /// Whether the trace with this id is found.
    pub(crate) fn finds(&mut self, (high, low): (u64, u64)) -> io::Result<bool> {
        self.ask(&format!("find {high:016x}{low:016x}"))?;
        Ok(self.line()? == "found")
    }

    /// Reads everything back in the process that took it.
    pub(crate) fn audit(&mut self) -> io::Result<BTreeMap<u64, u64>> {
        self.ask("audit")?;
        let mut found = BTreeMap::new();
        loop {
            let line = self.line()?;
            let Some((request, spans)) = line.split_once(' ') else {
                return match line.as_str() {
                    "end" => Ok(found),
                    _ => Err(io::Error::other("the server did not read everything back")),
                };
            };
            let number = |text: &str| text.parse::<u64>().map_err(io::Error::other);
            found.insert(number(request)?, number(spans)?);
        }
    }

    fn ask(&mut self, question: &str) -> io::Result<()> {
        match &mut self.stdin {
            Some(stdin) => writeln!(stdin, "{question}"),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Ends it in good order.
    pub(crate) fn stop(mut self) -> io::Result<()> {
        drop(self.stdin.take());
        let status = self.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("the server ended with {status}")))
        }
    }

    /// Ends it with SIGKILL, at this instant.
    pub(crate) fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ended already where `stop` or `kill` was called; otherwise nothing of it is wanted any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
