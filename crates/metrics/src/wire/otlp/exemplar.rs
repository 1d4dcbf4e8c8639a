//! Exemplars of data points: a measurement with the trace it came from.

use std::fmt::Write as _;

use promql::Labels;
use protowire::{Fault, Reader, fixed64, keep, len};

use super::super::limits::{EXEMPLAR_CHARACTERS, Halt};
use super::super::{Cause, Tally};
use super::resource::attributes;
use super::walk::Walk;
use crate::Exemplar;

/// An `Exemplar` of OTLP.
#[derive(Default)]
struct Sent<'a> {
    attributes: Vec<&'a [u8]>,
    time: u64,
    value: Option<f64>,
    span: &'a [u8],
    trace: &'a [u8],
}

impl Walk<'_> {
    /// Takes exemplars, each for the first of `series` whose boundary is not below its value. They have the time of the
    /// data point where they bring none.
    pub(super) fn exemplars(
        &mut self,
        series: &[(f64, Labels)],
        messages: &[&[u8]],
        at_ms: i64,
    ) -> Result<(), Halt> {
        for message in messages {
            self.used.exemplars += 1;
            self.used.check(&self.decoder.limits)?;
            let sent = Sent::read(message, self.decoder.limits.labels)?;
            let Some(value) = sent.value else {
                let say = || "an exemplar has no value".to_owned();
                self.decoded.left.leave(Cause::NoValue, Tally::EXEMPLAR, say);
                continue;
            };
            // NaN is in no bucket but the last.
            let Some((_, labels)) = series.iter().find(|(bound, _)| value <= *bound).or(series.last()) else {
                continue;
            };
            let exemplar = Exemplar {
                labels: sent.labels(self.decoder.limits.value_bytes)?,
                value,
                at_ms: if sent.time == 0 { at_ms } else { (sent.time / 1_000_000) as i64 },
            };
            self.decoded.batch.exemplars.push((labels.clone(), exemplar));
        }
        Ok(())
    }
}

impl<'a> Sent<'a> {
    fn read(message: &'a [u8], most: usize) -> Result<Self, Fault> {
        const TIME: u32 = fixed64(2);
        const DOUBLE: u32 = fixed64(3);
        const SPAN: u32 = len(4);
        const TRACE: u32 = len(5);
        const INT: u32 = fixed64(6);
        const ATTRIBUTE: u32 = len(7);
        let mut sent = Self::default();
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            match tag {
                TIME => sent.time = reader.fixed64()?,
                DOUBLE => sent.value = Some(reader.double()?),
                INT => sent.value = Some(reader.fixed64()? as i64 as f64),
                SPAN => sent.span = reader.bytes()?,
                TRACE => sent.trace = reader.bytes()?,
                ATTRIBUTE => keep(&mut sent.attributes, most, reader.bytes()?),
                _ => reader.skip(tag)?,
            }
        }
        Ok(sent)
    }

    /// Its trace and span, and its attributes where all of it together is not longer than an exemplar's labels may be:
    /// that is what Prometheus does, because the trace is what people look for.
    fn labels(&self, value_bytes: usize) -> Result<Labels, Fault> {
        let ids = [("trace_id", self.trace, 16), ("span_id", self.span, 8)];
        let usable =
            ids.into_iter().filter(|(_, id, length)| id.len() == *length && id.iter().any(|&byte| byte != 0));
        let ids: Vec<(&str, String)> = usable.map(|(name, id, _)| (name, hex(id))).collect();
        let attributes = attributes(&self.attributes, value_bytes)?;
        let characters = |name: &str, value: &str| name.chars().count() + value.chars().count();
        let all: usize = ids.iter().map(|(name, id)| characters(name, id)).sum::<usize>()
            + attributes.iter().map(|(name, value)| characters(name, value)).sum::<usize>();
        let others = if all <= EXEMPLAR_CHARACTERS { attributes } else { Vec::new() };
        let others =
            others.iter().filter(|(name, _)| !name.is_empty()).map(|(name, value)| (*name, &**value));
        Ok(Labels::new(others.chain(ids.iter().map(|(name, id)| (*name, &**id)))))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
