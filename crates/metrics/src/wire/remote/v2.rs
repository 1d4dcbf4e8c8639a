//! `io.prometheus.write.v2.Request`: texts once in a table of symbols, series by their indices.

use std::sync::Arc;

use hashbrown::HashSet;
use promql::METRIC_NAME;
use protowire::{Fault, Reader, fixed64, keep, len, varint};

use super::super::known::Known;
use super::super::labels::{self, Pair, Unfit};
use super::super::limits::Halt;
use super::super::{Cause, Decoded};
use super::walk::{Samples, Walk};

const SYMBOL: u32 = len(4);
const SERIES: u32 = len(5);

/// Walks a message.
pub(super) fn walk(message: &[u8], mut walk: Walk<'_>) -> Result<Decoded, Halt> {
    let symbols = Symbols::read(message, walk.known, walk.limits.symbols)?;
    let mut scratch = Scratch::default();
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag {
            SERIES => series(reader.bytes()?, &symbols, &mut walk, &mut scratch)?,
            SYMBOL => {
                reader.bytes()?;
            }
            _ => reader.skip(tag)?,
        }
    }
    Ok(walk.decoded)
}

/// The table of texts.
struct Symbols<'a> {
    all: Vec<Symbol<'a>>,
}

struct Symbol<'a> {
    sent: &'a [u8],
    hash: u64,
    /// The same text as the series that came before have it: it is then compared by its address.
    known: Option<Arc<str>>,
}

impl<'a> Symbols<'a> {
    fn read(message: &'a [u8], known: &mut Known, most: usize) -> Result<Self, Halt> {
        let mut all = Vec::new();
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            match tag {
                SYMBOL => {
                    let sent = reader.bytes()?;
                    if all.is_empty() && !sent.is_empty() {
                        return Err(reader.fault("the first symbol is not the empty text").into());
                    }
                    if all.len() == most {
                        return Err(Halt::TooMuch { what: "symbols", limit: most });
                    }
                    let hash = known.hash(sent);
                    all.push(Symbol { sent, hash, known: known.known_text(hash, sent) });
                }
                SERIES => {
                    reader.bytes()?;
                }
                _ => reader.skip(tag)?,
            }
        }
        Ok(Self { all })
    }

    #[inline]
    fn text(&self, reference: u32) -> Option<&[u8]> {
        let symbol = self.all.get(reference as usize)?;
        Some(symbol.known.as_ref().map_or(symbol.sent, |known| known.as_bytes()))
    }

    /// Puts the pairs that references stand for into `pairs`.
    #[inline]
    fn pairs<'s>(&'s self, references: &[u32], most: usize, pairs: &mut Vec<Pair<'s>>) -> Result<(), Unfit> {
        pairs.clear();
        if references.len() > most {
            let say = format!("has more than {} labels", most / 2);
            return Err(Unfit { cause: Cause::TooManyLabels, say });
        }
        let (all, rest) = references.as_chunks::<2>();
        for &[name, value] in all {
            let (Some(name), Some(value)) = (self.text(name), self.text(value)) else {
                let count = self.all.len();
                return Err(wrong(format!(
                    "has the symbols {name} and {value} in a label, of {count} there are"
                )));
            };
            pairs.push((name, value));
        }
        match rest {
            [] => Ok(()),
            _ => Err(wrong("has a label without a value".to_owned())),
        }
    }
}

fn wrong(say: String) -> Unfit {
    Unfit { cause: Cause::Reference, say }
}

/// Room that is used for each series again.
#[derive(Default)]
struct Scratch<'a, 's> {
    references: Vec<u32>,
    pairs: Vec<Pair<'s>>,
    exemplars: Vec<&'a [u8]>,
    /// Metadata taken already: name, kind, help, unit.
    told: HashSet<[u32; 4], foldhash::fast::RandomState>,
}

/// Kind, help and unit of a `Metadata`.
#[derive(Default)]
struct Said {
    kind: u32,
    help: u32,
    unit: u32,
}

