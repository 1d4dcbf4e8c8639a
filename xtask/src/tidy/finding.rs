//! What a rule found: where, which rule, and what to do about it.

use std::fmt;

/// Whether a finding stops the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Is refused.
    Error,
    /// Is said, and lets pass.
    Warning,
}

/// One breach of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The file, from the project's root.
    pub(crate) path: String,
    /// The line, counted from 1.
    pub(crate) line: usize,
    /// The rule's name.
    pub(crate) rule: &'static str,
    /// Whether it stops the build.
    pub(crate) weight: Weight,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl Finding {
    /// A finding that stops the build.
    pub(crate) fn error(
        path: impl Into<String>,
        line: usize,
        rule: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { path: path.into(), line, rule, weight: Weight::Error, message: message.into() }
    }

    /// A finding that lets pass.
    pub(crate) fn warning(
        path: impl Into<String>,
        line: usize,
        rule: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { weight: Weight::Warning, ..Self::error(path, line, rule, message) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Error => "error",
            Weight::Warning => "warning",
        };
        write!(f, "{}:{}: {weight} [{}] {}", self.path, self.line, self.rule, self.message)
    }
}
