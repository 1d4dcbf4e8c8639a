//! A frame of the log.
//!
//! ```text
//! header:   "HSML" │ format u32 │ generation u64 │ payload length u32 │ crc of the payload u32 │ crc of the above u32
//! payload:  length of the texts unpacked │ length packed │ texts (LZ4) │ samples
//! texts:    series: number, source, labels │ metadata │ exemplar │ …
//! samples:  number of the series and kind │ how many │ time since the one before, value │ … │ next series …
//! ```

use std::sync::Arc;

use promql::{Labels, Sample, Value};

use crate::batch::{Exemplar, Kind, Metadata};
use crate::bytes::{Damaged, Reader, put_bytes, put_signed, put_varint};
use crate::codec;

/// What a frame begins with.
pub(super) const MAGIC: [u8; 4] = *b"HSML";

/// The format written here.
pub(crate) const FORMAT: u32 = 1;

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 28;

/// Texts of a frame are not longer unpacked: more than all that may wait for the disk at once.
const TEXTS_BYTES_MAX: usize = 1 << 30;

const SERIES: u8 = 1;
const METADATA: u8 = 2;
const EXEMPLAR: u8 = 3;

/// What a frame says, in the order said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    /// What a number means from here on, in this generation.
    Series { id: u64, source: String, labels: Labels },
    /// What is known of a metric.
    Metadata { name: String, metadata: Metadata },
    /// A trace to look at.
    Exemplar { series: Labels, exemplar: Exemplar },
    /// A sample of a series.
    Sample { id: u64, sample: Sample },
}

/// Puts a frame together.
#[derive(Debug, Default)]
pub(crate) struct FrameWriter {
    texts: Vec<u8>,
    samples: Vec<u8>,
    last_ms: i64,
}

impl FrameWriter {
    /// Says what a number means.
    pub(crate) fn series(&mut self, id: u32, source: &str, labels: &Labels) {
        self.texts.push(SERIES);
        put_varint(&mut self.texts, id.into());
        put_bytes(&mut self.texts, source.as_bytes());
        put_labels(&mut self.texts, labels);
    }

    pub(crate) fn metadata(&mut self, name: &str, metadata: &Metadata) {
        self.texts.push(METADATA);
        put_metadata(&mut self.texts, name, metadata);
    }

    pub(crate) fn exemplar(&mut self, series: &Labels, exemplar: &Exemplar) {
        self.texts.push(EXEMPLAR);
        put_labels(&mut self.texts, series);
        put_labels(&mut self.texts, &exemplar.labels);
        self.texts.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
        put_signed(&mut self.texts, exemplar.at_ms);
    }

    pub(crate) fn samples(&mut self, id: u32, samples: &[Sample]) {
        let is_float = |sample: &Sample| matches!(sample.value, Value::Float(_));
        for run in samples.chunk_by(|a, b| is_float(a) == is_float(b)) {
            put_varint(&mut self.samples, u64::from(id) << 1 | u64::from(!is_float(&run[0])));
            put_varint(&mut self.samples, run.len() as u64);
            for sample in run {
                put_signed(&mut self.samples, sample.at_ms.wrapping_sub(self.last_ms));
                self.last_ms = sample.at_ms;
                match &sample.value {
                    Value::Float(value) => self.samples.extend_from_slice(&value.to_bits().to_le_bytes()),
                    Value::Histogram(histogram) => {
                        let mut bytes = Vec::new();
                        codec::put_histograms(&mut bytes, std::slice::from_ref(histogram));
                        put_bytes(&mut self.samples, &bytes);
                    }
                }
            }
        }
    }

    /// Adds the frame to `out`, and is empty again.
    pub(crate) fn finish(&mut self, generation: u64, out: &mut Vec<u8>) {
        let begin = out.len();
        out.resize(begin + HEADER_BYTES, 0);
        let packed = if self.texts.is_empty() { Vec::new() } else { lz4_flex::block::compress(&self.texts) };
        put_varint(out, self.texts.len() as u64);
        put_bytes(out, &packed);
        out.extend_from_slice(&self.samples);
        seal(generation, &mut out[begin..]);
        self.texts.clear();
        self.samples.clear();
        self.last_ms = 0;
    }
}

/// Fills in the header in front of a payload.
fn seal(generation: u64, frame: &mut [u8]) {
    let (header, payload) = frame.split_at_mut(HEADER_BYTES);
    header[0..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&FORMAT.to_le_bytes());
    header[8..16].copy_from_slice(&generation.to_le_bytes());
    header[16..20].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[20..24].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
    let crc = crc32fast::hash(&header[..24]);
    header[24..28].copy_from_slice(&crc.to_le_bytes());
}

/// A frame with any payload; for the properties.
#[cfg(any(test, feature = "fuzz"))]
pub(super) fn sealed(generation: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; HEADER_BYTES];
    frame.extend_from_slice(payload);
    seal(generation, &mut frame);
    frame
}

/// Why bytes are no frame that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameError {
    Damaged,
    /// A later version wrote it.
    Newer {
        found: u32,
    },
}

