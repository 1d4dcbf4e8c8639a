//! The scripts' commands: `load`, `eval`, `clear`.

use promql::Labels;
use regex::Regex;

use crate::sequence::{self, Item};

pub(crate) struct Script {
    pub(crate) commands: Vec<Command>,
}

pub(crate) enum Command {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

/// Series to be added.
pub(crate) struct Load {
    pub(crate) step_ms: i64,
    /// Classic histograms become native ones with custom buckets, too.
    pub(crate) with_nhcb: bool,
    pub(crate) series: Vec<Loaded>,
}

pub(crate) struct Loaded {
    pub(crate) labels: Labels,
    pub(crate) items: Vec<Item>,
    /// When the counter of each item began, relative to its time; empty where nothing is said.
    pub(crate) starts_ms: Vec<Option<i64>>,
}

/// A query and what is expected of it.
pub(crate) struct Eval {
    /// From 1.
    pub(crate) line: usize,
    pub(crate) expression: String,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) step_ms: i64,
    pub(crate) is_range: bool,
    pub(crate) ordered: bool,
    pub(crate) fails: Option<Expected>,
    pub(crate) warns: Vec<Expected>,
    pub(crate) infos: Vec<Expected>,
    pub(crate) no_warns: bool,
    pub(crate) no_infos: bool,
    pub(crate) value: ExpectedValue,
    /// The value is a range vector at this many times, or a string, which no range query has.
    pub(crate) instant_only: bool,
    /// The times of an expected range vector.
    pub(crate) result_times: Option<(i64, i64, i64)>,
}

#[derive(Debug)]
pub(crate) enum ExpectedValue {
    Series(Vec<(Labels, Vec<Item>)>),
    Scalar(f64),
    String(String),
}

/// A message.
#[derive(Debug)]
pub(crate) enum Expected {
    Text(String),
    Pattern(Regex),
}

impl Expected {
    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Text(expected) => expected == text,
            Self::Pattern(pattern) => pattern.is_match(text),
        }
    }

    /// A text as it is where the metric's name is not known; empty of a pattern.
    pub(crate) fn without_metric(&self) -> String {
        let Self::Text(text) = self else { return String::new() };
        match text.split_once(" for metric name \"") {
            Some((before, after)) => {
                format!("{before}{}", after.split_once('"').map_or("", |(_, rest)| rest))
            }
            None => text.clone(),
        }
    }

    fn any() -> Self {
        Self::Pattern(Regex::new("").expect("a pattern"))
    }

    fn parse(text: &str) -> Result<Self, String> {
        if let Some(message) = text.strip_prefix("msg:") {
            return Ok(Self::Text(message.trim().into()));
        }
        match text.strip_prefix("regex:") {
            Some(pattern) => {
                Ok(Self::Pattern(Regex::new(pattern.trim()).map_err(|error| error.to_string())?))
            }
            None => Ok(Self::any()),
        }
    }
}

/// `1h30m`, in milliseconds; also `0`, and a sign before it.
fn duration(text: &str) -> Result<i64, String> {
    let (bare, sign) = text.strip_prefix('-').map_or((text, 1), |bare| (bare, -1));
    let bare = bare.strip_prefix('+').unwrap_or(bare);
    if bare == "0" {
        return Ok(0);
    }
    let mut rest = bare;
    let mut total = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(|| format!("no unit: {text}"))?;
        let count: i64 = rest[..digits].parse().map_err(|_| format!("no duration: {text}"))?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "y" => 365 * 86_400_000,
            unit => return Err(format!("no unit: {unit}")),
        };
        total += count * unit;
        rest = &rest[end..];
    }
    Ok(sign * total)
}

impl Script {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lines: Vec<&str> =
            text.lines().map(str::trim).map(|line| if line.starts_with('#') { "" } else { line }).collect();
        let forms = Forms::new();
        let mut commands = Vec::new();
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at];
            let mut end = at + 1;
            if line.is_empty() {
                at = end;
                continue;
            }
            let word = line.split_whitespace().next().unwrap_or_default().to_lowercase();
            let named = |error: String| format!("line {}: {error}", at + 1);
            if word == "clear" {
                commands.push(Command::Clear);
            } else {
                while end < lines.len() && !lines[end].is_empty() {
                    end += 1;
                }
                let block = &lines[at + 1..end];
                if word.starts_with("load") {
                    commands.push(Command::Load(load(line, block).map_err(named)?));
                } else if word.starts_with("eval") {
                    let (eval, used) = eval(line, block, at + 1, &forms).map_err(named)?;
                    commands.push(Command::Eval(Box::new(eval)));
                    end = at + 1 + used;
                } else {
                    return Err(named(format!("no command: {line}")));
                }
            }
            at = end;
        }
        Ok(Self { commands })
    }
}

fn load(line: &str, block: &[&str]) -> Result<Load, String> {
    let (word, step) = line.split_once(char::is_whitespace).ok_or("load without a step")?;
    let mut load =
        Load { step_ms: duration(step.trim())?, with_nhcb: word == "load_with_nhcb", series: Vec::new() };
    let mut starts: Option<(Labels, Vec<Option<i64>>)> = None;
    for line in block {
        let metric = line.split_whitespace().next().unwrap_or_default();
        if let Some(metric) = metric.strip_suffix("@st") {
            let (labels, _) = sequence::series(metric)?;
            starts = Some((labels, start_items(&line[metric.len() + 3..])?));
            continue;
        }
        let (labels, items) = sequence::series(line)?;
        let starts_ms = match starts.take() {
            Some((of, starts)) if of == labels && starts.len() == items.len() => starts,
            Some(_) => return Err(format!("starts that do not belong to {line}")),
            None => Vec::new(),
        };
        // A series that is there twice is what is said last.
        load.series.retain(|known| known.labels != labels);
        load.series.push(Loaded { labels, items, starts_ms });
    }
    Ok(load)
}

