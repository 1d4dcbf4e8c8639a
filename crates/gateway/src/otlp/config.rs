//! What the receivers are told at start: ports and limits, each with its default and the reason for it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Where the receivers listen and what they refuse.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpConfig {
    /// Where to listen. Beyond loopback that takes an [`super::Exposure`]. Default 127.0.0.1.
    pub listen: IpAddr,
    /// Port of OTLP over gRPC; 0 takes a free one. Default 4317, the registered one.
    pub grpc_port: u16,
    /// Port of OTLP over HTTP; 0 takes a free one. Default 4318, the registered one.
    pub http_port: u16,
    /// Receiver threads, 1 to 64; each serves both protocols with a runtime of its own. Default: one for each
    /// core, at most 8.
    pub receivers: usize,
    /// What is refused.
    pub limits: Limits,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            listen: Ipv4Addr::LOCALHOST.into(),
            grpc_port: 4317,
            http_port: 4318,
            receivers: cores.min(8),
            limits: Limits::default(),
        }
    }
}

/// Bounds on what a client may make a receiver hold. What exceeds one is refused, and counted by reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Bytes of a message as it comes over the wire where it is compressed. Default 4 MiB: the largest batches of
    /// the usual exporters (8,192 spans) have about 0.5 MiB.
    pub compressed_bytes: usize,
    /// Bytes of a message after decompression, of one that is not compressed, and of one read from JSON. Default
    /// 16 MiB: four times the default limit of gRPC clients.
    pub message_bytes: usize,
    /// Open connections for each protocol; more wait in the kernel's queue. Default 512.
    pub connections: usize,
    /// How long a client may take to send the head of a request, idle time before it included. Default 75 s: more
    /// than the pause between two exports of the usual clients.
    pub head_time: Duration,
    /// How long a client may take to send a body. Default 30 s.
    pub body_time: Duration,
    /// Bytes of unfinished bodies one receiver thread holds at a time. Default 32 MiB, two of the largest messages.
    pub bytes_in_flight: usize,
    /// How long requests under way may take to finish at shutdown. Default 2 s.
    pub shutdown_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            compressed_bytes: 4 << 20,
            message_bytes: 16 << 20,
            connections: 512,
            head_time: Duration::from_secs(75),
            body_time: Duration::from_secs(30),
            bytes_in_flight: 32 << 20,
            shutdown_time: Duration::from_secs(2),
        }
    }
}
