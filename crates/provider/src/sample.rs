//! What a provider measures: the states of services and instances, and per-second counts of every link.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use domain::snapshot::BreakerState;
use domain::{Environment, InstanceName, LinkName, ServiceName, ServiceState, Time};
use serde::{Deserialize, Serialize};

/// Everything measured at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub taken: Time,
    /// How long the fleet is up.
    pub fleet_age: Duration,
    /// What is up; `None`: nothing is, and there are no services and links then.
    #[serde(default)]
    pub infrastructure: Option<ServiceName>,
    /// Of the infrastructure; as for somebody's own where nothing is up.
    pub environment: Environment,
    /// The services and their instances.
    pub services: BTreeMap<ServiceName, ServiceState>,
    /// The links.
    pub links: BTreeMap<LinkName, LinkSample>,
    /// Links that should listen and cannot: nobody is counted there, and nobody answered.
    #[serde(default)]
    pub unbound: Vec<UnboundLink>,
}

/// A link whose port cannot be had. It is tried again every second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnboundLink {
    /// Which.
    pub link: LinkName,
    /// The port; 0: any would do.
    pub port: u16,
    /// What the system said.
    pub error: String,
    /// Who listens there; `None` where that cannot be seen, as of another user's process.
    pub holder: Option<PortHolder>,
}

/// A process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortHolder {
    /// Its process id.
    pub pid: u32,
    /// Its name, as the kernel has it.
    pub name: String,
}

impl UnboundLink {
    /// What it is, for people.
    pub fn what(&self) -> String {
        let Self { link, port, .. } = self;
        match link.from.as_str() == LinkName::OUTSIDE {
            true => format!("port {port}, which {} publishes", link.to),
            false => format!("link {link}, port {port}"),
        }
    }

    /// Why nobody answers there, and what to do.
    pub fn why(&self) -> String {
        let Self { link, port, error, holder } = self;
        let way_out = match link.from.as_str() == LinkName::OUTSIDE {
            true => "end what listens there, or publish another port",
            false => "end what listens there",
        };
        let holder = match holder {
            Some(PortHolder { pid, name }) => format!("{name} (process {pid}) has it"),
            None => format!("`ss -ltnp 'sport = :{port}'`, as root, may show who has it"),
        };
        format!("nothing answers there, because it cannot be listened on: {error}; {holder}; {way_out}")
    }
}

/// What a link's proxy counted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LinkSample {
    /// Complete seconds, oldest first, at most 60; a second without requests may be absent. They change no
    /// more, so every look shares them.
    #[serde(with = "shared")]
    pub seconds: VecDeque<Arc<LinkSecond>>,
    /// The instances behind the link.
    pub backends: BTreeMap<InstanceName, BackendSample>,
    /// The circuit breaker; `None` before the first request.
    pub breaker: Option<BreakerState>,
}

/// Shared seconds, on the wire as if each were its own.
mod shared {
    use super::{Arc, Deserialize, LinkSecond, VecDeque};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        seconds: &VecDeque<Arc<LinkSecond>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(seconds.iter().map(|second| &**second))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<VecDeque<Arc<LinkSecond>>, D::Error> {
        Ok(Vec::<LinkSecond>::deserialize(from)?.into_iter().map(Arc::new).collect())
    }
}

/// One instance behind a link.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BackendSample {
    /// Taken out of the balancing, by the proxy's own health ejection or by a plan.
    pub ejected: bool,
    /// By a plan.
    #[serde(default)]
    pub ejected_by_plan: bool,
    /// How long the latest health check through this path took; `None` where it failed or has not run.
    pub path_check: Option<Duration>,
    /// Failed health checks through this path in a row.
    pub path_check_failures: u32,
    /// Of each connection used within the last 3 s, the fastest of its last three exchanges, in milliseconds.
    #[serde(default)]
    pub connection_floors_ms: Vec<f64>,
}

/// Counts of one second of one link, per instance and age of the connection.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LinkSecond {
    /// The second, counted since boot (`boot_us / 1_000_000`), in which the requests ended.
    pub second: u64,
    /// Requests answered by an open breaker.
    pub rejected: u64,
    /// The rest.
    pub counts: Vec<Counts>,
}

