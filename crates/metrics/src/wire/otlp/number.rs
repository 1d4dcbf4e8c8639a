//! Data points of gauges, sums and summaries.

use promql::Value;
use protowire::{Fault, Reader, fixed64, keep, len, varint};

use super::super::Cause;
use super::super::labels::Unfit;
use super::resource::{attributes, too_many};
use super::walk::{Flags, Metric, Taken, Walk, at_ms, recorded};

/// A `NumberDataPoint`.
#[derive(Default)]
struct Number<'a> {
    attributes: Vec<&'a [u8]>,
    time: u64,
    value: Option<f64>,
    exemplars: Vec<&'a [u8]>,
    flags: Flags,
}

/// A `SummaryDataPoint`.
#[derive(Default)]
struct Summary<'a> {
    attributes: Vec<&'a [u8]>,
    time: u64,
    count: u64,
    sum: f64,
    quantiles: Vec<(f64, f64)>,
    flags: Flags,
}

impl Walk<'_> {
    /// A data point of a gauge or a sum.
    pub(super) fn number(&mut self, metric: &Metric<'_>, message: &[u8], time: &mut u64) -> Taken {
        let limits = self.decoder.limits;
        let point = Number::read(message, limits.labels, limits.exemplars)?;
        if point.attributes.len() > limits.labels {
            return Ok(Err(too_many(limits.labels)));
        }
        let attributes = attributes(&point.attributes, limits.value_bytes)?;
        let take = || {
            let at_ms = at_ms(point.time)?;
            let value = match (point.value, point.flags) {
                (_, Flags::NoRecordedValue) => recorded(0.0, Flags::NoRecordedValue),
                (Some(value), Flags::Recorded) => Value::Float(value),
                (None, Flags::Recorded) => {
                    return Err(Unfit { cause: Cause::NoValue, say: "it has no value".to_owned() });
                }
            };
            let base = self.base(metric, attributes)?;
            let labels = self.series(&base, &metric.name, None)?;
            self.push(labels.clone(), at_ms, value);
            Ok((labels, at_ms))
        };
        match take() {
            Err(unfit) => Ok(Err(unfit)),
            Ok((labels, at_ms)) => {
                *time = point.time;
                self.exemplars(&[(f64::INFINITY, labels)], &point.exemplars, at_ms)?;
                Ok(Ok(()))
            }
        }
    }

    /// A data point of a summary.
    pub(super) fn summary(&mut self, metric: &Metric<'_>, message: &[u8], time: &mut u64) -> Taken {
        let limits = self.decoder.limits;
        let point = Summary::read(message, limits.labels, limits.buckets)?;
        if point.attributes.len() > limits.labels {
            return Ok(Err(too_many(limits.labels)));
        }
        if point.quantiles.len() > limits.buckets {
            let say = format!("it has more than {} quantiles", limits.buckets);
            return Ok(Err(Unfit { cause: Cause::BadBuckets, say }));
        }
        let attributes = attributes(&point.attributes, limits.value_bytes)?;
        *time = point.time;
        Ok(self.summary_series(metric, attributes, &point))
    }

    fn summary_series<'a>(
        &mut self,
        metric: &'a Metric<'a>,
        attributes: Vec<(&'a str, std::borrow::Cow<'a, str>)>,
        point: &Summary<'_>,
    ) -> Result<(), Unfit> {
        let at_ms = at_ms(point.time)?;
        let base = self.base(metric, attributes)?;
        for (suffix, value) in [("_sum", point.sum), ("_count", point.count as f64)] {
            let labels = self.series(&base, &format!("{}{suffix}", metric.name), None)?;
            self.push(labels, at_ms, recorded(value, point.flags));
        }
        for &(quantile, value) in &point.quantiles {
            let labels = self.series(&base, &metric.name, Some(("quantile", &quantile.to_string())))?;
            self.push(labels, at_ms, recorded(value, point.flags));
        }
        Ok(())
    }
}

impl<'a> Number<'a> {
    fn read(message: &'a [u8], labels: usize, exemplars: usize) -> Result<Self, Fault> {
        const TIME: u32 = fixed64(3);
        const DOUBLE: u32 = fixed64(4);
        const EXEMPLAR: u32 = len(5);
        const INT: u32 = fixed64(6);
        const ATTRIBUTE: u32 = len(7);
        const FLAGS: u32 = varint(8);
        let mut point = Self::default();
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            match tag {
                TIME => point.time = reader.fixed64()?,
                DOUBLE => point.value = Some(reader.double()?),
                INT => point.value = Some(reader.fixed64()? as i64 as f64),
                EXEMPLAR => keep(&mut point.exemplars, exemplars, reader.bytes()?),
                ATTRIBUTE => keep(&mut point.attributes, labels, reader.bytes()?),
                FLAGS => point.flags = Flags::read(&mut reader)?,
                _ => reader.skip(tag)?,
            }
        }
        Ok(point)
    }
}

impl<'a> Summary<'a> {
    fn read(message: &'a [u8], labels: usize, quantiles: usize) -> Result<Self, Fault> {
        const TIME: u32 = fixed64(3);
        const COUNT: u32 = fixed64(4);
        const SUM: u32 = fixed64(5);
        const QUANTILE: u32 = len(6);
        const ATTRIBUTE: u32 = len(7);
        const FLAGS: u32 = varint(8);
        let mut point = Self::default();
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            match tag {
                TIME => point.time = reader.fixed64()?,
                COUNT => point.count = reader.fixed64()?,
                SUM => point.sum = reader.double()?,
                QUANTILE => keep(&mut point.quantiles, quantiles, quantile(reader.bytes()?)?),
                ATTRIBUTE => keep(&mut point.attributes, labels, reader.bytes()?),
                FLAGS => point.flags = Flags::read(&mut reader)?,
                _ => reader.skip(tag)?,
            }
        }
        Ok(point)
    }
}

/// A `ValueAtQuantile`.
fn quantile(message: &[u8]) -> Result<(f64, f64), Fault> {
    let (mut quantile, mut value) = (0.0, 0.0);
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag {
            _ if tag == fixed64(1) => quantile = reader.double()?,
            _ if tag == fixed64(2) => value = reader.double()?,
            _ => reader.skip(tag)?,
        }
    }
    Ok((quantile, value))
}
