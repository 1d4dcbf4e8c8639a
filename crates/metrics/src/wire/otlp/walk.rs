//! The walk from the request down to the data points, and what all kinds of data points share.

use std::borrow::Cow;
use std::sync::Arc;

use promql::{Labels, METRIC_NAME, Sample, Value};
use protowire::{Fault, Reader, find, len, varint};

use super::super::labels::{self, Unfit};
use super::super::limits::{Halt, Used};
use super::super::{Cause, Decoded, STALE_BITS, Tally};
use super::Decoder;
use super::names::Kind;
use super::resource::Resource;
use super::value::utf8;
use crate::{Kind as MetricKind, Metadata};

/// A label under way: its name as Prometheus has it.
pub(super) type Label<'a> = (Arc<str>, Cow<'a, str>);

/// What came of one data point: taken, or why not. Where a walk must end is told apart.
pub(super) type Taken = Result<Result<(), Unfit>, Halt>;

/// A request under way.
pub(super) struct Walk<'d> {
    pub(super) decoder: &'d mut Decoder,
    pub(super) decoded: Decoded,
    pub(super) used: Used,
}

/// A metric under way.
pub(super) struct Metric<'a> {
    /// As it was sent.
    sent: &'a str,
    /// As Prometheus has it.
    pub(super) name: String,
    /// Who measured it.
    pub(super) resource: &'a Resource<'a>,
}

/// The fields of a `Metric` message.
#[derive(Default)]
struct Sent<'a> {
    name: &'a str,
    description: &'a str,
    unit: &'a str,
    data: Option<(u32, &'a [u8])>,
}

const GAUGE: u32 = len(5);
const SUM: u32 = len(7);
const HISTOGRAM: u32 = len(9);
const EXPONENTIAL_HISTOGRAM: u32 = len(10);
const SUMMARY: u32 = len(11);

/// The only temporality Prometheus has.
const CUMULATIVE: u64 = 2;
const DELTA: u64 = 1;

/// Walks an `ExportMetricsServiceRequest`.
pub(super) fn walk(request: &[u8], decoder: &mut Decoder) -> Result<Decoded, Halt> {
    let mut walk = Walk { decoder, decoded: Decoded::default(), used: Used::default() };
    let mut reader = Reader::new(request);
    while let Some(tag) = reader.tag()? {
        if tag == len(1) {
            walk.resource_metrics(reader.bytes()?)?;
        } else {
            reader.skip(tag)?;
        }
    }
    Ok(walk.decoded)
}

