//! How large a document may be: bounds that are checked before anything is validated or read.
//!
//! In: the text of a document. Out: the document, or the bound that it breaks. Fragments are counted as often as they are
//! spread, each being walked once, so that a document whose fragments double at every level is refused in the time it takes
//! to read it. What a list costs by its `first` is bounded afterwards, once the schema has counted it
//! ([`super::cost`]).

use std::collections::HashMap;
use std::iter::Peekable;
use std::str::Bytes;

use async_graphql::Name;
use async_graphql::parser::parse_query;
use async_graphql::parser::types::{ExecutableDocument, FragmentDefinition, Selection, SelectionSet};
use async_graphql::{Positioned, ServerError};

use crate::problem::{Code, Problem};

/// The longest document, in bytes; long values are given as variables.
const BYTES_MAX: usize = 16 * 1024;

/// Names, signs and values of a document.
const TOKENS_MAX: usize = 2_000;

/// Braces, brackets and parentheses within each other.
const NESTING_MAX: usize = 40;

/// Fields within each other.
const DEPTH_MAX: u64 = 12;

/// How much deeper introspection may go: clients follow wrapped types nine levels down.
const INTROSPECTION_DEPTH: u64 = 8;

/// Lists of introspection within each other, as graphql-js bounds them: each multiplies the answer.
const INTROSPECTION_LISTS_MAX: u64 = 2;

/// Fields of a document with its fragments spread out.
const FIELDS_MAX: u64 = 1_000;

/// Fields at the root of an operation.
const ROOTS_MAX: u64 = 20;

/// Fields that are asked for under another name.
const ALIASES_MAX: u64 = 50;

/// Directives of one field.
const DIRECTIVES_MAX: u64 = 4;

/// Why a document is not taken.
pub(super) enum Unfit {
    /// It is no GraphQL.
    Malformed(ServerError),
    /// It is too large.
    TooLarge(Problem),
}

/// Reads a document within bounds.
pub(super) fn read(text: &str) -> Result<ExecutableDocument, Unfit> {
    scan(text).map_err(Unfit::TooLarge)?;
    let document = parse_query(text).map_err(|error| Unfit::Malformed(error.into()))?;
    check(&document).map_err(Unfit::TooLarge)?;
    Ok(document)
}

fn too_much(what: &str, found: u64, most: u64) -> Problem {
    Problem::new(
        Code::QueryTooComplex,
        format!("the document has {found} {what}, at most {most} are taken; ask for less at a time"),
    )
}

fn within(what: &str, found: u64, most: u64) -> Result<(), Problem> {
    if found > most { Err(too_much(what, found, most)) } else { Ok(()) }
}

/// Counts before parsing: a parser is recursive, and a text is quickly written.
fn scan(text: &str) -> Result<(), Problem> {
    within("bytes", text.len() as u64, BYTES_MAX as u64)?;
    let (mut tokens, mut nesting) = (0, 0_usize);
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'#' => while bytes.next_if(|byte| !matches!(byte, b'\n' | b'\r')).is_some() {},
            b'"' => {
                tokens += 1;
                skip_string(&mut bytes);
            }
            b'{' | b'[' | b'(' => {
                (tokens, nesting) = (tokens + 1, nesting + 1);
                within("braces within each other", nesting as u64, NESTING_MAX as u64)?;
            }
            b'}' | b']' | b')' => (tokens, nesting) = (tokens + 1, nesting.saturating_sub(1)),
            b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {
                tokens += 1;
                while bytes.next_if(|byte| *byte == b'_' || byte.is_ascii_alphanumeric()).is_some() {}
            }
            _ if byte.is_ascii_whitespace() || byte == b',' => {}
            _ => tokens += 1,
        }
        within("tokens", tokens, TOKENS_MAX as u64)?;
    }
    Ok(())
}

/// Passes over the rest of a string, or of a block string. One that has no end is told by the parser.
fn skip_string(bytes: &mut Peekable<Bytes<'_>>) {
    if bytes.next_if_eq(&b'"').is_none() {
        while let Some(byte) = bytes.next_if(|byte| *byte != b'\n') {
            match byte {
                b'"' => return,
                b'\\' => drop(bytes.next()),
                _ => {}
            }
        }
        return;
    }
    // Two quotes are an empty string, three begin a block.
    if bytes.next_if_eq(&b'"').is_none() {
        return;
    }
    let mut quotes = 0;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quotes += 1,
            b'\\' => {
                // Only the three quotes may be escaped in a block.
                quotes = 0;
                while bytes.next_if_eq(&b'"').is_some() {}
            }
            _ => quotes = 0,
        }
        if quotes == 3 {
            return;
        }
    }
}

/// How large a selection is.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    /// Fields, those of fragments as often as they are spread.
    fields: u64,
    /// Fields of the outermost level.
    width: u64,
    /// Fields under another name.
    aliases: u64,
    /// Fields within each other.
    depth: u64,
    /// Lists of introspection within each other.
    lists: u64,
    /// Directives of the field that has most of them.
    directives: u64,
}

impl Size {
    fn and(self, other: Self) -> Self {
        Self {
            fields: self.fields.saturating_add(other.fields),
            width: self.width.saturating_add(other.width),
            aliases: self.aliases.saturating_add(other.aliases),
            depth: self.depth.max(other.depth),
            lists: self.lists.max(other.lists),
            directives: self.directives.max(other.directives),
        }
    }
}

