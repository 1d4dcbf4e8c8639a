//! Clients of the benchmark: one connection, one request at a time, over each protocol.

mod grpc;
mod http;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::corpus::PREFIX;

pub(crate) use http::Connection as HttpConnection;

/// How long a client waits for an answer before it takes the server for dead.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Over what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// OTLP over HTTP/1.1.
    Http,
    /// OTLP over gRPC.
    Grpc,
}

/// How messages are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
}

/// What the server said to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// All of it is on disk.
    Acknowledged,
    /// Come again later.
    Busy(Duration),
    /// It will not take this, or not all of it.
    Refused(String),
}

/// A connection.
pub(crate) enum Client {
    Http(http::Connection),
    Grpc(grpc::Connection),
}

impl Client {
    pub(crate) fn connect(protocol: Protocol, packing: Packing, to: SocketAddr) -> io::Result<Self> {
        match protocol {
            Protocol::Http => http::Connection::open(to, packing).map(Self::Http),
            Protocol::Grpc => grpc::Connection::open(to, packing).map(Self::Grpc),
        }
    }

    /// Sends a message that stands behind the prefix of gRPC, and gives the bytes back with the answer.
    pub(crate) fn send(&mut self, frame: Vec<u8>) -> (io::Result<Answer>, Vec<u8>) {
        match self {
            Self::Http(connection) => (connection.send(&frame[PREFIX..]), frame),
            Self::Grpc(connection) => connection.send(frame),
        }
    }
}

/// Whether an answer's message says that everything was taken: it is empty, or holds an empty `partial_success`, as the
/// Collector writes it.
fn is_whole(message: &[u8]) -> bool {
    matches!(message, [] | [0x0a, 0])
}
