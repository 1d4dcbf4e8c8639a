//! What of the configuration concerns spans and logs: how they come in, how long they stay.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway::otlp::{Limits, OtlpConfig};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use telemetry::ObjectStorage;

use super::{DAY_SECONDS, Tls};

/// Where spans and logs come in: OTLP, over gRPC and HTTP. What exceeds a limit is refused and counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Otlp {
    /// Whether anything is received at all.
    pub enabled: bool,
    /// An address of this machine. Beyond loopback that needs `[tls]`, and a token with every request.
    #[serde(deserialize_with = "address")]
    pub listen: IpAddr,
    /// 1 to 65535.
    pub grpc_port: u16,
    /// 1 to 65535.
    pub http_port: u16,
    /// Bytes of a message as it comes over the wire where it is compressed, 1 KiB to 1 GiB.
    pub compressed_bytes_max: usize,
    /// Bytes of a message after decompression, and of one that is not compressed, 1 KiB to 1 GiB.
    pub message_bytes_max: usize,
    /// Bytes of unfinished requests for each receiver thread, at least one message, at most 1 GiB.
    pub in_flight_bytes_max: usize,
    /// Open connections for each protocol, 1 to 65536.
    pub connections_max: usize,
    /// Seconds for the head of a request, idle time before it included, 1 to 3600.
    pub head_seconds: u64,
    /// Seconds for a body, 1 to 3600.
    pub body_seconds: u64,
}

/// An address in text; what is none is told with one that is.
fn address<'de, D: Deserializer<'de>>(read: D) -> Result<IpAddr, D::Error> {
    let text = String::deserialize(read)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!(
            "{text:?} is no address; write such as \"127.0.0.1\", \"0.0.0.0\" or \"::\""
        ))
    })
}

impl Default for Otlp {
    fn default() -> Self {
        let OtlpConfig { listen, grpc_port, http_port, limits, .. } = OtlpConfig::default();
        Self {
            enabled: true,
            listen,
            grpc_port,
            http_port,
            compressed_bytes_max: limits.compressed_bytes,
            message_bytes_max: limits.message_bytes,
            in_flight_bytes_max: limits.bytes_in_flight,
            connections_max: limits.connections,
            head_seconds: limits.head_time.as_secs(),
            body_seconds: limits.body_time.as_secs(),
        }
    }
}

impl Otlp {
    /// The same as the receivers take it.
    pub fn receivers(&self) -> OtlpConfig {
        let defaults = OtlpConfig::default();
        let limits = Limits {
            compressed_bytes: self.compressed_bytes_max,
            message_bytes: self.message_bytes_max,
            bytes_in_flight: self.in_flight_bytes_max,
            connections: self.connections_max,
            head_time: Duration::from_secs(self.head_seconds),
            body_time: Duration::from_secs(self.body_seconds),
            ..defaults.limits
        };
        OtlpConfig {
            listen: self.listen,
            grpc_port: self.grpc_port,
            http_port: self.http_port,
            limits,
            ..defaults
        }
    }

    pub(super) fn check(&self, tls: &Tls) -> Result<(), (String, String)> {
        if self.enabled && !gateway::is_loopback(self.listen) && tls.files().is_none() {
            let why = format!("is {}, beyond loopback: that needs tls.certificate and tls.key", self.listen);
            return Err(("otlp.listen".to_owned(), why));
        }
        if self.enabled && self.grpc_port == self.http_port {
            let why = format!("is {}, as otlp.grpc_port is; give each a port of its own", self.http_port);
            return Err(("otlp.http_port".to_owned(), why));
        }
        let wide = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        let (message, port) = (wide(self.message_bytes_max), |port: u16| u64::from(port));
        for (field, value, low, high) in [
            ("grpc_port", port(self.grpc_port), 1, 65_535),
            ("http_port", port(self.http_port), 1, 65_535),
            ("compressed_bytes_max", wide(self.compressed_bytes_max), 1 << 10, 1 << 30),
            ("message_bytes_max", message, 1 << 10, 1 << 30),
            ("in_flight_bytes_max", wide(self.in_flight_bytes_max), message, 1 << 30),
            ("connections_max", wide(self.connections_max), 1, 65_536),
            ("head_seconds", self.head_seconds, 1, 3600),
            ("body_seconds", self.body_seconds, 1, 3600),
        ] {
            if !(low..=high).contains(&value) {
                return Err((format!("otlp.{field}"), format!("is {value}, must be {low} to {high}")));
            }
        }
        Ok(())
    }
}

const HOUR_SECONDS: u64 = 3600;

/// The least that may wait for compaction, in MiB.
const BACKLOG_MIB_MIN: u64 = telemetry::BACKLOG_BYTES_MIN >> 20;

/// How long spans and logs are kept, and which. Everything is kept whole until it is compacted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Seconds until what came in is compacted into Parquet, 0 to 86400.
    pub compact_after_seconds: u64,
    /// Percent of unremarkable traces that compaction keeps, 0 to 100. Everything is counted before. Traces with errors
    /// or with spans slower than their operation's 99th percentile are kept, as far as what is compacted together shows:
    /// a part of a trace that came much earlier or later is compacted apart and judged by its own spans.
    pub keep_percent: f64,
    /// Days that spans and logs are kept, 1 to 3650: since they were written, and since the newest of their file began.
    pub retention_days: u64,
    /// MiB on disk, 256 to 16777216; beyond, the oldest goes. So it does on a full disk that holds little else.
    pub retention_mib: u64,
    /// MiB that may wait for compaction, 128 to 16777216: where more comes than is compacted, senders are told to come
    /// back later from here on, until a quarter of it is gone, or 256 MiB. Half of `retention_mib` where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog_mib: Option<u64>,
    /// MiB of archived traces, 1 to 16777216, beside `retention_mib`. Beyond, the oldest that issues cite go, each named in
    /// the log; those that somebody archived stay, and no more are taken where they fill three quarters of it.
    pub archive_mib: u64,
    /// A bucket for what is old; nothing is moved where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<Objects>,
}

