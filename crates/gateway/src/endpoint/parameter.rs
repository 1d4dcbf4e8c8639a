//! Parameters of addresses: what a query may hold, and what the placeholder of a path is.
//!
//! The names stand here alone: a request with another is refused before its handler sees it. The kinds are what the
//! document says; handlers read the values, and refuse what is of another kind.

use serde_json::{Value, json};

use crate::body::Query;
use crate::problem::Problem;

/// One parameter.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) description: &'static str,
}

/// What a value may be.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// A whole number within bounds, and what it is where it is not given.
    Count { least: usize, most: usize, default: usize },
    /// One of these names.
    Choice(Vec<&'static str>),
    /// Names out of these, separated by commas.
    Choices(Vec<&'static str>),
    /// An RFC 3339 time.
    Time,
    /// A duration, such as `15m`.
    Duration,
    /// A UUID.
    Id,
    /// Any text.
    Text,
    /// Any text, and the parameter may be repeated.
    Repeated,
    /// `true` or `false`.
    Boolean,
}

impl Parameter {
    pub(crate) fn new(name: &'static str, kind: Kind, description: &'static str) -> Self {
        Self { name, kind, description }
    }

    pub(crate) fn text(name: &'static str, description: &'static str) -> Self {
        Self::new(name, Kind::Text, description)
    }

    pub(crate) fn id(name: &'static str, description: &'static str) -> Self {
        Self::new(name, Kind::Id, description)
    }

    pub(crate) fn time(name: &'static str, description: &'static str) -> Self {
        Self::new(name, Kind::Time, description)
    }

    pub(crate) fn duration(name: &'static str, description: &'static str) -> Self {
        Self::new(name, Kind::Duration, description)
    }

    pub(crate) fn choice(
        name: &'static str,
        names: impl IntoIterator<Item = &'static str>,
        description: &'static str,
    ) -> Self {
        Self::new(name, Kind::Choice(names.into_iter().collect()), description)
    }

    /// How many rows at most.
    pub(crate) fn limit(most: usize, default: usize) -> Self {
        Self::new("limit", Kind::Count { least: 1, most, default }, "At most this many rows")
    }

    /// Of a parameter that has several values: whether it is repeated for each, or has them separated by commas.
    pub(crate) fn is_exploded(&self) -> Option<bool> {
        match self.kind {
            Kind::Repeated => Some(true),
            Kind::Choices(_) => Some(false),
            _ => None,
        }
    }

    /// Its schema, as JSON Schema has it.
    pub(crate) fn schema(&self) -> Value {
        match &self.kind {
            Kind::Count { least, most, default } => {
                json!({"type": "integer", "minimum": least, "maximum": most, "default": default})
            }
            Kind::Choice(names) => json!({"type": "string", "enum": names}),
            Kind::Choices(names) => {
                json!({"type": "array", "items": {"type": "string", "enum": names}})
            }
            Kind::Time => json!({"type": "string", "format": "date-time"}),
            Kind::Duration => json!({"type": "string", "examples": ["15m"]}),
            Kind::Id => json!({"type": "string", "format": "uuid"}),
            Kind::Text => json!({"type": "string"}),
            Kind::Repeated => json!({"type": "array", "items": {"type": "string"}}),
            Kind::Boolean => json!({"type": "boolean"}),
        }
    }
}

/// Refuses every parameter but these: a misspelt filter must not find everything.
pub(crate) fn check(query: &Query, known: &[Parameter]) -> Result<(), Problem> {
    if known.is_empty() {
        return query.finish();
    }
    let names: Vec<&str> = known.iter().map(|parameter| parameter.name).collect();
    query.only(&names)
}
