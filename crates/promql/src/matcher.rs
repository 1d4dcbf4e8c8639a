//! Matchers, ready to be held against labels.

use regex::Regex;

use crate::pattern;
use crate::{Labels, MatchOp, Matcher};

/// A matcher whose pattern is compiled.
#[derive(Debug, Clone)]
pub struct CompiledMatcher {
    matcher: Matcher,
    pattern: Option<Regex>,
}

/// A pattern that is no regular expression.
#[derive(Debug, Clone, thiserror::Error)]
#[error("bad pattern {pattern:?} for label {label:?}: {reason}")]
pub struct PatternError {
    /// Whose matcher it is.
    pub label: String,
    /// As it was written.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Matcher {
    /// Compiles the pattern, where it has one.
    ///
    /// # Errors
    /// Where the pattern is no regular expression.
    pub fn compiled(&self) -> Result<CompiledMatcher, PatternError> {
        let pattern = match self.op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Matches | MatchOp::MatchesNot => Some(pattern::whole(&self.value).map_err(|error| {
                let shown = error.to_string();
                PatternError {
                    label: self.name.to_string(),
                    pattern: self.value.to_string(),
                    // The crate draws the pattern over several lines; the last says what is wrong.
                    reason: shown
                        .lines()
                        .last()
                        .unwrap_or_default()
                        .trim_start_matches("error: ")
                        .to_string(),
                }
            })?),
        };
        Ok(CompiledMatcher { matcher: self.clone(), pattern })
    }
}

impl CompiledMatcher {
    /// Whether a value of the label fulfils it; a label that is not there is empty.
    pub fn matches(&self, value: &str) -> bool {
        let found = || self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(value));
        match self.matcher.op {
            MatchOp::Equal => *self.matcher.value == *value,
            MatchOp::NotEqual => *self.matcher.value != *value,
            MatchOp::Matches => found(),
            MatchOp::MatchesNot => !found(),
        }
    }

    /// Whether these labels fulfil it.
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.matcher.name))
    }

    /// As it was written.
    pub fn matcher(&self) -> &Matcher {
        &self.matcher
    }
}
