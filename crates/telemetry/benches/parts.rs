//! What each step of taking in spans costs, in nanoseconds a span.
//!
//! Corpus: requests of 512 spans of about 420 bytes with ten attributes (seven texts, one of them unique; three
//! integers), eight resource attributes, traces of eight spans. Run: `cargo bench -p telemetry --features bench`.

#[path = "../src/fixture/message.rs"]
mod message;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use message::{Message, int, text};
use telemetry::bench::Parts;

const SPANS: u64 = 512;

/// A number that looks random and is the same in every run.
fn mixed(n: u64) -> u64 {
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

fn span(n: u64) -> Message {
    let trace = n / 8;
    let start = 1_760_000_000_000_000_000 + n * 1_000;
    let route = ["/api/v1/products/{id}", "/api/v1/cart/{user}", "/api/v1/checkout"][(n % 3) as usize];
    let id = format!("{:016x}", mixed(n ^ 0xabcd));
    let mut trace_id = mixed(trace).to_be_bytes().to_vec();
    trace_id.extend(mixed(!trace).to_be_bytes());
    let mut span = Message::default().bytes(1, &trace_id).bytes(2, mixed(n + 1).to_be_bytes());
    if !n.is_multiple_of(8) {
        span = span.bytes(4, mixed(n).to_be_bytes());
    }
    span.bytes(5, format!("GET {route}"))
        .varint(6, 2 + n % 2)
        .fixed64(7, start)
        .fixed64(8, start + 100_000 + mixed(n) % 50_000_000)
        .message(9, text("http.request.method", "GET"))
        .message(9, text("http.route", route))
        .message(9, text("url.scheme", "https"))
        .message(9, text("server.address", ["shop.example.com", "api.example.com"][(n % 2) as usize]))
        .message(9, text("network.protocol.version", "1.1"))
        .message(9, text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64)"))
        .message(9, text("request.id", &id))
        .message(9, int("http.response.status_code", if mixed(n).is_multiple_of(50) { 500 } else { 200 }))
        .message(9, int("server.port", 8443))
        .message(9, int("http.response.body.size", 200 + mixed(n) % 9_000))
        .bytes(15, [])
}

fn request(first: u64) -> Vec<u8> {
    let mut resource = Message::default();
    for (key, value) in [
        ("service.name", "catalogue"),
        ("service.version", "1.42.0"),
        ("service.namespace", "shop"),
        ("deployment.environment.name", "production"),
        ("host.name", "node-7.eu-west-1"),
        ("k8s.pod.name", "catalogue-7d9f8b6c5-x2x9p"),
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.version", "0.33.0"),
    ] {
        resource = resource.message(1, text(key, value));
    }
    let scope = Message::default().bytes(1, "shop.http").bytes(2, "2.1.0");
    let mut scoped = Message::default().message(1, scope);
    for n in first..first + SPANS {
        scoped = scoped.message(2, span(n));
    }
    Message::default().message(1, Message::default().message(1, resource).message(2, scoped)).0
}

fn parts(criterion: &mut Criterion) {
    let requests: Vec<Vec<u8>> = (0..16).map(|i| request(i * SPANS)).collect();
    let bytes: usize = requests.iter().map(Vec::len).sum();
    let spans = SPANS * requests.len() as u64;
    eprintln!("{} bytes a span as OTLP", bytes as u64 / spans);
    let mut group = criterion.benchmark_group("spans");
    group.throughput(Throughput::Elements(spans));
    group.bench_function("walk into columns", |bencher| {
        let mut parts = Parts::default();
        bencher.iter(|| {
            requests.iter().for_each(|request| parts.walk(black_box(request)));
            parts.clear();
        });
    });
    group.bench_function("encode a block", |bencher| {
        let mut parts = Parts::default();
        for _ in 0..2 {
            // The second batch knows which values repeat, as all but the first do.
            parts.clear();
            requests.iter().for_each(|request| parts.walk(request));
        }
        eprintln!("{} bytes a span as a block", parts.encode() as u64 / spans);
        bencher.iter(|| black_box(parts.encode()));
    });
    group.bench_function("decode a block", |bencher| {
        let mut parts = Parts::default();
        requests.iter().for_each(|request| parts.walk(request));
        parts.encode();
        bencher.iter(|| black_box(parts.decode()));
    });
    group.bench_function("derive", |bencher| {
        let mut parts = Parts::default();
        requests.iter().for_each(|request| parts.walk(request));
        bencher.iter(|| parts.derive());
    });
    group.bench_function("derive, all calls to what sends no spans", |bencher| {
        let mut parts = Parts::default();
        requests.iter().for_each(|request| parts.walk(request));
        parts.call_out();
        // Those that wait fill their table.
        (0..100).for_each(|_| parts.derive());
        bencher.iter(|| parts.derive());
    });
    group.finish();
}

criterion_group!(benches, parts);
criterion_main!(benches);
