//! One receiver thread's own part: what both protocols do with a body once it is there.
//!
//! In: a body and how it is encoded. Out: what was taken, or why nothing was. Nothing here waits, except for the disk
//! at the end; the body's buffer is free before that.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use protowire::{Fault, put_bytes, put_integer};

use super::body::Room;
use super::config::Limits;
use super::counts::{Counts, Protocol, Reason, Via};
use super::decompress::{Decompressor, Encoding, Unfoldable};
use super::json;
use super::points::count_data_points;
use super::refused::Refused;
use super::series::{Metrics, Series};
use super::signal::Signal;
use super::sink::{Admission, Sink};

/// What a client is told where there is no store for metrics.
const NO_METRICS: &str = "metrics are not stored here; traces and logs are";

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Protobuf,
    Json,
}

/// What one receiver thread holds.
pub(crate) struct Receiver<S> {
    pub(crate) sink: S,
    pub(crate) limits: Limits,
    pub(crate) counts: Arc<Counts>,
    pub(crate) room: Rc<Room>,
    /// The way of metrics; `None` where nobody stores them.
    pub(crate) series: Option<Series>,
    decompressor: RefCell<Decompressor>,
}

/// Items taken, on their way to the disk.
pub(crate) struct Taken<D> {
    accepted: u64,
    rejected: u64,
    reason: Option<String>,
    wait: Wait<D>,
}

/// What an answer waits for.
enum Wait<D> {
    Nothing,
    /// The disk of the store of spans and log records.
    Disk(D),
    /// The disk of the store of series.
    Series(metrics::Appending),
}

/// Items on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) signal: Signal,
    rejected: u64,
    reason: Option<String>,
}

impl<S: Sink> Receiver<S> {
    pub(crate) fn new(sink: S, limits: Limits, counts: Arc<Counts>, metrics: Option<Metrics>) -> Self {
        let room = Rc::new(Room::new(limits.bytes_in_flight));
        let series = metrics.map(Series::new);
        Self { sink, limits, counts, room, series, decompressor: RefCell::new(Decompressor::new()) }
    }

    /// The most bytes a body may have as it comes.
    pub(crate) fn body_limit(&self, encoding: Encoding) -> usize {
        match encoding {
            Encoding::Identity => self.limits.message_bytes,
            Encoding::Gzip | Encoding::Zstd => self.limits.compressed_bytes,
        }
    }

    /// Takes a body to the store.
    pub(crate) fn take(
        &self,
        signal: Signal,
        format: Format,
        encoding: Encoding,
        body: &[u8],
    ) -> Result<Taken<S::Durable>, Refused> {
        let mut decompressor = self.decompressor.borrow_mut();
        let limit = self.limits.message_bytes;
        let taken = match decompressor.unfold(encoding, body, limit) {
            Ok(message) => self.take_message(signal, format, message),
            Err(Unfoldable::TooLarge) => Err(Refused::too_large("the message", limit)),
            Err(Unfoldable::Broken) => {
                Err(Refused::new(Reason::Malformed, "the body is not compressed as it says"))
            }
        };
        decompressor.give_back();
        taken
    }

    fn take_message(
        &self,
        signal: Signal,
        format: Format,
        message: &[u8],
    ) -> Result<Taken<S::Durable>, Refused> {
        let transcoded;
        let request = match format {
            Format::Protobuf => message,
            Format::Json => {
                transcoded = json::transcode(signal, message)
                    .map_err(|error| Refused::new(Reason::Malformed, error.to_string()))?;
                &transcoded
            }
        };
        let admission = match signal {
            Signal::Traces => self.sink.traces(request)?,
            Signal::Logs => self.sink.logs(request)?,
            Signal::Metrics => return self.take_metrics(request),
        };
        let Admission { accepted, rejected, reason, durable } = admission;
        Ok(Taken { accepted, rejected, reason, wait: Wait::Disk(durable) })
    }

    fn take_metrics(&self, request: &[u8]) -> Result<Taken<S::Durable>, Refused> {
        let Some(series) = &self.series else {
            let malformed = |fault: Fault| Refused::malformed(fault.offset_in(request), fault.what);
            let rejected = count_data_points(request).map_err(malformed)?;
            let reason = (rejected > 0).then(|| NO_METRICS.to_owned());
            return Ok(Taken { accepted: 0, rejected, reason, wait: Wait::Nothing });
        };
        let decoded = series.otlp(request)?;
        let left = &decoded.left;
        self.counts.series.left(Via::Otlp, left);
        let (accepted, rejected) = (decoded.points, left.tally.points);
        let reason = (!left.is_empty()).then(|| left.to_string());
        let wait = match decoded.batch.is_empty() {
            true => Wait::Nothing,
            false => Wait::Series(series.append("otlp", decoded.batch)),
        };
        Ok(Taken { accepted, rejected, reason, wait })
    }

    /// Waits for the disk and counts what it has.
    pub(crate) async fn settle(
        &self,
        protocol: Protocol,
        signal: Signal,
        taken: Taken<S::Durable>,
    ) -> Result<Done, Refused> {
        let Taken { mut accepted, mut rejected, mut reason, wait } = taken;
        match wait {
            Wait::Nothing => {}
            Wait::Disk(durable) => durable.await?,
            Wait::Series(appending) => {
                let admission = appending.await?;
                let (refused, because) = (admission.left(), admission.reason);
                self.counts.series.refused(Via::Otlp, refused);
                // A data point may be several samples: no more points are told to be rejected than came.
                let points = (refused.samples + refused.histograms).min(accepted);
                (accepted, rejected) = (accepted - points, rejected + points);
                reason = match (reason, because) {
                    (Some(reason), Some(because)) => Some(format!("{reason}; {because}")),
                    (reason, because) => reason.or(because),
                };
            }
        }
        self.counts.taken(protocol, signal, accepted, rejected);
        Ok(Done { signal, rejected, reason })
    }
}

impl Done {
    /// As `Export…ServiceResponse`; empty where everything was taken.
    pub(crate) fn in_protobuf(&self) -> Vec<u8> {
        let mut response = Vec::new();
        if self.is_partial() {
            let mut partial = Vec::new();
            put_integer(&mut partial, 1, self.rejected);
            if let Some(reason) = &self.reason {
                put_bytes(&mut partial, 2, reason.as_bytes());
            }
            put_bytes(&mut response, 1, &partial);
        }
        response
    }

    /// The same in JSON.
    pub(crate) fn in_json(&self) -> Vec<u8> {
        if !self.is_partial() {
            return b"{}".to_vec();
        }
        let partial = serde_json::json!({
            self.signal.rejected_field(): self.rejected.to_string(),
            "errorMessage": self.reason.as_deref().unwrap_or_default(),
        });
        serde_json::json!({ "partialSuccess": partial }).to_string().into_bytes()
    }

    /// A reason without rejected items is a warning, and told too.
    fn is_partial(&self) -> bool {
        self.rejected > 0 || self.reason.is_some()
    }
}
