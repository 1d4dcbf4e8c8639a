//! TCP over a link: each connection goes to one instance, bytes both ways.
//!
//! In: a caller's connection. Out: its bytes at the instance and the instance's at the caller, later where a
//! latency fault says so, in their order. What a partition cuts is reset (RST), as by a network that
//! rejects.
//!
//! Either direction may end before the other (a half-closed connection); the relay ends with both. There is
//! no time limit: an idle connection is the business of those who hold it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use domain::Time;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep, sleep_until};

use super::balance::Slot;
use super::count::{Age, Ending};
use super::exchange::{Exchange, Failure};
use super::faults::Verdict;
use super::pool::Lifeline;
use super::{Core, lock};

/// Read at once. Two buffers of it per connection: 32 MiB for a thousand connections.
const CHUNK: usize = 16 * 1024;

/// Delayed chunks held for one connection (1 MiB); beyond, the instance is no longer read, as by a network
/// whose window is full.
const HELD_MAX: usize = 64;

/// Serves one caller's connection to its end.
pub(super) async fn session(core: Arc<Core>, caller: TcpStream) {
    let Some(mut exchange) = Exchange::begin(&core) else { return };
    let reached = match exchange.choose() {
        Ok(lease) => match reach(&core, lease.slot()).await {
            // Nothing has been sent, so another instance serves as well.
            Err(Failure::NoConnection) => match exchange.choose_another() {
                Ok(lease) => reach(&core, lease.slot()).await.map(|reached| (lease, reached)),
                Err(failure) => Err(failure),
            },
            reached => reached.map(|reached| (lease, reached)),
        },
        Err(failure) => Err(failure),
    };
    match reached {
        Ok((lease, (instance, life))) => {
            exchange.goes_over(&life);
            Relay::new(&core, exchange, lease.slot(), &life).run(caller, instance).await;
        }
        Err(failure) => {
            exchange.end(failure.ending());
            if failure != Failure::Throttled {
                reset(&caller);
            }
        }
    }
}

async fn reach(core: &Core, slot: &Slot) -> Result<(TcpStream, Arc<Lifeline>), Failure> {
    let now = core.now();
    match core.verdict(slot, now) {
        Verdict::Cut => return Err(Failure::NoConnection),
        Verdict::Throttled => return Err(Failure::Throttled),
        Verdict::Pass(delay) if delay.is_zero() => {}
        Verdict::Pass(delay) => sleep(delay).await,
    }
    let now = core.now();
    let reached = slot.pool.open_stream(now).await.map_err(|_| Failure::NoConnection)?;
    // A partition may have begun while it was being opened.
    if core.cuts(slot, now) { Err(Failure::NoConnection) } else { Ok(reached) }
}

/// Closing will send RST instead of FIN. Where that cannot be set, FIN it is.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// One side of a relay broke, or both ended.
enum End {
    Whole,
    CallerBroke,
    InstanceBroke,
    Cut,
}

struct Relay<'a> {
    core: &'a Core,
    slot: &'a Slot,
    life: &'a Lifeline,
    connected: Time,
    progress: Mutex<Progress>,
}

/// What both directions know.
struct Progress {
    exchange: Exchange,
    asked: bool,
    caller_left: bool,
    instance_left: bool,
}

impl<'a> Relay<'a> {
    fn new(core: &'a Core, exchange: Exchange, slot: &'a Slot, life: &'a Lifeline) -> Self {
        let progress =
            Mutex::new(Progress { exchange, asked: false, caller_left: false, instance_left: false });
        Self { core, slot, life, connected: core.now(), progress }
    }

    async fn run(self, mut caller: TcpStream, mut instance: TcpStream) {
        let mut end = {
            let (from_caller, to_caller) = caller.split();
            let (from_instance, to_instance) = instance.split();
            let both = async {
                tokio::try_join!(
                    self.upward(from_caller, to_instance),
                    self.downward(from_instance, to_caller),
                )
            };
            tokio::select! {
                () = self.life.cut() => End::Cut,
                ended = both => ended.err().unwrap_or(End::Whole),
            }
        };
        if matches!(end, End::InstanceBroke) && lock(&self.progress).instance_left {
            // It had said all it had to say and closed; what the caller sent after that is nobody's failure.
            end = End::Whole;
        }
        if matches!(end, End::Cut | End::InstanceBroke) {
            reset(&caller);
        }
        self.close(end);
    }

