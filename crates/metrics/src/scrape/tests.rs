//! Targets that answer rightly and wrongly, and what is stored of them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use domain::{Clock, Time};
use promql::{Labels, Sample, Value};

use super::{Config, Health, Scraper, Target, TargetError};
use crate::wire::STALE_BITS;
use crate::{Admission, Appending, Batch, MetricSink, Refusal};

mod tls;

/// How long an effect may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// Keeps every batch, or refuses it.
#[derive(Default)]
struct Recorder {
    batches: Mutex<Vec<(String, Batch)>>,
    refuses: AtomicBool,
}

impl MetricSink for Recorder {
    fn append(&self, source: &str, batch: Batch) -> Appending {
        if self.refuses.load(Ordering::Relaxed) {
            return Box::pin(std::future::ready(Err(Refusal::Closing)));
        }
        self.batches.lock().expect("no test panics with it").push((source.to_owned(), batch));
        Box::pin(std::future::ready(Ok(Admission::default())))
    }
}

impl Recorder {
    /// The values of each series, in the order they came.
    fn values(&self) -> HashMap<Labels, Vec<f64>> {
        let mut values: HashMap<Labels, Vec<f64>> = HashMap::new();
        for (_, batch) in &*self.batches.lock().expect("no test panics with it") {
            for (labels, samples) in &batch.series {
                let floats = samples.iter().map(|Sample { value, .. }| match value {
                    Value::Float(value) => *value,
                    Value::Histogram(_) => panic!("text has none"),
                });
                values.entry(labels.clone()).or_default().extend(floats);
            }
        }
        values
    }

    fn of(&self, name: &str) -> Vec<f64> {
        self.values()
            .into_iter()
            .filter(|(labels, _)| labels.get("__name__") == name)
            .flat_map(|(_, v)| v)
            .collect()
    }
}

/// The machine's clocks, as far as a test needs them.
struct Clocks(Instant);

impl Clock for Clocks {
    fn now(&self) -> Time {
        let us = self.0.elapsed().as_micros() as u64;
        Time { boot_us: us, wall_us: 1_760_000_000_000_000 + us as i64 }
    }

    fn wait(&self, _: Duration) {
        unreachable!("a scraper waits for targets, not for time");
    }
}

/// What a server answers to one request: bytes as they are.
type Answer = Vec<u8>;