impl Walk<'_> {
    fn resource_metrics(&mut self, message: &[u8]) -> Result<(), Halt> {
        let resource = Resource::read(find(message, 1)?, self.decoder)?;
        let mut times = None;
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            if tag == len(2) {
                self.scope_metrics(reader.bytes()?, &resource, &mut times)?;
            } else {
                reader.skip(tag)?;
            }
        }
        match times {
            Some(times) => resource.info(self, times),
            None => Ok(()),
        }
    }

    fn scope_metrics(
        &mut self,
        message: &[u8],
        resource: &Resource<'_>,
        times: &mut Option<(u64, u64)>,
    ) -> Result<(), Halt> {
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            if tag == len(2) {
                self.metric(reader.bytes()?, resource, times)?;
            } else {
                reader.skip(tag)?;
            }
        }
        Ok(())
    }

    fn metric(
        &mut self,
        message: &[u8],
        resource: &Resource<'_>,
        times: &mut Option<(u64, u64)>,
    ) -> Result<(), Halt> {
        let sent = Sent::read(message)?;
        let Some((tag, data)) = sent.data else {
            let say = || format!("metric {:?} has no data of a kind that is known", labels::short(sent.name));
            self.decoded.left.leave(Cause::UnknownKind, Tally::NONE, say);
            return Ok(());
        };
        let Shape { temporality, monotonic, points } = Shape::read(data)?;
        let mut leave = |cause, why: &str| {
            let say = || format!("metric {:?} {why}", labels::short(sent.name));
            self.decoded.left.leave(cause, Tally::points(points), say);
            Ok(())
        };
        if matches!(tag, SUM | HISTOGRAM | EXPONENTIAL_HISTOGRAM) {
            match temporality {
                CUMULATIVE => {}
                DELTA => return leave(Cause::Delta, TELL_CUMULATIVE),
                _ => return leave(Cause::NoTemporality, "does not say its aggregation temporality"),
            }
        }
        let counts = tag == SUM && monotonic;
        let kind = match tag {
            SUM if counts => Kind::Counter,
            GAUGE => Kind::Gauge,
            _ => Kind::Other,
        };
        let translation = self.decoder.config.translation;
        let Some(name) = translation.metric(sent.name, sent.unit, kind) else {
            return leave(Cause::UnusableName, "has no name, or none of characters Prometheus has in names");
        };
        self.metadata(&sent, &name, tag, counts)?;
        let metric = Metric { sent: sent.name, name, resource };
        self.points(&metric, tag, data, times)
    }

    fn metadata(&mut self, sent: &Sent<'_>, name: &str, tag: u32, counts: bool) -> Result<(), Halt> {
        self.used.metadata += 1;
        let limits = &self.decoder.limits;
        self.used.check(limits)?;
        let kind = match tag {
            SUM if counts => MetricKind::Counter,
            GAUGE | SUM => MetricKind::Gauge,
            HISTOGRAM | EXPONENTIAL_HISTOGRAM => MetricKind::Histogram,
            _ => MetricKind::Summary,
        };
        let fits = |text: &str| text.len() <= limits.value_bytes;
        if !fits(name) || !fits(sent.unit) {
            // Its data points are too long for the same reason, or have a unit nobody reads.
            let say = || format!("metadata of {:?}: its name or unit is too long", labels::short(sent.name));
            self.decoded.left.leave(Cause::BadMetadata, Tally::METADATA, say);
            return Ok(());
        }
        let cut = sent.description.len() > limits.help_bytes;
        self.decoded.left.helps_cut += u64::from(cut);
        let end = if cut {
            sent.description.floor_char_boundary(limits.help_bytes)
        } else {
            sent.description.len()
        };
        let help = sent.description[..end].to_owned();
        self.decoded
            .batch
            .metadata
            .push((name.to_owned(), Metadata { kind, help, unit: sent.unit.to_owned() }));
        Ok(())
    }

    fn points(
        &mut self,
        metric: &Metric<'_>,
        tag: u32,
        data: &[u8],
        times: &mut Option<(u64, u64)>,
    ) -> Result<(), Halt> {
        let mut reader = Reader::new(data);
        let mut at = 0;
        while let Some(field) = reader.tag()? {
            if field != len(1) {
                reader.skip(field)?;
                continue;
            }
            let message = reader.bytes()?;
            let before = (self.decoded.batch.series.len(), self.decoded.batch.exemplars.len());
            let mut time = 0;
            let taken = match tag {
                GAUGE | SUM => self.number(metric, message, &mut time)?,
                HISTOGRAM => self.histogram(metric, message, &mut time)?,
                EXPONENTIAL_HISTOGRAM => self.exponential_histogram(metric, message, &mut time)?,
                _ => self.summary(metric, message, &mut time)?,
            };
            match taken {
                Ok(()) => {
                    self.decoded.points += 1;
                    let (first, last) = times.unwrap_or((time, time));
                    *times = Some((first.min(time), last.max(time)));
                }
                Err(Unfit { cause, say }) => {
                    self.decoded.batch.series.truncate(before.0);
                    self.decoded.batch.exemplars.truncate(before.1);
                    let say = || format!("metric {:?}, data point {at}: {say}", labels::short(metric.sent));
                    self.decoded.left.leave(cause, Tally::points(1), say);
                }
            }
            self.used.series += 1;
            self.used.check(&self.decoder.limits)?;
            at += 1;
        }
        Ok(())
    }

    /// The labels every series of a data point has.
    pub(super) fn base<'a>(
        &mut self,
        metric: &'a Metric<'a>,
        attributes: Vec<(&'a str, Cow<'a, str>)>,
    ) -> Result<Vec<Label<'a>>, Unfit> {
        let mut base = translated(self.decoder, attributes)?;
        let Resource { promoted, own, .. } = metric.resource;
        for (name, value) in promoted {
            if !base.iter().any(|(known, _)| known == name) {
                base.push((Arc::clone(name), Cow::Borrowed(value)));
            }
        }
        for (name, value) in own {
            base.retain(|(known, _)| known != name);
            base.push((Arc::clone(name), Cow::Borrowed(value)));
        }
        Ok(base)
    }

    /// The labels of one series of a data point: `name`, and perhaps one label more.
    pub(super) fn series(
        &mut self,
        base: &[Label<'_>],
        name: &str,
        extra: Option<(&str, &str)>,
    ) -> Result<Labels, Unfit> {
        let overwritten =
            |label: &str| label == METRIC_NAME || extra.is_some_and(|(extra, _)| extra == label);
        let base = base.iter().filter(|(label, _)| !overwritten(label));
        let mut pairs: Vec<labels::Pair<'_>> =
            base.map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        pairs.push((METRIC_NAME.as_bytes(), name.as_bytes()));
        pairs.extend(extra.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        pairs.sort_unstable_by_key(|pair| pair.0);
        let Decoder { known, limits, .. } = &mut *self.decoder;
        let hashes = pairs.iter().flat_map(|(name, value)| [known.hash(name), known.hash(value)]);
        let hash = known.combine(hashes);
        labels::series(known, &mut pairs, limits, hash)
    }

    /// Takes one sample.
    pub(super) fn push(&mut self, labels: Labels, at_ms: i64, value: Value) {
        self.used.samples += 1;
        self.decoded.batch.series.push((labels, vec![Sample { at_ms, value }]));
    }
}

/// Attributes as labels. Keys that become one label have their values joined, in the order of the keys.
pub(super) fn translated<'a>(
    decoder: &mut Decoder,
    mut attributes: Vec<(&'a str, Cow<'a, str>)>,
) -> Result<Vec<Label<'a>>, Unfit> {
    attributes.sort_by_key(|(key, _)| *key);
    let mut labels: Vec<Label<'a>> = Vec::with_capacity(attributes.len() + 4);
    for (key, value) in attributes {
        let Some(name) = decoder.labels.of(key) else {
            let say = format!("the attribute {:?} has no usable name", labels::short(key));
            return Err(Unfit { cause: Cause::UnusableName, say });
        };
        match labels.iter_mut().find(|(known, _)| *known == name) {
            Some((_, joined)) => *joined = format!("{joined};{value}").into(),
            None => labels.push((name, value)),
        }
    }
    Ok(labels)
}