    /// Caller to instance.
    async fn upward(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), End> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = from.read(&mut buffer).await.map_err(|_| End::CallerBroke)?;
            if read == 0 {
                break;
            }
            self.asked();
            to.write_all(&buffer[..read]).await.map_err(|_| End::InstanceBroke)?;
        }
        lock(&self.progress).caller_left = true;
        // Fails only where the connection is gone, which the other direction sees and judges.
        let _ = to.shutdown().await;
        Ok(())
    }

    /// Instance to caller, later by what the faults say.
    async fn downward(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), End> {
        let mut buffer = vec![0; CHUNK];
        let mut held: VecDeque<(Instant, Bytes)> = VecDeque::new();
        let mut ended = false;
        loop {
            let due = held.front().map(|(due, _)| *due);
            let arrived: io::Result<usize> = tokio::select! {
                biased;
                () = wait_until(due), if due.is_some() => {
                    if let Some((_, chunk)) = held.pop_front() {
                        self.deliver(&mut to, &chunk).await?;
                    }
                    continue;
                }
                read = from.read(&mut buffer), if !ended && held.len() < HELD_MAX => read,
                else => break,
            };
            let read = arrived.map_err(|_| End::InstanceBroke)?;
            if read == 0 {
                ended = true;
                continue;
            }
            let delay = self.core.delay(self.slot, self.life.opened);
            if delay.is_zero() && held.is_empty() {
                self.deliver(&mut to, &buffer[..read]).await?;
            } else {
                let due = (Instant::now() + delay).max(held.back().map_or_else(Instant::now, |held| held.0));
                held.push_back((due, Bytes::copy_from_slice(&buffer[..read])));
            }
        }
        self.instance_left();
        // Fails only where the caller is gone, which the other direction sees.
        let _ = to.shutdown().await;
        Ok(())
    }

    async fn deliver(&self, to: &mut WriteHalf<'_>, chunk: &[u8]) -> Result<(), End> {
        lock(&self.progress).exchange.end(Ending::Answered);
        to.write_all(chunk).await.map_err(|_| End::CallerBroke)
    }

    /// The caller's first bytes: from here on the instance is waited for, not the caller.
    fn asked(&self) {
        let mut progress = lock(&self.progress);
        if !progress.asked && !progress.exchange.has_ended() {
            progress.asked = true;
            let idle = self.core.now().since(self.connected);
            progress.exchange.discount(idle);
        }
    }

    /// The instance said all. Where it was asked, said nothing and the caller still waits, that is no answer;
    /// where it had answered, ending the exchange again changes nothing.
    fn instance_left(&self) {
        let mut progress = lock(&self.progress);
        progress.instance_left = true;
        if progress.asked && !progress.caller_left {
            progress.exchange.end(Ending::Unanswered);
        }
    }

    fn close(self, end: End) {
        let Progress { mut exchange, asked, .. } =
            self.progress.into_inner().unwrap_or_else(PoisonError::into_inner);
        let broke = matches!(end, End::Cut | End::InstanceBroke);
        if broke && exchange.has_ended() {
            self.core.counter.ended(
                self.core.now(),
                Some(&self.slot.instance),
                Age::of(Some(self.life.opened), self.core.now()),
                Ending::Unanswered,
                None,
            );
            self.core.failed(self.slot);
        } else if broke {
            exchange.end(Ending::Unanswered);
        } else if !asked {
            // Opened and closed, as a port check does: the connection was all that was wanted.
            let idle: Duration = self.core.now().since(self.connected);
            exchange.discount(idle);
            exchange.end(Ending::Answered);
        }
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
