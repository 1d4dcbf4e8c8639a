//! YAML of which every value knows its place.
//!
//! In: text. Out: documents, and [`Fields`] that read them: what is missing, of the wrong type or unknown is noted with
//! file, line and column, and reading goes on, so that one look at a file tells everything that is wrong with it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use serde_saphyr::options::NonFiniteFloatPolicy;

use super::Problem;

/// A value.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

/// The documents of a file.
pub(super) fn documents(file: &str, bytes: &[u8]) -> Result<Vec<Spanned<Node>>, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = before.matches('\n').count() as u64 + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() as u64 + 1;
        Problem {
            file: file.to_owned(),
            line,
            column,
            field: String::new(),
            message: "is not UTF-8".to_owned(),
        }
    })?;
    // What is no finite number is refused where it stands, by what was expected there.
    let options = serde_saphyr::options! { non_finite_float_policy: NonFiniteFloatPolicy::PassThrough };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        Problem { file: file.to_owned(), line, column, field: String::new(), message: plain_message(&error) }
    })
}

/// The parser's message without the place, which is told apart.
fn plain_message(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text[..end].trim_end_matches([',', ' ', ':']).to_owned()
}

impl Node {
    fn what(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(number) if number.is_finite() => "a number",
            Self::Number(_) => "no finite number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "fields",
        }
    }
}

/// Where something stands in a file, and everything found wrong with the file so far.
#[derive(Clone)]
pub(super) struct Place<'a> {
    pub(super) file: &'a str,
    line: u64,
    column: u64,
    pub(super) field: String,
    notes: &'a Notes<'a>,
}

/// What is known while files are read.
pub(super) struct Notes<'a> {
    /// Everything found wrong so far.
    pub(super) problems: RefCell<Vec<Problem>>,
    /// Says what is wrong with an expression.
    pub(super) check: &'a dyn Fn(&str) -> Result<(), String>,
}

impl<'a> Place<'a> {
    /// The root of a document.
    pub(super) fn root(file: &'a str, document: &Spanned<Node>, notes: &'a Notes<'a>) -> Self {
        let (line, column) = start(document);
        Self { file, line, column, field: String::new(), notes }
    }

    /// Notes that something is wrong here.
    pub(super) fn refuse(&self, message: impl fmt::Display) {
        self.notes.problems.borrow_mut().push(Problem {
            file: self.file.to_owned(),
            line: self.line,
            column: self.column,
            field: self.field.clone(),
            message: message.to_string(),
        });
    }

    /// What is wrong with an expression.
    pub(super) fn check_query(&self, text: &str) -> Result<(), String> {
        (self.notes.check)(text)
    }

    pub(super) fn line(&self) -> u64 {
        self.line
    }

    fn at(&self, field: String, (line, column): (u64, u64)) -> Self {
        Self { field, line, column, ..self.clone() }
    }
}

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Value<'a> {
    pub(super) node: &'a Node,
    pub(super) place: Place<'a>,
}

impl<'a> Value<'a> {
    pub(super) fn root(place: Place<'a>, document: &'a Spanned<Node>) -> Self {
        Self { node: &document.value, place }
    }

    fn wrong<T>(&self, expected: &str) -> Option<T> {
        self.place.refuse(format_args!("is {}, must be {expected}", self.node.what()));
        None
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        match self.node {
            Node::Text(text) => Some(text),
            _ => self.wrong("text; put it in quotes if it is meant as such"),
        }
    }

    /// Text that is not empty.
    pub(super) fn words(&self) -> Option<&'a str> {
        let text = self.text()?;
        if text.trim().is_empty() {
            self.place.refuse("is empty");
            return None;
        }
        Some(text)
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self.node {
            Node::Number(number) if number.is_finite() => Some(*number),
            _ => self.wrong("a number, such as 99.9"),
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self.node {
            Node::Bool(value) => Some(*value),
            _ => self.wrong("true or false"),
        }
    }