impl From<Damaged> for FrameError {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

/// A frame whose bytes are as they were written.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) generation: u64,
    /// Bytes of it all.
    pub(super) len: usize,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame that `bytes` begin with.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let mut header = Reader::new(bytes.get(..HEADER_BYTES).ok_or(Damaged)?);
        let magic = header.fixed::<4>()?;
        let format = header.u32()?;
        let generation = header.u64()?;
        let len = header.u32()? as usize;
        let payload_crc = header.u32()?;
        if magic != MAGIC || header.u32()? != crc32fast::hash(&bytes[..HEADER_BYTES - 4]) {
            return Err(FrameError::Damaged);
        }
        if format > FORMAT {
            return Err(FrameError::Newer { found: format });
        }
        let payload = bytes[HEADER_BYTES..].get(..len).ok_or(Damaged)?;
        if crc32fast::hash(payload) != payload_crc {
            return Err(FrameError::Damaged);
        }
        Ok(Self { generation, len: HEADER_BYTES + len, payload })
    }

    /// Shows what it says.
    pub(super) fn each(&self, mut each: impl FnMut(Record)) -> Result<(), Damaged> {
        let mut reader = Reader::new(self.payload);
        let unpacked = reader.count(TEXTS_BYTES_MAX)?;
        let packed = reader.bytes()?;
        // LZ4 makes at most 255 bytes of one.
        if unpacked > packed.len().saturating_mul(255) {
            return Err(Damaged);
        }
        if unpacked > 0 {
            let texts = lz4_flex::block::decompress(packed, unpacked).map_err(|_| Damaged)?;
            let mut texts = Reader::new(&texts);
            while !texts.is_empty() {
                each(read_text(&mut texts)?);
            }
        }
        each_sample(&mut reader, each)
    }
}

fn each_sample(reader: &mut Reader<'_>, mut each: impl FnMut(Record)) -> Result<(), Damaged> {
    let mut at_ms = 0i64;
    while !reader.is_empty() {
        let head = reader.varint()?;
        let id = head >> 1;
        for _ in 0..reader.varint()? {
            at_ms = at_ms.wrapping_add(reader.signed()?);
            let value = if head & 1 == 0 {
                Value::Float(reader.f64()?)
            } else {
                let histograms = codec::read_histograms(reader.bytes()?, 1)?;
                Value::Histogram(histograms.into_iter().next().ok_or(Damaged)?)
            };
            each(Record::Sample { id, sample: Sample { at_ms, value } });
        }
    }
    Ok(())
}

fn read_text(reader: &mut Reader<'_>) -> Result<Record, Damaged> {
    Ok(match reader.byte()? {
        SERIES => Record::Series {
            id: reader.varint()?,
            source: reader.text()?.to_owned(),
            labels: read_labels(reader)?,
        },
        METADATA => {
            let (name, metadata) = read_metadata(reader)?;
            Record::Metadata { name, metadata }
        }
        EXEMPLAR => {
            let (series, labels) = (read_labels(reader)?, read_labels(reader)?);
            let exemplar = Exemplar { labels, value: reader.f64()?, at_ms: reader.signed()? };
            Record::Exemplar { series, exemplar }
        }
        _ => return Err(Damaged),
    })
}

fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    put_varint(out, labels.len() as u64);
    for (name, value) in labels.iter() {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

fn read_labels(reader: &mut Reader<'_>) -> Result<Labels, Damaged> {
    let mut pairs: Vec<(Arc<str>, Arc<str>)> = Vec::new();
    for _ in 0..reader.varint()? {
        pairs.push((reader.text()?.into(), reader.text()?.into()));
    }
    Ok(Labels::new(pairs))
}

/// Writes what is known of a metric.
pub(crate) fn put_metadata(out: &mut Vec<u8>, name: &str, metadata: &Metadata) {
    put_bytes(out, name.as_bytes());
    out.push(match metadata.kind {
        Kind::Unknown => 0,
        Kind::Counter => 1,
        Kind::Gauge => 2,
        Kind::Histogram => 3,
        Kind::GaugeHistogram => 4,
        Kind::Summary => 5,
        Kind::Info => 6,
        Kind::StateSet => 7,
    });
    put_bytes(out, metadata.help.as_bytes());
    put_bytes(out, metadata.unit.as_bytes());
}

/// Reads what is known of a metric.
pub(crate) fn read_metadata(reader: &mut Reader<'_>) -> Result<(String, Metadata), Damaged> {
    let name = reader.text()?.to_owned();
    let kind = match reader.byte()? {
        0 => Kind::Unknown,
        1 => Kind::Counter,
        2 => Kind::Gauge,
        3 => Kind::Histogram,
        4 => Kind::GaugeHistogram,
        5 => Kind::Summary,
        6 => Kind::Info,
        7 => Kind::StateSet,
        _ => return Err(Damaged),
    };
    let (help, unit) = (reader.text()?.to_owned(), reader.text()?.to_owned());
    Ok((name, Metadata { kind, help, unit }))
}
