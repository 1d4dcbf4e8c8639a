//! Link proxies: one listener per link, between a caller and the instances of its callee.
//!
//! In: the link's part of the keeper's table ([`LinkConfig`]) and the caller's connections. Out: balanced
//! exchanges with the instances, and the counts of what the caller felt ([`LinkSample`]).
//!
//! ```text
//! caller ─▶ listener ─▶ measuring point ─▶ breaker ─▶ balance ─▶ faults ─▶ pool ─▶ instance
//!                       (exchange, count)                  ▲                ▲
//!                                                          └─ path checks ──┘ (fresh connections)
//! ```
//!
//! - HTTP/1.1 ([`Protocol::Http`]): each request is balanced and counted when its response head has come
//!   (latency: from the request's head to the response's). Bodies are streamed and not limited. A `GET` or
//!   `HEAD` for which no connection could be made (refused, timed out or cut by a partition) is tried once
//!   more on another instance; only how that ended is counted, but the health of the first one suffers.
//! - TCP ([`Protocol::Tcp`]): each connection is balanced (with the same second try) and counted at the
//!   instance's first byte (latency: connecting plus the wait for that byte), or when it fails before. One
//!   that breaks later counts again, as unanswered.
//! - Health ejection, path checks and counts lie in front of the faults and feel them.
//!
//! Deliberately absent: decisions. The proxy never opens its breaker by itself and injects nothing that is
//! not in its configuration. Also absent: TLS, HTTP/2, upgrades and tunnels.

mod balance;
mod breaker;
mod check;
mod count;
mod exchange;
mod faults;
mod http;
mod pool;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod properties;
mod tcp;
#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::infrastructure::Protocol;
use domain::snapshot::BreakerState;
use domain::{Clock, InstanceName, LinkName, Time};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use balance::Backend;
pub use faults::LinkFault;

use crate::sample::LinkSample;
use balance::{Balancer, Lease, Slot};
use breaker::{Breaker, Pass, Trial};
use count::Counter;
use faults::{FaultLayer, Path, Verdict};

/// What a link's proxy is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkConfig {
    /// What is spoken.
    pub protocol: Protocol,
    /// The instances of the callee.
    pub backends: Vec<Backend>,
    /// The breaker is held open by a plan: requests are answered with 503 and `x-homeostat-breaker: open`,
    /// TCP connections closed at once. When it is no longer held it is half-open until 5 requests in a row
    /// went well.
    pub held_open: bool,
    /// The faults in force.
    pub faults: Vec<LinkFault>,
    /// Path checks `GET` this; 2xx and 3xx pass. `None`, and always over TCP: a connection passes.
    pub check_path: Option<String>,
}

/// The proxy of one link. Dropping it ends everything on it at once; see [`shutdown`](Self::shutdown).
#[derive(Debug)]
pub struct LinkProxy {
    core: Arc<Core>,
    address: SocketAddr,
    stop: watch::Sender<Option<Duration>>,
    accepting: JoinHandle<()>,
    checking: JoinHandle<()>,
}

