//! What came in and what was refused, counted by protocol, signal and reason; read by `/metrics`.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::wire::remote::{Version, Written};
use metrics::wire::{Cause, Left, Tally};

use super::signal::Signal;

/// By which protocol a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP over gRPC.
    Grpc,
    /// OTLP over HTTP.
    Http,
}

impl Protocol {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Grpc, Self::Http];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}

/// Why a whole request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is no such message, or not compressed as it says.
    Malformed,
    /// More bytes than one message may have, before or after decompression.
    TooLarge,
    /// A compression nobody here knows.
    Encoding,
    /// A content type nobody here knows.
    MediaType,
    /// Another method than `POST`.
    Method,
    /// A path nobody answers.
    Path,
    /// Sent by a web page.
    Browser,
    /// The body did not come in time.
    Slow,
    /// The client went away before the end of the body.
    Incomplete,
    /// The receiver holds as many bytes of unfinished bodies as it may.
    InFlight,
    /// The store takes no more for now.
    Overloaded,
    /// More waits for compaction than may.
    Backlog,
    /// The disk does not take it.
    Disk,
    /// Beyond loopback without a token that holds.
    Unauthenticated,
    /// The store does not take anything from this source, or the token does not allow it.
    Forbidden,
    /// The store is closing.
    Closing,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 16] = [
        Self::Malformed,
        Self::TooLarge,
        Self::Encoding,
        Self::MediaType,
        Self::Method,
        Self::Path,
        Self::Browser,
        Self::Slow,
        Self::Incomplete,
        Self::InFlight,
        Self::Overloaded,
        Self::Backlog,
        Self::Disk,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Closing,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Encoding => "encoding",
            Self::MediaType => "media_type",
            Self::Method => "method",
            Self::Path => "path",
            Self::Browser => "browser",
            Self::Slow => "slow",
            Self::Incomplete => "incomplete",
            Self::InFlight => "in_flight",
            Self::Overloaded => "overloaded",
            Self::Backlog => "backlog",
            Self::Disk => "disk",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Closing => "closing",
        }
    }
}

/// The counts of all receivers since their start. They only grow, and are exact.
#[derive(Debug, Default)]
pub struct Counts {
    requests: [[AtomicU64; 3]; 2],
    accepted: [[AtomicU64; 3]; 2],
    rejected: [[AtomicU64; 3]; 2],
    bytes: [AtomicU64; 2],
    connections: [AtomicU64; 2],
    refused: [[AtomicU64; Reason::ALL.len()]; 2],
    /// What became of samples.
    pub(crate) series: SeriesCounts,
}

/// How metrics came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// As OTLP.
    Otlp,
    /// As Prometheus' remote-write.
    RemoteWrite,
}

impl Via {
    const ALL: [Self; 2] = [Self::Otlp, Self::RemoteWrite];

    fn name(self) -> &'static str {
        match self {
            Self::Otlp => "otlp",
            Self::RemoteWrite => "remote_write",
        }
    }
}

/// The counts of metrics.
#[derive(Debug, Default)]
pub(crate) struct SeriesCounts {
    /// Remote-write requests taken, by version.
    requests: [AtomicU64; 2],
    written: [AtomicU64; 3],
    bytes: AtomicU64,
    requests_refused: [AtomicU64; Reason::ALL.len()],
    left: [[AtomicU64; Cause::ALL.len()]; 2],
    refused: [AtomicU64; 2],
    helps_cut: [AtomicU64; 2],
}

impl SeriesCounts {
    /// What a decoder left out.
    pub(crate) fn left(&self, via: Via, left: &Left) {
        let counts = Cause::ALL.into_iter().zip(&self.left[via as usize]);
        counts
            .map(|(cause, counter)| (left.count(cause), counter))
            .filter(|(count, _)| *count > 0)
            .for_each(|(count, counter)| add(counter, count));
        add(&self.helps_cut[via as usize], left.helps_cut);
    }

    /// What the store did not take.
    pub(crate) fn refused(&self, via: Via, refused: Tally) {
        add(&self.refused[via as usize], refused.samples + refused.histograms + refused.exemplars);
    }

    /// A remote-write body, as it came.
    pub(crate) fn received(&self, bytes: usize) {
        add(&self.bytes, bytes as u64);
    }

    /// A remote-write request whose samples are on disk.
    pub(crate) fn wrote(&self, version: Version, written: Written) {
        add(&self.requests[version as usize], 1);
        for (counter, count) in
            self.written.iter().zip([written.samples, written.histograms, written.exemplars])
        {
            add(counter, count);
        }
    }

    /// A remote-write request of which nothing was taken.
    pub(crate) fn refuse(&self, reason: Reason) {
        add(&self.requests_refused[reason as usize], 1);
    }

