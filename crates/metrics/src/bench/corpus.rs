//! Series shaped like those of a machine that node-exporter and a service speak for, made from a seed.
//!
//! Which kinds there are and how many of each follows what node-exporter 1.8 shows on a small server: most of it stands
//! still most of the time; counters of events rise by noise, CPU seconds by hundredths, memory moves by pages.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use promql::{Labels, Sample, Value};

use crate::{Batch, lock};

/// Series of a target.
pub(super) const SERIES: usize = 1000;

/// The series of a target, in words.
pub const SHAPE: &str = "430 that stand still, 120 counters that seldom rise, 150 buckets of latencies, 100 \
     counters of events, 64 of CPU seconds (hundredths), 60 of bytes (bursts of sectors or packets), 40 gauges of memory \
     (pages), 20 small gauges, 10 of seconds stalled (millionths), 4 of load and CPU (hundredths), 2 of durations and \
     times (nanoseconds)";

/// How a series moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Still,
    Seldom,
    Bucket,
    Events,
    CpuSeconds,
    Bytes,
    Memory,
    Small,
    Stalled,
    Load,
    Nanoseconds,
}

/// How many of each; [`SERIES`] together.
const KINDS: [(Kind, &str, usize); 11] = [
    (Kind::Still, "node_still", 430),
    (Kind::Seldom, "node_netstat_total", 120),
    (Kind::Bucket, "http_request_duration_seconds_bucket", 150),
    (Kind::Events, "node_events_total", 100),
    (Kind::CpuSeconds, "node_cpu_seconds_total", 64),
    (Kind::Bytes, "node_bytes_total", 60),
    (Kind::Memory, "node_memory_bytes", 40),
    (Kind::Small, "node_procs", 20),
    (Kind::Stalled, "node_pressure_waiting_seconds_total", 10),
    (Kind::Load, "node_load", 4),
    (Kind::Nanoseconds, "scrape_duration_seconds", 2),
];

/// A value that moves.
#[derive(Debug, Clone)]
struct Moving {
    kind: Kind,
    /// In the smallest unit: hundredths, pages, nanoseconds.
    now: i64,
    /// How much it moves.
    pace: i64,
    rng: Rng,
}

impl Moving {
    fn new(kind: Kind, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let (now, pace) = match kind {
            Kind::Still => (rng.i64(0..10_000_000) * rng.i64(0..2), 0),
            Kind::Seldom => (rng.i64(0..100_000), rng.i64(20..2000)),
            Kind::Bucket => (rng.i64(0..1_000_000), rng.i64(0..40)),
            Kind::Events => (rng.i64(0..1_000_000_000), rng.i64(10..5000)),
            Kind::CpuSeconds => {
                (rng.i64(0..100_000_000), *rng.choice(&[97, 3, 2, 0, 0, 0, 1, 0]).unwrap_or(&0))
            }
            Kind::Bytes => (rng.i64(0..1_000_000_000_000), *rng.choice(&[512, 512, 1]).unwrap_or(&1)),
            Kind::Memory => (rng.i64(1000..2_000_000), rng.i64(1..400)),
            Kind::Small => (rng.i64(0..500), rng.i64(1..5)),
            Kind::Stalled => (rng.i64(0..1_000_000_000), rng.i64(0..20_000)),
            Kind::Load => (rng.i64(0..800), 3),
            Kind::Nanoseconds => (0, rng.i64(1_000_000..60_000_000)),
        };
        Self { kind, now, pace, rng }
    }

