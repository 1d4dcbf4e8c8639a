//! `homeostat bench live`: what a thousand live pages and hundreds of GraphQL subscriptions at once cost, and how late each
//! of them is told of what changes.
//!
//! In: how many of each, for how long. Out: the memory of the control plane, how many streams lasted, what they were told
//! and how late, with the method and the machine. The server is the real one, in a process of its own, with the demo
//! fleet up and looked after meanwhile; the generator runs on the same machine.

mod changes;
mod memory;
mod pages;
mod stream;
mod subscriptions;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use domain::Clock;
use provider::clock::SystemClock;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::control_plane::ControlPlane;
use super::fill;
use super::machine::Machine;
use super::server::usage;
use crate::cli::{Exit, Failure, Global, print};
use crate::client::{Client, token_file};
use changes::{Changed, Changes, Switched};
use memory::{Memory, Watch};
use stream::{Lasted, Row, Told};

/// How long everything is open before it counts: every page has been rendered and sent once.
const WARM_UP: Duration = Duration::from_secs(5);

/// `bench live`.
#[derive(Debug, clap::Args)]
pub(crate) struct LiveArgs {
    /// Live pages, each a stream of server-sent events on a connection of its own.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    pages: u32,
    /// GraphQL subscriptions, each on a WebSocket of its own.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    subscriptions: u32,
    /// Issues in the store, and as many remediations.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    records: u32,
    /// For how long, once all are open.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(10..=3600))]
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
    seconds: u32,
    /// All were open after so long.
    opened_after_s: f64,
    memory: Memory,
    server_cpu_cores: f64,
    /// What was changed meanwhile, and what of it was refused.
    changes: Changed,
    /// Different addresses among the pages, each rendered once for all who look at it.
    distinct_pages: usize,
    streams: Vec<Row>,
    /// What streams ended of, and refusals, with how often.
    errors: Vec<(String, usize)>,
}

/// Where the control plane is, and who asks.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    token: String,
}

/// Runs it.
pub(crate) fn run(_: &Global, args: &LiveArgs) -> Result<Exit, Failure> {
    let dir =
        crate::temporary::directory("homeostat-bench-live-").map_err(|error| Failure::failed(&error))?;
    let outcome = measure(args, &dir);
    // What is left of it costs room only, and the system clears its directory.
    let _ = std::fs::remove_dir_all(&dir);
    let figures = outcome?;
    match args.json.as_deref() {
        Some(file) if file == Path::new("-") => print(&super::line(&figures)?)?,
        Some(file) => {
            std::fs::write(file, super::line(&figures)?).map_err(|error| Failure::failed(&error))?;
        }
        None => print(&table(&figures))?,
    }
    Ok(Exit::Done)
}

fn measure(args: &LiveArgs, dir: &Path) -> Result<Figures, Failure> {
    fill::fill(dir, args.records)?;
    let server = ControlPlane::start(dir)?;
    // After the server has begun, so that it is seen to do so by itself.
    provider::open_files::raise().map_err(|error| Failure::failed(&error))?;
    let measured = follow(args, dir, server.id());
    server.stop()?;
    measured
}

/// Opens everything, has something change for the time, and sums up.
fn follow(args: &LiveArgs, dir: &Path, pid: u32) -> Result<Figures, Failure> {
    let failed = |error: std::io::Error| Failure::failed(&error);
    let client = Client::find(dir)?;
    let token = std::fs::read_to_string(token_file(dir)).map_err(failed)?.trim().to_owned();
    let server = Server { address: SocketAddr::from(([127, 0, 0, 1], port(&client)?)), token };
    let addresses = pages::addresses(&client)?;
    let at_rest = memory::resident(pid).map_err(failed)?;
    let memory = Watch::begin(pid);
    let (switched, switch) = watch::channel(Switched::never());
    let (stop, stopping) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let began = Instant::now();
    let (mut streams, mut opened_after, mut cpu) = (Vec::new(), Duration::ZERO, 0.0);
    let changed = runtime.block_on(async {
        streams = open(args, &server, &addresses, &switch, &stopping).await;
        opened_after = began.elapsed();
        tokio::time::sleep(WARM_UP).await;
        let (before, since) = (usage(pid).map_err(failed)?, Instant::now());
        let time = Duration::from_secs(u64::from(args.seconds));
        let changes = Changes { client, switched, until: since + time };
        let changing = tokio::task::spawn_blocking(move || changes.make());
        tokio::time::sleep_until((since + time).into()).await;
        let after = usage(pid).map_err(failed)?;
        cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() / since.elapsed().as_secs_f64();
        let changed = changing.await.map_err(|error| Failure::failed(&error));
        stop.send_replace(true);
        changed
    })?;
    let memory = memory.end(at_rest, usage(pid).map_err(failed)?.rss_peak_bytes);
    let told = runtime.block_on(async {
        let mut all = Vec::new();
        for stream in streams {
            all.push(stream.await.map_err(|error| Failure::failed(&error))?);
        }
        Ok::<Vec<Told>, Failure>(all)
    })?;
    Ok(Figures {
        method: method(args, addresses.len()),
        machine: Machine::of(&std::env::temp_dir()),
        records: args.records,
        seconds: args.seconds,
        opened_after_s: opened_after.as_secs_f64(),
        memory,
        server_cpu_cores: cpu,
        distinct_pages: addresses.len().min(args.pages as usize),
        streams: stream::rows(&told, changed.switched),
        errors: stream::errors(
            told.iter()
                .filter_map(|told| match &told.lasted {
                    Lasted::Ended(why) => Some(why.as_str()),
                    Lasted::ToTheEnd => None,
                })
                .chain(changed.refused.iter().map(String::as_str)),
        ),
        changes: changed,
    })
}