    fn write_to(&self, text: &mut String) {
        head(text, "remote_write_requests_total", "remote-write requests taken and on disk");
        for (version, count) in ["1", "2"].into_iter().zip(&self.requests) {
            sample(text, "remote_write_requests_total", &format!("version=\"{version}\""), count);
        }
        head(text, "remote_write_written_total", "samples, histograms and exemplars written by remote-write");
        for (kind, count) in ["samples", "histograms", "exemplars"].into_iter().zip(&self.written) {
            sample(text, "remote_write_written_total", &format!("kind=\"{kind}\""), count);
        }
        head(text, "remote_write_requests_refused_total", "remote-write requests of which nothing was taken");
        for (reason, count) in Reason::ALL.into_iter().zip(&self.requests_refused) {
            sample(
                text,
                "remote_write_requests_refused_total",
                &format!("reason=\"{}\"", reason.name()),
                count,
            );
        }
        head(text, "remote_write_received_bytes_total", "bytes of remote-write bodies, before unpacking");
        let bytes = self.bytes.load(Ordering::Relaxed);
        let _ = writeln!(text, "remote_write_received_bytes_total {bytes}");
        head(text, "metrics_left_out_total", "samples, exemplars and data points that could not be read");
        for (via, counts) in Via::ALL.into_iter().zip(&self.left) {
            for (cause, count) in Cause::ALL.into_iter().zip(counts) {
                let labels = format!("via=\"{}\",cause=\"{}\"", via.name(), cause.name());
                sample(text, "metrics_left_out_total", &labels, count);
            }
        }
        for (name, help, counts) in [
            ("metrics_not_stored_total", "samples and exemplars the store did not take", &self.refused),
            ("metrics_help_cut_total", "help texts that were cut", &self.helps_cut),
        ] {
            head(text, name, help);
            for (via, count) in Via::ALL.into_iter().zip(counts) {
                sample(text, name, &format!("via=\"{}\"", via.name()), count);
            }
        }
    }
}

impl Counts {
    /// A request whose items are on disk.
    pub(crate) fn taken(&self, protocol: Protocol, signal: Signal, accepted: u64, rejected: u64) {
        let (protocol, signal) = (protocol as usize, signal as usize);
        add(&self.requests[protocol][signal], 1);
        add(&self.accepted[protocol][signal], accepted);
        add(&self.rejected[protocol][signal], rejected);
    }

    pub(crate) fn refuse(&self, protocol: Protocol, reason: Reason) {
        add(&self.refused[protocol as usize][reason as usize], 1);
    }

    /// Bytes of a body, as they came.
    pub(crate) fn received(&self, protocol: Protocol, bytes: usize) {
        add(&self.bytes[protocol as usize], bytes as u64);
    }

    pub(crate) fn connected(&self, protocol: Protocol) {
        add(&self.connections[protocol as usize], 1);
    }

    /// Remote-write requests refused for one reason.
    pub fn remote_write_refused(&self, reason: Reason) -> u64 {
        self.series.requests_refused[reason as usize].load(Ordering::Relaxed)
    }

    /// Samples, exemplars and data points left out for one cause.
    pub fn left_out(&self, via: Via, cause: Cause) -> u64 {
        self.series.left[via as usize][cause as usize].load(Ordering::Relaxed)
    }

    /// Requests refused for one reason.
    pub fn refused(&self, protocol: Protocol, reason: Reason) -> u64 {
        self.refused[protocol as usize][reason as usize].load(Ordering::Relaxed)
    }

    /// Every counter, in the Prometheus exposition format.
    pub(crate) fn write_to(&self, text: &mut String) {
        let by_signal = [
            ("otlp_requests_total", "OTLP requests taken and on disk", &self.requests),
            ("otlp_items_accepted_total", "spans, log records and data points taken", &self.accepted),
            ("otlp_items_rejected_total", "items refused within requests that were taken", &self.rejected),
        ];
        for (name, help, counts) in by_signal {
            head(text, name, help);
            for (protocol, counts) in Protocol::ALL.into_iter().zip(counts) {
                for (signal, count) in Signal::ALL.into_iter().zip(counts) {
                    let labels = format!("protocol=\"{}\",signal=\"{}\"", protocol.name(), signal.name());
                    sample(text, name, &labels, count);
                }
            }
        }
        head(text, "otlp_requests_refused_total", "OTLP requests of which nothing was taken");
        for (protocol, counts) in Protocol::ALL.into_iter().zip(&self.refused) {
            for (reason, count) in Reason::ALL.into_iter().zip(counts) {
                let labels = format!("protocol=\"{}\",reason=\"{}\"", protocol.name(), reason.name());
                sample(text, "otlp_requests_refused_total", &labels, count);
            }
        }
        let by_protocol = [
            ("otlp_received_bytes_total", "bytes of OTLP bodies, before decompression", &self.bytes),
            ("otlp_connections_total", "connections taken", &self.connections),
        ];
        for (name, help, counts) in by_protocol {
            head(text, name, help);
            for (protocol, count) in Protocol::ALL.into_iter().zip(counts) {
                sample(text, name, &format!("protocol=\"{}\"", protocol.name()), count);
            }
        }
        self.series.write_to(text);
    }
}

fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Ordering::Relaxed);
}

fn head(text: &mut String, name: &str, help: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
}

fn sample(text: &mut String, name: &str, labels: &str, count: &AtomicU64) {
    let _ = writeln!(text, "{name}{{{labels}}} {}", count.load(Ordering::Relaxed));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_counts_under_its_own_name() {
        let counts = Counts::default();
        for (times, reason) in (1..).zip(Reason::ALL) {
            (0..times).for_each(|_| counts.refuse(Protocol::Grpc, reason));
        }
        let mut text = String::new();
        counts.write_to(&mut text);
        for (times, reason) in (1..).zip(Reason::ALL) {
            assert_eq!(counts.refused(Protocol::Grpc, reason), times);
            let line = format!(
                "otlp_requests_refused_total{{protocol=\"grpc\",reason=\"{}\"}} {times}\n",
                reason.name()
            );
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}
