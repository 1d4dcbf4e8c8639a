//! A page line by line: what each line says.
//!
//! In: a page. Out: one [`Entry`] for each line that says something, or the error of the first line that is none.

use std::borrow::Cow;

use super::cursor::{Cursor, Name, Quotes, unescaped};
use super::{Format, PageError, number};
use crate::Kind;

/// Name and value of a label.
pub(super) type Pair<'p> = (Cow<'p, str>, Cow<'p, str>);

/// What a line says.
#[derive(Debug, PartialEq)]
pub(super) enum Entry<'p> {
    Sample(Line<'p>),
    Kind { name: Cow<'p, str>, kind: Kind },
    Help { name: Cow<'p, str>, help: String },
    Unit { name: Cow<'p, str>, unit: &'p str },
}

/// A sample. Its labels, name and all, are in the list the caller gave.
#[derive(Debug, PartialEq)]
pub(super) struct Line<'p> {
    /// The labels as they stand in the page: what a series is known by until the next one.
    pub(super) series: &'p str,
    pub(super) value: f64,
    pub(super) at_ms: Option<i64>,
    pub(super) exemplar: Option<ExemplarLine<'p>>,
    /// Where it stands.
    pub(super) number: usize,
}

#[derive(Debug, PartialEq)]
pub(super) struct ExemplarLine<'p> {
    pub(super) labels: Vec<Pair<'p>>,
    pub(super) value: f64,
    pub(super) at_ms: Option<i64>,
}

/// The lines of a page.
pub(super) struct Entries<'p> {
    format: Format,
    rest: &'p str,
    number: usize,
    /// Of the last `# TYPE`.
    kind: Kind,
    /// `# EOF` was seen.
    ended: bool,
}

impl<'p> Entries<'p> {
    /// The lines of a page, which is UTF-8 as a whole.
    pub(super) fn new(format: Format, page: &'p [u8]) -> Result<Self, PageError> {
        let rest = std::str::from_utf8(page).map_err(|error| {
            let before = &page[..error.valid_up_to()];
            let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
            let column = before.len() - line_start + 1;
            PageError { line, column, what: "the page is not UTF-8".to_owned() }
        })?;
        Ok(Self { format, rest, number: 0, kind: Kind::Unknown, ended: false })
    }

    /// The line that was read last, counted from 1.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// The next entry. The labels of a sample are put into `pairs`.
    pub(super) fn next(&mut self, pairs: &mut Vec<Pair<'p>>) -> Result<Option<Entry<'p>>, PageError> {
        while let Some(line) = self.line() {
            let mut cursor = Cursor::new(line, self.number);
            let entry = match self.format {
                Format::Prometheus => self.prometheus(&mut cursor, pairs)?,
                Format::OpenMetrics => self.openmetrics(&mut cursor, pairs)?,
            };
            if let Some(entry) = entry {
                return Ok(Some(entry));
            }
        }
        if self.format == Format::OpenMetrics && !self.ended {
            let what = "the page does not end with # EOF".to_owned();
            return Err(PageError { line: self.number + 1, column: 1, what });
        }
        Ok(None)
    }

    /// The next line. The line feed at the end of the last one may be missing.
    fn line(&mut self) -> Option<&'p str> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        Some(line)
    }

