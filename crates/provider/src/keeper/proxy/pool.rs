//! The connections of one link to one instance.
//!
//! In: an address. Out: HTTP connections that are kept and used again, and a register of every open
//! connection with the time it was opened, so that a fault or a repair can find and end it.
//!
//! Idle connections are taken in turn, the longest unused first: every one of them is used regularly, so a
//! path that went bad under old connections shows, as it does in a service that keeps its connections.
//! Deliberately absent: an idle time limit. Instances close what they no longer want.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use domain::Time;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::lock;

/// Idle connections kept to one instance. Above the concurrency one link reaches on one machine, and well
/// below the file descriptor limit of either side (1024 by default).
const IDLE_MAX: usize = 32;

/// How long opening may take. On loopback it takes microseconds; it takes long only where the instance no
/// longer accepts and its backlog is full.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// How long a connection may take to tidy its last exchange away. It takes one turn of the runtime, unless
/// the instance answered before it had read the whole request; such a connection is given up.
const SETTLE_LIMIT: Duration = Duration::from_millis(5);

/// One open connection, as the register knows it.
#[derive(Debug)]
pub(super) struct Lifeline {
    pub(super) opened: Time,
    recent: Mutex<Recent>,
    fate: watch::Sender<Fate>,
}

/// The last exchanges over one connection.
#[derive(Debug, Default)]
struct Recent {
    /// How long they took, latest first.
    took: [Option<Duration>; FLOOR_OVER],
    ended: Option<Time>,
}

/// A connection is known by the fastest of this many exchanges: a slow request makes an exchange slow, only a
/// slow connection makes all of them slow.
const FLOOR_OVER: usize = 3;

/// Connections that were not used for this long say nothing of now: the window that is judged.
const FLOOR_WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    /// What is under way may finish; nothing new begins.
    Retired,
    /// Ended now, whatever is under way.
    Cut,
}

impl Lifeline {
    fn new(opened: Time) -> Arc<Self> {
        Arc::new(Self { opened, recent: Mutex::default(), fate: watch::Sender::new(Fate::Open) })
    }

    /// An exchange over it ended.
    pub(super) fn carried(&self, took: Duration, now: Time) {
        let mut recent = lock(&self.recent);
        recent.took.rotate_right(1);
        recent.took[0] = Some(took);
        recent.ended = Some(now);
    }

    /// The fastest of its last exchanges, where it had enough of them lately.
    fn floor(&self, now: Time) -> Option<Duration> {
        let recent = lock(&self.recent);
        recent.ended.filter(|ended| now.since(*ended) <= FLOOR_WITHIN)?;
        recent.took.iter().copied().min()?
    }

    /// Waits until the connection is cut.
    pub(super) async fn cut(&self) {
        // The sender is borrowed through `self`, so waiting ends only by the cut.
        let _ = self.fate.subscribe().wait_for(|fate| *fate == Fate::Cut).await;
    }

    fn set(&self, to: Fate) -> bool {
        self.fate.send_if_modified(|fate| {
            let changes = *fate != to && *fate != Fate::Cut;
            if changes {
                *fate = to;
            }
            changes
        })
    }

    fn is_open(&self) -> bool {
        *self.fate.borrow() == Fate::Open
    }
}

/// An HTTP connection, lent to one exchange at a time.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<Incoming>,
    pub(super) life: Arc<Lifeline>,
}

/// The connections to one instance.
#[derive(Debug)]
pub(super) struct Pool {
    address: SocketAddr,
    idle: Mutex<VecDeque<Connection>>,
    open: Mutex<Vec<Weak<Lifeline>>>,
}

impl Pool {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, idle: Mutex::default(), open: Mutex::default() }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// An idle connection that can take a request.
    pub(super) async fn take_idle(&self) -> Option<Connection> {
        loop {
            let mut connection = lock(&self.idle).pop_front()?;
            let ready = tokio::time::timeout(SETTLE_LIMIT, connection.sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) && connection.life.is_open() {
                return Some(connection);
            }
        }
    }

    /// Takes a connection back after a whole exchange.
    pub(super) fn give_back(&self, connection: Connection) {
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE_MAX && connection.life.is_open() && !connection.sender.is_closed() {
            idle.push_back(connection);
        }
    }

    /// Opens an HTTP connection and drives it until it ends or is cut.
    pub(super) async fn open(&self, now: Time) -> io::Result<Connection> {
        let (stream, life) = self.open_stream(now).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let held = Arc::clone(&life);
        tokio::spawn(async move {
            tokio::select! {
                // How it ended is told to the exchange that was on it.
                _ = connection => {}
                () = held.cut() => {}
            }
        });
        Ok(Connection { sender, life })
    }

    /// Opens a plain connection. Whoever holds it ends it when its lifeline is cut.
    pub(super) async fn open_stream(&self, now: Time) -> io::Result<(TcpStream, Arc<Lifeline>)> {
        let stream = connect(self.address).await?;
        let life = Lifeline::new(now);
        let mut open = lock(&self.open);
        open.retain(|other| other.strong_count() > 0);
        open.push(Arc::downgrade(&life));
        Ok((stream, life))
    }

    /// The fastest of the last exchanges of each connection that is in use, in milliseconds.
    pub(super) fn floors_ms(&self, now: Time) -> Vec<f64> {
        let lives: Vec<_> = lock(&self.open).iter().filter_map(Weak::upgrade).collect();
        lives.iter().filter_map(|life| life.floor(now)).map(|took| took.as_secs_f64() * 1000.0).collect()
    }

    /// Cuts the open connections that `chosen` picks by the time they were opened; returns how many.
    pub(super) fn cut(&self, chosen: impl Fn(Time) -> bool) -> usize {
        self.each_open(|life| chosen(life.opened) && life.set(Fate::Cut))
    }

    /// Closes the idle connections now and the busy ones after their exchange; returns how many.
    pub(super) fn retire(&self) -> usize {
        let retired = self.each_open(|life| life.set(Fate::Retired));
        lock(&self.idle).clear();
        retired
    }

    fn each_open(&self, act: impl Fn(&Lifeline) -> bool) -> usize {
        lock(&self.open).iter().filter_map(Weak::upgrade).filter(|life| act(life)).count()
    }
}

/// Connects within [`CONNECT_LIMIT`], without Nagle's delay.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}
