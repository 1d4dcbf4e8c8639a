//! Load: connections that send the corpus as fast as they are answered, and remember what was acknowledged.
//!
//! A closed loop: each connection has one request under way. Back-pressure is honoured by waiting as long as the
//! server asks; the request is then sent again.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::Clock;
use provider::clock::SystemClock;

use super::client::{Answer, Client, Packing, Protocol};
use super::corpus::{PREFIX, Request, SPANS};

/// Distinct requests that are compressed before a run with gzip: compressed bytes cannot be patched.
pub(crate) const POOL: u64 = 64;

/// What is sent where.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) to: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) source: Source,
    /// The next request's number.
    pub(crate) next: Arc<AtomicU64>,
    /// Ends the load when true.
    pub(crate) stop: Arc<AtomicBool>,
    /// `None`: as fast as the answers come.
    pub(crate) pace: Option<Pace>,
}

/// A rate that is not exceeded. Requests are due at fixed times: one that had to wait for its connection is sent late, and
/// those behind it are not sent slower for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) began: Instant,
    pub(crate) spans_per_s: u64,
}

impl Pace {
    /// When request `number` is due.
    fn due(self, number: u64) -> Instant {
        self.began + Duration::from_secs_f64(number as f64 * SPANS as f64 / self.spans_per_s as f64)
    }
}

/// Where requests come from.
#[derive(Clone)]
pub(crate) enum Source {
    /// Patched before each is sent: no id comes twice.
    Patched {
        /// The number of the first span of request 0.
        first_span: u64,
    },
    /// Compressed beforehand, and sent again and again.
    Gzip(Arc<[Vec<u8>]>),
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Requests acknowledged, by number, with how often.
    pub(crate) acknowledged: BTreeMap<u64, u64>,
    /// From the first byte sent to the answer, in microseconds, for each request acknowledged.
    pub(crate) ack_us: Vec<u32>,
    /// Answers that asked to wait.
    pub(crate) refused: u64,
    /// Requests acknowledged after they had been refused.
    pub(crate) retried: u64,
    /// Answers that said anything else.
    pub(crate) errors: Vec<String>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        for (request, times) in other.acknowledged {
            *self.acknowledged.entry(request).or_default() += times;
        }
        self.ack_us.extend(other.ack_us);
        self.refused += other.refused;
        self.retried += other.retried;
        self.errors.extend(other.errors);
    }

    pub(crate) fn spans(&self) -> u64 {
        self.acknowledged.values().sum::<u64>() * SPANS as u64
    }
}

impl Source {
    /// Requests from this number of a span on.
    pub(crate) fn new(packing: Packing, first_span: u64) -> io::Result<Self> {
        match packing {
            Packing::Plain => Ok(Self::Patched { first_span }),
            Packing::Gzip => {
                let mut request = Request::template();
                let pool = (0..POOL).map(|number| {
                    request.patch(first_span + number * SPANS as u64, now_unix_nano());
                    gzip_frame(request.message())
                });
                Ok(Self::Gzip(pool.collect::<io::Result<Vec<_>>>()?.into()))
            }
        }
    }

    fn packing(&self) -> Packing {
        match self {
            Self::Patched { .. } => Packing::Plain,
            Self::Gzip(_) => Packing::Gzip,
        }
    }
}

/// A compressed message behind the prefix of gRPC; level 6, the default of the usual exporters.
fn gzip_frame(message: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(vec![0; PREFIX], flate2::Compression::new(6));
    encoder.write_all(message)?;
    let mut frame = encoder.finish()?;
    let length = u32::try_from(frame.len() - PREFIX).map_err(io::Error::other)?;
    frame[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// Nanoseconds since 1970.
pub(crate) fn now_unix_nano() -> u64 {
    u64::try_from(SystemClock.now().wall_us).unwrap_or_default() * 1000
}

/// The number of the first span of a run: runs that begin a second apart share no id.
pub(crate) fn first_span() -> u64 {
    (now_unix_nano() / 1_000_000_000) << 32
}

impl Load {
    /// Sends over so many connections until it is told to stop; a connection that breaks ends by itself.
    pub(crate) fn run(&self, connections: u32) -> Tally {
        std::thread::scope(|scope| {
            let one = || self.connection().unwrap_or_else(|error| failed(&error));
            let threads: Vec<_> = (0..connections).map(|_| scope.spawn(one)).collect();
            let mut tally = Tally::default();
            for thread in threads {
                match thread.join() {
                    Ok(part) => tally.add(part),
                    Err(_) => tally.errors.push("a thread of the generator panicked".to_owned()),
                }
            }
            tally
        })
    }

    fn connection(&self) -> io::Result<Tally> {
        let mut sender = Sender::connect(self)?;
        while !self.stop.load(Ordering::Relaxed) {
            if sender.send_next(self)?.is_none() {
                break;
            }
        }
        Ok(sender.tally)
    }
}

fn failed(error: &io::Error) -> Tally {
    Tally { errors: vec![error.to_string()], ..Tally::default() }
}

/// One connection with its own copy of the request.
pub(crate) struct Sender {
    client: Client,
    request: Request,
    pub(crate) tally: Tally,
}

impl Sender {
    pub(crate) fn connect(load: &Load) -> io::Result<Self> {
        let client = Client::connect(load.protocol, load.source.packing(), load.to)?;
        Ok(Self { client, request: Request::template(), tally: Tally::default() })
    }

    /// Sends one request until it is acknowledged; answers its number. `None`: the load was stopped, the connection
    /// broke, or the server will not take it.
    pub(crate) fn send_next(&mut self, load: &Load) -> io::Result<Option<u64>> {
        let mut number = load.next.fetch_add(1, Ordering::Relaxed);
        if let Some(pace) = load.pace
            && !wait_unless_stopped(pace.due(number).saturating_duration_since(Instant::now()), &load.stop)
        {
            return Ok(None);
        }
        let mut frame = match &load.source {
            Source::Patched { first_span } => {
                self.request.patch(first_span + number * SPANS as u64, now_unix_nano());
                self.request.take_frame()
            }
            Source::Gzip(pool) => {
                number %= pool.len() as u64;
                pool[number as usize].clone()
            }
        };
        let mut waited = false;
        let acknowledged = loop {
            let began = Instant::now();
            let (answer, sent) = self.client.send(frame);
            frame = sent;
            match answer {
                Ok(Answer::Acknowledged) => {
                    self.tally.ack_us.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
                    *self.tally.acknowledged.entry(number).or_default() += 1;
                    self.tally.retried += u64::from(waited);
                    break true;
                }
                Ok(Answer::Busy(wait)) => {
                    self.tally.refused += 1;
                    waited = true;
                    if !wait_unless_stopped(wait, &load.stop) {
                        break false;
                    }
                }
                Ok(Answer::Refused(why)) => {
                    self.tally.errors.push(why);
                    break false;
                }
                Err(error) => {
                    // What was acknowledged before counts; this request does not.
                    self.tally.errors.push(error.to_string());
                    break false;
                }
            }
        };
        if let Source::Patched { .. } = load.source {
            self.request.put_frame(frame);
        }
        Ok(acknowledged.then_some(number))
    }
}

/// Waits as long as the server asks, in steps short enough to notice the end.
fn wait_unless_stopped(wait: Duration, stop: &AtomicBool) -> bool {
    let until = Instant::now() + wait;
    while Instant::now() < until {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20).min(wait));
    }
    true
}