    fn prometheus(
        &mut self,
        cursor: &mut Cursor<'p>,
        pairs: &mut Vec<Pair<'p>>,
    ) -> Result<Option<Entry<'p>>, PageError> {
        cursor.blanks();
        if cursor.is_done() {
            return Ok(None);
        }
        if !cursor.eat(b'#') {
            return self.sample(cursor, pairs).map(Some);
        }
        let comment = !cursor.blanks();
        let word = cursor.word();
        let said = cursor.blanks() && !comment;
        match word {
            Some("HELP") if said => {
                let name = metric(cursor)?;
                if !cursor.is_done() && !cursor.eat(b' ') && !cursor.eat(b'\t') {
                    return Err(cursor.expected("a blank after the name of the metric"));
                }
                Ok(Some(Entry::Help { name, help: unescaped(cursor.all(), Quotes::Plain) }))
            }
            Some("TYPE") if said => {
                let name = metric(cursor)?;
                if !cursor.blanks() {
                    return Err(cursor.expected("a blank and the type of the metric"));
                }
                let kind = match cursor.rest().trim_end_matches([' ', '\t']) {
                    "counter" => Kind::Counter,
                    "gauge" => Kind::Gauge,
                    "histogram" => Kind::Histogram,
                    "summary" => Kind::Summary,
                    "untyped" => Kind::Unknown,
                    _ => return Err(cursor.error(NO_TYPE)),
                };
                self.kind = kind;
                Ok(Some(Entry::Kind { name, kind }))
            }
            _ => Ok(None),
        }
    }

    fn openmetrics(
        &mut self,
        cursor: &mut Cursor<'p>,
        pairs: &mut Vec<Pair<'p>>,
    ) -> Result<Option<Entry<'p>>, PageError> {
        if self.ended {
            return Err(cursor.error("there is more after # EOF"));
        }
        if !cursor.eat(b'#') {
            return self.sample(cursor, pairs).map(Some);
        }
        if cursor.rest() == " EOF" {
            self.ended = true;
            return Ok(None);
        }
        let after_name = |cursor: &mut Cursor<'p>| match cursor.eat(b' ') {
            true => Ok(()),
            false => Err(cursor.expected("a space after the name of the metric")),
        };
        if cursor.eat_text(" HELP ") {
            let name = metric(cursor)?;
            after_name(cursor)?;
            return Ok(Some(Entry::Help { name, help: unescaped(cursor.all(), Quotes::Escaped) }));
        }
        if cursor.eat_text(" TYPE ") {
            let name = metric(cursor)?;
            after_name(cursor)?;
            let kind = match cursor.rest() {
                "counter" => Kind::Counter,
                "gauge" => Kind::Gauge,
                "histogram" => Kind::Histogram,
                "gaugehistogram" => Kind::GaugeHistogram,
                "summary" => Kind::Summary,
                "info" => Kind::Info,
                "stateset" => Kind::StateSet,
                "unknown" => Kind::Unknown,
                _ => return Err(cursor.error(NO_OPENMETRICS_TYPE)),
            };
            self.kind = kind;
            return Ok(Some(Entry::Kind { name, kind }));
        }
        if cursor.eat_text(" UNIT ") {
            let name = metric(cursor)?;
            after_name(cursor)?;
            let unit = cursor.rest();
            let ends = |name: &str| {
                name.strip_suffix(unit).is_some_and(|name| name.len() > 1 && name.ends_with('_'))
            };
            if !unit.is_empty() && !ends(&name) {
                return Err(cursor.error(format!("the unit {unit:?} is not the end of the name {name:?}")));
            }
            return Ok(Some(Entry::Unit { name, unit }));
        }
        Err(cursor.expected("\" HELP \", \" TYPE \", \" UNIT \" or \" EOF\""))
    }

    /// A sample of either format.
    fn sample(&self, cursor: &mut Cursor<'p>, pairs: &mut Vec<Pair<'p>>) -> Result<Entry<'p>, PageError> {
        pairs.clear();
        let start = cursor.at();
        if let Some(name) = cursor.name(Name::Metric) {
            pairs.push((promql::METRIC_NAME.into(), name.into()));
        } else if cursor.peek() != Some(b'{') {
            return Err(cursor.expected("the name of a metric"));
        }
        let named = cursor.at();
        if self.format == Format::Prometheus {
            cursor.blanks();
        }
        let series = if cursor.eat(b'{') {
            self.labels(cursor, pairs)?;
            cursor.since(start)
        } else {
            cursor.since(start).get(..named - start).unwrap_or_default()
        };
        if !pairs.iter().any(|(name, _)| name == promql::METRIC_NAME) {
            return Err(cursor.error("the sample has no name"));
        }
        let (value, at_ms) = self.value_and_time(cursor)?;
        let exemplar = match self.format {
            Format::OpenMetrics if cursor.eat_text(" # {") => Some(self.exemplar(cursor)?),
            Format::OpenMetrics | Format::Prometheus => None,
        };
        if self.format == Format::Prometheus {
            cursor.blanks();
        }
        if !cursor.is_done() {
            return Err(cursor.expected("the end of the line"));
        }
        for (name, value) in pairs.iter_mut() {
            self.canonical(name, value);
        }
        Ok(Entry::Sample(Line { series, value, at_ms, exemplar, number: self.number }))
    }

    /// Labels up to the closing brace. A text in quotes that no value follows is the name of the metric.
    fn labels(&self, cursor: &mut Cursor<'p>, pairs: &mut Vec<Pair<'p>>) -> Result<(), PageError> {
        let blanks = |cursor: &mut Cursor<'p>| {
            if self.format == Format::Prometheus {
                cursor.blanks();
            }
        };
        loop {
            blanks(cursor);
            if cursor.eat(b'}') {
                return Ok(());
            }
            let place = cursor.clone();
            let (name, quoted) = match cursor.peek() {
                Some(b'"') => (cursor.quoted()?, true),
                _ => (
                    cursor.name(Name::Label).ok_or_else(|| cursor.expected("the name of a label"))?.into(),
                    false,
                ),
            };
            blanks(cursor);
            let pair = if cursor.eat(b'=') {
                blanks(cursor);
                (name, cursor.quoted()?)
            } else if quoted {
                (promql::METRIC_NAME.into(), name)
            } else {
                return Err(cursor.expected("="));
            };
            if pair.0.is_empty() || pair.0 == promql::METRIC_NAME && pair.1.is_empty() {
                return Err(place.error("a name is empty"));
            }
            if pairs.iter().any(|(name, _)| *name == pair.0) {
                return Err(place.error(format!("the label {} is there twice", pair.0)));
            }
            pairs.push(pair);
            blanks(cursor);
            if !cursor.eat(b',') && cursor.peek() != Some(b'}') {
                return Err(cursor.expected("a comma or the closing brace"));
            }
        }
    }

    /// Value and time, each with the blank before it.
    fn value_and_time(&self, cursor: &mut Cursor<'p>) -> Result<(f64, Option<i64>), PageError> {
        let strict = self.format == Format::OpenMetrics;
        // After the brace of a line of Prometheus the blank may be missing.
        if strict && !cursor.eat(b' ') {
            return Err(cursor.expected("a space and the value"));
        }
        if !strict {
            cursor.blanks();
        }
        let place = cursor.clone();
        let word = cursor.word().ok_or_else(|| cursor.expected("the value"))?;
        let value =
            number::value(word).ok_or_else(|| place.error(format!("{:?} is no number", shown(word))))?;
        let mut next = cursor.clone();
        let there = if strict { next.eat(b' ') } else { next.blanks() };
        let word = if strict && next.peek() == Some(b'#') { None } else { next.word() };
        let Some(word) = word.filter(|_| there) else { return Ok((value, None)) };
        let at_ms = match self.format {
            Format::OpenMetrics => number::seconds(word),
            Format::Prometheus => word.parse().ok(),
        };
        let mut place = cursor.clone();
        place.blanks();
        *cursor = next;
        match at_ms {
            Some(at_ms) => Ok((value, Some(at_ms))),
            None => Err(place.error(format!("{:?} is no time", shown(word)))),
        }
    }

    /// An exemplar behind its opening brace.
    fn exemplar(&self, cursor: &mut Cursor<'p>) -> Result<ExemplarLine<'p>, PageError> {
        let mut labels = Vec::new();
        let place = cursor.clone();
        self.labels(cursor, &mut labels)?;
        if labels.iter().any(|(name, _)| name == promql::METRIC_NAME) {
            return Err(place.error("an exemplar has no name of a metric"));
        }
        let (value, at_ms) = self.value_and_time(cursor)?;
        Ok(ExemplarLine { labels, value, at_ms })
    }

    /// Writes a boundary or a quantile as all are written.
    fn canonical(&self, name: &str, value: &mut Cow<'p, str>) {
        let number = match (self.kind, name) {
            (Kind::Histogram | Kind::GaugeHistogram, "le") | (Kind::Summary, "quantile") => {
                number::value(value)
            }
            _ => None,
        };
        if let Some(number) = number {
            let canonical = number::canonical(number);
            if *value != canonical {
                *value = canonical.into();
            }
        }
    }
}

const NO_TYPE: &str = "expected counter, gauge, histogram, summary or untyped";
const NO_OPENMETRICS_TYPE: &str =
    "expected counter, gauge, histogram, gaugehistogram, summary, info, stateset or unknown";

/// The name of a metric in a line that says something of it.
fn metric<'p>(cursor: &mut Cursor<'p>) -> Result<Cow<'p, str>, PageError> {
    if cursor.peek() == Some(b'"') {
        let place = cursor.clone();
        let name = cursor.quoted()?;
        return if name.is_empty() { Err(place.error("a name is empty")) } else { Ok(name) };
    }
    cursor.name(Name::Metric).map(Cow::from).ok_or_else(|| cursor.expected("the name of a metric"))
}

/// A word for a message.
fn shown(word: &str) -> Cow<'_, str> {
    super::super::labels::short(word)
}