fn port(client: &Client) -> Result<u16, Failure> {
    let port = client.address().rsplit(':').next().and_then(|port| port.parse().ok());
    port.ok_or_else(|| Failure { exit: Exit::Failed, message: format!("{} has no port", client.address()) })
}

/// Begins to follow pages and subscriptions, each on a task of its own, until they are to stop.
async fn open(
    args: &LiveArgs,
    server: &Server,
    addresses: &[String],
    switch: &watch::Receiver<Switched>,
    stopping: &watch::Receiver<bool>,
) -> Vec<JoinHandle<Told>> {
    let mut streams = Vec::new();
    for number in 0..args.pages {
        let page = addresses[number as usize % addresses.len()].clone();
        let following = pages::follow(server.clone(), page, switch.clone(), stopping.clone());
        streams.push(tokio::spawn(following));
        breathe(number).await;
    }
    for number in 0..args.subscriptions {
        let what = subscriptions::What::of(number);
        let following = subscriptions::follow(server.clone(), what, switch.clone(), stopping.clone());
        streams.push(tokio::spawn(following));
        breathe(number).await;
    }
    streams
}

/// Gives what was begun time to be opened, so that nothing is refused for coming all at once.
async fn breathe(number: u32) {
    if number % 20 == 19 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Since 1970 in microseconds, as the server's clock says too.
fn wall_us() -> i64 {
    SystemClock.now().wall_us
}

fn method(args: &LiveArgs, distinct: usize) -> String {
    format!(
        "{} issues and as many remediations over 90 days, the demo fleet without its visitors up and looked after; {} live \
         pages of {distinct} addresses (every page, and some issues, remediations, services and objectives), each on a \
         connection of its own; {} GraphQL subscriptions over graphql-transport-ws, one to a WebSocket, in turn \
         infrastructureStatus, anomalyAlerts and metricsStream of five expressions every second; all by token. {WARM_UP:?} \
         after the last is begun, automatic repair is switched every {:?}, which every page shows, and an instance stands \
         still every {:?}. A page is late from when the switch is asked for; a subscription from the time the event itself says: \
         seenAt, detectedAt of an opened issue, at. Memory is VmHWM of the server, and Pss of its smaps_rollup once a second. \
         Generator on the same machine",
        args.records,
        args.pages,
        args.subscriptions,
        changes::SWITCH_EVERY,
        changes::PAUSE_EVERY,
    )
}

fn table(figures: &Figures) -> String {
    let memory = &figures.memory;
    let mut text = format!(
        "peak {:.1} MiB resident ({:.1} MiB proportional), {:.1} MiB before anything was open; {:.2} cores\n{:>8} {:>8} {:>8} \
         {:>8} {:>9} {:>9}  told\n",
        memory.rss_peak_mib,
        memory.pss_peak_mib,
        memory.rss_at_rest_mib,
        figures.server_cpu_cores,
        "streams",
        "lasted",
        "least",
        "median",
        "p50 ms",
        "p95 ms",
    );
    for row in &figures.streams {
        text += &row.line();
    }
    for (why, times) in &figures.errors {
        text += &format!("{times} times: {why}\n");
    }
    text
}
