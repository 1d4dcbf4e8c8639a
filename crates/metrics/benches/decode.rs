//! What it costs to decode what senders send, in nanoseconds a sample.
//!
//! Corpus: 100,000 series of ten labels with about 260 bytes (a node-exporter's and a service's, over 50 instances), one
//! sample each, 2,000 series a request, packed with snappy as Prometheus sends them; the same as OTLP in requests of 2,000
//! data points; pages of 1,000 series. "Known" are series that came before, as all but the first of each are; "new" ones
//! come to a decoder that has not seen them. Run: `cargo bench -p metrics --features bench`.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use metrics::wire::fixture::{Message, Symbols, sample_of, series_v1, text};
use metrics::wire::remote::{self, Version};
use metrics::wire::text::{Format, HonorLabels, TargetDecoder};
use metrics::wire::{Limits, otlp};

const SERIES: u64 = 100_000;
const REQUEST: u64 = 2_000;
const T: i64 = 1_760_000_000_000;

/// A number that looks random and is the same in every run.
fn mixed(n: u64) -> u64 {
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

/// The labels of series `n`, sorted.
fn labels(n: u64) -> Vec<(&'static str, String)> {
    let instance = n / 2_000;
    vec![
        ("__name__", format!("http_server_request_duration_seconds_{}", n % 40)),
        ("cluster", "eu-west-1-production".to_owned()),
        ("code", ["200", "204", "404", "500"][(n / 40 % 4) as usize].to_owned()),
        ("container", "catalogue".to_owned()),
        ("instance", format!("10.12.{}.{}:9100", instance / 256, instance % 256)),
        ("job", "kubernetes-pods".to_owned()),
        ("method", ["GET", "POST"][(n / 160 % 2) as usize].to_owned()),
        ("namespace", "shop".to_owned()),
        ("pod", format!("catalogue-7d9f8b6c5-{:05x}", mixed(instance) & 0xf_ffff)),
        ("route", format!("/api/v1/products/{}", n / 320 % 7)),
    ]
}

fn borrowed<'l>(labels: &'l [(&'static str, String)]) -> Vec<(&'l str, &'l str)> {
    labels.iter().map(|(name, value)| (*name, &**value)).collect()
}

fn value(n: u64) -> f64 {
    (mixed(n) % 1_000_000) as f64 / 1000.0
}

fn packed(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).expect("it is not long")
}

fn request_v1(first: u64) -> Vec<u8> {
    let series = (first..first + REQUEST).map(|n| series_v1(&borrowed(&labels(n)), &[(value(n), T)]));
    packed(&series.fold(Message::new(), |request, series| request.message(1, series)).0)
}

fn request_v2(first: u64) -> Vec<u8> {
    let mut symbols = Symbols::default();
    let series: Vec<Message> = (first..first + REQUEST)
        .map(|n| {
            let labels = symbols.labels(&borrowed(&labels(n)));
            let metadata = Message::new().varint(1, 1).varint(3, symbols.of(&format!("What {} is", n % 40)));
            let sample = sample_of((value(n), T)).varint(3, T as u64 - 60_000);
            Message::new().packed(1, labels).message(2, sample).message(5, metadata)
        })
        .collect();
    packed(&symbols.request(series))
}

fn request_otlp(first: u64) -> Vec<u8> {
    let instance = labels(first);
    let resource =
        [("service.name", 5), ("service.instance.id", 4), ("k8s.pod.name", 8), ("k8s.cluster.name", 1)];
    let resource = resource
        .into_iter()
        .fold(Message::new(), |message, (key, at)| message.message(1, text(key, &instance[at].1)));
    let metrics = (0..40).map(|metric| {
        let points = (first..first + REQUEST).filter(|n| n % 40 == metric).map(|n| {
            let all = labels(n);
            let attributes =
                [("http.response.status_code", 2), ("http.request.method", 6), ("http.route", 9)];
            let point = attributes
                .into_iter()
                .fold(Message::new(), |message, (key, at)| message.message(7, text(key, &all[at].1)));
            point.fixed64(3, T as u64 * 1_000_000).double(4, value(n))
        });
        let data =
            points.fold(Message::new(), |data, point| data.message(1, point)).varint(2, 2).varint(3, 1);
        Message::new().bytes(1, format!("http.server.request.{metric}")).bytes(3, "s").message(7, data)
    });
    let scope = metrics.fold(Message::new(), |scope, metric| scope.message(2, metric));
    Message::new().message(1, Message::new().message(1, resource).message(2, scope)).0
}

fn page() -> String {
    let mut page = String::new();
    for metric in 0..40 {
        let _ =
            writeln!(page, "# HELP http_requests_{metric} How many\n# TYPE http_requests_{metric} counter");
        for n in (0..1_000).filter(|n| n % 40 == metric) {
            let all = labels(n);
            let shown: Vec<String> = [2, 6, 9].map(|at| format!("{}=\"{}\"", all[at].0, all[at].1)).into();
            let _ = writeln!(page, "http_requests_{metric}{{{},n=\"{n}\"}} {}", shown.join(","), value(n));
        }
    }
    page
}

fn remote_write(criterion: &mut Criterion) {
    for (name, version, request) in [
        ("remote-write 1", Version::V1, request_v1 as fn(u64) -> Vec<u8>),
        ("remote-write 2", Version::V2, request_v2 as fn(u64) -> Vec<u8>),
    ] {
        let requests: Vec<Vec<u8>> = (0..SERIES / REQUEST).map(|at| request(at * REQUEST)).collect();
        let bytes: usize = requests.iter().map(Vec::len).sum();
        eprintln!("{name}: {:.1} bytes a sample, packed", bytes as f64 / SERIES as f64);
        let decode = |decoder: &mut remote::Decoder| {
            for request in &requests {
                let decoded = decoder.decode(version, black_box(request)).expect("a request of ours");
                assert_eq!(decoded.batch.series.len() as u64, REQUEST);
                black_box(decoded);
            }
        };
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(SERIES)).sample_size(20);
        group.bench_function("known", |bencher| {
            let mut decoder = remote::Decoder::new(Limits::default());
            decode(&mut decoder);
            bencher.iter(|| decode(&mut decoder));
        });
        group.bench_function("new", |bencher| {
            bencher.iter_batched(
                remote::Decoder::default,
                |mut decoder| {
                    decode(&mut decoder);
                    decoder
                },
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

fn otlp_metrics(criterion: &mut Criterion) {
    let requests: Vec<Vec<u8>> = (0..SERIES / REQUEST).map(|at| request_otlp(at * REQUEST)).collect();
    let mut group = criterion.benchmark_group("OTLP");
    group.throughput(Throughput::Elements(SERIES)).sample_size(20);
    group.bench_function("known", |bencher| {
        let mut decoder = otlp::Decoder::default();
        let mut decode = || {
            for request in &requests {
                let decoded = decoder.decode(black_box(request)).expect("a request of ours");
                assert_eq!(decoded.points, REQUEST);
                black_box(decoded);
            }
        };
        decode();
        bencher.iter(decode);
    });
    group.finish();
}

fn scraped(criterion: &mut Criterion) {
    let page = page();
    let mut group = criterion.benchmark_group("text");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("known", |bencher| {
        let target = [("job", "catalogue"), ("instance", "10.12.0.1:9100")];
        let mut decoder = TargetDecoder::new(Limits::default(), target, HonorLabels::No);
        bencher.iter(|| {
            let decoded =
                decoder.decode(Format::Prometheus, black_box(page.as_bytes()), T).expect("a page of ours");
            assert_eq!(decoded.batch.series.len(), 1_000);
            black_box(decoded)
        });
    });
    group.finish();
}

criterion_group!(benches, remote_write, otlp_metrics, scraped);
criterion_main!(benches);
