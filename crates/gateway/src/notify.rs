//! Calls a person: one generic webhook, `POST` of a JSON [`Notice`].
//!
//! In: notices, from any thread, never blocking it. Out: requests from one thread of our own, in order,
//! each tried a few times with growing pauses. The queue is bounded: what does not fit is dropped and
//! counted, because a loop that heals must not wait for a chat server.
//!
//! Deliberately absent: TLS (only `http://`; put a local relay in front of a remote address), routing,
//! templates, de-duplication. They belong to incident notification, which does not exist yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::Severity;
use serde::Serialize;

/// Notices that may wait. A storm makes one a second at most; this is over two minutes of them.
const QUEUE: usize = 128;

/// How often one notice is tried.
const ATTEMPTS: u32 = 5;

/// The first pause; each further one is twice as long: 0.5, 1, 2, 4 s.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// How long one try may take.
const ATTEMPT_TIME: Duration = Duration::from_secs(5);

/// What a person needs to know.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Notice {
    /// One plain sentence.
    pub title: String,
    /// How bad it is.
    pub severity: Severity,
    /// Where, as text (`instance/cart-0`); `None` where it is about the whole.
    pub resource: Option<String>,
    /// The page with more.
    pub url: Option<String>,
    /// When, RFC 3339 UTC.
    pub time: String,
}

/// How many notices went which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookCounts {
    /// Taken by the receiver (2xx).
    pub delivered: u64,
    /// Given up after the last try, or refused by the receiver (4xx).
    pub failed: u64,
    /// Not even queued, because the queue was full.
    pub dropped: u64,
}

/// Why a webhook did not start.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// Not an `http://` address.
    #[error(
        "the webhook's address, which is not shown because it may be secret, cannot be used: write http://HOST[:PORT]/PATH; for an https receiver put a local relay in front"
    )]
    Address,
    /// The thread could not be started.
    #[error("cannot start the webhook's thread")]
    Thread(#[source] std::io::Error),
}

/// A running sender. Dropping it tries what is still queued once, then stops.
#[derive(Debug)]
pub struct Webhook {
    queue: Option<SyncSender<Notice>>,
    counts: Arc<Counters>,
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counters {
    delivered: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

enum Attempt {
    Delivered,
    /// Trying again would not help.
    Refused,
    Later,
}

impl Webhook {
    /// Starts the sender to `url`.
    pub fn start(url: &str) -> Result<Self, WebhookError> {
        let parsed: axum::http::Uri = url.parse().map_err(|_| WebhookError::Address)?;
        if parsed.scheme_str() != Some("http") || parsed.host().is_none() {
            return Err(WebhookError::Address);
        }
        let (queue, notices) = sync_channel(QUEUE);
        let (stop, stopped) = sync_channel(0);
        let counts = Arc::new(Counters::default());
        let sender = Sender { url: url.to_owned(), agent: agent(), counts: Arc::clone(&counts), stopped };
        let thread = std::thread::Builder::new()
            .name("webhook".to_owned())
            .spawn(move || sender.run(&notices))
            .map_err(WebhookError::Thread)?;
        Ok(Self { queue: Some(queue), counts, stop: Some(stop), thread: Some(thread) })
    }

    /// Queues a notice. Never blocks; a notice that does not fit is dropped and counted.
    pub fn send(&self, notice: Notice) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = queue.try_send(notice) {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many notices went which way so far.
    pub fn counts(&self) -> WebhookCounts {
        WebhookCounts {
            delivered: self.counts.delivered.load(Ordering::Relaxed),
            failed: self.counts.failed.load(Ordering::Relaxed),
            dropped: self.counts.dropped.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.queue = None;
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(ATTEMPT_TIME)).build().into()
}

struct Sender {
    url: String,
    agent: ureq::Agent,
    counts: Arc<Counters>,
    /// Disconnected when the owner is gone: pauses end, and nothing is tried twice any more.
    stopped: Receiver<()>,
}

impl Sender {
    fn run(&self, notices: &Receiver<Notice>) {
        while let Ok(notice) = notices.recv() {
            let counter = if self.deliver(&notice) { &self.counts.delivered } else { &self.counts.failed };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn deliver(&self, notice: &Notice) -> bool {
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=ATTEMPTS {
            match self.attempt(notice) {
                Attempt::Delivered => return true,
                Attempt::Refused => return false,
                Attempt::Later if attempt == ATTEMPTS => {}
                Attempt::Later => {
                    if self.stopped.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                        return false;
                    }
                    pause *= 2;
                }
            }
        }
        false
    }

    fn attempt(&self, notice: &Notice) -> Attempt {
        match self.agent.post(&self.url).send_json(notice) {
            Ok(_) => Attempt::Delivered,
            Err(ureq::Error::StatusCode(status)) if (400..500).contains(&status) && status != 429 => {
                Attempt::Refused
            }
            Err(_) => Attempt::Later,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Instant;

    fn notice(title: &str) -> Notice {
        Notice {
            title: title.to_owned(),
            severity: Severity::High,
            resource: Some("instance/cart-0".to_owned()),
            url: None,
            time: "2026-11-21T03:00:00.000Z".to_owned(),
        }
    }

    /// Answers each connection with the next status and hands back the bodies.
    fn receiver(statuses: &'static [u16]) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            statuses
                .iter()
                .map(|status| {
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut request = Vec::new();
                    let mut buffer = [0; 1024];
                    while !request.ends_with(b"}") {
                        let read = stream.read(&mut buffer).unwrap();
                        request.extend_from_slice(&buffer[..read]);
                    }
                    let answer =
                        format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                    stream.write_all(answer.as_bytes()).unwrap();
                    let text = String::from_utf8(request).unwrap();
                    text.split_once("\r\n\r\n").unwrap().1.to_owned()
                })
                .collect()
        });
        (url, thread)
    }

    fn wait_until(what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(Instant::now() < deadline, "{what} did not come");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_notice_is_tried_again_until_it_is_taken() {
        let (url, receiver) = receiver(&[503, 200]);
        let webhook = Webhook::start(&url).unwrap();
        webhook.send(notice("cart hangs"));
        wait_until("the delivery", || webhook.counts().delivered == 1);
        let bodies = receiver.join().unwrap();
        assert_eq!(bodies[0], bodies[1]);
        let body: serde_json::Value = serde_json::from_str(&bodies[1]).unwrap();
        assert_eq!(body["title"], "cart hangs");
        assert_eq!(body["severity"], "high");
    }

    #[test]
    fn what_the_receiver_refuses_is_not_tried_again() {
        let (url, receiver) = receiver(&[404]);
        let webhook = Webhook::start(&url).unwrap();
        webhook.send(notice("cart hangs"));
        wait_until("the refusal", || webhook.counts().failed == 1);
        assert_eq!(receiver.join().unwrap().len(), 1);
    }

    #[test]
    fn a_full_queue_drops_and_counts_without_blocking() {
        // Bound, so that connections are taken by the kernel, but never answered.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let webhook = Webhook::start(&format!("http://{}/", silent.local_addr().unwrap())).unwrap();
        let begin = Instant::now();
        for number in 0..QUEUE + 10 {
            webhook.send(notice(&number.to_string()));
        }
        assert!(begin.elapsed() < Duration::from_secs(1), "send must not block");
        assert!(webhook.counts().dropped >= 9);
        drop(silent);
    }

    #[test]
    fn an_address_it_cannot_reach_is_refused_at_start() {
        for url in ["https://example.com/hook", "ftp://x/", "nonsense", ""] {
            assert!(matches!(Webhook::start(url), Err(WebhookError::Address)), "{url}");
        }
    }
}