/// Counts of requests that ended in one second at one instance over one age of connection.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Which instance; `None` where none could be chosen.
    pub backend: Option<InstanceName>,
    /// Whether the connection to the instance was opened more than 5 s before.
    pub old_connection: bool,
    /// Requests that ended.
    pub requests: u64,
    /// Of these, failed: no connection, time-out, 5xx or 429.
    pub errors: u64,
    /// Of the errors, 429.
    pub throttled: u64,
    /// Of the errors, without any answer.
    pub unanswered: u64,
    /// How long they took.
    pub latency: Histogram,
}

/// Latencies in buckets that grow by about 9 % (eight to an octave), from 1 µs to over an hour. A bucket
/// is named by `floor(8 · log2(µs))`; empty buckets are absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<u16, u32>", into = "BTreeMap<u16, u32>")]
pub struct Histogram {
    /// Bucket and count, by bucket. A second of a link fills a handful, which are quicker to walk than to
    /// look up.
    buckets: Vec<(u16, u32)>,
}

impl From<BTreeMap<u16, u32>> for Histogram {
    fn from(buckets: BTreeMap<u16, u32>) -> Self {
        Self { buckets: buckets.into_iter().collect() }
    }
}

impl From<Histogram> for BTreeMap<u16, u32> {
    fn from(histogram: Histogram) -> Self {
        histogram.buckets.into_iter().collect()
    }
}

impl Histogram {
    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        let us = (latency.as_micros() as f64).max(1.0);
        self.count_in((us.log2() * 8.0) as u16, 1);
    }

    /// Adds another histogram's counts.
    pub fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            self.count_in(*bucket, *count);
        }
    }

    fn count_in(&mut self, bucket: u16, count: u32) {
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => self.buckets[at].1 += count,
            Err(at) => self.buckets.insert(at, (bucket, count)),
        }
    }

    /// How many latencies were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// How many may have taken `limit` or longer: those of every bucket that does not end below it. A bucket is 9 % wide,
    /// so that some of these took up to 9 % less.
    pub fn slower(&self, limit: Duration) -> u64 {
        let limit_us = limit.as_micros() as f64;
        let below = |bucket: u16| ((f64::from(bucket) + 1.0) / 8.0).exp2() <= limit_us;
        self.buckets.iter().filter(|(bucket, _)| !below(*bucket)).map(|(_, count)| u64::from(*count)).sum()
    }

    /// How many latencies were above `ms` milliseconds, as far as the buckets tell: those in its own bucket are not.
    pub fn above_ms(&self, ms: f64) -> u64 {
        let own = ((ms * 1000.0).max(1.0).log2() * 8.0) as u16;
        let above = self.buckets.iter().filter(|(bucket, _)| *bucket > own);
        above.map(|(_, count)| u64::from(*count)).sum()
    }

    /// The quantile `q` (0 to 1) in milliseconds, as the geometric middle of its bucket; `None` when empty.
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        let rank = (q.clamp(0.0, 1.0) * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.buckets.iter().find_map(|(bucket, count)| {
            seen += u64::from(*count);
            (seen >= rank).then(|| ((f64::from(*bucket) + 0.5) / 8.0).exp2() / 1000.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_slower_is_never_missed_and_at_most_a_bucket_too_much() {
        let mut histogram = Histogram::default();
        for ms in 1..=1000 {
            histogram.record(Duration::from_millis(ms));
        }
        let slower = histogram.slower(Duration::from_millis(500));
        assert!((501..=546).contains(&slower), "{slower}");
    }

    #[test]
    fn quantiles_are_within_a_bucket_of_the_truth() {
        let mut histogram = Histogram::default();
        for ms in 1..=1000 {
            histogram.record(Duration::from_millis(ms));
        }
        for (q, truth) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0)] {
            let seen = histogram.quantile_ms(q).unwrap();
            assert!((seen / truth - 1.0).abs() < 0.09, "p{q}: {seen} ms, truth {truth} ms");
        }
        assert!(histogram.above_ms(200.0).abs_diff(800) < 20, "{}", histogram.above_ms(200.0));
        assert_eq!(Histogram::default().quantile_ms(0.5), None);
    }
}
