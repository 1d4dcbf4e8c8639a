//! A value, where it stands, and its fields.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;

use super::{File, Node, Problem, Spanned, start};

/// Where something stands in a file.
pub struct Place<'a, C = ()> {
    /// The file.
    pub file: &'a File<'a, C>,
    /// From 1.
    pub line: u64,
    /// From 1, in characters.
    pub column: u64,
    /// The path of the field; empty for the whole document.
    pub field: String,
}

/// By hand: a derived one asks it of `C`, which is not copied.
impl<C> Clone for Place<'_, C> {
    fn clone(&self) -> Self {
        self.at(self.field.clone(), (self.line, self.column))
    }
}

impl<'a, C> Place<'a, C> {
    pub(crate) fn beginning(file: &'a File<'a, C>) -> Self {
        Self { file, line: 1, column: 1, field: String::new() }
    }

    /// Notes that something is wrong here.
    pub fn refuse(&self, message: impl fmt::Display) {
        self.file.add_problem(self.problem(message));
    }

    /// Notes that something here is read past.
    pub fn note(&self, message: impl fmt::Display) {
        self.file.add_note(self.problem(message));
    }

    fn problem(&self, message: impl fmt::Display) -> Problem {
        Problem {
            file: self.file.name.to_owned(),
            line: self.line,
            column: self.column,
            field: self.field.clone(),
            message: message.to_string(),
        }
    }

    fn at(&self, field: String, (line, column): (u64, u64)) -> Self {
        Self { file: self.file, line, column, field }
    }
}

/// A value and where it stands.
pub struct Value<'a, C = ()> {
    spanned: &'a Spanned<Node>,
    /// Where it begins.
    pub place: Place<'a, C>,
}

impl<C> Clone for Value<'_, C> {
    fn clone(&self) -> Self {
        Self { spanned: self.spanned, place: self.place.clone() }
    }
}

impl<'a, C> Value<'a, C> {
    pub(crate) fn root(file: &'a File<'a, C>, document: &'a Spanned<Node>) -> Self {
        Self { spanned: document, place: Place::beginning(file).at(String::new(), start(document)) }
    }

