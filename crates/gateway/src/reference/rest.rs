//! `docs/reference/rest.md`: every endpoint, with what it takes and answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::{cell, check, made_from};
use crate::endpoint::{Access, Endpoint, ON_THE_WAY, Surface};
use crate::openapi;
use crate::problem::Code;
use crate::routes;
use crate::schema_text::{Field, Word, fields, kind};

fn page() -> String {
    let endpoints = routes::endpoints();
    let document = openapi::document(&endpoints);
    let mut text = made_from("the endpoints");
    text.push_str(INTRODUCTION);
    text.push_str(&codes(&ON_THE_WAY));
    text.push_str(CHANGES);
    let mut groups: BTreeMap<&str, Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.surface == Surface::Ours) {
        groups.entry(endpoint.group()).or_default().push(endpoint);
    }
    text.push_str("## All endpoints\n\n| endpoint | needs | what it is for |\n|---|---|---|\n");
    for endpoint in groups.values().flatten() {
        let title = format!("{} {}", endpoint.method, endpoint.path);
        let needs = needs(endpoint.access);
        let _ = writeln!(text, "| [`{title}`](#{}) | {needs} | {} |", anchor(&title), cell(endpoint.summary));
    }
    for (group, endpoints) in &groups {
        let _ = write!(text, "\n## {}\n", group.replace('_', " "));
        for endpoint in endpoints {
            of_endpoint(&mut text, endpoint, &document);
        }
    }
    of_others(&mut text, &endpoints);
    schemas(&mut text, &document["components"]["schemas"]);
    text
}

const INTRODUCTION: &str = "# REST API

At `http://localhost:4000`, or where `gateway.port` says. The same as OpenAPI 3.1 is at `/api/v3/openapi.json`, and to browse
at `/docs/api`.

- **Who asks.** `Authorization: Bearer TOKEN`; the first token is in the file `token` in the data directory. What an endpoint
  needs is said beside it; which role holds it is in [permissions](permissions.md).
- **Bodies** are JSON with `Content-Type: application/json`. A field or parameter that nobody knows is refused by its name,
  so that a misspelt one does not become a default.
- **Lists** are bare arrays, newest first. Where there is more, `Link: <…>; rel=\"next\"` has the address of the next page.
- **Times** are RFC 3339, in UTC; what was not reached or not measured is null, never 0.
- **Errors** are problem documents with a stable `code`: [error codes](errors.md). Each endpoint says with which it refuses beside
  those that any request may meet: ";

const CHANGES: &str = ".
- **Once is enough.** A `POST` that is sent again with the same `Idempotency-Key` has no second effect and the same answer.
  What was refused for how things were, as by the guard, was not done, and is asked anew. What lies below `/api/v3/access/` takes none and
  refuses one: its answers may hold what is shown once and kept nowhere.
- **Nobody's change is lost.** What can be overwritten has an `ETag`; sent back as `If-Match`, the write is done only while it is
  still so, and else refused with 412 `precondition_failed`. Writers of the same thing wait for each other. It is never asked for:
  without `If-Match` it does not matter what is there. What overwrites nothing is refused with any; an emergency stop is done
  whatever is sent.

";

fn needs(access: Access) -> String {
    match access {
        Access::Open => "nothing".to_owned(),
        Access::SignedIn => "proof of who asks".to_owned(),
        Access::Needs(permission) => format!("`{permission}`"),
    }
}

