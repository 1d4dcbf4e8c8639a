//! Templates in labels and annotations: the part of Go's template language, and of Prometheus' functions, that rules use.
//!
//! In: text with `{{ … }}` in it; then, for each alert, its labels and value, and a way to ask more series. Out: text.
//! What is not known is refused when the text is read, with its place in it.
//!
//! Deliberately absent: templates within templates (`define`, `template`, `block`), `break` and `continue`, methods, and
//! the functions that are of use in console pages only (`safeHtml`, `pathPrefix`, `args`, …).

mod expand;
mod format;
mod functions;
mod lex;
mod parse;

use std::sync::Arc;

pub(super) use expand::Given;
pub(super) use functions::link;

use crate::Position;
use crate::error::Fault;

/// Text that says something else for each alert.
#[derive(Debug, Clone)]
pub struct Template {
    text: Arc<str>,
    nodes: Arc<[parse::Node]>,
}

/// Two that were read from the same text are the same.
impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Text that is no template, or one of a kind that is not known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {message}")]
pub struct TemplateError {
    /// Where in the text.
    pub position: Position,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, or not known here, and where.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let nodes = parse::template(text).map_err(|Fault { at, message, .. }| TemplateError {
            position: Position::of(text, at),
            message,
        })?;
        Ok(Self { text: text.into(), nodes: nodes.into() })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says of what is given; where it has no meaning for that, Prometheus' remark that it has none, and why.
    pub(super) fn expand(&self, given: &Given<'_>) -> String {
        match expand::expand(&self.nodes, given) {
            Ok(text) => text,
            Err(error) => format!("<error expanding template: {error}>"),
        }
    }
}

#[cfg(test)]
mod tests;
