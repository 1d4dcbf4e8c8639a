//! What a list's address chooses, as a file: CSV (RFC 4180) or JSON.
//!
//! A spreadsheet runs a cell that begins with `=`, `+`, `-` or `@` as a formula, and what stands in ours came from
//! outside: such a text gets an apostrophe in front, as OWASP advises. Numbers stay numbers.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::{Column, Listed, choose, text};
use crate::body::Query;
use crate::problem::Problem;

/// Rows of a file; where there are more, or reading them takes long, the `Link` header leads to the next file.
pub(super) const ROWS: usize = 10_000;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::page) enum Format {
    Csv,
    Json,
}

impl Format {
    pub(super) fn read(text: &str) -> Option<Self> {
        match text {
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

impl<R> Listed<'_, R> {
    /// The chosen rows as a file, with every column.
    pub(in crate::page) fn export(self, query: &Query, format: Format) -> Result<Response, Problem> {
        self.list.check(query)?;
        let gathered = choose::all(&self.list, self.source, query, ROWS)?;
        let columns: Vec<&Column<'_, R>> =
            self.list.columns.iter().filter(|column| column.is_filed).collect();
        let (kind, end, body) = match format {
            Format::Csv => ("text/csv; charset=utf-8; header=present", "csv", csv(&columns, &gathered.rows)),
            Format::Json => ("application/json", "json", json(&columns, &gathered.rows)),
        };
        let name = self.list.nouns.1.replace(' ', "-");
        let mut response = (StatusCode::OK, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let mut insert = |header, text: String| {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(header, value);
            }
        };
        insert(header::CONTENT_DISPOSITION, format!("attachment; filename=\"homeostat-{name}.{end}\""));
        if let Some(older) = gathered.older {
            let rest = query.changed(&[("before", &older)]);
            insert(header::LINK, format!("<{}?{rest}>; rel=\"next\"", self.list.address));
        }
        Ok(response)
    }
}

fn csv<R>(columns: &[&Column<'_, R>], rows: &[R]) -> String {
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        out.push_str(&cells.collect::<Vec<_>>().join(","));
        out.push_str("\r\n");
    };
    line(&mut columns.iter().map(|column| cell(&Value::from(column.name))));
    for row in rows {
        line(&mut columns.iter().map(|column| cell(&(column.value)(row))));
    }
    out
}

fn cell(value: &Value) -> String {
    let said = match value {
        Value::Null => return String::new(),
        Value::Number(number) => return number.to_string(),
        other => text(other),
    };
    let is_formula = said.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let said = if is_formula { format!("'{said}") } else { said };
    if said.contains(['"', ',', '\r', '\n']) || said.starts_with(' ') || said.ends_with(' ') {
        format!("\"{}\"", said.replace('"', "\"\""))
    } else {
        said
    }
}

fn json<R>(columns: &[&Column<'_, R>], rows: &[R]) -> String {
    let object = |row: &R| -> Value {
        let fields: Map<String, Value> =
            columns.iter().map(|column| (column.name.to_owned(), (column.value)(row))).collect();
        fields.into()
    };
    Value::Array(rows.iter().map(object).collect()).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_are_quoted_by_the_standard_and_never_run_as_formulas() {
        let cells = [
            (json!("plain"), "plain"),
            (json!("a,b"), "\"a,b\""),
            (json!("say \"no\""), "\"say \"\"no\"\"\""),
            (json!("two\nlines"), "\"two\nlines\""),
            (json!("=HYPERLINK(\"http://evil.example\")"), "\"'=HYPERLINK(\"\"http://evil.example\"\")\""),
            (json!("@SUM(1)"), "'@SUM(1)"),
            (json!("-1+1"), "'-1+1"),
            (json!(-1.5), "-1.5"),
            (json!(["a", "b"]), "\"a, b\""),
            (Value::Null, ""),
        ];
        for (value, expected) in cells {
            assert_eq!(cell(&value), expected);
        }
    }
}
