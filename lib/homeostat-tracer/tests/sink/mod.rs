//! A receiver of OTLP over HTTP on a plain socket, which decodes with the official types.
//!
//! In: requests. Out: spans, by name, as `opentelemetry-proto` reads them. Answers what the test tells it to.

#![allow(dead_code, reason = "each test uses its part of it")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use homeostat_tracer::{Builder, Sampler, Tracer};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// An answer: status, further headers, body.
pub(crate) type Answer = (u16, &'static str, Vec<u8>);

/// The receiver, with all it has seen.
#[derive(Clone)]
pub(crate) struct Sink {
    address: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    requests: Vec<ExportTraceServiceRequest>,
    headers: Vec<String>,
    arrivals: Vec<Instant>,
    /// Answers to give first; then 200.
    answers: VecDeque<Answer>,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let sink = Self { address, seen };
        let accepting = sink.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let (sink, connection) = (accepting.clone(), connection.unwrap());
                std::thread::spawn(move || sink.serve(&connection));
            }
        });
        sink
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The answers to the next requests.
    pub(crate) fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.seen.lock().unwrap().answers.extend(answers);
    }

    fn serve(&self, connection: &TcpStream) {
        let mut reader = BufReader::new(connection);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).unwrap_or(0) == 0 {
                    return;
                }
            }
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let mut body = vec![0; length.trim().parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            let (status, headers, answer) = self.take(&head, &body);
            let length = answer.len();
            let mut writer = connection;
            write!(writer, "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n").unwrap();
            writer.write_all(&answer).unwrap();
        }
    }

    fn take(&self, head: &str, body: &[u8]) -> Answer {
        let mut unpacked = Vec::new();
        let body = if head.contains("content-encoding: gzip") {
            flate2::read::GzDecoder::new(body).read_to_end(&mut unpacked).unwrap();
            &unpacked
        } else {
            body
        };
        let request = ExportTraceServiceRequest::decode(body).expect("the request is OTLP");
        // Fields the official types do not know would be lost on the way through them.
        assert_eq!(request.encoded_len(), body.len());
        let mut seen = self.seen.lock().unwrap();
        seen.arrivals.push(Instant::now());
        seen.headers.push(head.to_owned());
        let answer = seen.answers.pop_front().unwrap_or((200, "", Vec::new()));
        if answer.0 == 200 {
            seen.requests.push(request);
        }
        answer
    }

    /// When requests came.
    pub(crate) fn arrivals(&self) -> Vec<Instant> {
        self.seen.lock().unwrap().arrivals.clone()
    }

    /// The heads of all requests, in small letters.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen.lock().unwrap().headers.clone()
    }

    /// Every span that was taken.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let seen = self.seen.lock().unwrap();
        let resources = seen.requests.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The only span of this name.
    pub(crate) fn span(&self, name: &str) -> Span {
        let mut spans: Vec<_> = self.spans().into_iter().filter(|span| span.name == name).collect();
        assert_eq!(spans.len(), 1, "spans named {name:?}");
        spans.remove(0)
    }

    /// The attributes of the resource of the first request.
    pub(crate) fn resource(&self) -> Vec<KeyValue> {
        let seen = self.seen.lock().unwrap();
        seen.requests[0].resource_spans[0].resource.clone().unwrap().attributes
    }
}

/// The value of an attribute.
pub(crate) fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Any> {
    let mut found = attributes.iter().filter(|attribute| attribute.key == key);
    let value = found.next()?.value.as_ref()?.value.as_ref();
    assert!(found.next().is_none(), "{key} stands twice");
    value
}

/// A text attribute.
pub(crate) fn text(attributes: &[KeyValue], key: &str) -> String {
    match value(attributes, key) {
        Some(Any::StringValue(text)) => text.clone(),
        other => panic!("{key} is {other:?}"),
    }
}

/// Long enough for a loaded machine; what is waited for comes at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `holds`, and says what was waited for where that takes too long.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A tracer that keeps everything and sends it there.
pub(crate) fn keeping_all(sink: &Sink) -> Tracer {
    builder(sink).sampler(Sampler::Always).build().unwrap()
}

/// Sends to the sink.
pub(crate) fn builder(sink: &Sink) -> Builder {
    Tracer::builder("shop").endpoint(sink.address())
}
