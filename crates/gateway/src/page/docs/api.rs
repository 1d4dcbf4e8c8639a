//! The API to browse: every endpoint with what it takes and answers, and a line for curl.
//!
//! In: the OpenAPI document, as it is served. Out: an article, made once. Endpoints are folded; a link to one, or to a shape,
//! unfolds it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use maud::{Markup, PreEscaped, html};
use serde_json::{Map, Value, json};

use crate::openapi;
use crate::routes;
use crate::schema_text::{Field, Word, fields, kind};

struct Api {
    article: Markup,
    /// Anchor and name of each group.
    groups: Vec<(String, String)>,
}

/// An operation with its address.
struct Operation<'a> {
    method: String,
    path: &'a str,
    says: &'a Value,
}

static API: LazyLock<Api> = LazyLock::new(|| Api::of(&openapi::document(&routes::endpoints())));

/// Every endpoint and shape.
pub(super) fn article() -> &'static Markup {
    &API.article
}

/// The groups of endpoints, for links to them.
pub(super) fn groups() -> &'static [(String, String)] {
    &API.groups
}

impl Api {
    fn of(document: &Value) -> Self {
        let by_group = operations(document);
        let schemas = &document["components"]["schemas"];
        let mut groups: Vec<(String, String)> =
            by_group.keys().map(|group| (format!("group-{group}"), group.replace('_', " "))).collect();
        groups.push(("shapes".to_owned(), "shapes".to_owned()));
        let article = html! {
            h1 { "API" }
            p { "Version " (document["info"]["version"].as_str().unwrap_or_default()) ". The document this page is made from: "
                a href="/api/v3/openapi.json" { "OpenAPI 3.1" } ". How to sign in, lists, times and errors: "
                a href="/docs/reference/rest" { "REST API" } "." }
            @for (group, operations) in &by_group {
                h2 id={ "group-" (group) } { (group.replace('_', " ")) }
                @for operation in operations { (operation.shown(schemas)) }
            }
            h2 id="shapes" { "shapes" }
            p { "What bodies and answers are made of." }
            @for (name, schema) in schemas.as_object().into_iter().flatten() { (shape(name, schema)) }
        };
        Self { article: PreEscaped(article.into_string()), groups }
    }
}

/// The operations by group, without the second addresses of some.
fn operations(document: &Value) -> BTreeMap<&str, Vec<Operation<'_>>> {
    let mut groups: BTreeMap<&str, Vec<Operation<'_>>> = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, says) in methods.as_object().into_iter().flatten() {
            let group = says["tags"][0].as_str().unwrap_or_default();
            if !says["operationId"].as_str().unwrap_or_default().ends_with("_alias") {
                groups.entry(group).or_default().push(Operation {
                    method: method.to_uppercase(),
                    path,
                    says,
                });
            }
        }
    }
    groups
}

impl Operation<'_> {
    fn shown(&self, schemas: &Value) -> Markup {
        let of = |key: &str| self.says[key].as_str().unwrap_or_default();
        let body = &self.says["requestBody"]["content"]["application/json"]["schema"];
        let takes_body = self.says["requestBody"]["required"] == true;
        let parameters = self.says["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        html! {
            details class="operation" {
                summary {
                    span class={ "method " (self.method.to_lowercase()) } { (self.method) }
                    code { (self.path) }
                    span class="quiet" { (of("summary")) }
                }
                div id=(of("operationId")) {
                    p { (marked(of("description"))) }
                    @if !parameters.is_empty() { (table("Parameters", "in", &rows_of_parameters(parameters))) }
                    @if takes_body { h3 { "Body: " (said(&kind(body))) } (of_fields(&fields(resolved(body, schemas)))) }
                    h3 { "Answers" }
                    ul {
                        @for (status, response) in self.says["responses"].as_object().into_iter().flatten() {
                            li { (answer(status, response)) }
                        }
                    }
                    h3 { "Example" }
                    pre tabindex="0" { code { (self.curl(body, takes_body, schemas)) } }
                }
            }
        }
    }

    /// The request as one types it.
    fn curl(&self, body: &Value, takes_body: bool, schemas: &Value) -> String {
        let mut line = "curl".to_owned();
        if self.method != "GET" {
            line.push_str(&format!(" -X {}", self.method));
        }
        if self.says.get("security").is_none() {
            line.push_str(" -H \"Authorization: Bearer $TOKEN\"");
        }
        // What stands in braces is what one puts there.
        let parts = self.path.split(['{', '}']).enumerate();
        let path: String =
            parts.map(|(at, part)| if at % 2 == 1 { part.to_uppercase() } else { part.to_owned() }).collect();
        if !takes_body {
            return format!("{line} http://localhost:4000{path}");
        }
        let example = serde_json::to_string(&example(body, schemas, 0)).unwrap_or_default();
        format!(
            "{line} http://localhost:4000{path} \\\n  -H 'Content-Type: application/json' \\\n  -d '{example}'"
        )
    }
}

