//! One Alertmanager: what waits for it, and the thread that sends it.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use domain::Clock;
use outbound::{Peer, TrustError, is_untrusted, reason};

use super::queue::Queue;
use super::{Address, EndpointState, Notification};
use crate::{Say, lock};

/// How long one request may take.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// The pause behind a try that failed; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(500);

/// The longest pause: in it everything that fires is told again anyway.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// So much of an answer is read, to say why it refused.
const ANSWER_BYTES: u64 = 500;

/// One Alertmanager.
pub(super) struct Endpoint {
    address: Address,
    url: String,
    peer: Peer,
    agent: Mutex<ureq::Agent>,
    clock: Arc<dyn Clock>,
    say: Arc<Say>,
    inner: Mutex<Inner>,
    /// Something came, or it is over.
    news: Condvar,
    stopping: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    queue: Queue,
    sent: u64,
    failures: u64,
    dropped: u64,
    trouble: Option<Trouble>,
}

/// What came of a request.
enum Outcome {
    Taken,
    /// Sending it again would not help.
    Refused(Trouble),
    /// It may help.
    Later(Trouble),
}

fn agent_of(peer: &Peer) -> Result<ureq::Agent, TrustError> {
    Ok(peer.agent()?.timeout_global(Some(REQUEST_TIME)).build().into())
}

/// Why something was not sent.
#[derive(Debug)]
struct Trouble {
    /// In our words: this goes into the log.
    why: String,
    /// What the Alertmanager answered, or who stands before it. It can hold anything, what we sent included, and another
    /// number each time: it is shown beside the state alone.
    answer: Option<String>,
}

impl Trouble {
    fn in_full(&self) -> String {
        let Some(answer) = &self.answer else { return self.why.clone() };
        let line: String = answer.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect();
        format!("{}: {}", self.why, line.trim())
    }
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self { why, answer: None }
    }
}

impl Endpoint {
    pub(super) fn new(
        address: Address,
        peer: Peer,
        clock: Arc<dyn Clock>,
        say: Arc<Say>,
    ) -> Result<Self, TrustError> {
        let agent = Mutex::new(agent_of(&peer)?);
        let url = format!("{address}/api/v2/alerts");
        Ok(Self {
            address,
            url,
            peer,
            agent,
            clock,
            say,
            inner: Mutex::default(),
            news: Condvar::new(),
            stopping: AtomicBool::new(false),
        })
    }

    pub(super) fn add(&self, notifications: &[Notification]) {
        let mut inner = lock(&self.inner);
        for notification in notifications {
            inner.dropped += inner.queue.put(notification.clone());
        }
        drop(inner);
        self.news.notify_all();
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // Behind the lock, so that it is not missed between a look and a wait.
        drop(lock(&self.inner));
        self.news.notify_all();
    }

    pub(super) fn state(&self) -> EndpointState {
        let inner = lock(&self.inner);
        EndpointState {
            address: self.address.clone(),
            sent: inner.sent,
            failures: inner.failures,
            dropped: inner.dropped,
            waiting: inner.queue.len() as u64,
            trouble: inner.trouble.as_ref().map(Trouble::in_full),
        }
    }

    /// Sends what comes until it is stopped; then what waits once more.
    pub(super) fn run(&self) {
        let mut pause = PAUSE_FIRST;
        loop {
            let batch = self.next_batch();
            let stopping = self.stopping.load(Ordering::Acquire);
            if batch.is_empty() {
                return;
            }
            let outcome = self.post(&batch);
            let failed = matches!(outcome, Outcome::Later(_));
            self.settle(&batch, outcome);
            if !failed {
                pause = PAUSE_FIRST;
                continue;
            }
            if stopping {
                return;
            }
            self.rest(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Waits until something waits; nothing where it is over and nothing does.
    fn next_batch(&self) -> Vec<(u64, Notification)> {
        let mut inner = lock(&self.inner);
        loop {
            let batch = inner.queue.batch();
            if !batch.is_empty() || self.stopping.load(Ordering::Acquire) {
                return batch;
            }
            inner = self.news.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn rest(&self, pause: Duration) {
        let until = self.clock.now().plus(pause);
        let mut inner = lock(&self.inner);
        while !self.stopping.load(Ordering::Acquire) {
            let now = self.clock.now();
            if now.reached(until) {
                return;
            }
            let left = until.since(now);
            inner = self.news.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn settle(&self, batch: &[(u64, Notification)], outcome: Outcome) {
        let places: Vec<u64> = batch.iter().map(|(place, _)| *place).collect();
        let mut inner = lock(&self.inner);
        match outcome {
            Outcome::Taken => {
                inner.sent += places.len() as u64;
                inner.trouble = None;
                inner.queue.done(&places);
            }
            Outcome::Refused(why) => {
                inner.dropped += places.len() as u64;
                inner.queue.done(&places);
                self.complain(&mut inner, why);
            }
            Outcome::Later(why) => self.complain(&mut inner, why),
        }
    }

    /// The file of the certificates that are believed may have been changed since it was read.
    fn believe_anew(&self) {
        if let Ok(agent) = agent_of(&self.peer) {
            *lock(&self.agent) = agent;
        }
    }

    /// Keeps why it failed, and tells it where that is new.
    fn complain(&self, inner: &mut Inner, trouble: Trouble) {
        inner.failures += 1;
        if inner.trouble.as_ref().is_none_or(|told| told.why != trouble.why) {
            (self.say)(&trouble.why);
        }
        inner.trouble = Some(trouble);
    }

    fn post(&self, batch: &[(u64, Notification)]) -> Outcome {
        let written: Vec<_> = batch.iter().map(|(_, notification)| notification.written()).collect();
        let body = match serde_json::to_vec(&written) {
            Ok(body) => body,
            Err(error) => return Outcome::Refused(format!("the alerts cannot be written: {error}").into()),
        };
        let mut request = lock(&self.agent).post(&self.url).header("content-type", "application/json");
        match self.peer.authorization() {
            Ok(Some(header)) => request = request.header("authorization", header),
            Ok(None) => {}
            Err(error) => return Outcome::Later(format!("{} is not told: {error}", self.address).into()),
        }
        let response = match request.send(&body[..]) {
            Ok(response) => response,
            Err(error) if is_untrusted(&error) => {
                self.believe_anew();
                return Outcome::Later(format!("{} is not told: {}", self.address, reason(&error)).into());
            }
            Err(error) => {
                return Outcome::Later(
                    format!("{} does not answer: {}", self.address, reason(&error)).into(),
                );
            }
        };
        let status = response.status().as_u16();
        if (200..300).contains(&status) {
            return Outcome::Taken;
        }
        let mut answer = Vec::new();
        // What it says is for people; that it cannot be read changes nothing.
        let _ = response.into_body().into_reader().take(ANSWER_BYTES).read_to_end(&mut answer);
        let why = Trouble {
            why: format!("{} answered with the status {status}", self.address),
            answer: Some(String::from_utf8_lossy(&answer).into_owned()),
        };
        match status {
            // Who is busy, or not there yet behind a relay, may be well later.
            408 | 429 | 500..=599 => Outcome::Later(why),
            // The secret may be about to be replaced, here or there.
            401 | 403 if self.peer.credentials.is_some() => Outcome::Later(why),
            _ => Outcome::Refused(why),
        }
    }
}
