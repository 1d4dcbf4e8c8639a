//! Series as the scripts describe them: `name{label="value"} 1 2+3x4 _ stale {{count:1 sum:2}}`.

use promql::{
    Buckets, CounterReset, Histogram, Labels, Options, STALE_BITS, Span, UnquotedNames, Value, parse_selector,
};

/// What is at one place of a sequence.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    /// None where it is left out.
    pub(crate) value: Option<Value>,
    /// Whether it is said what is known of a reset, so that it matters.
    pub(crate) says_reset: bool,
}

pub(crate) fn series(line: &str) -> Result<(Labels, Vec<Item>), String> {
    let (metric, rest) = split_metric(line)?;
    Ok((labels(metric)?, items(rest.trim())?))
}

/// The metric, and what is behind it.
fn split_metric(line: &str) -> Result<(&str, &str), String> {
    let name_end = line.find(|c: char| c.is_whitespace() || c == '{').unwrap_or(line.len());
    let after = line[name_end..].trim_start();
    if !after.starts_with('{') || after.starts_with("{{") {
        return Ok(line.split_at(name_end));
    }
    let open = line.len() - after.len();
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in line[open..].char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '}') => return Ok(line.split_at(open + at + 1)),
            _ => {}
        }
    }
    Err(format!("no end of the labels: {line}"))
}

/// A metric is written like a selector with `=` only.
fn labels(metric: &str) -> Result<Labels, String> {
    let metric = metric.trim();
    if metric == "{}" {
        return Ok(Labels::default());
    }
    let options = Options { unquoted_names: UnquotedNames::Utf8, ..Options::default() };
    let matchers = parse_selector(metric, &options).map_err(|error| format!("{metric}: {error}"))?;
    Ok(Labels::new(matchers.into_iter().map(|matcher| (matcher.name, matcher.value))))
}

pub(crate) fn number(text: &str) -> Result<f64, String> {
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text);
    let value = match bare.to_ascii_lowercase().as_str() {
        "inf" => f64::INFINITY,
        "nan" => f64::NAN,
        _ if bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            bare.parse().map_err(|_| format!("no number: {text}"))?
        }
        _ => return Err(format!("no number: {text}")),
    };
    Ok(if text.starts_with('-') { -value } else { value })
}

fn items(mut rest: &str) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    while !rest.is_empty() {
        if rest.starts_with("{{") {
            rest = histograms(rest, &mut items)?.trim_start();
            continue;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        numbers(&rest[..end], &mut items)?;
        rest = rest[end..].trim_start();
    }
    Ok(items)
}

fn times(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("no count: {text}"))
}

/// `_`, `_x5`, `stale`, `1`, `1x5`, `1+2x5`.
fn numbers(text: &str, items: &mut Vec<Item>) -> Result<(), String> {
    let item = |value: Option<f64>| Item { value: value.map(Value::Float), says_reset: false };
    if let Some(count) = text.strip_prefix('_') {
        let count = count.strip_prefix('x').map_or(Ok(1), times)?;
        items.extend(std::iter::repeat_n(item(None), count));
        return Ok(());
    }
    if text == "stale" {
        items.push(item(Some(f64::from_bits(STALE_BITS))));
        return Ok(());
    }
    let Some((base, count)) = text.split_once('x') else {
        items.push(item(Some(number(text)?)));
        return Ok(());
    };
    // The sign of the step: not the first character, nor that of an exponent.
    let sign = base
        .char_indices()
        .skip(1)
        .find(|(at, c)| matches!(c, '+' | '-') && !base[..*at].ends_with(['e', 'E']))
        .map(|(at, _)| at);
    let (mut value, step) = match sign {
        Some(at) => (number(&base[..at])?, number(&base[at..])?),
        None => (number(base)?, 0.0),
    };
    for _ in 0..=times(count)? {
        items.push(item(Some(value)));
        value += step;
    }
    Ok(())
}

/// `{{…}}`, `{{…}}x5`, `{{…}}+{{…}}x5`. What is left behind it.
fn histograms<'t>(text: &'t str, items: &mut Vec<Item>) -> Result<&'t str, String> {
    let (base, mut says_reset, mut rest) = histogram(text)?;
    let mut step = None;
    if let Some(sign @ ('+' | '-')) = rest.chars().next()
        && rest[1..].starts_with("{{")
    {
        let (histogram, says, after) = histogram(&rest[1..])?;
        says_reset = says;
        step = Some((if sign == '-' { -1.0 } else { 1.0 }, histogram));
        rest = after;
    }
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let count = match rest[..end].strip_prefix('x') {
        Some(count) => times(count)?,
        None if end == 0 => 0,
        None => return Err(format!("no count behind a histogram: {rest}")),
    };
    let mut value = base;
    for at in 0..=count {
        items.push(Item { value: Some(Value::Histogram(value.clone().into())), says_reset });
        if let (Some((sign, step)), true) = (&step, at < count) {
            value = plus(&value, step, *sign);
        }
    }
    Ok(&rest[end..])
}