fn answer(status: &str, response: &Value) -> Markup {
    if status == "default" {
        return html! { "otherwise " a href="#shape-Problem" { "Problem" } ", with one of the " a href="/docs/reference/errors" { "error codes" } };
    }
    let content = response["content"].as_object().and_then(|content| content.iter().next());
    html! {
        strong { (status) } " " (response["description"].as_str().unwrap_or_default())
        @match content {
            Some((media, content)) if media == "application/json" => { ": " (said(&kind(&content["schema"]))) },
            Some((media, _)) => { ": " code { (media) } },
            None => {},
        }
    }
}

fn shape(name: &str, schema: &Value) -> Markup {
    let own = fields(schema);
    html! {
        details class="operation" {
            summary { code { (name) } span class="quiet" { (schema["description"].as_str().unwrap_or_default()) } }
            div id={ "shape-" (name) } { @if own.is_empty() { p { (said(&kind(schema))) } } @else { (of_fields(&own)) } }
        }
    }
}

/// A row of a table: name, second column, value, meaning.
type Row = (String, String, Markup, String);

fn rows_of_parameters(parameters: &[Value]) -> Vec<Row> {
    let row = |parameter: &Value| {
        let of = |key: &str| parameter[key].as_str().unwrap_or_default().to_owned();
        (of("name"), of("in"), said(&kind(&parameter["schema"])), of("description"))
    };
    parameters.iter().map(row).collect()
}

fn of_fields(fields: &[Field<'_>]) -> Markup {
    let mut rows = Vec::new();
    rows_of_fields("", fields, &mut rows);
    if rows.is_empty() {
        html! {}
    } else {
        table("Fields", "", &rows)
    }
}

fn rows_of_fields(within: &str, fields: &[Field<'_>], rows: &mut Vec<Row>) {
    for field in fields {
        let name = format!("{within}{}", field.name);
        let optional = if field.optional { "may be left out" } else { "" };
        rows.push((name.clone(), optional.to_owned(), said(&field.kind), field.description.to_owned()));
        rows_of_fields(&format!("{name}."), &field.inner, rows);
    }
}

fn table(of: &str, second: &str, rows: &[Row]) -> Markup {
    html! {
        div class="scroll" tabindex="0" {
            table {
                thead { tr { th { (of) } th { (second) } th { "value" } th { "meaning" } } }
                tbody {
                    @for (name, second, value, meaning) in rows {
                        tr { td { code { (name) } } td class="quiet" { (second) } td { (value) } td { (marked(meaning)) } }
                    }
                }
            }
        }
    }
}

fn said(words: &[Word]) -> Markup {
    html! {
        @for word in words {
            @match word {
                Word::Text(text) => (text),
                Word::Code(code) => code { (code) },
                Word::Type(name) => a href={ "#shape-" (name) } { (name) },
            }
        }
    }
}

/// Text with `code` in back quotes.
fn marked(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn resolved<'a>(schema: &'a Value, schemas: &'a Value) -> &'a Value {
    let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
    name.map_or(schema, |name| &schemas[name])
}

/// How deep an example goes: a shape may hold itself.
const DEEP: usize = 5;

/// A value of a schema: what is needed, as small as it can be.
fn example(schema: &Value, schemas: &Value, depth: usize) -> Value {
    let schema = resolved(schema, schemas);
    if depth > DEEP {
        return Value::Null;
    }
    let first = |key: &str| schema[key].as_array().and_then(|values| values.first());
    if let Some(value) = schema.get("const").or_else(|| first("enum")).or_else(|| first("examples")) {
        return value.clone();
    }
    if let Some(choice) = first("oneOf").or_else(|| first("anyOf")) {
        return example(choice, schemas, depth + 1);
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("object");
    match kind {
        "string" if schema["format"] == "uuid" => json!("019a9b1c-0000-7000-8000-000000000000"),
        "string" if schema["format"] == "date-time" => json!("2026-11-21T03:00:00Z"),
        "string" => json!("TEXT"),
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or(json!(1)),
        "boolean" => json!(true),
        "array" => json!([]),
        "null" => Value::Null,
        _ => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let of = |name: &str| (name.to_owned(), example(&schema["properties"][name], schemas, depth + 1));
            Value::Object(required.map(of).collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_there_with_a_request_to_try() {
        let html = article().0.clone();
        for endpoint in routes::endpoints() {
            let ours = endpoint.surface == crate::endpoint::Surface::Ours;
            assert_eq!(html.contains(&format!("id=\"{}\"", endpoint.name)), ours, "{}", endpoint.name);
        }
        assert!(html.contains("curl -X POST -H &quot;Authorization: Bearer $TOKEN&quot; http://localhost:4000/api/v3/chaos/experiment \\"));
    }

    /// Every link within the page leads to something on it.
    #[test]
    fn no_link_within_the_page_is_broken() {
        let html = article().0.clone();
        for link in html.split("href=\"#").skip(1) {
            let anchor = link.split('"').next().unwrap();
            assert!(html.contains(&format!("id=\"{anchor}\"")), "{anchor}");
        }
    }
}
