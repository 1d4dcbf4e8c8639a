//! Reads JSON bodies and query parameters field by field, so that an error names the field at fault.
//!
//! In: bytes from outside. Out: values, or a [`Problem`] with `field` and what was expected. Unknown
//! fields are refused: a misspelt `duration_second` must not become a default.

use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::problem::{Code, Problem};

/// Reads a body as JSON of one shape; the problem names the field at fault by its path. An empty body is an empty object.
pub(crate) fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    let fields = Fields::parse(headers, body)?;
    serde_path_to_error::deserialize(Value::Object(fields.fields)).map_err(|error| {
        let path = error.path().to_string();
        let why = error.inner().to_string();
        // What serde says of a field that is missing or not known stands in back quotes; its path is the object's.
        let named = why
            .split('`')
            .nth(1)
            .filter(|_| why.starts_with("missing field") || why.starts_with("unknown field"));
        let field = match (path.as_str(), named) {
            (".", Some(name)) => name.to_owned(),
            (path, Some(name)) if !path.ends_with(name) => format!("{path}.{name}"),
            (path, _) => path.to_owned(),
        };
        let said = match why.as_str() {
            why if why.starts_with("missing field") => format!("`{field}` is missing"),
            why if why.starts_with("unknown field") => format!("`{field}` is not known here; leave it out"),
            why => format!("`{field}`: {why}"),
        };
        Problem::field(field, said)
    })
}

/// The fields of a JSON object that were not read yet.
#[derive(Debug)]
pub(crate) struct Fields {
    /// The path to the object, with a dot at its end: empty, or `target.`.
    at: String,
    fields: Map<String, Value>,
}

impl Fields {
    /// Reads a body. An empty one is an empty object.
    pub(crate) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, Problem> {
        if body.is_empty() {
            return Ok(Self { at: String::new(), fields: Map::new() });
        }
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        if !kind.to_ascii_lowercase().starts_with("application/json") {
            return Err(Problem::new(
                Code::NotJson,
                "send the body as JSON with `Content-Type: application/json`",
            ));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self { at: String::new(), fields }),
            Ok(_) => Err(malformed("the body must be a JSON object")),
            Err(error) => Err(malformed(format!("the body is no valid JSON: {error}"))),
        }
    }

    /// The field's value, or nothing where it is absent or null.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    /// The problem with a field of this object.
    pub(crate) fn wrong(&self, name: &str, detail: impl Into<String>) -> Problem {
        Problem::field(format!("{}{name}", self.at), detail)
    }

    pub(crate) fn missing(&self, name: &str, expected: &str) -> Problem {
        self.wrong(name, format!("`{}{name}` is missing; give {expected}", self.at))
    }

    pub(crate) fn boolean_or(&mut self, name: &str) -> Result<Option<bool>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(self.not(name, &other, "true or false")),
        }
    }

    pub(crate) fn text(&mut self, name: &str, expected: &str) -> Result<String, Problem> {
        self.text_or(name)?.ok_or_else(|| self.missing(name, expected))
    }

    pub(crate) fn text_or(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.not(name, &other, "a string")),
        }
    }

    /// Whether the field is given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|value| !value.is_null())
    }

    /// A list of names out of a set; none where it is absent.
    pub(crate) fn choices<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Result<Vec<T>, Problem> {
        let names = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let expected = || format!("a list of {}", names());
        let Some(value) = self.take(name) else { return Ok(Vec::new()) };
        let Value::Array(values) = &value else { return Err(self.not(name, &value, &expected())) };
        let chosen = values.iter().map(|value| {
            let found = choices.iter().find(|(name, _)| value.as_str() == Some(name));
            found.map(|(_, choice)| *choice).ok_or_else(|| self.not(name, value, &expected()))
        });
        chosen.collect()
    }

    /// A list of at most `most` objects; none where it is absent.
    pub(crate) fn objects(&mut self, name: &str, most: usize) -> Result<Vec<Self>, Problem> {
        let Some(value) = self.take(name) else { return Ok(Vec::new()) };
        let expected = format!("a list of at most {most} objects");
        let Value::Array(values) = value else { return Err(self.not(name, &value, &expected)) };
        if values.len() > most {
            return Err(self
                .wrong(name, format!("`{}{name}` has {} entries; give {expected}", self.at, values.len())));
        }
        let objects = values.into_iter().enumerate().map(|(n, value)| match value {
            Value::Object(fields) => Ok(Self { at: format!("{}{name}[{n}].", self.at), fields }),
            other => Err(self.not(name, &other, &expected)),
        });
        objects.collect()
    }

    pub(crate) fn number(&mut self, name: &str, expected: &str) -> Result<f64, Problem> {
        self.number_or(name)?.ok_or_else(|| self.missing(name, expected))
    }

    pub(crate) fn number_or(&mut self, name: &str) -> Result<Option<f64>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_f64()),
            Some(other) => Err(self.not(name, &other, "a number")),
        }
    }

    /// An object within this one; an absent one is empty.
    pub(crate) fn object(&mut self, name: &str) -> Result<Self, Problem> {
        let at = format!("{}{name}.", self.at);
        match self.take(name) {
            None => Ok(Self { at, fields: Map::new() }),
            Some(Value::Object(fields)) => Ok(Self { at, fields }),
            Some(other) => Err(self.not(name, &other, "an object")),
        }
    }

    /// One of a set of names.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        name: &str,
        choices: &[(&str, T)],
        default: Option<T>,
    ) -> Result<T, Problem> {
        let names = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let Some(text) = self.text_or(name)? else {
            return default.ok_or_else(|| self.missing(name, &format!("one of {}", names())));
        };
        choices
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, choice)| *choice)
            .ok_or_else(|| self.wrong(name, format!("{text:?} is not one of {}", names())))
    }

    /// Refuses what was not read.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.fields.keys().next() {
            None => Ok(()),
            Some(name) => {
                Err(self.wrong(name, format!("`{}{name}` is not known here; leave it out", self.at)))
            }
        }
    }

    fn not(&self, name: &str, given: &Value, expected: &str) -> Problem {
        self.wrong(name, format!("`{}{name}` is {given}; give {expected}", self.at))
    }
}