    fn next(&mut self) -> f64 {
        let rng = &mut self.rng;
        match self.kind {
            Kind::Still => self.now as f64,
            Kind::Seldom => {
                self.now += i64::from(rng.i64(0..self.pace) == 0) * rng.i64(1..4);
                self.now as f64
            }
            Kind::Bucket => {
                self.now += if self.pace == 0 { 0 } else { rng.i64(self.pace / 2..=self.pace) };
                self.now as f64
            }
            Kind::Events => {
                self.now += self.pace + rng.i64(-self.pace / 8..=self.pace / 8);
                self.now as f64
            }
            Kind::CpuSeconds => {
                // Of what is idle most is idle each second; the rest is a few hundredths, often none.
                self.now += if self.pace > 50 { self.pace + rng.i64(-2..=3) } else { rng.i64(0..=self.pace) };
                self.now as f64 / 100.0
            }
            Kind::Bytes => {
                let burst = if rng.i64(0..3) == 0 { rng.i64(1..400) } else { 0 };
                self.now += burst * if self.pace == 512 { 4096 } else { 1 + rng.i64(60..1500) };
                self.now as f64
            }
            Kind::Memory => {
                if rng.i64(0..2) == 0 {
                    self.now = (self.now + rng.i64(-self.pace..=self.pace)).max(0);
                }
                (self.now * 4096) as f64
            }
            Kind::Small => {
                if rng.i64(0..4) == 0 {
                    self.now = (self.now + rng.i64(-self.pace..=self.pace)).max(0);
                }
                self.now as f64
            }
            Kind::Stalled => {
                self.now += if rng.i64(0..4) == 0 { rng.i64(0..=self.pace) } else { 0 };
                self.now as f64 / 1e6
            }
            Kind::Load => {
                if rng.i64(0..5) == 0 {
                    self.now = (self.now + rng.i64(-self.pace..=self.pace)).max(0);
                }
                self.now as f64 / 100.0
            }
            Kind::Nanoseconds => (self.pace + rng.i64(0..self.pace)) as f64 / 1e9,
        }
    }
}

/// What one machine shows.
#[derive(Debug)]
pub(super) struct Target {
    series: Vec<(Labels, Moving)>,
    jitter: Rng,
    /// What was shown last.
    last: Vec<Sample>,
}

/// A text that is held once however often it is needed, as decoders do.
fn text(text: &str) -> Arc<str> {
    static HELD: Mutex<BTreeSet<Arc<str>>> = Mutex::new(BTreeSet::new());
    let mut held = lock(&HELD);
    if let Some(held) = held.get(text) {
        return Arc::clone(held);
    }
    let text: Arc<str> = text.into();
    held.insert(Arc::clone(&text));
    text
}

/// The `instance` of a target.
pub(super) fn instance(target: u32) -> String {
    format!("node-{target:05}.fleet.example:9100")
}

impl Target {
    /// Of this number: the same seed makes the same series and values.
    pub(super) fn new(target: u32, seed: u64) -> Self {
        let mut seeds = Rng::with_seed(seed ^ u64::from(target).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let instance: Arc<str> = instance(target).into();
        let mut series = Vec::with_capacity(SERIES);
        for (kind, name, count) in KINDS {
            for number in 0..count {
                let labels = Labels::new([
                    (text("__name__"), text(name)),
                    (text("cluster"), text("fleet")),
                    (text("device"), text(&format!("dev{}", number / 8))),
                    (text("instance"), Arc::clone(&instance)),
                    (text("job"), text("node")),
                    (text("part"), text(&format!("part-{}", number % 8))),
                    (text("region"), text("eu-central-1")),
                    (text("zone"), text(["a", "b", "c"][target as usize % 3])),
                ]);
                series.push((labels, Moving::new(kind, seeds.u64(..))));
            }
        }
        Self { series, jitter: seeds, last: Vec::new() }
    }

    /// All series, a sample each, at about this time.
    pub(super) fn scrape(&mut self, at_ms: i64) -> Batch {
        let at_ms = at_ms + self.jitter.i64(0..=3);
        self.last.clear();
        for value in self.values() {
            self.last.push(Sample { at_ms, value: Value::Float(value) });
        }
        self.again()
    }

    /// The next value of each series.
    pub(super) fn values(&mut self) -> Vec<f64> {
        self.series.iter_mut().map(|(_, moving)| moving.next()).collect()
    }

    /// What tells its series apart, in the order of their values.
    pub(super) fn labels(&self) -> impl Iterator<Item = &Labels> {
        self.series.iter().map(|(labels, _)| labels)
    }

    /// What was shown last, once more.
    pub(super) fn again(&self) -> Batch {
        let both = self.series.iter().zip(&self.last);
        let series = both.map(|((labels, _), sample)| (labels.clone(), vec![sample.clone()])).collect();
        Batch { series, ..Batch::default() }
    }
}

/// Columns of each kind, a few series each.
pub(super) fn columns(seconds: u32, seed: u64) -> Vec<(&'static str, Vec<Vec<f64>>)> {
    let mut seeds = Rng::with_seed(seed);
    let of = |(kind, name, _): (Kind, &'static str, usize)| {
        let column = |_| {
            let mut moving = Moving::new(kind, seeds.u64(..));
            (0..seconds).map(|_| moving.next()).collect()
        };
        (name, (0..8).map(column).collect())
    };
    KINDS.into_iter().map(of).collect()
}
