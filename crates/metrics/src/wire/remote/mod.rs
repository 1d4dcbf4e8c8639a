//! Prometheus remote-write, versions 1 and 2 (2.0-rc.4): a body as it comes, a [`Decoded`] out.
//!
//! ```text
//! headers ─ negotiate ─► Version ─┐
//! body ── snappy block ──────────►┴─ v1 or v2 walk ─► batch, and what was left out
//! ```
//!
//! What is wrong in one series, sample, histogram or exemplar is left out and said, and the rest is taken: the answer is
//! then 400 with [`Written`] (2.0, "Partial Write"). What is no such message at all is refused whole.
//!
//! Start times are read in both forms, that of each sample (rc.4) and the older one of the series, and are not kept.
//!
//! Deliberately absent: the framed format of snappy, which the specification forbids.
//!
//! Sources: <https://prometheus.io/docs/specs/prw/remote_write_spec/>,
//! <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>.

mod v1;
mod v2;
mod walk;

use super::known::Known;
use super::{Decoded, Limits, Tally, Unreadable};
use walk::Walk;

/// A buffer for unpacked messages that grew beyond this is given back after its message.
const KEPT_BYTES: usize = 4 << 20;

/// What one byte of snappy unpacks to at most: three bytes can stand for 64 (copies with an offset of two bytes). A body
/// that claims more is refused before there is room for it.
const EXPANSION_MAX: usize = 22;

/// Which message a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

/// A body nobody here can read: to be answered with 415.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// Another content type.
    #[error(
        "content type {0:?} is not remote-write; send application/x-protobuf, with proto=prometheus.WriteRequest or proto=io.prometheus.write.v2.Request"
    )]
    ContentType(String),
    /// Another compression.
    #[error("content encoding {0:?} is not known here; remote-write is sent as snappy")]
    ContentEncoding(String),
}

/// What the headers of a request say of its body. A content type that is missing is version 1, an encoding that is missing
/// is snappy: senders older than the headers did not send them.
///
/// # Errors
/// [`Unsupported`], to be answered with 415.
pub fn negotiate(content_type: Option<&str>, content_encoding: Option<&str>) -> Result<Version, Unsupported> {
    let encoding = content_encoding.map_or("", str::trim);
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("snappy") {
        return Err(Unsupported::ContentEncoding(encoding.to_owned()));
    }
    let Some(content_type) = content_type.map(str::trim).filter(|kind| !kind.is_empty()) else {
        return Ok(Version::V1);
    };
    let unsupported = || Unsupported::ContentType(content_type.to_owned());
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-protobuf")) {
        return Err(unsupported());
    }
    let mut version = Version::V1;
    for parameter in parts.filter(|part| !part.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or_else(unsupported)?;
        if name.trim().eq_ignore_ascii_case("proto") {
            version = match value.trim().trim_matches('"') {
                "prometheus.WriteRequest" => Version::V1,
                "io.prometheus.write.v2.Request" => Version::V2,
                _ => return Err(unsupported()),
            };
        }
    }
    Ok(version)
}

/// What was written, for the headers every answer has after a body was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Samples that are numbers.
    pub samples: u64,
    /// Native histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
}

impl Written {
    /// The headers with their values.
    pub fn headers(self) -> [(&'static str, u64); 3] {
        [
            ("x-prometheus-remote-write-samples-written", self.samples),
            ("x-prometheus-remote-write-histograms-written", self.histograms),
            ("x-prometheus-remote-write-exemplars-written", self.exemplars),
        ]
    }
}

impl From<Tally> for Written {
    fn from(tally: Tally) -> Self {
        Self { samples: tally.samples, histograms: tally.histograms, exemplars: tally.exemplars }
    }
}

/// Decodes the bodies one receiver gets, and knows the series that came before.
#[derive(Debug, Default)]
pub struct Decoder {
    limits: Limits,
    known: Known,
    unpacked: Vec<u8>,
}

impl Decoder {
    /// A decoder with these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Decodes a body as it came, packed.
    ///
    /// # Errors
    /// [`Unreadable`]: nothing of it can be taken.
    pub fn decode(&mut self, version: Version, body: &[u8]) -> Result<Decoded, Unreadable> {
        let mut unpacked = std::mem::take(&mut self.unpacked);
        let decoded = unpack(body, &mut unpacked, self.limits.message_bytes)
            .and_then(|message| self.decode_unpacked(version, message));
        if unpacked.len() <= KEPT_BYTES {
            self.unpacked = unpacked;
        }
        decoded
    }

    /// Decodes a message that is not packed.
    ///
    /// # Errors
    /// [`Unreadable`]: nothing of it can be taken.
    pub(crate) fn decode_unpacked(
        &mut self,
        version: Version,
        message: &[u8],
    ) -> Result<Decoded, Unreadable> {
        if message.len() > self.limits.message_bytes {
            return Err(Unreadable::TooMuch { what: "bytes", limit: self.limits.message_bytes });
        }
        let walk = Walk::new(&mut self.known, &self.limits);
        let walked = match version {
            Version::V1 => v1::walk(message, walk),
            Version::V2 => v2::walk(message, walk),
        };
        walked.map_err(|halt| halt.in_message(message))
    }
}

/// Unpacks a block of snappy. `buffer` only grows: what lies in it beyond the message is of no meaning.
fn unpack<'b>(body: &[u8], buffer: &'b mut Vec<u8>, limit: usize) -> Result<&'b [u8], Unreadable> {
    let packing = |error: snap::Error| Unreadable::Packing(error.to_string());
    let length = snap::raw::decompress_len(body).map_err(packing)?;
    if length > limit {
        return Err(Unreadable::TooMuch { what: "bytes", limit });
    }
    if length > body.len().saturating_mul(EXPANSION_MAX) {
        let what = format!("{} bytes do not unpack to {length}", body.len());
        return Err(Unreadable::Packing(what));
    }
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    let length = snap::raw::Decoder::new().decompress(body, buffer).map_err(packing)?;
    Ok(&buffer[..length])
}

#[cfg(test)]
mod tests;