fn malformed(detail: impl Into<String>) -> Problem {
    Problem::new(Code::MalformedJson, detail)
}

/// The query parameters of a request, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string.
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let uri = format!("/?{}", query.unwrap_or(""));
        let parsed = uri
            .parse()
            .ok()
            .and_then(|uri| axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).ok())
            .ok_or_else(|| Problem::field("query", "the query string cannot be read"))?;
        Ok(Self(parsed.0))
    }

    /// The first value as text; an empty one counts as absent, as forms send it.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|v| !v.is_empty())
    }

    /// Every parameter with its value, empty ones too.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Every value of a parameter, empty ones too.
    pub(crate) fn given(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter that may be repeated; empty ones count as absent.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, value)| key == name && !value.is_empty()).map(|(_, v)| v.as_str())
    }

    /// Refuses every parameter but these: a misspelt filter must not find everything.
    pub(crate) fn only(&self, names: &[&str]) -> Result<(), Problem> {
        match self.0.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let detail = format!("`{name}` is not known here; known are {}", names.join(", "));
                Err(Problem::field(name.as_str(), detail))
            }
        }
    }

    /// The value, read.
    pub(crate) fn read<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Option<T>,
        expected: impl Fn() -> String,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match read(text) {
            Some(value) => Ok(Some(value)),
            None => Err(Problem::field(name, format!("`{name}` is {text:?}; give {}", expected()))),
        }
    }

    /// A whole number within bounds.
    pub(crate) fn count(&self, name: &str, low: usize, high: usize) -> Result<Option<usize>, Problem> {
        let read = |text: &str| text.parse().ok().filter(|n| (low..=high).contains(n));
        self.read(name, read, || format!("a whole number from {low} to {high}"))
    }

    /// The query string with parameters set to other values; an empty one leaves its parameter out.
    pub(crate) fn changed(&self, changes: &[(&str, &str)]) -> String {
        let is_changed = |key: &str| key == "part" || changes.iter().any(|(name, _)| *name == key);
        let kept = self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let kept = kept.filter(|(key, value)| !is_changed(key) && !value.is_empty());
        let set = changes.iter().copied().filter(|(_, value)| !value.is_empty());
        let pairs = kept.chain(set).map(|(key, value)| format!("{}={}", encode(key), encode(value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    /// Refuses every parameter: for what takes none.
    pub(crate) fn finish(&self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                Err(Problem::field(name.as_str(), format!("`{name}` is not known here; leave it out")))
            }
        }
    }

    /// The query string with one parameter set to another value.
    pub(crate) fn with(&self, name: &str, value: &str) -> String {
        let kept = self.0.iter().filter(|(key, _)| key != name);
        let pairs = kept.map(|(key, value)| (key.as_str(), value.as_str())).chain([(name, value)]);
        pairs.map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect::<Vec<_>>().join("&")
    }
}

/// Percent-encoding of everything that is not unreserved (RFC 3986, 2.3).
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn fields(body: &str) -> Result<Fields, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Fields::parse(&headers, body.as_bytes())
    }

    #[test]
    fn errors_name_the_field_by_its_path() {
        let mut outer = fields(r#"{"target": {"max_targets": "two"}}"#).unwrap();
        let problem = outer.object("target").unwrap().number("max_targets", "a number").unwrap_err();
        assert_eq!(problem.field.as_deref(), Some("target.max_targets"));
        assert!(problem.detail.contains("\"two\""), "{}", problem.detail);
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        let mut body = fields(r#"{"enabled": true, "enable": 1}"#).unwrap();
        assert_eq!(body.boolean_or("enabled"), Ok(Some(true)));
        assert_eq!(body.finish().unwrap_err().field.as_deref(), Some("enable"));
    }

    #[test]
    fn what_is_no_json_object_is_malformed() {
        assert_eq!(fields("{").unwrap_err().code, Code::MalformedJson);
        assert_eq!(fields("[]").unwrap_err().code, Code::MalformedJson);
        assert_eq!(Fields::parse(&HeaderMap::new(), b"{}").unwrap_err().code, Code::NotJson);
    }

    #[test]
    fn a_query_keeps_its_other_parameters() {
        let query = Query::parse(Some("resource=link%2Ffront-%3Ecart&limit=2&before=x")).unwrap();
        assert_eq!(query.text("resource"), Some("link/front->cart"));
        assert_eq!(query.with("before", "y"), "resource=link%2Ffront-%3Ecart&limit=2&before=y");
        assert_eq!(query.count("limit", 3, 9).unwrap_err().field.as_deref(), Some("limit"));
    }

    proptest::proptest! {
        /// Whatever is sent: it is read or refused, and what is read can be written back.
        #[test]
        fn no_query_panics(text in "([a-z]{0,3}=[^#]{0,8}&?){0,4}|.*") {
            if let Ok(query) = Query::parse(Some(&text)) {
                let _ = query.count("limit", 1, 9);
                let again = Query::parse(Some(&query.with("before", "y"))).unwrap();
                assert_eq!(again.text("before"), Some("y"));
            }
        }
    }
}