const TELL_CUMULATIVE: &str = "is of delta temporality; have its sender add up \
    (OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative), or put a Collector with deltatocumulative between";

/// A number, or the marker of a point without a recorded value.
pub(super) fn recorded(value: f64, flags: Flags) -> Value {
    Value::Float(match flags {
        Flags::Recorded => value,
        Flags::NoRecordedValue => f64::from_bits(STALE_BITS),
    })
}

/// Whether a data point holds a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Flags {
    #[default]
    Recorded,
    /// The series ended: OTLP's `FLAG_NO_RECORDED_VALUE`.
    NoRecordedValue,
}

impl Flags {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let bits = reader.varint()?;
        Ok(if bits & 1 == 1 { Self::NoRecordedValue } else { Self::Recorded })
    }
}

/// The time of a data point in milliseconds since 1970.
pub(super) fn at_ms(nanoseconds: u64) -> Result<i64, Unfit> {
    match nanoseconds {
        0 => Err(Unfit { cause: Cause::NoTime, say: "it has no time".to_owned() }),
        nanoseconds => Ok((nanoseconds / 1_000_000) as i64),
    }
}

impl<'a> Sent<'a> {
    fn read(message: &'a [u8]) -> Result<Self, Fault> {
        let mut sent = Self::default();
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            match tag {
                _ if tag == len(1) => sent.name = utf8(&mut reader)?,
                _ if tag == len(2) => sent.description = utf8(&mut reader)?,
                _ if tag == len(3) => sent.unit = utf8(&mut reader)?,
                GAUGE | SUM | HISTOGRAM | EXPONENTIAL_HISTOGRAM | SUMMARY => {
                    sent.data = Some((tag, reader.bytes()?))
                }
                _ => reader.skip(tag)?,
            }
        }
        Ok(sent)
    }
}

/// What is said of all data points of a metric, and how many there are.
#[derive(Default)]
struct Shape {
    temporality: u64,
    monotonic: bool,
    points: u64,
}

impl Shape {
    fn read(data: &[u8]) -> Result<Self, Fault> {
        let mut shape = Self::default();
        let mut reader = Reader::new(data);
        while let Some(tag) = reader.tag()? {
            match tag {
                _ if tag == len(1) => {
                    reader.bytes()?;
                    shape.points += 1;
                }
                _ if tag == varint(2) => shape.temporality = reader.varint()?,
                _ if tag == varint(3) => shape.monotonic = reader.varint()? != 0,
                _ => reader.skip(tag)?,
            }
        }
        Ok(shape)
    }
}