/// `-1m`, `-1mx5`, `-30s-1mx2`, `_`, `_x3`.
fn start_items(text: &str) -> Result<Vec<Option<i64>>, String> {
    let mut starts = Vec::new();
    for item in text.split_whitespace() {
        let (base, count) = match item.split_once('x') {
            Some((base, count)) => (base, count.parse::<usize>().map_err(|_| format!("no count: {item}"))?),
            None => (item, 0),
        };
        if base == "_" {
            starts.extend(std::iter::repeat_n(None, count.max(1)));
            continue;
        }
        let sign = base.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-')).map(|(at, _)| at);
        let (mut start, step) = match sign {
            Some(at) => (duration(&base[..at])?, duration(&base[at..])?),
            None => (duration(base)?, 0),
        };
        for _ in 0..=count {
            starts.push(Some(start));
            start += step;
        }
    }
    Ok(starts)
}

/// The forms of `eval`, as Prometheus' runner reads them.
struct Forms {
    instant: Regex,
    range: Regex,
}

impl Forms {
    fn new() -> Self {
        let form = |pattern| Regex::new(pattern).expect("a pattern");
        Self {
            instant: form(r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)$"),
            range: form(
                r"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$",
            ),
        }
    }
}

/// The command, and how many lines of the block it takes.
fn eval(line: &str, block: &[&str], number: usize, forms: &Forms) -> Result<(Eval, usize), String> {
    let Forms { instant, range } = forms;
    let (mode, expression, from_ms, to_ms, step_ms, is_range) = if let Some(parts) = instant.captures(line) {
        let at = parts.get(2).map_or(Ok(0), |at| duration(at.as_str()))?;
        (parts.get(1), parts[3].to_string(), at, at, 0, false)
    } else if let Some(parts) = range.captures(line) {
        let time = |at: usize| duration(&parts[at]);
        (parts.get(1), parts[5].to_string(), time(2)?, time(3)?, time(4)?, true)
    } else {
        return Err(format!("no eval: {line}"));
    };
    let mode = mode.map_or("", |mode| mode.as_str()).to_string();
    let mut eval = Eval {
        line: number,
        expression,
        from_ms,
        to_ms,
        step_ms,
        is_range,
        ordered: mode == "ordered",
        fails: (mode == "fail").then(Expected::any),
        warns: if mode == "warn" { vec![Expected::any()] } else { Vec::new() },
        infos: if mode == "info" { vec![Expected::any()] } else { Vec::new() },
        no_warns: false,
        no_infos: false,
        value: ExpectedValue::Series(Vec::new()),
        instant_only: false,
        result_times: None,
    };
    let mut used = 0;
    for line in block {
        used += 1;
        if !expect(&mut eval, line)? {
            break;
        }
    }
    Ok((eval, used))
}

/// One line of what is expected. False where it is the last.
fn expect(eval: &mut Eval, line: &str) -> Result<bool, String> {
    if let Some(message) = line.strip_prefix("expected_fail_message") {
        eval.fails = Some(Expected::Text(message.trim().into()));
        return Ok(false);
    }
    if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
        eval.fails = Some(Expected::parse(&format!("regex:{pattern}"))?);
        return Ok(false);
    }
    if let Some(times) = line.strip_prefix("expect range vector from ") {
        let words: Vec<&str> = times.split_whitespace().collect();
        let [from, "to", to, "step", step] = words.as_slice() else {
            return Err(format!("no times: {line}"));
        };
        let (from, to) = (duration(from)?, duration(to)?);
        eval.result_times = Some((from, to, duration(step)?));
        (eval.from_ms, eval.to_ms, eval.instant_only) = (to, to, true);
        return Ok(true);
    }
    if let Some(text) = line.strip_prefix("expect string ") {
        let text = text.trim();
        let inner = text[1..text.len() - 1].to_string();
        let unescaped =
            if text.starts_with('`') { inner } else { inner.replace("\\\"", "\"").replace("\\\\", "\\") };
        eval.value = ExpectedValue::String(unescaped);
        eval.instant_only = true;
        return Ok(true);
    }
    if line.split(' ').next() == Some("expect") {
        let rest = line["expect".len()..].trim_start();
        let (kind, message) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let expected = Expected::parse(message.trim())?;
        match kind {
            "ordered" => eval.ordered = true,
            "fail" => eval.fails = Some(expected),
            "warn" => eval.warns.push(expected),
            "info" => eval.infos.push(expected),
            "no_warn" => eval.no_warns = true,
            "no_info" => eval.no_infos = true,
            _ => return Err(format!("no expectation: {line}")),
        }
        return Ok(true);
    }
    if let Ok(value) = sequence::number(line) {
        eval.value = ExpectedValue::Scalar(value);
        return Ok(false);
    }
    let (labels, items) = sequence::series(line)?;
    if let ExpectedValue::Series(series) = &mut eval.value {
        series.retain(|(known, _)| *known != labels);
        series.push((labels, items));
    }
    Ok(true)
}
