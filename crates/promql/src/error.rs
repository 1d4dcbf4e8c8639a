//! What is wrong with a query, and where.

use std::fmt;

use crate::SourceError;

/// A query was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {message}")]
pub struct QueryError {
    /// Whose fault it is.
    pub kind: ErrorKind,
    /// Where in the expression.
    pub position: Position,
    /// What is wrong. Where Prometheus refuses the same while it evaluates, in its words.
    pub message: String,
}

/// Whose fault it is that a query was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The expression, or the times asked for, cannot be understood (`bad_data` in Prometheus' API).
    Syntax,
    /// The expression has no value over these series (`execution`).
    Execution,
    /// It needs more than the limits allow (`execution`).
    TooMuch,
    /// The caller took it back, or its time was up (`canceled` or `timeout`: the caller knows which).
    Cancelled,
    /// The source of series did not answer (`internal`).
    Source,
}

/// A place in the text of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: u32,
    /// Bytes from the beginning of the line, from 1, as Prometheus counts.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Position {
    /// Of a byte of a text; of its end, where the text is shorter.
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let before = &text.as_bytes()[..offset.min(text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count();
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count();
        Self { line: line as u32 + 1, column: column as u32 + 1 }
    }
}

/// An error inside the crate: where it is, as a byte of the text, which only the outermost call knows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    pub(crate) kind: ErrorKind,
    pub(crate) at: usize,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn syntax(at: usize, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Syntax, at, message: message.into() }
    }

    pub(crate) fn execution(at: usize, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Execution, at, message: message.into() }
    }

    pub(crate) fn too_much(at: usize, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::TooMuch, at, message: message.into() }
    }

    pub(crate) fn source(at: usize, error: &SourceError) -> Self {
        let kind = match error {
            SourceError::TooMuch { .. } => ErrorKind::TooMuch,
            SourceError::Unreadable(_) => ErrorKind::Source,
        };
        Self { kind, at, message: error.to_string() }
    }

    pub(crate) fn in_text(self, text: &str) -> QueryError {
        QueryError { kind: self.kind, position: Position::of(text, self.at), message: self.message }
    }
}
