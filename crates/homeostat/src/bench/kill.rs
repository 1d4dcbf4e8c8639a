//! `homeostat bench kill`: SIGKILL at random instants under load, again and again on the same store.
//!
//! In: how many kills, a seed. Out: a JSON line for each kill and a summary. A kill is the process's end at an instant
//! the seed decides; sometimes what a power cut leaves behind the last whole block is put there too (noise or zeros).
//! Then the store is opened again and read back: every span that was acknowledged, in this life or an earlier one of
//! the same store, must be there.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use serde::Serialize;

use super::client::{Packing, Protocol};
use super::ingest::{Scratch, lost};
use super::line;
use super::load::{Load, Source, Tally, first_span};
use super::server::{self, Compaction, Server, Use};
use crate::cli::{Exit, Failure, Global, print};

/// Kills on one store before the next is begun: enough for recoveries of recovered stores, few enough that reading
/// everything back after each kill stays short.
const LIVES: u32 = 10;

/// Connections of the load.
const CONNECTIONS: u32 = 8;

/// The latest instant of a kill after the server listens, in milliseconds. Segments, blocks and group commits begin
/// and end many times before.
const KILL_MS_MAX: u64 = 600;

/// Most bytes that are put behind the last block.
const TAIL_BYTES_MAX: usize = 100_000;

/// `bench kill`.
#[derive(Debug, clap::Args)]
pub(crate) struct KillArgs {
    /// How many kills.
    #[arg(long, default_value_t = 300)]
    count: u32,
    /// Decides every kill, together with its number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What is left behind the last whole block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Tail {
    /// What the process left.
    AsItWas,
    /// Noise on top.
    Noise,
    /// Zeros on top, as file systems leave them.
    Zeros,
}

/// One kill.
#[derive(Debug, Clone, Serialize)]
struct Kill {
    number: u32,
    protocol: &'static str,
    after_ms: u64,
    tail: Tail,
    /// Acknowledged in this life.
    acknowledged: u64,
    /// Acknowledged in all lives of this store and not found.
    lost: u64,
    torn_bytes: u64,
    damaged_bytes: u64,
}

/// All of them.
#[derive(Debug, Clone, Default, Serialize)]
struct Summary {
    seed: u64,
    kills: u32,
    acknowledged: u64,
    lost: u64,
    /// Kills before which nothing was acknowledged; they show nothing.
    idle: u32,
}

/// Runs the campaign.
pub(crate) fn run(global: &Global, args: &KillArgs) -> Result<Exit, Failure> {
    let mut summary = Summary { seed: args.seed, ..Summary::default() };
    let mut store: Option<(Scratch, Tally, u64)> = None;
    for number in 0..args.count {
        if crate::signals::ending() {
            break;
        }
        if number % LIVES == 0 {
            // The old directory goes before the new one comes.
            drop(store.take());
        }
        let (dir, acknowledged, first_span) = match &mut store {
            Some(store) => store,
            slot => {
                let dir = Scratch::make(&global.dir, "kill").map_err(|error| Failure::failed(&error))?;
                slot.insert((dir, Tally::default(), first_span()))
            }
        };
        let kill = one(args.seed, number, &dir.0, acknowledged, *first_span)?;
        print(&line(&kill)?)?;
        summary.kills += 1;
        summary.acknowledged += kill.acknowledged;
        summary.lost += kill.lost;
        summary.idle += u32::from(kill.acknowledged == 0);
    }
    print(&line(&summary)?)?;
    Ok(if summary.lost == 0 && summary.acknowledged > 0 { Exit::Done } else { Exit::Failed })
}

/// One life of a server and its end; adds what was acknowledged to what was before.
fn one(seed: u64, number: u32, dir: &Path, known: &mut Tally, first_span: u64) -> Result<Kill, Failure> {
    let failed = |error: io::Error| Failure::failed(&error);
    let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(u64::from(number)));
    let (protocol, name) = if rng.bool() { (Protocol::Http, "http") } else { (Protocol::Grpc, "grpc") };
    let after_ms = rng.u64(5..KILL_MS_MAX);
    let tail = [Tail::AsItWas, Tail::AsItWas, Tail::Noise, Tail::Zeros][rng.usize(0..4)];
    let server = Server::start(dir, Use::Store(Compaction::Now)).map_err(failed)?;
    let next = known.acknowledged.keys().next_back().map_or(0, |last| last + 1 + u64::from(CONNECTIONS));
    let load = Load {
        to: server.address(protocol),
        protocol,
        source: Source::new(Packing::Plain, first_span).map_err(failed)?,
        next: Arc::new(AtomicU64::new(next)),
        stop: Arc::new(AtomicBool::new(false)),
        pace: None,
    };
    // The connections end by themselves when nobody answers any more.
    let tally = std::thread::scope(|scope| {
        let loading = scope.spawn(|| load.run(CONNECTIONS));
        std::thread::sleep(Duration::from_millis(after_ms));
        let killed = server.kill();
        load.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        killed.map(|()| loading.join().unwrap_or_default())
    });
    let tally = tally.map_err(failed)?;
    let acknowledged = tally.spans();
    known.add(tally);
    spoil(dir, tail, &mut rng).map_err(failed)?;
    let telemetry = server::open(dir, Compaction::Now)?;
    let recovery = telemetry.recovery();
    let lost = lost(known, first_span, &server::audit(&telemetry)?);
    telemetry.close();
    Ok(Kill {
        number,
        protocol: name,
        after_ms,
        tail,
        acknowledged,
        lost,
        torn_bytes: recovery.torn_bytes,
        damaged_bytes: recovery.damaged_bytes,
    })
}

/// Puts a tail behind the newest segment, as a power cut amid a write would leave it.
fn spoil(dir: &Path, tail: Tail, rng: &mut fastrand::Rng) -> io::Result<()> {
    let mut bytes = vec![0; rng.usize(1..TAIL_BYTES_MAX)];
    match tail {
        Tail::AsItWas => return Ok(()),
        Tail::Noise => rng.fill(&mut bytes),
        Tail::Zeros => {}
    }
    let Some(newest) = newest_segment(dir)? else { return Ok(()) };
    OpenOptions::new().append(true).open(newest)?.write_all(&bytes)
}

/// Segments are named by their number, with leading zeros.
fn newest_segment(dir: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in std::fs::read_dir(dir.join("hot"))? {
        newest = newest.max(Some(entry?.path()));
    }
    Ok(newest)
}
