//! Calls a person: one generic webhook, `POST` of a JSON [`Notice`].
//!
//! In: notices, from any thread, never blocking it. Out: requests from one thread of our own, in order,
//! each tried a few times with growing pauses. The queue is bounded: what does not fit is dropped and
//! counted, because a loop that heals must not wait for a chat server.
//!
//! A receiver at `https://` is believed by its certificate alone: where that is not believed the notice is not delivered,
//! and nothing is sent in the clear instead. Redirects are refusals. Why a notice was given up is told to who started the
//! sender, without the address and the credentials, which may be secret.
//!
//! Deliberately absent: routing, templates, de-duplication. They belong to incident notification, which does not exist yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver as Receiving, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::Severity;
use outbound::{InTheClear, Peer, TrustError, is_untrusted, reason};
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
    /// No address, or of a kind that cannot be posted to.
    #[error(
        "the webhook's address, which is not shown because it may be secret, cannot be used: write https://HOST[:PORT]/PATH or http://HOST[:PORT]/PATH"
    )]
    Address,
    /// Credentials are for TLS, or for this machine.
    #[error("the webhook's address, which is not shown because it may be secret, {0}")]
    InTheClear(#[from] InTheClear),
    /// Nobody to believe.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The thread could not be started.
    #[error("cannot start the webhook's thread")]
    Thread(#[source] std::io::Error),
}

/// Where notices go.
#[derive(Clone, PartialEq, Eq)]
pub struct Receiver {
    /// `https://HOST[:PORT]/PATH`, or `http://…`. It may be secret.
    pub url: String,
    /// Whose certificates are believed, and what we prove ourselves by.
    pub peer: Peer,
}

impl Receiver {
    /// Whether notices can go there.
    ///
    /// # Errors
    /// [`WebhookError`], with what is wrong with it; the file of certificates is not looked at.
    pub fn check(&self) -> Result<(), WebhookError> {
        let parsed: axum::http::Uri = self.url.parse().map_err(|_| WebhookError::Address)?;
        let Some(authority) = parsed.authority().filter(|authority| !authority.host().is_empty()) else {
            return Err(WebhookError::Address);
        };
        if !matches!(parsed.scheme_str(), Some("http" | "https")) {
            return Err(WebhookError::Address);
        }
        // A name and a password in the address go along with each notice.
        if authority.as_str().contains('@') && !outbound::is_private(&parsed) {
            return Err(InTheClear.into());
        }
        Ok(self.peer.may_ask(&parsed)?)
    }
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
    Refused(String),
    Later(String),
}

impl Webhook {
    /// Starts the sender. `say` is told why a notice was given up.
    ///
    /// # Errors
    /// Where nothing can go there, or the machine gives no thread.
    pub fn start(receiver: Receiver, say: impl Fn(&str) + Send + 'static) -> Result<Self, WebhookError> {
        receiver.check()?;
        let agent = receiver.peer.agent()?.timeout_global(Some(ATTEMPT_TIME)).build().into();
        let (queue, notices) = sync_channel(QUEUE);
        let (stop, stopped) = sync_channel(0);
        let counts = Arc::new(Counters::default());
        let sender = Sender { receiver, agent, counts: Arc::clone(&counts), stopped };
        let thread = std::thread::Builder::new()
            .name("webhook".to_owned())
            .spawn(move || sender.run(&notices, say))
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

struct Sender {
    receiver: Receiver,
    agent: ureq::Agent,
    counts: Arc<Counters>,
    /// Disconnected when the owner is gone: pauses end, and nothing is tried twice any more.
    stopped: Receiving<()>,
}

impl Sender {
    fn run(&self, notices: &Receiving<Notice>, say: impl Fn(&str)) {
        while let Ok(notice) = notices.recv() {
            let counter = match self.deliver(&notice) {
                Ok(()) => &self.counts.delivered,
                Err(why) => {
                    say(&format!("the webhook was not told {:?}: {why}", notice.title));
                    &self.counts.failed
                }
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tries until it is taken, or of no use any more; the error is why.
    fn deliver(&self, notice: &Notice) -> Result<(), String> {
        let (mut pause, mut left) = (FIRST_PAUSE, ATTEMPTS);
        loop {
            left -= 1;
            match self.attempt(notice) {
                Attempt::Delivered => return Ok(()),
                Attempt::Refused(why) => return Err(why),
                Attempt::Later(why) => {
                    if left == 0 || self.stopped.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                        return Err(why);
                    }
                    pause *= 2;
                }
            }
        }
    }

    fn attempt(&self, notice: &Notice) -> Attempt {
        let mut request = self.agent.post(&self.receiver.url);
        match self.receiver.peer.authorization() {
            Ok(Some(header)) => request = request.header("authorization", header),
            Ok(None) => {}
            // A file of secrets may be about to be replaced.
            Err(error) => return Attempt::Later(error.to_string()),
        }
        match request.send_json(notice) {
            Ok(answer) => match answer.status().as_u16() {
                200..=299 => Attempt::Delivered,
                status @ (408 | 429 | 500..=599) => Attempt::Later(answered(status)),
                status => Attempt::Refused(answered(status)),
            },
            Err(error) if is_untrusted(&error) => Attempt::Refused(reason(&error)),
            Err(error) => Attempt::Later(reason(&error)),
        }
    }
}

fn answered(status: u16) -> String {
    format!("it answered with the status {status}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Mutex;
    use std::time::Instant;

    use counterpart::{Authority, Request, Server, answer};
    use outbound::{Credentials, Reference, Trust};

    fn to(url: &str) -> Receiver {
        Receiver { url: url.to_owned(), peer: Peer::default() }
    }

    /// What the sender says.
    type Said = Arc<Mutex<Vec<String>>>;

    fn listened(receiver: Receiver) -> (Webhook, Said) {
        let said = Said::default();
        let keeps = Arc::clone(&said);
        let webhook = Webhook::start(receiver, move |text| keeps.lock().unwrap().push(text.to_owned()));
        (webhook.unwrap(), said)
    }

    /// A receiver that believes this authority, and proves itself by a token.
    fn believing(authority: &Authority, url: String) -> (tempfile::NamedTempFile, Receiver) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), authority.pem()).unwrap();
        let follow = |name: &str| match name {
            "token" => Ok("canary-token\n".to_owned()),
            _ => Err(format!("there is no {name}")),
        };
        let credentials = Some(Credentials::Bearer(Reference::new("token", follow)));
        let peer = Peer { trust: Trust::File(file.path().to_owned()), credentials };
        (file, Receiver { url, peer })
    }

    fn takes(_: &Request) -> Vec<u8> {
        answer("204 No Content", "", "")
    }

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
        let deadline = Instant::now() + Duration::from_secs(60);
        while !condition() {
            assert!(Instant::now() < deadline, "{what} did not come");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_notice_is_tried_again_until_it_is_taken() {
        let (url, receiver) = receiver(&[503, 200]);
        let webhook = Webhook::start(to(&url), |_| ()).unwrap();
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
        let (webhook, said) = listened(to(&url));
        webhook.send(notice("cart hangs"));
        wait_until("the refusal", || webhook.counts().failed == 1);
        assert_eq!(receiver.join().unwrap().len(), 1);
        let expected = "the webhook was not told \"cart hangs\": it answered with the status 404";
        assert_eq!(*said.lock().unwrap(), [expected]);
    }

    #[test]
    fn a_full_queue_drops_and_counts_without_blocking() {
        // Bound, so that connections are taken by the kernel, but never answered.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let webhook =
            Webhook::start(to(&format!("http://{}/", silent.local_addr().unwrap())), |_| ()).unwrap();
        // Nothing would be dropped by one that waits until there is room.
        for number in 0..QUEUE + 10 {
            webhook.send(notice(&number.to_string()));
        }
        assert!(webhook.counts().dropped >= 9);
        drop(silent);
    }

    #[test]
    fn a_notice_goes_over_tls_with_the_token_to_a_certificate_that_is_believed() {
        let authority = Authority::new("ours");
        let server = Server::start(&authority.issue(&["localhost"]), takes);
        let (_file, receiver) = believing(&authority, server.url("https", "/hook"));
        let (webhook, said) = listened(receiver);
        webhook.send(notice("cart hangs"));
        wait_until("the delivery", || webhook.counts().delivered == 1);
        let requests = server.requests();
        assert_eq!(requests[0].line, "POST /hook HTTP/1.1");
        assert_eq!(requests[0].header("authorization"), Some("Bearer canary-token"));
        let body: serde_json::Value = serde_json::from_slice(&requests[0].body).unwrap();
        assert_eq!(body["title"], "cart hangs");
        assert!(said.lock().unwrap().is_empty());
    }

    #[test]
    fn a_certificate_that_is_not_believed_is_a_failed_delivery_and_nothing_was_sent() {
        let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
        let server = Server::start(&theirs.issue(&["localhost"]), takes);
        let (_file, receiver) = believing(&ours, server.url("https", "/canary-path"));
        let (webhook, said) = listened(receiver);
        webhook.send(notice("cart hangs"));
        wait_until("the failure", || webhook.counts().failed == 1);
        let said = said.lock().unwrap().join("\n");
        assert!(said.contains("its certificate is not believed") && said.contains("UnknownIssuer"), "{said}");
        assert!(!said.contains("canary"), "{said}");
        assert_eq!((server.requests(), server.connections()), (Vec::new(), 1));
    }

    #[test]
    fn a_redirect_out_of_tls_is_not_followed() {
        let authority = Authority::new("ours");
        let plain = Server::plain(takes);
        let elsewhere = format!("location: {}\r\n", plain.url("http", "/"));
        let moved = move |_: &Request| answer("302 Found", &elsewhere, "");
        let server = Server::start(&authority.issue(&["localhost"]), moved);
        let (_file, receiver) = believing(&authority, server.url("https", "/hook"));
        let (webhook, said) = listened(receiver);
        webhook.send(notice("cart hangs"));
        wait_until("the failure", || webhook.counts().failed == 1);
        assert!(said.lock().unwrap()[0].ends_with("it answered with the status 302"));
        assert_eq!(plain.connections(), 0);
    }

    #[test]
    fn without_its_token_nothing_is_sent() {
        let authority = Authority::new("ours");
        let server = Server::start(&authority.issue(&["localhost"]), takes);
        let (_file, mut receiver) = believing(&authority, server.url("https", "/hook"));
        let missing = Reference::new("gone", |name| Err(format!("there is no {name}")));
        receiver.peer.credentials = Some(Credentials::Bearer(missing));
        let (webhook, said) = listened(receiver);
        webhook.send(notice("cart hangs"));
        // Its end is waited for no longer: the pause between two tries ends with the owner.
        drop(webhook);
        assert!(said.lock().unwrap()[0].contains("there is no gone"), "{said:?}");
        assert_eq!(server.connections(), 0);
    }

    #[test]
    fn an_address_it_cannot_reach_is_refused_at_start() {
        for url in ["ftp://x/", "nonsense", "https:///hook", "/hook", ""] {
            assert!(matches!(Webhook::start(to(url), |_| ()), Err(WebhookError::Address)), "{url}");
        }
        let (_file, receiver) = believing(&Authority::new("ours"), "http://a.example/hook".to_owned());
        assert!(matches!(Webhook::start(receiver.clone(), |_| ()), Err(WebhookError::InTheClear(_))));
        let by_its_address = |url: &str| to(url).check();
        assert!(matches!(
            by_its_address("http://who:secret@a.example/hook"),
            Err(WebhookError::InTheClear(_))
        ));
        assert!(by_its_address("http://who:secret@127.0.0.1/hook").is_ok());
        let none = Peer { trust: Trust::File("/no/such/file".into()), credentials: None };
        let receiver = Receiver { url: "https://a.example/hook".to_owned(), peer: none };
        assert!(matches!(Webhook::start(receiver, |_| ()), Err(WebhookError::Trust(_))));
    }
}
