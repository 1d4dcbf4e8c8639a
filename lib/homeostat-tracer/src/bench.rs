//! How long a span takes on this machine: for programs that want to say it, and for comparing changes.
//!
//! In: rounds of work on the calling thread. Out: nanoseconds. The tracer exports to nowhere: its transport
//! takes every request at once, but everything before that is what a service pays, the queue and the export
//! threads' share of the processor included.

pub mod settling;

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::propagation::{self, Extract, Inject};
use crate::{BuildError, Delivery, Kind, Sampler, Tracer, Transport, Value, span};

/// What [`measure`] found; each figure is the median over its rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// A local span from begin to end, in nanoseconds: one of 100 children of a root, the root's end and the
    /// hand-over included in its share.
    pub span_ns: f64,
    /// The same with five attributes: three texts, a number and a truth.
    pub span_5_attributes_ns: f64,
    /// A span where a remote parent has dropped the trace.
    pub unsampled_ns: f64,
    /// A request of 20 spans with W3C headers in and out, in microseconds.
    pub request_20_spans: Percentiles,
}

/// The middle and the slow end of single requests, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentiles {
    /// Half of them took longer.
    pub p50_us: f64,
    /// One in twenty took longer.
    pub p95_us: f64,
}

impl Report {
    /// `{"span_ns":…,"span_5_attributes_ns":…,"unsampled_ns":…,"request_20_spans":{"p50_us":…,"p95_us":…}}`.
    pub fn json(&self) -> String {
        format!(
            "{{\"span_ns\":{:.1},\"span_5_attributes_ns\":{:.1},\"unsampled_ns\":{:.2},\
             \"request_20_spans\":{{\"p50_us\":{:.3},\"p95_us\":{:.3}}}}}",
            self.span_ns,
            self.span_5_attributes_ns,
            self.unsampled_ns,
            self.request_20_spans.p50_us,
            self.request_20_spans.p95_us,
        )
    }
}

/// Takes every request.
struct Nowhere;

impl Transport for Nowhere {
    fn send(&self, _request: &[u8]) -> Delivery {
        Delivery::Accepted { rejected: 0 }
    }
}

/// Rounds of each figure; the median is taken.
const ROUNDS: usize = 15;

/// Local traces in a round, of [`CHILDREN`] spans each.
const TRACES: usize = 200;
const CHILDREN: usize = 100;

/// Single requests that are timed.
const REQUESTS: usize = 20_000;

/// Measures for about a second, on one thread; other threads of the machine make it slower.
///
/// # Errors
///
/// Where no tracer can be built.
pub fn measure() -> Result<Report, BuildError> {
    let keeps_all = Tracer::builder("bench").sampler(Sampler::Always).transport(Nowhere).build()?;
    let adaptive = Tracer::builder("bench").sampler(Sampler::adaptive()).transport(Nowhere).build()?;
    let spans = (TRACES * CHILDREN) as f64;
    let report = Report {
        span_ns: median_ns(|| traces(&keeps_all, plain)) / spans,
        span_5_attributes_ns: median_ns(|| traces(&keeps_all, with_attributes)) / spans,
        unsampled_ns: median_ns(|| unsampled(&adaptive)) / spans,
        request_20_spans: requests(&adaptive),
    };
    // Everything that was exported went nowhere: nothing is lost by a deadline.
    let _ = keeps_all.shutdown(Duration::from_secs(1));
    let _ = adaptive.shutdown(Duration::from_secs(1));
    Ok(report)
}

fn median_ns(mut round: impl FnMut()) -> f64 {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            round();
            started.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2].as_nanos() as f64
}

fn traces(tracer: &Tracer, child: fn()) {
    for _ in 0..TRACES {
        let _root = tracer.root("root").enter();
        (0..CHILDREN).for_each(|_| child());
    }
}

fn plain() {
    let _span = black_box(span("child"));
}

fn with_attributes() {
    let span = span("child");
    span.attributes(black_box(&[
        ("http.request.method", Value::Static("GET")),
        ("url.path", Value::Text("/cart/items/17")),
        ("server.address", Value::Text("cart.internal")),
        ("http.response.status_code", Value::I64(200)),
        ("cache.hit", Value::Bool(true)),
    ]));
}

/// The parent said "not sampled": the sampler obeys, the root is in scope and records nothing.
fn unsampled(tracer: &Tracer) {
    let headers = Headers::new("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
    for _ in 0..TRACES {
        let _root = tracer.root("root").parent(propagation::extract(&headers)).enter();
        (0..CHILDREN).for_each(|_| plain());
    }
}

fn requests(tracer: &Tracer) -> Percentiles {
    let incoming = Headers::new("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let mut outgoing = Headers::default();
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let started = Instant::now();
        request(tracer, &incoming, &mut outgoing);
        times.push(started.elapsed());
        black_box(&outgoing);
    }
    times.sort();
    let at = |share: f64| times[(REQUESTS as f64 * share) as usize].as_nanos() as f64 / 1e3;
    Percentiles { p50_us: at(0.5), p95_us: at(0.95) }
}

/// One server span, 18 inside, one client span whose context goes out.
fn request(tracer: &Tracer, incoming: &Headers, outgoing: &mut Headers) {
    let server = tracer.root("GET /cart").kind(Kind::Server).parent(propagation::extract(incoming)).enter();
    server.attribute("http.request.method", Value::Static("GET"));
    (0..18).for_each(|_| plain());
    let _client = span("GET /price").kind(Kind::Client);
    propagation::inject(outgoing);
}

/// Two headers in place: what is measured is the tracer and not a map.
#[derive(Debug, Default)]
struct Headers {
    parent: String,
    state: String,
}

impl Headers {
    fn new(parent: &str) -> Self {
        Self { parent: parent.to_owned(), state: String::new() }
    }
}

impl Extract for Headers {
    fn each(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        match name {
            "traceparent" => each(self.parent.as_bytes()),
            "tracestate" if !self.state.is_empty() => each(self.state.as_bytes()),
            _ => {}
        }
    }
}

impl Inject for Headers {
    fn set(&mut self, name: &'static str, value: &str) {
        let place = if name == "traceparent" { &mut self.parent } else { &mut self.state };
        place.clear();
        place.push_str(value);
    }
}
