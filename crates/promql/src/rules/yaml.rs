//! YAML as rule files need it: scalars are text until a field says what they are, and everything knows its place.
//!
//! In: text. Out: [`Fields`] that read it: what is missing, of the wrong kind or unknown is noted with file, line and
//! column, and reading goes on, so that one look at a file tells everything that is wrong with it. In Prometheus' files
//! `severity: 1` is the text `1`, as it stands there.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use serde_saphyr::options::NonFiniteFloatPolicy;

use super::file::Problem;
use crate::Position;

/// A value.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    /// Without quotes, and not text by its look: what it is stands in the file.
    Plain(String),
    Text(String),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

/// The one document of a file; none where there is nothing in it.
pub(super) fn document(file: &str, text: &str) -> Result<Option<Spanned<Node>>, Problem> {
    let options = serde_saphyr::options! { non_finite_float_policy: NonFiniteFloatPolicy::PassThrough };
    let problem = |(line, column), message| Problem {
        file: file.to_owned(),
        line,
        column,
        field: String::new(),
        message,
    };
    let mut documents: Vec<Spanned<Node>> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
            let at = error.location().map_or((1, 1), |at| (at.line(), at.column()));
            problem(at, plain_message(&error))
        })?;
    if let Some(second) = documents.get(1) {
        let at = (second.referenced.line(), second.referenced.column());
        return Err(problem(at, "begins a second document; a rule file is one".to_owned()));
    }
    Ok(documents.pop())
}

/// The parser's message without the place, which is told apart.
fn plain_message(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text[..end].trim_end_matches([',', ' ', ':']).to_owned()
}

/// Where something stands in a file, and what was found wrong with the file so far.
#[derive(Clone)]
pub(super) struct Place<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) line: u64,
    pub(super) column: u64,
    field: String,
}

/// A file while it is read.
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    pub(super) problems: RefCell<Vec<Problem>>,
    /// What is read past.
    pub(super) notes: RefCell<Vec<Problem>>,
}

impl<'a> Place<'a> {
    /// The root of the document.
    pub(super) fn root(source: &'a Source<'a>, document: &Spanned<Node>) -> Self {
        let (line, column) = start(document);
        Self { source, line, column, field: String::new() }
    }

    /// Notes that something is wrong here.
    pub(super) fn refuse(&self, message: impl fmt::Display) {
        self.source.problems.borrow_mut().push(self.problem(message));
    }

    /// Notes that something here is read past.
    pub(super) fn note(&self, message: impl fmt::Display) {
        self.source.notes.borrow_mut().push(self.problem(message));
    }

    fn problem(&self, message: impl fmt::Display) -> Problem {
        Problem {
            file: self.source.file.to_owned(),
            line: self.line,
            column: self.column,
            field: self.field.clone(),
            message: message.to_string(),
        }
    }

    fn at(&self, field: String, (line, column): (u64, u64)) -> Self {
        Self { field, line, column, source: self.source }
    }
}

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Value<'a> {
    spanned: &'a Spanned<Node>,
    pub(super) place: Place<'a>,
}

impl<'a> Value<'a> {
    pub(super) fn root(place: Place<'a>, document: &'a Spanned<Node>) -> Self {
        Self { spanned: document, place }
    }

    fn wrong<T>(&self, expected: &str) -> Option<T> {
        let is = match &self.spanned.value {
            Node::Null => "nothing",
            Node::Plain(_) | Node::Text(_) => "text",
            Node::List(_) => "a list",
            Node::Map(_) => "fields",
        };
        self.place.refuse(format_args!("is {is}, must be {expected}"));
        None
    }

