//! `homeostat bench full-disk`: what happens when the disk under the store is full.
//!
//! In: a directory on a small file system. Out: one JSON line. The load runs until the server refuses for want of
//! space; a ballast file is removed; the load must be taken again; what was acknowledged before and after must all be
//! found after a restart.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::client::{Answer, Client, Packing, Protocol};
use super::corpus::{Request, SPANS};
use super::ingest::lost;
use super::line;
use super::load::{Tally, first_span, now_unix_nano};
use super::server::{self, Compaction, Server, Use};
use crate::cli::{Exit, Failure, print};

/// How long the disk may take to fill, and the server to recover.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file system larger than this is not filled: it is likely to be somebody's.
const LARGEST: u64 = 256 << 20;

/// `bench full-disk`.
#[derive(Debug, clap::Args)]
pub(crate) struct FullDiskArgs {
    /// A directory on a file system of at most 256 MiB, which will be filled.
    #[arg(long)]
    store: PathBuf,
    /// Over what is sent.
    #[arg(long, value_enum, default_value = "http")]
    protocol: Protocol,
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
struct Outcome {
    /// Spans acknowledged before the disk was full, and after there was space again.
    acknowledged_before: u64,
    acknowledged_after: u64,
    /// Requests refused with the time to try again.
    refused: u64,
    /// Answers that were neither.
    errors: Vec<String>,
    /// From the space's return to the next acknowledgement.
    recovered_after_ms: u64,
    lost: u64,
}

/// Runs it.
pub(crate) fn run(args: &FullDiskArgs) -> Result<Exit, Failure> {
    let failed = |error: std::io::Error| Failure::failed(&error);
    let space = rustix::fs::statvfs(&args.store).map_err(|error| Failure::failed(&error))?;
    let (bytes, free) = (space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize);
    if bytes > LARGEST {
        let message = format!(
            "{} is on a file system of {bytes} bytes; give a directory on one of at most {LARGEST}",
            args.store.display()
        );
        return Err(Failure { exit: Exit::Usage, message });
    }
    let ballast = args.store.join("ballast");
    // Half of it: room for the store before, and again after.
    fs::write(&ballast, vec![1; usize::try_from(free / 2).unwrap_or_default()]).map_err(failed)?;
    let dir = args.store.join("telemetry");
    let server = Server::start(&dir, Use::Store(Compaction::Deferred)).map_err(failed)?;
    let to = server.address(args.protocol);
    let mut sender = Sequence {
        client: Client::connect(args.protocol, Packing::Plain, to).map_err(failed)?,
        request: Request::template(),
        first_span: first_span(),
        next: 0,
        tally: Tally::default(),
    };
    let mut outcome = Outcome::default();
    // A disk that is full stays full: some refusals in a row, not one.
    sender.until("the disk was full", |tally| tally.refused >= 3)?;
    outcome.acknowledged_before = sender.tally.spans();
    let full_at = sender.tally.acknowledged.len();
    fs::remove_file(&ballast).map_err(failed)?;
    let freed = Instant::now();
    sender.until("anything was taken again", |tally| tally.acknowledged.len() > full_at)?;
    outcome.recovered_after_ms = u64::try_from(freed.elapsed().as_millis()).unwrap_or(u64::MAX);
    sender.until("more was taken", |tally| tally.acknowledged.len() >= full_at + 10)?;
    server.stop().map_err(failed)?;
    let Sequence { tally, first_span, .. } = sender;
    outcome.acknowledged_after = tally.spans() - outcome.acknowledged_before;
    outcome.lost = lost(&tally, first_span, &server::audit(&server::open(&dir, Compaction::Deferred)?)?);
    outcome.refused = tally.refused;
    outcome.errors = tally.errors;
    print(&line(&outcome)?)?;
    Ok(if outcome.lost == 0 && outcome.errors.is_empty() { Exit::Done } else { Exit::Failed })
}

/// One connection, one request after the other; a request that is refused is sent again.
struct Sequence {
    client: Client,
    request: Request,
    first_span: u64,
    next: u64,
    tally: Tally,
}

impl Sequence {
    /// Sends until `enough`.
    fn until(&mut self, what: &str, enough: impl Fn(&Tally) -> bool) -> Result<(), Failure> {
        let began = Instant::now();
        while !enough(&self.tally) {
            if began.elapsed() > PATIENCE || self.tally.errors.len() > 3 {
                let message =
                    format!("{} s passed before {what}: {:?}", began.elapsed().as_secs(), self.tally.errors);
                return Err(Failure { exit: Exit::Failed, message });
            }
            self.send();
        }
        Ok(())
    }

    fn send(&mut self) {
        self.request.patch(self.first_span + self.next * SPANS as u64, now_unix_nano());
        let (answer, frame) = self.client.send(self.request.take_frame());
        self.request.put_frame(frame);
        match answer {
            Ok(Answer::Acknowledged) => {
                self.tally.acknowledged.insert(self.next, 1);
                self.next += 1;
            }
            Ok(Answer::Busy(wait)) => {
                self.tally.refused += 1;
                std::thread::sleep(wait);
            }
            Ok(Answer::Refused(why)) => self.tally.errors.push(why),
            Err(error) => self.tally.errors.push(error.to_string()),
        }
    }
}
