//! A tracer's settings.
//!
//! In: what the service says. Out: a running [`Tracer`], or what is wrong with the settings. Deliberately
//! absent: files and environment variables; the host has its own way to be configured.

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::counters::Counters;
use crate::export::collector::Collector;
use crate::export::http::{self, Http};
use crate::export::otlp::Envelope;
use crate::export::{self, Compression, Costs, Figures, Transport};
use crate::sampling::operations::Operations;
use crate::sampling::{Adaptive, Sampler};
use crate::tracer::{Inner, Tracer};
use crate::value::Value;

/// Where OTLP over HTTP is received by default.
const ENDPOINT: &str = "http://127.0.0.1:4318/v1/traces";

/// Four: one that encodes and three on their way, which keeps a receiver 100 ms away busy with 20 MB/s.
const THREADS: usize = 4;

/// How long spans wait for company.
const INTERVAL: Duration = Duration::from_millis(200);

/// 16 MiB hold about 150,000 spans: a second of a busy service.
const QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// See [`Tracer::builder`].
#[must_use = "nothing runs until `build`"]
pub struct Builder {
    service: String,
    attributes: Vec<(String, Owned)>,
    sampler: Sampler,
    endpoint: String,
    headers: Vec<(String, String)>,
    compression: Compression,
    #[cfg(feature = "tls")]
    authorities: Option<Vec<u8>>,
    transport: Option<Arc<dyn Transport>>,
    threads: usize,
    interval: Duration,
    queue_bytes: usize,
}

enum Owned {
    Text(String),
    Bool(bool),
    I64(i64),
    F64(f64),
}

/// Why a tracer cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The service has no name.
    #[error("a service needs a name that is not empty")]
    Service,
    /// The endpoint is no address the built-in client can reach.
    #[error(
        "{endpoint:?} is no endpoint: write http://HOST:PORT/v1/traces, or https://… with the feature `tls`; \
         without it give a transport over a client of your own"
    )]
    Endpoint {
        /// What was given.
        endpoint: String,
    },
    /// The authorities to be believed are none.
    #[cfg(feature = "tls")]
    #[error("the authorities cannot be used: {why}")]
    Authorities {
        /// What is wrong with them.
        why: String,
    },
    /// A figure is out of its range.
    #[error("{name} is {value}; it must be {range}")]
    Range {
        /// Which one.
        name: &'static str,
        /// What was given.
        value: f64,
        /// What is right.
        range: &'static str,
    },
    /// The export threads cannot be started.
    #[error("cannot start the export threads")]
    Threads(#[source] std::io::Error),
}

impl Tracer {
    /// A tracer for the service of this name (`service.name`).
    pub fn builder(service: impl Into<String>) -> Builder {
        Builder {
            service: service.into(),
            attributes: Vec::new(),
            sampler: Sampler::adaptive(),
            endpoint: ENDPOINT.to_owned(),
            headers: Vec::new(),
            compression: Compression::None,
            #[cfg(feature = "tls")]
            authorities: None,
            transport: None,
            threads: THREADS,
            interval: INTERVAL,
            queue_bytes: QUEUE_BYTES,
        }
    }
}