    /// A scalar, as it stands there.
    pub(super) fn text(&self) -> Option<&'a str> {
        match &self.spanned.value {
            Node::Text(text) => Some(text),
            // What only looks like a number or a truth is what is written.
            Node::Plain(shown) => Some(self.written().unwrap_or(shown)),
            _ => self.wrong("text"),
        }
    }

    /// The bytes of the file this value is made of.
    fn written(&self) -> Option<&'a str> {
        let span = self.spanned.defined.span();
        let from = usize::try_from(span.byte_offset()?).ok()?;
        let to = from.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
        self.place.source.text.get(from..to).map(str::trim).filter(|text| !text.is_empty())
    }

    /// The place of a byte of its text: exact where the text stands in the file as it is, line by line; where it does not
    /// (escapes, folded lines), the beginning of the value, with the place within the text.
    pub(super) fn place_within(&self, at: Position) -> (Place<'a>, Option<Position>) {
        match self.exact(at) {
            Some(found) => (self.place.at(self.place.field.clone(), found), None),
            None => (self.place.clone(), Some(at)),
        }
    }

    fn exact(&self, at: Position) -> Option<(u64, u64)> {
        let text = self.text()?.trim_end();
        // Behind the last word: what is missing is missing there.
        let at = Position::of(text, text.len()).min(at);
        let wanted = text.lines().nth(at.line as usize - 1).unwrap_or_default();
        let before = wanted.get(..(at.column as usize - 1).min(wanted.len()))?;
        let first_line = usize::try_from(self.spanned.defined.line()).ok()?.checked_sub(1)?;
        let first_column = usize::try_from(self.spanned.defined.column()).ok()?.checked_sub(1)?;
        let line = first_line + at.line as usize - 1;
        let written = self.place.source.text.lines().nth(line)?;
        let column = if at.line == 1 {
            let written: String = written.chars().skip(first_column).collect();
            let quote = usize::from(written.starts_with(['"', '\'']));
            written.get(quote..)?.starts_with(wanted).then_some(first_column + quote)?
        } else {
            // Of a block: its lines stand behind the same blanks.
            (written.trim() == wanted.trim()).then_some(())?;
            let blanks = |line: &str| line.len() - line.trim_start().len();
            blanks(written).checked_sub(blanks(wanted))?
        };
        Some((line as u64 + 1, (column + before.chars().count()) as u64 + 1))
    }

    /// The values of a list; an empty value is an empty list.
    pub(super) fn list(&self) -> Option<Vec<Value<'a>>> {
        match &self.spanned.value {
            Node::List(items) => {
                let item = |(index, item): (usize, &'a Spanned<Node>)| Value {
                    spanned: item,
                    place: self.place.at(format!("{}[{index}]", self.place.field), start(item)),
                };
                Some(items.iter().enumerate().map(item).collect())
            }
            Node::Null => Some(Vec::new()),
            _ => self.wrong("a list, each in a line of its own as `- item`"),
        }
    }

    /// Its fields; an empty value has none.
    pub(super) fn fields(&self) -> Option<Fields<'a>> {
        let entries: &'a [_] = match &self.spanned.value {
            Node::Map(entries) => entries,
            Node::Null => &[],
            _ => return self.wrong("fields, each in a line of its own as `key: value`"),
        };
        let read = entries.iter().map(|_| Cell::new(false)).collect();
        Some(Fields { place: self.place.clone(), entries, read, asked: RefCell::default() })
    }
}

/// The fields of a value. Every one has to be asked for; [`Fields::end`] refuses the others.
pub(super) struct Fields<'a> {
    pub(super) place: Place<'a>,
    entries: &'a [(Spanned<String>, Spanned<Node>)],
    read: Vec<Cell<bool>>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    /// A field, `None` where it is not there or empty.
    pub(super) fn optional(&self, name: &'static str) -> Option<Value<'a>> {
        self.asked.borrow_mut().push(name);
        let at = self.entries.iter().position(|(key, _)| key.value == name)?;
        self.read[at].set(true);
        self.value(at)
    }

    fn value(&self, at: usize) -> Option<Value<'a>> {
        let (key, value) = &self.entries[at];
        let place = self.place.at(self.path(&key.value), start(value));
        (!matches!(value.value, Node::Null)).then_some(Value { spanned: value, place })
    }

    /// Every field, whatever its name: the place of its name, and its value where it has one.
    pub(super) fn each(&self) -> impl Iterator<Item = (&'a str, Place<'a>, Option<Value<'a>>)> {
        self.entries.iter().enumerate().map(|(at, (key, _))| {
            let place = self.place.at(self.path(&key.value), start(key));
            (&*key.value, place, self.value(at))
        })
    }

    /// Where a field's name stands, or these fields where it does not.
    pub(super) fn place_of(&self, name: &str) -> Place<'a> {
        let key = self.entries.iter().find(|(key, _)| key.value == name);
        key.map_or(self.place.clone(), |(key, _)| self.place.at(self.path(name), start(key)))
    }

    /// Refuses what was not asked for.
    pub(super) fn end(self) {
        for ((key, _), read) in self.entries.iter().zip(&self.read) {
            if !read.get() {
                let known = self.asked.borrow().join(", ");
                let place = self.place.at(self.path(&key.value), start(key));
                place.refuse(format_args!("is no field known here; there are {known}"));
            }
        }
    }

    fn path(&self, name: &str) -> String {
        let dot = if self.place.field.is_empty() { "" } else { "." };
        format!("{}{dot}{name}", self.place.field)
    }
}

fn start<T>(spanned: &Spanned<T>) -> (u64, u64) {
    (spanned.referenced.line(), spanned.referenced.column())
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}