    /// The value itself.
    pub fn node(&self) -> &'a Node {
        &self.spanned.value
    }

    fn wrong<T>(&self, expected: &str) -> Option<T> {
        self.place.refuse(format_args!("is {}, must be {expected}", self.node().what()));
        None
    }

    /// Text; a number or a truth is none until it is put in quotes.
    pub fn text(&self) -> Option<&'a str> {
        match self.node() {
            Node::Text(text) => Some(text),
            _ => self.wrong("text; put it in quotes if it is meant as such"),
        }
    }

    /// [`Self::text`] that is not empty.
    pub fn words(&self) -> Option<&'a str> {
        let text = self.text()?;
        if text.trim().is_empty() {
            self.place.refuse("is empty");
            return None;
        }
        Some(text)
    }

    /// A scalar as it is written, whatever it looks like: `1.50` is the text `1.50`.
    pub fn written(&self) -> Option<&'a str> {
        match self.node() {
            Node::Text(text) => Some(text),
            Node::Bool(_) | Node::Integer(_) | Node::Float(_) => {
                let written = self.bytes();
                written.or_else(|| self.wrong("text; put it in quotes if it is meant as such"))
            }
            Node::Null | Node::List(_) | Node::Map(_) => self.wrong("text"),
        }
    }

    /// The bytes of the file this value is made of.
    fn bytes(&self) -> Option<&'a str> {
        let span = self.spanned.defined.span();
        let from = usize::try_from(span.byte_offset()?).ok()?;
        let to = from.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
        self.place.file.text.get(from..to).map(str::trim).filter(|text| !text.is_empty())
    }

    /// The place of a line and byte of its text, both from 1, where the text stands in the file as it is, line by line.
    /// `None` where it does not: escapes, folded lines.
    pub fn place_within(&self, line: usize, column: usize) -> Option<Place<'a, C>> {
        let text = self.written()?.trim_end();
        // Behind the last word: what is missing is missing there.
        let last = text.split('\n').count();
        let end = text.rsplit('\n').next().unwrap_or_default().len() + 1;
        let (line, column) = (line, column).min((last, end));
        let wanted = text.lines().nth(line - 1).unwrap_or_default();
        let before = wanted.get(..(column - 1).min(wanted.len()))?;
        let first_line = usize::try_from(self.spanned.defined.line()).ok()?.checked_sub(1)?;
        let first_column = usize::try_from(self.spanned.defined.column()).ok()?.checked_sub(1)?;
        let in_file = first_line + line - 1;
        let shown = self.place.file.text.lines().nth(in_file)?;
        let beginning = if line == 1 {
            let shown: String = shown.chars().skip(first_column).collect();
            let quote = usize::from(shown.starts_with(['"', '\'']));
            shown.get(quote..)?.starts_with(wanted).then_some(first_column + quote)?
        } else {
            // Of a block: its lines stand behind the same blanks.
            (shown.trim() == wanted.trim()).then_some(())?;
            let blanks = |line: &str| line.len() - line.trim_start().len();
            blanks(shown).checked_sub(blanks(wanted))?
        };
        let found = (in_file as u64 + 1, (beginning + before.chars().count()) as u64 + 1);
        Some(self.place.at(self.place.field.clone(), found))
    }

    /// A finite number.
    pub fn number(&self) -> Option<f64> {
        match self.node() {
            Node::Integer(number) => Some(*number as f64),
            Node::Float(number) if number.is_finite() => Some(*number),
            _ => self.wrong("a number, such as 99.9"),
        }
    }

    /// A truth.
    pub fn boolean(&self) -> Option<bool> {
        match self.node() {
            Node::Bool(value) => Some(*value),
            _ => self.wrong("true or false"),
        }
    }

    /// The values of a list; an empty value is an empty list.
    pub fn list(&self) -> Option<Vec<Self>> {
        match self.node() {
            Node::List(items) => {
                let item = |(index, item): (usize, &'a Spanned<Node>)| Self {
                    spanned: item,
                    place: self.place.at(format!("{}[{index}]", self.place.field), start(item)),
                };
                Some(items.iter().enumerate().map(item).collect())
            }
            Node::Null => Some(Vec::new()),
            _ => self.wrong("a list, each in a line of its own as `- item`"),
        }
    }

    /// A list of [`Self::words`].
    pub fn texts(&self) -> Option<Vec<String>> {
        self.list()?.iter().map(|item| item.words().map(str::to_owned)).collect()
    }

    /// Its fields; an empty value has none.
    pub fn fields(&self) -> Option<Fields<'a, C>> {
        let entries: &'a [_] = match self.node() {
            Node::Map(entries) => entries,
            Node::Null => &[],
            _ => return self.wrong("fields, each in a line of its own as `key: value`"),
        };
        let read = entries.iter().map(|_| Cell::new(false)).collect();
        Some(Fields { place: self.place.clone(), entries, read, asked: RefCell::default() })
    }

    /// Names and texts.
    pub fn map_of_texts(&self) -> Option<BTreeMap<String, String>> {
        let fields = self.fields()?;
        let entry = |name: &'a str| Some((name.to_owned(), fields.required(name)?.text()?.to_owned()));
        // Every entry is looked at, so that all that is wrong is told.
        let entries: Vec<_> = fields.names().map(entry).collect();
        entries.into_iter().collect()
    }
}

/// The fields of a value. Every one has to be asked for; [`Fields::end`] refuses the others.
pub struct Fields<'a, C = ()> {
    /// Where the value begins whose fields they are.
    pub place: Place<'a, C>,
    entries: &'a [(Spanned<String>, Spanned<Node>)],
    read: Vec<Cell<bool>>,
    asked: RefCell<Vec<&'a str>>,
}

impl<'a, C> Fields<'a, C> {
    /// A field, `None` where it is not there or empty.
    pub fn optional(&self, name: &'a str) -> Option<Value<'a, C>> {
        self.asked.borrow_mut().push(name);
        let at = self.entries.iter().position(|(key, _)| key.value == name)?;
        self.read[at].set(true);
        self.value(at)
    }

    fn value(&self, at: usize) -> Option<Value<'a, C>> {
        let (key, value) = &self.entries[at];
        let place = self.place.at(self.path(&key.value), start(value));
        (!matches!(value.value, Node::Null)).then_some(Value { spanned: value, place })
    }