impl LinkProxy {
    /// Listens on `listen` (port 0: any free one) and begins to serve. Must be called within a runtime.
    pub async fn bind(
        name: LinkName,
        listen: SocketAddr,
        config: LinkConfig,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let seed = seed_of(&name);
        let core = Core::new(name, clock, seed);
        core.configure(config);
        let (stop, stopped) = watch::channel(None);
        let accepting = tokio::spawn(accept(Arc::clone(&core), listener, stopped));
        let checking = tokio::spawn(check::run(Arc::clone(&core), seed));
        Ok(Self { core, address, stop, accepting, checking })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes over another configuration, at once. What is under way goes on, unless a partition that begins
    /// covers it.
    pub fn configure(&self, config: LinkConfig) {
        self.core.configure(config);
    }

    /// What was counted, and how the instances look from here.
    pub fn sample(&self) -> LinkSample {
        let seconds = self.core.counter.complete(self.core.now());
        let now = self.core.now();
        let any = self.core.counter.any();
        let mut link = lock(&self.core.link);
        link.breaker.settle(now);
        let state = link.breaker.state();
        LinkSample {
            seconds,
            backends: link
                .balancer
                .slots()
                .iter()
                .map(|slot| (slot.instance.clone(), slot.sample(now)))
                .collect(),
            // A breaker that a plan holds open is known before the first request.
            breaker: (any || state != BreakerState::Closed).then_some(state),
        }
    }

    /// Closes every open connection to the instances and returns how many there were. HTTP connections with
    /// a request under way are closed after it and not used again; TCP connections are cut.
    pub fn reset_connections(&self) -> usize {
        let link = lock(&self.core.link);
        let pools = link.balancer.slots().iter().map(|slot| &slot.pool);
        match link.protocol {
            Protocol::Http => pools.map(|pool| pool.retire()).sum(),
            Protocol::Tcp => pools.map(|pool| pool.cut(|_| true)).sum(),
        }
    }

    /// Accepts nothing more, lets what is under way finish for up to `grace`, then cuts it.
    pub async fn shutdown(mut self, grace: Duration) {
        self.stop.send_replace(Some(grace));
        // It ends by itself after the grace; that it panicked or was aborted changes nothing for the caller.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for LinkProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.checking.abort();
        for slot in lock(&self.core.link).balancer.slots() {
            slot.pool.cut(|_| true);
        }
    }
}

/// What the parts of one link share.
struct Core {
    name: LinkName,
    clock: Arc<dyn Clock>,
    counter: Counter,
    link: Mutex<Link>,
}

struct Link {
    protocol: Protocol,
    check_path: Option<Arc<str>>,
    balancer: Balancer,
    breaker: Breaker,
    faults: FaultLayer,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Core {
    fn new(name: LinkName, clock: Arc<dyn Clock>, seed: u64) -> Arc<Self> {
        let link = Link {
            protocol: Protocol::Http,
            check_path: None,
            balancer: Balancer::default(),
            breaker: Breaker::default(),
            faults: FaultLayer::seeded(seed),
        };
        Arc::new(Self { name, clock, counter: Counter::default(), link: Mutex::new(link) })
    }

    fn configure(&self, config: LinkConfig) {
        let now = self.now();
        let link = &mut *lock(&self.link);
        link.protocol = config.protocol;
        link.check_path = config.check_path.map(Arc::from);
        link.balancer.replace(config.backends);
        if config.held_open {
            link.breaker.hold_open();
        } else {
            link.breaker.release(now);
        }
        link.faults.replace(config.faults, now);
        for slot in link.balancer.slots() {
            slot.pool.cut(|opened| link.faults.cuts(Path { instance: &slot.instance, opened }));
        }
    }

    fn now(&self) -> Time {
        self.clock.now()
    }

    /// Leave to pass the breaker; a request without is counted as rejected.
    fn enter(&self) -> Option<Pass> {
        let pass = lock(&self.link).breaker.admit();
        if pass.is_none() {
            self.counter.rejected(self.now());
        }
        pass
    }

    fn leave(&self, pass: Pass, trial: Trial) {
        let now = self.now();
        lock(&self.link).breaker.ended(pass, trial, now);
    }

    fn choose(&self, except: Option<&InstanceName>) -> Option<Lease> {
        lock(&self.link).balancer.choose(except)
    }

    fn failed(&self, slot: &Slot) {
        let now = self.now();
        lock(&self.link).balancer.failed(slot, now);
    }

    /// What the faults do to an exchange with `slot` over a connection opened then.
    fn verdict(&self, slot: &Slot, opened: Time) -> Verdict {
        let now = self.now();
        lock(&self.link).faults.exchange(Path { instance: &slot.instance, opened }, now)
    }

    fn delay(&self, slot: &Slot, opened: Time) -> Duration {
        lock(&self.link).faults.delay(Path { instance: &slot.instance, opened })
    }

    fn cuts(&self, slot: &Slot, opened: Time) -> bool {
        lock(&self.link).faults.cuts(Path { instance: &slot.instance, opened })
    }
}

/// Accepts until it is told to stop, then drains.
async fn accept(core: Arc<Core>, listener: TcpListener, mut stop: watch::Receiver<Option<Duration>>) {
    let mut sessions = JoinSet::new();
    let for_sessions = stop.clone();
    let grace = loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    sessions.spawn(session(Arc::clone(&core), stream, for_sessions.clone()));
                }
                // Out of descriptors or memory: give the sessions time to free some.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = sessions.join_next() => {}
            grace = stopped(&mut stop) => break grace,
        }
    };
    drop(listener);
    // What has not finished after the grace is aborted with the set.
    let _ = tokio::time::timeout(grace, async { while sessions.join_next().await.is_some() {} }).await;
}

/// Waits for the word to stop, and returns the grace given; none where the proxy was dropped.
async fn stopped(stop: &mut watch::Receiver<Option<Duration>>) -> Duration {
    stop.wait_for(Option::is_some).await.map_or(Duration::ZERO, |grace| grace.unwrap_or_default())
}

async fn session(core: Arc<Core>, stream: TcpStream, stop: watch::Receiver<Option<Duration>>) {
    // Without it the session is slower, not wrong.
    let _ = stream.set_nodelay(true);
    let protocol = lock(&core.link).protocol;
    match protocol {
        Protocol::Http => http::session(core, stream, stop).await,
        Protocol::Tcp => tcp::session(core, stream).await,
    }
}

/// The same for one link in every run.
fn seed_of(name: &LinkName) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// Locks; a panic elsewhere while it was held leaves counters that are at worst one behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
