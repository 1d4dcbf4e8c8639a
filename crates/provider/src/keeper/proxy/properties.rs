//! What holds for every byte that passes an HTTP link: what leaves the proxy has one meaning.
//!
//! In: any bytes, as a caller sends them or an instance answers. Out: a panic where a property does not hold.
//! What leaves the proxy is read here by a second, strict reader ([`Message`]) that knows no tolerance: one
//! framing, no folded lines, no bare CR or LF. Where two readers could differ, the proxy must have decided.

mod message;

use domain::infrastructure::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

use super::*;
use crate::SystemClock;
use message::{Framing, Kind, Message};

/// Far above the time limit of an exchange.
const PATIENCE: Duration = Duration::from_secs(20);

/// A larger input says nothing more; it only takes longer.
const LARGE: usize = 32 * 1024;

/// What the instance answers unless it is told otherwise.
const PLAIN: &[u8] = b"a plain answer of the instance";

/// An instance, on a runtime of its own.
struct Stage {
    runtime: Runtime,
    address: SocketAddr,
    play: Arc<Play>,
}

/// What the instance does and saw.
#[derive(Default)]
struct Play {
    /// The first answer; every other is plain.
    first: Mutex<Option<First>>,
    /// The requests that came, as the strict reader read them.
    requests: Mutex<Vec<Message>>,
    /// What it could not read.
    offence: Mutex<Option<String>>,
}

/// An answer, and what becomes of its connection.
struct First {
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Stay,
    Close,
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let play = Arc::new(Play::default());
        let address = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(instance(listener, Arc::clone(&play)));
            address
        });
        Self { runtime, address, play }
    }

    /// Sends all of `input` on one connection to a new proxy and gives what came back; fails where that does
    /// not end, or the instance got what it could not read.
    fn send(&self, input: &[u8], first: Option<First>) -> (Vec<u8>, Vec<Message>) {
        let core = Core::new("front->cart".parse().unwrap(), Arc::new(SystemClock), 1);
        let instance = "cart-0".parse().unwrap();
        core.configure(LinkConfig {
            protocol: Protocol::Http,
            backends: vec![Backend { instance, address: self.address, ready: true, ejected: false }],
            held_open: false,
            faults: Vec::new(),
            check_path: None,
        });
        *lock(&self.play.first) = first;
        lock(&self.play.requests).clear();
        let (_stop, stopped) = watch::channel(None);
        let sent = input.to_vec();
        let answer = self.runtime.block_on(async move {
            let (mine, theirs) = tokio::io::duplex(64 * 1024);
            let session = tokio::spawn(http::session(core, theirs, stopped));
            let (mut reading, mut writing) = tokio::io::split(mine);
            let sending = async move {
                // The proxy may close at once after something it refuses.
                let _ = writing.write_all(&sent).await;
                let _ = writing.shutdown().await;
            };
            let mut answer = Vec::new();
            let both = async { tokio::join!(sending, reading.read_to_end(&mut answer)) };
            let (_, read) = tokio::time::timeout(PATIENCE, both).await.expect("the exchange ends");
            read.expect("a pipe in memory does not break");
            session.await.expect("the session does not panic");
            answer
        });
        let offence = lock(&self.play.offence).take();
        assert_eq!(offence, None, "from {:?}", String::from_utf8_lossy(input));
        (answer, std::mem::take(&mut *lock(&self.play.requests)))
    }
}

/// An instance: reads strictly, answers as the play says.
async fn instance(listener: TcpListener, play: Arc<Play>) {
    while let Ok((stream, _)) = listener.accept().await {
        let play = Arc::clone(&play);
        tokio::spawn(async move {
            // What breaks here is the proxy leaving, as it may.
            let _ = attend(stream, &play).await;
        });
    }
}

async fn attend(mut stream: TcpStream, play: &Play) -> io::Result<()> {
    let mut read = Vec::new();
    loop {
        match Message::read(Kind::Request, &read) {
            Ok(Some((message, length))) => {
                read.drain(..length);
                let bodiless = message.method() == "HEAD";
                lock(&play.requests).push(message);
                let first = lock(&play.first).take();
                let (bytes, then) = match first {
                    Some(First { bytes, then }) => (bytes, then),
                    None => (plain(bodiless), Then::Stay),
                };
                stream.write_all(&bytes).await?;
                if then == Then::Close {
                    return stream.shutdown().await;
                }
            }
            Ok(None) => {
                if stream.read_buf(&mut read).await? == 0 {
                    return Ok(());
                }
            }
            Err(why) => {
                *lock(&play.offence) = Some(format!("{why}: {:?}", String::from_utf8_lossy(&read)));
                return Ok(());
            }
        }
    }
}

fn plain(bodiless: bool) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PLAIN.len());
    [head.as_bytes(), if bodiless { &[] } else { PLAIN }].concat()
}

thread_local! {
    static STAGE: Stage = Stage::new();
}

/// Whatever a caller sends: the instance gets requests with one meaning, no more of them than an eager
/// reader could find, and none after one with two framings.
pub fn proxy_request(input: &[u8]) {
    if input.len() > LARGE {
        return;
    }
    let (answer, requests) = STAGE.with(|stage| stage.send(input, None));
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{:?}", String::from_utf8_lossy(&answer));
    let most = input.windows(7).filter(|part| part == b"HTTP/1.").count();
    assert!(requests.len() <= most, "{} of {most} requests: {requests:?}", requests.len());
    let Some(framing) = Framing::of(input) else { return };
    if framing.is_double() {
        assert!(requests.len() <= 1, "a request after one with two framings: {requests:?}");
    }
    if framing.conflicts() {
        assert!(requests.is_empty(), "two lengths were accepted: {requests:?}");
    }
}

/// Whatever an instance answers: its caller gets one answer with one meaning, and what the instance sent
/// beyond it is never the answer to another request.
pub fn proxy_response(input: &[u8]) {
    const ASK: &[u8] = b"GET /first HTTP/1.1\r\nHost: cart\r\n\r\nGET /second HTTP/1.1\r\nHost: cart\r\n\r\n";
    if input.len() > LARGE || input.windows(PLAIN.len()).any(|part| part == PLAIN) {
        return;
    }
    // An answer that is not at its end is ended by the connection: nothing is waited for.
    let whole = matches!(
        Message::read(Kind::Response, input),
        Ok(Some((message, _))) if !message.closes && message.status() >= 200
    );
    let then = if whole { Then::Stay } else { Then::Close };
    let first = First { bytes: input.to_vec(), then };
    let (answer, _) = STAGE.with(|stage| stage.send(ASK, Some(first)));
    let shown =
        || format!("{:?} from {:?}", String::from_utf8_lossy(&answer), String::from_utf8_lossy(input));
    let read = |bytes: &[u8]| {
        Message::read(Kind::Response, bytes).unwrap_or_else(|why| panic!("{why}: {}", shown()))
    };
    // Where the instance broke off within its answer, so did the proxy.
    let Some((message, length)) = read(&answer) else { return };
    assert!(message.status() >= 200, "an interim answer: {}", shown());
    let Some((second, rest)) = Some(&answer[length..]).filter(|rest| !rest.is_empty()).and_then(read) else {
        return;
    };
    assert!(second.body() == PLAIN || second.status() >= 500, "an answer to no request: {}", shown());
    assert_eq!(length + rest, answer.len(), "a third answer: {}", shown());
}