impl Builder {
    /// An attribute of the resource, such as `service.version` or `service.instance.id`.
    pub fn attribute<'v>(mut self, key: impl Into<String>, value: impl Into<Value<'v>>) -> Self {
        let value = match value.into() {
            Value::Text(text) => Owned::Text(text.to_owned()),
            Value::Static(text) => Owned::Text(text.to_owned()),
            Value::Bool(value) => Owned::Bool(value),
            Value::I64(value) => Owned::I64(value),
            Value::F64(value) => Owned::F64(value),
        };
        self.attributes.push((key.into(), value));
        self
    }

    /// Which traces are kept; [`Sampler::adaptive`] where nothing is said.
    pub fn sampler(mut self, sampler: Sampler) -> Self {
        self.sampler = sampler;
        self
    }

    /// Where OTLP over HTTP is received, the whole address: `http://127.0.0.1:4318/v1/traces` by default;
    /// `https://…` with the feature `tls`.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = endpoint.into();
        self
    }

    /// A header of every request, such as a receiver's token.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Whether requests are packed; not by default.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Certificates of authorities in PEM: an `https://` receiver is believed by these alone. Where nothing is said, by those
    /// in this machine's store or in what `SSL_CERT_FILE` and `SSL_CERT_DIR` name in its place, and where a machine has no
    /// store, such as a container from scratch, by those of the web, which are built in. A store that is there but names
    /// nobody, or cannot be read, is an error of [`build`](Self::build), and so is an `SSL_CERT_FILE` that is set and empty;
    /// an `SSL_CERT_DIR` without a directory in it counts as not set.
    #[cfg(feature = "tls")]
    pub fn authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities = Some(pem.into());
        self
    }

    /// Another way to the receiver; endpoint, authorities, headers and compression then mean nothing.
    pub fn transport(mut self, transport: impl Transport + 'static) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Export threads, 1 to 64; four by default.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// How long spans wait for company, 1 ms to 1 min; 200 ms by default.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The bound of the queue in bytes, at least 64 KiB; 16 MiB by default. On their way to the receiver are
    /// at most 512 KiB and one part more for each export thread and one.
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// Checks the settings, measures what a span costs here (about 3 ms) and starts the threads.
    ///
    /// # Errors
    ///
    /// [`BuildError`] where a setting makes no sense, or no thread can be started.
    pub fn build(mut self) -> Result<Tracer, BuildError> {
        self.check()?;
        let transport = match self.transport.take() {
            Some(transport) => transport,
            None => Arc::new(self.http()?),
        };
        let envelope = self.envelope();
        let figures = Figures::new(self.threads);
        let inner = Inner {
            key: Tracer::next_key(),
            sampler: self.sampler,
            counters: Counters::default(),
            queued_bytes: AtomicUsize::new(0),
            queued_bytes_max: self.queue_bytes,
            closed: AtomicBool::new(false),
            operations: Operations::new(),
            collector: Collector::new(self.interval, self.threads),
            costs: Costs::measure(&figures.clock),
            figures: Mutex::new(figures),
        };
        let tracer = Tracer::start(inner);
        if let Err(error) = export::start(&tracer.inner, self.threads, transport, envelope) {
            // Those that did start find the tracer closed; there is nothing to wait for.
            let _ = tracer.shutdown(Duration::ZERO);
            return Err(BuildError::Threads(error));
        }
        Ok(tracer)
    }

    /// The built-in client.
    fn http(&mut self) -> Result<Http, BuildError> {
        let config = http::config();
        #[cfg(feature = "tls")]
        let config = if self.authorities.is_none() && self.endpoint.starts_with("http:") {
            // No certificate will be shown: the machine's store is not read for it.
            config
        } else {
            let trust = http::trust(self.authorities.as_deref());
            config.tls_config(trust.map_err(|why| BuildError::Authorities { why })?)
        };
        let (endpoint, headers) = (std::mem::take(&mut self.endpoint), std::mem::take(&mut self.headers));
        Ok(Http::new(config, endpoint, headers, self.compression))
    }

    fn envelope(&self) -> Envelope {
        let own = [
            ("service.name", Value::Text(&self.service)),
            ("telemetry.sdk.name", Value::Static(env!("CARGO_PKG_NAME"))),
            ("telemetry.sdk.language", Value::Static("rust")),
            ("telemetry.sdk.version", Value::Static(env!("CARGO_PKG_VERSION"))),
        ];
        let said = self.attributes.iter().map(|(key, value)| {
            let value = match value {
                Owned::Text(text) => Value::Text(text),
                Owned::Bool(value) => Value::Bool(*value),
                Owned::I64(value) => Value::I64(*value),
                Owned::F64(value) => Value::F64(*value),
            };
            (key.as_str(), value)
        });
        Envelope::new(own.into_iter().chain(said))
    }

    fn check(&self) -> Result<(), BuildError> {
        if self.service.is_empty() {
            return Err(BuildError::Service);
        }
        if self.transport.is_none() && !is_endpoint(&self.endpoint) {
            return Err(BuildError::Endpoint { endpoint: self.endpoint.clone() });
        }
        within("threads", self.threads as f64, 1.0..=64.0, "1 to 64")?;
        let seconds = self.interval.as_secs_f64();
        within("interval in seconds", seconds, 0.001..=60.0, "0.001 to 60")?;
        within("queue_bytes", self.queue_bytes as f64, 65_536.0..=1e12, "at least 65536")?;
        check_sampler(&self.sampler)
    }
}

fn check_sampler(sampler: &Sampler) -> Result<(), BuildError> {
    match sampler {
        Sampler::Always | Sampler::Never => Ok(()),
        Sampler::Ratio(share) => within("ratio", *share, 0.0..=1.0, "0 to 1"),
        Sampler::ParentBased(root) => check_sampler(root),
        Sampler::Adaptive(Adaptive { overhead, spans_per_second, rate_min, rate_max }) => {
            within("overhead", *overhead, 1e-6..=1.0, "above 0 and at most 1")?;
            within("rate_min", *rate_min, 0.0..=1.0, "0 to 1")?;
            within("rate_max", *rate_max, *rate_min..=1.0, "rate_min to 1")?;
            within("spans_per_second", spans_per_second.unwrap_or(1.0), 0.0..=1e12, "0 or more")
        }
    }
}

fn within(
    name: &'static str,
    value: f64,
    allowed: std::ops::RangeInclusive<f64>,
    range: &'static str,
) -> Result<(), BuildError> {
    if allowed.contains(&value) { Ok(()) } else { Err(BuildError::Range { name, value, range }) }
}

fn is_endpoint(endpoint: &str) -> bool {
    let address: Result<ureq::http::Uri, _> = endpoint.parse();
    address.is_ok_and(|address| {
        let scheme = address.scheme_str();
        let spoken = scheme == Some("http") || (cfg!(feature = "tls") && scheme == Some("https"));
        spoken && address.host().is_some()
    })
}
