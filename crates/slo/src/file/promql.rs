//! PromQL in files: checked when it is read, and given a place for the window where the file has none.

use promql_parser::parser::{self, Expr};

use super::yaml::Value;
use crate::indicator::Template;

/// Longer expressions are refused.
const BYTES_MAX: usize = 16 * 1024;

/// Deeper ones as well: the parser's tree is as deep as operators and brackets are many.
const OPERATORS_MAX: usize = 500;

/// How the samples of an expression are to be added up over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Samples {
    /// They only rise: what they rose by counts.
    Counter,
    /// They are amounts: every sample counts.
    Gauge,
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
    parse(value, &template.over("1m"))?;
    Some(template)
}

/// An expression with `{{.window}}`, or one whose samples are to be added up.
pub(super) fn summed(value: &Value<'_>, samples: Samples) -> Option<Template> {
    let text = value.words()?;
    if text.contains("{{") {
        return windowed(value);
    }
    let expression = parse(value, text)?;
    let text = match (&expression, samples) {
        (Expr::VectorSelector(selector), _) if selector.offset.is_none() && selector.at.is_none() => {
            let function = match samples {
                Samples::Counter => "increase",
                Samples::Gauge => "sum_over_time",
            };
            format!("sum({function}({}[{{{{.window}}}}]))", text.trim())
        }
        (_, Samples::Counter) => format!("sum(increase(({})[{{{{.window}}}}:]))", text.trim()),
        (_, Samples::Gauge) => format!("sum(sum_over_time(({})[{{{{.window}}}}:]))", text.trim()),
    };
    template(value, text)
}

/// A selector of series, as Pyrra has it, and its name.
pub(super) fn selector<'a>(value: &Value<'a>) -> Option<(&'a str, Option<String>)> {
    let text = value.words()?.trim();
    match parse(value, text)? {
        Expr::VectorSelector(selector) if selector.offset.is_none() && selector.at.is_none() => {
            Some((text, selector.name))
        }
        _ => {
            value.place.refuse("must be a selector without offset, such as errors_total{job=\"shop\"}");
            None
        }
    }
}

/// Checks a template made of expressions that were checked.
pub(super) fn template(value: &Value<'_>, text: String) -> Option<Template> {
    let Some(template) = Template::new(text) else {
        value.place.refuse("has `{{`, which is the beginning of a placeholder");
        return None;
    };
    parse(value, &template.over("1m"))?;
    Some(template)
}

/// Parses an expression, or says why not.
pub(super) fn parse(value: &Value<'_>, text: &str) -> Option<Expr> {
    if text.len() > BYTES_MAX || operators(text) > OPERATORS_MAX {
        value.place.refuse(format_args!(
            "is too long: at most {BYTES_MAX} bytes with {OPERATORS_MAX} operators and brackets are read"
        ));
        return None;
    }
    parser::parse(text).map_err(|error| value.place.refuse(format_args!("is no PromQL: {error}"))).ok()
}

/// What may make the tree one deeper; more than there are.
fn operators(text: &str) -> usize {
    let signs = text.bytes().filter(|byte| b"+-*/%^<>=!({[@".contains(byte)).count();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    signs
        + words
            .filter(|word| ["and", "or", "unless", "atan2", "offset"].contains(&&*word.to_lowercase()))
            .count()
}