/// A server that gives its answers in their order, the last one for ever.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
        let over = Arc::new(AtomicBool::new(false));
        let (seen, given, ends) = (Arc::clone(&requests), Arc::clone(&answers), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let answer = {
                    let mut given = given.lock().expect("no test panics with it");
                    if given.len() > 1 { given.pop_front() } else { given.front().cloned() }
                };
                serve(stream, &seen, answer.unwrap_or_default());
            }
        });
        Self { address, requests, answers, over, thread: Some(thread) }
    }

    fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    fn answer(&self, answer: Answer) {
        *self.answers.lock().expect("no test panics with it") = VecDeque::from([answer]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads the head of a request and answers. An empty answer is none: the connection stays open until the other end goes.
fn serve(mut stream: TcpStream, requests: &Mutex<Vec<String>>, answer: Answer) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    requests.lock().expect("no test panics with it").push(String::from_utf8_lossy(&head).into_owned());
    if answer.is_empty() {
        let _ = stream.read(&mut byte);
        return;
    }
    let _ = stream.write_all(&answer);
}

fn http(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Answer {
    let body = body.as_ref();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn page(text: &str) -> Answer {
    http("200 OK", "content-type: text/plain; version=0.0.4\r\n", text)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn scraper() -> (Scraper, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let sink: Arc<dyn MetricSink> = Arc::clone(&recorder) as _;
    let config = Config { threads: 2, ..Config::default() };
    let scraper = Scraper::start(&config, sink, Arc::new(Clocks(Instant::now()))).expect("threads");
    (scraper, recorder)
}

/// A target asked as often as may be.
fn target(url: &str) -> Target {
    // Not less: a machine may stand still for a second, and no answer in time is a target that is down.
    let often = Duration::from_secs(2);
    Target { interval: often, timeout: often, ..Target::new("test", url) }
}

/// The error of the only target, once it is down.
fn error_of(scraper: &Scraper) -> String {
    until("the target going down", || {
        let [state] = &scraper.targets()[..] else { panic!("one target") };
        (state.health == Health::Down).then(|| state.error.clone().expect("a reason"))
    })
}

#[test]
fn a_page_is_stored_with_the_targets_labels_and_what_is_told_of_it() {
    let server = Server::start([page("# TYPE a counter\na{b=\"c\"} 7\nd 8\n")]);
    let (scraper, recorder) = scraper();
    let labels = BTreeMap::from([("zone".to_owned(), "z1".to_owned())]);
    scraper.set_targets(vec![Target { labels, ..target(&server.url()) }]).expect("a target");
    until("scraping twice", || (recorder.of("up").len() >= 2).then_some(()));
    scraper.shutdown();
    let instance = server.address.to_string();
    let own = [("job", "test"), ("instance", &*instance), ("zone", "z1")];
    let labels = |name, more: &[(&str, &str)]| {
        Labels::new(own.iter().copied().chain([("__name__", name)]).chain(more.iter().copied()))
    };
    let values = recorder.values();
    assert_eq!(values[&labels("a", &[("b", "c")])][..2], [7.0, 7.0]);
    assert_eq!(values[&labels("d", &[])][..2], [8.0, 8.0]);
    assert_eq!(values[&labels("up", &[])][..2], [1.0, 1.0]);
    assert_eq!(values[&labels("scrape_samples_scraped", &[])][..2], [2.0, 2.0]);
    assert!(values[&labels("scrape_duration_seconds", &[])].iter().all(|&took| took > 0.0 && took < 10.0));
    let batches = recorder.batches.lock().expect("no test panics with it");
    assert_eq!(batches[0].0, "scrape/test");
    assert_eq!(batches[0].1.metadata[0].0, "a");
    let times: Vec<i64> = batches.iter().map(|(_, batch)| batch.series[0].1[0].at_ms).collect();
    assert!(times[1] - times[0] >= 200, "one interval after the other: {times:?}");
}

#[test]
fn a_target_is_asked_for_what_can_be_read() {
    let packed =
        http("200 OK", "content-type: text/plain\r\ncontent-encoding: gzip\r\n", gzip(b"packed 1\n"));
    let server = Server::start([packed]);
    let (scraper, recorder) = scraper();
    scraper.set_targets(vec![target(&server.url())]).expect("a target");
    until("scraping", || recorder.of("packed").first().copied());
    scraper.shutdown();
    let request = server.requests.lock().expect("no test panics with it")[0].to_ascii_lowercase();
    for header in [
        "get /metrics http/1.1\r\n",
        "accept: application/openmetrics-text;version=1.0.0;",
        "text/plain;version=0.0.4;",
        "accept-encoding: gzip\r\n",
        "x-prometheus-scrape-timeout-seconds: 2\r\n",
        "user-agent: homeostat/",
    ] {
        assert!(request.contains(header), "{header} in {request}");
    }
}

#[test]
fn what_ends_gets_a_marker_and_a_target_that_is_down_ends_all() {
    let server = Server::start([page("a 1\nb 2\n"), page("a 1\n"), http("500 Oh", "", "")]);
    let (scraper, recorder) = scraper();
    scraper.set_targets(vec![target(&server.url())]).expect("a target");
    until("three scrapes", || (recorder.of("up").len() >= 4).then_some(()));
    let ended = |values: &[f64], at: usize| values.len() == at + 1 && values[at].to_bits() == STALE_BITS;
    assert!(ended(&recorder.of("a"), 2), "{:?}", recorder.of("a"));
    assert!(ended(&recorder.of("b"), 1), "{:?}", recorder.of("b"));
    assert_eq!(recorder.of("up")[..4], [1.0, 1.0, 0.0, 0.0]);
    assert_eq!(recorder.of("scrape_samples_scraped")[..3], [2.0, 1.0, 0.0]);
    assert_eq!(error_of(&scraper), "it answered with the status 500");
    server.answer(page("a 3\n"));
    until("recovery", || (scraper.targets()[0].health == Health::Up).then_some(()));
    assert_eq!(recorder.of("a").last(), Some(&3.0));
    assert_eq!(scraper.targets()[0].error, None);
}

#[test]
fn wrong_answers_are_a_target_that_is_down_with_the_reason() {
    let text = "content-type: text/plain\r\n";
    let bomb = gzip(&vec![b'#'; 20 << 20]);
    let cases = [
        (http("404 Not Found", text, "a 1\n"), "it answered with the status 404"),
        (http("200 OK", "content-type: text/html\r\n", "<html>"), "the content type \"text/html\""),
        (http("200 OK", "", "a 1\n"), "the content type \"\""),
        (http("200 OK", &format!("{text}content-encoding: br\r\n"), "a 1\n"), "the encoding \"br\""),
        (http("200 OK", &format!("{text}content-encoding: gzip\r\n"), "a 1\n"), "cannot be read to its end"),
        (
            http("200 OK", &format!("{text}content-encoding: gzip\r\n"), bomb),
            "the page has more than 16777216 bytes",
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 99\r\n\r\na 1\n".to_vec(),
            "cannot be read to its end",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "cannot fetch it"),
        (http("200 OK", text, "a 1\nb{ 1\n"), "line 2, column 4: expected the name of a label"),
        (
            http("200 OK", "content-type: application/openmetrics-text\r\n", "a 1\n"),
            "does not end with # EOF",
        ),
        (Vec::new(), "cannot fetch it: timeout"),
    ];
    let servers: Vec<Server> = cases.iter().map(|(answer, _)| Server::start([answer.clone()])).collect();
    let (scraper, recorder) = scraper();
    // Unpacking 20 MiB takes a while in a debug build.
    let timeout = Duration::from_secs(5);
    let targets = servers.iter().map(|server| Target { interval: timeout, timeout, ..target(&server.url()) });
    scraper.set_targets(targets.collect()).expect("targets");
    let states = until("all of them going down", || {
        let states = scraper.targets();
        states.iter().all(|state| state.health == Health::Down).then_some(states)
    });
    for (server, (_, reason)) in servers.iter().zip(&cases) {
        let state = states.iter().find(|state| state.target.url == server.url()).expect("it is one of them");
        let error = state.error.as_deref().unwrap_or_default();
        assert!(error.contains(reason), "{reason}: {error}");
    }
    assert!(recorder.of("up").iter().all(|&up| up == 0.0) && recorder.of("a").is_empty());
}

#[test]
fn a_target_nobody_listens_at_is_down() {
    let (scraper, recorder) = scraper();
    // The port of `tcpmux`, which is given to nobody who asks for any.
    scraper.set_targets(vec![target("http://127.0.0.1:1/metrics")]).expect("a target");
    assert!(error_of(&scraper).starts_with("cannot fetch it: "));
    assert_eq!(recorder.of("up")[0], 0.0);
}

#[test]
fn a_page_with_too_many_samples_fails() {
    let server = Server::start([page("a 1\nb 2\nc 3\n")]);
    let (scraper, recorder) = scraper();
    scraper.set_targets(vec![Target { samples_max: 2, ..target(&server.url()) }]).expect("a target");
    assert_eq!(error_of(&scraper), "line 3, column 1: the page has more than 2 samples");
    assert!(recorder.of("a").is_empty());
}

#[test]
fn a_slow_target_does_not_hold_up_another() {
    let (slow, fast) = (Server::start([Vec::new()]), Server::start([page("a 1\n")]));
    let (scraper, recorder) = scraper();
    scraper.set_targets(vec![target(&slow.url()), target(&fast.url())]).expect("targets");
    until("scraping the fast one", || (recorder.of("a").len() >= 4).then_some(()));
    let names: Vec<u16> = recorder.of("up").iter().map(|&up| up as u16).collect();
    assert!(names.contains(&0) && names.contains(&1), "{names:?}");
}

#[test]
fn targets_come_and_go_and_those_that_stay_go_on() {
    let (one, two) = (Server::start([page("one 1\n")]), Server::start([page("two 2\n")]));
    let (scraper, recorder) = scraper();
    let (stays, goes) = (target(&one.url()), target(&two.url()));
    scraper.set_targets(vec![stays.clone(), goes]).expect("targets");
    until("scraping both", || (recorder.of("one").len() > 1 && recorder.of("two").len() > 1).then_some(()));
    scraper.set_targets(vec![stays]).expect("a target");
    until("the end of the other", || {
        recorder.of("two").last().filter(|last| last.to_bits() == STALE_BITS).copied()
    });
    let ups = || recorder.values().into_iter().filter(|(labels, _)| labels.get("__name__") == "up");
    let of = |address: SocketAddr| {
        ups().find(|(labels, _)| labels.get("instance") == address.to_string()).expect("it was scraped").1
    };
    let ended = of(two.address);
    assert_eq!(ended.last().map(|last| last.to_bits()), Some(STALE_BITS), "what was told of it ends too");
    let before = recorder.of("one").len();
    until("going on", || (recorder.of("one").len() > before + 1).then_some(()));
    assert!(recorder.of("one").iter().all(|&value| value == 1.0), "it never ended");
    assert_eq!(of(two.address).len(), ended.len(), "and the other was not asked again");
    assert_eq!(scraper.targets().len(), 1);
}

#[test]
fn a_page_that_is_not_stored_is_told() {
    let server = Server::start([page("a 1\n")]);
    let (scraper, recorder) = scraper();
    recorder.refuses.store(true, Ordering::Relaxed);
    scraper.set_targets(vec![target(&server.url())]).expect("a target");
    let error = until("a complaint", || scraper.targets()[0].error.clone());
    assert_eq!(error, format!("the page was not stored: {}", Refusal::Closing));
}

#[test]
fn what_cannot_be_a_target_is_refused_and_nothing_changes() {
    let (scraper, _) = scraper();
    let good = target("http://127.0.0.1:9/metrics");
    scraper.set_targets(vec![good.clone()]).expect("a target");
    let refused = |target: Target| scraper.set_targets(vec![target]).expect_err("no target");
    for url in ["https:///metrics", "ftp://x/", "/metrics", "", "http://", "http://user@x/", "not an address"]
    {
        let error = refused(Target { url: url.to_owned(), ..good.clone() });
        assert!(matches!(error, TargetError::Address { .. }), "{url}: {error}");
    }
    let (short, long) = (Duration::from_millis(99), Duration::from_secs(1));
    for (interval, timeout) in [(short, short), (long, 2 * long), (long, Duration::ZERO)] {
        let error = refused(Target { interval, timeout, ..good.clone() });
        assert!(matches!(error, TargetError::Times { .. }), "{error}");
    }
    for label in ["job", "__name__", "", "a-b", "1a"] {
        let labels = BTreeMap::from([(label.to_owned(), "x".to_owned())]);
        let error = refused(Target { labels, ..good.clone() });
        assert!(matches!(error, TargetError::Label { .. }), "{error}");
    }
    let twice =
        scraper.set_targets(vec![good.clone(), Target { interval: 2 * good.interval, ..good.clone() }]);
    assert!(matches!(twice, Err(TargetError::Twice { .. })));
    let states = scraper.targets();
    assert_eq!((states.len(), &states[0].target), (1, &good));
    assert_eq!(states[0].labels["instance"], "127.0.0.1:9");
}