    /// A field that has to be there.
    pub fn required(&self, name: &'a str) -> Option<Value<'a, C>> {
        let value = self.optional(name);
        if value.is_none() {
            let missing = if self.has(name) {
                "is empty".to_owned()
            } else {
                format!("has no `{name}`, which is needed")
            };
            self.place_of(name).refuse(missing);
        }
        value
    }

    /// Whether a field is there, empty or not.
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _)| key.value == name)
    }

    /// Where a field's name stands, or these fields where it does not.
    pub fn place_of(&self, name: &str) -> Place<'a, C> {
        let key = self.entries.iter().find(|(key, _)| key.value == name);
        key.map_or_else(|| self.place.clone(), |(key, _)| self.place.at(self.path(name), start(key)))
    }

    /// The names of all fields, in their order.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.entries.iter().map(|(key, _)| &*key.value)
    }

    /// Every field, whatever its name: the place of its name, and its value where it has one.
    pub fn each(&self) -> impl Iterator<Item = (&'a str, Place<'a, C>, Option<Value<'a, C>>)> {
        self.entries.iter().enumerate().map(|(at, (key, _))| {
            let place = self.place.at(self.path(&key.value), start(key));
            (&*key.value, place, self.value(at))
        })
    }

    /// Leaves these out of account: others write them.
    pub fn ignore(&self, names: &[&str]) {
        for ((key, _), read) in self.entries.iter().zip(&self.read) {
            if names.contains(&&*key.value) {
                read.set(true);
            }
        }
    }

    /// Refuses what was not asked for.
    pub fn end(self) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, read: impl Fn(&Fields<'_>)) -> Vec<String> {
        let file = File::parse("a.yaml", text.as_bytes(), ()).expect("YAML");
        let root = file.documents().next().expect("a document");
        read(&root.fields().expect("fields"));
        file.take_problems().iter().map(Problem::to_string).collect()
    }

    #[test]
    fn a_scalar_is_text_by_its_look_or_as_it_is_written() {
        let text = "a: 1.50\nb: 'yes'\nc: true\nd: [1]\n";
        let problems = said(text, |fields| {
            let written = |name| fields.required(name).and_then(|value| value.written());
            assert_eq!(written("a"), Some("1.50"));
            assert_eq!(written("b"), Some("yes"));
            assert_eq!(written("c"), Some("true"));
            assert_eq!(written("d"), None);
            assert_eq!(fields.required("b").and_then(|value| value.text()), Some("yes"));
            assert_eq!(fields.required("a").and_then(|value| value.text()), None);
        });
        assert_eq!(
            problems,
            [
                "a.yaml:1:4: a: is a number, must be text; put it in quotes if it is meant as such",
                "a.yaml:4:4: d: is a list, must be text",
            ]
        );
    }

    #[test]
    fn what_is_missing_empty_or_unknown_is_told_together() {
        let problems = said("here:\n  empty:\n  more: 1\n", |fields| {
            let inner = fields.required("here").and_then(|here| here.fields()).expect("fields");
            assert!(inner.required("empty").is_none() && inner.required("missing").is_none());
            inner.end();
        });
        assert_eq!(
            problems,
            [
                "a.yaml:2:3: here.empty: is empty",
                "a.yaml:2:3: here: has no `missing`, which is needed",
                "a.yaml:3:3: here.more: is no field known here; there are empty, missing",
            ]
        );
    }

    #[test]
    fn a_place_within_text_is_exact_where_the_file_has_the_text_as_it_is() {
        let text = "plain: up ==\nblock: |\n  a\n    + b\nescaped: \"a\\tb\"\n";
        said(text, |fields| {
            let within = |name, line, column| {
                let place = fields.required(name).expect("a value").place_within(line, column);
                place.map(|place| (place.line, place.column))
            };
            assert_eq!(within("plain", 1, 4), Some((1, 11)));
            // Behind its end is its end.
            assert_eq!(within("plain", 1, 90), Some((1, 13)));
            assert_eq!(within("block", 2, 3), Some((4, 5)));
            assert_eq!(within("escaped", 1, 3), None);
        });
    }
}