fn series<'a, 's>(
    message: &'a [u8],
    symbols: &'s Symbols<'a>,
    walk: &mut Walk<'_>,
    scratch: &mut Scratch<'a, 's>,
) -> Result<(), Halt> {
    const LABELS: u32 = len(1);
    const LABEL: u32 = varint(1);
    const SAMPLE: u32 = len(2);
    const HISTOGRAM: u32 = len(3);
    const EXEMPLAR: u32 = len(4);
    const METADATA: u32 = len(5);
    const CREATED: u32 = varint(6);
    walk.begin_series()?;
    let most = 2 * walk.limits.labels;
    let Scratch { references, pairs, exemplars, .. } = scratch;
    references.clear();
    pairs.clear();
    exemplars.clear();
    let mut samples = Samples::default();
    let mut said = Said::default();
    // References come in one field; where they come in several they are looked up at the end, once.
    let mut found = Ok(());
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag {
            LABELS => {
                let first = references.is_empty();
                reader.packed(references, most, reference)?;
                found = if first { symbols.pairs(references, most, pairs) } else { Ok(()) };
            }
            LABEL => {
                keep(references, most, reference(&mut reader)?);
                found = Ok(());
            }
            SAMPLE => walk.sample(reader.bytes()?, &mut samples, pairs)?,
            HISTOGRAM => walk.histogram(reader.bytes()?, &mut samples, pairs)?,
            EXEMPLAR => {
                walk.begin_exemplar()?;
                exemplars.push(reader.bytes()?);
            }
            METADATA => said = metadata(reader.bytes()?)?,
            CREATED => {
                reader.varint()?;
            }
            _ => reader.skip(tag)?,
        }
    }
    if found.is_ok() && pairs.len() * 2 != references.len() {
        found = symbols.pairs(references, most, pairs);
    }
    let labels = found.and_then(|()| {
        let hashes =
            references.iter().filter_map(|&at| symbols.all.get(at as usize)).map(|symbol| symbol.hash);
        let hash = walk.known.combine(hashes);
        labels::series(walk.known, pairs, walk.limits, hash)
    });
    let Some(labels) = walk.end_series(labels, samples, exemplars.len(), pairs) else { return Ok(()) };
    tell(&said, symbols, walk, scratch)?;
    for at in 0..scratch.exemplars.len() {
        let (value, at_ms) = exemplar(scratch.exemplars[at], most, &mut scratch.references)?;
        match symbols.pairs(&scratch.references, most, &mut scratch.pairs) {
            Ok(()) => walk.exemplar(&labels, &mut scratch.pairs, value, at_ms),
            Err(unfit) => walk.leave_exemplar(&labels, unfit),
        }
    }
    Ok(())
}

/// A reference to a symbol. One that is too large for any table is none of this one.
#[inline]
fn reference(reader: &mut Reader<'_>) -> Result<u32, Fault> {
    reader.varint().map(|reference| u32::try_from(reference).unwrap_or(u32::MAX))
}

/// Takes what is said of a series' metric, once for each metric.
fn tell<'s>(
    said: &Said,
    symbols: &'s Symbols<'_>,
    walk: &mut Walk<'_>,
    scratch: &mut Scratch<'_, 's>,
) -> Result<(), Halt> {
    let Said { kind, help, unit } = *said;
    if (kind, help, unit) == (0, 0, 0) {
        return Ok(());
    }
    let (labels, _) = scratch.references.as_chunks::<2>();
    let is_name = |reference| symbols.text(reference) == Some(METRIC_NAME.as_bytes());
    let Some(&[_, name]) = labels.iter().find(|[name, _]| is_name(*name)) else { return Ok(()) };
    if !scratch.told.insert([name, kind, help, unit]) {
        return Ok(());
    }
    match (symbols.text(name), symbols.text(help), symbols.text(unit)) {
        (Some(name), Some(help), Some(unit)) => walk.metadata(u64::from(kind), name, help, unit),
        _ => {
            let count = symbols.all.len();
            walk.leave_metadata(wrong(format!(
                "metadata has the symbols {help} and {unit}, of {count} there are"
            )));
            Ok(())
        }
    }
}

fn metadata(message: &[u8]) -> Result<Said, Fault> {
    const KIND: u32 = varint(1);
    const HELP: u32 = varint(3);
    const UNIT: u32 = varint(4);
    let mut said = Said::default();
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag {
            KIND => said.kind = reference(&mut reader)?,
            HELP => said.help = reference(&mut reader)?,
            UNIT => said.unit = reference(&mut reader)?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(said)
}

/// Value and time of an `Exemplar`; its references are put into `references`.
fn exemplar(message: &[u8], most: usize, references: &mut Vec<u32>) -> Result<(f64, i64), Fault> {
    const LABELS: u32 = len(1);
    const LABEL: u32 = varint(1);
    const VALUE: u32 = fixed64(2);
    const TIME: u32 = varint(3);
    references.clear();
    let (mut value, mut at_ms) = (0.0, 0);
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag {
            LABELS => reader.packed(references, most, reference)?,
            LABEL => keep(references, most, reference(&mut reader)?),
            VALUE => value = reader.double()?,
            TIME => at_ms = reader.varint()? as i64,
            _ => reader.skip(tag)?,
        }
    }
    Ok((value, at_ms))
}
