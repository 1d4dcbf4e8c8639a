//! Reads structs and enumerations out of sources, with what their documentation says.
//!
//! In: Rust as rustfmt leaves it. Out: fields and variants by type. What reads a configuration has no names of types at run
//! time, and its comments not at all; the sources have both.

use std::collections::BTreeMap;

/// A field of a struct.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) says: String,
    /// Whether it has a default of its own.
    pub(super) has_default: bool,
}

/// A struct or an enumeration.
#[derive(Debug, Clone, Default)]
pub(super) struct Type {
    pub(super) says: String,
    /// Of a struct.
    pub(super) fields: Vec<Field>,
    /// Of an enumeration: name and documentation.
    pub(super) variants: Vec<(String, String)>,
}

/// Every public type of some sources.
pub(super) fn types(sources: &[&str]) -> BTreeMap<String, Type> {
    let mut found = BTreeMap::new();
    for source in sources {
        let (mut says, mut attributes) = (String::new(), String::new());
        let mut within: Option<(String, Type, bool)> = None;
        for line in source.lines() {
            let words = line.trim();
            if let Some(more) = words.strip_prefix("///") {
                says.push_str(more);
            } else if words.starts_with("#[") {
                attributes.push_str(words);
            } else if let Some((name, known, all_have_defaults)) = &mut within {
                if line == "}" {
                    found.insert(name.clone(), known.clone());
                    within = None;
                } else if let Some((field, kind)) =
                    words.strip_prefix("pub ").and_then(|w| w.split_once(": "))
                {
                    let has_default = *all_have_defaults || attributes.contains("default");
                    let kind = kind.trim_end_matches(',').to_owned();
                    known.fields.push(Field {
                        name: field.to_owned(),
                        kind,
                        says: plain(&says),
                        has_default,
                    });
                } else if words.ends_with(',') && words.starts_with(char::is_uppercase) {
                    known.variants.push((snake(words.trim_end_matches(',')), plain(&says)));
                }
                (says, attributes) = Default::default();
            } else {
                let name = words.strip_prefix("pub struct ").or_else(|| words.strip_prefix("pub enum "));
                if let Some(name) = name.and_then(|rest| rest.strip_suffix(" {")) {
                    let known = Type { says: plain(&says), ..Type::default() };
                    within = Some((name.to_owned(), known, attributes.contains("default)]")));
                }
                (says, attributes) = Default::default();
            }
        }
    }
    found
}

/// Without links to items of the code: their words stay.
fn plain(says: &str) -> String {
    let mut text = String::new();
    let mut rest = says.trim();
    while let Some((before, link)) = rest.split_once('[') {
        let Some((words, after)) = link.split_once(']') else { break };
        let after = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
        let is_table = !words.starts_with('`');
        text.push_str(before);
        text.push_str(&if is_table { format!("[{words}]") } else { words.to_owned() });
        rest = after;
    }
    text + rest
}

fn snake(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

#[test]
fn fields_and_variants_are_read_with_their_words() {
    let source = "/// A thing.\n#[derive(Debug)]\n#[serde(deny_unknown_fields, default)]\npub struct Thing {\n    /// How many,\n    /// see [`Other`](Self::other).\n    pub count: u32,\n}\n\npub enum Rung {\n    /// Runs.\n    AllAuto,\n}\n";
    let types = types(&[source]);
    let thing = &types["Thing"];
    let field = &thing.fields[0];
    assert_eq!((&*thing.says, &*field.name, &*field.kind), ("A thing.", "count", "u32"));
    assert_eq!((&*field.says, field.has_default), ("How many, see `Other`.", true));
    assert_eq!(types["Rung"].variants, [("all_auto".to_owned(), "Runs.".to_owned())]);
}
