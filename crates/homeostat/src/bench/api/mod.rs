//! `homeostat bench api`: how fast endpoints and pages answer under a fixed load, with a store full of records.
//!
//! In: how many records, how many requests a second, for how long. Out: percentiles for every endpoint that reads and
//! for every page, with the method and the machine. The server is the real one, in a process of its own, with the demo
//! fleet up and looked after meanwhile; the generator runs on the same machine.

mod load;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::control_plane::ControlPlane;
use super::fill;
use super::known::Known;
use super::machine::Machine;
use super::server::usage;
use crate::cli::{Exit, Failure, Global, print};
use crate::client::{Client, token_file};
use load::{Place, Seen};

/// How long everything is asked before it counts: caches of statements are filled, connections are made.
const WARM_UP: Duration = Duration::from_secs(3);

/// `bench api`.
#[derive(Debug, clap::Args)]
pub(crate) struct ApiArgs {
    /// Issues in the store, and as many remediations and audit records.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    records: u32,
    /// Requests a second, over all endpoints and pages in turn.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// For how long.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Write the figures here as JSON; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The figures of a run.
#[derive(Debug, Serialize)]
struct Figures {
    method: String,
    machine: Machine,
    records: u32,
    requests_per_second: u32,
    seconds: u32,
    /// Answered, of all requests that were due.
    answered: u64,
    server_cpu_cores: f64,
    server_rss_peak_mib: f64,
    endpoints: Vec<Row>,
    pages: Vec<Row>,
}

/// One address.
#[derive(Debug, Serialize)]
struct Row {
    path: String,
    requests: usize,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Answers with another status than 200, and none.
    errors: u64,
}

/// Runs it.
pub(crate) fn run(_: &Global, args: &ApiArgs) -> Result<Exit, Failure> {
    let dir = crate::temporary::directory("homeostat-bench-api-").map_err(|error| Failure::failed(&error))?;
    let outcome = measure(args, &dir);
    // What is left of it costs room only, and the system clears its directory.
    let _ = std::fs::remove_dir_all(&dir);
    outcome
}

fn measure(args: &ApiArgs, dir: &Path) -> Result<Exit, Failure> {
    let failed = |error: std::io::Error| Failure::failed(&error);
    fill::fill(dir, args.records)?;
    fill::fill_trail(dir, args.records)?;
    let server = ControlPlane::start(dir)?;
    let client = Client::find(dir)?;
    let places = places(&client)?;
    let address = client.address().to_owned();
    let token = std::fs::read_to_string(token_file(dir)).map_err(failed)?;
    let token = token.trim();
    load::run(&address, token, &places, args.rate, WARM_UP);
    let before = usage(server.id()).map_err(failed)?;
    let began = Instant::now();
    let seen = load::run(&address, token, &places, args.rate, Duration::from_secs(u64::from(args.seconds)));
    let elapsed = began.elapsed();
    let after = usage(server.id()).map_err(failed)?;
    server.stop()?;
    let rows = |is_page: bool| -> Vec<Row> {
        let of_kind = places.iter().zip(&seen).filter(|(place, _)| place.is_page == is_page);
        of_kind.map(|(place, seen)| row(place, seen)).collect()
    };
    let figures = Figures {
        method: format!(
            "{} issues and as many remediations over 90 days, as many audit records, the demo fleet up and looked after; every endpoint that reads \
             and every page in turn, open loop, so that a time counts from when the request was due; {WARM_UP:?} before \
             anything counts; generator on the same machine",
            args.records
        ),
        machine: Machine::of(&std::env::temp_dir()),
        records: args.records,
        requests_per_second: args.rate,
        seconds: args.seconds,
        answered: seen.iter().map(|seen| seen.times.len() as u64).sum(),
        server_cpu_cores: (after.cpu.saturating_sub(before.cpu)).as_secs_f64() / elapsed.as_secs_f64(),
        server_rss_peak_mib: after.rss_peak_bytes as f64 / f64::from(1 << 20),
        endpoints: rows(false),
        pages: rows(true),
    };
    match args.json.as_deref() {
        Some(file) if file == Path::new("-") => print(&super::line(&figures)?)?,
        Some(file) => std::fs::write(file, super::line(&figures)?).map_err(failed)?,
        None => print(&table(&figures))?,
    }
    Ok(Exit::Done)
}

/// What is asked: every endpoint of the document that reads, with what is there in place of its placeholder; and every
/// page.
fn places(client: &Client) -> Result<Vec<Place>, Failure> {
    let document: Value = client.get("/api/v3/openapi.json")?;
    let paths = document["paths"].as_object().cloned().unwrap_or_default();
    let endpoints = paths.iter().filter(|(path, methods)| {
        // The aliases are the same endpoints again.
        methods.get("get").is_some() && !path.starts_with("/api/self-healing/")
    });
    let endpoints = endpoints.map(|(path, _)| (path.clone(), false));
    let pages = gateway::pages().map(|path| (path.to_owned(), true));
    let known = Known::ask(client, 1)?;
    let places = endpoints
        .chain(pages)
        .filter_map(|(path, is_page)| Some(Place { asked: known.filled(&path, 0)?, path, is_page }));
    Ok(places.collect())
}

fn row(place: &Place, seen: &Seen) -> Row {
    let mut times = seen.times.clone();
    times.sort_unstable();
    let at = |share: f64| {
        let place = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len().max(1)) - 1;
        times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    Row {
        path: place.path.clone(),
        requests: times.len(),
        p50_ms: at(0.5),
        p95_ms: at(0.95),
        p99_ms: at(0.99),
        max_ms: at(1.0),
        errors: seen.errors,
    }
}

fn table(figures: &Figures) -> String {
    let mut text = format!(
        "{} records, {} requests/s for {} s; server {:.2} cores, {:.0} MiB\n{:>9} {:>9} {:>9} {:>7}  path\n",
        figures.records,
        figures.requests_per_second,
        figures.seconds,
        figures.server_cpu_cores,
        figures.server_rss_peak_mib,
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "errors",
    );
    for row in figures.endpoints.iter().chain(&figures.pages) {
        text += &format!(
            "{:>9.2} {:>9.2} {:>9.2} {:>7}  {}\n",
            row.p50_ms, row.p95_ms, row.p99_ms, row.errors, row.path
        );
    }
    text
}