    /// The values of a list; an empty value is an empty list.
    pub(super) fn list(&self) -> Option<Vec<Value<'a>>> {
        match self.node {
            Node::List(items) => {
                let item = |(index, item): (usize, &'a Spanned<Node>)| Value {
                    node: &item.value,
                    place: self.place.at(format!("{}[{index}]", self.place.field), start(item)),
                };
                Some(items.iter().enumerate().map(item).collect())
            }
            Node::Null => Some(Vec::new()),
            _ => self.wrong("a list, each in a line of its own as `- item`"),
        }
    }

    pub(super) fn texts(&self) -> Option<Vec<String>> {
        self.list()?.iter().map(|item| item.words().map(str::to_owned)).collect()
    }

    /// Its fields; an empty value has none.
    pub(super) fn fields(&self) -> Option<Fields<'a>> {
        let entries: &'a [_] = match self.node {
            Node::Map(entries) => entries,
            Node::Null => &[],
            _ => return self.wrong("fields, each in a line of its own as `key: value`"),
        };
        let read = entries.iter().map(|_| Cell::new(false)).collect();
        Some(Fields { place: self.place.clone(), entries, read, asked: RefCell::default() })
    }

    /// Names and texts.
    pub(super) fn map_of_texts(&self) -> Option<BTreeMap<String, String>> {
        let fields = self.fields()?;
        let entry = |name: &str| Some((name.to_owned(), fields.required(name)?.text()?.to_owned()));
        // Every entry is looked at, so that all that is wrong is told.
        let entries: Vec<_> = fields.names().map(entry).collect();
        entries.into_iter().collect()
    }
}

/// The fields of a value. Every one has to be asked for; [`Fields::end`] refuses the others.
pub(super) struct Fields<'a> {
    pub(super) place: Place<'a>,
    entries: &'a [(Spanned<String>, Spanned<Node>)],
    read: Vec<Cell<bool>>,
    asked: RefCell<Vec<String>>,
}

impl<'a> Fields<'a> {
    /// A field, `None` where it is not there or empty.
    pub(super) fn optional(&self, name: &str) -> Option<Value<'a>> {
        self.asked.borrow_mut().push(name.to_owned());
        let at = self.entries.iter().position(|(key, _)| key.value == name)?;
        self.read[at].set(true);
        let (_, value) = &self.entries[at];
        let place = self.place.at(self.path(name), start(value));
        (!matches!(value.value, Node::Null)).then_some(Value { node: &value.value, place })
    }

    /// A field that has to be there.
    pub(super) fn required(&self, name: &str) -> Option<Value<'a>> {
        let value = self.optional(name);
        if value.is_none() {
            let known = self.entries.iter().find(|(key, _)| key.value == name);
            let place =
                known.map_or(self.place.clone(), |(key, _)| self.place.at(self.path(name), start(key)));
            let missing = if known.is_some() {
                "is empty".to_owned()
            } else {
                format!("has no `{name}`, which is needed")
            };
            place.refuse(missing);
        }
        value
    }

    /// Whether a field is there, empty or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _)| key.value == name)
    }

    /// Where a field's name stands, or these fields where it does not.
    pub(super) fn place_of(&self, name: &str) -> Place<'a> {
        let key = self.entries.iter().find(|(key, _)| key.value == name);
        key.map_or(self.place.clone(), |(key, _)| self.place.at(self.path(name), start(key)))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.entries.iter().map(|(key, _)| &*key.value)
    }

    /// Leaves these out of account: others write them.
    pub(super) fn ignore(&self, names: &[&str]) {
        for (at, (key, _)) in self.entries.iter().enumerate() {
            if names.contains(&&*key.value) {
                self.read[at].set(true);
            }
        }
    }

    /// Refuses what was not asked for.
    pub(super) fn end(self) {
        for ((key, _), read) in self.entries.iter().zip(&self.read) {
            if !read.get() {
                let asked = self.asked.borrow();
                let known: Vec<&str> = asked.iter().map(String::as_str).collect();
                let place = self.place.at(self.path(&key.value), start(key));
                place.refuse(format_args!("is no field known here; there are {}", known.join(", ")));
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
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value))
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
