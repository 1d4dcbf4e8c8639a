//! `prometheus.WriteRequest`: every series with its labels in full.

use protowire::{Fault, Reader, fixed64, keep, len, varint};

use super::super::Decoded;
use super::super::labels::{self, Pair};
use super::super::limits::Halt;
use super::walk::{Samples, Walk};

/// Walks a message.
pub(super) fn walk(message: &[u8], mut walk: Walk<'_>) -> Result<Decoded, Halt> {
    const SERIES: u32 = len(1);
    const METADATA: u32 = len(3);
    let mut scratch = Scratch::default();
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag {
            SERIES => series(reader.bytes()?, &mut walk, &mut scratch)?,
            METADATA => metadata(reader.bytes()?, &mut walk)?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(walk.decoded)
}

/// Room that is used for each series again.
#[derive(Default)]
struct Scratch<'a> {
    pairs: Vec<Pair<'a>>,
    exemplars: Vec<&'a [u8]>,
    exemplar_pairs: Vec<Pair<'a>>,
}

fn series<'a>(message: &'a [u8], walk: &mut Walk<'_>, scratch: &mut Scratch<'a>) -> Result<(), Halt> {
    const LABEL: u32 = len(1);
    const SAMPLE: u32 = len(2);
    const EXEMPLAR: u32 = len(3);
    const HISTOGRAM: u32 = len(4);
    walk.begin_series()?;
    let Scratch { pairs, exemplars, .. } = scratch;
    pairs.clear();
    exemplars.clear();
    let mut samples = Samples::default();
    // Labels come first; these bytes are what a series is known by.
    let mut labels_end = 0;
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag {
            LABEL => {
                keep(pairs, walk.limits.labels, label(reader.bytes()?)?);
                labels_end = message.len() - reader.left();
            }
            SAMPLE => walk.sample(reader.bytes()?, &mut samples, pairs)?,
            EXEMPLAR => {
                walk.begin_exemplar()?;
                exemplars.push(reader.bytes()?);
            }
            HISTOGRAM => walk.histogram(reader.bytes()?, &mut samples, pairs)?,
            _ => reader.skip(tag)?,
        }
    }
    let hash = walk.known.hash(&message[..labels_end]);
    let labels = labels::series(walk.known, pairs, walk.limits, hash);
    let Some(labels) = walk.end_series(labels, samples, exemplars.len(), pairs) else { return Ok(()) };
    for &message in &scratch.exemplars {
        let (value, at_ms) = exemplar(message, walk.limits.labels, &mut scratch.exemplar_pairs)?;
        walk.exemplar(&labels, &mut scratch.exemplar_pairs, value, at_ms);
    }
    Ok(())
}

/// Name and value of a `Label`.
#[inline]
fn label(message: &[u8]) -> Result<Pair<'_>, Fault> {
    const NAME: u32 = len(1);
    const VALUE: u32 = len(2);
    let mut pair: Pair<'_> = (&[], &[]);
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag {
            NAME => pair.0 = reader.bytes()?,
            VALUE => pair.1 = reader.bytes()?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(pair)
}

/// Value and time of an `Exemplar`; its labels are put into `pairs`.
fn exemplar<'a>(message: &'a [u8], most: usize, pairs: &mut Vec<Pair<'a>>) -> Result<(f64, i64), Fault> {
    const LABEL: u32 = len(1);
    const VALUE: u32 = fixed64(2);
    const TIME: u32 = varint(3);
    pairs.clear();
    let (mut value, mut at_ms) = (0.0, 0);
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag {
            LABEL => keep(pairs, most, label(reader.bytes()?)?),
            VALUE => value = reader.double()?,
            TIME => at_ms = reader.varint()? as i64,
            _ => reader.skip(tag)?,
        }
    }
    Ok((value, at_ms))
}

fn metadata(message: &[u8], walk: &mut Walk<'_>) -> Result<(), Halt> {
    const KIND: u32 = varint(1);
    const NAME: u32 = len(2);
    const HELP: u32 = len(4);
    const UNIT: u32 = len(5);
    let mut kind = 0;
    let [mut name, mut help, mut unit]: [&[u8]; 3] = [&[]; 3];
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag {
            KIND => kind = reader.varint()?,
            NAME => name = reader.bytes()?,
            HELP => help = reader.bytes()?,
            UNIT => unit = reader.bytes()?,
            _ => reader.skip(tag)?,
        }
    }
    walk.metadata(kind, name, help, unit)
}
