//! homeostat-tracer and its peers on the same work, in one run and in turns.
//!
//! In: nothing. Out: a line of JSON for each, with the names of `homeostat bench tracer --json -`. Every peer
//! has an exporter that takes everything and does nothing, its own batching in front of it; ours encodes OTLP
//! as well. The peers take turns within a round, so that a neighbour on the machine disturbs all alike, and
//! each figure is the median over the rounds.
//!
//! What differs and cannot be made the same: fastrace keeps no kinds and no typed values; a queue of
//! opentelemetry_sdk holds 2,048 spans and drops what comes then, which makes it cheaper, not dearer.

mod fast;
mod ours;
mod sdk;
mod subscriber;

use std::hint::black_box;
use std::time::{Duration, Instant};

/// `traceparent` of a parent that was sampled, and of one that was not.
const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const DROPPED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

const ROUNDS: usize = 25;
const TRACES: usize = 100;
const CHILDREN: usize = 100;
const REQUESTS: usize = 2_000;

/// What each can do.
trait Peer {
    fn name(&self) -> &'static str;

    /// A root with children that say nothing.
    fn trace(&self, children: usize);

    /// A root with children of five attributes: three texts, a number and a truth.
    fn trace_with_attributes(&self, children: usize);

    /// A root whose remote parent was not sampled, with children.
    fn dropped(&self, children: usize);

    /// A server span with a remote parent, 18 spans inside, a client span; the header that goes out.
    fn request(&self, traceparent: &str) -> String;
}

/// Nanoseconds by round.
#[derive(Default)]
struct Times {
    span: Vec<f64>,
    attributes: Vec<f64>,
    dropped: Vec<f64>,
    requests: Vec<Duration>,
}

fn main() {
    let peers: [Box<dyn Peer>; 4] = [
        Box::new(ours::Ours::new()),
        Box::new(fast::Fast::new()),
        Box::new(sdk::Sdk::new()),
        Box::new(subscriber::Subscriber::new()),
    ];
    let mut times: Vec<Times> = peers.iter().map(|_| Times::default()).collect();
    for _ in 0..ROUNDS {
        for (peer, times) in peers.iter().zip(&mut times) {
            times.span.push(per_span(|| peer.trace(CHILDREN)));
            times.attributes.push(per_span(|| peer.trace_with_attributes(CHILDREN)));
            times.dropped.push(per_span(|| peer.dropped(CHILDREN)));
            for _ in 0..REQUESTS {
                let started = Instant::now();
                black_box(peer.request(black_box(SAMPLED)));
                times.requests.push(started.elapsed());
            }
        }
    }
    for (peer, times) in peers.iter().zip(&mut times) {
        print(peer.name(), times);
    }
}

fn per_span(mut trace: impl FnMut()) -> f64 {
    let started = Instant::now();
    (0..TRACES).for_each(|_| trace());
    started.elapsed().as_nanos() as f64 / (TRACES * CHILDREN) as f64
}

fn print(name: &str, times: &mut Times) {
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    times.requests.sort();
    let at = |share: f64| {
        let place = (times.requests.len() as f64 * share) as usize;
        times.requests[place].as_nanos() as f64 / 1e3
    };
    println!(
        "{{\"tracer\":\"{name}\",\"span_ns\":{:.1},\"span_5_attributes_ns\":{:.1},\"unsampled_ns\":{:.2},\
         \"request_20_spans\":{{\"p50_us\":{:.3},\"p95_us\":{:.3}}}}}",
        median(&mut times.span),
        median(&mut times.attributes),
        median(&mut times.dropped),
        at(0.5),
        at(0.95),
    );
}