fn of_endpoint(text: &mut String, endpoint: &Endpoint, document: &Value) {
    let method = endpoint.method.as_str().to_ascii_lowercase();
    let operation = &document["paths"][&endpoint.path][&method];
    let _ = write!(text, "\n### `{} {}`\n\n{}.", endpoint.method, endpoint.path, endpoint.summary);
    let _ = writeln!(text, " {}", operation["description"].as_str().unwrap_or_default());
    if let Some(alias) = &endpoint.alias {
        let _ = writeln!(text, "Also at `{alias}`.");
    }
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        text.push_str("\n| parameter | in | value | meaning |\n|---|---|---|---|\n");
    }
    for parameter in parameters {
        let of = |key: &str| parameter[key].as_str().unwrap_or_default();
        let value = said(&kind(&parameter["schema"]));
        let _ = writeln!(text, "| `{}` | {} | {value} | {} |", of("name"), of("in"), cell(of("description")));
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if endpoint.body.is_some() {
        let _ = writeln!(text, "\nBody: {}.", said(&kind(body)));
        let own = fields(body);
        if !own.is_empty() {
            table(text, &own);
        }
    }
    text.push_str("\nAnswers:\n\n");
    for success in &endpoint.successes {
        let response = &operation["responses"][success.status.as_str()];
        let content = response["content"].as_object().and_then(|content| content.iter().next());
        let what = match content {
            Some((media, content)) if media == "application/json" => said(&kind(&content["schema"])),
            Some((media, _)) => format!("`{media}`"),
            None => "no body".to_owned(),
        };
        let _ = writeln!(text, "- **{}** {}: {what}", success.status.as_u16(), success.description);
    }
    let own: Vec<Code> = endpoint.refusals().into_iter().filter(|code| !ON_THE_WAY.contains(code)).collect();
    if !own.is_empty() {
        let _ = writeln!(text, "- Refused with {}", codes(&own));
    }
}

fn codes(codes: &[Code]) -> String {
    let named: Vec<String> = codes.iter().map(|code| format!("`{}`", code.name())).collect();
    named.join(", ")
}

fn of_others(text: &mut String, endpoints: &[Endpoint]) {
    let mut apis: BTreeMap<&str, Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in endpoints {
        if let Surface::Foreign(api) = endpoint.surface {
            apis.entry(api).or_default().push(endpoint);
        }
    }
    text.push_str(
        "\n## APIs of others\n\nAnswered as their own servers do, in their shapes and with their errors, so that their clients\n\
         work unchanged; what they take and answer is told in their documents.\n",
    );
    for (api, endpoints) in apis {
        let _ = write!(text, "\n### {api}\n\n| endpoint | needs |\n|---|---|\n");
        for endpoint in endpoints {
            let needs = needs(endpoint.access);
            let _ = writeln!(text, "| `{} {}` | {needs} |", endpoint.method, endpoint.path);
        }
    }
    text.push_str(
        "\nPrometheus' queries may also be sent as a form by `POST`, where the expression is long.\n",
    );
}

fn schemas(text: &mut String, schemas: &Value) {
    text.push_str("\n## Shapes\n\nWhat bodies and answers are made of.\n");
    for (name, schema) in schemas.as_object().into_iter().flatten() {
        let _ = write!(text, "\n### Shape {name}\n\n");
        if let Some(description) = schema["description"].as_str() {
            let _ = writeln!(text, "{}\n", description.replace('\n', " "));
        }
        match fields(schema) {
            fields if fields.is_empty() => {
                let _ = writeln!(text, "{}", said(&kind(schema)));
            }
            fields => table(text, &fields),
        }
    }
}

fn table(text: &mut String, fields: &[Field<'_>]) {
    text.push_str("\n| field | value | meaning |\n|---|---|---|\n");
    rows(text, "", fields);
}

fn rows(text: &mut String, within: &str, fields: &[Field<'_>]) {
    for field in fields {
        let name = format!("{within}{}", field.name);
        let needed = if field.optional { " (may be left out)" } else { "" };
        let _ = writeln!(text, "| `{name}` | {}{needed} | {} |", said(&field.kind), cell(field.description));
        rows(text, &format!("{name}."), &field.inner);
    }
}

fn said(words: &[Word]) -> String {
    let said = words.iter().map(|word| match word {
        Word::Text(text) => cell(text),
        Word::Code(code) => format!("`{}`", cell(code)),
        Word::Type(name) => format!("[{name}](#{})", anchor(&format!("Shape {name}"))),
    });
    said.collect()
}

/// The anchor of a heading, as the pages and GitHub make it.
fn anchor(title: &str) -> String {
    crate::page::anchor(title)
}

#[test]
fn the_page_of_the_api_is_what_the_endpoints_say() {
    check("rest.md", &page());
}

#[test]
fn every_endpoint_is_on_its_page() {
    let page = page();
    for endpoint in routes::endpoints() {
        assert!(page.contains(&format!("`{} {}`", endpoint.method, endpoint.path)), "{}", endpoint.path);
        assert!(endpoint.alias.is_none_or(|alias| page.contains(&alias)));
    }
}
