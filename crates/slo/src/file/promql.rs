//! PromQL in files: given a place for the window where the file has none, and checked as far as text can be.
//!
//! What is checked here: strings and brackets are closed, and a selector is one. Whether an expression means anything is
//! asked of the check that the caller hands in, since the evaluator that knows stands beside this crate, not below it.

use super::Value;
use crate::indicator::Template;

/// Longer expressions are refused.
const BYTES_MAX: usize = 16 * 1024;

/// How the samples of an expression are to be added up over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Samples {
    /// They only rise: what they rose by counts.
    Counter,
    /// They are amounts: every sample counts.
    Gauge,
}

/// A selector of series without offset.
pub(super) struct Selector {
    /// Label, operator and value of each condition.
    pub(super) matchers: Vec<(String, &'static str, String)>,
}

/// An expression with `{{.window}}`, as Sloth has it.
pub(super) fn windowed(value: &Value<'_>) -> Option<Template> {
    let text = value.words()?;
    let Some(template) = Template::new(text) else {
        value.place.refuse(
            "has no `{{.window}}`, or another placeholder; write for example rate(errors_total[{{.window}}])",
        );
        return None;
    };
    checked(value, &template.over("1m"))?;
    Some(template)
}

/// An expression with `{{.window}}`, or one whose samples are to be added up.
pub(super) fn summed(value: &Value<'_>, samples: Samples) -> Option<Template> {
    let text = value.words()?.trim();
    if text.contains("{{") {
        return windowed(value);
    }
    checked(value, text)?;
    let function = match samples {
        Samples::Counter => "increase",
        Samples::Gauge => "sum_over_time",
    };
    let text = match selector_of(text) {
        Some(_) => format!("sum({function}({text}[{{{{.window}}}}]))"),
        None => format!("sum({function}(({text})[{{{{.window}}}}:]))"),
    };
    template(value, text)
}

/// A selector of series, as Pyrra has it: its text, and what it says.
pub(super) fn selector<'a>(value: &Value<'a>) -> Option<(&'a str, Selector)> {
    let text = value.words()?.trim();
    checked(value, text)?;
    let selector = selector_of(text);
    if selector.is_none() {
        value.place.refuse("must be a selector without offset, such as errors_total{job=\"shop\"}");
    }
    Some((text, selector?))
}

/// Checks a template made of expressions that were checked.
pub(super) fn template(value: &Value<'_>, text: String) -> Option<Template> {
    let Some(template) = Template::new(text) else {
        value.place.refuse("has `{{`, which is the beginning of a placeholder");
        return None;
    };
    checked(value, &template.over("1m"))?;
    Some(template)
}

/// Refuses what is no expression.
pub(super) fn checked(value: &Value<'_>, text: &str) -> Option<()> {
    if text.len() > BYTES_MAX {
        value.place.refuse(format_args!("has {} bytes, at most {BYTES_MAX} are read", text.len()));
        return None;
    }
    let checked = closed(text).and_then(|()| (value.place.file.context)(text));
    checked.map_err(|error| value.place.refuse(format_args!("is no PromQL: {error}"))).ok()
}

/// Whether every string and every bracket is closed.
fn closed(text: &str) -> Result<(), String> {
    let mut open = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\'' | '`' => {
                string(&mut chars, c).map(drop).ok_or(format!("{c} opens a string without end"))?
            }
            '#' => drop(chars.by_ref().find(|c| *c == '\n')),
            '(' => open.push(')'),
            '[' => open.push(']'),
            '{' => open.push('}'),
            ')' | ']' | '}' if open.pop() != Some(c) => return Err(format!("{c} closes nothing")),
            _ => {}
        }
    }
    open.pop().map_or(Ok(()), |missing| Err(format!("{missing} is missing")))
}

/// The rest of a string up to its closing quote, escapes of quotes and backslashes taken back.
fn string(chars: &mut std::str::Chars<'_>, quote: char) -> Option<String> {
    let mut value = String::new();
    loop {
        match chars.next()? {
            c if c == quote => return Some(value),
            '\\' if quote != '`' => value.push(chars.next()?),
            c => value.push(c),
        }
    }
}

/// What a text says as a selector; `None` where it is another expression.
fn selector_of(text: &str) -> Option<Selector> {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    let inner = |c: char| begins(c) || c.is_ascii_digit();
    let end = text.find(|c| !inner(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let rest = rest.trim();
    let mut matchers = Vec::new();
    if !(name.is_empty() || name.starts_with(begins)) || (name.is_empty() && rest.is_empty()) {
        return None;
    }
    if !rest.is_empty() {
        let mut rest = rest.strip_prefix('{')?.strip_suffix('}')?.trim();
        while !rest.is_empty() {
            let end = rest.find(|c| !inner(c))?;
            let (label, after) = rest.split_at(end);
            let after = after.trim_start();
            let op = ["=~", "!~", "!=", "="].into_iter().find(|op| after.starts_with(op))?;
            let mut chars = after[op.len()..].trim_start().chars();
            let quote = chars.next().filter(|c| ['"', '\'', '`'].contains(c))?;
            matchers.push((label.to_owned(), op, string(&mut chars, quote)?));
            let after = chars.as_str().trim_start();
            rest = match after.strip_prefix(',') {
                Some(rest) => rest.trim_start(),
                None if after.is_empty() => after,
                None => return None,
            };
        }
    }
    (!name.is_empty() || !matchers.is_empty()).then_some(Selector { matchers })
}
