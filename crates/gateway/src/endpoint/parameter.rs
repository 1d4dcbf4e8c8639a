//! Parameters of addresses: what a query may hold, and what the placeholder of a path is.
//!
//! The names stand here alone: a request with another is refused before its handler sees it. The kinds are what the
//! document says; handlers read the values, and refuse what is of another kind.

use serde_json::{Value, json};

use crate::body::Query;
use crate::problem::Problem;

/// A length of time, as [`domain::units::parse_duration`] reads it.
pub(crate) const DURATION: &str = r"^\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*(ms|s|min|m|h|d)\s*$";

/// The name of a service.
pub(crate) const SERVICE: &str = "^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$";

/// The id of a resource: `service/cart`, `instance/cart-0`, `link/front->cart`.
pub(crate) const RESOURCE: &str = "^((service|node)/[a-z]([a-z0-9-]{0,38}[a-z0-9])?|(instance|volume)/[a-z]([a-z0-9-]{0,38}[a-z0-9])?-(0|[1-9][0-9]{0,8})|link/[a-z]([a-z0-9-]{0,38}[a-z0-9])?->[a-z]([a-z0-9-]{0,38}[a-z0-9])?)$";

/// A version, as [`domain::Release::version_fault`] takes it.
pub(crate) const VERSION: &str = r"^[!#$&'()*+\-./0-9:<>?@A-Z\[\]^_`a-z{|}~]{1,128}$";

/// A trace id; all zero is none.
pub(crate) const TRACE_ID: &str = "^(?!0{32}$)[0-9a-fA-F]{32}$";

/// The id of a configuration item: a resource, or `infrastructure/shop`.
pub(crate) const ITEM: &str = "^((infrastructure|service|node)/[a-z]([a-z0-9-]{0,38}[a-z0-9])?|(instance|volume)/[a-z]([a-z0-9-]{0,38}[a-z0-9])?-(0|[1-9][0-9]{0,8})|link/[a-z]([a-z0-9-]{0,38}[a-z0-9])?->[a-z]([a-z0-9-]{0,38}[a-z0-9])?)$";

/// A place in a list that counts, as the `Link` header has it.
pub(crate) const SEQUENCE: &str = "^(0|[1-9][0-9]{0,17})$";

/// A length of time as Go writes it, as spans have it.
pub(crate) const SPAN_LENGTH: &str = r"^(0|\+?(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$";

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
    /// Text of this form, as a regular expression, with an example.
    Form { pattern: &'static str, example: &'static str },
    /// A UUID.
    Id,
    /// Any text.
    Text,
    /// Text of this form, and the parameter may be repeated.
    Repeated { pattern: &'static str },
    /// `true` or `false`.
    Boolean,
}

/// Characters of a text at most: several of them, with each byte escaped, have room in the head of a request.
const TEXT_MAX: usize = 256;

impl Parameter {
    pub(crate) fn new(name: &'static str, kind: Kind, description: &'static str) -> Self {
        Self { name, kind, description }
    }

    /// Up to [`TEXT_MAX`] characters.
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
        Self::form(name, DURATION, "15m", description)
    }

    /// Text of this form.
    pub(crate) fn form(
        name: &'static str,
        pattern: &'static str,
        example: &'static str,
        description: &'static str,
    ) -> Self {
        Self::new(name, Kind::Form { pattern, example }, description)
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
            Kind::Repeated { .. } => Some(true),
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
            Kind::Form { pattern, example } => {
                json!({"type": "string", "pattern": pattern, "examples": [example]})
            }
            Kind::Id => json!({"type": "string", "format": "uuid"}),
            Kind::Text => json!({"type": "string", "maxLength": TEXT_MAX}),
            Kind::Repeated { pattern } => {
                json!({"type": "array", "items": {"type": "string", "pattern": pattern}})
            }
            Kind::Boolean => json!({"type": "boolean"}),
        }
    }
}

/// Refuses every parameter but these, a text that is too long, what is given twice, and what is given without a value where the empty text is none:
/// a misspelt filter must not find everything.
pub(crate) fn check(query: &Query, known: &[Parameter]) -> Result<(), Problem> {
    if known.is_empty() {
        return query.finish();
    }
    let names: Vec<&str> = known.iter().map(|parameter| parameter.name).collect();
    query.only(&names)?;
    for parameter in known {
        let Parameter { name, kind, .. } = parameter;
        let repeats = matches!(kind, Kind::Repeated { .. });
        if query.given(name).count() > 1 && !repeats {
            return Err(Problem::field(*name, format!("`{name}` is given more than once; give it once")));
        }
        if matches!(kind, Kind::Text) && query.given(name).any(|text| text.chars().count() > TEXT_MAX) {
            let problem = format!("`{name}` has more than {TEXT_MAX} characters; look for less");
            return Err(Problem::field(*name, problem));
        }
        if !matches!(kind, Kind::Text) && query.given(name).any(str::is_empty) {
            return Err(Problem::field(*name, format!("`{name}` is empty; give a value, or leave it out")));
        }
    }
    Ok(())
}