/// A bucket that speaks S3, to which what was compacted is moved when it is old. Only in programs that were built with
/// `--features object-storage`. Who may use it says the environment, as AWS's tools read it, or a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objects {
    /// `s3://BUCKET/PREFIX`; each data directory needs a prefix of its own.
    pub url: String,
    /// `http://HOST:PORT` or `https://HOST:PORT`; Amazon's where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Such as `eu-central-1`; `AWS_REGION`, or else `us-east-1`, where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// A file with credentials in the form of AWS's tools, relative to this one. Where nothing is said: `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, or else the file in `AWS_SHARED_CREDENTIALS_FILE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
    /// Hours after which compacted files are moved, 1 to 87599 and less than `retention_days`. Sooner, the oldest first,
    /// where three quarters of `retention_mib` are in use.
    #[serde(default = "after_hours")]
    pub after_hours: u64,
}

fn after_hours() -> u64 {
    24
}

impl Objects {
    /// The same as the store takes it.
    fn storage(&self) -> ObjectStorage {
        ObjectStorage {
            url: self.url.clone(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            credentials_file: self.credentials_file.clone(),
            after: Duration::from_secs(self.after_hours * HOUR_SECONDS),
        }
    }

    fn check(&self, retention_days: u64) -> Result<(), (String, String)> {
        let field = |name: &str| format!("telemetry.objects.{name}");
        let hours = retention_days * (DAY_SECONDS / HOUR_SECONDS);
        if !(1..hours).contains(&self.after_hours) {
            let why = format!(
                "is {}, must be 1 to {}, which is less than telemetry.retention_days",
                self.after_hours,
                hours - 1
            );
            return Err((field("after_hours"), why));
        }
        self.storage().check().map_err(|error| (field(error.field), error.why))
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        let store = telemetry::Config::new("");
        Self {
            compact_after_seconds: store.compact_after.map_or(0, |after| after.as_secs()),
            keep_percent: store.keep_percent,
            retention_days: store.retention_age.as_secs() / DAY_SECONDS,
            retention_mib: store.retention_bytes >> 20,
            backlog_mib: None,
            archive_mib: store.archive_bytes >> 20,
            objects: None,
        }
    }
}

impl Telemetry {
    /// Paths are relative to the configuration that names them.
    pub(super) fn relative_to(&mut self, file: &Path) {
        let dir = file.parent().unwrap_or(Path::new(""));
        if let Some(Objects { credentials_file: Some(path), .. }) = &mut self.objects {
            *path = dir.join(&*path);
        }
    }

    /// The same as the store in `dir` takes it.
    pub fn store(&self, dir: &Path) -> telemetry::Config {
        let retention_bytes = self.retention_mib << 20;
        let backlog_bytes_max = match self.backlog_mib {
            Some(mib) => mib << 20,
            None => telemetry::backlog_bytes_max(retention_bytes),
        };
        telemetry::Config {
            backlog_bytes_max,
            compact_after: Some(Duration::from_secs(self.compact_after_seconds)),
            keep_percent: self.keep_percent,
            retention_age: Duration::from_secs(self.retention_days * DAY_SECONDS),
            retention_bytes,
            archive_bytes: self.archive_mib << 20,
            objects: self.objects.as_ref().map(Objects::storage),
            ..telemetry::Config::new(dir)
        }
    }

    pub(super) fn check(&self) -> Result<(), (String, String)> {
        for (field, value, low, high) in [
            ("compact_after_seconds", self.compact_after_seconds, 0, DAY_SECONDS),
            ("retention_days", self.retention_days, 1, 3650),
            ("retention_mib", self.retention_mib, 2 * BACKLOG_MIB_MIN, 16 << 20),
            ("backlog_mib", self.backlog_mib.unwrap_or(BACKLOG_MIB_MIN), BACKLOG_MIB_MIN, 16 << 20),
            ("archive_mib", self.archive_mib, telemetry::ARCHIVE_BYTES_MIN >> 20, 16 << 20),
        ] {
            if !(low..=high).contains(&value) {
                let why = match field {
                    "backlog_mib" if value < low => {
                        ": spans and logs are compacted in files of 64 MiB, and there must be room for two"
                    }
                    "retention_mib" if value < low => {
                        ": half of it may wait for compaction, in files of 64 MiB, and there must be room for two"
                    }
                    _ => "",
                };
                let message = format!("is {value}, must be {low} to {high}{why}");
                return Err((format!("telemetry.{field}"), message));
            }
        }
        if !(0.0..=100.0).contains(&self.keep_percent) {
            let message = format!("is {}, must be 0 to 100", self.keep_percent);
            return Err(("telemetry.keep_percent".to_owned(), message));
        }
        self.objects.as_ref().map_or(Ok(()), |objects| objects.check(self.retention_days))
    }
}
