//! What of the configuration concerns spans and logs: how they come in, how long they stay.

use std::path::Path;
use std::time::Duration;

use gateway::otlp::{Limits, OtlpConfig};
use serde::{Deserialize, Serialize};

use super::DAY_SECONDS;

/// Where spans and logs come in: OTLP on 127.0.0.1, over gRPC and HTTP. What exceeds a limit is refused and counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Otlp {
    /// Whether anything is received at all.
    pub enabled: bool,
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

impl Default for Otlp {
    fn default() -> Self {
        let OtlpConfig { grpc_port, http_port, limits, .. } = OtlpConfig::default();
        Self {
            enabled: true,
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
        OtlpConfig { grpc_port: self.grpc_port, http_port: self.http_port, limits, ..defaults }
    }

    pub(super) fn check(&self) -> Result<(), (String, String)> {
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
        }
    }
}

impl Telemetry {
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
            ..telemetry::Config::new(dir)
        }
    }

    pub(super) fn check(&self) -> Result<(), (String, String)> {
        for (field, value, low, high) in [
            ("compact_after_seconds", self.compact_after_seconds, 0, DAY_SECONDS),
            ("retention_days", self.retention_days, 1, 3650),
            ("retention_mib", self.retention_mib, 2 * BACKLOG_MIB_MIN, 16 << 20),
            ("backlog_mib", self.backlog_mib.unwrap_or(BACKLOG_MIB_MIN), BACKLOG_MIB_MIN, 16 << 20),
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
        Ok(())
    }
}