fn check(document: &ExecutableDocument) -> Result<(), Problem> {
    let mut sizes = Sizes { fragments: &document.fragments, known: HashMap::new() };
    for (_, operation) in document.operations.iter() {
        let size = sizes.of(&operation.node.selection_set.node)?;
        within("fields", size.fields, FIELDS_MAX)?;
        within("fields at its root", size.width, ROOTS_MAX)?;
        within("aliases", size.aliases, ALIASES_MAX)?;
        within("fields within each other", size.depth, DEPTH_MAX)?;
        within("lists of introspection within each other", size.lists, INTROSPECTION_LISTS_MAX)?;
        within("directives of one field", size.directives, DIRECTIVES_MAX)?;
    }
    Ok(())
}

/// The sizes of fragments, each worked out once; none while it is being worked out.
struct Sizes<'a> {
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    known: HashMap<&'a str, Option<Size>>,
}

impl<'a> Sizes<'a> {
    fn of(&mut self, set: &'a SelectionSet) -> Result<Size, Problem> {
        set.items.iter().try_fold(Size::default(), |all, item| Ok(all.and(self.item(&item.node)?)))
    }

    fn item(&mut self, item: &'a Selection) -> Result<Size, Problem> {
        match item {
            Selection::Field(field) => {
                let field = &field.node;
                let below = self.of(&field.selection_set.node)?;
                let name = field.name.node.as_str();
                let is_list = matches!(name, "fields" | "interfaces" | "possibleTypes" | "inputFields");
                let spared = if matches!(name, "__schema" | "__type") { INTROSPECTION_DEPTH } else { 0 };
                Ok(Size {
                    fields: below.fields.saturating_add(1),
                    width: 1,
                    aliases: below.aliases.saturating_add(u64::from(field.alias.is_some())),
                    depth: (below.depth + 1).saturating_sub(spared).max(1),
                    lists: below.lists + u64::from(is_list),
                    directives: below.directives.max(field.directives.len() as u64),
                })
            }
            Selection::InlineFragment(fragment) => self.of(&fragment.node.selection_set.node),
            Selection::FragmentSpread(spread) => self.spread(spread.node.fragment_name.node.as_str()),
        }
    }

    fn spread(&mut self, name: &str) -> Result<Size, Problem> {
        match self.known.get(name) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => {
                return Err(Problem::new(
                    Code::InvalidQuery,
                    format!("the fragment {name} spreads itself; take the circle out"),
                ));
            }
            None => {}
        }
        // A fragment that is not defined is told by validation, with its place.
        let Some((name, fragment)) = self.fragments.get_key_value(name) else { return Ok(Size::default()) };
        self.known.insert(name.as_str(), None);
        let size = self.of(&fragment.node.selection_set.node)?;
        self.known.insert(name.as_str(), Some(size));
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> Option<Code> {
        match read(text) {
            Ok(_) => None,
            Err(Unfit::TooLarge(problem)) => Some(problem.code),
            Err(Unfit::Malformed(_)) => Some(Code::MalformedJson),
        }
    }

    #[test]
    fn what_people_ask_is_within_bounds() {
        let asked = "{ issues(first: 5) { edges { node { id remediations { id steps { action } } } } } }";
        assert_eq!(refusal(asked), None);
    }

    #[test]
    fn fragments_that_double_at_every_level_are_refused_at_once() {
        let mut text = "{ ...F0 }".to_owned();
        for level in 0..60 {
            text.push_str(&format!(" fragment F{level} on Query {{ ...F{n} ...F{n} }}", n = level + 1));
        }
        text.push_str(" fragment F60 on Query { healthScore { overall } }");
        assert_eq!(refusal(&text), Some(Code::QueryTooComplex));
    }

    #[test]
    fn a_circle_of_fragments_is_refused() {
        let text = "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }";
        assert_eq!(refusal(text), Some(Code::InvalidQuery));
    }

    #[test]
    fn each_bound_holds() {
        let many = |count: usize, one: fn(usize) -> String| (0..count).map(one).collect::<String>();
        let deep = format!("{}id{}", "{ a ".repeat(13), "}".repeat(13));
        let nested = format!("{{ a(b: {}1{}) }}", "[".repeat(60), "]".repeat(60));
        let aliases = format!("{{ issues {{ {} }} }}", many(60, |n| format!("a{n}: totalCount ")));
        let roots = format!("{{ {} }}", many(30, |n| format!("f{n} ")));
        let introspection =
            "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }".to_owned();
        let long = format!("{{ a(b: \"{}\") }}", "x".repeat(1 << 20));
        let hidden = format!("{{ a(b: \"#\", c: {}1{}) }}", "[".repeat(60), "]".repeat(60));
        let tokens = format!("{{ a(b: [{}]) }}", "1 ".repeat(4_000));
        for text in [deep, nested, aliases, roots, introspection, long, hidden, tokens] {
            assert_eq!(refusal(&text), Some(Code::QueryTooComplex), "{}", &text[..60.min(text.len())]);
        }
    }

    proptest::proptest! {
        /// Whatever is sent is read or refused.
        #[test]
        fn no_document_panics(text in "([{}()\\[\\]:!$@\"# \n]|\\.\\.\\.|[a-c]{1,3}|fragment |on |query ){0,80}") {
            let _ = read(&text);
        }
    }
}