/// The sum of histograms, the second of which may be finer than the first.
fn plus(a: &Histogram, b: &Histogram, sign: f64) -> Histogram {
    assert!(
        a.zero_threshold == b.zero_threshold || b.positive.counts.is_empty(),
        "steps have the zero bucket of what they add to"
    );
    let finer = if a.uses_custom_buckets() { 0 } else { b.schema - a.schema };
    assert!(finer >= 0, "steps are not coarser than what they add to");
    let mut sum = a.clone();
    sum.count += sign * b.count;
    sum.sum += sign * b.sum;
    sum.zero_count += sign * b.zero_count;
    sum.positive = plus_buckets(&a.positive, &b.positive, sign, finer);
    sum.negative = plus_buckets(&a.negative, &b.negative, sign, finer);
    sum.reset = match (a.reset, b.reset) {
        (a, b) if a == b => a,
        (CounterReset::Gauge, _) | (_, CounterReset::Gauge) => CounterReset::Gauge,
        _ => CounterReset::Unknown,
    };
    sum
}

/// Index and count of each bucket.
pub(crate) fn cells(buckets: &Buckets) -> Vec<(i32, f64)> {
    let mut index = 0;
    let mut counts = buckets.counts.iter();
    let mut cells = Vec::new();
    for span in &buckets.spans {
        index += span.offset;
        for _ in 0..span.length {
            cells.push((index, *counts.next().expect("a count for each bucket")));
            index += 1;
        }
    }
    cells
}

fn plus_buckets(a: &Buckets, b: &Buckets, sign: f64, finer: i8) -> Buckets {
    let mut sums: std::collections::BTreeMap<i32, f64> = cells(a).into_iter().collect();
    for (index, count) in cells(b) {
        *sums.entry(((index - 1) >> finer) + 1).or_default() += sign * count;
    }
    let mut buckets = Buckets::default();
    let mut next = 0;
    for (index, count) in sums {
        buckets.spans.push(Span { offset: index - next, length: 1 });
        buckets.counts.push(count);
        next = index + 1;
    }
    buckets
}

/// One `{{…}}`; whether it says what is known of a reset; what is behind it.
fn histogram(text: &str) -> Result<(Histogram, bool, &str), String> {
    let end = text.find("}}").ok_or_else(|| format!("no end of the histogram: {text}"))?;
    let mut h = Histogram {
        schema: 0,
        zero_threshold: 0.0,
        zero_count: 0.0,
        count: 0.0,
        sum: 0.0,
        positive: Buckets::default(),
        negative: Buckets::default(),
        custom_values: [].into(),
        reset: CounterReset::Unknown,
    };
    let mut says_reset = false;
    let (mut offset, mut negative_offset) = (0, 0);
    let mut rest = text[2..end].trim();
    while !rest.is_empty() {
        let (key, value) = rest.split_once(':').ok_or_else(|| format!("no value: {rest}"))?;
        let value = value.trim_start();
        let length = if value.starts_with('[') {
            value.find(']').ok_or("no end of a list")? + 1
        } else {
            value.find(char::is_whitespace).unwrap_or(value.len())
        };
        let (value, after) = value.split_at(length);
        rest = after.trim_start();
        let list = || -> Result<Vec<f64>, String> {
            value.trim_matches(['[', ']']).split_whitespace().map(number).collect()
        };
        let integer = || value.parse::<i32>().map_err(|_| format!("no integer: {value}"));
        match key.trim() {
            "schema" => h.schema = value.parse().map_err(|_| format!("no schema: {value}"))?,
            "sum" => h.sum = number(value)?,
            "count" => h.count = number(value)?,
            "z_bucket" => h.zero_count = number(value)?,
            "z_bucket_w" => h.zero_threshold = number(value)?,
            "custom_values" => h.custom_values = list()?.into(),
            "buckets" => h.positive.counts = list()?,
            "n_buckets" => h.negative.counts = list()?,
            "offset" => offset = integer()?,
            "n_offset" => negative_offset = integer()?,
            "counter_reset_hint" => {
                says_reset = true;
                h.reset = match value {
                    "unknown" => CounterReset::Unknown,
                    "reset" => CounterReset::Reset,
                    "not_reset" => CounterReset::NotReset,
                    "gauge" => CounterReset::Gauge,
                    _ => return Err(format!("no hint: {value}")),
                };
            }
            key => return Err(format!("no part of a histogram: {key}")),
        }
    }
    for (buckets, offset) in [(&mut h.positive, offset), (&mut h.negative, negative_offset)] {
        if !buckets.counts.is_empty() {
            buckets.spans = vec![Span { offset, length: buckets.counts.len() as u32 }];
        }
    }
    Ok((h, says_reset, &text[end + 2..]))
}
